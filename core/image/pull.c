/*
 * Pulling: the reference's document, the platform's manifest, its config and its layers, up to three at a time. The image
 * record comes last, when every byte has been checked and is on stable storage.
 */
#include "core/image/remote.h"

#define PULL_THREADS 3
#define PULL_MAX_REFERRED                                                                      \
    4 /* documents whose referrers are asked for: not those of a whole index */

struct pull {
    struct image_op op;
    struct remote remote;
    struct ctr_ref ref;
    struct ctr_platform platform;
    const struct ctr_credential *credential; /* the caller's own, or NULL */
    char top[72], top_type[160];             /* what the reference names */
    uint64_t top_size;
    json_t *documents; /* {digest: text} of indexes and manifests to be stored */
    json_t *manifest, *config;
    /* layers at work */
    pthread_mutex_t mutex;
    size_t next;
    int rc;
    struct ctr_error err;
};

/* --- documents --- */

/* Does the tag still name what it named here? Asked without fetching it: a registry counts what is fetched. 1: yes, and ret_digest
 * is in the store; 0: fetch it. */
static int
pull_is_unchanged(struct pull *pull, const char *tag, char ret_digest[72],
                  struct ctr_error *err)
{
    struct ctr_store *store = pull->op.images->store;
    struct ctr_error ignored = CTR_ERROR_INIT;
    CTR_AUTO(free) char *key = ctr_ref_full(&pull->ref);
    CTR_AUTO(json)
    json_t *record = key != NULL ? ctr_record_get(store, "image", key, &ignored) : NULL;
    char type[160];
    uint64_t size = 0;
    if (record == NULL) {
        return 0;
    }
    int rc = remote_head(&pull->remote, tag, ret_digest, type, &size, err);
    if (rc == -ENOTSUP || rc == -ENOENT || rc == -EACCES) {
        return 0; /* the answer to a GET says more */
    }
    return rc < 0 ? rc : ctr_blob_exists(store, ret_digest, NULL);
}

/* By tag, or by digest from the store where it is. */
static int
pull_document(struct pull *pull, const char *name, const char *media_type, json_t **ret,
              char ret_digest[72], uint64_t *ret_size, struct ctr_error *err)
{
    struct ctr_images *images = pull->op.images;
    char here[72];
    if (!ctr_is_digest(name)) {
        int rc = pull_is_unchanged(pull, name, here, err);
        if (rc < 0) {
            return rc;
        }
        name = rc == 1 ? here : name;
    }
    if (ctr_is_digest(name)) {
        int rc = lease_add(&pull->op, name, err);
        if (rc < 0) {
            return rc;
        }
        struct ctr_error ignored = CTR_ERROR_INIT;
        *ret = ctr_blob_exists(images->store, name, NULL)
                   ? image_document(images, name, ret_size, &ignored)
                   : NULL;
        if (*ret != NULL) {
            memcpy(ret_digest, name, 72);
            return 0;
        }
    }
    CTR_AUTO(free) char *bytes = NULL;
    size_t length = 0;
    char type[160] = "";
    int rc = remote_manifest(&pull->remote, name, &bytes, &length, type, ret_digest, err);
    if (rc == 0 && media_type != NULL && strcmp(type, media_type) != 0) {
        rc = ctr_fail(err, -EBADMSG,
                      "manifest %s: the registry says it is %.120s, the index %.120s", name,
                      type, media_type);
    }
    rc = rc < 0 ? rc
                : ctr_manifest_check(bytes, length, type[0] != '\0' ? type : NULL, ret, err);
    rc = rc < 0 ? rc : lease_add(&pull->op, ret_digest, err);
    if (rc == 0) {
        *ret_size = length;
        if (json_object_set_new(pull->documents, ret_digest, json_stringn(bytes, length)) < 0) {
            json_decref(*ret);
            *ret = NULL;
            rc = ctr_fail(err, -EBADMSG, "manifest %s is not UTF-8 text", ret_digest);
        }
    }
    return rc;
}

static int
pull_fail_platform(const struct pull *pull, const char *have, struct ctr_error *err)
{
    CTR_AUTO(free) char *want = platform_text(&pull->platform);
    return ctr_fail(err, -ENOENT, "no %s image: there is %s; choose one with --platform",
                    want != NULL ? want : "such", have != NULL ? have : "none");
}

/* Goes down the indexes to the platform's manifest; takes the document. */
static int
pull_choose(struct pull *pull, json_t *take_document, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *document = take_document;
    for (int depth = 0; manifest_kind(document) == MEDIA_INDEX; depth++) {
        if (depth == IMAGE_MAX_DEPTH) {
            return ctr_fail(err, -ELOOP, "its indexes are nested more than %d deep",
                            IMAGE_MAX_DEPTH);
        }
        const json_t *chosen = manifest_choose(document, &pull->platform);
        if (chosen == NULL) {
            CTR_AUTO(free) char *have = manifest_platforms(document);
            return pull_fail_platform(pull, have, err);
        }
        json_t *next = NULL;
        char digest[72];
        uint64_t size = 0;
        int rc =
            pull_document(pull, ctr_json_str(chosen, "digest", ""),
                          ctr_json_str(chosen, "mediaType", ""), &next, digest, &size, err);
        if (rc < 0) {
            return rc;
        }
        if ((int64_t) size != ctr_json_int(chosen, "size", 0)) {
            json_decref(next);
            return ctr_fail(err, -EBADMSG, "manifest %s has %llu bytes; the index says %lld",
                            digest, (unsigned long long) size,
                            (long long) ctr_json_int(chosen, "size", 0));
        }
        json_decref(document);
        document = next;
    }
    pull->manifest = ctr_steal(&document);
    return 0;
}

static int
pull_config(struct pull *pull, struct ctr_error *err)
{
    const json_t *descriptor = json_object_get(pull->manifest, "config");
    const char *digest = ctr_json_str(descriptor, "digest", "");
    bool had = ctr_blob_exists(pull->op.images->store, digest, NULL);
    int rc = fetch_blob(&pull->remote, digest, ctr_json_int(descriptor, "size", 0), err);
    if (rc < 0) {
        return rc;
    }
    if (!had) {
        op_step(&pull->op, digest, "Download complete", 0, 0);
    }
    pull->config = image_config(pull->op.images, pull->manifest, err);
    if (pull->config == NULL) {
        return err->code;
    }
    struct ctr_platform have;
    config_platform(pull->config, &have);
    if (platform_score(&have, &pull->platform) == 0) {
        CTR_AUTO(free) char *text = platform_text(&have);
        return pull_fail_platform(pull, text, err);
    }
    return 0;
}

/* --- layers --- */

static int
pull_layer(struct pull *pull, size_t i, struct ctr_error *err)
{
    const json_t *layer = json_array_get(json_object_get(pull->manifest, "layers"), i);
    const char *digest = ctr_json_str(layer, "digest", "");
    bool have = ctr_blob_exists(pull->op.images->store, digest, NULL);
    if (!have) {
        op_step(&pull->op, digest, "Pulling fs layer", 0, 0);
    }
    int rc = fetch_blob(&pull->remote, digest, ctr_json_int(layer, "size", 0), err);
    rc = rc < 0 ? rc : layer_verify(&pull->op, layer, config_diff_id(pull->config, i), err);
    if (rc == 0 && !have) {
        op_step(&pull->op, digest, "Download complete", 0, 0);
    }
    return rc;
}

/* Takes layer after layer; the first failure stops them all. */
static void *
pull_worker(void *arg)
{
    struct pull *pull = arg;
    size_t n = json_array_size(json_object_get(pull->manifest, "layers"));
    for (;;) {
        (void) pthread_mutex_lock(&pull->mutex);
        size_t i = pull->rc < 0 ? n : pull->next++;
        (void) pthread_mutex_unlock(&pull->mutex);
        if (i >= n) {
            return NULL;
        }
        struct ctr_error err = CTR_ERROR_INIT;
        int rc = pull_layer(pull, i, &err);
        (void) pthread_mutex_lock(&pull->mutex);
        if (rc < 0 && pull->rc == 0) {
            pull->rc = rc;
            pull->err = err;
            op_cancel(&pull->op);
        }
        (void) pthread_mutex_unlock(&pull->mutex);
    }
}

/* This thread works too, so that a machine out of threads still pulls. */
static int
pull_layers(struct pull *pull, struct ctr_error *err)
{
    pthread_t threads[PULL_THREADS - 1];
    size_t n_threads = 0;
    size_t n_layers = json_array_size(json_object_get(pull->manifest, "layers"));
    while (n_threads < CTR_LENGTH(threads) && n_threads + 1 < n_layers &&
           pthread_create(&threads[n_threads], NULL, pull_worker, pull) == 0) {
        n_threads++;
    }
    (void) pull_worker(pull);
    for (size_t i = 0; i < n_threads; i++) {
        (void) pthread_join(threads[i], NULL);
    }
    if (pull->rc < 0) {
        return ctr_fail(err, pull->rc, "%s", pull->err.msg);
    }
    return 0;
}

/* --- the whole --- */

static int
pull_store(struct pull *pull, struct ctr_error *err)
{
    struct ctr_images *images = pull->op.images;
    const char *digest = NULL;
    json_t *text = NULL;
    json_object_foreach(pull->documents, digest, text)
    {
        char stored[72];
        if (ctr_blob_exists(images->store, digest, NULL)) {
            continue;
        }
        int rc = ctr_blob_put(images->store, json_string_value(text), json_string_length(text),
                              stored, err);
        if (rc < 0) {
            return rc;
        }
        if (strcmp(stored, digest) != 0) {
            return ctr_fail(err, -EBADMSG, "manifest %s changed on its way", digest);
        }
    }
    CTR_AUTO(free) char *key = ctr_ref_full(&pull->ref);
    if (key == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (op_cancelled(&pull->op)) {
        return op_fail_cancelled(err);
    }
    return image_record(images, key, pull->top, pull->top_type, pull->top_size, err);
}

/* After a pull that brought something: where its layers are from, and what refers to it there. */
static void
pull_note(struct pull *pull)
{
    const char *digest = NULL;
    json_t *text = NULL;
    size_t n = 0;
    json_object_foreach(pull->documents, digest, text)
    {
        if (n++ < PULL_MAX_REFERRED) {
            referrers_record(&pull->remote, digest);
        }
    }
    if (n > 0) {
        sources_note(pull->op.images, pull->manifest, &pull->ref);
    }
}

static int
pull_run(struct pull *pull, struct ctr_error *err)
{
    const char *name = pull->ref.digest[0] != '\0' ? pull->ref.digest : pull->ref.tag;
    CTR_AUTO(free) char *status = ctr_printf("Pulling from %s", pull->ref.repository);
    op_step(&pull->op, NULL, status != NULL ? status : "Pulling", 0, 0);
    json_t *document = NULL;
    int rc = pull_document(pull, name, NULL, &document, pull->top, &pull->top_size, err);
    if (rc < 0) {
        return rc;
    }
    (void) snprintf(pull->top_type, sizeof pull->top_type, "%s", manifest_media_type(document));
    rc = pull_choose(pull, document, err);
    rc = rc < 0 ? rc : pull_config(pull, err);
    rc = rc < 0 ? rc : pull_layers(pull, err);
    rc = rc < 0 ? rc : pull_store(pull, err);
    if (rc == 0) {
        pull_note(pull);
    }
    return rc;
}

static int
pull_open_and_run(struct pull *pull, struct ctr_error *err)
{
    pull->documents = json_object();
    if (pull->documents == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int rc = op_watch(&pull->op, err);
    struct remote_wish wish = {.credential = pull->credential};
    rc = rc < 0 ? rc : remote_init(&pull->remote, &pull->op, &pull->ref, &wish, err);
    if (rc == 0) {
        rc = pull_run(pull, err);
        remote_finish(&pull->remote);
    }
    json_decref(pull->documents);
    json_decref(pull->manifest);
    json_decref(pull->config);
    return rc;
}

int
ctr_image_pull(struct ctr_images *images, const struct ctr_pull *wanted,
               const struct ctr_progress *progress, char *ret_digest, struct ctr_error *err)
{
    const char *reference = wanted->reference, *platform = wanted->platform;
    struct pull *pull = calloc(1, sizeof *pull);
    if (pull == NULL) {
        return ctr_fail(err, -ENOMEM, "pull %s: out of memory", reference);
    }
    pull->credential = wanted->credential;
    struct ctr_error inner = CTR_ERROR_INIT;
    int rc = ctr_ref_parse(reference, &pull->ref, &inner);
    rc = rc < 0 ? rc : image_platform(images, platform, &pull->platform, &inner);
    rc = rc < 0 ? rc : op_init(&pull->op, images, progress, &inner);
    if (rc == 0) {
        (void) pthread_mutex_init(&pull->mutex, NULL);
        rc = pull_open_and_run(pull, &inner);
        op_finish(&pull->op);
        (void) pthread_mutex_destroy(&pull->mutex);
    }
    if (rc == -ENOSPC) {
        struct ctr_error left = CTR_ERROR_INIT;
        (void) image_collect(images, 0, NULL, 0, &left);
    }
    if (rc == 0 && ret_digest != NULL) {
        memcpy(ret_digest, pull->top, sizeof pull->top);
    }
    free(pull);
    return rc < 0 ? ctr_fail(err, rc, "pull %.200s: %s", reference, inner.msg) : 0;
}
