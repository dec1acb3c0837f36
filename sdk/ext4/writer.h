/*
 * The ext4 writer: what its files share. The public face is <ctr/ext4.h>. From the ground up:
 *
 *     io       libext2fs's I/O channel: a write-back block cache over one fd, with errors that stick
 *     format   the empty filesystem
 *     image    an open filesystem, and errors in our words
 *     space    blocks and inodes in ascending runs; the buffer that makes one big write of many small files
 *     file     a file's content, block by block, into extents
 *     inode    owners, modes, times; freeing
 *     xattr    extended attributes
 *     dir      directories as hash tables in memory, packed into blocks once, at the end
 *     tree     paths: resolving inside the image, making, removing
 *     apply    a layer's entries onto the tree
 *     grow     a larger filesystem in place
 *     clone    copies of image files
 *
 * All functions return 0 or a negative errno value with err set, unless they say otherwise.
 */
#ifndef CTR_EXT4_WRITER_H
#define CTR_EXT4_WRITER_H

#include <ctr/ext4.h>
#include <ctr/layer.h>
#include <ext2fs/ext2fs.h>

#define E4_BLOCK 4096
#define E4_INODE_BYTES 256
#define E4_MAX_SIZE (16ULL << 40) /* 32-bit block numbers are enough for all we promise */

/* --- io --- */

extern struct struct_io_manager e4_io_manager;
int e4_io_fd(io_channel channel);
/* Forgets cached blocks, unwritten: the caller has just written them through the fd. */
void e4_io_forget(io_channel channel, blk64_t first, uint32_t n);
/* Whole pread and pwrite: 0 or a positive errno value; behind the end there are zeros. */
errcode_t e4_pread_all(int fd, void *bytes, size_t length, uint64_t offset);
errcode_t e4_pwrite_all(int fd, const void *bytes, size_t length, uint64_t offset);

/* --- image --- */

struct e4_run {
    uint32_t logical; /* first block within the file */
    uint32_t n;
    blk64_t physical;
};

struct e4_runs {
    struct e4_run *list;
    uint32_t n, capacity;
    uint32_t blocks; /* sum of all n */
};

/* The file that is being written. */
struct e4_file {
    ext2_ino_t ino; /* 0: none */
    struct ext2_inode_large inode;
    struct e4_runs runs;
    char *block;      /* where the current block lies in the buffer, or NULL */
    uint32_t logical; /* its number */
};

struct e4_dir;

struct e4_image {
    ext2_filsys fs;
    int fd;
    /* space */
    blk64_t cursor, run, run_end; /* blocks [run, run_end) are marked but not used yet */
    ext2_ino_t ino_cursor;
    char *buffer; /* blocks [buffer_first, buffer_first + buffer_n), not yet written */
    blk64_t buffer_first;
    uint32_t buffer_n;
    bool freed; /* blocks were freed: the image file has stale data to give back */
    struct e4_file file;
    /* directories in memory, by inode */
    struct e4_dir **buckets;
    uint32_t n_buckets, n_dirs;
    char rest[8192]; /* what is still to be walked of a path */
};

/* Makes an error of a libext2fs or errno code. */
int e4_fail(struct ctr_error *err, errcode_t code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int e4_image_open(const char *path, struct e4_image **ret, struct ctr_error *err);
/* Writes everything out. On failure the file is unusable; destroy follows in any case. */
int e4_image_flush(struct e4_image *image, struct ctr_error *err);
void e4_image_destroy(struct e4_image *image); /* takes NULL; writes nothing more */

/* --- space --- */

int e4_take_block(struct e4_image *image, blk64_t *ret, struct ctr_error *err);
int e4_take_inode(struct e4_image *image, bool is_dir, ext2_ino_t *ret, struct ctr_error *err);
/* Room for the block's bytes, zeroed, valid until the next call of it or of flush. */
int e4_buffer_block(struct e4_image *image, blk64_t block, char **ret, struct ctr_error *err);
int e4_buffer_flush(struct e4_image *image, struct ctr_error *err);
/* Gives the rest of the marked run back. */
void e4_space_settle(struct e4_image *image);
/* Punches holes into the image file where blocks are free. Best effort. */
void e4_space_trim(struct e4_image *image);

/* --- file --- */

/* Appends one block to the runs; logical numbers ascend. */
int
e4_runs_add(struct e4_runs *runs, uint32_t logical, blk64_t physical, struct ctr_error *err);
/* Writes the inode with these runs as its extents. */
int e4_runs_store(struct e4_image *image, ext2_ino_t ino, struct ext2_inode_large *inode,
                  const struct e4_runs *runs, struct ctr_error *err);
int e4_file_begin(struct e4_image *image, ext2_ino_t ino, const struct ext2_inode_large *inode,
                  struct ctr_error *err);
int e4_file_write(struct e4_image *image, const void *bytes, size_t length, uint64_t offset,
                  struct ctr_error *err);
int e4_file_end(struct e4_image *image, struct ctr_error *err);

/* --- inode --- */

int e4_inode_read(struct e4_image *image, ext2_ino_t ino, struct ext2_inode_large *ret,
                  struct ctr_error *err);
/* Writes all bytes of the inode: one that holds extended attributes loses those inside it. */
int e4_inode_create(struct e4_image *image, ext2_ino_t ino, struct ext2_inode_large *inode,
                    struct ctr_error *err);
/* Writes the fields only. */
int e4_inode_update(struct e4_image *image, ext2_ino_t ino, struct ext2_inode_large *inode,
                    struct ctr_error *err);
/* Owner, mode and times of the entry; `format` is LINUX_S_IF…. */
void e4_inode_fill(struct ext2_inode_large *inode, const struct ctr_layer_entry *entry,
                   uint32_t format);
/* Takes one link away; at the last one, frees blocks and inode. */
int e4_inode_drop(struct e4_image *image, ext2_ino_t ino, struct ctr_error *err);
int e4_inode_free(struct e4_image *image, ext2_ino_t ino, bool is_dir, struct ctr_error *err);
/* Frees the content's blocks; the inode is the caller's to write. */
int e4_inode_truncate(struct e4_image *image, ext2_ino_t ino, struct ext2_inode_large *inode,
                      struct ctr_error *err);

/* --- xattr --- */

/* The entry's attributes replace all that the inode has. */
int e4_xattrs_replace(struct e4_image *image, ext2_ino_t ino,
                      const struct ctr_layer_entry *entry, bool is_new, struct ctr_error *err);

/* --- dir --- */

enum e4_dent_flags {
    E4_KEEP = 1, /* of this layer, or above something of this layer: whiteouts spare it */
    E4_GONE = 2, /* removed; its place in the hash stays */
};

struct e4_dent {
    uint32_t ino;
    uint32_t name; /* offset in the directory's names */
    uint32_t hash;
    uint8_t length;
    uint8_t type; /* EXT2_FT_… */
    uint8_t flags;
    uint8_t reserved;
};

struct e4_dir {
    struct e4_dir *next; /* in its bucket */
    ext2_ino_t ino, parent;
    bool dirty;
    uint32_t n, capacity; /* entries, gone ones included; without "." and ".." */
    uint32_t n_slots;     /* a power of two */
    uint32_t names_length, names_capacity;
    struct e4_dent *list;
    uint32_t *slots; /* index in list + 1, 0: free */
    char *names;
};

/* The directory, from memory or disk. It lives until it is dropped. */
int
e4_dir_get(struct e4_image *image, ext2_ino_t ino, struct e4_dir **ret, struct ctr_error *err);
/* A new, empty one. */
int e4_dir_create(struct e4_image *image, ext2_ino_t ino, ext2_ino_t parent,
                  struct e4_dir **ret, struct ctr_error *err);
void e4_dir_drop(struct e4_image *image, ext2_ino_t ino);
void e4_dirs_destroy(struct e4_image *image);
int e4_dirs_flush(struct e4_image *image, struct ctr_error *err);
/* NULL if there is none. Valid until the next add. */
struct e4_dent *e4_dir_find(const struct e4_dir *dir, const char *name, size_t length);
/* The name must not exist. */
int e4_dir_add(struct e4_dir *dir, const char *name, size_t length, ext2_ino_t ino,
               uint8_t type, uint8_t flags, struct ctr_error *err);
void e4_dir_forget(struct e4_dir *dir, struct e4_dent *dent);

/* --- dirhash: hash tables of names --- */

uint32_t e4_hash_name(const char *name, size_t length);
int e4_dir_reserve(struct e4_dir *dir, size_t name_length, struct ctr_error *err);
/* The slot of the name, or the free one where it belongs. */
uint32_t e4_dir_slot(const struct e4_dir *dir, const char *name, size_t length, uint32_t hash);

/* --- tree --- */

/* Walks a path of the image from its root, symbolic links resolved inside. `made_by`: makes missing directories, with that
 * entry's time, and marks all as kept; NULL: -ENOENT (err untouched). -ENOTDIR, -ELOOP with err set. */
int e4_walk(struct e4_image *image, const char *path, const struct ctr_layer_entry *made_by,
            struct e4_dir **ret, struct ctr_error *err);
/* Splits off the last component and walks the rest. */
int
e4_walk_parent(struct e4_image *image, const char *path, const struct ctr_layer_entry *made_by,
               struct e4_dir **ret, const char **ret_name, struct ctr_error *err);
int e4_mkdir(struct e4_image *image, struct e4_dir *parent, const char *name, size_t length,
             const struct ctr_layer_entry *entry, struct ctr_error *err);
/* Removes the entry with everything below it. */
int e4_remove(struct e4_image *image, struct e4_dir *dir, struct e4_dent *dent,
              struct ctr_error *err);
/* Removes what lower layers have in the directory. */
int e4_remove_lower(struct e4_image *image, struct e4_dir *dir, struct ctr_error *err);

#endif
