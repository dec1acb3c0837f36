/*
 * Layers' bytes: read a blob from the store, decompress it, and check the blob's digest and the diff_id over all of them.
 *
 * gzip as RFC 1952: concatenated members, each with its CRC and length checked by zlib; whatever follows the last member
 * is an error. zstd: frames with a window of at most 128 MiB. What the media type says must be what is there.
 */
#include "core/image/image-priv.h"
#include <zlib.h>
#include <zstd.h>

#define LAYER_PIECE ((size_t) 256 << 10)

struct layer_state {
    struct image_op *op;
    const struct layer_source *source;
    int (*sink)(void *arg, const void *bytes, size_t length, struct ctr_error *err);
    void *arg;
    const char *status;
    struct ctr_sha256 *blob_sha, *diff_sha;
    uint64_t read, made;
    uint8_t *in, *out;
    z_stream gzip;
    bool gzip_ready, member_open; /* inside a gzip member */
    ZSTD_DStream *zstd;
    size_t zstd_left; /* 0: at the end of a frame */
};

static int
layer_emit(struct layer_state *state, const void *bytes, size_t length, struct ctr_error *err)
{
    state->made += length;
    if (state->source->max > 0 && state->made > state->source->max) {
        return ctr_fail(
            err, -EFBIG,
            "it unpacks to more than %llu bytes; raise [engine] max_image if that is right",
            (unsigned long long) state->source->max);
    }
    ctr_sha256_add(state->diff_sha, bytes, length);
    return state->sink != NULL && length > 0 ? state->sink(state->arg, bytes, length, err) : 0;
}

/* The next member begins where the last one ended. */
static int
layer_gzip_member(struct layer_state *state, struct ctr_error *err)
{
    if (state->member_open) {
        return 0;
    }
    if (state->gzip.next_in[0] != 0x1f) {
        return ctr_fail(err, -EBADMSG, "it is not gzip, or has bytes behind its end");
    }
    if (inflateReset(&state->gzip) != Z_OK) {
        return ctr_fail(err, -EIO, "zlib does not start anew");
    }
    state->member_open = true;
    return 0;
}

static int
layer_gzip(struct layer_state *state, size_t length, struct ctr_error *err)
{
    state->gzip.next_in = state->in;
    state->gzip.avail_in = (uInt) length;
    while (state->gzip.avail_in > 0) {
        int rc = layer_gzip_member(state, err);
        if (rc < 0) {
            return rc;
        }
        int status = Z_OK;
        do {
            state->gzip.next_out = state->out;
            state->gzip.avail_out = (uInt) LAYER_PIECE;
            status = inflate(&state->gzip, Z_NO_FLUSH);
            if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
                return ctr_fail(err, -EBADMSG, "its gzip data is broken (%s)",
                                state->gzip.msg != NULL ? state->gzip.msg : "no reason given");
            }
            rc = layer_emit(state, state->out, LAYER_PIECE - state->gzip.avail_out, err);
            if (rc < 0) {
                return rc;
            }
        } while (status == Z_OK && (state->gzip.avail_in > 0 || state->gzip.avail_out == 0));
        if (status == Z_STREAM_END) {
            state->member_open = false;
        } else if (state->gzip.avail_in > 0) {
            return ctr_fail(err, -EBADMSG, "its gzip data is broken");
        }
    }
    return 0;
}

static int
layer_zstd(struct layer_state *state, size_t length, struct ctr_error *err)
{
    ZSTD_inBuffer in = {.src = state->in, .size = length};
    bool full = false;
    while (in.pos < in.size || full) {
        ZSTD_outBuffer out = {.dst = state->out, .size = LAYER_PIECE};
        size_t left = ZSTD_decompressStream(state->zstd, &out, &in);
        if (ZSTD_isError(left)) {
            return ctr_fail(err, -EBADMSG, "its zstd data is broken (%s)",
                            ZSTD_getErrorName(left));
        }
        state->zstd_left = left;
        full = out.pos == out.size && left != 0;
        int rc = layer_emit(state, state->out, out.pos, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int
layer_start(struct layer_state *state, struct ctr_error *err)
{
    state->in = malloc(LAYER_PIECE);
    state->out = malloc(LAYER_PIECE);
    state->blob_sha = ctr_sha256_create();
    state->diff_sha = ctr_sha256_create();
    bool ok = state->in != NULL && state->out != NULL && state->blob_sha != NULL &&
              state->diff_sha != NULL;
    switch (media_kind(state->source->media_type)) {
    case MEDIA_TAR_GZIP:
        state->gzip_ready = ok && inflateInit2(&state->gzip, 15 + 16) == Z_OK;
        ok = state->gzip_ready;
        break;
    case MEDIA_TAR_ZSTD:
        state->zstd = ZSTD_createDStream();
        ok = ok && state->zstd != NULL &&
             !ZSTD_isError(ZSTD_DCtx_setParameter(state->zstd, ZSTD_d_windowLogMax, 27));
        break;
    case MEDIA_TAR:
        break;
    default:
        return ctr_fail(err, -EBADMSG, "type %.120s is no layer", state->source->media_type);
    }
    return ok ? 0 : ctr_fail(err, -ENOMEM, "out of memory");
}

static void
layer_stop(struct layer_state *state)
{
    if (state->gzip_ready) {
        (void) inflateEnd(&state->gzip);
    }
    (void) ZSTD_freeDStream(state->zstd);
    ctr_sha256_destroy(state->blob_sha);
    ctr_sha256_destroy(state->diff_sha);
    free(state->in);
    free(state->out);
}

static int
layer_piece(struct layer_state *state, size_t length, struct ctr_error *err)
{
    switch (media_kind(state->source->media_type)) {
    case MEDIA_TAR_GZIP:
        return layer_gzip(state, length, err);
    case MEDIA_TAR_ZSTD:
        return layer_zstd(state, length, err);
    default:
        return layer_emit(state, state->in, length, err);
    }
}

/* The blob on disk is no longer what was stored: set it aside, so that a pull fetches it anew. */
static int
layer_check_blob(struct layer_state *state, struct ctr_error *err)
{
    char digest[72];
    ctr_sha256_finish(state->blob_sha, digest);
    if (strcmp(digest, state->source->digest) == 0) {
        return 0;
    }
    (void) ctr_blob_set_aside(state->op->images->store, state->source->digest);
    return ctr_fail(err, -EBADMSG,
                    "its bytes on disk are damaged and were set aside; pull the image again");
}

/* All bytes have been read: were they whole, and the right ones? */
static int
layer_check_content(struct layer_state *state, char *ret_diff_id, struct ctr_error *err)
{
    char diff_id[72];
    ctr_sha256_finish(state->diff_sha, diff_id);
    enum media kind = media_kind(state->source->media_type);
    if ((kind == MEDIA_TAR_GZIP && state->member_open) ||
        (kind == MEDIA_TAR_ZSTD && state->zstd_left != 0)) {
        return ctr_fail(err, -EBADMSG, "its compressed data ends too early");
    }
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

/* Reads the blob to its end, also when decompression fails: then damage on disk can be told from a bad image. */
static int
layer_run(struct layer_state *state, int fd, struct ctr_error *err)
{
    int rc = 0;
    uint64_t shown = 0;
    for (;;) {
        if (op_cancelled(state->op)) {
            return op_fail_cancelled(err);
        }
        size_t n = 0;
        int status = ctr_read_all(fd, state->in, LAYER_PIECE, &n);
        if (status < 0) {
            return ctr_fail(err, status, "read: %s", strerror(-status));
        }
        if (n == 0) {
            return rc;
        }
        ctr_sha256_add(state->blob_sha, state->in, n);
        state->read += n;
        if (rc == 0) {
            rc = layer_piece(state, n, err);
        }
        if (rc < 0 && rc != -EBADMSG) {
            return rc;
        }
        if (state->status != NULL && state->read - shown >= ((uint64_t) 1 << 20)) {
            shown = state->read;
            op_step(state->op, state->source->digest, state->status, shown,
                    state->source->size);
        }
    }
}

int
layer_read(struct image_op *op, const struct layer_source *source,
           int (*sink)(void *arg, const void *bytes, size_t length, struct ctr_error *err),
           void *arg, const char *status, char *ret_diff_id, struct ctr_error *err)
{
    CTR_AUTO(fd) int fd = -1;
    int rc = ctr_blob_open(op->images->store, source->digest, &fd, NULL, err);
    if (rc < 0) {
        return rc;
    }
    struct layer_state state = {
        .op = op, .source = source, .sink = sink, .arg = arg, .status = status, .zstd_left = 1};
    rc = layer_start(&state, err);
    if (rc == 0) {
        rc = layer_run(&state, fd, err);
        if (rc == 0 || rc == -EBADMSG) {
            int damaged = layer_check_blob(&state, err);
            rc = damaged < 0 ? damaged : rc;
        }
        if (rc == 0) {
            rc = layer_check_content(&state, ret_diff_id, err);
        }
    }
    layer_stop(&state);
    return rc < 0 && rc != -ECANCELED ? ctr_prefix(err, "layer %.19s", source->digest) : rc;
}

int
layer_verify(struct image_op *op, const json_t *descriptor, const char *diff_id,
             struct ctr_error *err)
{
    const char *digest = ctr_json_str(descriptor, "digest", "");
    char known[72];
    if (layer_diff_id(op->images, digest, known) == 0 && strcmp(known, diff_id) == 0) {
        return 0;
    }
    struct layer_source source = {
        .digest = digest,
        .media_type = ctr_json_str(descriptor, "mediaType", ""),
        .size = (uint64_t) ctr_json_int(descriptor, "size", 0),
        .max = op->images->conf != NULL ? op->images->conf->engine.max_image : 0,
        .diff_id = diff_id,
    };
    int rc = layer_read(op, &source, NULL, NULL, "Verifying Checksum", NULL, err);
    return rc < 0 ? rc : layer_remember(op->images, digest, diff_id, err);
}
