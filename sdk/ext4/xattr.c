/*
 * Extended attributes: libext2fs places them inside the inode or in one block. POSIX ACLs come in the kernel's
 * form and are turned into ext4's by libext2fs; the layer walk has checked their shape.
 */
#include "sdk/ext4/writer.h"
#include <errno.h>
#include <stdlib.h>

struct names {
    char *list[512];
    uint32_t n;
};

static int
collect_name(char *name, char *value, size_t length, void *arg)
{
    struct names *names = arg;
    (void) value;
    (void) length;
    if (names->n < sizeof names->list / sizeof names->list[0]) {
        names->list[names->n] = strdup(name);
        names->n += names->list[names->n] != NULL;
    }
    return 0;
}

static errcode_t
remove_all(struct ext2_xattr_handle *handle)
{
    struct names *names = calloc(1, sizeof *names);
    if (names == NULL) {
        return EXT2_ET_NO_MEMORY;
    }
    errcode_t code = ext2fs_xattrs_iterate(handle, collect_name, names);
    for (uint32_t i = 0; i < names->n; i++) {
        if (code == 0) {
            code = ext2fs_xattr_remove(handle, names->list[i]);
        }
        free(names->list[i]);
    }
    free(names);
    return code;
}

static int
set_one(struct ext2_xattr_handle *handle, const struct ctr_layer_entry *entry,
        const struct ctr_layer_xattr *xattr, struct ctr_error *err)
{
    errcode_t code =
        ext2fs_xattr_set(handle, xattr->name, xattr->value, (size_t) xattr->length);
    if (code == EXT2_ET_EA_NO_SPACE || code == EXT2_ET_EA_KEY_NOT_FOUND) {
        return ctr_fail(
            err, -E2BIG,
            "layer entry \"%.200s\": extended attribute %.100s of %llu bytes: ext4 keeps at "
            "most 4 KiB for all of a file",
            entry->path, xattr->name, (unsigned long long) xattr->length);
    }
    return code == 0 ? 0
                     : e4_fail(err, code, "layer entry \"%.200s\": extended attribute %.100s",
                               entry->path, xattr->name);
}

int
e4_xattrs_replace(struct e4_image *image, ext2_ino_t ino, const struct ctr_layer_entry *entry,
                  bool is_new, struct ctr_error *err)
{
    struct ext2_xattr_handle *handle = NULL;
    if (is_new && entry->n_xattrs == 0) {
        return 0;
    }
    errcode_t code = ext2fs_xattrs_open(image->fs, ino, &handle);
    if (code != 0) {
        return e4_fail(err, code, "write image: extended attributes");
    }
    if (!is_new) {
        code = ext2fs_xattrs_read(handle);
        code = code == 0 ? remove_all(handle) : code;
    }
    int status = code == 0 ? 0 : e4_fail(err, code, "write image: extended attributes");
    for (uint32_t i = 0; status == 0 && i < entry->n_xattrs; i++) {
        status = set_one(handle, entry, &entry->xattrs[i], err);
    }
    (void) ext2fs_xattrs_close(&handle);
    return status;
}
