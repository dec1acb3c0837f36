/*
 * ctr/layer.h: a safe walk of one OCI layer (image-spec/layer.md), for storage plugins. Link with -lctr-layer.
 *
 * The walker reads an uncompressed tar stream (ustar, pax, GNU) from an fd, checks and cleans every entry and calls back.
 * Paths come out relative, without "." and "..", without a leading or doubled slash, at most 4,095 bytes; what cannot be cleaned
 * is refused with -EBADMSG and a message that names the entry. Whiteouts come as their own calls. Symbolic link targets are
 * passed on untouched: they mean something only inside the guest. Hard link targets are cleaned like paths.
 * The walker holds at most 1 MiB; content is handed out in pieces. It does not remember paths: that a parent is a symbolic link
 * or missing is for the plugin to see (layers replace what they overwrite; missing parents are made with mode 0755).
 */
#ifndef CTR_LAYER_H
#define CTR_LAYER_H

#include <ctr/error.h>
#include <stddef.h>
#include <stdint.h>

enum ctr_layer_type {
    CTR_LAYER_FILE = 1,
    CTR_LAYER_DIR = 2,
    CTR_LAYER_SYMLINK = 3,
    CTR_LAYER_HARDLINK = 4,
    CTR_LAYER_CHAR = 5,
    CTR_LAYER_BLOCK = 6,
    CTR_LAYER_FIFO = 7,
};

struct ctr_layer_xattr {
    const char *name; /* with its namespace: "security.capability" */
    const void *value;
    uint64_t length;
};

/* One entry, valid during the callback. */
struct ctr_layer_entry {
    uint32_t size;
    uint32_t type;      /* enum ctr_layer_type */
    const char *path;   /* cleaned; "" is the root directory itself */
    const char *target; /* of a symbolic link as written, of a hard link cleaned; else NULL */
    uint32_t mode;      /* permission bits, 07777 */
    uint32_t uid, gid;
    uint32_t major, minor;
    int64_t mtime; /* seconds since the epoch */
    uint32_t mtime_nsec;
    uint32_t n_xattrs;
    uint64_t bytes; /* of a file */
    const struct ctr_layer_xattr *xattrs;
};

struct ctr_layer_limits {
    uint32_t size;
    uint32_t reserved;
    uint64_t max_bytes;   /* sum of all files' bytes; 0: no limit */
    uint64_t max_entries; /* 0: no limit */
};

/* Each returns 0 to go on or a negative code (with err set), which ends the walk and is returned. */
struct ctr_layer_ops {
    uint32_t size;
    uint32_t reserved;
    /* An entry; for a file, data calls follow. */
    int (*entry)(void *arg, const struct ctr_layer_entry *entry, struct ctr_error *err);
    /* Bytes of the current file; holes are skipped: offsets grow, gaps are zero. */
    int (*data)(void *arg, const void *bytes, size_t length, uint64_t offset,
                struct ctr_error *err);
    /* After the last byte of a file. */
    int (*end)(void *arg, struct ctr_error *err);
    /* ".wh.NAME": `path` (cleaned, of the hidden name) is removed from lower layers. */
    int (*whiteout)(void *arg, const char *path, struct ctr_error *err);
    /* ".wh..wh..opq" in directory `path`: what lower layers have in it is hidden. */
    int (*opaque)(void *arg, const char *path, struct ctr_error *err);
};

/* Walks the stream on `fd` to its end, also past the end-of-archive mark. Blocks. Any thread. */
int ctr_layer_walk(int32_t fd, const struct ctr_layer_limits *limits,
                   const struct ctr_layer_ops *ops, void *arg, struct ctr_error *err);

/* Cleans a path as the walker does into ret[capacity]; -EBADMSG if it climbs out or is too long. */
int ctr_layer_clean(const char *path, char *ret, size_t capacity);

#endif
