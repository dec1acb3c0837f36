/*
 * What takes room: core/image's account, with which containers need what, and their disks.
 */
#include "core/engine/engine-priv.h"

static json_t *
containers_of(struct ctr_engine *engine, const json_t *all)
{
    json_t *list = json_array(), *container;
    size_t i;
    json_array_foreach((json_t *) all, i, container)
    {
        (void) json_array_append_new(
            list, json_pack("{s:s,s:s,s:s,s:I}", "id", ctr_json_str(container, "id", ""),
                            "name", ctr_json_str(container, "name", ""), "state",
                            ctr_json_str(container, "state", ""), "bytes",
                            (json_int_t) ctr_container_bytes(engine, container)));
    }
    return list;
}

/* Each image's number of containers. */
static void
count_users(json_t *images, const json_t *all)
{
    json_t *image, *container;
    size_t i, k;
    json_array_foreach(images, i, image)
    {
        int n = 0;
        json_array_foreach((json_t *) all, k, container)
        {
            n += strcmp(ctr_json_str(json_object_get(container, "image"), "id", ""),
                        ctr_json_str(image, "id", "-")) == 0;
        }
        (void) json_object_set_new(image, "containers", json_integer(n));
    }
}

json_t *
ctr_engine_usage(struct ctr_engine *engine, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *all = ctr_engine_container_list(engine, true, err);
    json_t *usage = all == NULL ? NULL
                                : ctr_images_usage(engine->images, engine->storages,
                                                   engine->n_storages, err);
    if (usage != NULL) {
        (void) json_object_set_new(usage, "containers", containers_of(engine, all));
        count_users(json_object_get(usage, "images"), all);
    }
    return usage;
}
