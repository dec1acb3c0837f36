/*
 * storage-erofs, inside: one instance, its folders, and what its files share. See ctr-storage-erofs(7) for what lies where.
 *
 * Nothing but the folder's name, a size and a lock is kept in memory, so slots may run side by side.
 */
#ifndef EROFS_STORE_H
#define EROFS_STORE_H

#include <ctr/storage.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_PREFIX "k-"
#define DIGEST_LENGTH 71 /* "sha256:" and 64 digits */

struct storage {
    char dir[3072];
    uint64_t bytes; /* of a container's disk */
    pthread_mutex_t
        one_tree; /* trees (tree.h) are made one after the other, so that memory holds one at most */
};

/* --- names.c --- */

int check_key(const char *key, struct ctr_error *err);
bool is_digest(const char *name);
/* DIR/FOLDER/NAME */
void path_of(const struct storage *self, char ret[4096], const char *folder, const char *name);
/* The file of a chain ID or diff ID in chains/ or layers/. */
void
digest_path(const struct storage *self, char ret[4096], const char *folder, const char *digest);
/* Keys get a prefix, so that one that begins with a dot is a file like others. */
void key_path(const struct storage *self, char ret[4096], const char *folder, const char *key,
              const char *file);
int check_new_key(const struct storage *self, const char *key, struct ctr_error *err);
int fail_errno(struct ctr_error *err, const char *what, const char *path);
/* Writes all bytes at an offset; 0 or a negative code. */
int write_at(int fd, const void *bytes, size_t length, uint64_t offset);
/* Makes names in a folder durable. */
int sync_folder(const struct storage *self, const char *folder, struct ctr_error *err);
/* Gives a synced file its final path in a folder, durably; after a failure that path is not there. */
int publish(const struct storage *self, const char *from, const char *folder, const char *to,
            struct ctr_error *err);
/* Calls each(self, name, arg) for a folder's entries. */
void
each_name(const struct storage *self, const char *folder,
          void (*each)(const struct storage *self, const char *name, void *arg), void *arg);

/* --- layer.c: the layer slots but chain --- */

int layer_apply(void *self, const char *key, int32_t tar_fd,
                const struct ctr_storage_limits *limits, struct ctr_error *err);
int layer_commit(void *self, const char *key, const char *diff_id, struct ctr_error *err);
int layer_remove(void *self, const char *name, struct ctr_error *err);

/* --- container.c --- */

int container_clone(void *self, const char *key, const char *chain_id, uint64_t bytes,
                    struct ctr_error *err);
int container_disks(void *self, const char *key,
                    void (*each)(void *arg, const struct ctr_disk *disk), void *arg,
                    struct ctr_error *err);
/* The chain ID that a key's disk stands on; a clone without one is half-made. */
int container_chain(const struct storage *self, const char *key, char ret[72]);
void container_remove(const struct storage *self, const char *key);

#endif
