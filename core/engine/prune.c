/*
 * Pruning: containers that have ended, and images that no container needs.
 */
#include "core/engine/engine-priv.h"

/* --- containers --- */

struct container_filter {
    const json_t *labels, *not_labels; /* arrays of text */
    int64_t until;                     /* only those made before; 0: all */
};

static int
parse_filters(const json_t *filters, struct container_filter *ret, struct ctr_error *err)
{
    const char *name;
    json_t *values;
    *ret = (struct container_filter){.labels = json_object_get(filters, "label"),
                                     .not_labels = json_object_get(filters, "label!")};
    json_object_foreach((json_t *) filters, name, values)
    {
        const char *first = json_string_value(json_array_get(values, 0));
        if (strcmp(name, "until") == 0) {
            if (json_array_size(values) != 1 || first == NULL ||
                ctr_parse_time(first, &ret->until) < 0) {
                return ctr_fail(err, -EINVAL,
                                "filter until=%.60s: one time is wanted, like 24h or "
                                "2026-01-31T00:00:00Z",
                                first != NULL ? first : "");
            }
        } else if (strcmp(name, "label") != 0 && strcmp(name, "label!") != 0) {
            return ctr_fail(err, -EINVAL,
                            "no filter \"%.60s\" for containers; until, label and label! are",
                            name);
        }
    }
    return 0;
}

static bool
fits(const struct container_filter *filter, const json_t *container)
{
    const json_t *labels = json_object_get(json_object_get(container, "spec"), "labels");
    size_t i;
    json_t *label;
    bool fit = filter->until == 0 || ctr_json_int(container, "created_at", 0) < filter->until;
    json_array_foreach((json_t *) filter->labels, i, label)
    {
        fit &= json_is_string(label) && ctr_json_has(labels, json_string_value(label));
    }
    json_array_foreach((json_t *) filter->not_labels, i, label)
    {
        fit &= json_is_string(label) && !ctr_json_has(labels, json_string_value(label));
    }
    return fit;
}

uint64_t
ctr_container_bytes(struct ctr_engine *engine, const json_t *container)
{
    struct ctr_error err = CTR_ERROR_INIT;
    uint64_t bytes = 0;
    struct ctr_storage *storage = ctr_engine_storage(
        engine, ctr_json_str(json_object_get(container, "spec"), "storage", NULL));
    if (storage == NULL ||
        ctr_storage_usage(storage, ctr_json_str(container, "id", ""), &bytes, &err) < 0) {
        return 0;
    }
    return bytes;
}

int
ctr_engine_container_prune(struct ctr_engine *engine, const json_t *filters, json_t **ret,
                           struct ctr_error *err)
{
    struct container_filter filter;
    if (parse_filters(filters, &filter, err) < 0) {
        return err->code;
    }
    CTR_AUTO(json) json_t *all = ctr_engine_container_list(engine, true, err);
    CTR_AUTO(json) json_t *removed = json_array();
    uint64_t bytes = 0;
    size_t i;
    json_t *container;
    json_array_foreach(all, i, container)
    {
        const char *id = ctr_json_str(container, "id", "");
        if (strcmp(ctr_json_str(container, "state", ""), "running") == 0 ||
            !fits(&filter, container)) {
            continue;
        }
        uint64_t size = ctr_container_bytes(engine, container);
        struct ctr_error why = CTR_ERROR_INIT;
        int rc = ctr_engine_container_remove(engine, id, false, &why);
        if (rc == 0) {
            bytes += size;
            (void) json_array_append_new(removed, json_string(id));
        } else if (rc != -ENOENT && rc != -EBUSY) { /* gone or started meanwhile */
            ctr_log(CTR_LEVEL_WARN, "container=%s msg=\"not pruned\" error=\"%s\"", id,
                    why.msg);
        }
    }
    if (all == NULL) {
        return err->code;
    }
    *ret = json_pack("{s:O,s:I}", "containers", removed, "bytes", (json_int_t) bytes);
    return *ret != NULL ? 0 : ctr_fail(err, -ENOMEM, "out of memory");
}
