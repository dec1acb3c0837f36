/*
 * format: EROFS on disk (Linux Documentation/filesystems/erofs.rst), uncompressed, 4 KiB blocks, extended inodes.
 *
 * An image is: block 0 (superblock at 1,024) | the layer's data | large folders | inodes with their xattrs, link targets and small folders.
 * In a chain the data comes last.
 */
#ifndef EROFS_FORMAT_H
#define EROFS_FORMAT_H

#include "plugins/storage-erofs/tree.h"

#define EROFS_BLOCK 4096u

/* Writes folders and inodes from block `first` on, and the superblock. Files' blocks count from the image's begin, or, with `data_behind`
 * data blocks that follow the metadata on the guest's disk, from the first of those. *ret_end is the block behind the metadata. Not yet
 * durable. The tree can only be finished afterwards. */
int erofs_write(int fd, struct tree *tree, uint32_t first, uint32_t data_behind,
                uint64_t *ret_end, uint64_t *ret_inodes, struct ctr_error *err);

/* --- little-endian numbers --- */

static inline void
put_le(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        at[i] = (uint8_t) (value >> (8 * i));
    }
}
static inline uint64_t
get_le(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) {
        value |= (uint64_t) at[i] << (8 * i);
    }
    return value;
}

enum {
    EROFS_MAGIC = 0xE0F5E1E2u,
    EROFS_SUPER = 1024,
    EROFS_INODE = 64, /* extended */
    EROFS_SLOT = 32,  /* a nid counts these */
    EROFS_DIRENT = 12,
    EROFS_PLAIN = 0, /* i_format's layouts */
    EROFS_INLINE = 2,
    EROFS_XATTR_HEADER = 12,
};

/* xattr name prefixes by index */
static const char *const erofs_prefixes[] = {
    NULL, "user.",    "system.posix_acl_access", "system.posix_acl_default", "trusted.",
    NULL, "security."};
#define EROFS_PREFIXES (sizeof erofs_prefixes / sizeof erofs_prefixes[0])

#endif
