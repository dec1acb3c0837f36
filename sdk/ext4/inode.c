/*
 * Inodes: owners, modes and times as a layer's entry says, and their freeing. A freed inode is zeroed on disk, so that a new
 * one in its place starts clean.
 */
#include "sdk/ext4/writer.h"
#include <errno.h>

#define TIME_MIN (-(1LL << 31))
#define TIME_MAX ((1LL << 34) - (1LL << 31) - 1)

int
e4_inode_read(struct e4_image *image, ext2_ino_t ino, struct ext2_inode_large *ret,
              struct ctr_error *err)
{
    errcode_t code =
        ext2fs_read_inode_full(image->fs, ino, (struct ext2_inode *) ret, sizeof *ret);
    return code == 0 ? 0 : e4_fail(err, code, "read image: inode %u", ino);
}

static int
write_inode(struct e4_image *image, ext2_ino_t ino, void *bytes, int length,
            struct ctr_error *err)
{
    errcode_t code = ext2fs_write_inode_full(image->fs, ino, bytes, length);
    return code == 0 ? 0 : e4_fail(err, code, "write image: inode %u", ino);
}

int
e4_inode_create(struct e4_image *image, ext2_ino_t ino, struct ext2_inode_large *inode,
                struct ctr_error *err)
{
    union {
        struct ext2_inode_large inode;
        char bytes[E4_INODE_BYTES];
    } whole;
    memset(&whole, 0, sizeof whole);
    whole.inode = *inode;
    return write_inode(image, ino, &whole, sizeof whole, err);
}

int
e4_inode_update(struct e4_image *image, ext2_ino_t ino, struct ext2_inode_large *inode,
                struct ctr_error *err)
{
    return write_inode(image, ino, inode, sizeof *inode, err);
}

/* ext4 keeps 34 bits of seconds: 32 in the old field, two above the nanoseconds. Times beyond are cut to the nearest. */
static void
set_time(const struct ctr_layer_entry *entry, uint32_t *ret, uint32_t *ret_extra)
{
    int64_t seconds = entry->mtime;
    seconds = seconds < TIME_MIN ? TIME_MIN : seconds > TIME_MAX ? TIME_MAX : seconds;
    int64_t epoch = (seconds - (int32_t) seconds) >> 32;
    *ret = (uint32_t) seconds;
    *ret_extra = (entry->mtime_nsec << 2) | ((uint32_t) epoch & 3);
}

void
e4_inode_fill(struct ext2_inode_large *inode, const struct ctr_layer_entry *entry,
              uint32_t format)
{
    inode->i_mode = (uint16_t) (format | entry->mode);
    inode->i_uid = (uint16_t) entry->uid;
    ext2fs_set_i_uid_high(*inode, (uint16_t) (entry->uid >> 16));
    inode->i_gid = (uint16_t) entry->gid;
    ext2fs_set_i_gid_high(*inode, (uint16_t) (entry->gid >> 16));
    inode->i_extra_isize = sizeof *inode - EXT2_GOOD_OLD_INODE_SIZE;
    set_time(entry, &inode->i_mtime, &inode->i_mtime_extra);
    set_time(entry, &inode->i_atime, &inode->i_atime_extra);
    set_time(entry, &inode->i_ctime, &inode->i_ctime_extra);
    set_time(entry, &inode->i_crtime, &inode->i_crtime_extra);
}

int
e4_inode_truncate(struct e4_image *image, ext2_ino_t ino, struct ext2_inode_large *inode,
                  struct ctr_error *err)
{
    if (!ext2fs_inode_has_valid_blocks2(image->fs, (struct ext2_inode *) inode)) {
        return 0;
    }
    int status = e4_buffer_flush(image, err);
    if (status != 0) {
        return status;
    }
    image->freed = true;
    errcode_t code = ext2fs_punch(image->fs, ino, (struct ext2_inode *) inode, NULL, 0, ~0ULL);
    return code == 0 ? 0 : e4_fail(err, code, "write image: free inode %u", ino);
}

int
e4_inode_free(struct e4_image *image, ext2_ino_t ino, bool is_dir, struct ctr_error *err)
{
    struct ext2_inode_large inode;
    int status = e4_inode_read(image, ino, &inode, err);
    if (status == 0) {
        status = e4_inode_truncate(image, ino, &inode, err);
    }
    if (status != 0) {
        return status;
    }
    errcode_t code = ext2fs_free_ext_attr(image->fs, ino, &inode);
    if (code != 0) {
        return e4_fail(err, code, "write image: free inode %u", ino);
    }
    memset(&inode, 0, sizeof inode);
    status = e4_inode_create(image, ino, &inode, err);
    if (status == 0) {
        ext2fs_inode_alloc_stats2(image->fs, ino, -1, is_dir);
        image->ino_cursor = ino < image->ino_cursor ? ino : image->ino_cursor;
    }
    return status;
}

int
e4_inode_drop(struct e4_image *image, ext2_ino_t ino, struct ctr_error *err)
{
    struct ext2_inode_large inode;
    int status = e4_inode_read(image, ino, &inode, err);
    if (status != 0) {
        return status;
    }
    if (inode.i_links_count > 1) {
        inode.i_links_count--;
        return e4_inode_update(image, ino, &inode, err);
    }
    return e4_inode_free(image, ino, false, err);
}
