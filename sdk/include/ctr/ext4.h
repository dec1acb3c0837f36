/*
 * ctr/ext4.h: what storage plugins share about disk files: an empty ext4 image, and copies that cost little. Link with -lctr-ext4.
 */
#ifndef CTR_EXT4_H
#define CTR_EXT4_H

#include <ctr/error.h>
#include <stdint.h>

/* Formats the existing, empty file as an ext4 filesystem of `bytes` (sparse; 64 MiB at least, a multiple of 4,096), without
 * lost+found and without anything left for the guest's kernel to initialize. Not yet durable. Blocks. Any thread. */
int ctr_ext4_blank(const char *path, uint64_t bytes, struct ctr_error *err);

/* Makes the empty file `to` equal to `from`: by reflink (FICLONE, clonefile) where the filesystem can, else by a copy that keeps
 * holes. Not yet durable. Blocks. Any thread. */
int ctr_file_clone(int32_t from, int32_t to, struct ctr_error *err);

#endif
