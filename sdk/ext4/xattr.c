/*
 * Extended attributes: libext2fs places them inside the inode or in one block. POSIX ACLs come in the kernel's
 * form and are turned into ext4's by libext2fs, after their shape was checked here.
 */
#include "sdk/ext4/writer.h"
#include <errno.h>
#include <stdlib.h>

#define ACL_HEADER 4
#define ACL_ENTRY 8
#define ACL_ENTRIES_MAX 256

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

static bool
is_acl(const char *name)
{
    return strncmp(name, "system.posix_acl_", 17) == 0;
}

/* A header with version 2, then entries of tag, permissions, id; all little-endian. */
static bool
is_valid_acl(const struct ctr_layer_xattr *xattr)
{
    const uint8_t *bytes = xattr->value;
    if (xattr->length < ACL_HEADER + ACL_ENTRY ||
        (xattr->length - ACL_HEADER) % ACL_ENTRY != 0 ||
        (xattr->length - ACL_HEADER) / ACL_ENTRY > ACL_ENTRIES_MAX ||
        memcmp(bytes, "\2\0\0\0", ACL_HEADER) != 0) {
        return false;
    }
    for (uint64_t at = ACL_HEADER; at < xattr->length; at += ACL_ENTRY) {
        uint32_t tag = bytes[at] | (uint32_t) bytes[at + 1] << 8;
        uint32_t permissions = bytes[at + 2] | (uint32_t) bytes[at + 3] << 8;
        bool known = tag == 1 || tag == 2 || tag == 4 || tag == 8 || tag == 16 || tag == 32;
        if (!known || permissions > 7) {
            return false;
        }
    }
    return true;
}

static int
set_one(struct ext2_xattr_handle *handle, const struct ctr_layer_entry *entry,
        const struct ctr_layer_xattr *xattr, struct ctr_error *err)
{
    if (is_acl(xattr->name) && !is_valid_acl(xattr)) {
        return ctr_fail(err, -EBADMSG, "layer entry \"%.200s\": malformed %.100s", entry->path,
                        xattr->name);
    }
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
