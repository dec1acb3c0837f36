/*
 * Names given and taken: tag, and removal with the garbage that the last name leaves behind.
 */
#include "core/image/image-priv.h"

int
ctr_image_tag(struct ctr_images *images, const char *from, const char *to,
              struct ctr_error *err)
{
    struct ctr_ref ref;
    int rc = ctr_ref_parse(to, &ref, err);
    if (rc == 0 && ref.digest[0] != '\0') {
        rc = ctr_fail(err, -EINVAL,
                      "tag %.200s: a digest cannot be given, only a name and a tag", to);
    }
    if (rc < 0) {
        return rc;
    }
    struct image_op op;
    rc = op_init(&op, images, NULL, err);
    if (rc < 0) {
        return rc;
    }
    lease_all(&op);
    struct image_found found = {.key = NULL};
    CTR_AUTO(free) char *key = ctr_ref_full(&ref);
    rc = key == NULL ? ctr_fail(err, -ENOMEM, "out of memory")
                     : image_find(images, from, &found, err);
    if (rc == 0) {
        uint64_t size = 0;
        CTR_AUTO(json) json_t *document = image_document(images, found.top, &size, err);
        rc = document == NULL ? err->code
                              : image_record(images, key, found.top,
                                             manifest_media_type(document), size, err);
    }
    free(found.key);
    op_finish(&op);
    return rc;
}

/* --- removal --- */

struct removal {
    struct ctr_images *images;
    struct image_found found;
    bool force;
    json_t *keys; /* {key: digest} of the records that go */
    json_t *ids;  /* {image ID: true} that may go with them */
    bool (*in_use)(void *arg, const char *image_id);
    void (*removed)(void *arg, const char *action, const char *what);
    void *arg;
};

struct contains {
    const char *id;
    bool yes;
};

static const char *
manifest_id(const json_t *manifest)
{
    return ctr_json_str(json_object_get(manifest, "config"), "digest", "");
}

static int
contains_manifest(void *arg, const char *digest, const json_t *manifest)
{
    struct contains *contains = arg;
    contains->yes = contains->yes || strcmp(contains->id, manifest_id(manifest)) == 0;
    return 0;
}

/* Is this a record of the image that was asked for? By a reference only itself, by an ID all that hold it. */
static bool
removal_matches(const struct removal *removal, const char *key, const char *digest)
{
    if (removal->found.key != NULL) {
        return strcmp(removal->found.key, key) == 0;
    }
    struct contains contains = {.id = removal->found.id};
    struct ctr_error ignored = CTR_ERROR_INIT;
    if (contains.id[0] == '\0') {
        return strcmp(digest, removal->found.top) == 0;
    }
    (void) image_manifests(removal->images, digest, contains_manifest, &contains, &ignored);
    return contains.yes;
}

static int
removal_record(void *arg, const char *key, const json_t *value)
{
    struct removal *removal = arg;
    const char *digest = ctr_json_str(value, "digest", "");
    return removal_matches(removal, key, digest) &&
                   json_object_set_new(removal->keys, key, json_string(digest)) < 0
               ? -ENOMEM
               : 0;
}

static int
removal_add_id(void *arg, const char *digest, const json_t *manifest)
{
    struct removal *removal = arg;
    return json_object_set_new(removal->ids, manifest_id(manifest), json_true()) < 0 ? -ENOMEM
                                                                                     : 0;
}

static int
removal_keep_id(void *arg, const char *digest, const json_t *manifest)
{
    struct removal *removal = arg;
    (void) json_object_del(removal->ids, manifest_id(manifest));
    return 0;
}

static int
removal_keep(void *arg, const char *key, const json_t *value)
{
    struct removal *removal = arg;
    struct ctr_error ignored = CTR_ERROR_INIT;
    if (json_object_get(removal->keys, key) == NULL) {
        (void) image_manifests(removal->images, ctr_json_str(value, "digest", ""),
                               removal_keep_id, removal, &ignored);
    }
    return 0;
}

/* The images that lose their last name: those of the records that go, less those of the records that stay. */
static int
removal_find_ids(struct removal *removal, struct ctr_error *err)
{
    const char *key = NULL;
    json_t *digest = NULL;
    struct ctr_error ignored = CTR_ERROR_INIT;
    json_object_foreach(removal->keys, key, digest)
    {
        if (image_manifests(removal->images, json_string_value(digest), removal_add_id, removal,
                            &ignored) == -ENOMEM) {
            return ctr_fail(err, -ENOMEM, "remove image: out of memory");
        }
    }
    return ctr_record_each(removal->images->store, "image", removal_keep, removal, err);
}

static int
removal_check(struct removal *removal, const char *text, struct ctr_error *err)
{
    if (removal->found.key == NULL && json_object_size(removal->keys) > 1 && !removal->force) {
        return ctr_fail(
            err, -EBUSY,
            "image %.200s has %zu names; remove them one by one, or all of them by force", text,
            json_object_size(removal->keys));
    }
    const char *id = NULL;
    json_t *value = NULL;
    json_object_foreach(removal->ids, id, value)
    {
        if (removal->in_use != NULL && !removal->force && removal->in_use(removal->arg, id)) {
            return ctr_fail(
                err, -EBUSY,
                "image %.200s is used by a container; remove the container first, or "
                "remove the image by force",
                text);
        }
    }
    return 0;
}

static int
removal_untag(struct removal *removal, struct ctr_error *err)
{
    struct ctr_store *store = removal->images->store;
    const char *key = NULL;
    json_t *digest = NULL;
    json_object_foreach(removal->keys, key, digest)
    {
        int rc = ctr_record_remove(store, "image", key, err);
        if (rc < 0) {
            return rc;
        }
        struct ctr_ref ref;
        struct ctr_error ignored = CTR_ERROR_INIT;
        if (!ctr_is_digest(key) && ctr_ref_parse(key, &ref, &ignored) == 0) {
            CTR_AUTO(free) char *name = ctr_ref_short(&ref);
            removal->removed(removal->arg, "Untagged", name != NULL ? name : key);
        }
    }
    return ctr_store_write_index(store, err);
}

static void
removal_tell(struct removal *removal)
{
    const char *id = NULL;
    json_t *value = NULL;
    json_object_foreach(removal->ids, id, value)
    {
        if (!ctr_blob_exists(removal->images->store, id, NULL)) {
            removal->removed(removal->arg, "Deleted", id);
        }
    }
}

static int
removal_run(struct removal *removal, const char *text, struct ctr_storage *const *storages,
            size_t n_storages, struct ctr_error *err)
{
    int rc = image_find(removal->images, text, &removal->found, err);
    if (rc < 0) {
        return rc;
    }
    rc = ctr_record_each(removal->images->store, "image", removal_record, removal, err);
    rc = rc < 0 ? rc : removal_find_ids(removal, err);
    rc = rc < 0 ? rc : removal_check(removal, text, err);
    rc = rc < 0 ? rc : removal_untag(removal, err);
    if (rc < 0) {
        return rc;
    }
    /* The names are gone for good; garbage that cannot be removed now is for the next time. */
    struct ctr_error left = CTR_ERROR_INIT;
    if (image_collect(removal->images, 0, storages, n_storages, &left) < 0) {
        ctr_log(CTR_LEVEL_WARN, "event=collect error=\"%s\"", left.msg);
    }
    removal_tell(removal);
    return 0;
}

static void
removed_ignore(void *arg, const char *action, const char *what)
{
}

int
ctr_image_remove(struct ctr_images *images, const char *text, bool force,
                 struct ctr_storage *const *storages, size_t n_storages,
                 bool (*in_use)(void *arg, const char *image_id),
                 void (*removed)(void *arg, const char *action, const char *what), void *arg,
                 struct ctr_error *err)
{
    struct removal removal = {.images = images,
                              .force = force,
                              .keys = json_object(),
                              .ids = json_object(),
                              .in_use = in_use,
                              .removed = removed != NULL ? removed : removed_ignore,
                              .arg = arg};
    int rc = removal.keys == NULL || removal.ids == NULL
                 ? ctr_fail(err, -ENOMEM, "remove image: out of memory")
                 : removal_run(&removal, text, storages, n_storages, err);
    json_decref(removal.keys);
    json_decref(removal.ids);
    free(removal.found.key);
    return rc;
}
