/*
 * A layer's decompressor on any bytes: the first byte chooses gzip, zstd or plain tar and the length of the pieces. However they are
 * cut, the same comes out, and never more than the limit.
 */
#include "core/image/flow.h"

#define LIMIT ((uint64_t) 8 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct out {
    struct ctr_sha256 *sha;
    uint64_t bytes;
};

static int
on_bytes(void *arg, const void *bytes, size_t length, struct ctr_error *err)
{
    struct out *out = arg;
    (void) err;
    out->bytes += length;
    if (length == 0 || out->bytes > LIMIT) {
        abort();
    }
    ctr_sha256_add(out->sha, bytes, length);
    return 0;
}

static int
inflate_all(enum media kind, const uint8_t *data, size_t size, size_t piece, char digest[72])
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct out out = {.sha = ctr_sha256_create()};
    struct inflater *inflater = NULL;
    int rc = inflater_create(kind, LIMIT, on_bytes, &out, &inflater, &err);
    for (size_t at = 0; rc == 0 && at < size; at += piece) {
        rc = inflater_push(inflater, data + at, size - at < piece ? size - at : piece, &err);
    }
    rc = rc < 0 ? rc : inflater_end(inflater, &err);
    if ((rc < 0) != (err.code < 0)) {
        abort();
    }
    inflater_destroy(inflater);
    ctr_sha256_finish(out.sha, digest);
    ctr_sha256_destroy(out.sha);
    return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum media kinds[] = {MEDIA_TAR_GZIP, MEDIA_TAR_ZSTD, MEDIA_TAR,
                                       MEDIA_TAR_GZIP};
    char whole[72], pieces[72];
    if (size < 1) {
        return 0;
    }
    enum media kind = kinds[data[0] & 3];
    int a = inflate_all(kind, data + 1, size - 1, size, whole);
    int b = inflate_all(kind, data + 1, size - 1, 1 + (size_t) (data[0] >> 2), pieces);
    if ((a == 0) != (b == 0) || (a == 0 && strcmp(whole, pieces) != 0)) {
        abort();
    }
    return 0;
}
