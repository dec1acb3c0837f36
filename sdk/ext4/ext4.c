/*
 * The public face of the ext4 writer (<ctr/ext4.h>).
 */
#include <ctr/ext4.h>

#include "plugins/storage-ext4/ext4.h"
#include <errno.h>
#include <fcntl.h>

enum { JOURNAL = 16 << 20, LEAST = 64 << 20 };

int
ctr_ext4_blank(const char *path, uint64_t bytes, struct ctr_error *err)
{
    if (bytes < LEAST || bytes % E4_BLOCK != 0 || bytes > E4_MAX_SIZE) {
        return ctr_fail(err, -EINVAL, "%s: %llu is no size for an ext4 image", path,
                        (unsigned long long) bytes);
    }
    return e4_format(path, bytes, JOURNAL, err);
}

int
ctr_ext4_apply(const char *path, int32_t tar_fd, const struct ctr_layer_limits *limits,
               struct ctr_error *err)
{
    struct e4_budget budget = {.max_bytes = limits != NULL ? limits->max_bytes : 0,
                               .max_entries = limits != NULL ? limits->max_entries : 0};
    return e4_apply(path, tar_fd, &budget, err);
}

int
ctr_file_clone(int32_t from, const char *to, struct ctr_error *err)
{
    bool reflink;
    return e4_copy(from, AT_FDCWD, to, &reflink, err);
}
