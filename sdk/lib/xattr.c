/*
 * Extended attributes of a layer's entry (pax keys SCHILY.xattr.* and LIBARCHIVE.xattr.*).
 *
 * Kept: user.*, trusted.*, security.* (with security.capability) and the two POSIX ACLs of system.*.
 * Dropped: trusted.overlay.* (they steer overlay mounts, which are the storage plugin's own business), security.selinux (a label of the
 * policy of the machine that made the layer) and
 * namespaces that no Linux filesystem stores (system.* else, com.apple.*, …), and empty values: in a pax header they mean "not given".
 * Refused: what setxattr(2) does not take: long names and values, malformed capabilities, user.* on what is neither file nor directory.
 */
#include "layer-priv.h"
#include <errno.h>

#define NAME_MAX_BYTES 255

static bool
has_prefix(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool
is_kept(const char *name)
{
    static const char *const spaces[] = {"user.", "trusted.", "security."};
    if (has_prefix(name, "trusted.overlay.") || strcmp(name, "security.selinux") == 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++) {
        if (has_prefix(name, spaces[i])) {
            return name[strlen(spaces[i])] != '\0';
        }
    }
    return strcmp(name, "system.posix_acl_access") == 0 ||
           strcmp(name, "system.posix_acl_default") == 0;
}

static bool
is_known(const struct layer_xattrs *xattrs, const char *name)
{
    for (uint32_t i = 0; i < xattrs->n; i++) {
        if (strcmp(xattrs->list[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Version 2 or 3 of struct vfs_cap_data, by the version's size. */
static bool
is_capability(const uint8_t *value, size_t length)
{
    return (length == 20 && value[3] == 2) || (length == 24 && value[3] == 3);
}

/* Why the entry cannot have the attribute, or NULL. */
static const char *
why_not(const char *name, const void *value, size_t length, mode_t type)
{
    if (strlen(name) > NAME_MAX_BYTES || length > LAYER_XATTR_VALUE_MAX) {
        return "is too long";
    }
    if (strcmp(name, "security.capability") == 0 && !is_capability(value, length)) {
        return "is malformed";
    }
    if (has_prefix(name, "user.") && type != AE_IFREG && type != AE_IFDIR && type != 0) {
        return "belongs to files and directories only";
    }
    return NULL;
}

int
layer_xattrs_collect(struct archive_entry *entry, struct layer_xattrs *ret, const char *path,
                     struct ctr_error *err)
{
    const char *name = NULL;
    const void *value = NULL;
    size_t length = 0;
    ret->n = 0;
    (void) archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &name, &value, &length) == ARCHIVE_OK) {
        /* bsdtar writes each attribute under both keys */
        if (name == NULL || length == 0 || !is_kept(name) || is_known(ret, name)) {
            continue;
        }
        const char *why = why_not(name, value, length, archive_entry_filetype(entry));
        if (why != NULL) {
            return ctr_fail(err, -EBADMSG,
                            "layer entry \"%.200s\": extended attribute \"%.100s\" %s", path,
                            name, why);
        }
        if (ret->n == LAYER_XATTRS_MAX) {
            return ctr_fail(err, -EBADMSG,
                            "layer entry \"%.200s\": more than %d extended attributes", path,
                            LAYER_XATTRS_MAX);
        }
        ret->list[ret->n++] =
            (struct ctr_layer_xattr){.name = name, .value = value, .length = length};
    }
    return 0;
}
