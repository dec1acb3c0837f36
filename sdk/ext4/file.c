/*
 * A file's content: blocks that hold only zeros stay holes, others are taken in order and become runs. Up to four runs
 * lie in the inode itself, more make an extent tree by libext2fs.
 */
#include "sdk/ext4/writer.h"
#include <errno.h>
#include <ext2fs/ext3_extents.h>
#include <stdlib.h>

#define RUN_MAX 32768 /* blocks in one extent */
#define INODE_RUNS 4
#define FILE_MAX ((1ULL << 32) * E4_BLOCK - E4_BLOCK)

int
e4_runs_add(struct e4_runs *runs, uint32_t logical, blk64_t physical, struct ctr_error *err)
{
    struct e4_run *last = runs->n > 0 ? &runs->list[runs->n - 1] : NULL;
    runs->blocks++;
    if (last != NULL && last->logical + last->n == logical &&
        last->physical + last->n == physical && last->n < RUN_MAX) {
        last->n++;
        return 0;
    }
    if (runs->n == runs->capacity) {
        uint32_t capacity = runs->capacity == 0 ? 16 : runs->capacity * 2;
        struct e4_run *list = realloc(runs->list, capacity * sizeof *list);
        if (list == NULL) {
            return ctr_fail(err, -ENOMEM, "write image: out of memory");
        }
        runs->list = list;
        runs->capacity = capacity;
    }
    runs->list[runs->n++] = (struct e4_run){.logical = logical, .n = 1, .physical = physical};
    return 0;
}

static void
fill_header(struct ext2_inode_large *inode, uint16_t entries)
{
    struct ext3_extent_header *header = (struct ext3_extent_header *) inode->i_block;
    memset(inode->i_block, 0, sizeof inode->i_block);
    header->eh_magic = ext2fs_cpu_to_le16(EXT3_EXT_MAGIC);
    header->eh_entries = ext2fs_cpu_to_le16(entries);
    header->eh_max = ext2fs_cpu_to_le16(INODE_RUNS);
    inode->i_flags |= EXT4_EXTENTS_FL;
}

static int
store_small(struct e4_image *image, ext2_ino_t ino, struct ext2_inode_large *inode,
            const struct e4_runs *runs, struct ctr_error *err)
{
    struct ext3_extent *extent = EXT_FIRST_EXTENT((struct ext3_extent_header *) inode->i_block);
    fill_header(inode, (uint16_t) runs->n);
    for (uint32_t i = 0; i < runs->n; i++) {
        const struct e4_run *run = &runs->list[i];
        extent[i].ee_block = ext2fs_cpu_to_le32(run->logical);
        extent[i].ee_len = ext2fs_cpu_to_le16((uint16_t) run->n);
        extent[i].ee_start_hi = ext2fs_cpu_to_le16((uint16_t) (run->physical >> 32));
        extent[i].ee_start = ext2fs_cpu_to_le32((uint32_t) run->physical);
    }
    return e4_inode_update(image, ino, inode, err);
}

static int
store_tree(struct e4_image *image, ext2_ino_t ino, struct ext2_inode_large *inode,
           const struct e4_runs *runs, struct ctr_error *err)
{
    fill_header(inode, 0);
    int status = e4_inode_update(image, ino, inode, err);
    if (status != 0) {
        return status;
    }
    ext2_extent_handle_t handle = NULL;
    errcode_t code = ext2fs_extent_open2(image->fs, ino, (struct ext2_inode *) inode, &handle);
    for (uint32_t i = 0; code == 0 && i < runs->n; i++) {
        struct ext2fs_extent extent = {.e_lblk = runs->list[i].logical,
                                       .e_pblk = runs->list[i].physical,
                                       .e_len = runs->list[i].n};
        code = ext2fs_extent_insert(handle, i == 0 ? 0 : EXT2_EXTENT_INSERT_AFTER, &extent);
    }
    ext2fs_extent_free(handle);
    return code == 0 ? e4_inode_update(image, ino, inode, err)
                     : e4_fail(err, code, "write image: extents");
}

int
e4_runs_store(struct e4_image *image, ext2_ino_t ino, struct ext2_inode_large *inode,
              const struct e4_runs *runs, struct ctr_error *err)
{
    errcode_t code = ext2fs_iblk_set(image->fs, (struct ext2_inode *) inode, runs->blocks);
    if (code == 0 && inode->i_file_acl != 0) {
        code = ext2fs_iblk_add_blocks(image->fs, (struct ext2_inode *) inode, 1);
    }
    if (code != 0) {
        return e4_fail(err, code, "write image");
    }
    return runs->n <= INODE_RUNS ? store_small(image, ino, inode, runs, err)
                                 : store_tree(image, ino, inode, runs, err);
}

/* --- the file that is being written --- */

int
e4_file_begin(struct e4_image *image, ext2_ino_t ino, const struct ext2_inode_large *inode,
              struct ctr_error *err)
{
    struct e4_file *file = &image->file;
    if (EXT2_I_SIZE(inode) > FILE_MAX) {
        return ctr_fail(err, -EFBIG, "ext4 holds files of at most 16 TiB");
    }
    file->ino = ino;
    file->inode = *inode;
    file->block = NULL;
    file->runs.n = 0;
    file->runs.blocks = 0;
    return 0;
}

static bool
is_zero(const char *bytes, size_t length)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

/* Where to put bytes of the logical block; a new one is taken if it is not the current one. */
static int
current_block(struct e4_image *image, uint32_t logical, char **ret, struct ctr_error *err)
{
    struct e4_file *file = &image->file;
    if (file->block == NULL || file->logical != logical) {
        blk64_t physical;
        int status = e4_take_block(image, &physical, err);
        if (status == 0) {
            status = e4_buffer_block(image, physical, &file->block, err);
        }
        if (status == 0) {
            status = e4_runs_add(&file->runs, logical, physical, err);
        }
        if (status != 0) {
            return status;
        }
        file->logical = logical;
    }
    *ret = file->block;
    return 0;
}

int
e4_file_write(struct e4_image *image, const void *bytes, size_t length, uint64_t offset,
              struct ctr_error *err)
{
    const char *from = bytes;
    while (length > 0) {
        size_t at = (size_t) (offset % E4_BLOCK);
        size_t n = E4_BLOCK - at < length ? E4_BLOCK - at : length;
        /* zeros need no block: one that other bytes need is zeroed when it is taken */
        if (!is_zero(from, n)) {
            char *block = NULL;
            int status = current_block(image, (uint32_t) (offset / E4_BLOCK), &block, err);
            if (status != 0) {
                return status;
            }
            memcpy(block + at, from, n);
        }
        from += n;
        offset += n;
        length -= n;
    }
    return 0;
}

int
e4_file_end(struct e4_image *image, struct ctr_error *err)
{
    struct e4_file *file = &image->file;
    int status = e4_runs_store(image, file->ino, &file->inode, &file->runs, err);
    file->ino = 0;
    file->block = NULL;
    return status;
}
