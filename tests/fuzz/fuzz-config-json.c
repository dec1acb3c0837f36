/* registry-file's parser of docker's config.json and containers' auth.json. */
#include "plugins/registry-file/auths.c"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void
on_entry(void *arg, const char *host, const char *user)
{
    *(size_t *) arg += strlen(host) + strlen(user);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const char *const hosts[] = {"docker.io", "r.example:5000", ""};
    size_t total = 0;
    struct ctr_error err = CTR_ERROR_INIT;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        struct auths_found found = {0};
        if (auths_find((const char *) bytes, length, hosts[i], "library/busybox", &found,
                       &err) == 0) {
            if (hosts[i][0] == '\0' || found.secret == NULL) {
                abort();
            }
            auths_finish(&found);
        }
    }
    (void) auths_list((const char *) bytes, length, on_entry, &total, &err);
    return 0;
}
