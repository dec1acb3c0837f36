/*
 * Body and tail. The sum finds damage by disks, not by enemies: nobody but this plugin writes into its folder.
 */
#include "plugins/storage-erofs/tail.h"
#include "plugins/storage-erofs/format.h"
#include "plugins/storage-erofs/store.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { TAIL_SIZE = 64 };

/* --- the sum: of a length, then of pieces whose own lengths, but the last one's, are multiples of 8 --- */

static uint64_t
sum_begin(uint64_t length)
{
    return 0x9e3779b97f4a7c15u ^ length;
}

static uint64_t
sum_add(uint64_t sum, const uint8_t *bytes, size_t length)
{
    for (; length >= 8; bytes += 8, length -= 8) {
        sum = (sum ^ get_le(bytes, 8)) * 0xff51afd7ed558ccdu;
        sum ^= sum >> 32;
    }
    if (length > 0) {
        sum = (sum ^ get_le(bytes, (int) length)) * 0xff51afd7ed558ccdu;
        sum ^= sum >> 32;
    }
    return sum;
}

/* What the last piece leaves. */
static uint64_t
sum_end(uint64_t sum, uint64_t length)
{
    sum = length % 8 == 0 ? sum * 0xff51afd7ed558ccdu : sum;
    return length % 8 == 0 ? sum ^ sum >> 32 : sum;
}

static uint64_t
sum_of(const uint8_t *bytes, size_t length)
{
    return sum_end(sum_add(sum_begin(length), bytes, length), length);
}

/* Sums a body up, and copies it to a place in a file, or with -1 nowhere. */
static int
sum_body(const struct span *body, int to, uint64_t offset, uint64_t *ret_sum)
{
    uint8_t piece[SPAN_PIECE];
    uint64_t sum = sum_begin(body->length);
    for (uint64_t done = 0; done < body->length;) {
        uint64_t left = body->length - done;
        size_t n = left < sizeof piece ? (size_t) left : sizeof piece;
        int code = span_read(body, done, piece, n);
        code = code == 0 && to >= 0 ? write_at(to, piece, n, offset + done) : code;
        if (code != 0) {
            return code;
        }
        sum = sum_add(sum, piece, n);
        done += n;
    }
    *ret_sum = sum_end(sum, body->length);
    return 0;
}

int
tail_write(int fd, uint64_t offset, const char *kind, const struct tail *tail,
           struct ctr_error *err)
{
    uint8_t out[TAIL_SIZE] = {0};
    uint64_t sum = 0;
    int code = sum_body(&tail->body, fd, offset, &sum);
    memcpy(out, kind, 8);
    put_le(out + 8, tail->blocks, 8);
    put_le(out + 16, offset, 8);
    put_le(out + 24, tail->body.length, 8);
    put_le(out + 32, tail->inodes, 8);
    put_le(out + 40, sum, 8);
    put_le(out + 56, sum_of(out, 56), 8);
    code = code == 0 ? write_at(fd, out, sizeof out, offset + tail->body.length) : code;
    errno = -code;
    return code == 0 ? 0 : fail_errno(err, "writing", "the image");
}

static int
read_tail(int fd, const char *kind, struct tail *ret)
{
    uint8_t in[TAIL_SIZE];
    struct stat st;
    uint64_t sum = 0;
    if (fstat(fd, &st) != 0 || st.st_size < TAIL_SIZE) {
        return -EBADMSG;
    }
    uint64_t end = (uint64_t) st.st_size - TAIL_SIZE;
    const struct span span = {.fd = fd, .at = end, .length = TAIL_SIZE};
    int code = span_read(&span, 0, in, sizeof in);
    if (code != 0) {
        return code;
    }
    ret->body = (struct span){.fd = fd, .at = get_le(in + 16, 8), .length = get_le(in + 24, 8)};
    ret->blocks = get_le(in + 8, 8);
    ret->inodes = get_le(in + 32, 8);
    if (memcmp(in, kind, 8) != 0 || get_le(in + 56, 8) != sum_of(in, 56) ||
        ret->body.at > end || ret->body.length != end - ret->body.at ||
        ret->blocks > ret->body.at / EROFS_BLOCK) {
        return -EBADMSG;
    }
    code = sum_body(&ret->body, -1, 0, &sum);
    return code == 0 && get_le(in + 40, 8) != sum ? -EBADMSG : code;
}

int
tail_read(int fd, const char *kind, const char *name, struct tail *ret, struct ctr_error *err)
{
    *ret = (struct tail){0};
    int code = read_tail(fd, kind, ret);
    if (code == -EBADMSG) {
        return ctr_fail(err, code,
                        "storage-erofs: %s is damaged; remove the images that use it and pull "
                        "them again",
                        name);
    }
    errno = -code;
    return code == 0 ? 0 : fail_errno(err, "reading", name);
}
