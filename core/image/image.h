/*
 * core/image: references, manifests, pulling (OCI distribution over libcurl), loading archives, and unpacking into a storage plugin.
 *
 * Calls block (they run on an API connection's thread) and may be cancelled. Everything from outside is hostile: sizes, digests, media types
 * and diff_ids are checked over all bytes before anything is recorded.
 */
#ifndef CTR_IMAGE_H
#define CTR_IMAGE_H

#include "core/plugin/plugin.h"
#include "core/store/store.h"

/* A parsed reference: docker.io/library/busybox:latest. All fields NUL-terminated. */
struct ctr_ref {
    char host[256];       /* host[:port] */
    char repository[256]; /* "library/busybox" */
    char tag[129];        /* "" if only a digest was given */
    char digest[72];      /* "" if none */
};
/* Grammar of distribution's reference, Docker Hub short names included; -EINVAL says what is wrong. */
int ctr_ref_parse(const char *text, struct ctr_ref *ret, struct ctr_error *err);
/* "docker.io/library/busybox:latest" (the store's key) or the short form that docker shows, "busybox:latest"; caller frees. */
char *ctr_ref_full(const struct ctr_ref *ref);
char *ctr_ref_short(const struct ctr_ref *ref);

struct ctr_platform {
    char os[16], arch[16], variant[16];
};
/* "linux/amd64", "linux/arm64/v8", "arm64"; "" is the host's. */
int ctr_platform_parse(const char *text, struct ctr_platform *ret, struct ctr_error *err);

/* A storage instance as the core uses it: a total table over the partial public one. Calls block, one at a time inside. */
struct ctr_storage;
int ctr_storage_open(const struct ctr_conf *conf, const struct ctr_conf_instance *instance,
                     const char *data, struct ctr_storage **ret, struct ctr_error *err);
void ctr_storage_close(struct ctr_storage *storage);               /* takes NULL */
const char *ctr_storage_name(const struct ctr_storage *storage);   /* the instance's */
const char *ctr_storage_plugin(const struct ctr_storage *storage); /* the plugin's */
int ctr_storage_clone(struct ctr_storage *storage, const char *key, const char *chain_id,
                      uint64_t bytes, struct ctr_error *err);
/* JSON array of disks {path, format, read_only, discard, role, fstype, options, bytes}; new reference or NULL. */
json_t *ctr_storage_disks(struct ctr_storage *storage, const char *key, struct ctr_error *err);
int ctr_storage_remove(struct ctr_storage *storage, const char *name, struct ctr_error *err);
int ctr_storage_usage(struct ctr_storage *storage, const char *name, uint64_t *ret_bytes,
                      struct ctr_error *err);

/* The profile's registry chain. */
struct ctr_chain;
int ctr_chain_open(const struct ctr_conf *conf, struct ctr_chain **ret, struct ctr_error *err);
void ctr_chain_close(struct ctr_chain *chain); /* takes NULL */

/* Progress and cancelling of one operation. Callbacks may come from several threads, one at a time. */
struct ctr_progress {
    /* A step of `id` (12 digits of a digest, or ""): "Pulling fs layer", "Downloading", "Extracting", "Already exists", "Pull complete" …;
     * total 0: unknown. */
    void (*step)(void *arg, const char *id, const char *status, uint64_t current,
                 uint64_t total);
    bool (*cancelled)(void *arg); /* true: give up within a second with -ECANCELED */
    void *arg;
};

struct ctr_images; /* the image side of an engine */
int ctr_images_create(struct ctr_store *store, const struct ctr_conf *conf,
                      struct ctr_chain *chain, struct ctr_images **ret, struct ctr_error *err);
void ctr_images_destroy(struct ctr_images *images); /* takes NULL */

/* Fetches manifest, config and layers of one platform ("" or NULL: the profile's or this machine's) and records the reference. An image that is up to date costs one request.
 * ret_digest[72] (may be NULL) is the digest that the reference names at the registry. */
int
ctr_image_pull(struct ctr_images *images, const char *reference, const char *platform,
               const struct ctr_progress *progress, char *ret_digest, struct ctr_error *err);
/* Loads an OCI layout folder, or an OCI or docker archive (tar, also gzip or zstd) read from fd to its end, and records the names
 * in it. A folder's path may carry ":tag" to choose; a bare tag in it belongs to the folder's name ("/x/busybox" and "1.36":
 * busybox:1.36). Calls loaded(arg, reference) for each, with the digest where there is no name. What a failed load brought in is removed. */
int ctr_image_load_fd(struct ctr_images *images, int fd, const struct ctr_progress *progress,
                      void (*loaded)(void *arg, const char *reference), void *arg,
                      struct ctr_error *err);
int ctr_image_load_dir(struct ctr_images *images, const char *path,
                       const struct ctr_progress *progress,
                       void (*loaded)(void *arg, const char *reference), void *arg,
                       struct ctr_error *err);

/* An image in the store, resolved for one platform. */
struct ctr_image {
    char id[72];       /* config digest, docker's image ID */
    char digest[72];   /* manifest or index digest that the reference names */
    char manifest[72]; /* of the chosen platform */
    char chain_id
        [72]; /* of all its layers; of zero layers the digest of nothing, sha256:e3b0c442… */
    struct ctr_platform platform;
    uint64_t size;      /* compressed bytes of its layers and config */
    json_t *config;     /* the whole image config document */
    json_t *layers;     /* [{digest, size, mediaType}] */
    json_t *references; /* ["busybox:latest", …] */
};
/* By reference (any form), digest, ID or unique ID prefix (6 digits at least). platform "": the profile's or this machine's; NULL: that
 * one if it is there, else any. An ID or a manifest's digest is of one platform and needs none. -ENOENT names the image; a wrong platform says
 * which ones there are. Free with ctr_image_finish. */
int ctr_image_resolve(struct ctr_images *images, const char *text, const char *platform,
                      struct ctr_image *ret, struct ctr_error *err);
void ctr_image_finish(struct ctr_image *image);
/* Calls each(arg, image) for every image, once for each ID; a non-zero result ends it. Damaged ones are logged and left out. */
int
ctr_image_each(struct ctr_images *images, int (*each)(void *arg, const struct ctr_image *image),
               void *arg, struct ctr_error *err);
int ctr_image_tag(struct ctr_images *images, const char *from, const char *to,
                  struct ctr_error *err);
/* Removes a reference; an ID removes all of its names, which needs force where there are several. With the last name go also blobs and
 * snapshots that nothing else needs: what runs at the same time holds what it needs, what a container's disk builds on stays for a later time.
 * in_use(arg, image_id) (may be NULL) tells whether a container needs it: then -EBUSY unless force. Calls removed(arg, "Untagged" | "Deleted",
 * what). */
int ctr_image_remove(struct ctr_images *images, const char *text, bool force,
                     struct ctr_storage *const *storages, size_t n_storages,
                     bool (*in_use)(void *arg, const char *image_id),
                     void (*removed)(void *arg, const char *action, const char *what),
                     void *arg, struct ctr_error *err);
/* Removes what no image needs: what an interrupted pull left, and snapshots that were busy when their image went. */
int ctr_images_collect(struct ctr_images *images, struct ctr_storage *const *storages,
                       size_t n_storages, struct ctr_error *err);
/* Makes sure that the image's chain is committed in this storage instance: decompresses, checks every diff_id, applies. Idempotent and cheap
 * when done; concurrent calls for one chain share the work. */
int ctr_image_unpack(struct ctr_images *images, const struct ctr_image *image,
                     struct ctr_storage *storage, const struct ctr_progress *progress,
                     struct ctr_error *err);

/* Parsers that have fuzz targets. */
int ctr_manifest_check(const char *bytes, size_t length, const char *media_type, json_t **ret,
                       struct ctr_error *err);

#endif
