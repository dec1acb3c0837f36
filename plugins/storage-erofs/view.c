/*
 * The view's tree: entries by the rules of tree.c, whiteouts and opaque folders as nodes.
 */
#include "plugins/storage-erofs/view.h"
#include <errno.h>
#include <stdlib.h>

static bool
is_whiteout(const struct tree *tree, const struct node *node)
{
    const struct inode *inode = tree_inode(tree, node);
    return inode->type == CTR_LAYER_CHAR && inode->more == 0;
}

/* Puts an entry; one that cannot stand here by itself is passed over, and *ret is NULL. */
static int
put(struct tree *tree, const struct ctr_layer_entry *entry, struct node **ret,
    struct ctr_error *err)
{
    struct ctr_error ignored = CTR_ERROR_INIT;
    *ret = NULL;
    int result = tree_put(tree, entry, ret, &ignored);
    if (result != 0) {
        *ret = NULL;
    }
    return result == -E2BIG ? ctr_fail(err, result, "%s", ignored.msg) : 0;
}

static int
add_entry(struct tree *tree, const struct log_record *record, struct ctr_error *err)
{
    const struct node *old = tree_find(tree, record->entry.path);
    bool hides = old != NULL && is_whiteout(tree, old);
    struct node *node;
    int result = put(tree, &record->entry, &node, err);
    if (node == NULL) {
        return result;
    }
    struct inode *inode = tree_inode(tree, node);
    if (inode->type == CTR_LAYER_FILE && record->kind == CTR_LAYER_FILE) {
        inode->where = record->block;
    }
    inode->opaque = inode->opaque || (hides && inode->type == CTR_LAYER_DIR);
    return 0;
}

static int
add_mark(struct tree *tree, const struct log_record *record, struct ctr_error *err)
{
    bool opaque = record->kind == LOG_OPAQUE;
    const struct ctr_layer_entry mark = {.size = sizeof mark,
                                         .type = opaque ? CTR_LAYER_DIR : CTR_LAYER_CHAR,
                                         .mode = opaque ? 0755 : 0,
                                         .path = record->entry.path};
    struct node *node = tree_find(tree, record->entry.path);
    int result = 0;
    if (node == NULL || (opaque && is_whiteout(tree, node))) {
        result = put(tree, &mark, &node, err);
    }
    if (node != NULL) {
        struct inode *inode = tree_inode(tree, node);
        inode->opaque = inode->opaque || inode->type == CTR_LAYER_DIR;
    }
    return result;
}

static int
add_opaque_attributes(struct tree *tree, struct ctr_error *err)
{
    static const struct ctr_layer_xattr opaque = {
        .name = "trusted.overlay.opaque", .value = "y", .length = 1};
    for (uint32_t i = 1; i < tree->end_inodes; i++) {
        struct inode *inode = &tree->inodes[i];
        if (inode->links > 0 && inode->opaque && tree_add_xattr(tree, inode, &opaque) != 0) {
            return tree_fail_full(tree, err);
        }
    }
    return 0;
}

int
view_make(struct tree *tree, const struct span *log, uint64_t blocks, struct ctr_error *err)
{
    struct log_reader reader = log_read(log, blocks);
    struct log_record *record = malloc(sizeof *record);
    int result =
        tree_init(tree) == 0 && record != NULL ? 1 : ctr_fail(err, -ENOMEM, "out of memory");
    while (result == 1) {
        result = log_next(&reader, record, err);
        if (result == 1) {
            bool mark = record->kind == LOG_WHITEOUT || record->kind == LOG_OPAQUE;
            int added = mark ? add_mark(tree, record, err) : add_entry(tree, record, err);
            result = added < 0 ? added : 1;
        }
    }
    log_reader_finish(&reader);
    free(record);
    return result == 0 ? add_opaque_attributes(tree, err) : result;
}
