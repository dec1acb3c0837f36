/*
 * The empty filesystem. What a guest's kernel would do later in the background is declared done here: the file is sparse, so inode
 * tables and journal are zero already and marked so. No lost+found (e2fsck makes one when it needs it), nothing reserved for root.
 * No resize_inode: an image is not grown, it is made at its size. No copies of the superblock (sparse_super2 with none): what they would help
 * against, a bad block on a disk, is the host's affair.
 */
#include "sdk/ext4/writer.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define BYTES_PER_INODE 16384
#define JOURNAL_BYTES (16u << 20)
/* All bitmaps and inode tables of up to 64 GiB lie together, so that an empty image is a few pieces, and copied at once. */
#define GROUPS_PER_FLEX_LOG 9

static void
fill_params(struct ext2_super_block *params, uint64_t bytes)
{
    memset(params, 0, sizeof *params);
    params->s_rev_level = EXT2_DYNAMIC_REV;
    params->s_log_block_size = 2; /* 1024 << 2 */
    params->s_log_cluster_size = 2;
    params->s_inode_size = E4_INODE_BYTES;
    params->s_log_groups_per_flex = GROUPS_PER_FLEX_LOG;
    params->s_errors = EXT2_ERRORS_RO;
    ext2fs_blocks_count_set(params, bytes / E4_BLOCK);
    params->s_inodes_count = (uint32_t) (bytes / BYTES_PER_INODE);
    params->s_feature_compat = EXT2_FEATURE_COMPAT_EXT_ATTR | EXT2_FEATURE_COMPAT_DIR_INDEX |
                               EXT4_FEATURE_COMPAT_SPARSE_SUPER2;
    params->s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE |
                                 EXT3_FEATURE_INCOMPAT_EXTENTS | EXT4_FEATURE_INCOMPAT_64BIT |
                                 EXT4_FEATURE_INCOMPAT_FLEX_BG;
    params->s_feature_ro_compat =
        EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE |
        EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_DIR_NLINK |
        EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE | EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;
}

static int
fill_identity(ext2_filsys fs, struct ctr_error *err)
{
    struct ext2_super_block *super = fs->super;
    if (getentropy(super->s_uuid, sizeof super->s_uuid) != 0 ||
        getentropy(super->s_hash_seed, sizeof super->s_hash_seed) != 0) {
        return ctr_fail(err, -errno, "format image: random numbers: %s", strerror(errno));
    }
    super->s_uuid[6] = (uint8_t) ((super->s_uuid[6] & 0x0f) | 0x40); /* RFC 4122, random */
    super->s_uuid[8] = (uint8_t) ((super->s_uuid[8] & 0x3f) | 0x80);
    super->s_def_hash_version = EXT2_HASH_HALF_MD4;
    super->s_flags |= EXT2_FLAGS_UNSIGNED_HASH;
    super->s_checksum_type = EXT2_CRC32C_CHKSUM;
    super->s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
    super->s_max_mnt_count = -1;
    super->s_checkinterval = 0;
    super->s_r_blocks_count = 0;
    super->s_mkfs_time = super->s_lastcheck = super->s_wtime = (uint32_t) time(NULL);
    ext2fs_init_csum_seed(fs);
    return 0;
}

static errcode_t
mark_reserved_inodes(ext2_filsys fs)
{
    ext2fs_inode_alloc_stats2(fs, EXT2_BAD_INO, +1, 0);
    for (ext2_ino_t ino = EXT2_ROOT_INO + 1; ino < EXT2_FIRST_INODE(fs->super); ino++) {
        ext2fs_inode_alloc_stats2(fs, ino, +1, 0);
    }
    return ext2fs_update_bb_inode(fs, NULL);
}

static void
mark_zeroed(ext2_filsys fs)
{
    for (dgrp_t group = 0; group < fs->group_desc_count; group++) {
        ext2fs_bg_flags_set(fs, group, EXT2_BG_INODE_ZEROED);
        ext2fs_group_desc_csum_set(fs, group);
    }
    ext2fs_mark_super_dirty(fs);
}

/* Blocks that can never hold files: all that is taken but for the root folder, as the kernel counts. With it in the superblock a mount
 * need not count over all groups and then write every copy of the superblock. */
static errcode_t
set_overhead(ext2_filsys fs, uint64_t journal_bytes)
{
    struct ext2_inode root, journal;
    errcode_t code = ext2fs_read_inode(fs, EXT2_ROOT_INO, &root);
    code = code == 0 ? ext2fs_read_inode(fs, EXT2_JOURNAL_INO, &journal) : code;
    if (code != 0) {
        return code;
    }
    const uint64_t sectors = E4_BLOCK / 512;
    uint64_t used = ext2fs_blocks_count(fs->super) - ext2fs_free_blocks_count(fs->super);
    uint64_t files =
        (ext2fs_inode_i_blocks(fs, &root) + ext2fs_inode_i_blocks(fs, &journal)) / sectors;
    fs->super->s_overhead_clusters = (uint32_t) (used - files + journal_bytes / E4_BLOCK);
    ext2fs_mark_super_dirty(fs);
    return 0;
}

/* The root folder's time does not tell when the image was made: the same layers give the same tree. */
static errcode_t
set_root_time(ext2_filsys fs)
{
    struct ext2_inode root;
    errcode_t code = ext2fs_read_inode(fs, EXT2_ROOT_INO, &root);
    root.i_atime = root.i_ctime = root.i_mtime = 0;
    return code == 0 ? ext2fs_write_inode(fs, EXT2_ROOT_INO, &root) : code;
}

static errcode_t
fill_tables(ext2_filsys fs, uint64_t journal_bytes)
{
    errcode_t code = ext2fs_allocate_tables(fs);
    if (code == 0) {
        mark_zeroed(fs);
        code = ext2fs_mkdir(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, NULL);
    }
    if (code == 0) {
        code = set_root_time(fs);
    }
    if (code == 0) {
        code = mark_reserved_inodes(fs);
    }
    if (code == 0) {
        code = ext2fs_add_journal_inode2(fs, (blk_t) (journal_bytes / E4_BLOCK), ~0ULL,
                                         EXT2_MKJOURNAL_LAZYINIT | EXT2_MKJOURNAL_NO_MNT_CHECK);
    }
    return code == 0 ? set_overhead(fs, journal_bytes) : code;
}

/* The length is set by hand: libext2fs writes no block of an empty group. */
static int
set_length(const char *path, uint64_t bytes, struct ctr_error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || ftruncate(fd, (off_t) bytes) != 0) {
        int code = errno;
        if (fd >= 0) {
            (void) close(fd);
        }
        return ctr_fail(err, -code, "format image %s of %llu bytes: %s", path,
                        (unsigned long long) bytes, strerror(code));
    }
    (void) close(fd);
    return 0;
}

int
ctr_ext4_blank(const char *path, uint64_t bytes, uint64_t journal_bytes, struct ctr_error *err)
{
    struct ext2_super_block params;
    ext2_filsys fs = NULL;
    journal_bytes = journal_bytes != 0 ? journal_bytes : JOURNAL_BYTES;
    if (bytes % E4_BLOCK != 0 || bytes > E4_MAX_SIZE || journal_bytes > bytes / 4) {
        return ctr_fail(err, -EINVAL,
                        "%s: %llu is no size for an ext4 image with a journal of %llu bytes",
                        path, (unsigned long long) bytes, (unsigned long long) journal_bytes);
    }
    fill_params(&params, bytes);
    int status = set_length(path, bytes, err);
    if (status != 0) {
        return status;
    }
    errcode_t code =
        ext2fs_initialize(path, EXT2_FLAG_64BITS | EXT2_FLAG_RW, &params, &e4_io_manager, &fs);
    if (code != 0) {
        return e4_fail(err, code, "format image %s", path);
    }
    status = fill_identity(fs, err);
    if (status != 0) {
        ext2fs_free(fs);
        return status;
    }
    code = fill_tables(fs, journal_bytes);
    if (code != 0) {
        ext2fs_free(fs);
        return e4_fail(err, code, "format image %s", path);
    }
    code = ext2fs_close_free(&fs);
    return code == 0 ? 0 : e4_fail(err, code, "format image %s", path);
}
