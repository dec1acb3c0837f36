/*
 * Paths inside the image. A parent that is a symbolic link is followed as a process chrooted into the image would: absolute targets
 * start at the image's root, ".." stops there, 40 links at most. The last component is never followed.
 * Removal works with lists, not recursion: a tree may be as deep as a hostile layer likes.
 */
#include "sdk/ext4/writer.h"
#include <errno.h>
#include <stdlib.h>

#define LINKS_MAX 40
#define TARGET_MAX 4096

/* --- walking --- */

static int
read_link(struct e4_image *image, ext2_ino_t ino, char ret[TARGET_MAX], struct ctr_error *err)
{
    struct ext2_inode_large inode;
    int status = e4_inode_read(image, ino, &inode, err);
    if (status != 0) {
        return status;
    }
    size_t length = (size_t) EXT2_I_SIZE(&inode);
    if (length >= TARGET_MAX) {
        return ctr_fail(err, -EIO, "read image: symbolic link of %zu bytes", length);
    }
    if (!ext2fs_inode_has_valid_blocks2(image->fs, (struct ext2_inode *) &inode)) {
        if (length >= sizeof inode.i_block) {
            return ctr_fail(err, -EIO, "read image: fast symbolic link of %zu bytes", length);
        }
        memcpy(ret, inode.i_block, length);
    } else {
        char block[E4_BLOCK];
        blk64_t physical = 0;
        status = e4_buffer_flush(image, err);
        if (status != 0) {
            return status;
        }
        errcode_t code = ext2fs_bmap2(image->fs, ino, (struct ext2_inode *) &inode, NULL, 0, 0,
                                      NULL, &physical);
        code = code == 0 ? io_channel_read_blk64(image->fs->io, physical, 1, block) : code;
        if (code != 0) {
            return e4_fail(err, code, "read image: symbolic link");
        }
        memcpy(ret, block, length);
    }
    ret[length] = '\0';
    return 0;
}

/* Puts the link's target in front of what is still to be walked. `rest` points into image->rest. */
static int
prepend_link(struct e4_image *image, ext2_ino_t ino, const char *rest, const char **ret,
             struct ctr_error *err)
{
    char target[TARGET_MAX];
    int status = read_link(image, ino, target, err);
    if (status != 0) {
        return status;
    }
    size_t n_target = strlen(target), n_rest = strlen(rest);
    if (n_target + 1 + n_rest + 1 > sizeof image->rest) {
        return ctr_fail(err, -ELOOP, "path with symbolic links is too long");
    }
    memmove(image->rest + n_target + 1, rest, n_rest + 1);
    memcpy(image->rest, target, n_target);
    image->rest[n_target] = '/';
    *ret = image->rest;
    return 0;
}

/* The component of a path as a directory entry; made if it is missing and may be made. */
static int
find_or_make(struct e4_image *image, struct e4_dir *dir, const char *name, size_t length,
             const struct ctr_layer_entry *made_by, struct e4_dent **ret, struct ctr_error *err)
{
    struct e4_dent *dent = e4_dir_find(dir, name, length);
    if (dent == NULL && made_by != NULL) {
        struct ctr_layer_entry entry = {.size = sizeof entry,
                                        .type = CTR_LAYER_DIR,
                                        .path = made_by->path,
                                        .mode = 0755,
                                        .mtime = made_by->mtime,
                                        .mtime_nsec = made_by->mtime_nsec};
        int status = e4_mkdir(image, dir, name, length, &entry, err);
        if (status != 0) {
            return status;
        }
        dent = e4_dir_find(dir, name, length);
    }
    *ret = dent;
    return dent != NULL ? 0 : -ENOENT;
}

struct step {
    struct e4_dir *dir;
    const char *rest;
    uint32_t links;
    const struct ctr_layer_entry *made_by;
};

static int
walk_component(struct e4_image *image, struct step *step, const char *name, size_t length,
               struct ctr_error *err)
{
    struct e4_dent *dent = NULL;
    int status = find_or_make(image, step->dir, name, length, step->made_by, &dent, err);
    if (status != 0) {
        return status;
    }
    if (dent->type == EXT2_FT_SYMLINK) {
        if (++step->links > LINKS_MAX) {
            return ctr_fail(err, -ELOOP, "more than %d symbolic links on the way", LINKS_MAX);
        }
        status = prepend_link(image, dent->ino, step->rest, &step->rest, err);
        if (status == 0 && step->rest[0] == '/') {
            status = e4_dir_get(image, EXT2_ROOT_INO, &step->dir, err);
        }
        return status;
    }
    if (dent->type != EXT2_FT_DIR) {
        return ctr_fail(err, -ENOTDIR, "\"%.*s\" on the way is not a directory", (int) length,
                        name);
    }
    if (step->made_by != NULL) {
        dent->flags |= E4_KEEP;
    }
    return e4_dir_get(image, dent->ino, &step->dir, err);
}

static int
walk_rest(struct e4_image *image, struct step *step, struct ctr_error *err)
{
    char name[EXT2_NAME_LEN + 1];
    for (;;) {
        step->rest += strspn(step->rest, "/");
        size_t n = strcspn(step->rest, "/");
        if (n == 0) {
            return 0;
        }
        if (n > EXT2_NAME_LEN) {
            return ctr_fail(err, -ENAMETOOLONG, "symbolic link to a too long name");
        }
        memcpy(name, step->rest, n); /* the link's target may overwrite rest */
        name[n] = '\0';
        step->rest += n;
        int status = 0;
        if (strcmp(name, "..") == 0) {
            status = e4_dir_get(image, step->dir->parent, &step->dir, err);
        } else if (strcmp(name, ".") != 0) {
            status = walk_component(image, step, name, n, err);
        }
        if (status != 0) {
            return status;
        }
    }
}

static int
walk_n(struct e4_image *image, const char *path, size_t length,
       const struct ctr_layer_entry *made_by, struct e4_dir **ret, struct ctr_error *err)
{
    struct step step = {.rest = image->rest, .made_by = made_by};
    if (length >= sizeof image->rest) {
        return ctr_fail(err, -ENAMETOOLONG, "path is too long");
    }
    memcpy(image->rest, path, length);
    image->rest[length] = '\0';
    int status = e4_dir_get(image, EXT2_ROOT_INO, &step.dir, err);
    if (status == 0) {
        status = walk_rest(image, &step, err);
    }
    if (status == 0) {
        *ret = step.dir;
    }
    return status;
}

int
e4_walk(struct e4_image *image, const char *path, const struct ctr_layer_entry *made_by,
        struct e4_dir **ret, struct ctr_error *err)
{
    return walk_n(image, path, strlen(path), made_by, ret, err);
}

int
e4_walk_parent(struct e4_image *image, const char *path, const struct ctr_layer_entry *made_by,
               struct e4_dir **ret, const char **ret_name, struct ctr_error *err)
{
    const char *slash = strrchr(path, '/');
    *ret_name = slash != NULL ? slash + 1 : path;
    return walk_n(image, path, slash != NULL ? (size_t) (slash - path) : 0, made_by, ret, err);
}

/* --- making --- */

int
e4_mkdir(struct e4_image *image, struct e4_dir *parent, const char *name, size_t length,
         const struct ctr_layer_entry *entry, struct ctr_error *err)
{
    struct ext2_inode_large inode = {0};
    struct e4_dir *dir = NULL;
    ext2_ino_t ino;
    int status = e4_take_inode(image, true, &ino, err);
    if (status != 0) {
        return status;
    }
    e4_inode_fill(&inode, entry, LINUX_S_IFDIR);
    inode.i_links_count = 2;
    inode.i_flags = EXT4_EXTENTS_FL;
    struct e4_runs none = {0};
    status = e4_runs_store(image, ino, &inode, &none, err);
    if (status == 0) {
        status = e4_xattrs_replace(image, ino, entry, true, err);
    }
    if (status == 0) {
        status = e4_dir_create(image, ino, parent->ino, &dir, err);
    }
    return status == 0 ? e4_dir_add(parent, name, length, ino, EXT2_FT_DIR, E4_KEEP, err)
                       : status;
}

/* --- removing --- */

struct pile {
    ext2_ino_t *list;
    uint32_t n, capacity;
};

static int
pile_push(struct pile *pile, ext2_ino_t ino, struct ctr_error *err)
{
    if (pile->n == pile->capacity) {
        uint32_t capacity = pile->capacity == 0 ? 64 : pile->capacity * 2;
        ext2_ino_t *list = realloc(pile->list, capacity * sizeof *list);
        if (list == NULL) {
            return ctr_fail(err, -ENOMEM, "write image: out of memory");
        }
        pile->list = list;
        pile->capacity = capacity;
    }
    pile->list[pile->n++] = ino;
    return 0;
}

/* Frees one directory; its subdirectories go on the pile. */
static int
remove_dir(struct e4_image *image, ext2_ino_t ino, struct pile *pile, struct ctr_error *err)
{
    struct e4_dir *dir = NULL;
    int status = e4_dir_get(image, ino, &dir, err);
    for (uint32_t i = 0; status == 0 && i < dir->n; i++) {
        const struct e4_dent *dent = &dir->list[i];
        if ((dent->flags & E4_GONE) != 0) {
            continue;
        }
        status = dent->type == EXT2_FT_DIR ? pile_push(pile, dent->ino, err)
                                           : e4_inode_drop(image, dent->ino, err);
    }
    e4_dir_drop(image, ino);
    return status == 0 ? e4_inode_free(image, ino, true, err) : status;
}

int
e4_remove(struct e4_image *image, struct e4_dir *dir, struct e4_dent *dent,
          struct ctr_error *err)
{
    ext2_ino_t ino = dent->ino;
    uint8_t type = dent->type;
    e4_dir_forget(dir, dent);
    if (type != EXT2_FT_DIR) {
        return e4_inode_drop(image, ino, err);
    }
    struct pile pile = {0};
    int status = pile_push(&pile, ino, err);
    while (status == 0 && pile.n > 0) {
        status = remove_dir(image, pile.list[--pile.n], &pile, err);
    }
    free(pile.list);
    return status;
}

/* What is kept in the directory is looked into later; the rest goes. */
static int
remove_lower_in(struct e4_image *image, ext2_ino_t ino, struct pile *pile,
                struct ctr_error *err)
{
    struct e4_dir *dir = NULL;
    int status = e4_dir_get(image, ino, &dir, err);
    for (uint32_t i = 0; status == 0 && i < dir->n; i++) {
        struct e4_dent *dent = &dir->list[i];
        if ((dent->flags & E4_GONE) != 0) {
            continue;
        }
        if ((dent->flags & E4_KEEP) == 0) {
            status = e4_remove(image, dir, dent, err);
        } else if (dent->type == EXT2_FT_DIR) {
            status = pile_push(pile, dent->ino, err);
        }
    }
    return status;
}

int
e4_remove_lower(struct e4_image *image, struct e4_dir *dir, struct ctr_error *err)
{
    struct pile pile = {0};
    int status = pile_push(&pile, dir->ino, err);
    while (status == 0 && pile.n > 0) {
        status = remove_lower_in(image, pile.list[--pile.n], &pile, err);
    }
    free(pile.list);
    return status;
}
