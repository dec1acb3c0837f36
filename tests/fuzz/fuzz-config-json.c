/* docker's config.json and containers' auth.json: registry-file reads, changes and reads again what it wrote; registry-helper looks for a helper. */
#include "plugins/docker-config/config.c"
#include "plugins/registry-file/auths-edit.c"
#include "plugins/registry-file/auths.c"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void
on_entry(void *arg, const char *host, const char *user)
{
    *(size_t *) arg += strlen(host) + strlen(user);
}

static void
read_it(const char *text, size_t length)
{
    static const char *const hosts[] = {"docker.io", "r.example:5000", ""};
    struct ctr_error err = CTR_ERROR_INIT;
    size_t total = 0;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        struct auths_found found = {0};
        if (auths_find(text, length, hosts[i], "library/busybox", &found, &err) == 0) {
            if (hosts[i][0] == '\0' || found.secret == NULL) {
                abort();
            }
            auths_finish(&found);
        }
    }
    (void) auths_list(text, length, on_entry, &total, &err);
}

/* What was stored is found, what was erased is not, and a broken text is not changed. */
static void
change_it(const char *text, size_t length)
{
    const struct ctr_credential credential = {.size = sizeof credential,
                                              .type = CTR_CREDENTIAL_PASSWORD,
                                              .user = "u",
                                              .secret = "p:\"\\"};
    struct ctr_error err = CTR_ERROR_INIT;
    struct auths_found found = {0};
    char *stored = NULL, *erased = NULL;
    if (auths_set(text, length, "r.example:5000", &credential, &stored, &err) == 0) {
        if (auths_find(stored, strlen(stored), "r.example:5000", "", &found, &err) != 0 ||
            strcmp(found.secret, credential.secret) != 0 ||
            auths_unset(stored, strlen(stored), "r.example:5000", &erased, &err) != 0 ||
            auths_unset(erased, strlen(erased), "r.example:5000", &stored, &err) != -ENOENT) {
            abort();
        }
        auths_finish(&found);
    }
    free(stored);
    free(erased);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    read_it((const char *) bytes, length);
    change_it((const char *) bytes, length);
    return 0;
}
