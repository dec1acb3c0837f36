/*
 * Images: core/image with what the engine knows filled in: the profile's platform, the storage instances and which images
 * containers need.
 */
#include "core/engine/engine-priv.h"

int
ctr_engine_pull(struct ctr_engine *engine, const struct ctr_pull *pull,
                const struct ctr_progress *progress, char ret_digest[72], struct ctr_error *err)
{
    struct ctr_pull mine = *pull;
    if (mine.platform == NULL || *mine.platform == '\0') {
        mine.platform = engine->conf->engine.platform;
    }
    if (mine.storage == NULL && !mine.all_platforms) {
        mine.storage = ctr_engine_storage(engine, NULL);
    }
    int rc = ctr_image_pull(engine->images, &mine, progress, ret_digest, err);
    if (rc == 0) {
        ctr_engine_lock(engine);
        ctr_engine_event(engine, "image", "pull", mine.reference, mine.reference,
                         mine.reference, 0);
        ctr_engine_unlock(engine);
    }
    return rc;
}

struct ctr_images *
ctr_engine_images(struct ctr_engine *engine)
{
    return engine->images;
}

int
ctr_engine_load_fd(struct ctr_engine *engine, int fd, const struct ctr_progress *progress,
                   void (*loaded)(void *arg, const char *reference), void *arg,
                   struct ctr_error *err)
{
    return ctr_image_load_fd(engine->images, fd, ctr_engine_storage(engine, NULL), progress,
                             loaded, arg, err);
}

int
ctr_engine_load_path(struct ctr_engine *engine, const char *path,
                     const struct ctr_progress *progress,
                     void (*loaded)(void *arg, const char *reference), void *arg,
                     struct ctr_error *err)
{
    if (*path != '/') {
        return ctr_fail(err, -EINVAL, "%s: the path of an OCI layout must be absolute", path);
    }
    return ctr_image_load_dir(engine->images, path, ctr_engine_storage(engine, NULL), progress,
                              loaded, arg, err);
}

static int
count_containers(struct ctr_engine *engine, const char *image_id)
{
    int n = 0;
    ctr_engine_lock(engine);
    for (struct ctr_container *c = engine->containers; c != NULL; c = c->next) {
        n += strcmp(ctr_json_str(c->image, "id", ""), image_id) == 0;
    }
    ctr_engine_unlock(engine);
    return n;
}

static json_t *
image_json(struct ctr_engine *engine, const struct ctr_image *image)
{
    const json_t *config = image->config;
    json_t *inner = json_object_get(config, "config");
    json_t *layers = json_object_get(json_object_get(config, "rootfs"), "diff_ids");
    CTR_AUTO(json) json_t *empty = json_object();
    CTR_AUTO(json) json_t *none = json_array();
    return json_pack("{s:s,s:s,s:s,s:O,s:I,s:s,s:s,s:s,s:s,s:O,s:O,s:i,s:s,s:s}", "id",
                     image->id, "digest", image->digest, "manifest", image->manifest,
                     "references", image->references == NULL ? none : image->references, "size",
                     (json_int_t) image->size, "created", ctr_json_str(config, "created", ""),
                     "arch", image->platform.arch, "os", image->platform.os, "variant",
                     image->platform.variant, "config", json_is_object(inner) ? inner : empty,
                     "layers", json_is_array(layers) ? layers : none, "containers",
                     count_containers(engine, image->id), "author",
                     ctr_json_str(config, "author", ""), "chain_id", image->chain_id);
}

struct listing {
    struct ctr_engine *engine;
    json_t *list;
};

static int
list_one(void *arg, const struct ctr_image *image)
{
    struct listing *listing = arg;
    json_t *json = image_json(listing->engine, image);
    return json == NULL ? -ENOMEM : json_array_append_new(listing->list, json);
}

json_t *
ctr_engine_image_list(struct ctr_engine *engine, struct ctr_error *err)
{
    struct listing listing = {.engine = engine, .list = json_array()};
    if (listing.list == NULL || ctr_image_each(engine->images, list_one, &listing, err) < 0) {
        json_decref(listing.list);
        if (err->code == 0) {
            (void) ctr_fail(err, -ENOMEM, "out of memory");
        }
        return NULL;
    }
    return listing.list;
}

json_t *
ctr_engine_image_inspect(struct ctr_engine *engine, const char *ref, const char *platform,
                         struct ctr_error *err)
{
    struct ctr_image image = {0};
    bool any = platform == NULL || *platform == '\0';
    int rc = ctr_image_resolve(engine->images, ref,
                               any ? engine->conf->engine.platform : platform, &image, err);
    if (rc < 0 && any) { /* an image of another platform only is one to look at, too */
        rc = ctr_image_resolve(engine->images, ref, NULL, &image, err);
    }
    if (rc < 0) {
        return NULL;
    }
    json_t *json = image_json(engine, &image);
    ctr_image_finish(&image);
    if (json == NULL) {
        (void) ctr_fail(err, -ENOMEM, "out of memory");
    }
    return json;
}

int
ctr_engine_image_tag(struct ctr_engine *engine, const char *from, const char *to,
                     struct ctr_error *err)
{
    return ctr_image_tag(engine->images, from, to, err);
}

struct removal {
    struct ctr_engine *engine;
    json_t *list;
};

static bool
in_use(void *arg, const char *image_id)
{
    struct removal *removal = arg;
    return count_containers(removal->engine, image_id) > 0;
}

static void
removed(void *arg, const char *action, const char *what)
{
    struct removal *removal = arg;
    (void) json_array_append_new(removal->list, json_pack("{s:s}", action, what));
}

int
ctr_engine_image_remove(struct ctr_engine *engine, const char *ref, bool force, json_t **ret,
                        struct ctr_error *err)
{
    struct removal removal = {.engine = engine, .list = json_array()};
    int rc = ctr_image_remove(engine->images, ref, force, engine->storages, engine->n_storages,
                              in_use, removed, &removal, err);
    if (rc < 0) {
        json_decref(removal.list);
        return rc;
    }
    *ret = removal.list;
    return 0;
}

int
ctr_engine_image_prune(struct ctr_engine *engine, const struct ctr_prune *prune, json_t **ret,
                       struct ctr_error *err)
{
    struct removal removal = {.engine = engine};
    return ctr_image_prune(engine->images, prune, engine->storages, engine->n_storages, in_use,
                           &removal, ret, err);
}

json_t *
ctr_engine_image_verify(struct ctr_engine *engine, const char *ref, bool heal,
                        const struct ctr_progress *progress, struct ctr_error *err)
{
    return ctr_image_verify(engine->images, ref, heal, ctr_engine_storage(engine, NULL),
                            progress, err);
}
