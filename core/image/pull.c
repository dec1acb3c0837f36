/*
 * Pulling: the reference's document, then the platform's manifest, its config and its layers (layers.c), or all that an index lists.
 * The image record comes last, when every byte has been checked and is on stable storage.
 */
#include "core/image/documents.h"
#include "core/image/flow.h"

/* Documents whose referrers are asked for: not those of a whole index. */
#define PULL_MAX_REFERRED 4

struct pull {
    struct image_op op;
    struct ctr_remote remote;
    struct ctr_ref ref;
    struct ctr_platform platform;
    const struct ctr_pull *wanted;
    char top[72], top_type[160]; /* what the reference names */
    uint64_t top_size;
    json_t *documents; /* {digest: text} of indexes and manifests to be stored */
    json_t *manifests; /* {digest: manifest} of the images that were brought */
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
    int rc = ctr_remote_head(&pull->remote, tag, ret_digest, type, &size, err);
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
    int rc = ctr_remote_manifest(&pull->remote, name, &bytes, &length, type, ret_digest, err);
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

/* What a descriptor of an index names. */
static int
pull_child(struct pull *pull, const json_t *descriptor, json_t **ret, char ret_digest[72],
           struct ctr_error *err)
{
    json_t *document = NULL;
    uint64_t size = 0;
    int rc = pull_document(pull, ctr_json_str(descriptor, "digest", ""),
                           ctr_json_str(descriptor, "mediaType", ""), &document, ret_digest,
                           &size, err);
    if (rc < 0) {
        return rc;
    }
    if ((int64_t) size != ctr_json_int(descriptor, "size", 0)) {
        json_decref(document);
        return ctr_fail(err, -EBADMSG, "manifest %s has %llu bytes; the index says %lld",
                        ret_digest, (unsigned long long) size,
                        (long long) ctr_json_int(descriptor, "size", 0));
    }
    *ret = document;
    return 0;
}

/* --- one image --- */

static int
pull_blob(struct pull *pull, const json_t *descriptor, struct ctr_error *err)
{
    struct fetch_want want = {.digest = ctr_json_str(descriptor, "digest", ""),
                              .size = (uint64_t) ctr_json_int(descriptor, "size", 0)};
    return fetch_blob(&pull->op, &pull->remote, &want, err);
}

static int
pull_check_platform(struct pull *pull, const json_t *config, struct ctr_error *err)
{
    struct ctr_platform have;
    config_platform(config, &have);
    if (pull->wanted->all_platforms || platform_score(&have, &pull->platform) > 0) {
        return 0;
    }
    CTR_AUTO(free) char *text = platform_text(&have);
    return pull_fail_platform(pull, text, err);
}

static int
pull_image(struct pull *pull, const json_t *manifest, const char *digest, struct ctr_error *err)
{
    int rc = pull_blob(pull, json_object_get(manifest, "config"), err);
    if (rc < 0) {
        return rc;
    }
    CTR_AUTO(json) json_t *config = image_config(pull->op.images, manifest, err);
    rc = config == NULL ? err->code : pull_check_platform(pull, config, err);
    if (rc < 0) {
        return rc;
    }
    struct layers_job job = {
        .remote = &pull->remote,
        .foreign = pull->wanted->foreign,
        .storage = pull->wanted->all_platforms ? NULL : pull->wanted->storage,
        .layers = json_object_get(manifest, "layers"),
        .config = config,
        .manifest = digest,
    };
    rc = layers_run(&pull->op, &job, err);
    if (rc == 0 && json_object_set(pull->manifests, digest, (json_t *) manifest) < 0) {
        rc = ctr_fail(err, -ENOMEM, "out of memory");
    }
    return rc;
}

/* Goes down the indexes to the platform's manifest; takes the document. */
static int
pull_one(struct pull *pull, json_t *take_document, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *document = take_document;
    char digest[72];
    memcpy(digest, pull->top, sizeof digest);
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
        int rc = pull_child(pull, chosen, &next, digest, err);
        if (rc < 0) {
            return rc;
        }
        json_decref(document);
        document = next;
    }
    return pull_image(pull, document, digest, err);
}

/* --- all that an index lists --- */

struct loose {
    struct pull *pull;
    struct ctr_error *err;
};

static int
loose_blob(void *arg, const json_t *descriptor, enum document_part part)
{
    const struct loose *loose = arg;
    int64_t size = ctr_json_int(descriptor, "size", -1);
    const char *digest = ctr_json_str(descriptor, "digest", "");
    if (!ctr_is_digest(digest) || size < 0 || size > IMAGE_MAX_BLOB || part == PART_DOCUMENT) {
        return ctr_fail(loose->err, -EBADMSG, "an attestation's descriptor is broken");
    }
    return pull_blob(loose->pull, descriptor, loose->err);
}

/* An attestation: no image, but a part of the index, which could not be pushed or saved whole without it. */
static int
pull_attestation(struct pull *pull, const json_t *descriptor, struct ctr_error *err)
{
    struct loose loose = {.pull = pull, .err = err};
    const char *digest = ctr_json_str(descriptor, "digest", "");
    int64_t size = ctr_json_int(descriptor, "size", -1);
    if (size < 1 || size > (int64_t) CTR_MAX_DOCUMENT) {
        return ctr_fail(err, -EFBIG, "manifest %s is larger than 4 MiB", digest);
    }
    int rc = lease_add(&pull->op, digest, err);
    if (rc == 0 && !ctr_blob_exists(pull->op.images->store, digest, NULL)) {
        CTR_AUTO(free) char *bytes = NULL;
        size_t length = 0;
        char type[160], found[72];
        rc = ctr_remote_manifest(&pull->remote, digest, &bytes, &length, type, found, err);
        rc = rc < 0 ? rc : ctr_blob_put(pull->op.images->store, bytes, length, found, err);
    }
    CTR_AUTO(json)
    json_t *document = rc == 0 ? document_read(pull->op.images, digest, NULL, err) : NULL;
    if (document == NULL) {
        return rc < 0 ? rc : err->code;
    }
    return document_below(document, loose_blob, &loose);
}

/* Takes the document. */
static int
pull_all(struct pull *pull, json_t *take_document, const char *digest, int depth,
         struct ctr_error *err)
{
    CTR_AUTO(json) json_t *document = take_document;
    if (manifest_kind(document) == MEDIA_MANIFEST) {
        return pull_image(pull, document, digest, err);
    }
    if (depth == IMAGE_MAX_DEPTH) {
        return ctr_fail(err, -ELOOP, "its indexes are nested more than %d deep",
                        IMAGE_MAX_DEPTH);
    }
    size_t i = 0;
    json_t *descriptor = NULL;
    json_array_foreach(json_object_get(document, "manifests"), i, descriptor)
    {
        enum media kind = media_kind(ctr_json_str(descriptor, "mediaType", ""));
        const char *os = ctr_json_str(json_object_get(descriptor, "platform"), "os", "");
        json_t *child = NULL;
        char below[72];
        int rc = 0;
        if (kind == MEDIA_MANIFEST && strcmp(os, "unknown") == 0) {
            rc = pull_attestation(pull, descriptor, err);
        } else if (kind == MEDIA_MANIFEST || kind == MEDIA_INDEX) {
            rc = pull_child(pull, descriptor, &child, below, err);
            rc = rc < 0 ? rc : pull_all(pull, child, below, depth + 1, err);
        }
        if (rc < 0) {
            return rc;
        }
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
    if (ctr_transfer_cancelled(&pull->op.transfer)) {
        return ctr_fail_cancelled(err);
    }
    return image_record(images, key, pull->top, pull->top_type, pull->top_size, err);
}

/* After a pull that brought something: where its layers are from, and what refers to it there. */
static void
pull_note(struct pull *pull)
{
    const char *digest = NULL;
    json_t *value = NULL;
    size_t n = 0;
    json_object_foreach(pull->documents, digest, value)
    {
        if (n++ < PULL_MAX_REFERRED) {
            referrers_record(pull->op.images, &pull->remote, digest);
        }
    }
    json_object_foreach(pull->manifests, digest, value)
    {
        if (n > 0) {
            sources_note(pull->op.images, value, &pull->ref);
        }
    }
}

static int
pull_run(struct pull *pull, struct ctr_error *err)
{
    const char *name = pull->ref.digest[0] != '\0' ? pull->ref.digest : pull->ref.tag;
    CTR_AUTO(free) char *status = ctr_printf("Pulling from %s", pull->ref.repository);
    ctr_transfer_step(&pull->op.transfer, NULL, status != NULL ? status : "Pulling", 0, 0);
    json_t *document = NULL;
    int rc = pull_document(pull, name, NULL, &document, pull->top, &pull->top_size, err);
    if (rc < 0) {
        return rc;
    }
    (void) snprintf(pull->top_type, sizeof pull->top_type, "%s", manifest_media_type(document));
    rc = pull->wanted->all_platforms ? pull_all(pull, document, pull->top, 0, err)
                                     : pull_one(pull, document, err);
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
    pull->manifests = json_object();
    int rc = pull->documents == NULL || pull->manifests == NULL
                 ? ctr_fail(err, -ENOMEM, "out of memory")
                 : ctr_transfer_watch(&pull->op.transfer, err);
    struct ctr_remote_wish wish = {.credential = pull->wanted->credential};
    rc = rc < 0 ? rc
                : ctr_remote_init(&pull->remote, &pull->op.transfer, &pull->ref, &wish, err);
    if (rc == 0) {
        rc = pull_run(pull, err);
        ctr_remote_finish(&pull->remote);
    }
    json_decref(pull->documents);
    json_decref(pull->manifests);
    return rc;
}

int
ctr_image_pull(struct ctr_images *images, const struct ctr_pull *wanted,
               const struct ctr_progress *progress, char *ret_digest, struct ctr_error *err)
{
    struct pull *pull = calloc(1, sizeof *pull);
    if (pull == NULL) {
        return ctr_fail(err, -ENOMEM, "pull %s: out of memory", wanted->reference);
    }
    pull->wanted = wanted;
    struct ctr_error inner = CTR_ERROR_INIT;
    int rc = ctr_ref_parse(wanted->reference, &pull->ref, &inner);
    rc = rc < 0 ? rc : image_platform(images, wanted->platform, &pull->platform, &inner);
    rc = rc < 0 ? rc : op_init(&pull->op, images, progress, &inner);
    if (rc == 0) {
        rc = pull_open_and_run(pull, &inner);
        op_finish(&pull->op);
    }
    if (rc == -ENOSPC) {
        struct ctr_error left = CTR_ERROR_INIT;
        struct ctr_storage *storage = wanted->storage;
        (void) image_collect(images, 0, &storage, storage != NULL ? 1 : 0, &left);
    }
    if (rc == 0 && ret_digest != NULL) {
        memcpy(ret_digest, pull->top, sizeof pull->top);
    }
    free(pull);
    return rc < 0 ? ctr_fail(err, rc, "pull %.200s: %s", wanted->reference, inner.msg) : 0;
}
