/*
 * filter.c: the --filter options of lists and prunes.
 */
#include "core/cmd/show.h"

char *
ctl_filters(const struct ctl *ctl, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *filters = json_object();
    const char *text;
    for (size_t i = 0; (text = ctl_value_at(ctl, "filter", i)) != NULL; i++) {
        const char *equal = strchr(text, '=');
        CTR_AUTO(free)
        char *key = equal != NULL ? strndup(text, (size_t) (equal - text)) : NULL;
        if (key == NULL || key[0] == '\0') {
            ctr_fail(err, -EINVAL, "--filter: '%s' must be KEY=VALUE, such as status=exited",
                     text);
            return NULL;
        }
        json_t *values = json_object_get(filters, key);
        if (values == NULL) {
            values = json_array();
            (void) json_object_set_new(filters, key, values);
        }
        if (json_array_append_new(values, json_string(equal + 1)) < 0) {
            ctr_fail(err, -EINVAL, "--filter: '%s' is not UTF-8", text);
            return NULL;
        }
    }
    char *json = ctr_json_text(filters);
    if (json == NULL) {
        ctr_fail(err, -ENOMEM, "out of memory");
    }
    return json;
}
