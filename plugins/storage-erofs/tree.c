/*
 * The tree: nodes in one hash table by (parent, name), so that an entry costs the same in a folder of ten and of a hundred thousand.
 */
#include "plugins/storage-erofs/tree.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LINKS = 40, FIRST_BUCKETS = 1024, MAX_NAME = 255 };

/* --- nodes and inodes --- */

static uint64_t
hash_of(const struct node *parent, const char *name, size_t length)
{
    uint64_t hash = 1469598103934665603u ^ (uint64_t) (uintptr_t) parent;
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ (unsigned char) name[i]) * 1099511628211u;
    }
    return hash ^ hash >> 29;
}

static int
grow(struct tree *tree)
{
    size_t n = tree->n_buckets == 0 ? FIRST_BUCKETS : tree->n_buckets * 4;
    struct node **buckets = calloc(n, sizeof(struct node *));
    if (buckets == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < tree->n_buckets; i++) {
        for (struct node *node = tree->buckets[i], *next; node != NULL; node = next) {
            next = node->hash_next;
            size_t slot = hash_of(node->parent, node->name, strlen(node->name)) % n;
            node->hash_next = buckets[slot];
            buckets[slot] = node;
        }
    }
    free(tree->buckets);
    tree->buckets = buckets;
    tree->n_buckets = n;
    return 0;
}

static struct node *
find(const struct tree *tree, const struct node *parent, const char *name, size_t length)
{
    size_t slot = hash_of(parent, name, length) % tree->n_buckets;
    for (struct node *node = tree->buckets[slot]; node != NULL; node = node->hash_next) {
        if (node->parent == parent && strncmp(node->name, name, length) == 0 &&
            node->name[length] == '\0') {
            return node;
        }
    }
    return NULL;
}

static struct node *
child_of(const struct tree *tree, const struct node *parent, const char *name)
{
    return find(tree, parent, name, strlen(name));
}

static struct inode *
inode_create(uint32_t type)
{
    struct inode *inode = calloc(1, sizeof *inode);
    if (inode != NULL) {
        inode->type = type;
        inode->mode = 0755;
    }
    return inode;
}

static void
drop_xattrs(struct inode *inode)
{
    for (struct xattr *xattr = inode->xattrs, *next; xattr != NULL; xattr = next) {
        next = xattr->next;
        free(xattr->name);
        free(xattr->value);
        free(xattr);
    }
    inode->xattrs = NULL;
}

static void
inode_drop(struct inode *inode)
{
    if (inode != NULL && --inode->refs == 0) {
        drop_xattrs(inode);
        free(inode->target);
        free(inode);
    }
}

int
inode_add_xattr(struct inode *inode, const char *name, const void *value, size_t length)
{
    struct xattr *xattr = calloc(1, sizeof *xattr);
    if (xattr == NULL) {
        return -ENOMEM;
    }
    xattr->name = strdup(name);
    xattr->value = malloc(length + 1);
    if (xattr->name == NULL || xattr->value == NULL) {
        free(xattr->name);
        free(xattr->value);
        free(xattr);
        return -ENOMEM;
    }
    memcpy(xattr->value, value, length);
    xattr->length = (uint32_t) length;
    xattr->next = inode->xattrs;
    inode->xattrs = xattr;
    return 0;
}

static struct node *
tree_add(struct tree *tree, struct node *parent, const char *name, size_t length,
         struct inode *inode)
{
    if (tree->n_nodes >= tree->n_buckets && grow(tree) != 0) {
        return NULL;
    }
    struct node *node = calloc(1, sizeof *node + length + 1);
    if (node == NULL) {
        return NULL;
    }
    memcpy(node->name, name, length);
    node->parent = parent;
    node->inode = inode;
    node->layer = tree->layer;
    inode->refs++;
    if (parent != NULL) {
        node->next = parent->children;
        if (node->next != NULL) {
            node->next->prev = node;
        }
        parent->children = node;
        parent->children_count++;
    }
    size_t slot = hash_of(parent, name, length) % tree->n_buckets;
    node->hash_next = tree->buckets[slot];
    tree->buckets[slot] = node;
    tree->n_nodes++;
    return node;
}

static void
unhash(struct tree *tree, struct node *node)
{
    size_t slot = hash_of(node->parent, node->name, strlen(node->name)) % tree->n_buckets;
    struct node **link = &tree->buckets[slot];
    while (*link != node) {
        link = &(*link)->hash_next;
    }
    *link = node->hash_next;
}

/* Frees a node that is out of its parent's list already, and all below it, without recursion: its children join a list. */
static void
free_subtree(struct tree *tree, struct node *node)
{
    node->next = NULL;
    while (node != NULL) {
        struct node *rest = node->next;
        for (struct node *child = node->children, *next; child != NULL; child = next) {
            next = child->next;
            child->next = rest;
            rest = child;
        }
        unhash(tree, node);
        inode_drop(node->inode);
        free(node);
        tree->n_nodes--;
        node = rest;
    }
}

static void
remove_node(struct tree *tree, struct node *node)
{
    *(node->prev != NULL ? &node->prev->next : &node->parent->children) = node->next;
    if (node->next != NULL) {
        node->next->prev = node->prev;
    }
    node->parent->children_count--;
    free_subtree(tree, node);
}

int
tree_init(struct tree *tree)
{
    memset(tree, 0, sizeof *tree);
    struct inode *inode = inode_create(CTR_LAYER_DIR);
    if (inode == NULL) {
        return -ENOMEM;
    }
    tree->root = tree_add(tree, NULL, "", 0, inode);
    if (tree->root == NULL) {
        free(inode);
        free(tree->buckets);
        return -ENOMEM;
    }
    return 0;
}

void
tree_finish(struct tree *tree)
{
    if (tree->root != NULL) {
        free_subtree(tree, tree->root);
    }
    free(tree->buckets);
    memset(tree, 0, sizeof *tree);
}

/* --- paths --- */

static int
add_dir(struct tree *tree, struct node *parent, const char *name, size_t length,
        struct node **ret)
{
    struct inode *inode = inode_create(CTR_LAYER_DIR);
    struct node *node = inode != NULL ? tree_add(tree, parent, name, length, inode) : NULL;
    if (node == NULL) {
        free(inode);
        return -ENOMEM;
    }
    *ret = node;
    return 0;
}

/* Follows the folders of `path` from `at`, through symbolic links, inside the tree; makes missing ones if `make`. */
static int
walk_dirs(struct tree *tree, struct node *at, const char *path, bool make, int *links,
          struct node **ret, struct ctr_error *err)
{
    while (*path != '\0') {
        size_t length = strcspn(path, "/");
        struct node *next = NULL;
        if (length == 0 || (length == 1 && path[0] == '.')) {
            next = at;
        } else if (length == 2 && path[0] == '.' && path[1] == '.') {
            next = at->parent != NULL ? at->parent : at;
        } else {
            next = find(tree, at, path, length);
        }
        if (next == NULL) {
            if (!make) {
                return ctr_fail(err, -ENOENT, "%.*s: no such folder", (int) length, path);
            }
            if (length > MAX_NAME || add_dir(tree, at, path, length, &next) != 0) {
                return ctr_fail(err, length > MAX_NAME ? -EBADMSG : -ENOMEM,
                                "a folder of an entry's path cannot be made");
            }
        } else if (next->inode->type == CTR_LAYER_SYMLINK) {
            if (++*links > MAX_LINKS) {
                return ctr_fail(err, -ELOOP, "%.*s: more than 40 symbolic links", (int) length,
                                path);
            }
            struct node *from = next->inode->target[0] == '/' ? tree->root : at;
            int result = walk_dirs(tree, from, next->inode->target, make, links, &next, err);
            if (result != 0) {
                return result;
            }
        }
        if (next->inode->type != CTR_LAYER_DIR) {
            return ctr_fail(err, -ENOTDIR, "%.*s is not a folder, but an entry lies below it",
                            (int) length, path);
        }
        at = next;
        path += length;
        path += strspn(path, "/");
    }
    *ret = at;
    return 0;
}

/* The folder and last name of a cleaned path. */
static int
locate(struct tree *tree, const char *path, bool make, struct node **ret_dir,
       const char **ret_name, struct ctr_error *err)
{
    const char *slash = strrchr(path, '/');
    *ret_name = slash != NULL ? slash + 1 : path;
    int links = 0;
    char dir[4096] = "";
    if (slash != NULL) {
        snprintf(dir, sizeof dir, "%.*s", (int) (slash - path), path);
    }
    if (strlen(*ret_name) > MAX_NAME) {
        return ctr_fail(err, -EBADMSG, "%.60s…: a name is longer than %d bytes", *ret_name,
                        MAX_NAME);
    }
    return walk_dirs(tree, tree->root, dir, make, &links, ret_dir, err);
}

/* --- entries --- */

static int
fill_inode(struct inode *inode, const struct ctr_layer_entry *entry)
{
    inode->mode = entry->mode;
    inode->uid = entry->uid;
    inode->gid = entry->gid;
    inode->major = entry->major;
    inode->minor = entry->minor;
    inode->mtime = entry->mtime;
    inode->mtime_nsec = entry->mtime_nsec;
    inode->bytes = entry->bytes;
    drop_xattrs(inode);
    for (uint32_t i = 0; i < entry->n_xattrs; i++) {
        const struct ctr_layer_xattr *xattr = &entry->xattrs[i];
        if (inode_add_xattr(inode, xattr->name, xattr->value, xattr->length) != 0) {
            return -ENOMEM;
        }
    }
    if (entry->type == CTR_LAYER_SYMLINK) {
        inode->target = strdup(entry->target);
        inode->bytes = strlen(entry->target);
        return inode->target != NULL ? 0 : -ENOMEM;
    }
    return 0;
}

static bool
is_within(const struct node *node, const struct node *top)
{
    while (node != NULL && node != top) {
        node = node->parent;
    }
    return node != NULL;
}

/* `old`, which the link replaces, goes first, with all below it: its content is no target. */
static int
link_target(struct tree *tree, const struct ctr_layer_entry *entry, const struct node *old,
            struct inode **ret, struct ctr_error *err)
{
    struct node *dir;
    const char *name;
    int result = locate(tree, entry->target, false, &dir, &name, err);
    struct node *target = result == 0 ? child_of(tree, dir, name) : NULL;
    bool there = target != NULL && (old == NULL || !is_within(target, old));
    if (!there || target->inode->type == CTR_LAYER_DIR) {
        return ctr_fail(err, -EBADMSG, "%s is a hard link to %s, which is %s", entry->path,
                        entry->target, there ? "a folder" : "not there");
    }
    *ret = target->inode;
    return 0;
}

/* An entry for a folder that exists only changes it. */
static int
update_dir(struct tree *tree, struct node *node, const struct ctr_layer_entry *entry,
           struct node **ret, struct ctr_error *err)
{
    node->layer = tree->layer;
    *ret = node;
    return fill_inode(node->inode, entry) == 0 ? 0 : ctr_fail(err, -ENOMEM, "out of memory");
}

int
tree_put(struct tree *tree, const struct ctr_layer_entry *entry, struct node **ret,
         struct ctr_error *err)
{
    if (entry->path[0] == '\0') {
        return entry->type == CTR_LAYER_DIR
                   ? update_dir(tree, tree->root, entry, ret, err)
                   : ctr_fail(err, -EBADMSG, "the root of a layer is not a folder");
    }
    struct node *dir;
    const char *name;
    int result = locate(tree, entry->path, true, &dir, &name, err);
    if (result != 0) {
        return result == -ENOTDIR
                   ? ctr_fail(err, -EBADMSG, "%.200s: a part of its path is not a folder",
                              entry->path)
                   : result;
    }
    struct node *old = child_of(tree, dir, name);
    if (old != NULL && old->inode->type == CTR_LAYER_DIR && entry->type == CTR_LAYER_DIR) {
        return update_dir(tree, old, entry, ret, err);
    }
    struct inode *inode = NULL;
    if (entry->type == CTR_LAYER_HARDLINK) {
        result = link_target(tree, entry, old, &inode, err);
        if (result != 0) {
            return result;
        }
    } else {
        inode = inode_create(entry->type);
        if (inode == NULL || fill_inode(inode, entry) != 0) {
            inode_drop(inode != NULL ? (inode->refs++, inode) : NULL);
            return ctr_fail(err, -ENOMEM, "out of memory");
        }
    }
    inode->refs++; /* survives the removal of what it replaces */
    if (old != NULL) {
        remove_node(tree, old);
    }
    *ret = tree_add(tree, dir, name, strlen(name), inode);
    inode_drop(inode);
    return *ret != NULL ? 0 : ctr_fail(err, -ENOMEM, "out of memory");
}

static bool
is_kept(const struct tree *tree, const struct node *node)
{
    return node->layer == tree->layer || node->children != NULL;
}

/* Removes what lower layers brought below `top`, deepest first, without recursion: a tree may be as deep as a hostile layer likes. */
static void
prune_lower(struct tree *tree, struct node *top)
{
    struct node *node = top;
    for (;;) {
        if (node->children != NULL) {
            node = node->children;
            continue;
        }
        struct node *next = NULL;
        while (node != top && next == NULL) {
            struct node *parent = node->parent;
            next = node->next;
            if (!is_kept(tree, node)) {
                remove_node(tree, node);
            }
            node = parent;
        }
        if (next == NULL) {
            return;
        }
        node = next;
    }
}

struct node *
tree_find(struct tree *tree, const char *path)
{
    struct node *dir;
    const char *name;
    struct ctr_error ignored = CTR_ERROR_INIT;
    if (path[0] == '\0') {
        return tree->root;
    }
    return locate(tree, path, false, &dir, &name, &ignored) == 0 ? child_of(tree, dir, name)
                                                                 : NULL;
}

/* A whiteout's way led nowhere, or to what is no folder: there is nothing to hide. */
static int
fail_whiteout(const struct ctr_error *why, struct ctr_error *err)
{
    bool nothing = why->code == -ENOENT || why->code == -ENOTDIR;
    return nothing ? 0 : ctr_fail(err, why->code, "%s", why->msg);
}

int
tree_whiteout(struct tree *tree, const char *path, struct ctr_error *err)
{
    struct node *dir;
    const char *name;
    struct ctr_error ignored = CTR_ERROR_INIT;
    if (locate(tree, path, false, &dir, &name, &ignored) != 0) {
        return fail_whiteout(&ignored, err);
    }
    struct node *node = child_of(tree, dir, name);
    if (node == NULL) {
        return 0;
    }
    prune_lower(tree, node);
    if (!is_kept(tree, node)) {
        remove_node(tree, node);
    }
    return 0;
}

int
tree_opaque(struct tree *tree, const char *path, struct ctr_error *err)
{
    struct node *dir;
    int links = 0;
    struct ctr_error ignored = CTR_ERROR_INIT;
    if (walk_dirs(tree, tree->root, path, false, &links, &dir, &ignored) != 0) {
        return fail_whiteout(&ignored, err);
    }
    (void) prune_lower(tree, dir);
    return 0;
}
