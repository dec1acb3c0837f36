/*
 * core/image, inside: what its files share. See image.h for what callers may rely on.
 *
 * Documents are JSON checked once (manifest.c) and then trusted in form. One operation (a pull, a load, an unpack) is a
 * struct image_op; what it needs in the store is held by its lease, so that a removal at the same time leaves it alone.
 * Locks, outermost first: images->mutex, the mutex of an operation's transfer. Neither is held while bytes move.
 */
#ifndef CTR_IMAGE_PRIV_H
#define CTR_IMAGE_PRIV_H

#include "core/image/image.h"
#include <pthread.h>
#include <stdatomic.h>

#define IMAGE_MAX_LAYERS 512
#define IMAGE_MAX_MANIFESTS 1024
#define IMAGE_MAX_DEPTH 4 /* of indexes within indexes */
#define IMAGE_MAX_BLOB ((int64_t) 1 << 40)
#define IMAGE_EMPTY_CHAIN                                                                      \
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* --- media.c --- */

enum media {
    MEDIA_UNKNOWN,
    MEDIA_INDEX,
    MEDIA_MANIFEST,
    MEDIA_CONFIG,
    MEDIA_TAR,
    MEDIA_TAR_GZIP,
    MEDIA_TAR_ZSTD,
};
#define MEDIA_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define MEDIA_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define MEDIA_OCI_TAR "application/vnd.oci.image.layer.v1.tar"
enum media media_kind(const char *type);
/* A layer that its manifest lets nobody hand on, and that may be fetched from its urls only. */
bool media_is_foreign(const char *type);
/* The OCI layer type that a blob's first bytes show: gzip, zstd, else plain tar. Other compressions are refused by name. */
int layer_media_type(struct ctr_store *store, const char *digest, const char **ret_type,
                     struct ctr_error *err);

/* --- manifest.c: documents, checked --- */

/* Of a document that ctr_manifest_check let pass. */
enum media manifest_kind(const json_t *document);
const char *manifest_media_type(const json_t *document);
/* The descriptor that fits the platform best, borrowed, or NULL. */
const json_t *manifest_choose(const json_t *index, const struct ctr_platform *platform);
/* What an index's entry says of its platform, empty texts where it says nothing. */
void descriptor_platform(const json_t *descriptor, struct ctr_platform *ret);
/* "linux/amd64, linux/arm64/v8" of an index, caller frees. */
char *manifest_platforms(const json_t *index);

/* --- config.c --- */

/* Checks an image config against its manifest; a new reference in *ret. */
int config_check(const char *bytes, size_t length, const json_t *manifest, json_t **ret,
                 struct ctr_error *err);
void config_platform(const json_t *config, struct ctr_platform *ret);
/* ChainIDs of 1, 2, … layers as an array of texts, empty for zero layers; new reference or NULL. */
json_t *config_chains(const json_t *config);
const char *config_diff_id(const json_t *config, size_t i);

/* --- platform.c --- */

/* 0: no match; more is better. `have` is an image's platform, `want` what was asked for. */
int platform_score(const struct ctr_platform *have, const struct ctr_platform *want);
char *platform_text(const struct ctr_platform *platform); /* caller frees */

/* --- op.c: operations and leases; images.c: records --- */

struct image_lease {
    struct image_lease *next;
    json_t *names; /* digests and chain IDs that must stay */
    bool all;      /* nothing may go */
};

/* One at a time makes, looks for or removes a thing that others may want too: a layer or a chain in a storage instance, or a blob's diff_id. */
struct image_claim {
    struct image_claim *next;
    char name[256];
};

struct ctr_images {
    struct ctr_store *store;
    const struct ctr_conf *conf;
    struct ctr_client client;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct image_lease *leases;
    struct image_claim *claims;
    json_t *leased;   /* {name: true} of leases since a collection began, NULL: none runs */
    json_t *verified; /* "instance/chain" seen in its storage since the start */
    bool index_stale; /* a record was written whose index.json was not yet */
};

struct image_op {
    struct ctr_images *images;
    struct ctr_transfer transfer; /* its progress, and how it is cancelled */
    struct image_lease *lease;
    atomic_bool disk_full;
};

int op_init(struct image_op *op, struct ctr_images *images, const struct ctr_progress *progress,
            struct ctr_error *err);
void op_finish(struct image_op *op);
/* Notes that the disk is full, if it is; and tells whether any thread has noted it. */
bool op_disk_full(struct image_op *op, bool is_full);

/* Keeps a digest or chain ID from being collected; asked before one looks whether it is there. */
int lease_add(struct image_op *op, const char *name, struct ctr_error *err);
void lease_all(struct image_op *op);
/* A chain or layer in a storage: also waits until a removal of it that is under way is over. */
int lease_stored(struct image_op *op, const char *name, struct ctr_error *err);
#define LEASE_REMOVAL "removal" /* the claim of who removes such a thing */
#define LEASE_ALL "*"

/* claim.c: waits until nobody else has "scope/name"; -ECANCELED where op (may be NULL) was cancelled. */
int claim_take(struct ctr_images *images, struct image_op *op, struct image_claim *claim,
               const char *scope, const char *name, struct ctr_error *err);
void claim_give(struct ctr_images *images, struct image_claim *claim);

/* Records that `key` (a full reference or a bare digest) names the document; an image that loses its last name so keeps
 * its digest as one. Everything it needs must be durable already. */
int image_record(struct ctr_images *images, const char *key, const char *digest,
                 const char *media_type, uint64_t size, struct ctr_error *err);
/* A document of the store, checked; new reference or NULL. ret_size may be NULL. */
json_t *image_document(struct ctr_images *images, const char *digest, uint64_t *ret_size,
                       struct ctr_error *err);
json_t *image_config(struct ctr_images *images, const json_t *manifest, struct ctr_error *err);
/* Calls each(arg, digest, manifest) for every platform's manifest below `digest` that is in the store. */
int image_manifests(struct ctr_images *images, const char *digest,
                    int (*each)(void *arg, const char *digest, const json_t *manifest),
                    void *arg, struct ctr_error *err);
int image_platform(struct ctr_images *images, const char *text, struct ctr_platform *ret,
                   struct ctr_error *err);
/* Remembers and tells a layer blob's diff_id; ret[72]. -ENOENT: not known. */
int layer_remember(struct ctr_images *images, const char *digest, const char *diff_id,
                   struct ctr_error *err);
int layer_diff_id(struct ctr_images *images, const char *digest, char *ret);

/* --- push-blob.c, sources.c, referrers.c: beyond image.h --- */

/* Sees to it that the repository has the blob, which is whole in the store: its steps go to the operation's progress. */
int push_blob(struct image_op *op, struct ctr_remote *remote, const char *digest, uint64_t size,
              struct ctr_error *err);
/* Remembers that the repository has the manifest's layers. */
void sources_note(struct ctr_images *images, const json_t *manifest, const struct ctr_ref *ref);
/* Another repository of the same registry that has the blob, by its name; false: none is known. */
bool sources_find(struct ctr_images *images, const char *digest, const struct ctr_ref *ref,
                  char ret[256]);
/* Asks the registry what refers to a manifest, and records the answer. Never fails: it is not what was pulled. */
void referrers_record(struct ctr_images *images, struct ctr_remote *remote, const char *digest);

/* --- resolve.c --- */

/* What a text names. */
struct image_found {
    char *key;         /* of the record, if the text is a reference; else NULL */
    char top[72];      /* digest of the record's document */
    char manifest[72]; /* of the one platform that was named by ID or digest, else "" */
    char id[72];       /* the ID of that one, else "" */
};
int image_find(struct ctr_images *images, const char *text, struct image_found *ret,
               struct ctr_error *err);

/* --- gc.c --- */

/* Removes blobs that neither a record nor a lease needs, older than `age` seconds, and in these storages the snapshots. */
int image_collect(struct ctr_images *images, int64_t age, struct ctr_storage *const *storages,
                  size_t n_storages, struct ctr_error *err);

/* --- snapshot.c --- */

/* Key of a chain's record, caller frees; and forgets that it was seen. */
char *snapshot_key(const char *instance, const char *chain_id);
void snapshot_forget(struct ctr_images *images, const char *key);

/* --- layer.c: decompression --- */

/* Reads the layer blob to its end, hands decompressed pieces to sink, and checks blob digest and diff_id ("" to learn it
 * in ret_diff_id[72]) over all bytes. */
struct layer_source {
    const char *digest, *media_type;
    uint64_t size;
    uint64_t max; /* decompressed bytes, 0: no limit */
    _Atomic uint64_t *
        made; /* those of all layers of its image so far, which `max` is for; NULL: it stands alone */
    const char *diff_id;
};
int layer_read(struct image_op *op, const struct layer_source *source,
               int (*sink)(void *arg, const void *bytes, size_t length, struct ctr_error *err),
               void *arg, const char *status, char *ret_diff_id, struct ctr_error *err);

/* --- storage.c, beyond image.h --- */

uint32_t storage_caps(const struct ctr_storage *storage);
int storage_prepare(struct ctr_storage *storage, const char *key, const char *parent,
                    uint64_t max_bytes, struct ctr_error *err);
int storage_apply(struct ctr_storage *storage, const char *key, int fd, struct ctr_error *err);
int storage_commit(struct ctr_storage *storage, const char *key, const char *chain_id,
                   struct ctr_error *err);
/* Calls each for all keys, chains and layers; 0 and nothing where the plugin cannot list. */
int storage_each(struct ctr_storage *storage,
                 void (*each)(void *arg, const char *name, int32_t state), void *arg,
                 struct ctr_error *err);
/* Layers by themselves. storage_layer_apply runs on several threads at once. */
bool storage_has_layers(const struct ctr_storage *storage);
int storage_layer_apply(struct ctr_storage *storage, const char *key, int fd,
                        uint64_t max_bytes, struct ctr_error *err);
int storage_layer_commit(struct ctr_storage *storage, const char *key, const char *diff_id,
                         struct ctr_error *err);
int storage_layer_remove(struct ctr_storage *storage, const char *name, struct ctr_error *err);
int storage_chain(struct ctr_storage *storage, const char *chain_id,
                  const char *const *diff_ids, size_t n, struct ctr_error *err);

#endif
