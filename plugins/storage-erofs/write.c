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

/* Names of one folder in order, "." and ".." among them. */
struct name {
    const char *text;
    size_t length;
    const struct inode *inode;
};

struct writer {
    int fd;
    struct node **order; /* one node for each inode, the root first */
    size_t n;
    uint32_t block; /* next free one */
    uint32_t meta_block;
    uint32_t data;     /* what files' blocks count from */
    uint64_t position; /* in the inode area, bytes */
    uint8_t buffer[1 << 16];
    size_t filled;
    uint64_t offset; /* in the file, of the buffer's start */
};

static int
compare_names(const void *a, const void *b)
{
    return strcmp(((const struct name *) a)->text, ((const struct name *) b)->text);
}

static int
list_names(const struct node *dir, struct name **ret, size_t *ret_n)
{
    size_t n = 0;
    struct name *names = calloc(dir->children_count + 2u, sizeof *names);
    if (names == NULL) {
        return -ENOMEM;
    }
    names[n++] = (struct name){".", 1, dir->inode};
    names[n++] = (struct name){"..", 2, dir->parent != NULL ? dir->parent->inode : dir->inode};
    for (const struct node *child = dir->children; child != NULL; child = child->next) {
        names[n++] = (struct name){child->name, strlen(child->name), child->inode};
    }
    qsort(names, n, sizeof *names, compare_names);
    *ret = names;
    *ret_n = n;
    return 0;
}

/* How many names from `first` fit one block, and the bytes that they use. */
static size_t
names_in_block(const struct name *names, size_t n, size_t first, uint32_t *ret_bytes)
{
    size_t bytes = 0, i = first;
    while (i < n && bytes + EROFS_DIRENT + names[i].length <= EROFS_BLOCK) {
        bytes += EROFS_DIRENT + names[i].length;
        i++;
    }
    *ret_bytes = (uint32_t) bytes;
    return i - first;
}

static int
measure_dir(const struct node *dir, struct ctr_error *err)
{
    struct name *names;
    size_t n;
    if (list_names(dir, &names, &n) != 0) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    uint64_t total = 0;
    uint32_t bytes = 0;
    for (size_t i = 0; i < n;) {
        i += names_in_block(names, n, i, &bytes);
        total += i < n ? EROFS_BLOCK : bytes;
    }
    free(names);
    if (total > UINT32_MAX) {
        return ctr_fail(err, -EFBIG, "%s: the folder has too many entries", dir->name);
    }
    dir->inode->dir_bytes = (uint32_t) total;
    return 0;
}

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
xattrs_size(const struct inode *inode)
{
    size_t total = 0;
    int index;
    const char *suffix;
    for (const struct xattr *xattr = inode->xattrs; xattr != NULL; xattr = xattr->next) {
        total += xattr_entry_size(xattr, &index, &suffix);
    }
    return total > 0 ? total + EROFS_XATTR_HEADER : 0;
}

/* Bytes that lie right behind the inode and its xattrs: a link's target or a small folder. */
static size_t
inline_size(const struct inode *inode)
{
    size_t head = EROFS_INODE + xattrs_size(inode);
    size_t content = inode->type == CTR_LAYER_SYMLINK ? inode->bytes
                     : inode->type == CTR_LAYER_DIR   ? inode->dir_bytes
                                                      : 0;
    return content < EROFS_BLOCK && head % EROFS_BLOCK + content <= EROFS_BLOCK &&
                   head <= EROFS_BLOCK
               ? content
               : 0;
}

static int
place_inode(struct writer *writer, struct node *node, struct ctr_error *err)
{
    struct inode *inode = node->inode;
    size_t head = EROFS_INODE + xattrs_size(inode), tail = inline_size(inode);
    if (head > 65535u * 4) {
        return ctr_fail(err, -EFBIG, "%s: its extended attributes are too large", node->name);
    }
    size_t in_block = writer->position % EROFS_BLOCK;
    if (tail > 0 &&
        (in_block + head) / EROFS_BLOCK != (in_block + head + tail - 1) / EROFS_BLOCK) {
        writer->position += EROFS_BLOCK - in_block; /* an inline tail stays within one block */
    }
    inode->nid = writer->position / EROFS_SLOT;
    writer->position += (head + tail + EROFS_SLOT - 1) / EROFS_SLOT * EROFS_SLOT;
    inode->placed = true;
    inode->ino = (uint32_t) ++writer->n;
    writer->order[writer->n - 1] = node;
    return 0;
}

/* Places all inodes, folder by folder; gives blocks to what does not fit inline. */
static int
place_all(struct writer *writer, struct tree *tree, struct ctr_error *err)
{
    int result = measure_dir(tree->root, err);
    result = result == 0 ? place_inode(writer, tree->root, err) : result;
    for (size_t i = 0; result == 0 && i < writer->n; i++) {
        struct node *dir = writer->order[i];
        dir->inode->nlink = dir->inode->type == CTR_LAYER_DIR ? 2 : dir->inode->refs;
        for (struct node *child = dir->children; result == 0 && child != NULL;
             child = child->next) {
            dir->inode->nlink += child->inode->type == CTR_LAYER_DIR;
            if (child->inode->placed) {
                continue;
            }
            result = child->inode->type == CTR_LAYER_DIR ? measure_dir(child, err) : 0;
            result = result == 0 ? place_inode(writer, child, err) : result;
        }
        uint64_t content = dir->inode->type == CTR_LAYER_DIR       ? dir->inode->dir_bytes
                           : dir->inode->type == CTR_LAYER_SYMLINK ? dir->inode->bytes
                                                                   : 0;
        if (content > 0 && inline_size(dir->inode) == 0) {
            dir->inode->dir_block = writer->block;
            writer->block += (uint32_t) ((content + EROFS_BLOCK - 1) / EROFS_BLOCK);
        }
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

static int
emit_dir(struct writer *writer, const struct node *dir, struct ctr_error *err)
{
    struct name *names;
    size_t n;
    if (list_names(dir, &names, &n) != 0) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int result = 0;
    for (size_t first = 0; result == 0 && first < n;) {
        uint8_t block[EROFS_BLOCK] = {0};
        uint32_t bytes;
        size_t count = names_in_block(names, n, first, &bytes);
        size_t at = count * EROFS_DIRENT;
        for (size_t i = 0; i < count; i++) {
            const struct name *name = &names[first + i];
            uint8_t *dirent = block + i * EROFS_DIRENT;
            put_le(dirent, name->inode->nid, 8);
            put_le(dirent + 8, at, 2);
            dirent[10] = file_type(name->inode);
            memcpy(block + at, name->text, name->length);
            at += name->length;
        }
        first += count;
        result = emit(writer, block, first < n ? EROFS_BLOCK : bytes, err);
    }
    free(names);
    return result;
}

static int
emit_xattrs(struct writer *writer, const struct inode *inode, struct ctr_error *err)
{
    if (xattrs_size(inode) == 0) {
        return 0;
    }
    int result = emit(writer, NULL, EROFS_XATTR_HEADER, err);
    for (const struct xattr *xattr = inode->xattrs; result == 0 && xattr != NULL;
         xattr = xattr->next) {
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
        result = result == 0 ? emit(writer, xattr->value, xattr->length, err) : result;
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

static int
emit_inode(struct writer *writer, const struct node *node, struct ctr_error *err)
{
    const struct inode *inode = node->inode;
    size_t tail = inline_size(inode), xattrs = xattrs_size(inode);
    uint64_t size = inode->type == CTR_LAYER_DIR ? inode->dir_bytes : inode->bytes;
    uint32_t where = inode->type != CTR_LAYER_FILE ? inode->dir_block
                     : inode->bytes > 0            ? writer->data + inode->block
                                                   : 0;
    if (inode->type == CTR_LAYER_CHAR || inode->type == CTR_LAYER_BLOCK) {
        where = (inode->minor & 0xff) | inode->major << 8 | (inode->minor & ~0xffu) << 12;
    }
    uint8_t out[EROFS_INODE] = {0};
    put_le(out, 1u | (tail > 0 ? EROFS_INLINE : EROFS_PLAIN) << 1, 2);
    put_le(out + 2, xattrs > 0 ? (xattrs - EROFS_XATTR_HEADER) / 4 + 1 : 0, 2);
    put_le(out + 4, unix_mode(inode), 2);
    put_le(out + 8, size, 8);
    put_le(out + 16, where, 4);
    put_le(out + 20, inode->ino, 4);
    put_le(out + 24, inode->uid, 4);
    put_le(out + 28, inode->gid, 4);
    put_le(out + 32, (uint64_t) inode->mtime, 8);
    put_le(out + 40, inode->mtime_nsec, 4);
    put_le(out + 44, inode->nlink, 4);
    int result = seek(
        writer, writer->meta_block * (uint64_t) EROFS_BLOCK + inode->nid * EROFS_SLOT, err);
    result = result == 0 ? emit(writer, out, sizeof out, err) : result;
    result = result == 0 ? emit_xattrs(writer, inode, err) : result;
    if (result == 0 && tail > 0) {
        result = inode->type == CTR_LAYER_DIR ? emit_dir(writer, node, err)
                                              : emit(writer, inode->target, inode->bytes, err);
    }
    return result;
}

/* Folders and link targets that have blocks of their own, in the order in which place_all gave them. */
static int
emit_blocks(struct writer *writer, struct ctr_error *err)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < writer->n; i++) {
        const struct inode *inode = writer->order[i]->inode;
        if (inode->dir_block == 0 || inode->type == CTR_LAYER_FILE) {
            continue;
        }
        result = seek(writer, inode->dir_block * (uint64_t) EROFS_BLOCK, err);
        if (result == 0) {
            result = inode->type == CTR_LAYER_DIR
                         ? emit_dir(writer, writer->order[i], err)
                         : emit(writer, inode->target, inode->bytes, err);
        }
    }
    return result;
}

static int
emit_super(struct writer *writer, const struct tree *tree, uint32_t blocks,
           struct ctr_error *err)
{
    uint8_t super[128] = {0};
    put_le(super, EROFS_MAGIC, 4);
    put_le(super + 8, 2, 4); /* feature_compat: times are mtimes */
    super[12] = 12;          /* log2 of the block size */
    put_le(super + 14, tree->root->inode->nid, 2);
    put_le(super + 16, writer->n, 8);
    put_le(super + 36, blocks, 4);
    put_le(super + 40, writer->meta_block, 4);
    int result = seek(writer, EROFS_SUPER, err);
    result = result == 0 ? emit(writer, super, sizeof super, err) : result;
    return result == 0 ? flush(writer, err) : result;
}

/* Where everything goes; then how large the image is. */
static int
lay_out(struct writer *writer, struct tree *tree, uint32_t data_behind, uint64_t *ret_end,
        struct ctr_error *err)
{
    writer->order = calloc(tree->n_nodes, sizeof(struct node *));
    int result = writer->order != NULL ? place_all(writer, tree, err)
                                       : ctr_fail(err, -ENOMEM, "out of memory");
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
    int result = lay_out(writer, tree, data_behind, ret_end, err);
    result = result == 0 ? emit_blocks(writer, err) : result;
    for (size_t i = 0; result == 0 && i < writer->n; i++) {
        result = emit_inode(writer, writer->order[i], err);
    }
    if (result == 0) {
        result = emit_super(writer, tree, (uint32_t) (*ret_end + data_behind), err);
    }
    if (result == 0 && ftruncate(fd, (off_t) (*ret_end * EROFS_BLOCK)) != 0) {
        result = fail_errno(err, "sizing", "the image");
    }
    *ret_inodes = writer->n;
    free(writer->order);
    free(writer);
    return result;
}
