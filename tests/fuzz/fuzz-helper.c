/* registry-helper: what a docker-credential program prints for get and list. */
#include "plugins/docker-config/config.c"
#include "plugins/registry-helper/protocol.c"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void
on_entry(void *arg, const char *host, const char *user)
{
    if (host[0] == '\0' || strlen(host) > 255) {
        abort();
    }
    *(size_t *) arg += strlen(user);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    const char *text = (const char *) bytes;
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_credential credential;
    json_t *document = NULL;
    size_t total = 0;
    if (protocol_answer(text, length, "r.example:5000", &document, &credential, &err) == 0) {
        char *request = protocol_store("r.example:5000", &credential);
        if (credential.secret[0] == '\0' || request == NULL) {
            abort();
        }
        free(request);
        config_release(document);
    }
    (void) protocol_list(text, length, on_entry, &total, &err);
    (void) protocol_says_not_found(text, length);
    return 0;
}
