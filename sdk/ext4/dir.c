/*
 * Directories. One that a layer touches is held in memory as a hash table (so that an entry costs the same in a directory of ten and
 * of 100,000), and packed into consecutive blocks when the layer is done. A directory that a layer does not touch is not read.
 */
#include "sdk/ext4/writer.h"
#include <errno.h>
#include <stdlib.h>

#define TAIL_BYTES 12 /* the checksum at the end of a directory block */

/* --- which directories are in memory --- */

static uint32_t
bucket_of(const struct e4_image *image, ext2_ino_t ino)
{
    return (ino * 2654435761U) & (image->n_buckets - 1);
}

static int
grow_buckets(struct e4_image *image)
{
    uint32_t n = image->n_buckets == 0 ? 64 : image->n_buckets * 2;
    struct e4_dir **old = image->buckets, **new = calloc(n, sizeof(struct e4_dir *));
    uint32_t n_old = image->n_buckets;
    if (new == NULL) {
        return -ENOMEM;
    }
    image->buckets = new;
    image->n_buckets = n;
    for (uint32_t i = 0; i < n_old; i++) {
        for (struct e4_dir *dir = old[i], *next; dir != NULL; dir = next) {
            next = dir->next;
            dir->next = new[bucket_of(image, dir->ino)];
            new[bucket_of(image, dir->ino)] = dir;
        }
    }
    free(old);
    return 0;
}

static void
destroy_dir(struct e4_dir *dir)
{
    if (dir != NULL) {
        free(dir->list);
        free(dir->slots);
        free(dir->names);
        free(dir);
    }
}

int
e4_dir_create(struct e4_image *image, ext2_ino_t ino, ext2_ino_t parent, struct e4_dir **ret,
              struct ctr_error *err)
{
    if (image->n_dirs >= image->n_buckets && grow_buckets(image) != 0) {
        return ctr_fail(err, -ENOMEM, "write image: out of memory for directories");
    }
    struct e4_dir *dir = calloc(1, sizeof *dir);
    if (dir == NULL) {
        return ctr_fail(err, -ENOMEM, "write image: out of memory for directories");
    }
    dir->ino = ino;
    dir->parent = parent;
    dir->dirty = true;
    dir->next = image->buckets[bucket_of(image, ino)];
    image->buckets[bucket_of(image, ino)] = dir;
    image->n_dirs++;
    *ret = dir;
    return 0;
}

void
e4_dir_drop(struct e4_image *image, ext2_ino_t ino)
{
    if (image->n_buckets == 0) {
        return;
    }
    struct e4_dir **at = &image->buckets[bucket_of(image, ino)];
    while (*at != NULL && (*at)->ino != ino) {
        at = &(*at)->next;
    }
    struct e4_dir *dir = *at;
    if (dir != NULL) {
        *at = dir->next;
        image->n_dirs--;
        destroy_dir(dir);
    }
}

void
e4_dirs_destroy(struct e4_image *image)
{
    for (uint32_t i = 0; i < image->n_buckets; i++) {
        for (struct e4_dir *dir = image->buckets[i], *next; dir != NULL; dir = next) {
            next = dir->next;
            destroy_dir(dir);
        }
    }
    free(image->buckets);
    image->buckets = NULL;
    image->n_buckets = image->n_dirs = 0;
}

/* --- reading --- */

struct load {
    struct e4_dir *dir;
    struct ctr_error *err;
    int status;
};

static int
load_entry(ext2_ino_t ino, int which, struct ext2_dir_entry *entry, int offset, int block_size,
           char *block, void *arg)
{
    struct load *load = arg;
    size_t length = (size_t) ext2fs_dirent_name_len(entry);
    (void) ino, (void) offset, (void) block_size, (void) block;
    if (which == DIRENT_DOT_FILE) {
        return 0;
    }
    if (which == DIRENT_DOT_DOT_FILE) {
        load->dir->parent = entry->inode;
        return 0;
    }
    load->status = e4_dir_add(load->dir, entry->name, length, entry->inode,
                              (uint8_t) ext2fs_dirent_file_type(entry), 0, load->err);
    return load->status == 0 ? 0 : DIRENT_ABORT;
}

static int
load_dir(struct e4_image *image, struct e4_dir *dir, struct ctr_error *err)
{
    struct load load = {.dir = dir, .err = err};
    errcode_t code = ext2fs_dir_iterate2(image->fs, dir->ino, 0, NULL, load_entry, &load);
    dir->dirty = false;
    if (load.status != 0) {
        return load.status;
    }
    return code == 0 ? 0 : e4_fail(err, code, "read image: directory inode %u", dir->ino);
}

int
e4_dir_get(struct e4_image *image, ext2_ino_t ino, struct e4_dir **ret, struct ctr_error *err)
{
    struct e4_dir *dir = image->n_buckets == 0 ? NULL : image->buckets[bucket_of(image, ino)];
    while (dir != NULL && dir->ino != ino) {
        dir = dir->next;
    }
    if (dir != NULL) {
        *ret = dir;
        return 0;
    }
    int status = e4_dir_create(image, ino, ino, &dir, err);
    if (status != 0) {
        return status;
    }
    status = load_dir(image, dir, err);
    if (status != 0) {
        e4_dir_drop(image, ino);
        return status;
    }
    *ret = dir;
    return 0;
}

/* --- entries --- */

struct e4_dent *
e4_dir_find(const struct e4_dir *dir, const char *name, size_t length)
{
    if (dir->n_slots == 0) {
        return NULL;
    }
    uint32_t index = dir->slots[e4_dir_slot(dir, name, length, e4_hash_name(name, length))];
    if (index == 0 || (dir->list[index - 1].flags & E4_GONE) != 0) {
        return NULL;
    }
    return &dir->list[index - 1];
}

int
e4_dir_add(struct e4_dir *dir, const char *name, size_t length, ext2_ino_t ino, uint8_t type,
           uint8_t flags, struct ctr_error *err)
{
    int status = e4_dir_reserve(dir, length, err);
    if (status != 0) {
        return status;
    }
    uint32_t hash = e4_hash_name(name, length);
    uint32_t slot = e4_dir_slot(dir, name, length, hash);
    struct e4_dent *dent;
    if (dir->slots[slot] != 0) {
        dent = &dir->list[dir->slots[slot] - 1]; /* it was gone */
    } else {
        dent = &dir->list[dir->n++];
        dir->slots[slot] = dir->n;
        *dent = (struct e4_dent){
            .name = dir->names_length, .hash = hash, .length = (uint8_t) length};
        memcpy(dir->names + dir->names_length, name, length);
        dir->names_length += (uint32_t) length;
    }
    dent->ino = ino;
    dent->type = type;
    dent->flags = flags;
    dir->dirty = true;
    return 0;
}

void
e4_dir_forget(struct e4_dir *dir, struct e4_dent *dent)
{
    dent->flags = E4_GONE;
    dir->dirty = true;
}

/* --- writing --- */

struct pack {
    struct e4_image *image;
    struct e4_dir *dir;
    struct e4_runs runs;
    char *block;
    uint32_t used; /* bytes of the block */
    struct ext2_dir_entry *last;
};

/* Stretches the last entry to the end and adds the checksum. */
static int
pack_close(struct pack *pack, struct ctr_error *err)
{
    ext2_filsys fs = pack->image->fs;
    uint32_t start = (uint32_t) ((char *) pack->last - pack->block);
    errcode_t code = ext2fs_set_rec_len(fs, E4_BLOCK - TAIL_BYTES - start, pack->last);
    if (code == 0) {
        ext2fs_initialize_dirent_tail(fs, EXT2_DIRENT_TAIL(pack->block, E4_BLOCK));
        code = ext2fs_dir_block_csum_set(fs, pack->dir->ino,
                                         (struct ext2_dir_entry *) pack->block);
    }
    return code == 0 ? 0 : e4_fail(err, code, "write image: directory");
}

static int
pack_open(struct pack *pack, struct ctr_error *err)
{
    blk64_t physical;
    uint32_t logical = pack->runs.blocks;
    int status = e4_take_block(pack->image, &physical, err);
    if (status == 0) {
        status = e4_buffer_block(pack->image, physical, &pack->block, err);
    }
    if (status == 0) {
        status = e4_runs_add(&pack->runs, logical, physical, err);
    }
    pack->used = 0;
    return status;
}

static int
pack_entry(struct pack *pack, const char *name, size_t length, ext2_ino_t ino, uint8_t type,
           struct ctr_error *err)
{
    uint32_t need = (uint32_t) EXT2_DIR_REC_LEN(length);
    int status = 0;
    if (pack->block == NULL) {
        status = pack_open(pack, err);
    } else if (pack->used + need > E4_BLOCK - TAIL_BYTES) {
        status = pack_close(pack, err);
        status = status == 0 ? pack_open(pack, err) : status;
    }
    if (status != 0) {
        return status;
    }
    struct ext2_dir_entry *entry = (struct ext2_dir_entry *) (pack->block + pack->used);
    entry->inode = ino;
    entry->rec_len = (uint16_t) need;
    ext2fs_dirent_set_name_len(entry, (int) length);
    ext2fs_dirent_set_file_type(entry, type);
    memcpy(entry->name, name, length);
    pack->last = entry;
    pack->used += need;
    return 0;
}

static int
pack_all(struct pack *pack, uint32_t *ret_subdirs, struct ctr_error *err)
{
    struct e4_dir *dir = pack->dir;
    int status = pack_entry(pack, ".", 1, dir->ino, EXT2_FT_DIR, err);
    if (status == 0) {
        status = pack_entry(pack, "..", 2, dir->parent, EXT2_FT_DIR, err);
    }
    for (uint32_t i = 0; status == 0 && i < dir->n; i++) {
        const struct e4_dent *dent = &dir->list[i];
        if ((dent->flags & E4_GONE) != 0) {
            continue;
        }
        *ret_subdirs += dent->type == EXT2_FT_DIR;
        status =
            pack_entry(pack, dir->names + dent->name, dent->length, dent->ino, dent->type, err);
    }
    return status == 0 ? pack_close(pack, err) : status;
}

static int
flush_dir(struct e4_image *image, struct e4_dir *dir, struct ctr_error *err)
{
    struct ext2_inode_large inode;
    struct pack pack = {.image = image, .dir = dir};
    uint32_t subdirs = 0;
    int status = e4_inode_read(image, dir->ino, &inode, err);
    if (status == 0) {
        status = e4_inode_truncate(image, dir->ino, &inode, err);
    }
    if (status == 0) {
        status = pack_all(&pack, &subdirs, err);
    }
    if (status == 0) {
        uint64_t bytes = (uint64_t) pack.runs.blocks * E4_BLOCK;
        inode.i_size = (uint32_t) bytes;
        inode.i_size_high = (uint32_t) (bytes >> 32);
        /* dir_nlink: more than the field holds is said as 1 */
        inode.i_links_count = (uint16_t) (subdirs + 2 > EXT2_LINK_MAX ? 1 : subdirs + 2);
        status = e4_runs_store(image, dir->ino, &inode, &pack.runs, err);
    }
    free(pack.runs.list);
    return status;
}

int
e4_dirs_flush(struct e4_image *image, struct ctr_error *err)
{
    for (uint32_t i = 0; i < image->n_buckets; i++) {
        for (struct e4_dir *dir = image->buckets[i]; dir != NULL; dir = dir->next) {
            if (!dir->dirty) {
                continue;
            }
            int status = flush_dir(image, dir, err);
            if (status != 0) {
                return status;
            }
            dir->dirty = false;
        }
    }
    return 0;
}
