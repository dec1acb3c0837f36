/*
 * Reading back a tree from an image of our own. The whole image is mapped; every offset is checked against its length.
 */
#include "plugins/storage-erofs/format.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct linked {
    uint64_t nid;
    struct inode *inode;
};

struct reader {
    const uint8_t *bytes;
    uint64_t length, meta;
    struct tree *tree;
    struct linked *links; /* inodes with several names, open addressing */
    size_t n_links, capacity;
    uint32_t next_block;
};

static const uint8_t *
at(const struct reader *reader, uint64_t offset, uint64_t length)
{
    return offset <= reader->length && length <= reader->length - offset
               ? reader->bytes + offset
               : NULL;
}

static struct linked *
link_slot(struct reader *reader, uint64_t nid)
{
    if (reader->n_links * 2 >= reader->capacity) {
        struct reader bigger = {.capacity = reader->capacity == 0 ? 256 : reader->capacity * 2};
        bigger.links = calloc(bigger.capacity, sizeof *bigger.links);
        if (bigger.links == NULL) {
            return NULL;
        }
        for (size_t i = 0; i < reader->capacity; i++) {
            if (reader->links[i].inode != NULL) {
                *link_slot(&bigger, reader->links[i].nid) = reader->links[i];
            }
        }
        free(reader->links);
        reader->links = bigger.links;
        reader->capacity = bigger.capacity;
    }
    size_t slot = nid * 0x9e3779b97f4a7c15u % reader->capacity;
    while (reader->links[slot].inode != NULL && reader->links[slot].nid != nid) {
        slot = (slot + 1) % reader->capacity;
    }
    return &reader->links[slot];
}

static int
read_xattrs(struct reader *reader, struct inode *inode, uint64_t offset, uint32_t count)
{
    uint64_t end = offset + EROFS_XATTR_HEADER + (count - 1) * 4ull;
    offset += EROFS_XATTR_HEADER;
    while (offset + 4 <= end) {
        const uint8_t *head = at(reader, offset, 4);
        if (head == NULL) {
            return -EBADMSG;
        }
        size_t name_length = head[0], index = head[1], length = get_le(head + 2, 2);
        const uint8_t *body = at(reader, offset + 4, name_length + length);
        if (body == NULL || index >= EROFS_PREFIXES || erofs_prefixes[index] == NULL) {
            return -EBADMSG;
        }
        char name[300];
        snprintf(name, sizeof name, "%s%.*s", erofs_prefixes[index], (int) name_length,
                 (const char *) body);
        int result = inode_add_xattr(inode, name, body + name_length, length);
        if (result != 0) {
            return result;
        }
        offset += (4 + name_length + length + 3) & ~3ull;
    }
    return 0;
}

static int
read_type(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return CTR_LAYER_FILE;
    case S_IFDIR:
        return CTR_LAYER_DIR;
    case S_IFLNK:
        return CTR_LAYER_SYMLINK;
    case S_IFCHR:
        return CTR_LAYER_CHAR;
    case S_IFBLK:
        return CTR_LAYER_BLOCK;
    case S_IFIFO:
        return CTR_LAYER_FIFO;
    default:
        return -EBADMSG;
    }
}

/* Where a link's target or a folder's names lie. */
static uint64_t
content_offset(const struct reader *reader, uint64_t nid, const uint8_t *in)
{
    uint64_t count = get_le(in + 2, 2);
    if (get_le(in, 2) >> 1 == EROFS_INLINE) {
        return reader->meta + nid * EROFS_SLOT + EROFS_INODE +
               (count > 0 ? EROFS_XATTR_HEADER + (count - 1) * 4 : 0);
    }
    return get_le(in + 16, 4) * EROFS_BLOCK;
}

static int
fill(struct reader *reader, struct inode *inode, uint64_t nid, const uint8_t *in)
{
    inode->mode = (uint32_t) get_le(in + 4, 2) & 07777;
    inode->uid = (uint32_t) get_le(in + 24, 4);
    inode->gid = (uint32_t) get_le(in + 28, 4);
    inode->mtime = (int64_t) get_le(in + 32, 8);
    inode->mtime_nsec = (uint32_t) get_le(in + 40, 4);
    inode->bytes = get_le(in + 8, 8);
    uint32_t where = (uint32_t) get_le(in + 16, 4);
    if (inode->type == CTR_LAYER_FILE) {
        uint64_t end = where + (inode->bytes + EROFS_BLOCK - 1) / EROFS_BLOCK;
        if (inode->bytes > reader->length || end > reader->length / EROFS_BLOCK) {
            return -EBADMSG;
        }
        inode->block = where;
        reader->next_block = end > reader->next_block ? (uint32_t) end : reader->next_block;
    } else if (inode->type == CTR_LAYER_SYMLINK) {
        const uint8_t *target = at(reader, content_offset(reader, nid, in), inode->bytes);
        inode->target = target != NULL ? strndup((const char *) target, inode->bytes) : NULL;
        if (inode->target == NULL) {
            return target != NULL ? -ENOMEM : -EBADMSG;
        }
    } else if (inode->type == CTR_LAYER_CHAR || inode->type == CTR_LAYER_BLOCK) {
        inode->major = where >> 8 & 0xfff;
        inode->minor = (where & 0xff) | (where >> 12 & ~0xffu);
    }
    uint32_t count = (uint32_t) get_le(in + 2, 2);
    return count > 0 ? read_xattrs(reader, inode, reader->meta + nid * EROFS_SLOT + EROFS_INODE,
                                   count)
                     : 0;
}

static int
read_inode(struct reader *reader, uint64_t nid, struct inode **ret)
{
    const uint8_t *in =
        nid < UINT32_MAX ? at(reader, reader->meta + nid * EROFS_SLOT, EROFS_INODE) : NULL;
    int type = in != NULL ? read_type((uint32_t) get_le(in + 4, 2)) : -EBADMSG;
    if (type < 0 || (get_le(in, 2) & 1) == 0) {
        return -EBADMSG;
    }
    struct linked *slot = NULL;
    if (type != CTR_LAYER_DIR && get_le(in + 44, 4) > 1) {
        slot = link_slot(reader, nid);
        if (slot == NULL) {
            return -ENOMEM;
        }
        if (slot->inode != NULL) {
            *ret = slot->inode;
            return 0;
        }
    }
    struct inode *inode = inode_create((uint32_t) type);
    if (inode == NULL) {
        return -ENOMEM;
    }
    inode->nid = nid;
    *ret = inode;
    if (slot != NULL) {
        *slot = (struct linked){nid, inode};
        reader->n_links++;
    }
    return fill(reader, inode, nid, in);
}

static int
add_child(struct reader *reader, struct node *dir, const char *name, size_t length,
          uint64_t nid)
{
    struct inode *inode = NULL;
    int result = read_inode(reader, nid, &inode);
    if (inode == NULL) {
        return result;
    }
    /* The node owns the inode from here on, also after a failure. */
    struct node *node = tree_add(reader->tree, dir, name, length, inode);
    return node == NULL ? -ENOMEM : result;
}

static int
read_dir(struct reader *reader, struct node *dir)
{
    uint64_t nid = dir->inode->nid;
    const uint8_t *in = at(reader, reader->meta + nid * EROFS_SLOT, EROFS_INODE);
    uint64_t size = get_le(in + 8, 8), start = content_offset(reader, nid, in);
    for (uint64_t done = 0; done < size; done += EROFS_BLOCK) {
        uint64_t bytes = size - done < EROFS_BLOCK ? size - done : EROFS_BLOCK;
        const uint8_t *block = at(reader, start + done, bytes);
        uint64_t count =
            block != NULL && bytes >= EROFS_DIRENT ? get_le(block + 8, 2) / EROFS_DIRENT : 0;
        if (count == 0 || count * EROFS_DIRENT > bytes) {
            return -EBADMSG;
        }
        for (uint64_t i = 0; i < count; i++) {
            const uint8_t *dirent = block + i * EROFS_DIRENT;
            uint64_t name = get_le(dirent + 8, 2);
            uint64_t end = i + 1 < count ? get_le(dirent + EROFS_DIRENT + 8, 2) : bytes;
            if (name >= end || end > bytes) {
                return -EBADMSG;
            }
            const char *text = (const char *) block + name;
            size_t length = strnlen(text, end - name);
            if ((length == 1 && text[0] == '.') ||
                (length == 2 && text[0] == '.' && text[1] == '.')) {
                continue;
            }
            int result = add_child(reader, dir, text, length, get_le(dirent, 8));
            if (result != 0) {
                return result;
            }
        }
    }
    return 0;
}

/* Folders in the order in which they were found: a list through `hash`-independent depth-first steps, no recursion. */
static int
read_all(struct reader *reader)
{
    struct node *node = reader->tree->root;
    for (;;) {
        if (node->inode->type == CTR_LAYER_DIR) {
            for (const struct node *up = node->parent; up != NULL; up = up->parent) {
                if (up->inode->nid == node->inode->nid) {
                    return -EBADMSG; /* a folder inside itself */
                }
            }
            int result = read_dir(reader, node);
            if (result != 0) {
                return result;
            }
        }
        if (node->children != NULL) {
            node = node->children;
            continue;
        }
        while (node->next == NULL) {
            node = node->parent;
            if (node == NULL) {
                return 0;
            }
        }
        node = node->next;
    }
}

static int
read_image(struct reader *reader)
{
    const uint8_t *super = at(reader, EROFS_SUPER, 128);
    if (super == NULL || get_le(super, 4) != EROFS_MAGIC || super[12] != 12) {
        return -EBADMSG;
    }
    reader->meta = get_le(super + 40, 4) * EROFS_BLOCK;
    uint64_t nid = get_le(super + 14, 2);
    const uint8_t *in = at(reader, reader->meta + nid * EROFS_SLOT, EROFS_INODE);
    if (in == NULL || read_type((uint32_t) get_le(in + 4, 2)) != CTR_LAYER_DIR) {
        return -EBADMSG;
    }
    reader->tree->root->inode->nid = nid;
    int result = fill(reader, reader->tree->root->inode, nid, in);
    return result == 0 ? read_all(reader) : result;
}

int
erofs_read(int fd, struct tree *tree, uint32_t *ret_next_block, struct ctr_error *err)
{
    struct stat st;
    if (tree_init(tree) != 0) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (fstat(fd, &st) != 0) {
        return ctr_fail(err, -errno, "%s", strerror(errno));
    }
    void *bytes = st.st_size > 0
                      ? mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)
                      : MAP_FAILED;
    if (bytes == MAP_FAILED) {
        return ctr_fail(err, -EBADMSG, "the parent's image is empty or cannot be mapped");
    }
    struct reader reader = {
        .bytes = bytes, .length = (uint64_t) st.st_size, .tree = tree, .next_block = 1};
    int result = read_image(&reader);
    free(reader.links);
    (void) munmap(bytes, (size_t) st.st_size);
    if (result != 0) {
        return ctr_fail(err, result, "the parent's image is %s",
                        result == -ENOMEM ? "too large for this memory"
                                          : "damaged; remove the image and pull it again");
    }
    *ret_next_block = reader.next_block;
    return 0;
}
