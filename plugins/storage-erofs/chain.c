/*
 * Making a chain replays its layers' logs, lowest first, onto one tree: the rules of image-spec/layer.md are those of tree.c. Its time
 * depends on the number of files; no content is read or written.
 */
#include "plugins/storage-erofs/chain.h"
#include "plugins/storage-erofs/format.h"
#include "plugins/storage-erofs/log.h"
#include "plugins/storage-erofs/tail.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PART_SIZE = 72, HEX = 64 };

/* --- replaying --- */

static int
replay_record(struct tree *tree, const struct log_record *record, uint64_t base,
              struct ctr_error *err)
{
    struct node *node;
    if (record->kind == LOG_WHITEOUT) {
        return tree_whiteout(tree, record->entry.path, err);
    }
    if (record->kind == LOG_OPAQUE) {
        return tree_opaque(tree, record->entry.path, err);
    }
    int result = tree_put(tree, &record->entry, &node, err);
    if (result == 0 && record->kind == CTR_LAYER_FILE && record->entry.bytes > 0) {
        tree_inode(tree, node)->where = (uint32_t) (base + record->block - 1);
    }
    return result;
}

static int
replay(struct tree *tree, const struct tail *layer, uint64_t base, struct ctr_error *err)
{
    struct log_reader reader = log_read(&layer->body, layer->blocks);
    struct log_record *record = malloc(sizeof *record);
    int result = record != NULL ? 1 : ctr_fail(err, -ENOMEM, "out of memory");
    while (result == 1) {
        result = log_next(&reader, record, err);
        int put = result == 1 ? replay_record(tree, record, base, err) : 0;
        result = put < 0 ? put : result;
    }
    log_reader_finish(&reader);
    free(record);
    return result;
}

/* One more layer on top; its data will begin at block `base` of all data. */
static int
add_layer(const struct storage *self, struct tree *tree, const char *diff_id, uint64_t base,
          struct part *ret, struct ctr_error *err)
{
    char path[4096];
    struct tail layer = {0};
    if (!is_digest(diff_id)) {
        return ctr_fail(err, -EINVAL, "storage-erofs: '%.80s' is no diff ID", diff_id);
    }
    digest_path(self, path, "layers", diff_id);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT
                   ? ctr_fail(err, -ENOENT, "storage-erofs: there is no layer %s", diff_id)
                   : fail_errno(err, "opening", path);
    }
    int result = tail_read(fd, TAIL_LAYER, path, &layer, err);
    if (result == 0 && layer.blocks > UINT32_MAX - base) {
        result = ctr_fail(err, -EFBIG, "the image would be larger than 16 TiB");
    }
    if (result == 0) {
        tree->layer++;
        result = replay(tree, &layer, base, err);
        snprintf(ret->hex, sizeof ret->hex, "%s", diff_id + 7);
        ret->blocks = (uint32_t) layer.blocks;
    }
    close(fd);
    return result == 0 ? 0 : ctr_prefix(err, "layer %.19s", diff_id);
}

/* --- making --- */

static int
write_chain(int fd, struct tree *tree, const struct part *parts, uint32_t n,
            struct ctr_error *err)
{
    uint32_t data = 0;
    uint8_t *body = calloc(n + 1u, PART_SIZE);
    struct tail tail = {.body = {.bytes = body, .length = n * (uint64_t) PART_SIZE}};
    if (body == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < n; i++) {
        memcpy(body + i * (size_t) PART_SIZE, parts[i].hex, HEX);
        put_le(body + i * (size_t) PART_SIZE + HEX, parts[i].blocks, 4);
        data += parts[i].blocks;
    }
    int result = erofs_write(fd, tree, 1, data, &tail.blocks, &tail.inodes, err);
    if (result == 0) {
        result = tail_write(fd, tail.blocks * EROFS_BLOCK, TAIL_CHAIN, &tail, err);
    }
    free(body);
    return result;
}

/* Writes it to a file in tmp, and gives that its name when it is durable. */
static int
publish_chain(const struct storage *self, struct tree *tree, const struct part *parts,
              uint32_t n, const char *to, struct ctr_error *err)
{
    char path[4096];
    path_of(self, path, "tmp", "chain");
    (void) unlink(path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return fail_errno(err, "making", path);
    }
    int result = write_chain(fd, tree, parts, n, err);
    if (result == 0 && fsync(fd) != 0) {
        result = fail_errno(err, "syncing", path);
    }
    close(fd);
    result = result == 0 ? publish(self, path, "chains", to, err) : result;
    if (result != 0) {
        (void) unlink(path);
    }
    return result;
}

int
chain_make(void *arg, const char *chain_id, const char *const *diff_ids, uint32_t n,
           struct ctr_error *err)
{
    struct storage *self = arg;
    char to[4096];
    if (!is_digest(chain_id)) {
        return ctr_fail(err, -EINVAL, "storage-erofs: '%.80s' is no chain ID", chain_id);
    }
    if (n > UINT16_MAX) {
        return ctr_fail(err, -E2BIG, "the image has more than %d layers", UINT16_MAX);
    }
    digest_path(self, to, "chains", chain_id);
    if (access(to, F_OK) == 0) {
        return 0;
    }
    struct part *parts = calloc(n + 1u, sizeof *parts);
    if (parts == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    (void) pthread_mutex_lock(&self->one_tree);
    struct tree tree;
    uint64_t base = 0;
    int result = tree_init(&tree) == 0 ? 0 : ctr_fail(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < n && result == 0; i++) {
        result = add_layer(self, &tree, diff_ids[i], base, &parts[i], err);
        base += parts[i].blocks;
    }
    result = result == 0 ? publish_chain(self, &tree, parts, n, to, err) : result;
    tree_finish(&tree);
    (void) pthread_mutex_unlock(&self->one_tree);
    free(parts);
    return result;
}

/* --- reading --- */

int
chain_read(const struct storage *self, const char *hex, struct chain *ret,
           struct ctr_error *err)
{
    char path[4096];
    struct tail tail;
    uint8_t in[PART_SIZE];
    *ret = (struct chain){0};
    path_of(self, path, "chains", hex);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT
                   ? ctr_fail(err, -ENOENT, "storage-erofs: there is no snapshot %.80s", hex)
                   : fail_errno(err, "opening", path);
    }
    int result = tail_read(fd, TAIL_CHAIN, path, &tail, err);
    if (result == 0) {
        ret->meta_blocks = tail.blocks;
        ret->inodes = tail.inodes;
        ret->n = (uint32_t) (tail.body.length / PART_SIZE);
        ret->parts = calloc(ret->n + 1u, sizeof *ret->parts);
        result = ret->parts != NULL ? 0 : ctr_fail(err, -ENOMEM, "out of memory");
    }
    for (uint32_t i = 0; result == 0 && i < ret->n; i++) {
        int code = span_read(&tail.body, i * (uint64_t) PART_SIZE, in, sizeof in);
        memcpy(ret->parts[i].hex, in, HEX);
        ret->parts[i].blocks = (uint32_t) get_le(in + HEX, 4);
        if (code != 0 || strspn(ret->parts[i].hex, "0123456789abcdef") != HEX) {
            result = ctr_fail(err, -EBADMSG, "storage-erofs: %s is damaged", path);
        }
    }
    close(fd);
    return result;
}

void
chain_finish(struct chain *chain)
{
    free(chain->parts);
    *chain = (struct chain){0};
}

uint64_t
chain_blocks(const struct chain *chain)
{
    uint64_t blocks = chain->meta_blocks;
    for (uint32_t i = 0; i < chain->n; i++) {
        blocks += chain->parts[i].blocks;
    }
    return blocks;
}

struct layer_search {
    const char *hex;
    bool found;
};

static void
search_chain(const struct storage *self, const char *name, void *arg)
{
    struct layer_search *search = arg;
    struct chain chain;
    if (search->found || strlen(name) != HEX) {
        return;
    }
    /* A chain that cannot be read may have any layer. */
    search->found = chain_read(self, name, &chain, NULL) != 0;
    for (uint32_t i = 0; i < chain.n && !search->found; i++) {
        search->found = strcmp(chain.parts[i].hex, search->hex) == 0;
    }
    chain_finish(&chain);
}

bool
chain_has_layer(const struct storage *self, const char *diff_id)
{
    struct layer_search search = {.hex = diff_id + 7};
    each_name(self, "chains", search_chain, &search);
    return search.found;
}
