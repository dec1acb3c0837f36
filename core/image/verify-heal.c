/* What a verification found missing or damaged comes again, from the registry that the image's name says. */
#include "core/image/verify.h"

/* The record that a pull by digest has made beside the one of the name. */
static void
heal_drop_name(struct verify *verify, const char *key)
{
    struct ctr_images *images = verify->op.images;
    struct ctr_error ignored = CTR_ERROR_INIT;
    (void) pthread_mutex_lock(&images->mutex);
    (void) ctr_record_remove(images->store, "image", key, &ignored);
    (void) pthread_mutex_unlock(&images->mutex);
    (void) ctr_store_write_index(images->store, &ignored);
}

/* Pulls what the name's registry has under the digest, once for each platform that lacks something. */
static int
heal_pull(struct verify *verify, const char *key, const char *digest, struct ctr_error *err)
{
    struct ctr_ref ref;
    int rc = ctr_ref_parse(key, &ref, err);
    if (rc < 0) {
        return rc;
    }
    ref.tag[0] = '\0';
    memcpy(ref.digest, digest, sizeof ref.digest);
    CTR_AUTO(free) char *by_digest = ctr_ref_full(&ref);
    if (by_digest == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    struct ctr_error ignored = CTR_ERROR_INIT;
    CTR_AUTO(json)
    json_t *had = ctr_record_get(verify->op.images->store, "image", by_digest, &ignored);
    const char *platform = NULL;
    json_t *value = NULL;
    json_object_foreach(verify->platforms, platform, value)
    {
        struct ctr_pull pull = {.reference = by_digest, .platform = platform};
        rc =
            rc < 0 ? rc : ctr_image_pull(verify->op.images, &pull, verify->progress, NULL, err);
    }
    if (had == NULL) {
        heal_drop_name(verify, by_digest);
    }
    return rc;
}

static int
heal_check(const struct verify *verify, const char *list, struct ctr_error *err)
{
    size_t i = 0;
    json_t *digest = NULL;
    json_array_foreach(json_object_get(verify->entry, list), i, digest)
    {
        const char *text = json_string_value(digest);
        if (!ctr_blob_exists(verify->op.images->store, text, NULL)) {
            return ctr_fail(err, -ENOENT, "blob %s is still missing", text);
        }
    }
    return 0;
}

/* The image is whole again: ready to run, too, where a storage is given. */
static int
heal_unpack(struct verify *verify, const char *key, struct ctr_error *err)
{
    struct ctr_image image;
    if (verify->storage == NULL) {
        return 0;
    }
    int rc = ctr_image_resolve(verify->op.images, key, NULL, &image, err);
    if (rc == 0) {
        rc =
            ctr_image_unpack(verify->op.images, &image, verify->storage, verify->progress, err);
        ctr_image_finish(&image);
    }
    return rc;
}

int
verify_heal(struct verify *verify, const char *key, const char *digest)
{
    struct ctr_error err = CTR_ERROR_INIT;
    int rc = ctr_is_digest(key)
                 ? ctr_fail(&err, -ENOENT, "it has no name that says from where to pull it")
                 : heal_pull(verify, key, digest, &err);
    rc = rc < 0 ? rc : heal_check(verify, "missing", &err);
    rc = rc < 0 ? rc : heal_check(verify, "damaged", &err);
    rc = rc < 0 ? rc : heal_unpack(verify, key, &err);
    if (rc == -ECANCELED) {
        return ctr_fail_cancelled(verify->err);
    }
    if (json_object_set_new(verify->entry, "healed", json_boolean(rc == 0)) < 0 ||
        (rc < 0 && json_object_set_new(verify->entry, "error", json_string(err.msg)) < 0)) {
        return verify_fail_memory(verify);
    }
    return rc == 0 ? 1 : 0;
}
