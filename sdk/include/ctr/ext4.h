/*
 * ctr/ext4.h: ext4 images for storage plugins: an empty one, a layer onto one, and copies that cost little. Link with -lctr-ext4.
 * Written by libext2fs; nothing is mounted, no privileges are needed. All calls block and may come from any thread; one image is
 * for one call at a time. What they did is not yet durable: the caller syncs. Since ABI 1.0.
 */
#ifndef CTR_EXT4_H
#define CTR_EXT4_H

#include <ctr/error.h>
#include <stdbool.h>
#include <stdint.h>

/* Makes the new file `path` an empty ext4 filesystem of `bytes` (sparse; a multiple of 4,096, 1 MiB to 16 TiB), without lost+found
 * and without anything left for the guest's kernel to initialize. `journal_bytes`: at most a quarter of it; 0: 16 MiB. */
int
ctr_ext4_blank(const char *path, uint64_t bytes, uint64_t journal_bytes, struct ctr_error *err);

/* What the layers of one image may hold; the same struct is given for each of them. */
struct ctr_ext4_budget {
    uint32_t size; /* sizeof(struct ctr_ext4_budget) */
    uint32_t reserved;
    uint64_t max_bytes;   /* of all layers' files; 0: no limit */
    uint64_t max_entries; /* of one layer; 0: no limit */
    uint64_t bytes; /* that the layers held so far; 0 at first, counted by ctr_ext4_apply */
};

/* Applies one layer, an uncompressed tar stream, to the image at `path`, by the rules of image-spec/layer.md: whiteouts, opaque
 * folders, types that change; owners, modes, times, extended attributes and links are kept. Symbolic links in an entry's path are
 * followed inside the image. Reads tar_fd to its end; it stays the caller's. `budget` may be NULL. After a failure the image is to
 * be thrown away. */
int ctr_ext4_apply(const char *path, int32_t tar_fd, struct ctr_ext4_budget *budget,
                   struct ctr_error *err);

/* Makes the filesystem of a fresh clone larger; a size that it has already is fine. */
int ctr_ext4_grow(const char *path, uint64_t bytes, struct ctr_error *err);

/* How many files the image holds; -EIO if its superblock cannot be read. */
int ctr_ext4_inodes(int32_t fd, uint64_t *ret);

/* Makes the new file `name` in the open folder (AT_FDCWD: `name` is a path) equal to `from`: by reflink (FICLONE, clonefile) where the
 * filesystem can, and *ret_reflink (may be NULL) is true, else by a copy that keeps holes. After a failure there is no new file. */
int ctr_file_clone(int32_t from, int32_t folder, const char *name, bool *ret_reflink,
                   struct ctr_error *err);

/* fsync, or F_FULLFSYNC where that is what makes data durable. 0 or a negative code. */
int ctr_file_sync(int32_t fd);

#endif
