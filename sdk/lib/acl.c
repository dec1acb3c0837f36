/*
 * POSIX ACLs of a layer's entry, as Linux takes them from setxattr(2): an access ACL also says the permission bits, and one that says
 * nothing more than those is not kept; a default ACL belongs to a directory, and a symbolic link has none. What Linux would not take is refused.
 *
 * The form: version 2 in 4 bytes, then entries of tag (2), permissions (2) and id (4), little-endian, in the order of their tags.
 */
#include "layer-priv.h"
#include <errno.h>

#define HEADER 4
#define ENTRY 8
#define ENTRIES_MAX 256

enum tag { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32 };

static uint32_t
little(const uint8_t *bytes, int n)
{
    uint32_t ret = 0;
    while (n-- > 0) {
        ret = ret << 8 | bytes[n];
    }
    return ret;
}

/* May an entry with this tag stand behind one with the other? */
static bool
is_in_order(uint32_t before, uint32_t tag)
{
    return tag == USER || tag == GROUP ? before == tag || before == tag >> 1
                                       : tag > before && (tag & (tag - 1)) == 0 && tag <= OTHER;
}

/* The permission bits that it stands for, and which tags it has; false if Linux would not take it. */
static bool
read_acl(const struct ctr_layer_xattr *xattr, uint32_t *ret_mode, uint32_t *ret_tags)
{
    const uint8_t *bytes = xattr->value;
    uint32_t tag = 0, permissions[OTHER + 1] = {0};
    *ret_tags = 0;
    if (xattr->length < HEADER || (xattr->length - HEADER) % ENTRY != 0 ||
        (xattr->length - HEADER) / ENTRY > ENTRIES_MAX || little(bytes, HEADER) != 2) {
        return false;
    }
    for (uint64_t at = HEADER; at < xattr->length; at += ENTRY) {
        uint32_t before = tag;
        tag = little(bytes + at, 2);
        bool named = tag == USER || tag == GROUP;
        if (!is_in_order(before, tag) || little(bytes + at + 2, 2) > 7 ||
            (named && little(bytes + at + 4, 4) == UINT32_MAX)) {
            return false;
        }
        permissions[tag] = little(bytes + at + 2, 2);
        *ret_tags |= tag;
    }
    uint32_t group = permissions[(*ret_tags & MASK) != 0 ? MASK : GROUP_OBJ];
    *ret_mode = permissions[USER_OBJ] << 6 | group << 3 | permissions[OTHER];
    bool whole = (*ret_tags & (USER_OBJ | GROUP_OBJ | OTHER)) == (USER_OBJ | GROUP_OBJ | OTHER);
    bool masked = (*ret_tags & (USER | GROUP)) == 0 || (*ret_tags & MASK) != 0;
    return *ret_tags == 0 || (whole && masked);
}

/* Looks at one attribute; *ret_keep: it is to be stored. */
static bool
take_acl(struct ctr_layer_entry *entry, const struct ctr_layer_xattr *xattr, bool *ret_keep)
{
    bool access = strcmp(xattr->name, "system.posix_acl_access") == 0;
    uint32_t mode = 0, tags = 0;
    *ret_keep = true;
    if (!access && strcmp(xattr->name, "system.posix_acl_default") != 0) {
        return true;
    }
    if (entry->type == CTR_LAYER_SYMLINK) {
        *ret_keep = false;
        return true;
    }
    if ((!access && entry->type != CTR_LAYER_DIR) || !read_acl(xattr, &mode, &tags)) {
        return false;
    }
    if (access && tags != 0) {
        entry->mode = (entry->mode & ~0777U) | mode;
    }
    *ret_keep = access ? (tags & (USER | GROUP | MASK)) != 0 : tags != 0;
    return true;
}

int
layer_acls_apply(struct ctr_layer_entry *entry, struct layer_xattrs *xattrs,
                 struct ctr_error *err)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < xattrs->n; i++) {
        bool keep = false;
        if (!take_acl(entry, &xattrs->list[i], &keep)) {
            return ctr_fail(err, -EBADMSG,
                            "layer entry \"%.200s\": malformed or misplaced %.100s",
                            entry->path, xattrs->list[i].name);
        }
        if (keep) {
            xattrs->list[n++] = xattrs->list[i];
        }
    }
    xattrs->n = n;
    return 0;
}
