/*
 * A layer onto the tree. Entries are made in the order of the stream; whiteouts spare what the same layer made, wherever in the
 * stream they stand (image-spec/layer.md: they apply to lower layers only).
 */
#include "sdk/ext4/writer.h"
#include <errno.h>

static int
fail_entry(int status, const char *path, struct ctr_error *err)
{
    if (status == 0) {
        return 0;
    }
    if (err != NULL && strncmp(err->msg, "layer entry", 11) != 0) {
        (void) ctr_prefix(err, "layer entry \"%.200s\"", path);
    }
    return status;
}

static uint8_t
type_of(uint32_t type, uint32_t *ret_format)
{
    switch (type) {
    case CTR_LAYER_SYMLINK:
        *ret_format = LINUX_S_IFLNK;
        return EXT2_FT_SYMLINK;
    case CTR_LAYER_CHAR:
        *ret_format = LINUX_S_IFCHR;
        return EXT2_FT_CHRDEV;
    case CTR_LAYER_BLOCK:
        *ret_format = LINUX_S_IFBLK;
        return EXT2_FT_BLKDEV;
    case CTR_LAYER_FIFO:
        *ret_format = LINUX_S_IFIFO;
        return EXT2_FT_FIFO;
    default:
        *ret_format = LINUX_S_IFREG;
        return EXT2_FT_REG_FILE;
    }
}

/* --- entries --- */

/* As the kernel's old_encode_dev and new_encode_dev. */
static void
set_device(struct ext2_inode_large *inode, const struct ctr_layer_entry *entry)
{
    if (entry->major < 256 && entry->minor < 256) {
        inode->i_block[0] = entry->major * 256 + entry->minor;
    } else {
        inode->i_block[1] =
            (entry->minor & 0xff) | (entry->major << 8) | ((entry->minor & ~0xffU) << 12);
    }
}

static int
write_symlink(struct e4_image *image, ext2_ino_t ino, struct ext2_inode_large *inode,
              const char *target, struct ctr_error *err)
{
    size_t length = strlen(target);
    inode->i_size = (uint32_t) length;
    if (length < sizeof inode->i_block) {
        memcpy(inode->i_block, target, length);
        return e4_inode_update(image, ino, inode, err);
    }
    int status = e4_file_begin(image, ino, inode, err);
    if (status == 0) {
        status = e4_file_write(image, target, length, 0, err);
    }
    return status == 0 ? e4_file_end(image, err) : status;
}

static int
make_node(struct e4_image *image, const struct ctr_layer_entry *entry, uint32_t format,
          ext2_ino_t ino, struct ctr_error *err)
{
    struct ext2_inode_large inode = {0};
    int status = 0;
    e4_inode_fill(&inode, entry, format);
    inode.i_links_count = 1;
    if (entry->n_xattrs > 0) {
        status = e4_inode_create(image, ino, &inode, err);
        if (status == 0) {
            status = e4_xattrs_replace(image, ino, entry, true, err);
        }
        if (status == 0) {
            status = e4_inode_read(image, ino, &inode, err);
        }
    }
    if (status != 0) {
        return status;
    }
    if (entry->type == CTR_LAYER_SYMLINK) {
        return write_symlink(image, ino, &inode, entry->target, err);
    }
    if (entry->type == CTR_LAYER_FILE) {
        inode.i_size = (uint32_t) entry->bytes;
        inode.i_size_high = (uint32_t) (entry->bytes >> 32);
        return e4_file_begin(image, ino, &inode, err);
    }
    if (entry->type != CTR_LAYER_FIFO) {
        set_device(&inode, entry);
    }
    return e4_inode_update(image, ino, &inode, err);
}

/* A directory over a directory: its content stays, all it says about itself is replaced. */
static int
update_dir(struct e4_image *image, const struct ctr_layer_entry *entry, ext2_ino_t ino,
           struct ctr_error *err)
{
    struct ext2_inode_large inode;
    int status = e4_inode_read(image, ino, &inode, err);
    if (status == 0) {
        e4_inode_fill(&inode, entry, LINUX_S_IFDIR);
        status = e4_inode_update(image, ino, &inode, err);
    }
    return status == 0 ? e4_xattrs_replace(image, ino, entry, false, err) : status;
}

static int
make_hardlink(struct e4_image *image, const struct ctr_layer_entry *entry, struct e4_dir *dir,
              const char *name, struct ctr_error *err)
{
    struct e4_dir *target_dir = NULL;
    struct ext2_inode_large inode;
    const char *target_name = NULL;
    int status = e4_walk_parent(image, entry->target, NULL, &target_dir, &target_name, err);
    struct e4_dent *target =
        status == 0 ? e4_dir_find(target_dir, target_name, strlen(target_name)) : NULL;
    if (status == -ENOENT || (status == 0 && target == NULL)) {
        return ctr_fail(err, -EBADMSG, "hard link to \"%.200s\", which does not exist",
                        entry->target);
    }
    if (status != 0) {
        return status;
    }
    if (target->type == EXT2_FT_DIR) {
        return ctr_fail(err, -EBADMSG, "hard link to \"%.200s\", which is a directory",
                        entry->target);
    }
    ext2_ino_t ino = target->ino;
    uint8_t type = target->type;
    status = e4_inode_read(image, ino, &inode, err);
    if (status != 0) {
        return status;
    }
    if (inode.i_links_count >= EXT2_LINK_MAX) {
        return ctr_fail(err, -EMLINK, "ext4 takes at most %d links to one file", EXT2_LINK_MAX);
    }
    inode.i_links_count++;
    status = e4_inode_update(image, ino, &inode, err);
    return status == 0 ? e4_dir_add(dir, name, strlen(name), ino, type, E4_KEEP, err) : status;
}

static int
make_entry(struct e4_image *image, const struct ctr_layer_entry *entry, struct e4_dir *dir,
           const char *name, struct ctr_error *err)
{
    uint32_t format;
    ext2_ino_t ino;
    if (entry->type == CTR_LAYER_DIR) {
        return e4_mkdir(image, dir, name, strlen(name), entry, err);
    }
    if (entry->type == CTR_LAYER_HARDLINK) {
        return make_hardlink(image, entry, dir, name, err);
    }
    uint8_t type = type_of(entry->type, &format);
    int status = e4_take_inode(image, false, &ino, err);
    if (status == 0) {
        status = make_node(image, entry, format, ino, err);
    }
    return status == 0 ? e4_dir_add(dir, name, strlen(name), ino, type, E4_KEEP, err) : status;
}

static int
apply_entry(struct e4_image *image, const struct ctr_layer_entry *entry, struct ctr_error *err)
{
    struct e4_dir *dir = NULL;
    const char *name = NULL;
    if (entry->path[0] == '\0') {
        return update_dir(image, entry, EXT2_ROOT_INO, err);
    }
    int status = e4_walk_parent(image, entry->path, entry, &dir, &name, err);
    if (status != 0) {
        return status;
    }
    struct e4_dent *old = e4_dir_find(dir, name, strlen(name));
    if (old != NULL && old->type == EXT2_FT_DIR && entry->type == CTR_LAYER_DIR) {
        old->flags |= E4_KEEP;
        return update_dir(image, entry, old->ino, err);
    }
    if (old != NULL) {
        status = e4_remove(image, dir, old, err);
    }
    return status == 0 ? make_entry(image, entry, dir, name, err) : status;
}

/* --- the walker's calls --- */

struct apply {
    struct e4_image *image;
    struct ctr_ext4_budget *budget;
};

static int
count_bytes(struct ctr_ext4_budget *budget, const struct ctr_layer_entry *entry,
            struct ctr_error *err)
{
    if (budget->max_bytes != 0 && entry->bytes > budget->max_bytes - budget->bytes) {
        return ctr_fail(err, -EFBIG,
                        "layer entry \"%.200s\": the image's files hold more than the limit "
                        "of %llu bytes",
                        entry->path, (unsigned long long) budget->max_bytes);
    }
    budget->bytes += entry->bytes;
    return 0;
}

static int
on_entry(void *arg, const struct ctr_layer_entry *entry, struct ctr_error *err)
{
    struct apply *apply = arg;
    int status = count_bytes(apply->budget, entry, err);
    if (status == 0) {
        status = apply_entry(apply->image, entry, err);
    }
    return fail_entry(status, entry->path, err);
}

static int
on_data(void *arg, const void *bytes, size_t length, uint64_t offset, struct ctr_error *err)
{
    struct apply *apply = arg;
    return e4_file_write(apply->image, bytes, length, offset, err);
}

static int
on_end(void *arg, struct ctr_error *err)
{
    struct apply *apply = arg;
    return e4_file_end(apply->image, err);
}

/* A whiteout's way led nowhere, or to what is no directory: there is nothing to hide. */
static int
fail_whiteout(int status, const char *path, const struct ctr_error *why, struct ctr_error *err)
{
    if (status == 0 || status == -ENOENT || status == -ENOTDIR) {
        return 0;
    }
    return fail_entry(ctr_fail(err, status, "%s", why->msg), path, err);
}

static int
hide(struct e4_image *image, struct e4_dir *dir, const char *name, struct ctr_error *err)
{
    struct e4_dent *dent = e4_dir_find(dir, name, strlen(name));
    if (dent == NULL) {
        return 0;
    }
    if ((dent->flags & E4_KEEP) == 0) {
        return e4_remove(image, dir, dent, err);
    }
    if (dent->type != EXT2_FT_DIR) {
        return 0;
    }
    int status = e4_dir_get(image, dent->ino, &dir, err);
    return status == 0 ? e4_remove_lower(image, dir, err) : status;
}

static int
on_whiteout(void *arg, const char *path, struct ctr_error *err)
{
    struct apply *apply = arg;
    struct e4_dir *dir = NULL;
    const char *name = NULL;
    struct ctr_error why = CTR_ERROR_INIT;
    int status = e4_walk_parent(apply->image, path, NULL, &dir, &name, &why);
    if (status != 0) {
        return fail_whiteout(status, path, &why, err);
    }
    return fail_entry(hide(apply->image, dir, name, err), path, err);
}

static int
on_opaque(void *arg, const char *path, struct ctr_error *err)
{
    struct apply *apply = arg;
    struct e4_dir *dir = NULL;
    struct ctr_error why = CTR_ERROR_INIT;
    int status = e4_walk(apply->image, path, NULL, &dir, &why);
    if (status != 0) {
        return fail_whiteout(status, path, &why, err);
    }
    return fail_entry(e4_remove_lower(apply->image, dir, err), path, err);
}

static int
apply_to(struct e4_image *image, int32_t tar_fd, struct ctr_ext4_budget *budget,
         struct ctr_error *err)
{
    static const struct ctr_layer_ops ops = {.size = sizeof ops,
                                             .entry = on_entry,
                                             .data = on_data,
                                             .end = on_end,
                                             .whiteout = on_whiteout,
                                             .opaque = on_opaque};
    struct ctr_layer_limits limits = {.size = sizeof limits,
                                      .max_entries = budget->max_entries};
    struct apply apply = {.image = image, .budget = budget};
    int status = ctr_layer_walk(tar_fd, &limits, &ops, &apply, err);
    return status == 0 ? e4_image_flush(image, err) : status;
}

int
ctr_ext4_apply(const char *path, int32_t tar_fd, struct ctr_ext4_budget *budget,
               struct ctr_error *err)
{
    struct e4_image *image = NULL;
    struct ctr_ext4_budget boundless = {.size = sizeof boundless};
    budget = budget != NULL ? budget : &boundless;
    int status = e4_image_open(path, &image, err);
    if (status == 0) {
        status = apply_to(image, tar_fd, budget, err);
    }
    e4_image_destroy(image);
    return status;
}
