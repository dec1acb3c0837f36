/*
 * The tree: nodes in one hash table by (parent, name), so that an entry costs the same in a folder of ten and of a hundred thousand.
 */
#include "plugins/storage-erofs/tree.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { MAX_LINKS = 40, FIRST_BUCKETS = 1024, MAX_NAME = 255 };

/* --- the arrays --- */

/* Zeros that take no memory until they are written to. */
static void *
map(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at != MAP_FAILED ? at : NULL;
}

static void
unmap(void *at, size_t bytes)
{
    if (at != NULL) {
        (void) munmap(at, bytes);
    }
}

int
tree_fail_full(const struct tree *tree, struct ctr_error *err)
{
    return tree->n_nodes >= TREE_NODES
               ? ctr_fail(err, -E2BIG,
                          "more than the limit of %d files and folders in one image",
                          TREE_NODES)
               : ctr_fail(err, -E2BIG,
                          "names, link targets and attributes of one image take more than the "
                          "limit of %d MiB",
                          TREE_TEXTS >> 20);
}

/* Room for a text, from an address that suits a struct xattr if `aligned`; 0 if there is none. */
static uint32_t
text_reserve(struct tree *tree, size_t length, bool aligned)
{
    uint32_t at = aligned ? (tree->end_texts + 3u) & ~3u : tree->end_texts;
    if (length > TREE_TEXTS || at > TREE_TEXTS - length) {
        return 0;
    }
    tree->end_texts = at + (uint32_t) length;
    return at;
}

static uint32_t
text_add(struct tree *tree, const char *text, size_t length)
{
    uint32_t at = text_reserve(tree, length + 1, false);
    if (at != 0) {
        memcpy(tree->texts + at, text, length);
        tree->texts[at + length] = '\0';
    }
    return at;
}

/* --- nodes and inodes --- */

static uint32_t
number_of(const struct tree *tree, const struct node *node)
{
    return node != NULL ? (uint32_t) (node - tree->nodes) : 0;
}

static uint32_t
slot_of(const struct tree *tree, uint32_t parent, const char *name, size_t length)
{
    uint64_t hash = (1469598103934665603u ^ parent) * 1099511628211u;
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ (unsigned char) name[i]) * 1099511628211u;
    }
    return (uint32_t) (hash ^ hash >> 29) & tree->mask;
}

static uint32_t
slot_of_node(const struct tree *tree, const struct node *node)
{
    return slot_of(tree, node->parent, tree_name(tree, node), node->name_length);
}

static void
hash_node(struct tree *tree, struct node *node)
{
    uint32_t slot = slot_of_node(tree, node);
    node->hash_next = tree->buckets[slot];
    tree->buckets[slot] = number_of(tree, node);
}

static void
unhash(struct tree *tree, const struct node *node)
{
    uint32_t *link = &tree->buckets[slot_of_node(tree, node)];
    while (&tree->nodes[*link] != node) {
        link = &tree->nodes[*link].hash_next;
    }
    *link = node->hash_next;
}

static void
use_more_buckets(struct tree *tree)
{
    memset(tree->buckets, 0, (tree->mask + 1u) * sizeof *tree->buckets);
    tree->mask = tree->mask * 4 + 3;
    for (uint32_t i = 1; i < tree->end_nodes; i++) {
        if (tree->nodes[i].inode != 0) {
            hash_node(tree, &tree->nodes[i]);
        }
    }
}

static struct node *
find(const struct tree *tree, const struct node *parent, const char *name, size_t length)
{
    uint32_t above = number_of(tree, parent);
    struct node *node = tree_node(tree, tree->buckets[slot_of(tree, above, name, length)]);
    while (node != NULL && (node->parent != above || node->name_length != length ||
                            memcmp(tree_name(tree, node), name, length) != 0)) {
        node = tree_node(tree, node->hash_next);
    }
    return node;
}

static struct node *
child_of(const struct tree *tree, const struct node *parent, const char *name)
{
    return find(tree, parent, name, strlen(name));
}

/* One that has no name yet; there is always room for one more than for nodes. */
static uint32_t
inode_create(struct tree *tree, uint32_t type)
{
    uint32_t number = tree->free_inode;
    if (number != 0) {
        tree->free_inode = tree->inodes[number].xattrs;
    } else {
        number = tree->end_inodes++;
    }
    tree->inodes[number] = (struct inode){.type = (uint8_t) type, .mode = 0755};
    return number;
}

/* One name less. */
static void
inode_drop(struct tree *tree, uint32_t number)
{
    struct inode *inode = &tree->inodes[number];
    if (inode->links > 0) {
        inode->links--;
    }
    if (inode->links == 0) {
        inode->xattrs = tree->free_inode;
        tree->free_inode = number;
    }
}

int
tree_add_xattr(struct tree *tree, struct inode *inode, const struct ctr_layer_xattr *xattr)
{
    size_t name = strlen(xattr->name);
    uint32_t at =
        text_reserve(tree, sizeof(struct xattr) + name + 1 + (size_t) xattr->length, true);
    if (at == 0) {
        return -E2BIG;
    }
    struct xattr *to = (void *) (tree->texts + at);
    *to = (struct xattr){inode->xattrs, (uint32_t) xattr->length, (uint32_t) name};
    memcpy(to->name, xattr->name, name + 1);
    memcpy(to->name + name + 1, xattr->value, (size_t) xattr->length);
    inode->xattrs = at;
    return 0;
}

/* NULL if the tree is full; an inode without another name is gone then. */
static struct node *
tree_add(struct tree *tree, struct node *parent, const char *name, size_t length,
         uint32_t inode)
{
    uint32_t text = tree->n_nodes < TREE_NODES ? text_add(tree, name, length) : 0;
    if (text == 0) {
        if (tree->inodes[inode].links == 0) {
            inode_drop(tree, inode);
        }
        return NULL;
    }
    if (tree->n_nodes > tree->mask && tree->mask < TREE_BUCKETS - 1) {
        use_more_buckets(tree);
    }
    uint32_t number = tree->free_node;
    if (number != 0) {
        tree->free_node = tree->nodes[number].hash_next;
    } else {
        number = tree->end_nodes++;
    }
    struct node *node = &tree->nodes[number];
    *node = (struct node){.parent = number_of(tree, parent),
                          .inode = inode,
                          .name = text,
                          .name_length = (uint8_t) length,
                          .layer = tree->layer};
    tree->inodes[inode].links++;
    if (parent != NULL) {
        node->next = parent->children;
        if (node->next != 0) {
            tree->nodes[node->next].prev = number;
        }
        parent->children = number;
    }
    hash_node(tree, node);
    tree->n_nodes++;
    return node;
}

/* Takes back nodes that are linked by `next` and out of their parent's list, and all below them, without recursion: children join the
 * list. */
static void
free_list(struct tree *tree, struct node *node)
{
    while (node != NULL) {
        uint32_t rest = node->next;
        for (uint32_t child = node->children, next; child != 0; child = next) {
            next = tree->nodes[child].next;
            tree->nodes[child].next = rest;
            rest = child;
        }
        unhash(tree, node);
        inode_drop(tree, node->inode);
        *node = (struct node){.hash_next = tree->free_node};
        tree->free_node = number_of(tree, node);
        tree->n_nodes--;
        node = tree_node(tree, rest);
    }
}

static void
remove_node(struct tree *tree, struct node *node)
{
    *(node->prev != 0 ? &tree->nodes[node->prev].next : &tree->nodes[node->parent].children) =
        node->next;
    if (node->next != 0) {
        tree->nodes[node->next].prev = node->prev;
    }
    node->next = 0;
    free_list(tree, node);
}

enum { NODES = TREE_NODES + 1, INODES = TREE_NODES + 2 };

int
tree_init(struct tree *tree)
{
    *tree = (struct tree){.end_nodes = 1, .end_inodes = 1, .end_texts = 1};
    tree->mask = FIRST_BUCKETS - 1;
    tree->nodes = map(NODES * sizeof *tree->nodes);
    tree->inodes = map(INODES * sizeof *tree->inodes);
    tree->texts = map(TREE_TEXTS);
    tree->buckets = map(TREE_BUCKETS * sizeof *tree->buckets);
    if (tree->nodes == NULL || tree->inodes == NULL || tree->texts == NULL ||
        tree->buckets == NULL) {
        tree_finish(tree);
        return -ENOMEM;
    }
    tree->root = tree_add(tree, NULL, "", 0, inode_create(tree, CTR_LAYER_DIR));
    return 0;
}

void
tree_finish(struct tree *tree)
{
    unmap(tree->nodes, NODES * sizeof *tree->nodes);
    unmap(tree->inodes, INODES * sizeof *tree->inodes);
    unmap(tree->texts, TREE_TEXTS);
    unmap(tree->buckets, TREE_BUCKETS * sizeof *tree->buckets);
    *tree = (struct tree){0};
}

/* --- paths --- */

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
            next = at->parent != 0 ? tree_node(tree, at->parent) : at;
        } else {
            next = find(tree, at, path, length);
        }
        if (next == NULL) {
            if (!make) {
                return ctr_fail(err, -ENOENT, "%.*s: no such folder", (int) length, path);
            }
            if (length > MAX_NAME) {
                return ctr_fail(err, -EBADMSG,
                                "%.60s…: a folder's name is longer than %d bytes", path,
                                MAX_NAME);
            }
            next = tree_add(tree, at, path, length, inode_create(tree, CTR_LAYER_DIR));
            if (next == NULL) {
                return tree_fail_full(tree, err);
            }
        } else if (tree_inode(tree, next)->type == CTR_LAYER_SYMLINK) {
            if (++*links > MAX_LINKS) {
                return ctr_fail(err, -ELOOP, "%.*s: more than 40 symbolic links", (int) length,
                                path);
            }
            const char *target = tree->texts + tree_inode(tree, next)->more;
            struct node *from = target[0] == '/' ? tree->root : at;
            int result = walk_dirs(tree, from, target, make, links, &next, err);
            if (result != 0) {
                return result;
            }
        }
        if (tree_inode(tree, next)->type != CTR_LAYER_DIR) {
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

/* As Linux's new_encode_dev() has it. */
static uint32_t
device_number(const struct ctr_layer_entry *entry)
{
    return (entry->minor & 0xff) | entry->major << 8 | (entry->minor & ~0xffu) << 12;
}

/* False: the tree is full. */
static bool
fill_inode(struct tree *tree, struct inode *inode, const struct ctr_layer_entry *entry)
{
    inode->mode = (uint16_t) entry->mode;
    inode->uid = entry->uid;
    inode->gid = entry->gid;
    inode->mtime = entry->mtime;
    inode->mtime_nsec = entry->mtime_nsec;
    inode->bytes = entry->bytes;
    inode->xattrs = 0;
    for (uint32_t i = 0; i < entry->n_xattrs; i++) {
        if (tree_add_xattr(tree, inode, &entry->xattrs[i]) != 0) {
            return false;
        }
    }
    if (entry->type == CTR_LAYER_SYMLINK) {
        inode->bytes = strlen(entry->target);
        inode->more = text_add(tree, entry->target, inode->bytes);
        return inode->more != 0;
    }
    if (entry->type == CTR_LAYER_CHAR || entry->type == CTR_LAYER_BLOCK) {
        inode->more = device_number(entry);
    }
    return true;
}

static bool
is_within(const struct tree *tree, const struct node *node, const struct node *top)
{
    while (node != NULL && node != top) {
        node = tree_node(tree, node->parent);
    }
    return node != NULL;
}

/* `old`, which the link replaces, goes first, with all below it: its content is no target. */
static int
link_target(struct tree *tree, const struct ctr_layer_entry *entry, const struct node *old,
            uint32_t *ret, struct ctr_error *err)
{
    struct node *dir;
    const char *name;
    int result = locate(tree, entry->target, false, &dir, &name, err);
    struct node *target = result == 0 ? child_of(tree, dir, name) : NULL;
    bool there = target != NULL && (old == NULL || !is_within(tree, target, old));
    if (!there || tree_inode(tree, target)->type == CTR_LAYER_DIR) {
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
    return fill_inode(tree, tree_inode(tree, node), entry) ? 0 : tree_fail_full(tree, err);
}

/* The name stays, with another inode and nothing below. */
static struct node *
replace(struct tree *tree, struct node *node, uint32_t inode)
{
    tree->inodes[inode].links++; /* first: it may be the old one */
    free_list(tree, tree_node(tree, node->children));
    inode_drop(tree, node->inode);
    node->children = 0;
    node->inode = inode;
    node->layer = tree->layer;
    return node;
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
    if (old != NULL && tree_inode(tree, old)->type == CTR_LAYER_DIR &&
        entry->type == CTR_LAYER_DIR) {
        return update_dir(tree, old, entry, ret, err);
    }
    uint32_t inode = 0;
    if (entry->type == CTR_LAYER_HARDLINK) {
        result = link_target(tree, entry, old, &inode, err);
        if (result != 0) {
            return result;
        }
    } else {
        inode = inode_create(tree, entry->type);
        if (!fill_inode(tree, &tree->inodes[inode], entry)) {
            inode_drop(tree, inode);
            return tree_fail_full(tree, err);
        }
    }
    *ret = old != NULL ? replace(tree, old, inode)
                       : tree_add(tree, dir, name, strlen(name), inode);
    return *ret != NULL ? 0 : tree_fail_full(tree, err);
}

static bool
is_kept(const struct tree *tree, const struct node *node)
{
    return node->layer == tree->layer || node->children != 0;
}

/* Removes what lower layers brought below `top`, deepest first, without recursion: a tree may be as deep as a hostile layer likes. */
static void
prune_lower(struct tree *tree, struct node *top)
{
    struct node *node = top;
    for (;;) {
        if (node->children != 0) {
            node = tree_node(tree, node->children);
            continue;
        }
        struct node *next = NULL;
        while (node != top && next == NULL) {
            struct node *parent = tree_node(tree, node->parent);
            next = tree_node(tree, node->next);
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
