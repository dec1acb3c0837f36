/*
 * A layer's file: block 0 with the superblock | data blocks | the layer's own EROFS metadata | its log and tail. One pass over the tar
 * stream: content goes straight to its blocks, all else into the log, from which the metadata is made at the end.
 *
 * The kernel is told to begin writing back while the stream still comes, so that the sync at the end has little left to do.
 */
#include "plugins/storage-erofs/chain.h"
#include "plugins/storage-erofs/format.h"
#include "plugins/storage-erofs/log.h"
#include "plugins/storage-erofs/tail.h"
#include "plugins/storage-erofs/view.h"
#include <ctr/ext4.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PIECE =
        512
        << 10, /* content is gathered to writes of this size: large and aligned ones are cheap */
    WRITE_BACK = 8 << 20, /* is begun when so much was written */
};

struct layer {
    struct storage *storage;
    int fd;
    struct log log;
    uint32_t next_block;
    uint64_t file_at, file_bytes; /* where the current file lies */
    uint64_t at;                  /* where the buffer's first byte belongs */
    size_t filled;
    uint64_t written_back; /* up to here */
    uint8_t buffer[PIECE];
};

/* --- content --- */

static void
begin_write_back(struct layer *layer)
{
    uint64_t length = layer->at - layer->written_back;
    if (length >= WRITE_BACK) {
#ifdef SYNC_FILE_RANGE_WRITE
        (void) sync_file_range(layer->fd, (off_t) layer->written_back, (off_t) length,
                               SYNC_FILE_RANGE_WRITE);
#endif
        layer->written_back = layer->at;
    }
}

static int
flush(struct layer *layer, struct ctr_error *err)
{
    int code = write_at(layer->fd, layer->buffer, layer->filled, layer->at);
    if (code != 0) {
        errno = -code;
        return fail_errno(err, "writing", "a layer");
    }
    layer->at += layer->filled;
    layer->filled = 0;
    begin_write_back(layer);
    return 0;
}

/* Bytes that the buffer takes before the next multiple of its size in the file. */
static size_t
room(const struct layer *layer)
{
    return PIECE - layer->at % PIECE - layer->filled;
}

/* Goes on to an offset behind what was written: zeros within a block, a hole where whole blocks lie between. */
static int
skip_to(struct layer *layer, uint64_t offset, struct ctr_error *err)
{
    uint64_t end = layer->at + layer->filled;
    uint64_t next = (end + EROFS_BLOCK - 1) / EROFS_BLOCK * EROFS_BLOCK;
    int result = 0;
    if (offset >= next + EROFS_BLOCK || offset - end >= room(layer)) {
        result = flush(layer, err);
        layer->at = offset;
    } else {
        memset(layer->buffer + layer->filled, 0, offset - end);
        layer->filled += offset - end;
    }
    return result;
}

static int
put(struct layer *layer, const uint8_t *bytes, size_t length, uint64_t offset,
    struct ctr_error *err)
{
    int result = skip_to(layer, offset, err);
    while (result == 0 && length > 0) {
        size_t n = room(layer);
        n = n < length ? n : length;
        memcpy(layer->buffer + layer->filled, bytes, n);
        layer->filled += n;
        bytes += n;
        length -= n;
        result = room(layer) == 0 ? flush(layer, err) : 0;
    }
    return result;
}

/* --- the walk --- */

static int
on_entry(void *arg, const struct ctr_layer_entry *entry, struct ctr_error *err)
{
    struct layer *layer = arg;
    uint64_t blocks = entry->type == CTR_LAYER_FILE
                          ? entry->bytes / EROFS_BLOCK + (entry->bytes % EROFS_BLOCK != 0)
                          : 0;
    if (blocks > UINT32_MAX - layer->next_block) {
        return ctr_fail(err, -EFBIG,
                        "layer entry \"%.200s\": the layer would be larger than 16 TiB",
                        entry->path);
    }
    layer->file_at = layer->next_block * (uint64_t) EROFS_BLOCK;
    layer->file_bytes = blocks > 0 ? entry->bytes : 0;
    int result = log_add_entry(&layer->log, entry, blocks > 0 ? layer->next_block : 0, err);
    layer->next_block += (uint32_t) blocks;
    return result;
}

static int
on_data(void *arg, const void *bytes, size_t length, uint64_t offset, struct ctr_error *err)
{
    struct layer *layer = arg;
    if (offset > layer->file_bytes || length > layer->file_bytes - offset) {
        return ctr_fail(err, -EBADMSG, "a file has more bytes than its header says");
    }
    return put(layer, bytes, length, layer->file_at + offset, err);
}

static int
on_end(void *arg, struct ctr_error *err)
{
    return 0;
}

static int
on_whiteout(void *arg, const char *path, struct ctr_error *err)
{
    return log_add_mark(&((struct layer *) arg)->log, LOG_WHITEOUT, path, err);
}

static int
on_opaque(void *arg, const char *path, struct ctr_error *err)
{
    return log_add_mark(&((struct layer *) arg)->log, LOG_OPAQUE, path, err);
}

/* Metadata, log and tail behind the data; then all of it to the disk. */
static int
finish(struct layer *layer, struct ctr_error *err)
{
    struct tree tree;
    struct tail tail = {.blocks = layer->next_block - 1u};
    uint64_t end = 0;
    int result = flush(layer, err);
    result = result == 0 ? log_span(&layer->log, &tail.body, err) : result;
    if (result != 0) {
        return result;
    }
    (void) pthread_mutex_lock(&layer->storage->one_tree);
    result = view_make(&tree, &tail.body, tail.blocks, err);
    if (result == 0) {
        result = erofs_write(layer->fd, &tree, layer->next_block, 0, &end, &tail.inodes, err);
    }
    tree_finish(&tree);
    (void) pthread_mutex_unlock(&layer->storage->one_tree);
    if (result == 0) {
        result = tail_write(layer->fd, end * EROFS_BLOCK, TAIL_LAYER, &tail, err);
    }
    if (result == 0 && ctr_file_sync(layer->fd) != 0) {
        result = fail_errno(err, "syncing", "a layer");
    }
    return result;
}

static int
read_layer(struct storage *self, const char *key, int fd, int tar_fd,
           const struct ctr_storage_limits *limits, struct ctr_error *err)
{
    static const struct ctr_layer_ops ops = {.size = sizeof ops,
                                             .entry = on_entry,
                                             .data = on_data,
                                             .end = on_end,
                                             .whiteout = on_whiteout,
                                             .opaque = on_opaque};
    struct ctr_layer_limits walk = {.size = sizeof walk, .max_entries = TREE_NODES};
    char spilled[4096], name[160];
    struct layer *layer = malloc(sizeof *layer);
    if (layer == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    memset(layer, 0, offsetof(struct layer, buffer));
    layer->storage = self;
    layer->fd = fd;
    snprintf(name, sizeof name, "log-%s", key);
    path_of(self, spilled, "tmp", name);
    layer->log = log_init(spilled);
    layer->next_block = 1;
    layer->at = layer->written_back = EROFS_BLOCK;
    if (limits != NULL) {
        walk.max_bytes = limits->max_bytes;
        bool fewer = limits->max_entries > 0 && limits->max_entries < TREE_NODES;
        walk.max_entries = fewer ? limits->max_entries : TREE_NODES;
    }
    int result = ctr_layer_walk(tar_fd, &walk, &ops, layer, err);
    result = result == 0 ? finish(layer, err) : result;
    log_finish(&layer->log);
    free(layer);
    return result;
}

/* --- the slots --- */

int
layer_apply(void *arg, const char *key, int32_t tar_fd, const struct ctr_storage_limits *limits,
            struct ctr_error *err)
{
    struct storage *self = arg;
    char path[4096];
    int result = check_new_key(self, key, err);
    if (result != 0) {
        return result;
    }
    key_path(self, path, "tmp", key, "");
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return fail_errno(err, "making", path);
    }
    result = read_layer(self, key, fd, tar_fd, limits, err);
    close(fd);
    if (result != 0) {
        (void) unlink(path);
    }
    return result;
}

int
layer_commit(void *arg, const char *key, const char *diff_id, struct ctr_error *err)
{
    const struct storage *self = arg;
    char from[4096], to[4096];
    if (!is_digest(diff_id)) {
        return ctr_fail(err, -EINVAL, "storage-erofs: '%.80s' is no diff ID", diff_id);
    }
    int result = check_key(key, err);
    if (result != 0) {
        return result;
    }
    key_path(self, from, "tmp", key, "");
    digest_path(self, to, "layers", diff_id);
    if (access(from, F_OK) != 0) {
        return ctr_fail(err, -ENOENT, "storage-erofs: there is no layer %s to commit", key);
    }
    if (access(to, F_OK) == 0) {
        (void) unlink(from);
        return 0;
    }
    return publish(self, from, "layers", to, err);
}

int
layer_remove(void *arg, const char *name, struct ctr_error *err)
{
    const struct storage *self = arg;
    char path[4096];
    if (!is_digest(name)) {
        int result = check_key(name, err);
        if (result != 0) {
            return result;
        }
        key_path(self, path, "tmp", name, "");
    } else if (chain_has_layer(self, name)) {
        return ctr_fail(err, -EBUSY, "storage-erofs: an image has layer %s; remove it first",
                        name);
    } else {
        digest_path(self, path, "layers", name);
    }
    return unlink(path) == 0 || errno == ENOENT ? 0 : fail_errno(err, "removing", path);
}
