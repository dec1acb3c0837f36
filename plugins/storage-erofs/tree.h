/*
 * tree: a root filesystem held in memory: that of a whole chain while its layers are replayed, or of one layer by itself. File content is
 * not here: a file's node knows its first block.
 *
 * Layers follow image-spec/layer.md: a later entry replaces an earlier one, whiteouts and opaque folders hide only what lower layers
 * brought. Parents that are symbolic links are followed inside this tree, never outside.
 */
#ifndef EROFS_TREE_H
#define EROFS_TREE_H

#include <ctr/layer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xattr {
    struct xattr *next;
    char *name;
    void *value;
    uint32_t length;
};

/* What hard links share. */
struct inode {
    uint32_t type; /* enum ctr_layer_type, never HARDLINK */
    uint32_t mode, uid, gid, major, minor;
    int64_t mtime;
    uint32_t mtime_nsec;
    uint32_t refs;  /* names in the tree */
    uint64_t bytes; /* of a file or a link's target */
    uint32_t block; /* of a file with content: its first data block */
    char *target;   /* of a symbolic link */
    struct xattr *xattrs;
    /* set while writing */
    uint64_t nid;
    uint32_t nlink, dir_bytes, dir_block, ino;
    bool placed;
    bool opaque; /* a folder of a layer's own view that hides those below */
};

struct node {
    struct node *parent, *children, *next,
        *prev; /* next and prev among the parent's children */
    struct node *hash_next;
    struct inode *inode;
    uint32_t layer; /* the last layer that brought or touched it */
    uint32_t children_count;
    char name[];
};

struct tree {
    struct node *root;
    struct node **buckets;
    size_t n_buckets, n_nodes;
    uint32_t layer; /* the layer being applied, from 1 */
};

int tree_init(struct tree *tree); /* an empty root, 0755, owned by root; 0 or -ENOMEM */
void tree_finish(struct tree *tree);

/* Puts an entry into its place; *ret is its node. For a hard link the target must exist. */
int tree_put(struct tree *tree, const struct ctr_layer_entry *entry, struct node **ret,
             struct ctr_error *err);
/* The node at a cleaned path, or NULL. */
struct node *tree_find(struct tree *tree, const char *path);
int inode_add_xattr(struct inode *inode, const char *name, const void *value, size_t length);
int tree_whiteout(struct tree *tree, const char *path, struct ctr_error *err);
int tree_opaque(struct tree *tree, const char *path, struct ctr_error *err);

#endif
