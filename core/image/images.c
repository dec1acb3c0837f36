/*
 * The image side of an engine: its life, and the "image" and "layer" records with the documents that they name.
 */
#include "core/image/image-priv.h"

int
ctr_images_create(struct ctr_store *store, const struct ctr_conf *conf, struct ctr_chain *chain,
                  struct ctr_images **ret, struct ctr_error *err)
{
    struct ctr_images *images = calloc(1, sizeof *images);
    if (images == NULL || (images->verified = json_object()) == NULL) {
        free(images);
        return ctr_fail(err, -ENOMEM, "images: out of memory");
    }
    if (ctr_client_init(&images->client, conf, chain, err) < 0) {
        json_decref(images->verified);
        free(images);
        return ctr_prefix(err, "images");
    }
    images->store = store;
    images->conf = conf;
    (void) pthread_mutex_init(&images->mutex, NULL);
    (void) pthread_cond_init(&images->changed, NULL);
    /* What an interrupted pull left without a record goes once nobody can be about to go on with it. */
    struct ctr_error sweep = CTR_ERROR_INIT;
    if (image_collect(images, 7 * 24 * 60 * 60, NULL, 0, &sweep) < 0) {
        ctr_log(CTR_LEVEL_WARN, "event=sweep-images error=\"%s\"", sweep.msg);
    }
    *ret = images;
    return 0;
}

void
ctr_images_destroy(struct ctr_images *images)
{
    if (images == NULL) {
        return;
    }
    json_decref(images->verified);
    (void) pthread_cond_destroy(&images->changed);
    (void) pthread_mutex_destroy(&images->mutex);
    ctr_client_finish(&images->client);
    free(images);
}

struct ctr_client *
ctr_images_client(struct ctr_images *images)
{
    return &images->client;
}

/* --- records --- */

struct named_arg {
    const char *digest, *but;
    bool found;
};

static int
record_names(void *arg, const char *key, const json_t *value)
{
    struct named_arg *named = arg;
    if (strcmp(key, named->but) != 0 &&
        strcmp(ctr_json_str(value, "digest", ""), named->digest) == 0) {
        named->found = true;
    }
    return 0;
}

/* The image that `key` has named so far keeps its digest as a name, if no other record has it. */
static int
record_keep_old(struct ctr_images *images, const char *key, const json_t *old,
                struct ctr_error *err)
{
    const char *before = ctr_json_str(old, "digest", "");
    struct named_arg named = {.digest = before, .but = key};
    int rc = ctr_record_each(images->store, "image", record_names, &named, err);
    if (rc < 0 || named.found) {
        return rc;
    }
    return ctr_record_put(images->store, "image", before, old, err);
}

/* 1: it stands there already. */
static int
record_write(struct ctr_images *images, const char *key, const char *digest,
             const json_t *value, struct ctr_error *err)
{
    struct ctr_error ignored = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *old = ctr_record_get(images->store, "image", key, &ignored);
    const char *before = ctr_json_str(old, "digest", "");
    if (strcmp(before, digest) == 0) {
        return 1;
    }
    int rc = old != NULL ? record_keep_old(images, key, old, err) : 0;
    if (rc == 0) {
        rc = ctr_record_put(images->store, "image", key, value, err);
    }
    if (rc == 0 && !ctr_is_digest(key)) {
        /* It has a name now: the bare digest is no longer needed as one. */
        rc = ctr_record_remove(images->store, "image", digest, err);
    }
    return rc;
}

int
image_record(struct ctr_images *images, const char *key, const char *digest,
             const char *media_type, uint64_t size, struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *value = json_pack("{s:s, s:s, s:I, s:I}", "digest", digest, "mediaType", media_type,
                              "size", (json_int_t) size, "time", (json_int_t) ctr_now_ns());
    if (value == NULL) {
        return ctr_fail(err, -ENOMEM, "record image %s: out of memory", key);
    }
    (void) pthread_mutex_lock(&images->mutex);
    int rc = record_write(images, key, digest, value, err);
    bool stale = rc == 0 || images->index_stale;
    images->index_stale = stale;
    (void) pthread_mutex_unlock(&images->mutex);
    if (rc < 0 || !stale) {
        return rc < 0 ? rc : 0;
    }
    rc = ctr_store_write_index(images->store, err);
    if (rc == 0) {
        (void) pthread_mutex_lock(&images->mutex);
        images->index_stale = false;
        (void) pthread_mutex_unlock(&images->mutex);
    }
    return rc;
}

json_t *
image_document(struct ctr_images *images, const char *digest, uint64_t *ret_size,
               struct ctr_error *err)
{
    CTR_AUTO(free) char *bytes = NULL;
    size_t length = 0;
    if (ctr_blob_read(images->store, digest, CTR_MAX_DOCUMENT, &bytes, &length, err) < 0) {
        return NULL;
    }
    json_t *document = NULL;
    if (ctr_manifest_check(bytes, length, NULL, &document, err) < 0) {
        return NULL;
    }
    if (ret_size != NULL) {
        *ret_size = length;
    }
    return document;
}

json_t *
image_config(struct ctr_images *images, const json_t *manifest, struct ctr_error *err)
{
    const char *digest = ctr_json_str(json_object_get(manifest, "config"), "digest", "");
    CTR_AUTO(free) char *bytes = NULL;
    size_t length = 0;
    if (ctr_blob_read(images->store, digest, CTR_MAX_DOCUMENT, &bytes, &length, err) < 0) {
        return NULL;
    }
    json_t *config = NULL;
    return config_check(bytes, length, manifest, &config, err) < 0 ? NULL : config;
}

static int
manifests_below(struct ctr_images *images, const char *digest, int depth,
                int (*each)(void *arg, const char *digest, const json_t *manifest), void *arg,
                struct ctr_error *err)
{
    CTR_AUTO(json) json_t *document = image_document(images, digest, NULL, err);
    if (document == NULL) {
        return err->code < 0 ? err->code : -EBADMSG;
    }
    if (manifest_kind(document) == MEDIA_MANIFEST) {
        return each(arg, digest, document);
    }
    size_t i = 0;
    json_t *descriptor = NULL;
    json_array_foreach(json_object_get(document, "manifests"), i, descriptor)
    {
        const char *below = ctr_json_str(descriptor, "digest", "");
        enum media kind = media_kind(ctr_json_str(descriptor, "mediaType", ""));
        bool wanted =
            kind == MEDIA_MANIFEST || (kind == MEDIA_INDEX && depth < IMAGE_MAX_DEPTH);
        if (!wanted || !ctr_blob_exists(images->store, below, NULL)) {
            continue;
        }
        struct ctr_error ignored = CTR_ERROR_INIT;
        int rc = manifests_below(images, below, depth + 1, each, arg, &ignored);
        if (rc > 0) {
            return rc;
        }
    }
    return 0;
}

int
image_manifests(struct ctr_images *images, const char *digest,
                int (*each)(void *arg, const char *digest, const json_t *manifest), void *arg,
                struct ctr_error *err)
{
    struct ctr_error inner = CTR_ERROR_INIT;
    int rc = manifests_below(images, digest, 1, each, arg, &inner);
    return rc < 0 ? ctr_fail(err, rc, "%s", inner.msg) : rc;
}

int
image_platform(struct ctr_images *images, const char *text, struct ctr_platform *ret,
               struct ctr_error *err)
{
    if (text == NULL || text[0] == '\0') {
        const char *set = images->conf != NULL ? images->conf->engine.platform : NULL;
        text = set != NULL ? set : "";
    }
    return ctr_platform_parse(text, ret, err);
}

int
layer_remember(struct ctr_images *images, const char *digest, const char *diff_id,
               struct ctr_error *err)
{
    CTR_AUTO(json) json_t *value = json_pack("{s:s}", "diff_id", diff_id);
    if (value == NULL) {
        return ctr_fail(err, -ENOMEM, "layer %s: out of memory", digest);
    }
    return ctr_record_put(images->store, "layer", digest, value, err);
}

int
layer_diff_id(struct ctr_images *images, const char *digest, char *ret)
{
    struct ctr_error ignored = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *value = ctr_record_get(images->store, "layer", digest, &ignored);
    const char *diff_id = ctr_json_str(value, "diff_id", "");
    if (!ctr_is_digest(diff_id)) {
        return -ENOENT;
    }
    memcpy(ret, diff_id, 72);
    return 0;
}
