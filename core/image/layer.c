/*
 * Layers' bytes: from a blob, in the store or on its way there, decompressed, with its diff_id checked over all of them; of a blob
 * that was in the store before, also the digest.
 */
#include "core/image/flow.h"

#define LAYER_PIECE ((size_t) 256 << 10)
#define LAYER_SHOW ((uint64_t) 1 << 20) /* bytes between two steps */

struct layer_state {
    struct tail_reader *reader;
    const struct layer_source *source;
    int (*sink)(void *arg, const void *bytes, size_t length, struct ctr_error *err);
    void *arg;
    const char *status;
    struct ctr_sha256 *blob_sha, *diff_sha; /* blob_sha: only of a stored blob */
    struct inflater *inflater;
    uint8_t *in;
};

static int
layer_emit(void *arg, const void *bytes, size_t length, struct ctr_error *err)
{
    struct layer_state *state = arg;
    const struct layer_source *source = state->source;
    state->reader->made += length;
    if (source->made != NULL && source->max > 0 &&
        atomic_fetch_add(source->made, length) + length > source->max) {
        return inflater_fail_size(source->max, err);
    }
    ctr_sha256_add(state->diff_sha, bytes, length);
    return state->sink != NULL ? state->sink(state->arg, bytes, length, err) : 0;
}

static int
layer_start(struct layer_state *state, struct ctr_error *err)
{
    enum media kind = media_kind(state->source->media_type);
    if (kind < MEDIA_TAR) {
        return ctr_fail(err, -EBADMSG, "type %.120s is no layer", state->source->media_type);
    }
    state->in = malloc(LAYER_PIECE);
    state->diff_sha = ctr_sha256_create();
    if (state->reader->stored) {
        state->blob_sha = ctr_sha256_create();
    }
    if (state->in == NULL || state->diff_sha == NULL ||
        (state->reader->stored && state->blob_sha == NULL)) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    return inflater_create(kind, state->source->max, layer_emit, state, &state->inflater, err);
}

static void
layer_stop(struct layer_state *state)
{
    inflater_destroy(state->inflater);
    ctr_sha256_destroy(state->blob_sha);
    ctr_sha256_destroy(state->diff_sha);
    free(state->in);
}

/* The blob on disk is no longer what was stored: set it aside, so that a pull fetches it anew. */
static int
layer_check_blob(struct layer_state *state, struct ctr_error *err)
{
    char digest[72];
    if (state->blob_sha == NULL) {
        return 0;
    }
    ctr_sha256_finish(state->blob_sha, digest);
    if (strcmp(digest, state->source->digest) == 0) {
        return 0;
    }
    (void) ctr_blob_set_aside(state->reader->op->images->store, state->source->digest);
    return ctr_fail(err, -EBADMSG,
                    "its bytes on disk are damaged and were set aside; pull the image again");
}

/* All bytes have been read: were they whole, and the right ones? */
static int
layer_check_content(struct layer_state *state, char *ret_diff_id, struct ctr_error *err)
{
    char diff_id[72];
    int rc = inflater_end(state->inflater, err);
    if (rc < 0) {
        return rc;
    }
    ctr_sha256_finish(state->diff_sha, diff_id);
    if (state->source->diff_id[0] != '\0' && strcmp(diff_id, state->source->diff_id) != 0) {
        return ctr_fail(err, -EBADMSG,
                        "it unpacks to %s, but the image config says %s; the image is broken",
                        diff_id, state->source->diff_id);
    }
    if (ret_diff_id != NULL) {
        memcpy(ret_diff_id, diff_id, sizeof diff_id);
    }
    return 0;
}

/* Reads the blob to its end, also when decompression fails: then damage on its way or on disk can be told from a bad image. */
static int
layer_run(struct layer_state *state, struct ctr_error *err)
{
    struct tail_reader *reader = state->reader;
    uint64_t shown = 0;
    int rc = 0;
    for (;;) {
        struct ctr_error inner = CTR_ERROR_INIT;
        size_t n = 0;
        if (ctr_transfer_cancelled(&reader->op->transfer)) {
            return ctr_fail_cancelled(err);
        }
        int status = tail_read(reader, state->in, LAYER_PIECE, &n, &inner);
        if (status < 0) {
            return ctr_fail(err, status, "%s", inner.msg);
        }
        if (n == 0) {
            return rc;
        }
        if (state->blob_sha != NULL) {
            ctr_sha256_add(state->blob_sha, state->in, n);
        }
        rc = rc < 0 ? rc : inflater_push(state->inflater, state->in, n, err);
        if (rc < 0 && rc != -EBADMSG) {
            return rc;
        }
        if (state->status != NULL && reader->offset - shown >= LAYER_SHOW) {
            shown = reader->offset;
            ctr_transfer_step(&reader->op->transfer, state->source->digest, state->status,
                              shown, state->source->size);
        }
    }
}

int
layer_follow(struct tail_reader *reader, const struct layer_source *source,
             int (*sink)(void *arg, const void *bytes, size_t length, struct ctr_error *err),
             void *arg, const char *status, char *ret_diff_id, struct ctr_error *err)
{
    struct layer_state state = {
        .reader = reader, .source = source, .sink = sink, .arg = arg, .status = status};
    int rc = layer_start(&state, err);
    if (rc == 0) {
        rc = layer_run(&state, err);
        if (rc == 0 || rc == -EBADMSG) {
            int damaged = layer_check_blob(&state, err);
            rc = damaged < 0 ? damaged : rc;
        }
        if (rc == 0) {
            rc = layer_check_content(&state, ret_diff_id, err);
        }
    }
    layer_stop(&state);
    return rc < 0 && rc != -ECANCELED && rc != -ESTALE
               ? ctr_prefix(err, "layer %.19s", source->digest)
               : rc;
}

int
layer_read(struct image_op *op, const struct layer_source *source,
           int (*sink)(void *arg, const void *bytes, size_t length, struct ctr_error *err),
           void *arg, const char *status, char *ret_diff_id, struct ctr_error *err)
{
    CTR_AUTO(fd) int fd = -1;
    uint64_t size = 0;
    int rc = ctr_blob_open(op->images->store, source->digest, &fd, &size, err);
    if (rc < 0) {
        return rc;
    }
    struct tail tail;
    struct tail_reader reader;
    tail_init(&tail, size);
    rc = tail_begin(&tail, TAIL_STORED, fd, size, err);
    rc = rc < 0 ? rc : tail_open(&tail, op, &reader, err);
    if (rc == 0) {
        rc = layer_follow(&reader, source, sink, arg, status, ret_diff_id, err);
        tail_close(&reader);
    }
    tail_finish(&tail);
    return rc;
}

void
layer_source_init(struct layer_source *source, const struct ctr_images *images,
                  const json_t *descriptor, const char *diff_id)
{
    *source = (struct layer_source){
        .digest = ctr_json_str(descriptor, "digest", ""),
        .media_type = ctr_json_str(descriptor, "mediaType", ""),
        .size = (uint64_t) ctr_json_int(descriptor, "size", 0),
        .max = images->conf != NULL ? images->conf->engine.max_image : 0,
        .diff_id = diff_id,
    };
}
