/* References, registries' hosts and platforms from a user or an archive: what is taken must read back as itself. */
#include "core/image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    char *text = malloc(length + 1);
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_ref ref, again;
    struct ctr_platform platform;
    char host[256], twice[256];
    if (text == NULL) {
        return 0;
    }
    memcpy(text, bytes, length);
    text[length] = '\0';
    (void) ctr_platform_parse(text, &platform, &err);
    if (ctr_registry_host(text, host, &err) == 0 &&
        (ctr_registry_host(host, twice, &err) < 0 || strcmp(host, twice) != 0)) {
        abort();
    }
    if (ctr_ref_parse(text, &ref, &err) == 0) {
        char *full = ctr_ref_full(&ref), *shown = ctr_ref_short(&ref);
        if (ctr_ref_parse(full, &again, &err) < 0 ||
            strcmp(ref.repository, again.repository) != 0 ||
            strcmp(ref.host, again.host) != 0 || ctr_ref_parse(shown, &again, &err) < 0 ||
            strcmp(ref.host, again.host) != 0 ||
            strcmp(ref.repository, again.repository) != 0 ||
            strstr(ref.repository, "..") != NULL) {
            abort();
        }
        free(full);
        free(shown);
    }
    free(text);
    return 0;
}
