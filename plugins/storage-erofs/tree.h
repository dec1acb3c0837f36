/*
 * tree: a root filesystem held in memory: that of a whole chain while its layers are replayed, or of one layer by itself. File content is
 * not here: a file's node knows its first block.
 *
 * Layers follow image-spec/layer.md: a later entry replaces an earlier one, whiteouts and opaque folders hide only what lower layers
 * brought. Parents that are symbolic links are followed inside this tree, never outside.
 *
 * All of it lies in four arrays, which are as long as a tree may become, and of which only what is used takes memory. So pointers stay
 * valid as it grows, links within it are short numbers (0: none), and a name costs about 100 bytes and its own length. What is larger than
 * TREE_NODES and TREE_TEXTS allow is refused: hostile layers must not take the daemon's memory.
 */
#ifndef EROFS_TREE_H
#define EROFS_TREE_H

#include <ctr/layer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TREE_NODES = 1000000,  /* names in a tree */
    TREE_TEXTS = 48 << 20, /* bytes of names, link targets and attributes */
    TREE_BUCKETS = 1 << 20,
};

struct xattr {
    uint32_t next; /* in the texts */
    uint32_t length;
    uint32_t name_length;
    char name[]; /* and a 0, then the value */
};

static inline const char *
xattr_value(const struct xattr *xattr)
{
    return xattr->name + xattr->name_length + 1;
}

/* What hard links share. */
struct inode {
    uint64_t bytes; /* of a file, or a link's target; while writing also of a folder */
    int64_t mtime;
    uint32_t mtime_nsec;
    uint32_t uid, gid;
    uint32_t
        links; /* names in the tree; 0: not in use. While writing, of a folder, the links to it */
    uint32_t
        where; /* of a file with content its first data block; while writing, also of a folder or a link that is not inline */
    uint32_t
        more; /* of a symbolic link its target, in the texts; of a device its number as Linux keeps it */
    uint32_t xattrs; /* in the texts; of one that is not in use the next such one */
    uint32_t nid;    /* set while writing */
    uint16_t mode;
    uint8_t type;    /* enum ctr_layer_type, never HARDLINK */
    bool placed : 1; /* set while writing */
    bool opaque : 1; /* a folder of a layer's own view that hides those below */
};

struct node {
    uint32_t parent, children;
    uint32_t next,
        prev; /* among the parent's children; while writing only next, in the order of names */
    uint32_t
        hash_next; /* in its bucket; of one that is not in use the next such one; while writing the next one in the order of inodes */
    uint32_t inode;
    uint32_t name;  /* in the texts, ends with 0 */
    uint16_t layer; /* the last layer that brought or touched it */
    uint8_t name_length;
};

struct tree {
    struct node *nodes;
    struct inode *inodes;
    char *texts;
    uint32_t *buckets, mask;
    uint32_t n_nodes, end_nodes, free_node, end_inodes, free_inode, end_texts;
    struct node *root;
    uint16_t layer; /* the layer being applied, from 1 */
};

int tree_init(struct tree *tree); /* an empty root, 0755, owned by root; 0 or -ENOMEM */
void tree_finish(struct tree *tree);

/* NULL for 0. */
static inline struct node *
tree_node(const struct tree *tree, uint32_t number)
{
    return number != 0 ? &tree->nodes[number] : NULL;
}
static inline struct inode *
tree_inode(const struct tree *tree, const struct node *node)
{
    return &tree->inodes[node->inode];
}
static inline const char *
tree_name(const struct tree *tree, const struct node *node)
{
    return tree->texts + node->name;
}
static inline const struct xattr *
tree_xattr(const struct tree *tree, uint32_t at)
{
    return at != 0 ? (const void *) (tree->texts + at) : NULL;
}

/* Puts an entry into its place; *ret is its node. For a hard link the target must exist. -E2BIG: the tree is full. */
int tree_put(struct tree *tree, const struct ctr_layer_entry *entry, struct node **ret,
             struct ctr_error *err);
/* The node at a cleaned path, or NULL. */
struct node *tree_find(struct tree *tree, const char *path);
int tree_add_xattr(struct tree *tree, struct inode *inode, const struct ctr_layer_xattr *xattr);
int tree_whiteout(struct tree *tree, const char *path, struct ctr_error *err);
int tree_opaque(struct tree *tree, const char *path, struct ctr_error *err);
/* That the tree is full. */
int tree_fail_full(const struct tree *tree, struct ctr_error *err);

#endif
