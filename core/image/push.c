/*
 * Pushing: what a reference names is gathered from the store and checked to be whole; then its blobs go up, three at a time, then the
 * manifests, then the index, and last of all the tag. A registry so never names what it has not got.
 */
#include "core/image/documents.h"

#define PUSH_THREADS 3
#define PUSH_MAX_SOURCES 4

struct push {
    struct image_op op;
    struct ctr_remote remote;
    struct ctr_ref ref;
    bool all;
    json_t *blobs;     /* {digest: size}, each once */
    json_t *documents; /* [{"digest","mediaType"}], what is named before what names it */
    json_t *manifests; /* those of the documents that have layers */
    json_t *absent;    /* {digest: what is not here of it} */
    /* blobs at work */
    pthread_mutex_t mutex;
    void *next; /* iterator of blobs */
    int rc;
    struct ctr_error err;
};

/* --- gathering --- */

/* Takes a blob of a manifest into `blobs`; 1: it is not whole in the store. */
static int
push_add_blob(struct push *push, const json_t *descriptor, json_t *blobs, struct ctr_error *err)
{
    const char *digest = ctr_json_str(descriptor, "digest", "");
    int64_t size = ctr_json_int(descriptor, "size", -1);
    uint64_t have = 0;
    if (media_is_foreign(ctr_json_str(descriptor, "mediaType", ""))) {
        return 0;
    }
    if (!ctr_is_digest(digest) || size < 0) {
        return ctr_fail(err, -EBADMSG, "a blob in it has no digest or size");
    }
    int rc = lease_add(&push->op, digest, err);
    if (rc < 0) {
        return rc;
    }
    if (!ctr_blob_exists(push->op.images->store, digest, &have) || have != (uint64_t) size) {
        return 1;
    }
    return json_object_set_new(blobs, digest, json_integer(size)) < 0
               ? ctr_fail(err, -ENOMEM, "out of memory")
               : 0;
}

/* A document of the store, of any kind: NULL with -ENOENT where it is not there. */
static json_t *
push_read(struct push *push, const char *digest, struct ctr_error *err)
{
    if (!ctr_is_digest(digest)) {
        (void) ctr_fail(err, -EBADMSG, "an index names something without a digest");
        return NULL;
    }
    if (lease_add(&push->op, digest, err) < 0) {
        return NULL;
    }
    if (!ctr_blob_exists(push->op.images->store, digest, NULL)) {
        (void) ctr_fail(err, -ENOENT, "%s is not here", digest);
        return NULL;
    }
    return document_read(push->op.images, digest, NULL, err);
}

static int
push_add_document(struct push *push, const char *digest, const json_t *document,
                  const char *media_type, struct ctr_error *err)
{
    const char *type = ctr_json_str(document, "mediaType", media_type);
    json_t *entry = json_pack("{s:s,s:s}", "digest", digest, "mediaType", type);
    return json_array_append_new(push->documents, entry) < 0
               ? ctr_fail(err, -ENOMEM, "out of memory")
               : 0;
}

/* 1: something of it is not in the store. */
static int
push_add_manifest(struct push *push, const char *digest, json_t *manifest,
                  const char *media_type, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *blobs = json_object();
    int rc = push_add_blob(push, json_object_get(manifest, "config"), blobs, err);
    size_t i = 0;
    json_t *layer = NULL;
    json_array_foreach(json_object_get(manifest, "layers"), i, layer)
    {
        rc = rc == 0 ? push_add_blob(push, layer, blobs, err) : rc;
    }
    if (rc < 0) {
        return ctr_prefix(err, "manifest %s", digest);
    }
    rc = rc == 0 ? push_add_document(push, digest, manifest, media_type, err) : rc;
    if (rc == 0 && (json_object_update(push->blobs, blobs) < 0 ||
                    json_array_append(push->manifests, manifest) < 0)) {
        rc = ctr_fail(err, -ENOMEM, "out of memory");
    }
    return rc;
}

/* What of an index is not here: the registry may have it all the same. */
static int
push_add_absent(struct push *push, const json_t *descriptor, struct ctr_error *err)
{
    const json_t *platform = json_object_get(descriptor, "platform");
    CTR_AUTO(free)
    char *text = ctr_printf("%s/%s", ctr_json_str(platform, "os", "unknown"),
                            ctr_json_str(platform, "architecture", "unknown"));
    CTR_AUTO(free) char *name = text != NULL ? ctr_printable(text) : NULL;
    return name == NULL ||
                   json_object_set_new(push->absent, ctr_json_str(descriptor, "digest", ""),
                                       json_string(name)) < 0
               ? ctr_fail(err, -ENOMEM, "out of memory")
               : 0;
}

/* An index and all below it; 1: it is not in the store. */
static int
push_add(struct push *push, const char *digest, const char *media_type, int depth,
         struct ctr_error *err)
{
    if (depth > IMAGE_MAX_DEPTH) {
        return ctr_fail(err, -ELOOP, "its indexes are nested more than %d deep",
                        IMAGE_MAX_DEPTH);
    }
    CTR_AUTO(json) json_t *document = push_read(push, digest, err);
    if (document == NULL) {
        return err->code == -ENOENT ? 1 : err->code;
    }
    json_t *below = json_object_get(document, "manifests");
    if (!json_is_array(below)) {
        return push_add_manifest(push, digest, document,
                                 media_type != NULL ? media_type : MEDIA_OCI_MANIFEST, err);
    }
    size_t i = 0;
    json_t *descriptor = NULL;
    json_array_foreach(below, i, descriptor)
    {
        int rc =
            push_add(push, ctr_json_str(descriptor, "digest", ""),
                     ctr_json_str(descriptor, "mediaType", MEDIA_OCI_MANIFEST), depth + 1, err);
        rc = rc == 1 ? push_add_absent(push, descriptor, err) : rc;
        if (rc < 0) {
            return rc;
        }
    }
    return push_add_document(push, digest, document,
                             media_type != NULL ? media_type : MEDIA_OCI_INDEX, err);
}

static int
push_gather(struct push *push, const char *reference, const char *platform,
            struct ctr_error *err)
{
    struct ctr_image image;
    bool any = platform == NULL || platform[0] == '\0';
    CTR_AUTO(free) char *key = ctr_ref_full(&push->ref);
    CTR_AUTO(json)
    json_t *record =
        key != NULL ? ctr_record_get(push->op.images->store, "image", key, err) : NULL;
    if (record == NULL) {
        return ctr_fail(err, -ENOENT,
                        "there is no image of this name here; ctrctl image ls lists them, "
                        "ctrctl tag gives one another name");
    }
    int rc = 0;
    if (push->all) {
        rc = push_add(push, ctr_json_str(record, "digest", ""), NULL, 1, err);
    } else {
        rc = ctr_image_resolve(push->op.images, reference, any ? NULL : platform, &image, err);
        if (rc == 0) {
            rc = push_add(push, image.manifest, NULL, 1, err);
            ctr_image_finish(&image);
        }
    }
    return rc == 1
               ? ctr_fail(err, -ENOENT,
                          "parts of the image are not here; pull it again: ctrctl pull %.200s",
                          reference)
               : rc;
}

/* --- sending --- */

static void *
push_worker(void *arg)
{
    struct push *push = arg;
    for (;;) {
        (void) pthread_mutex_lock(&push->mutex);
        void *at = push->rc < 0 ? NULL : push->next;
        push->next = at != NULL ? json_object_iter_next(push->blobs, at) : NULL;
        (void) pthread_mutex_unlock(&push->mutex);
        if (at == NULL) {
            return NULL;
        }
        struct ctr_error err = CTR_ERROR_INIT;
        int rc = push_blob(&push->op, &push->remote, json_object_iter_key(at),
                           (uint64_t) json_integer_value(json_object_iter_value(at)), &err);
        (void) pthread_mutex_lock(&push->mutex);
        if (rc < 0 && push->rc == 0) {
            push->rc = rc;
            push->err = err;
            ctr_transfer_cancel(&push->op.transfer);
        }
        (void) pthread_mutex_unlock(&push->mutex);
    }
}

/* This thread works too, so that a machine out of threads still pushes. */
static int
push_blobs(struct push *push, struct ctr_error *err)
{
    pthread_t threads[PUSH_THREADS - 1];
    size_t n_threads = 0;
    const char *digest = NULL;
    json_t *size = NULL;
    json_object_foreach(push->blobs, digest, size)
    {
        ctr_transfer_step(&push->op.transfer, digest, "Preparing", 0, 0);
    }
    push->next = json_object_iter(push->blobs);
    while (n_threads < CTR_LENGTH(threads) && n_threads + 1 < json_object_size(push->blobs) &&
           pthread_create(&threads[n_threads], NULL, push_worker, push) == 0) {
        n_threads++;
    }
    (void) push_worker(push);
    for (size_t i = 0; i < n_threads; i++) {
        (void) pthread_join(threads[i], NULL);
    }
    return push->rc < 0 ? ctr_fail(err, push->rc, "%s", push->err.msg) : 0;
}

static int
push_document_answer(const struct ctr_endpoint *home, const char *digest, const char *type,
                     const struct ctr_http_response *response, struct ctr_error *err)
{
    char reason[160];
    ctr_remote_reason(response, reason);
    if (response->status == 200 || response->status == 201 || response->status == 202) {
        return !ctr_is_digest(response->digest) || strcmp(response->digest, digest) == 0
                   ? 0
                   : ctr_fail(err, -EBADMSG, "manifest %s: the registry calls it %s", digest,
                              response->digest);
    }
    if (response->status == 400 || response->status == 404 || response->status == 405 ||
        response->status == 413 || response->status == 415 || response->status == 422) {
        return ctr_fail(err, -EOPNOTSUPP,
                        "the registry refuses manifest %s (%s); it may not take %s", digest,
                        reason, type);
    }
    return ctr_remote_fail(home, response, "the manifest", err);
}

/* `name`: its digest or the tag. */
static int
push_document(struct push *push, const json_t *document, const char *name,
              struct ctr_error *err)
{
    struct ctr_endpoint *home = ctr_remote_home(&push->remote);
    const char *digest = ctr_json_str(document, "digest", "");
    const char *type = ctr_json_str(document, "mediaType", "");
    CTR_AUTO(free) char *bytes = NULL;
    size_t length = 0;
    int rc =
        ctr_blob_read(push->op.images->store, digest, CTR_MAX_DOCUMENT, &bytes, &length, err);
    CTR_AUTO(free)
    char *url = ctr_printf("%s%s/manifests/%s", home->root, home->repository, name);
    if (rc < 0 || url == NULL) {
        return rc < 0 ? rc : ctr_fail(err, -ENOMEM, "out of memory");
    }
    struct ctr_http_body body = {.type = type, .bytes = bytes, .length = length};
    struct ctr_http_call call = {.url = url,
                                 .method = "PUT",
                                 .body = &body,
                                 .max = CTR_MAX_ANSWER,
                                 .total_s = push->op.transfer.client->limits.total_s};
    struct ctr_http_response response = {0};
    rc = ctr_remote_ask(home, &call, &response, err);
    rc = rc < 0 ? rc : push_document_answer(home, digest, type, &response, err);
    ctr_http_response_clear(&response);
    return rc;
}

/* What is not here must be there. */
static int
push_check_absent(struct push *push, const char *reference, struct ctr_error *err)
{
    const char *digest = NULL;
    json_t *platform = NULL;
    json_object_foreach(push->absent, digest, platform)
    {
        char found[72], type[160];
        uint64_t size = 0;
        int rc = ctr_remote_head(&push->remote, digest, found, type, &size, err);
        if (rc == -ENOENT) {
            return ctr_fail(err, -ENOENT,
                            "its %s image is neither whole here nor at the registry; pull it "
                            "first: ctrctl pull --all-platforms %.200s, or push one platform",
                            json_string_value(platform), reference);
        }
        if (rc < 0 && rc != -ENOTSUP) {
            return rc;
        }
    }
    return 0;
}

static int
push_send(struct push *push, const char *reference, char ret_digest[72], struct ctr_error *err)
{
    CTR_AUTO(free)
    char *status = ctr_printf("The push refers to repository [%s/%s]", push->ref.host,
                              push->ref.repository);
    ctr_transfer_step(&push->op.transfer, NULL, status != NULL ? status : "Pushing", 0, 0);
    int rc = push_check_absent(push, reference, err);
    rc = rc < 0 ? rc : push_blobs(push, err);
    size_t n = json_array_size(push->documents);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const json_t *document = json_array_get(push->documents, i);
        const char *digest = ctr_json_str(document, "digest", "");
        bool last = i + 1 == n;
        rc = push_document(push, document, last ? push->ref.tag : digest, err);
        if (last) {
            (void) snprintf(ret_digest, 72, "%s", digest);
        }
    }
    for (size_t i = 0; rc == 0 && i < json_array_size(push->manifests); i++) {
        sources_note(push->op.images, json_array_get(push->manifests, i), &push->ref);
    }
    return rc;
}

/* --- the whole --- */

/* Repositories that blobs may be mounted from: the token must be good for reading there. */
static size_t
push_sources(struct push *push, char ret[PUSH_MAX_SOURCES][256])
{
    size_t n = 0;
    const char *digest = NULL;
    json_t *size = NULL;
    json_object_foreach(push->blobs, digest, size)
    {
        bool known =
            n == PUSH_MAX_SOURCES || !sources_find(push->op.images, digest, &push->ref, ret[n]);
        for (size_t i = 0; !known && i < n; i++) {
            known = strcmp(ret[i], ret[n]) == 0;
        }
        n += !known;
    }
    return n;
}

static int
push_run(struct push *push, const struct ctr_credential *credential, const char *reference,
         const char *platform, char ret_digest[72], struct ctr_error *err)
{
    char sources[PUSH_MAX_SOURCES][256];
    const char *names[PUSH_MAX_SOURCES];
    int rc = ctr_transfer_watch(&push->op.transfer, err);
    rc = rc < 0 ? rc : push_gather(push, reference, platform, err);
    if (rc < 0) {
        return rc;
    }
    struct ctr_remote_wish wish = {.credential = credential, .push = true, .sources = names};
    wish.n_sources = push_sources(push, sources);
    for (size_t i = 0; i < wish.n_sources; i++) {
        names[i] = sources[i];
    }
    rc = ctr_remote_init(&push->remote, &push->op.transfer, &push->ref, &wish, err);
    if (rc == 0) {
        rc = push_send(push, reference, ret_digest, err);
        ctr_remote_finish(&push->remote);
    }
    return rc;
}

static int
push_open(struct push *push, const char *reference, struct ctr_error *err)
{
    push->blobs = json_object();
    push->documents = json_array();
    push->manifests = json_array();
    push->absent = json_object();
    if (push->blobs == NULL || push->documents == NULL || push->manifests == NULL ||
        push->absent == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int rc = ctr_ref_parse(reference, &push->ref, err);
    if (rc == 0 && push->ref.digest[0] != '\0') {
        return ctr_fail(
            err, -EINVAL,
            "a push needs a tag, not a digest: the digest comes from what is pushed");
    }
    return rc;
}

int
ctr_image_push(struct ctr_images *images, const char *reference, const char *platform,
               bool all_platforms, const struct ctr_credential *credential,
               const struct ctr_progress *progress, char *ret_digest, struct ctr_error *err)
{
    struct push *push = calloc(1, sizeof *push);
    if (push == NULL) {
        return ctr_fail(err, -ENOMEM, "push %.200s: out of memory", reference);
    }
    struct ctr_error inner = CTR_ERROR_INIT;
    char digest[72] = "";
    push->all = all_platforms;
    int rc = push_open(push, reference, &inner);
    rc = rc < 0 ? rc : op_init(&push->op, images, progress, &inner);
    if (rc == 0) {
        (void) pthread_mutex_init(&push->mutex, NULL);
        rc = push_run(push, credential, reference, platform, digest, &inner);
        op_finish(&push->op);
        (void) pthread_mutex_destroy(&push->mutex);
    }
    json_decref(push->blobs);
    json_decref(push->documents);
    json_decref(push->manifests);
    json_decref(push->absent);
    free(push);
    if (rc < 0) {
        return ctr_fail(err, rc, "push %.200s: %s", reference, inner.msg);
    }
    if (ret_digest != NULL) {
        memcpy(ret_digest, digest, sizeof digest);
    }
    return 0;
}
