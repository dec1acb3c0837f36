/*
 * Records out and in. Reading trusts nothing: lengths stay inside the log, texts end where they say, paths are clean, a file's blocks
 * are the layer's.
 */
#include "plugins/storage-erofs/log.h"
#include "plugins/storage-erofs/format.h"
#include "plugins/storage-erofs/store.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEAD_SIZE = 52, XATTR_HEAD = 6, PATH_LIMIT = 4096, IN_MEMORY = 256 << 10 };
#define LOG_MAX ((size_t) 1 << 30)

/* --- writing --- */

static int
spill(struct log *log, struct ctr_error *err)
{
    if (log->fd < 0) {
        log->fd = open(log->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (log->fd < 0) {
            return fail_errno(err, "making", log->path);
        }
        (void) unlink(log->path);
    }
    int code = write_at(log->fd, log->bytes, log->filled, log->spilled);
    errno = -code;
    log->spilled += log->filled;
    log->filled = 0;
    return code == 0 ? 0 : fail_errno(err, "writing", log->path);
}

/* Makes a buffer as large as it is asked for; what it holds stays. */
static int
reserve(uint8_t **buffer, size_t *capacity, size_t length, struct ctr_error *err)
{
    if (length > *capacity) {
        size_t more = length < IN_MEMORY ? length * 2 : length;
        uint8_t *bytes = realloc(*buffer, more);
        if (bytes == NULL) {
            return ctr_fail(err, -ENOMEM, "out of memory");
        }
        *buffer = bytes;
        *capacity = more;
    }
    return 0;
}

static int
make_room(struct log *log, size_t length, struct ctr_error *err)
{
    if (length > LOG_MAX - log->filled - log->spilled) {
        return ctr_fail(err, -E2BIG, "the layer's names and attributes take more than 1 GiB");
    }
    int result = log->filled > 0 && log->filled + length > IN_MEMORY ? spill(log, err) : 0;
    return result == 0 ? reserve(&log->bytes, &log->capacity, log->filled + length, err)
                       : result;
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
    int result = make_room(log, need, err);
    if (result != 0) {
        return result;
    }
    uint8_t *at = log->bytes + log->filled;
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
    log->filled = (size_t) (at - log->bytes);
    return 0;
}

int
log_add_mark(struct log *log, enum log_kind kind, const char *path, struct ctr_error *err)
{
    const struct ctr_layer_entry mark = {.type = (uint32_t) kind, .path = path};
    return log_add_entry(log, &mark, 0, err);
}

int
log_span(struct log *log, struct span *ret, struct ctr_error *err)
{
    int result = log->fd >= 0 ? spill(log, err) : 0;
    *ret = (struct span){.fd = log->fd, .length = log->spilled + log->filled};
    ret->bytes = log->fd < 0 ? log->bytes : NULL;
    return result;
}

void
log_finish(struct log *log)
{
    if (log->fd >= 0) {
        close(log->fd);
    }
    free(log->bytes);
    *log = log_init(NULL);
}

/* --- reading --- */

/* Makes sure that `length` bytes of the record at hand are in the buffer. */
static int
fill(struct log_reader *reader, size_t length, struct ctr_error *err)
{
    size_t have = reader->filled - reader->at;
    if (have >= length) {
        return 0;
    }
    uint64_t left = reader->span.length - reader->next;
    if (length - have > left) {
        return -EBADMSG;
    }
    int result = reserve(&reader->buffer, &reader->capacity,
                         length > SPAN_PIECE ? length : SPAN_PIECE, err);
    if (result != 0) {
        return result;
    }
    memmove(reader->buffer, reader->buffer + reader->at, have);
    size_t n = reader->capacity - have;
    n = n < left ? n : (size_t) left;
    result = span_read(&reader->span, reader->next, reader->buffer + have, n);
    reader->next += n;
    reader->at = 0;
    reader->filled = have + n;
    errno = -result;
    return result == 0 || result == -EBADMSG ? result : fail_errno(err, "reading", "a layer");
}

/* Brings the whole record at hand into the buffer. */
static int
fill_record(struct log_reader *reader, struct ctr_error *err)
{
    int result = fill(reader, HEAD_SIZE, err);
    if (result != 0) {
        return result;
    }
    const uint8_t *in = reader->buffer + reader->at;
    uint64_t n_xattrs = get_le(in + 6, 2);
    size_t length = HEAD_SIZE + (size_t) (get_le(in + 2, 2) + get_le(in + 4, 2)) + 2;
    result = fill(reader, length, err);
    for (uint64_t i = 0; result == 0 && i < n_xattrs; i++) {
        result = fill(reader, length + XATTR_HEAD, err);
        if (result == 0) {
            in = reader->buffer + reader->at + length;
            length += XATTR_HEAD + (size_t) (get_le(in, 2) + get_le(in + 2, 4)) + 1;
            result = fill(reader, length, err);
        }
    }
    return result;
}

static const char *
take_text(struct log_reader *reader, size_t length)
{
    const char *text = (const char *) reader->buffer + reader->at;
    if (strnlen(text, length + 1) != length) {
        return NULL;
    }
    reader->at += length + 1;
    return text;
}

static bool
take_xattrs(struct log_reader *reader, uint32_t n, struct log_record *ret)
{
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *in = reader->buffer + reader->at;
        size_t name = (size_t) get_le(in, 2), value = (size_t) get_le(in + 2, 4);
        reader->at += XATTR_HEAD;
        ret->xattrs[i].name = take_text(reader, name);
        ret->xattrs[i].value = reader->buffer + reader->at;
        ret->xattrs[i].length = value;
        if (ret->xattrs[i].name == NULL) {
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
    const uint8_t *in = reader->buffer + reader->at;
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
    if (reader->at == reader->filled && reader->next == reader->span.length) {
        return 0;
    }
    int result = fill_record(reader, err);
    if (result == 0 && take_record(reader, ret) && is_plausible(reader, ret)) {
        return 1;
    }
    return result != 0 && result != -EBADMSG
               ? result
               : ctr_fail(err, -EBADMSG,
                          "the list of a layer's entries is damaged; remove the image and pull "
                          "it again");
}

void
log_reader_finish(struct log_reader *reader)
{
    free(reader->buffer);
    reader->buffer = NULL;
}
