/*
 * Writing: all inodes get their places first (folders name inodes by place), then everything goes out in order of offset.
 */
#include "plugins/storage-erofs/format.h"
#include "plugins/storage-erofs/store.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAMES_IN_BLOCK = EROFS_BLOCK / (EROFS_DIRENT + 1) };

struct name {
    const char *text;
    size_t length;
    const struct inode *inode;
};

/* Gives the names of one folder in order, "." and ".." among them. */
struct names {
    const struct tree *tree;
    const struct node *dir, *child;
    size_t dots; /* how many of the two were given */
};

struct writer {
    int fd;
    struct tree *tree;
    uint32_t n;     /* inodes; their nodes are linked by hash_next, the root first */
    uint32_t block; /* next free one */
    uint32_t meta_block;
    uint32_t data;     /* what files' blocks count from */
    uint64_t position; /* in the inode area, bytes */
    uint8_t buffer[1 << 16];
    size_t filled;
    uint64_t offset; /* in the file, of the buffer's start */
};

static struct node *
next_inode(const struct writer *writer, const struct node *node)
{
    return tree_node(writer->tree, node->hash_next);
}

/* --- folders --- */

static uint32_t
merge(const struct tree *tree, uint32_t a, uint32_t b)
{
    uint32_t first = 0, *link = &first;
    while (a != 0 && b != 0) {
        struct node *one = &tree->nodes[a], *other = &tree->nodes[b];
        bool later = strcmp(tree_name(tree, one), tree_name(tree, other)) > 0;
        *link = later ? b : a;
        link = later ? &other->next : &one->next;
        *(later ? &b : &a) = *link;
    }
    *link = a != 0 ? a : b;
    return first;
}

/* Puts a folder's children into the order of their names: runs of 1, 2, 4 … are merged. */
static void
sort_children(const struct tree *tree, struct node *dir)
{
    uint32_t runs[32] = {0}, rest = dir->children, all = 0;
    while (rest != 0) {
        uint32_t run = rest;
        size_t i = 0;
        rest = tree->nodes[run].next;
        tree->nodes[run].next = 0;
        for (; runs[i] != 0; i++) {
            run = merge(tree, run, runs[i]);
            runs[i] = 0;
        }
        runs[i] = run;
    }
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        all = merge(tree, all, runs[i]);
    }
    dir->children = all;
}

static struct names
names_of(const struct tree *tree, const struct node *dir)
{
    return (struct names){tree, dir, tree_node(tree, dir->children), 0};
}

static bool
next_name(struct names *names, struct name *ret)
{
    static const char *const dots[] = {".", ".."};
    const struct tree *tree = names->tree;
    const struct node *dir = names->dir, *child = names->child;
    if (names->dots < 2 &&
        (child == NULL || strcmp(dots[names->dots], tree_name(tree, child)) < 0)) {
        const struct node *to =
            names->dots == 0 || dir->parent == 0 ? dir : tree_node(tree, dir->parent);
        *ret = (struct name){dots[names->dots], names->dots + 1, tree_inode(tree, to)};
        names->dots++;
        return true;
    }
    if (child == NULL) {
        return false;
    }
    *ret = (struct name){tree_name(tree, child), child->name_length, tree_inode(tree, child)};
    names->child = tree_node(tree, child->next);
    return true;
}

static int
measure_dir(const struct tree *tree, const struct node *dir, struct ctr_error *err)
{
    struct names names = names_of(tree, dir);
    struct name name;
    uint64_t full = 0, bytes = 0;
    while (next_name(&names, &name)) {
        if (bytes + EROFS_DIRENT + name.length > EROFS_BLOCK) {
            full += EROFS_BLOCK;
            bytes = 0;
        }
        bytes += EROFS_DIRENT + name.length;
    }
    if (full + bytes > UINT32_MAX) {
        return ctr_fail(err, -EFBIG, "%s: the folder has too many entries",
                        tree_name(tree, dir));
    }
    tree_inode(tree, dir)->bytes = full + bytes;
    return 0;
}

/* --- places --- */

static size_t
xattr_entry_size(const struct xattr *xattr, int *ret_index, const char **ret_suffix)
{
    for (size_t i = 1; i < EROFS_PREFIXES; i++) {
        size_t length = erofs_prefixes[i] != NULL ? strlen(erofs_prefixes[i]) : 0;
        if (length > 0 && strncmp(xattr->name, erofs_prefixes[i], length) == 0) {
            *ret_index = (int) i;
            *ret_suffix = xattr->name + length;
            return (4 + strlen(*ret_suffix) + xattr->length + 3) & ~(size_t) 3;
        }
    }
    return 0; /* a namespace that Linux does not keep on disk */
}

static size_t
xattrs_size(const struct tree *tree, const struct inode *inode)
{
    size_t total = 0;
    int index;
    const char *suffix;
    for (const struct xattr *xattr = tree_xattr(tree, inode->xattrs); xattr != NULL;
         xattr = tree_xattr(tree, xattr->next)) {
        total += xattr_entry_size(xattr, &index, &suffix);
    }
    return total > 0 ? total + EROFS_XATTR_HEADER : 0;
}

/* A link's target or a folder: what is kept with the metadata. */
static uint64_t
content_size(const struct inode *inode)
{
    bool has = inode->type == CTR_LAYER_SYMLINK || inode->type == CTR_LAYER_DIR;
    return has ? inode->bytes : 0;
}

/* Bytes of that which lie right behind the inode and its xattrs. */
static size_t
inline_size(const struct tree *tree, const struct inode *inode)
{
    size_t head = EROFS_INODE + xattrs_size(tree, inode);
    uint64_t content = content_size(inode);
    return content < EROFS_BLOCK && head % EROFS_BLOCK + content <= EROFS_BLOCK &&
                   head <= EROFS_BLOCK
               ? (size_t) content
               : 0;
}

/* Gives the node's inode a place, and blocks to what does not fit inline. */
static int
place_inode(struct writer *writer, const struct node *node, struct ctr_error *err)
{
    struct inode *inode = tree_inode(writer->tree, node);
    size_t head = EROFS_INODE + xattrs_size(writer->tree, inode),
           tail = inline_size(writer->tree, inode);
    if (head > 65535u * 4) {
        return ctr_fail(err, -EFBIG, "%s: its extended attributes are too large",
                        tree_name(writer->tree, node));
    }
    size_t in_block = writer->position % EROFS_BLOCK;
    if (tail > 0 &&
        (in_block + head) / EROFS_BLOCK != (in_block + head + tail - 1) / EROFS_BLOCK) {
        writer->position += EROFS_BLOCK - in_block; /* an inline tail stays within one block */
    }
    inode->nid = (uint32_t) (writer->position / EROFS_SLOT);
    writer->position += (head + tail + EROFS_SLOT - 1) / EROFS_SLOT * EROFS_SLOT;
    inode->placed = true;
    writer->n++;
    if (content_size(inode) > 0 && tail == 0) {
        inode->where = writer->block;
        writer->block += (uint32_t) ((inode->bytes + EROFS_BLOCK - 1) / EROFS_BLOCK);
    }
    return 0;
}

/* Places a folder's children that have no place yet, behind `last` in the order. */
static int
place_children(struct writer *writer, const struct node *dir, struct node **last,
               struct ctr_error *err)
{
    struct tree *tree = writer->tree;
    int result = 0;
    for (uint32_t i = dir->children; result == 0 && i != 0; i = tree->nodes[i].next) {
        struct node *child = &tree->nodes[i];
        struct inode *inode = tree_inode(tree, child);
        if (inode->type == CTR_LAYER_DIR) {
            tree_inode(tree, dir)->links++;
            sort_children(tree, child);
            inode->links = 2;
            result = measure_dir(tree, child, err);
        }
        if (result == 0 && !inode->placed) {
            result = place_inode(writer, child, err);
            (*last)->hash_next = i;
            child->hash_next = 0;
            *last = child;
        }
    }
    return result;
}

/* Places all inodes, folder by folder. */
static int
place_all(struct writer *writer, struct ctr_error *err)
{
    struct tree *tree = writer->tree;
    struct node *last = tree->root;
    sort_children(tree, tree->root);
    tree->root->hash_next = 0;
    tree_inode(tree, tree->root)->links = 2;
    int result = measure_dir(tree, tree->root, err);
    result = result == 0 ? place_inode(writer, tree->root, err) : result;
    for (const struct node *dir = tree->root; result == 0 && dir != NULL;
         dir = next_inode(writer, dir)) {
        result = place_children(writer, dir, &last, err);
    }
    return result;
}

/* --- output --- */

static int
flush(struct writer *writer, struct ctr_error *err)
{
    int code = write_at(writer->fd, writer->buffer, writer->filled, writer->offset);
    writer->offset += writer->filled;
    writer->filled = 0;
    errno = -code;
    return code == 0 ? 0 : fail_errno(err, "writing", "the image");
}

static int
emit(struct writer *writer, const void *bytes, size_t length, struct ctr_error *err)
{
    while (length > 0) {
        size_t n = sizeof writer->buffer - writer->filled;
        n = n < length ? n : length;
        if (bytes != NULL) {
            memcpy(writer->buffer + writer->filled, bytes, n);
            bytes = (const uint8_t *) bytes + n;
        } else {
            memset(writer->buffer + writer->filled, 0, n);
        }
        writer->filled += n;
        length -= n;
        if (writer->filled == sizeof writer->buffer && flush(writer, err) != 0) {
            return err != NULL ? err->code : -EIO;
        }
    }
    return 0;
}

static int
seek(struct writer *writer, uint64_t offset, struct ctr_error *err)
{
    uint64_t now = writer->offset + writer->filled;
    if (offset >= now && offset - now <= EROFS_BLOCK) {
        return emit(writer, NULL, offset - now, err);
    }
    int result = flush(writer, err);
    writer->offset = offset;
    return result;
}

static uint8_t
file_type(const struct inode *inode)
{
    static const uint8_t types[] = {
        [CTR_LAYER_FILE] = 1,  [CTR_LAYER_DIR] = 2,  [CTR_LAYER_CHAR] = 3,
        [CTR_LAYER_BLOCK] = 4, [CTR_LAYER_FIFO] = 5, [CTR_LAYER_SYMLINK] = 7};
    return types[inode->type];
}

/* One block of a folder, or its last bytes. */
static int
emit_names(struct writer *writer, const struct name *names, size_t n, size_t bytes,
           struct ctr_error *err)
{
    uint8_t block[EROFS_BLOCK] = {0};
    size_t at = n * EROFS_DIRENT;
    for (size_t i = 0; i < n; i++) {
        uint8_t *dirent = block + i * EROFS_DIRENT;
        put_le(dirent, names[i].inode->nid, 8);
        put_le(dirent + 8, at, 2);
        dirent[10] = file_type(names[i].inode);
        memcpy(block + at, names[i].text, names[i].length);
        at += names[i].length;
    }
    return emit(writer, block, bytes, err);
}

static int
emit_dir(struct writer *writer, const struct node *dir, struct ctr_error *err)
{
    struct names all = names_of(writer->tree, dir);
    struct name names[NAMES_IN_BLOCK], name;
    size_t n = 0, bytes = 0;
    while (next_name(&all, &name)) {
        if (bytes + EROFS_DIRENT + name.length > EROFS_BLOCK) {
            int result = emit_names(writer, names, n, EROFS_BLOCK, err);
            if (result != 0) {
                return result;
            }
            n = bytes = 0;
        }
        names[n++] = name;
        bytes += EROFS_DIRENT + name.length;
    }
    return emit_names(writer, names, n, bytes, err);
}

/* What is kept with the metadata. */
static int
emit_content(struct writer *writer, const struct node *node, struct ctr_error *err)
{
    const struct inode *inode = tree_inode(writer->tree, node);
    return inode->type == CTR_LAYER_DIR
               ? emit_dir(writer, node, err)
               : emit(writer, writer->tree->texts + inode->more, inode->bytes, err);
}

static int
emit_xattrs(struct writer *writer, const struct inode *inode, struct ctr_error *err)
{
    if (xattrs_size(writer->tree, inode) == 0) {
        return 0;
    }
    int result = emit(writer, NULL, EROFS_XATTR_HEADER, err);
    for (const struct xattr *xattr = tree_xattr(writer->tree, inode->xattrs);
         result == 0 && xattr != NULL; xattr = tree_xattr(writer->tree, xattr->next)) {
        int index = 0;
        const char *suffix = "";
        size_t size = xattr_entry_size(xattr, &index, &suffix);
        if (size == 0) {
            continue;
        }
        size_t name_length = strlen(suffix);
        uint8_t head[4] = {(uint8_t) name_length, (uint8_t) index};
        put_le(head + 2, xattr->length, 2);
        result = emit(writer, head, sizeof head, err);
        result = result == 0 ? emit(writer, suffix, name_length, err) : result;
        result = result == 0 ? emit(writer, xattr_value(xattr), xattr->length, err) : result;
        result = result == 0 ? emit(writer, NULL, size - 4 - name_length - xattr->length, err)
                             : result;
    }
    return result;
}

static uint32_t
unix_mode(const struct inode *inode)
{
    static const uint32_t types[] = {
        [CTR_LAYER_FILE] = S_IFREG,  [CTR_LAYER_DIR] = S_IFDIR,  [CTR_LAYER_CHAR] = S_IFCHR,
        [CTR_LAYER_BLOCK] = S_IFBLK, [CTR_LAYER_FIFO] = S_IFIFO, [CTR_LAYER_SYMLINK] = S_IFLNK};
    uint32_t mode = inode->type == CTR_LAYER_SYMLINK ? 0777 : inode->mode & 07777;
    return types[inode->type] | mode;
}

/* i_u: the first block of the content, or a device's number. */
static uint32_t
inode_where(const struct writer *writer, const struct inode *inode)
{
    if (inode->type == CTR_LAYER_CHAR || inode->type == CTR_LAYER_BLOCK) {
        return inode->more;
    }
    bool data = inode->type == CTR_LAYER_FILE && inode->bytes > 0;
    return data ? writer->data + inode->where : inode->where;
}

static int
emit_inode(struct writer *writer, const struct node *node, uint32_t ino, struct ctr_error *err)
{
    const struct inode *inode = tree_inode(writer->tree, node);
    size_t tail = inline_size(writer->tree, inode), xattrs = xattrs_size(writer->tree, inode);
    uint8_t out[EROFS_INODE] = {0};
    put_le(out, 1u | (tail > 0 ? EROFS_INLINE : EROFS_PLAIN) << 1, 2);
    put_le(out + 2, xattrs > 0 ? (xattrs - EROFS_XATTR_HEADER) / 4 + 1 : 0, 2);
    put_le(out + 4, unix_mode(inode), 2);
    put_le(out + 8, inode->bytes, 8);
    put_le(out + 16, inode_where(writer, inode), 4);
    put_le(out + 20, ino, 4);
    put_le(out + 24, inode->uid, 4);
    put_le(out + 28, inode->gid, 4);
    put_le(out + 32, (uint64_t) inode->mtime, 8);
    put_le(out + 40, inode->mtime_nsec, 4);
    put_le(out + 44, inode->links, 4);
    int result = seek(
        writer, writer->meta_block * (uint64_t) EROFS_BLOCK + inode->nid * EROFS_SLOT, err);
    result = result == 0 ? emit(writer, out, sizeof out, err) : result;
    result = result == 0 ? emit_xattrs(writer, inode, err) : result;
    return result == 0 && tail > 0 ? emit_content(writer, node, err) : result;
}

/* Folders and link targets that have blocks of their own, in the order in which place_inode gave them. */
static int
emit_blocks(struct writer *writer, struct ctr_error *err)
{
    int result = 0;
    for (const struct node *node = writer->tree->root; result == 0 && node != NULL;
         node = next_inode(writer, node)) {
        const struct inode *inode = tree_inode(writer->tree, node);
        if (content_size(inode) > 0 && inode->where != 0) {
            result = seek(writer, inode->where * (uint64_t) EROFS_BLOCK, err);
            result = result == 0 ? emit_content(writer, node, err) : result;
        }
    }
    return result;
}

static int
emit_super(struct writer *writer, uint32_t blocks, struct ctr_error *err)
{
    uint8_t super[128] = {0};
    put_le(super, EROFS_MAGIC, 4);
    put_le(super + 8, 2, 4); /* feature_compat: times are mtimes */
    super[12] = 12;          /* log2 of the block size */
    put_le(super + 14, tree_inode(writer->tree, writer->tree->root)->nid, 2);
    put_le(super + 16, writer->n, 8);
    put_le(super + 36, blocks, 4);
    put_le(super + 40, writer->meta_block, 4);
    int result = seek(writer, EROFS_SUPER, err);
    result = result == 0 ? emit(writer, super, sizeof super, err) : result;
    return result == 0 ? flush(writer, err) : result;
}

/* Where everything goes; then how large the image is. */
static int
lay_out(struct writer *writer, uint32_t data_behind, uint64_t *ret_end, struct ctr_error *err)
{
    int result = place_all(writer, err);
    writer->meta_block = writer->block;
    uint64_t end = writer->meta_block + (writer->position + EROFS_BLOCK - 1) / EROFS_BLOCK;
    if (result == 0 && end + data_behind > UINT32_MAX) {
        return ctr_fail(err, -EFBIG, "the image would be larger than 16 TiB");
    }
    writer->data = data_behind > 0 ? (uint32_t) end : 0;
    *ret_end = end;
    return result;
}

int
erofs_write(int fd, struct tree *tree, uint32_t first, uint32_t data_behind, uint64_t *ret_end,
            uint64_t *ret_inodes, struct ctr_error *err)
{
    struct writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    writer->fd = fd;
    writer->block = first;
    writer->tree = tree;
    uint32_t ino = 0;
    int result = lay_out(writer, data_behind, ret_end, err);
    result = result == 0 ? emit_blocks(writer, err) : result;
    for (const struct node *node = tree->root; result == 0 && node != NULL;
         node = next_inode(writer, node)) {
        result = emit_inode(writer, node, ++ino, err);
    }
    if (result == 0) {
        result = emit_super(writer, (uint32_t) (*ret_end + data_behind), err);
    }
    if (result == 0 && ftruncate(fd, (off_t) (*ret_end * EROFS_BLOCK)) != 0) {
        result = fail_errno(err, "sizing", "the image");
    }
    *ret_inodes = writer->n;
    free(writer);
    return result;
}
