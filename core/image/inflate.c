/*
 * A layer's decompressor, pushed: gzip as RFC 1952 with any number of members, zstd frames with a window of at most 128 MiB,
 * or plain tar. What the media type says must be what is there; whatever follows the last member is an error.
 */
#include "core/image/flow.h"
#include <zstd.h>

#define INFLATE_PIECE ((size_t) 256 << 10)
#define INFLATE_ZSTD_WINDOW_LOG 27

struct inflater {
    enum media kind;
    uint64_t made, max;
    int (*emit)(void *arg, const void *bytes, size_t length, struct ctr_error *err);
    void *arg;
    uint8_t *out;
    struct gunzip *gzip;
    ZSTD_DStream *zstd;
    bool inside;     /* a gzip member or a zstd frame is open, or none has come yet */
    bool begun;      /* the first member has */
    uint8_t head[4]; /* of a zstd frame */
    size_t n_head;
};

int
inflater_create(enum media kind, uint64_t max,
                int (*emit)(void *arg, const void *bytes, size_t length, struct ctr_error *err),
                void *arg, struct inflater **ret, struct ctr_error *err)
{
    struct inflater *inflater = calloc(1, sizeof *inflater);
    if (inflater == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    *inflater = (struct inflater){
        .kind = kind, .max = max, .emit = emit, .arg = arg, .inside = kind != MEDIA_TAR};
    bool ok = true;
    if (kind != MEDIA_TAR) {
        inflater->out = malloc(INFLATE_PIECE);
        ok = inflater->out != NULL;
    }
    if (kind == MEDIA_TAR_GZIP) {
        inflater->gzip = gunzip_create();
        ok = ok && inflater->gzip != NULL;
    } else if (kind == MEDIA_TAR_ZSTD) {
        inflater->zstd = ZSTD_createDStream();
        ok = ok && inflater->zstd != NULL &&
             !ZSTD_isError(ZSTD_DCtx_setParameter(inflater->zstd, ZSTD_d_windowLogMax,
                                                  INFLATE_ZSTD_WINDOW_LOG));
    }
    if (!ok) {
        inflater_destroy(inflater);
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    *ret = inflater;
    return 0;
}

void
inflater_destroy(struct inflater *inflater)
{
    if (inflater != NULL) {
        gunzip_destroy(inflater->gzip);
        (void) ZSTD_freeDStream(inflater->zstd);
        free(inflater->out);
        free(inflater);
    }
}

int
inflater_fail_size(uint64_t max, struct ctr_error *err)
{
    return ctr_fail(
        err, -EFBIG,
        "it unpacks to more than %llu bytes; raise [engine] max_image if that is right",
        (unsigned long long) max);
}

static int
inflater_emit(struct inflater *inflater, const void *bytes, size_t length,
              struct ctr_error *err)
{
    inflater->made += length;
    if (inflater->max > 0 && inflater->made > inflater->max) {
        return inflater_fail_size(inflater->max, err);
    }
    return length > 0 ? inflater->emit(inflater->arg, bytes, length, err) : 0;
}

/* The next member begins where the last one ended. */
static int
inflater_gzip_member(struct inflater *inflater, uint8_t first, struct ctr_error *err)
{
    if (inflater->begun && inflater->inside) {
        return 0;
    }
    if (first != 0x1f) {
        return ctr_fail(err, -EBADMSG, "it is not gzip, or has bytes behind its end");
    }
    gunzip_begin(inflater->gzip);
    inflater->begun = inflater->inside = true;
    return 0;
}

static int
inflater_gzip(struct inflater *inflater, const uint8_t *bytes, size_t length,
              struct ctr_error *err)
{
    size_t made = 0;
    while (length > 0 || made == INFLATE_PIECE) {
        int rc = length > 0 ? inflater_gzip_member(inflater, *bytes, err) : 0;
        if (rc < 0) {
            return rc;
        }
        size_t before = length;
        int status =
            gunzip_step(inflater->gzip, &bytes, &length, inflater->out, INFLATE_PIECE, &made);
        if (status < 0 || (status == 0 && made == 0 && before > 0 && length == before)) {
            return ctr_fail(err, -EBADMSG, "its gzip data is broken");
        }
        rc = inflater_emit(inflater, inflater->out, made, err);
        if (rc < 0) {
            return rc;
        }
        if (status == 1) {
            inflater->inside = false;
            made = 0;
        }
    }
    return 0;
}

/* A frame's magic number: RFC 8878's, or a skippable frame's. The library would also read what zstd wrote before its format was fixed. */
static int
inflater_zstd_head(struct inflater *inflater, const uint8_t *bytes, size_t length,
                   struct ctr_error *err)
{
    static const uint8_t frame[4] = {0x28, 0xb5, 0x2f, 0xfd},
                         skip[4] = {0x50, 0x2a, 0x4d, 0x18};
    size_t n = inflater->n_head;
    while (n < sizeof inflater->head && length > 0) {
        inflater->head[n++] = *bytes++;
        length--;
    }
    inflater->n_head = n;
    const uint8_t *head = inflater->head;
    bool skippable =
        n == 0 || ((head[0] & 0xf0) == skip[0] && memcmp(head + 1, skip + 1, n - 1) == 0);
    if (!skippable && memcmp(head, frame, n) != 0) {
        return ctr_fail(err, -EBADMSG, "it is not zstd, or has bytes behind its end");
    }
    return 0;
}

static int
inflater_zstd(struct inflater *inflater, const uint8_t *bytes, size_t length,
              struct ctr_error *err)
{
    ZSTD_inBuffer in = {.src = bytes, .size = length};
    bool full = false;
    while (in.pos < in.size || full) {
        if (inflater_zstd_head(inflater, bytes + in.pos, in.size - in.pos, err) < 0) {
            return err->code;
        }
        ZSTD_outBuffer out = {.dst = inflater->out, .size = INFLATE_PIECE};
        size_t left = ZSTD_decompressStream(inflater->zstd, &out, &in);
        if (ZSTD_isError(left)) {
            return ctr_fail(err, -EBADMSG, "its zstd data is broken (%s)",
                            ZSTD_getErrorName(left));
        }
        inflater->inside = left != 0;
        inflater->n_head = left != 0 ? inflater->n_head : 0;
        full = out.pos == out.size && left != 0;
        int rc = inflater_emit(inflater, inflater->out, out.pos, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

int
inflater_push(struct inflater *inflater, const void *bytes, size_t length,
              struct ctr_error *err)
{
    switch (inflater->kind) {
    case MEDIA_TAR_GZIP:
        return inflater_gzip(inflater, bytes, length, err);
    case MEDIA_TAR_ZSTD:
        return inflater_zstd(inflater, bytes, length, err);
    default:
        return inflater_emit(inflater, bytes, length, err);
    }
}

int
inflater_end(const struct inflater *inflater, struct ctr_error *err)
{
    return inflater->inside ? ctr_fail(err, -EBADMSG, "its compressed data ends too early") : 0;
}
