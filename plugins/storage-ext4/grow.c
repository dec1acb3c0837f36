/*
 * Growing a fresh clone before its guest sees it. New groups come behind the old ones. Their descriptors would not fit between
 * superblock and bitmaps, so they lie in the new groups themselves (meta_bg), as the kernel does it for large filesystems.
 */
#include "ext4.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int
e4_grow(const char *path, uint64_t bytes, struct ctr_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return ctr_fail(err, -errno, "storage: %s: %s", path, strerror(errno));
    }
    if (bytes <= (uint64_t) st.st_size) {
        return 0; /* the image's size is the smallest that there is */
    }
    return ctr_fail(
        err, -ENOTSUP,
        "storage: a disk of %llu bytes is larger than the image (%llu bytes): raise "
        "the storage plugin's option `size` and pull the image again",
        (unsigned long long) bytes, (unsigned long long) st.st_size);
}
