/*
 * ctr/ext4.h: ext4 images for storage plugins: an empty one, a layer onto one, and copies that cost little. Link with -lctr-ext4.
 * Written by libext2fs; nothing is mounted, no privileges are needed. All calls block and may come from any thread; one image is
 * for one call at a time. What they did is not yet durable: the caller syncs.
 */
#ifndef CTR_EXT4_H
#define CTR_EXT4_H

#include <ctr/error.h>
#include <ctr/layer.h>
#include <stdint.h>

/* Makes the new file `path` an empty ext4 filesystem of `bytes` (sparse; 64 MiB at least, a multiple of 4,096), without
 * lost+found and without anything left for the guest's kernel to initialize. */
int ctr_ext4_blank(const char *path, uint64_t bytes, struct ctr_error *err);

/* Applies one layer, an uncompressed tar stream, to the image at `path`, by the rules of image-spec/layer.md: whiteouts, opaque
 * folders, types that change; owners, modes, times, extended attributes and links are kept. Symbolic links in an entry's path are
 * followed inside the image. Reads tar_fd to its end; it stays the caller's. `limits` may be NULL. After a failure the image is to
 * be thrown away. */
int ctr_ext4_apply(const char *path, int32_t tar_fd, const struct ctr_layer_limits *limits,
                   struct ctr_error *err);

/* Makes the new file `to` equal to `from`: by reflink (FICLONE, clonefile) where the filesystem can, else by a copy that keeps
 * holes. -EEXIST if `to` exists; after another failure there is no `to`. */
int ctr_file_clone(int32_t from, const char *to, struct ctr_error *err);

#endif
