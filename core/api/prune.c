/*
 * Prune and disk usage: POST /containers/prune, /images/prune and their like, GET /system/df.
 */
#include "core/api/job.h"

int
api_containers_prune(struct ctr_request *request, struct ctr_error *err)
{
    static const char *const known[] = {"until", "label", "label!", NULL};
    CTR_AUTO(json) json_t *filters = NULL;
    CTR_AUTO(json) json_t *pruned = NULL;
    if (ctr_docker_filters_parse(api_query(request, "filters"), known, &filters, err) < 0 ||
        ctr_engine_container_prune(request->engine, filters, &pruned, err) < 0) {
        return err->code;
    }
    return api_json(request, 200,
                    json_pack("{s:O,s:I}", "ContainersDeleted",
                              json_object_get(pruned, "containers"), "SpaceReclaimed",
                              (json_int_t) ctr_json_int(pruned, "bytes", 0)));
}

/* There are no volumes and no build cache. */
int
api_volumes_prune(struct ctr_request *request, struct ctr_error *err)
{
    return api_json(request, 200,
                    json_pack("{s:[],s:i}", "VolumesDeleted", "SpaceReclaimed", 0));
}

int
api_build_prune(struct ctr_request *request, struct ctr_error *err)
{
    return api_json(request, 200,
                    json_pack("{s:[],s:i}", "CachesDeleted", "SpaceReclaimed", 0));
}

/* --- images --- */

int
api_images_prune(struct ctr_request *request, struct ctr_error *err)
{
    static const char *const known[] = {"dangling", "until", "label", "label!", NULL};
    CTR_AUTO(json) json_t *filters = NULL;
    CTR_AUTO(json) json_t *pruned = NULL;
    if (ctr_docker_filters_parse(api_query(request, "filters"), known, &filters, err) < 0) {
        return err->code;
    }
    const char *dangling =
        json_string_value(json_array_get(json_object_get(filters, "dangling"), 0));
    struct ctr_prune prune = {.filters = filters};
    prune.all = dangling != NULL && (strcmp(dangling, "false") == 0 || *dangling == '0');
    (void) json_object_del(filters, "dangling");
    if (ctr_engine_image_prune(request->engine, &prune, &pruned, err) < 0) {
        return err->code;
    }
    return api_json(request, 200,
                    json_pack("{s:O,s:I}", "ImagesDeleted", json_object_get(pruned, "removed"),
                              "SpaceReclaimed", (json_int_t) ctr_json_int(pruned, "bytes", 0)));
}

/* --- disk usage --- */

static json_t *
df_images(struct ctr_request *request, const json_t *usage, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *images = ctr_engine_image_list(request->engine, err);
    json_t *list = images == NULL ? NULL : json_array(), *image, *used;
    size_t i, k;
    json_array_foreach(images, i, image)
    {
        json_t *summary = docker_image_summary(image);
        json_array_foreach(json_object_get(usage, "images"), k, used)
        {
            if (strcmp(ctr_json_str(used, "id", ""), ctr_json_str(image, "id", "")) == 0) {
                (void) json_object_set(summary, "SharedSize", json_object_get(used, "shared"));
            }
        }
        (void) json_array_append_new(list, summary);
    }
    return list;
}

static json_t *
df_containers(struct ctr_request *request, const json_t *usage, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *containers = ctr_engine_container_list(request->engine, true, err);
    json_t *list = containers == NULL ? NULL : json_array(), *container, *used;
    size_t i, k;
    json_array_foreach(containers, i, container)
    {
        json_t *summary = docker_summary(container);
        json_array_foreach(json_object_get(usage, "containers"), k, used)
        {
            if (strcmp(ctr_json_str(used, "id", ""), ctr_json_str(container, "id", "")) == 0) {
                (void) json_object_set(summary, "SizeRw", json_object_get(used, "bytes"));
            }
        }
        (void) json_array_append_new(list, summary);
    }
    return list;
}

int
api_df(struct ctr_request *request, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *usage = ctr_engine_usage(request->engine, err);
    CTR_AUTO(json) json_t *images = usage == NULL ? NULL : df_images(request, usage, err);
    CTR_AUTO(json)
    json_t *containers = images == NULL ? NULL : df_containers(request, usage, err);
    if (containers == NULL) {
        return err->code;
    }
    int64_t bytes = ctr_json_int(json_object_get(usage, "blobs"), "bytes", 0);
    return api_json(request, 200,
                    json_pack("{s:I,s:O,s:O,s:[],s:[]}", "LayersSize", (json_int_t) bytes,
                              "Images", images, "Containers", containers, "Volumes",
                              "BuildCache"));
}

int
api_ctr_df(struct ctr_request *request, struct ctr_error *err)
{
    json_t *usage = ctr_engine_usage(request->engine, err);
    return usage == NULL ? err->code : api_json(request, 200, usage);
}
