/*
 * log: a layer's entries in the order of its tar stream, without the content: what a layer means can be told only on top of those below
 * it (a parent that is a link there, a hard link to a file there), so its log is replayed whenever a chain of it is made.
 *
 * A record, numbers little-endian:
 *     2 bytes kind | 2 path | 2 target | 2 number of xattrs | 4 mode | 4 uid | 4 gid | 4 major | 4 minor | 4 nanoseconds |
 *     8 mtime | 8 file bytes | 4 first data block | path, 0 | target, 0 | for each xattr: 2 name | 4 value | name, 0 | value
 * The 2 and 4 bytes of texts and values are their lengths.
 */
#ifndef EROFS_LOG_H
#define EROFS_LOG_H

#include "plugins/storage-erofs/span.h"
#include <ctr/layer.h>
#include <stdbool.h>

enum log_kind { /* or an enum ctr_layer_type */
                LOG_WHITEOUT = 100,
                LOG_OPAQUE = 101,
};

#define LOG_XATTRS_MAX 256

/* --- writing --- */

/* Held in memory while it is short, else in an unlinked file. */
struct log {
    const char *path; /* where that file may be made */
    int fd;           /* -1: none yet */
    uint64_t spilled; /* bytes in it */
    uint8_t *bytes;   /* the rest */
    size_t filled, capacity;
};

static inline struct log
log_init(const char *path)
{
    return (struct log){.path = path, .fd = -1};
}
int log_add_entry(struct log *log, const struct ctr_layer_entry *entry, uint32_t block,
                  struct ctr_error *err);
int log_add_mark(struct log *log, enum log_kind kind, const char *path, struct ctr_error *err);
/* What was written, as long as nothing more is. */
int log_span(struct log *log, struct span *ret, struct ctr_error *err);
void log_finish(struct log *log);

/* --- reading --- */

struct log_record {
    uint32_t kind;
    uint32_t block; /* of a file with content: its first data block, from 1 */
    struct ctr_layer_entry
        entry; /* of a mark only the path is set; all pointers lead into the reader and xattrs, until the next record */
    struct ctr_layer_xattr xattrs[LOG_XATTRS_MAX];
};

struct log_reader {
    struct span span;
    uint64_t next;   /* what of the span was not read yet */
    uint64_t blocks; /* data blocks of the layer: what a record may name */
    uint8_t *buffer;
    size_t at, filled, capacity;
};

static inline struct log_reader
log_read(const struct span *span, uint64_t blocks)
{
    return (struct log_reader){.span = *span, .blocks = blocks};
}
void log_reader_finish(struct log_reader *reader);
/* 1 with the next record, 0 at the end, -EBADMSG for one that cannot be ours. */
int log_next(struct log_reader *reader, struct log_record *ret, struct ctr_error *err);

#endif
