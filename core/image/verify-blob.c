/*
 * One blob, verified: hashed again, and a layer compared with its diff_id. What is damaged is set aside, so that it counts as missing.
 */
#include "core/image/stream.h"
#include "core/image/verify.h"

int
verify_fail_memory(struct verify *verify)
{
    return ctr_fail(verify->err, -ENOMEM, "out of memory");
}

static int
blob_hash(struct verify *verify, const char *digest)
{
    return stream_blob(&verify->op, digest, "Verifying", NULL, NULL, verify->err);
}

/* Hash and diff_id in one pass. */
static int
layer_hash(struct verify *verify, const json_t *descriptor, const char *diff_id)
{
    const struct ctr_images *images = verify->op.images;
    const char *digest = ctr_json_str(descriptor, "digest", "");
    struct layer_source source = {
        .digest = digest,
        .media_type = ctr_json_str(descriptor, "mediaType", ""),
        .size = (uint64_t) ctr_json_int(descriptor, "size", 0),
        .max = images->conf != NULL ? images->conf->engine.max_image : 0,
        .diff_id = diff_id,
    };
    int rc = layer_read(&verify->op, &source, NULL, NULL, "Verifying", NULL, verify->err);
    char known[72];
    if (rc == 0 &&
        (layer_diff_id(verify->op.images, digest, known) < 0 || strcmp(known, diff_id) != 0)) {
        rc = layer_remember(verify->op.images, digest, diff_id, verify->err);
    }
    return rc;
}

static int
blob_look(struct verify *verify, const json_t *descriptor, const char *diff_id,
          enum blob_state *ret)
{
    const char *digest = ctr_json_str(descriptor, "digest", "");
    int rc = lease_add(&verify->op, digest, verify->err);
    if (rc < 0) {
        return rc;
    }
    if (!ctr_blob_exists(verify->op.images->store, digest, NULL)) {
        *ret = BLOB_MISSING;
        return 0;
    }
    rc = diff_id != NULL ? layer_hash(verify, descriptor, diff_id) : blob_hash(verify, digest);
    if (rc == -EIO) {
        (void) ctr_blob_set_aside(verify->op.images->store,
                                  digest); /* the disk cannot read it */
    }
    *ret = rc < 0 ? BLOB_DAMAGED : BLOB_WHOLE;
    return rc == -EBADMSG || rc == -EIO ? 0 : rc;
}

int
verify_blob_state(struct verify *verify, const json_t *descriptor, const char *diff_id,
                  enum blob_state *ret)
{
    const char *digest = ctr_json_str(descriptor, "digest", "");
    CTR_AUTO(free)
    char *key = ctr_printf("%s%s%s", digest, diff_id != NULL ? " " : "",
                           diff_id != NULL ? diff_id : "");
    if (key == NULL) {
        return verify_fail_memory(verify);
    }
    const json_t *known = json_object_get(verify->states, key);
    if (known != NULL) {
        *ret = (enum blob_state) json_integer_value(known);
        return 0;
    }
    int rc = blob_look(verify, descriptor, diff_id, ret);
    /* Also under its digest alone: then it belongs to an image. */
    if (rc == 0 && (json_object_set_new(verify->states, key, json_integer(*ret)) < 0 ||
                    json_object_set_new(verify->states, digest, json_integer(*ret)) < 0)) {
        rc = verify_fail_memory(verify);
    }
    return rc;
}
