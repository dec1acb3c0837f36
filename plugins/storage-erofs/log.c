/*
 * Records out and in. Reading trusts nothing: lengths stay inside the log, texts end where they say, paths are clean, a file's blocks
 * are the layer's.
 */
#include "plugins/storage-erofs/log.h"
#include "plugins/storage-erofs/format.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_SIZE = 52, XATTR_HEAD = 6, PATH_LIMIT = 4096 };
#define LOG_MAX ((size_t) 1 << 30)

/* --- writing --- */

static int
reserve(struct log *log, size_t length, struct ctr_error *err)
{
    if (length > LOG_MAX - log->length) {
        return ctr_fail(err, -E2BIG, "the layer's names and attributes take more than 1 GiB");
    }
    if (log->length + length > log->capacity) {
        size_t capacity = log->capacity + log->capacity / 2 + length + 65536;
        uint8_t *bytes = realloc(log->bytes, capacity);
        if (bytes == NULL) {
            return ctr_fail(err, -ENOMEM, "out of memory");
        }
        log->bytes = bytes;
        log->capacity = capacity;
    }
    return 0;
}

static uint8_t *
put_text(uint8_t *at, const char *text, size_t length)
{
    memcpy(at, text, length);
    at[length] = '\0';
    return at + length + 1;
}

static uint8_t *
put_xattrs(uint8_t *at, const struct ctr_layer_entry *entry)
{
    for (uint32_t i = 0; i < entry->n_xattrs; i++) {
        const struct ctr_layer_xattr *xattr = &entry->xattrs[i];
        size_t name = strlen(xattr->name);
        put_le(at, name, 2);
        put_le(at + 2, xattr->length, 4);
        at = put_text(at + XATTR_HEAD, xattr->name, name);
        memcpy(at, xattr->value, xattr->length);
        at += xattr->length;
    }
    return at;
}

int
log_add_entry(struct log *log, const struct ctr_layer_entry *entry, uint32_t block,
              struct ctr_error *err)
{
    const char *target = entry->target != NULL ? entry->target : "";
    size_t path = strlen(entry->path), target_length = strlen(target);
    size_t need = HEAD_SIZE + path + target_length + 2;
    for (uint32_t i = 0; i < entry->n_xattrs; i++) {
        need += XATTR_HEAD + strlen(entry->xattrs[i].name) + 1 + entry->xattrs[i].length;
    }
    int result = reserve(log, need, err);
    if (result != 0) {
        return result;
    }
    uint8_t *at = log->bytes + log->length;
    put_le(at, entry->type, 2);
    put_le(at + 2, path, 2);
    put_le(at + 4, target_length, 2);
    put_le(at + 6, entry->n_xattrs, 2);
    put_le(at + 8, entry->mode, 4);
    put_le(at + 12, entry->uid, 4);
    put_le(at + 16, entry->gid, 4);
    put_le(at + 20, entry->major, 4);
    put_le(at + 24, entry->minor, 4);
    put_le(at + 28, entry->mtime_nsec, 4);
    put_le(at + 32, (uint64_t) entry->mtime, 8);
    put_le(at + 40, entry->bytes, 8);
    put_le(at + 48, block, 4);
    at = put_text(at + HEAD_SIZE, entry->path, path);
    at = put_text(at, target, target_length);
    at = put_xattrs(at, entry);
    log->length = (size_t) (at - log->bytes);
    return 0;
}

int
log_add_mark(struct log *log, enum log_kind kind, const char *path, struct ctr_error *err)
{
    const struct ctr_layer_entry mark = {.type = (uint32_t) kind, .path = path};
    return log_add_entry(log, &mark, 0, err);
}

void
log_finish(struct log *log)
{
    free(log->bytes);
    *log = (struct log){0};
}

/* --- reading --- */

static const char *
take_text(struct log_reader *reader, size_t length)
{
    const char *text = (const char *) reader->at;
    if ((size_t) (reader->end - reader->at) <= length || strnlen(text, length + 1) != length) {
        return NULL;
    }
    reader->at += length + 1;
    return text;
}

static bool
take_xattrs(struct log_reader *reader, uint32_t n, struct log_record *ret)
{
    for (uint32_t i = 0; i < n; i++) {
        if (reader->end - reader->at < XATTR_HEAD) {
            return false;
        }
        size_t name = (size_t) get_le(reader->at, 2),
               value = (size_t) get_le(reader->at + 2, 4);
        reader->at += XATTR_HEAD;
        ret->xattrs[i].name = take_text(reader, name);
        ret->xattrs[i].value = reader->at;
        ret->xattrs[i].length = value;
        if (ret->xattrs[i].name == NULL || value > (size_t) (reader->end - reader->at)) {
            return false;
        }
        reader->at += value;
    }
    ret->entry.n_xattrs = n;
    ret->entry.xattrs = ret->xattrs;
    return true;
}

static bool
is_clean(const char *path)
{
    char clean[PATH_LIMIT];
    return ctr_layer_clean(path, clean, sizeof clean) == 0 && strcmp(clean, path) == 0;
}

/* What the walker never gives, a log never holds. */
static bool
is_plausible(const struct log_reader *reader, const struct log_record *record)
{
    const struct ctr_layer_entry *entry = &record->entry;
    bool known = (record->kind >= CTR_LAYER_FILE && record->kind <= CTR_LAYER_FIFO) ||
                 record->kind == LOG_WHITEOUT || record->kind == LOG_OPAQUE;
    if (!known || !is_clean(entry->path) || entry->mtime_nsec >= 1000000000) {
        return false;
    }
    if (entry->path[0] == '\0' && record->kind != CTR_LAYER_DIR && record->kind != LOG_OPAQUE) {
        return false;
    }
    if ((record->kind == CTR_LAYER_SYMLINK && entry->target[0] == '\0') ||
        (record->kind == CTR_LAYER_HARDLINK && !is_clean(entry->target))) {
        return false;
    }
    if (record->kind != CTR_LAYER_FILE) {
        return entry->bytes == 0;
    }
    uint64_t blocks = entry->bytes / EROFS_BLOCK + (entry->bytes % EROFS_BLOCK != 0);
    return blocks == 0 || (record->block >= 1 && blocks <= reader->blocks &&
                           record->block - 1 <= reader->blocks - blocks);
}

static bool
take_record(struct log_reader *reader, struct log_record *ret)
{
    const uint8_t *in = reader->at;
    if (reader->end - in < HEAD_SIZE) {
        return false;
    }
    size_t path = (size_t) get_le(in + 2, 2), target = (size_t) get_le(in + 4, 2);
    uint32_t n_xattrs = (uint32_t) get_le(in + 6, 2);
    if (path >= PATH_LIMIT || target >= PATH_LIMIT || n_xattrs > LOG_XATTRS_MAX) {
        return false;
    }
    ret->kind = (uint32_t) get_le(in, 2);
    ret->block = (uint32_t) get_le(in + 48, 4);
    ret->entry = (struct ctr_layer_entry){.size = sizeof ret->entry,
                                          .type = ret->kind,
                                          .mode = (uint32_t) get_le(in + 8, 4) & 07777,
                                          .uid = (uint32_t) get_le(in + 12, 4),
                                          .gid = (uint32_t) get_le(in + 16, 4),
                                          .major = (uint32_t) get_le(in + 20, 4),
                                          .minor = (uint32_t) get_le(in + 24, 4),
                                          .mtime_nsec = (uint32_t) get_le(in + 28, 4),
                                          .mtime = (int64_t) get_le(in + 32, 8),
                                          .bytes = get_le(in + 40, 8)};
    reader->at += HEAD_SIZE;
    ret->entry.path = take_text(reader, path);
    ret->entry.target = ret->entry.path != NULL ? take_text(reader, target) : NULL;
    return ret->entry.target != NULL && take_xattrs(reader, n_xattrs, ret);
}

int
log_next(struct log_reader *reader, struct log_record *ret, struct ctr_error *err)
{
    if (reader->at == reader->end) {
        return 0;
    }
    return take_record(reader, ret) && is_plausible(reader, ret)
               ? 1
               : ctr_fail(err, -EBADMSG,
                          "the list of a layer's entries is damaged; remove the image and pull "
                          "it again");
}
