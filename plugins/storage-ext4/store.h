/*
 * storage-ext4's folders, and who may be in them. The filesystem itself is written by the SDK (<ctr/ext4.h>).
 */
#ifndef STORAGE_EXT4_STORE_H
#define STORAGE_EXT4_STORE_H

#include <ctr/ext4.h>
#include <ctr/storage.h>

#define E4_BLOCK 4096

enum e4_place {
    E4_IMAGES, /* committed snapshots */
    E4_DISKS,  /* containers' disks */
    E4_WORK,   /* what is half-made: emptied at every start */
    E4_PLACES,
};

struct e4_job {
    struct e4_job *next;
    struct ctr_ext4_budget budget;
    bool failed; /* only remove may follow */
    char key[130];
};

struct e4_store {
    const struct ctr_host *host;
    char *root;
    int lock;
    int folders[E4_PLACES];
    uint64_t size, journal;
    bool fast_clone;
    struct e4_job *jobs; /* keys between prepare and commit */
};

#define E4_NAME_MAX 160

int e4_store_open(const struct ctr_host *host, struct e4_store **ret, struct ctr_error *err);
void e4_store_close(struct e4_store *store); /* takes NULL */
/* The file's name of a key or chain ID in its folder; -EINVAL if it is neither. */
int e4_store_name(const char *name, char ret[E4_NAME_MAX], bool *ret_is_chain,
                  struct ctr_error *err);
/* Whether the place has the file: 1, 0, or a negative code. */
int e4_store_has(struct e4_store *store, enum e4_place place, const char *name,
                 struct ctr_error *err);
/* Absolute path; the caller frees. */
char *e4_store_path(struct e4_store *store, enum e4_place place, const char *name);
/* Removes the file durably; a missing one is no error. */
int e4_store_unlink(struct e4_store *store, enum e4_place place, const char *name,
                    struct ctr_error *err);
/* Moves a finished file of the work folder to its place, durably. After a failure it is in neither or in the work folder. */
int e4_store_publish(struct e4_store *store, const char *from, enum e4_place place,
                     const char *to, struct ctr_error *err);
/* Files that a snapshot holds, 0 if that cannot be read. */
uint64_t e4_store_inodes(struct e4_store *store, const char *image);
/* Copies a snapshot into the work folder. */
int
e4_store_copy(struct e4_store *store, const char *image, const char *to, struct ctr_error *err);
/* Calls each(arg, file name) for the place's files. */
int e4_store_each(struct e4_store *store, enum e4_place place,
                  void (*each)(void *arg, const char *name), void *arg, struct ctr_error *err);

#endif
