/* Dockerfile lines of import and commit: whatever they are, the config that comes out passes the check of configs from outside. */
#include "core/image/changes.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* {"os", "architecture", "rootfs", "config": process} is a good image config. */
static void
check_process(json_t *process)
{
    struct ctr_error err = CTR_ERROR_INIT;
    json_t *config = json_pack("{s:s, s:s, s:{s:[]}, s:O}", "os", "linux", "architecture",
                               "amd64", "rootfs", "diff_ids", "config", process);
    json_t *manifest = json_pack("{s:[]}", "layers"), *checked = NULL;
    char *text = ctr_json_text(config);
    if (strlen(text) <= CTR_MAX_DOCUMENT &&
        config_check(text, strlen(text), manifest, &checked, &err) < 0 &&
        strstr(err.msg, "values") == NULL) {
        abort();
    }
    free(text);
    json_decref(checked);
    json_decref(manifest);
    json_decref(config);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    json_t *process = json_object();
    char *text = strndup((const char *) bytes, length), *rest = text, *line = NULL;
    while ((line = strsep(&rest, "\n")) != NULL) {
        struct ctr_error err = CTR_ERROR_INIT;
        int rc = changes_apply(process, line, &err);
        if (rc != 0 && (rc != err.code || rc != -EINVAL)) {
            abort();
        }
    }
    check_process(process);
    free(text);
    json_decref(process);
    return 0;
}
