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
#include <unistd.h>

enum { TAIL_SIZE = 64 };

static uint64_t
sum_of(const uint8_t *bytes, size_t length)
{
    uint64_t sum = 0x9e3779b97f4a7c15u ^ length;
    for (; length >= 8; bytes += 8, length -= 8) {
        sum = (sum ^ get_le(bytes, 8)) * 0xff51afd7ed558ccdu;
        sum ^= sum >> 32;
    }
    sum = (sum ^ get_le(bytes, (int) length)) * 0xff51afd7ed558ccdu;
    return sum ^ sum >> 32;
}

int
tail_write(int fd, uint64_t offset, const char *kind, const struct tail *tail,
           struct ctr_error *err)
{
    uint8_t out[TAIL_SIZE] = {0};
    memcpy(out, kind, 8);
    put_le(out + 8, tail->blocks, 8);
    put_le(out + 16, offset, 8);
    put_le(out + 24, tail->length, 8);
    put_le(out + 32, tail->inodes, 8);
    put_le(out + 40, sum_of(tail->body, tail->length), 8);
    put_le(out + 56, sum_of(out, 56), 8);
    int code = write_at(fd, tail->body, tail->length, offset);
    code = code == 0 ? write_at(fd, out, sizeof out, offset + tail->length) : code;
    errno = -code;
    return code == 0 ? 0 : fail_errno(err, "writing", "the image");
}

static int
read_at(int fd, uint8_t *bytes, size_t length, uint64_t offset)
{
    for (size_t done = 0; done < length;) {
        ssize_t n = pread(fd, bytes + done, length - done, (off_t) (offset + done));
        if (n == 0 || (n < 0 && errno != EINTR)) {
            return n == 0 ? -EBADMSG : -errno;
        }
        done += n > 0 ? (size_t) n : 0;
    }
    return 0;
}

static int
read_tail(int fd, const char *kind, struct tail *ret)
{
    uint8_t in[TAIL_SIZE];
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_size < TAIL_SIZE) {
        return -EBADMSG;
    }
    uint64_t end = (uint64_t) st.st_size - TAIL_SIZE;
    int code = read_at(fd, in, sizeof in, end);
    if (code != 0) {
        return code;
    }
    uint64_t at = get_le(in + 16, 8), length = get_le(in + 24, 8);
    ret->blocks = get_le(in + 8, 8);
    ret->inodes = get_le(in + 32, 8);
    if (memcmp(in, kind, 8) != 0 || get_le(in + 56, 8) != sum_of(in, 56) || at > end ||
        length != end - at || ret->blocks > at / EROFS_BLOCK) {
        return -EBADMSG;
    }
    ret->length = (size_t) length;
    ret->body = malloc(ret->length + 1);
    code = ret->body != NULL ? read_at(fd, ret->body, ret->length, at) : -ENOMEM;
    return code == 0 && get_le(in + 40, 8) != sum_of(ret->body, ret->length) ? -EBADMSG : code;
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

void
tail_finish(struct tail *tail)
{
    free(tail->body);
    *tail = (struct tail){0};
}
