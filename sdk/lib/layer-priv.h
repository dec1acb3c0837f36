/*
 * sdk/lib: what the files of the layer walker share.
 */
#ifndef CTR_LAYER_PRIV_H
#define CTR_LAYER_PRIV_H

#include <archive.h>
#include <archive_entry.h>
#include <ctr/layer.h>
#include <stdbool.h>

#define LAYER_PATH_MAX 4096 /* with the final NUL */
#define LAYER_XATTRS_MAX 256
#define LAYER_XATTR_VALUE_MAX 65536

/* The extended attributes of the current entry; values are borrowed from the archive entry. */
struct layer_xattrs {
    struct ctr_layer_xattr list[LAYER_XATTRS_MAX];
    uint32_t n;
};

/* Collects what a Linux filesystem can hold; -EBADMSG for what is malformed. */
int layer_xattrs_collect(struct archive_entry *entry, struct layer_xattrs *ret,
                         const char *path, struct ctr_error *err);

/* Checks the POSIX ACLs among them; an access ACL changes the entry's mode. */
int layer_acls_apply(struct ctr_layer_entry *entry, struct layer_xattrs *xattrs,
                     struct ctr_error *err);

/* Where the name's last component begins. */
const char *layer_basename(const char *path);

#endif
