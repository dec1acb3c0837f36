/*
 * Copies of image files: the filesystem's own clone where it can, else the data segments only, by copy_file_range (the kernel copies)
 * or by hand.
 */
#include "sdk/ext4/writer.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/fs.h>
#else
#include <sys/clonefile.h>
#endif

#define PIECE (1024 * 1024)

int
ctr_file_sync(int32_t fd)
{
#ifdef F_FULLFSYNC
    if (fcntl(fd, F_FULLFSYNC) == 0) {
        return 0;
    }
#endif
    return fsync(fd) == 0 ? 0 : -errno;
}

static errcode_t
copy_by_hand(int from, int to, uint64_t offset, uint64_t length)
{
    char *piece = malloc(PIECE);
    errcode_t code = piece == NULL ? ENOMEM : 0;
    while (code == 0 && length > 0) {
        size_t n = length < PIECE ? (size_t) length : PIECE;
        code = e4_pread_all(from, piece, n, offset);
        code = code == 0 ? e4_pwrite_all(to, piece, n, offset) : code;
        offset += n;
        length -= n;
    }
    free(piece);
    return code;
}

static errcode_t
copy_segment(int from, int to, uint64_t offset, uint64_t length)
{
#ifdef __linux__
    while (length > 0) {
        loff_t in = (loff_t) offset, out = (loff_t) offset;
        ssize_t n = copy_file_range(from, &in, to, &out, (size_t) length, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO)) {
            return errno;
        }
        if (n <= 0) {
            break; /* this filesystem does not: by hand */
        }
        offset += (uint64_t) n;
        length -= (uint64_t) n;
    }
#endif
    return copy_by_hand(from, to, offset, length);
}

static errcode_t
copy_segments(int from, int to, off_t bytes)
{
    off_t at = 0;
    while (at < bytes) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0) {
            return errno == ENXIO ? 0 : errno;
        }
        off_t hole = lseek(from, data, SEEK_HOLE);
        if (hole < 0) {
            return errno;
        }
        errcode_t code = copy_segment(from, to, (uint64_t) data, (uint64_t) (hole - data));
        if (code != 0) {
            return code;
        }
        at = hole;
    }
    return 0;
}

static errcode_t
copy_into(int from, int to, bool *ret_reflink)
{
#ifdef FICLONE
    *ret_reflink = ioctl(to, FICLONE, from) == 0;
    if (*ret_reflink) {
        return 0;
    }
#endif
    off_t bytes = lseek(from, 0, SEEK_END);
    if (bytes < 0 || ftruncate(to, bytes) != 0) {
        return errno;
    }
    return copy_segments(from, to, bytes);
}

int
ctr_file_clone(int32_t from, int32_t folder, const char *name, bool *ret_reflink,
               struct ctr_error *err)
{
    bool reflink = false;
    ret_reflink = ret_reflink != NULL ? ret_reflink : &reflink;
#ifdef __APPLE__
    *ret_reflink = fclonefileat(from, folder, name, 0) == 0;
    if (*ret_reflink) {
        return 0;
    }
#endif
    int to = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (to < 0) {
        return e4_fail(err, errno, "copy image to %s", name);
    }
    errcode_t code = copy_into(from, to, ret_reflink);
    (void) close(to);
    if (code != 0) {
        (void) unlinkat(folder, name, 0);
        return e4_fail(err, code, "copy image to %s", name);
    }
    return 0;
}
