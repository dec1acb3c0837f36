/*
 * Blocks and inodes, handed out in ascending order, and the write buffer.
 *
 * Blocks are marked in the bitmap a run at a time, before use, because libext2fs also takes blocks for itself; what is
 * left of the run is given back at the end. Files that follow each other thus lie side by side, and the buffer
 * writes many of them at once. Blocks that were freed while still in the buffer must be flushed first (e4_inode_truncate).
 */
#include "sdk/ext4/writer.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#define RUN_BLOCKS 2048
#define GOOD_RUN 256 /* shorter ones are taken only when there is nothing better */
#define BUFFER_BLOCKS 256

/* The next free run of at least `least` blocks from the cursor on: 0 or -ENOSPC. */
static int
find_run(struct e4_image *image, blk64_t from, uint32_t least)
{
    blk64_t last = ext2fs_blocks_count(image->fs->super) - 1;
    while (from <= last) {
        blk64_t first, end;
        if (ext2fs_find_first_zero_block_bitmap2(image->fs->block_map, from, last, &first) !=
            0) {
            return -ENOSPC;
        }
        blk64_t limit = first + RUN_BLOCKS - 1 < last ? first + RUN_BLOCKS - 1 : last;
        if (ext2fs_find_first_set_block_bitmap2(image->fs->block_map, first, limit, &end) !=
            0) {
            end = limit + 1;
        }
        if (end - first >= least) {
            image->run = first;
            image->run_end = end;
            image->cursor = end;
            return 0;
        }
        from = end;
    }
    return -ENOSPC;
}

static int
new_run(struct e4_image *image, struct ctr_error *err)
{
    if (find_run(image, image->cursor, GOOD_RUN) != 0 && find_run(image, 0, 1) != 0) {
        return e4_fail(err, EXT2_ET_BLOCK_ALLOC_FAIL, "write image");
    }
    ext2fs_block_alloc_stats_range(image->fs, image->run, (blk_t) (image->run_end - image->run),
                                   +1);
    return 0;
}

int
e4_take_block(struct e4_image *image, blk64_t *ret, struct ctr_error *err)
{
    if (image->run == image->run_end) {
        int status = new_run(image, err);
        if (status != 0) {
            return status;
        }
    }
    *ret = image->run++;
    return 0;
}

void
e4_space_settle(struct e4_image *image)
{
    if (image->run < image->run_end) {
        ext2fs_block_alloc_stats_range(image->fs, image->run,
                                       (blk_t) (image->run_end - image->run), -1);
    }
    image->cursor = image->run;
    image->run = image->run_end = 0;
}

int
e4_take_inode(struct e4_image *image, bool is_dir, ext2_ino_t *ret, struct ctr_error *err)
{
    ext2_filsys fs = image->fs;
    ext2_ino_t first = EXT2_FIRST_INODE(fs->super), last = fs->super->s_inodes_count, ino;
    errcode_t code = ENOENT;
    if (image->ino_cursor <= last) {
        code =
            ext2fs_find_first_zero_inode_bitmap2(fs->inode_map, image->ino_cursor, last, &ino);
    }
    if (code != 0) {
        code = ext2fs_find_first_zero_inode_bitmap2(fs->inode_map, first, last, &ino);
    }
    if (code != 0) {
        return e4_fail(err, EXT2_ET_INODE_ALLOC_FAIL, "write image: no inode is left");
    }
    ext2fs_inode_alloc_stats2(fs, ino, +1, is_dir);
    image->ino_cursor = ino + 1;
    *ret = ino;
    return 0;
}

/* --- the buffer --- */

int
e4_buffer_flush(struct e4_image *image, struct ctr_error *err)
{
    if (image->buffer_n == 0) {
        return 0;
    }
    errcode_t code =
        e4_pwrite_all(image->fd, image->buffer, (size_t) image->buffer_n * E4_BLOCK,
                      image->buffer_first * E4_BLOCK);
    e4_io_forget(image->fs->io, image->buffer_first, image->buffer_n);
    image->buffer_n = 0;
    image->file.block = NULL;
    return code == 0 ? 0 : e4_fail(err, code, "write image");
}

int
e4_buffer_block(struct e4_image *image, blk64_t block, char **ret, struct ctr_error *err)
{
    if (image->buffer == NULL) {
        image->buffer = malloc((size_t) BUFFER_BLOCKS * E4_BLOCK);
        if (image->buffer == NULL) {
            return ctr_fail(err, -ENOMEM, "write image: out of memory");
        }
    }
    if (image->buffer_n == BUFFER_BLOCKS || image->buffer_first + image->buffer_n != block) {
        int status = e4_buffer_flush(image, err);
        if (status != 0) {
            return status;
        }
        image->buffer_first = block;
    }
    *ret = image->buffer + (size_t) image->buffer_n * E4_BLOCK;
    memset(*ret, 0, E4_BLOCK);
    image->buffer_n++;
    return 0;
}

/* --- giving back to the host --- */

static void
punch(int fd, uint64_t offset, uint64_t length)
{
#ifdef __APPLE__
    struct fpunchhole hole = {.fp_offset = (off_t) offset, .fp_length = (off_t) length};
    (void) fcntl(fd, F_PUNCHHOLE, &hole);
#else
    (void) fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) offset,
                     (off_t) length);
#endif
}

void
e4_space_trim(struct e4_image *image)
{
    if (!image->freed) {
        return;
    }
    blk64_t last = ext2fs_blocks_count(image->fs->super) - 1, from = 0, first, end;
    while (from <= last && ext2fs_find_first_zero_block_bitmap2(image->fs->block_map, from,
                                                                last, &first) == 0) {
        if (ext2fs_find_first_set_block_bitmap2(image->fs->block_map, first, last, &end) != 0) {
            end = last + 1;
        }
        punch(image->fd, first * E4_BLOCK, (end - first) * E4_BLOCK);
        from = end;
    }
    image->freed = false;
}
