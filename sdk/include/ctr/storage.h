/*
 * ctr/storage.h: the storage plugin kind, in the snapshotter model: layers in, disks out.
 *
 * Life cycle of an image's snapshot, all on one worker thread at a time:
 *
 *     prepare(key, parent) -> apply(key, layer)... -> commit(key, chain_id)      or remove(key) at any point
 *     clone(key, chain_id, bytes) -> disks(key) -> ... -> remove(key)            for a container
 *
 * A plugin that keeps each layer by itself, shared by all images that have it, gives the four layer slots (since 1.1). The core then uses
 * them in place of prepare, apply and commit:
 *
 *     layer_apply(key, layer) -> layer_commit(key, diff_id)   or layer_remove(key);   several keys at once
 *     chain(chain_id, diff_ids)                               when all its layers are committed
 *
 * Layers reach such a plugin in any order, without their parents: what a layer means to those below it (whiteouts, links into them, folders that it
 * only passes through) is settled in chain().
 *
 * `key` is chosen by the core: [A-Za-z0-9._-]{1,128}. `chain_id` is "sha256:<64 hex digits>", the OCI image spec's ChainID
 * (image-spec/config.md, "Layer ChainID"). What commit and clone report as done must survive power loss at any
 * later instant. What was neither committed nor cloned may be swept by open(). Content is hostile: nothing of it is
 * mounted, run or followed on the host.
 */
#ifndef CTR_STORAGE_H
#define CTR_STORAGE_H

#include <ctr/disk.h>
#include <ctr/plugin.h>

enum ctr_storage_caps {
    CTR_STORAGE_FAST_CLONE =
        2, /* clone() does not depend on the image's size on this data root */
};

/* What list() tells of a name. */
enum ctr_storage_state {
    CTR_STORAGE_WORKING = 0, /* a key: a snapshot in the making, or a container's */
    CTR_STORAGE_CHAIN = 1,   /* a committed chain_id */
    CTR_STORAGE_LAYER = 2,   /* a committed layer, by its diff_id; since 1.1 */
};

struct ctr_storage_limits {
    uint32_t size;
    uint32_t reserved;
    uint64_t max_bytes;   /* file bytes that all layers of a key may hold; 0: no limit */
    uint64_t max_entries; /* entries in one layer; 0: no limit */
};

struct ctr_storage_usage {
    uint32_t size;
    uint32_t reserved;
    uint64_t bytes;  /* bytes on disk */
    uint64_t inodes; /* files that the snapshot holds, 0 where unknown */
};

struct ctr_storage_ops {
    uint32_t size; /* sizeof(struct ctr_storage_ops) */
    uint32_t reserved;

    /* Opens an instance; sweeps what an interrupted run left half-made. Required. May block. On failure nothing is left. */
    int (*open)(const struct ctr_host *host, void **ret_self, struct ctr_error *err);
    /* Required. Takes NULL. */
    void (*close)(void *self);
    /* Bits of enum ctr_storage_caps. NULL: 0. Asked once, after open. */
    uint32_t (*capabilities)(void *self);

    /* Begins a snapshot on top of `parent` (a committed chain_id) or, with NULL, from nothing. -EEXIST if the key exists,
     * -ENOENT if the parent does not. Required, as apply and commit are, unless the layer slots are given. */
    int (*prepare)(void *self, const char *key, const char *parent,
                   const struct ctr_storage_limits *limits, struct ctr_error *err);
    /* Applies one layer: an uncompressed tar stream (image-spec/layer.md) read from tar_fd until its end. The fd stays the
     * caller's; the plugin must read it to the end of the stream (the core checks the diff_id over all bytes, also those
     * after the end-of-archive mark). After a failure only remove(key) may follow. */
    int (*apply)(void *self, const char *key, int32_t tar_fd, struct ctr_error *err);
    /* Makes the snapshot durable under chain_id; the key is gone. If chain_id exists already, the key is dropped and 0 is
     * returned. */
    int (*commit)(void *self, const char *key, const char *chain_id, struct ctr_error *err);

    /* Makes a container's writable disk from a committed snapshot; `bytes` 0: the plugin's own default size. Required. */
    int (*clone)(void *self, const char *key, const char *chain_id, uint64_t bytes,
                 struct ctr_error *err);
    /* Calls each(arg, disk) for every disk of a cloned key, in the order the guest shall see them; the disk is valid only
     * during that call. Required. */
    int (*disks)(void *self, const char *key,
                 void (*each)(void *arg, const struct ctr_disk *disk), void *arg,
                 struct ctr_error *err);

    /* Removes a key or a committed chain_id; a missing one is no error. -EBUSY if others build on it. Required. */
    int (*remove)(void *self, const char *name, struct ctr_error *err);
    /* -ENOENT if there is no such key or chain_id. Required. */
    int (*usage)(void *self, const char *name, struct ctr_storage_usage *ret,
                 struct ctr_error *err);
    /* Calls each(arg, name, state) for all keys, chains and layers. NULL: the core cannot sweep orphans. */
    int (*list)(void *self, void (*each)(void *arg, const char *name, int32_t state), void *arg,
                struct ctr_error *err);

    /* Layers by themselves: all four slots or none. Since 1.1. NULL: the core applies all layers of an image to one key. Who gives
     * them leaves prepare, apply and commit NULL: the core does not call them. */

    /* Reads one layer, an uncompressed tar stream, from tar_fd to its end (as for apply) into `key`, which is new; -EEXIST if it is
     * there. Nothing of it counts before layer_commit. A worker thread; may block; the one slot that is called on several threads at
     * once, with different keys, and while other slots run. After a failure only layer_remove(key) follows. */
    int (*layer_apply)(void *self, const char *key, int32_t tar_fd,
                       const struct ctr_storage_limits *limits, struct ctr_error *err);
    /* The core has checked that the key's bytes hash to diff_id ("sha256:<64 hex digits>"): makes the layer durable under it; the key is
     * gone. If diff_id is there already, the key is dropped and 0 is returned. */
    int (*layer_commit)(void *self, const char *key, const char *diff_id,
                        struct ctr_error *err);
    /* Removes a layer's key or a committed layer by its diff_id; a missing one is no error. -EBUSY while a chain has it. */
    int (*layer_remove)(void *self, const char *name, struct ctr_error *err);
    /* Makes a committed snapshot chain_id of n committed layers, lowest first (n 0: an empty root). -ENOENT, naming it, if a layer is
     * missing; 0 if the chain is there already. Durable. Its time may depend on the number of files, never on their bytes. */
    int (*chain)(void *self, const char *chain_id, const char *const *diff_ids, uint32_t n,
                 struct ctr_error *err);
};

#endif
