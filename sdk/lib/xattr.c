/*
 * Extended attributes of a layer's entry (pax keys SCHILY.xattr.* and LIBARCHIVE.xattr.*).
 *
 * Kept: user.*, trusted.*, security.* (with security.capability) and the two POSIX ACLs of system.*.
 * Dropped: trusted.overlay.* and user.overlay.* (they steer overlay mounts, which are the storage plugin's own business) and
 * namespaces that no Linux filesystem stores (system.* else, com.apple.*, …), and empty values: in a pax header they mean "not given".
 * Refused: names or values beyond what Linux takes.
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
    if (has_prefix(name, "trusted.overlay.") || has_prefix(name, "user.overlay.")) {
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
        if (strlen(name) > NAME_MAX_BYTES || length > LAYER_XATTR_VALUE_MAX) {
            return ctr_fail(err, -EBADMSG,
                            "layer entry \"%.200s\": extended attribute \"%.100s\" is too long",
                            path, name);
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
