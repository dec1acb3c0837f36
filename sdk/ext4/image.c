/*
 * An open filesystem, and libext2fs's errors in our words.
 *
 * Nothing of an image is ever read that a guest has written: only snapshots are opened, container disks never.
 */
#include "sdk/ext4/writer.h"
#include <errno.h>
#include <et/com_err.h>
#include <pthread.h>
#include <stdlib.h>

#define SUPERBLOCK_OFFSET 1024

static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void
add_table(void)
{
    initialize_ext2_error_table();
}

static int
code_of(errcode_t code)
{
    switch (code) {
    case EXT2_ET_BLOCK_ALLOC_FAIL:
    case EXT2_ET_INODE_ALLOC_FAIL:
    case EXT2_ET_DIR_NO_SPACE:
        return -ENOSPC;
    case EXT2_ET_NO_MEMORY:
        return -ENOMEM;
    default:
        return code > 0 && code < 1024 ? -(int) code : -EIO;
    }
}

int
e4_fail(struct ctr_error *err, errcode_t code, const char *format, ...)
{
    char what[512];
    va_list args;
    va_start(args, format);
    (void) vsnprintf(what, sizeof what, format, args);
    va_end(args);
    int ours = code_of(code);
    if (code == ENOSPC || code == EDQUOT) {
        return ctr_fail(err, ours, "%s: the host's disk is full: free some space there", what);
    }
    if (ours == -ENOSPC) {
        return ctr_fail(
            err, ours, "%s: the image is full: raise the storage plugin's option `size`", what);
    }
    (void) pthread_once(&table_once, add_table);
    return ctr_fail(err, ours, "%s: %s", what, error_message(code));
}

int
e4_image_open(const char *path, struct e4_image **ret, struct ctr_error *err)
{
    struct e4_image *image = calloc(1, sizeof *image);
    if (image == NULL) {
        return ctr_fail(err, -ENOMEM, "open image: out of memory");
    }
    errcode_t code = ext2fs_open2(path, NULL, EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0,
                                  &e4_io_manager, &image->fs);
    if (code == 0) {
        image->fd = e4_io_fd(image->fs->io);
        code = ext2fs_read_bitmaps(image->fs);
    }
    if (code != 0) {
        e4_image_destroy(image);
        return e4_fail(err, code, "open image %s", path);
    }
    image->ino_cursor = EXT2_FIRST_INODE(image->fs->super);
    *ret = image;
    return 0;
}

int
e4_image_flush(struct e4_image *image, struct ctr_error *err)
{
    int status = e4_dirs_flush(image, err);
    if (status == 0) {
        status = e4_buffer_flush(image, err);
    }
    if (status != 0) {
        return status;
    }
    e4_space_settle(image);
    errcode_t code = ext2fs_flush(image->fs);
    if (code != 0) {
        return e4_fail(err, code, "write image");
    }
    e4_space_trim(image);
    return 0;
}

void
e4_image_destroy(struct e4_image *image)
{
    if (image == NULL) {
        return;
    }
    e4_dirs_destroy(image);
    free(image->buffer);
    free(image->file.runs.list);
    if (image->fs != NULL) {
        ext2fs_free(image->fs);
    }
    free(image);
}

int
ctr_ext4_inodes(int32_t fd, uint64_t *ret)
{
    struct ext2_super_block super;
    errcode_t code = e4_pread_all(fd, &super, sizeof super, SUPERBLOCK_OFFSET);
    uint32_t all = ext2fs_le32_to_cpu(super.s_inodes_count);
    uint32_t unused =
        ext2fs_le32_to_cpu(super.s_free_inodes_count) + EXT2_GOOD_OLD_FIRST_INO - 2;
    if (code != 0 || all <= unused) {
        return -EIO;
    }
    *ret = all - unused; /* the root counts, other fixed ones do not */
    return 0;
}
