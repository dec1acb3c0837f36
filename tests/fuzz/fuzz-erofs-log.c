/*
 * A layer's log as storage-erofs reads it back: the parser, and the trees that are made of what it lets pass. A first byte chooses how many
 * data blocks the layer has.
 */
#include "plugins/storage-erofs/log.h"
#include "plugins/storage-erofs/tree.h"
#include "plugins/storage-erofs/view.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
replay(struct tree *tree, struct span log, uint64_t blocks)
{
    static struct log_record record;
    struct ctr_error err = CTR_ERROR_INIT;
    struct log_reader reader = log_read(&log, blocks);
    struct node *node;
    int status;
    while ((status = log_next(&reader, &record, &err)) == 1) {
        if (record.kind == LOG_WHITEOUT) {
            (void) tree_whiteout(tree, record.entry.path, &err);
        } else if (record.kind == LOG_OPAQUE) {
            (void) tree_opaque(tree, record.entry.path, &err);
        } else {
            (void) tree_put(tree, &record.entry, &node, &err);
        }
    }
    if (status != 0 && err.msg[0] == '\0') {
        abort();
    }
    log_reader_finish(&reader);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tree tree;
    struct ctr_error err = CTR_ERROR_INIT;
    uint64_t blocks = size > 0 ? data[0] : 0;
    data += size > 0;
    size -= size > 0;
    const struct span log = {.bytes = data, .fd = -1, .length = size};
    (void) view_make(&tree, &log, blocks, &err);
    tree_finish(&tree);
    if (tree_init(&tree) == 0) {
        for (tree.layer = 1; tree.layer < 3; tree.layer++) { /* twice: onto itself */
            replay(&tree, log, blocks);
        }
        tree_finish(&tree);
    }
    return 0;
}
