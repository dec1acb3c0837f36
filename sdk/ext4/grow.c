/*
 * Growing a fresh clone before its guest sees it. New groups come behind the old ones. Their descriptors may not fit between
 * superblock and bitmaps, so they then lie in the new groups themselves (meta_bg), as the kernel does it for large filesystems.
 */
#include "sdk/ext4/writer.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMALLEST_LAST 64 /* blocks in the last group, besides its own tables */

struct growth {
    blk64_t old_blocks, blocks;
    dgrp_t old_groups, groups;
    unsigned long old_desc_blocks, desc_blocks;
};

/* A last group too small for its own tables is left out. */
static void
plan(ext2_filsys fs, uint64_t bytes, struct growth *ret)
{
    uint32_t per_group = fs->super->s_blocks_per_group;
    uint32_t per_desc_block = EXT2_DESC_PER_BLOCK(fs->super);
    blk64_t blocks = bytes / E4_BLOCK;
    blk64_t least = 2 + fs->inode_blocks_per_group + 2 + fs->desc_blocks + SMALLEST_LAST;
    blk64_t last = blocks % per_group;
    ret->old_blocks = ext2fs_blocks_count(fs->super);
    ret->old_groups = fs->group_desc_count;
    ret->old_desc_blocks = fs->desc_blocks;
    if (last != 0 && last < least && blocks - last >= ret->old_blocks) {
        blocks -= last;
    }
    ret->blocks = blocks;
    ret->groups = (dgrp_t) ((blocks + per_group - 1) / per_group);
    ret->desc_blocks = (ret->groups + per_desc_block - 1) / per_desc_block;
}

static errcode_t
resize_tables(ext2_filsys fs, const struct growth *growth)
{
    struct ext2_super_block *super = fs->super;
    errcode_t code = ext2fs_resize_mem(growth->old_desc_blocks * E4_BLOCK,
                                       growth->desc_blocks * E4_BLOCK, &fs->group_desc);
    if (code != 0) {
        return code;
    }
    memset((char *) fs->group_desc + growth->old_desc_blocks * E4_BLOCK, 0,
           (growth->desc_blocks - growth->old_desc_blocks) * E4_BLOCK);
    if (growth->desc_blocks > growth->old_desc_blocks) {
        ext2fs_set_feature_meta_bg(super);
        super->s_first_meta_bg = (uint32_t) growth->old_desc_blocks;
    }
    fs->desc_blocks = growth->desc_blocks;
    fs->group_desc_count = growth->groups;
    ext2fs_blocks_count_set(super, growth->blocks);
    super->s_inodes_count = super->s_inodes_per_group * growth->groups;
    blk64_t real_end = (blk64_t) super->s_blocks_per_group * growth->groups - 1;
    code = ext2fs_resize_block_bitmap2(growth->blocks - 1, real_end, fs->block_map);
    if (code == 0) {
        code = ext2fs_resize_inode_bitmap2(super->s_inodes_count, super->s_inodes_count,
                                           fs->inode_map);
    }
    return code;
}

/* The old last group may have been shorter than a whole one. */
static void
stretch_last(ext2_filsys fs, const struct growth *growth)
{
    dgrp_t group = growth->old_groups - 1;
    blk64_t end = ext2fs_group_last_block2(fs, group) + 1;
    uint32_t added = (uint32_t) (end - growth->old_blocks);
    ext2fs_bg_free_blocks_count_set(fs, group, ext2fs_bg_free_blocks_count(fs, group) + added);
    ext2fs_group_desc_csum_set(fs, group);
    ext2fs_free_blocks_count_add(fs->super, added);
}

static void
add_group(ext2_filsys fs, dgrp_t group)
{
    struct ext2_super_block *super = fs->super;
    int flags = EXT2_BG_INODE_UNINIT | EXT2_BG_INODE_ZEROED;
    flags |= group + 1 < fs->group_desc_count ? EXT2_BG_BLOCK_UNINIT : 0;
    ext2fs_bg_flags_set(fs, group, (uint16_t) flags);
    int free_blocks = ext2fs_reserve_super_and_bgd(fs, group, fs->block_map);
    /* the tables are counted when they get their place, which may be in another group */
    free_blocks += 2 + (int) fs->inode_blocks_per_group;
    ext2fs_free_blocks_count_add(super, (uint32_t) free_blocks);
    ext2fs_bg_free_blocks_count_set(fs, group, (uint32_t) free_blocks);
    ext2fs_bg_free_inodes_count_set(fs, group, super->s_inodes_per_group);
    ext2fs_bg_itable_unused_set(fs, group, super->s_inodes_per_group);
    super->s_free_inodes_count += super->s_inodes_per_group;
}

static errcode_t
grow_to(ext2_filsys fs, const struct growth *growth)
{
    errcode_t code = resize_tables(fs, growth);
    if (code != 0) {
        return code;
    }
    blk64_t used = growth->old_blocks - ext2fs_free_blocks_count(fs->super);
    stretch_last(fs, growth);
    for (dgrp_t group = growth->old_groups; group < growth->groups; group++) {
        add_group(fs, group);
    }
    for (dgrp_t group = growth->old_groups; code == 0 && group < growth->groups; group++) {
        code = ext2fs_allocate_group_table(fs, group, fs->block_map);
        ext2fs_group_desc_csum_set(fs, group);
    }
    blk64_t used_now = growth->blocks - ext2fs_free_blocks_count(fs->super);
    if (fs->super->s_overhead_clusters != 0) { /* else the kernel will count */
        fs->super->s_overhead_clusters += (uint32_t) (used_now - used);
    }
    fs->flags &= ~EXT2_FLAG_MASTER_SB_ONLY; /* the copies must tell the new size too */
    ext2fs_mark_super_dirty(fs);
    ext2fs_mark_bb_dirty(fs);
    ext2fs_mark_ib_dirty(fs);
    return code == 0 ? ext2fs_flush(fs) : code;
}

static int
grow_open(struct e4_image *image, const char *path, uint64_t bytes, struct ctr_error *err)
{
    struct growth growth;
    plan(image->fs, bytes, &growth);
    if (growth.blocks <= growth.old_blocks) {
        return 0;
    }
    if (ftruncate(image->fd, (off_t) (growth.blocks * E4_BLOCK)) != 0) {
        return e4_fail(err, errno, "storage: %s: resize to %llu bytes", path,
                       (unsigned long long) bytes);
    }
    errcode_t code = grow_to(image->fs, &growth);
    return code == 0 ? 0 : e4_fail(err, code, "storage: %s: grow", path);
}

int
ctr_ext4_grow(const char *path, uint64_t bytes, struct ctr_error *err)
{
    struct e4_image *image = NULL;
    struct stat st;
    if (stat(path, &st) != 0) {
        return ctr_fail(err, -errno, "storage: %s: %s", path, strerror(errno));
    }
    if (bytes <= (uint64_t) st.st_size) {
        return 0;
    }
    if (bytes > E4_MAX_SIZE) {
        return ctr_fail(err, -EFBIG, "storage: a disk has at most 16 TiB");
    }
    int status = e4_image_open(path, &image, err);
    if (status == 0) {
        status = grow_open(image, path, bytes, err);
    }
    e4_image_destroy(image);
    return status;
}
