/*
 * Pruning: containers that have ended, images that no container needs, and networks that no container is on.
 */
#include "core/engine/engine-priv.h"

struct prune_filter {
    const json_t *labels, *not_labels; /* arrays of text */
    int64_t until;                     /* only those made before; 0: all */
};

static int
parse_filters(const json_t *filters, struct prune_filter *ret, struct ctr_error *err)
{
    const char *name;
    json_t *values;
    *ret = (struct prune_filter){.labels = json_object_get(filters, "label"),
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
                            "no filter \"%.60s\" here; until, label and label! are", name);
        }
    }
    return 0;
}

static bool
fits(const struct prune_filter *filter, const json_t *labels, int64_t created)
{
    size_t i;
    json_t *label;
    bool fit = filter->until == 0 || created < filter->until;
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

/* --- containers --- */

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
    struct prune_filter filter;
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
            !fits(&filter, json_object_get(json_object_get(container, "spec"), "labels"),
                  ctr_json_int(container, "created_at", 0))) {
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

/* --- networks --- */

int
ctr_engine_network_prune(struct ctr_engine *engine, const json_t *filters, json_t **ret,
                         struct ctr_error *err)
{
    struct prune_filter filter;
    if (parse_filters(filters, &filter, err) < 0) {
        return err->code;
    }
    CTR_AUTO(json) json_t *all = ctr_nets_list(engine->nets, err);
    CTR_AUTO(json) json_t *removed = json_array();
    size_t i;
    json_t *network;
    if (all == NULL) {
        return err->code;
    }
    json_array_foreach(all, i, network)
    {
        const char *name = ctr_json_str(network, "name", "");
        if (json_object_size(json_object_get(network, "containers")) > 0 ||
            !fits(&filter, json_object_get(network, "labels"),
                  ctr_json_int(network, "created", 0))) {
            continue;
        }
        struct ctr_error why = CTR_ERROR_INIT;
        int rc = ctr_nets_remove(engine->nets, ctr_json_str(network, "id", ""), &why);
        if (rc == 0) {
            (void) json_array_append_new(removed, json_string(name));
        } else if (rc != -ENOENT && rc != -EBUSY && rc != -EPERM) { /* gone, joined, built in */
            ctr_log(CTR_LEVEL_WARN, "network=%s msg=\"not pruned\" error=\"%s\"", name,
                    why.msg);
        }
    }
    *ret = json_pack("{s:O}", "networks", removed);
    return *ret != NULL ? 0 : ctr_fail(err, -ENOMEM, "out of memory");
}
