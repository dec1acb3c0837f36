/*
 * Profiles: any text is either refused with one line that names the file, or read; what was read can be asked and freed.
 */
#include "core/conf/conf.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ctr_option table[] = {
    {.size = sizeof(struct ctr_option), .type = CTR_OPTION_STRING, .name = "accel"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_INT,
     .name = "level",
     .min = 1,
     .max = 9},
    {.size = sizeof(struct ctr_option), .type = CTR_OPTION_BOOL, .name = "discard"},
    {.size = sizeof(struct ctr_option), .type = CTR_OPTION_SIZE, .name = "room"},
    {.size = sizeof(struct ctr_option), .type = CTR_OPTION_PATH, .name = "path"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_CHOICE,
     .name = "mode",
     .choices = "slow|fast"},
};

static void
check_error(int code, const struct ctr_error *err, const char *prefix)
{
    assert(code < 0 && err->code == code);
    assert(ctr_starts_with(err->msg, prefix));
    assert(strchr(err->msg, '\n') == NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ctr_conf *conf = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    int code = ctr_conf_parse("fuzz", "/f/fuzz.ini", (const char *) data, size, &conf, &err);
    if (code != 0) {
        check_error(code, &err, "/f/fuzz.ini:");
        return 0;
    }
    assert(conf->engine.data[0] == '/' && conf->engine.run[0] == '/');
    assert(ctr_conf_instance(conf, CTR_KIND_STORAGE, NULL) != NULL);
    for (size_t i = 0; i < conf->n_instances; i++) {
        const struct ctr_conf_instance *instance = &conf->instances[i];
        struct ctr_options *options = NULL;
        code = ctr_options_create(conf, instance, table, CTR_LENGTH(table), &options, &err);
        if (code != 0) {
            check_error(code, &err, "/f/fuzz.ini:");
        }
        ctr_options_destroy(options);
        json_decref(ctr_conf_instance_json(instance));
    }
    ctr_conf_destroy(conf);
    return 0;
}
