/*
 * core/image: images in the store: manifests, pulling and pushing, archives, and unpacking into a storage plugin.
 *
 * Calls block (they run on an API connection's thread) and may be cancelled. Everything from outside is hostile: sizes, digests, media types
 * and diff_ids are checked over all bytes before anything is recorded.
 */
#ifndef CTR_IMAGE_H
#define CTR_IMAGE_H

#include "core/plugin/plugin.h"
#include "core/registry/registry.h"
#include "core/store/store.h"

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

struct ctr_images; /* the image side of an engine */
int ctr_images_create(struct ctr_store *store, const struct ctr_conf *conf,
                      struct ctr_chain *chain, struct ctr_images **ret, struct ctr_error *err);
void ctr_images_destroy(struct ctr_images *images); /* takes NULL */
/* Its client of registries, for what needs no store: tags and logins. */
struct ctr_client *ctr_images_client(struct ctr_images *images);

struct ctr_pull {
    const char *reference;
    const char *platform;        /* "" or NULL: the profile's or this machine's */
    bool all_platforms;          /* all of an index; then nothing is unpacked */
    bool foreign;                /* fetch foreign layers from their urls, without credentials */
    struct ctr_storage *storage; /* unpacked into it on the way; NULL: blobs only */
    /* The client's own, for the reference's host and this call only; never stored. NULL: the chain is asked. */
    const struct ctr_credential *credential;
};
/* Fetches manifest, config and layers and records the reference. Each layer is downloaded, hashed, decompressed, compared with its
 * diff_id and written by `storage` at once; nothing is written twice, a layer that is there already is not fetched. An image that is up to date
 * costs one request. What a cancelled pull has brought is kept for the next. ret_digest[72] (may be NULL) is the digest that
 * the reference names at the registry. */
int
ctr_image_pull(struct ctr_images *images, const struct ctr_pull *pull,
               const struct ctr_progress *progress, char *ret_digest, struct ctr_error *err);

/* Pushes what a reference names to the registry in it (distribution-spec, "Push"): blobs that the registry has are skipped, those of another repository of
 * the same registry are mounted, the others uploaded (in one request, or in chunks where the registry or the profile wants it; a broken chunked
 * upload goes on), then manifests, then the index. platform: as for a pull; all_platforms: all that the store has whole. credential: as in
 * struct ctr_pull. ret_digest[72]: of what the tag names now. */
int
ctr_image_push(struct ctr_images *images, const char *reference, const char *platform,
               bool all_platforms, const struct ctr_credential *credential,
               const struct ctr_progress *progress, char *ret_digest, struct ctr_error *err);
/* Artifacts that refer to a manifest as the registry told at the last pull (OCI 1.1 referrers API, or its tag schema): array of descriptors
 * {mediaType, digest, size, artifactType, annotations}; new reference or NULL with -ENOENT. Reads the store only. */
json_t *ctr_image_referrers(struct ctr_images *images, const char *manifest_digest,
                            struct ctr_error *err);

/* Loads an OCI layout folder, or an OCI or docker archive (tar, also gzip or zstd) read from fd to its end, and records the names
 * in it. A folder's path may carry ":tag" to choose ("/x/layout:busybox:1.36" is one, too); a bare tag in it belongs to the folder's name ("/x/busybox" and "1.36":
 * busybox:1.36). Calls loaded(arg, reference) for each, with the digest where there is no name. What a failed load brought in is removed.
 * Each layer is checked against its diff_id; images for the profile's or this machine's platform are unpacked into `storage` in the same pass (NULL: not). */
int ctr_image_load_fd(struct ctr_images *images, int fd, struct ctr_storage *storage,
                      const struct ctr_progress *progress,
                      void (*loaded)(void *arg, const char *reference), void *arg,
                      struct ctr_error *err);
int ctr_image_load_dir(struct ctr_images *images, const char *path, struct ctr_storage *storage,
                       const struct ctr_progress *progress,
                       void (*loaded)(void *arg, const char *reference), void *arg,
                       struct ctr_error *err);

/* --- out of the store, into it, and about it (save.c, import.c, verify.c, history.c, prune.c) --- */

enum ctr_archive {
    CTR_ARCHIVE_OCI = 1, /* an OCI layout in a tar */
    CTR_ARCHIVE_DOCKER =
        2, /* docker save's: manifest.json, and an OCI layout beside it, so that digests survive */
    CTR_ARCHIVE_DIR = 3, /* an OCI layout folder */
};
/* Writes images (references, IDs or digests) with their names. fd: a file, pipe or socket, for an archive; for CTR_ARCHIVE_DIR a folder. platform
 * "" or NULL: all that the store has of each image. Reading back gives the same digests. */
int ctr_image_save(struct ctr_images *images, const char *const *references, size_t n,
                   const char *platform, enum ctr_archive format, int fd,
                   const struct ctr_progress *progress, struct ctr_error *err);
/* Makes an image of one layer from a root filesystem's tar (plain, gzip, zstd) on fd. `changes`: array of Dockerfile lines (CMD, ENTRYPOINT, ENV, EXPOSE,
 * LABEL, USER, VOLUME, WORKDIR, STOPSIGNAL), may be NULL; reference "" or NULL: no name. ret_id[72]: its image ID. */
int
ctr_image_import(struct ctr_images *images, int fd, const char *reference, const char *message,
                 const json_t *changes, const char *platform,
                 const struct ctr_progress *progress, char ret_id[72], struct ctr_error *err);
/* [{"id" (of the top) or "<missing>","created":SECONDS,"created_by","size","comment","empty":B,"tags":[…]}], newest first. */
json_t *ctr_image_history(struct ctr_images *images, const char *text, const char *platform,
                          struct ctr_error *err);
/* Re-hashes every blob (text NULL: of all images and of none), and each layer against its diff_id; damaged ones are set aside. Array of
 * {"reference","digest","blobs":N,"bytes":N,"missing":[digests],"damaged":[digests]}. With heal, what is missing or damaged is pulled again
 * from the image's registry, and "healed":B or "error":TEXT says how that went. */
json_t *ctr_image_verify(struct ctr_images *images, const char *text, bool heal,
                         struct ctr_storage *storage, const struct ctr_progress *progress,
                         struct ctr_error *err);
/* What hangs together: [{"id","references","size","layers":[{"digest","diff_id","chain_id","size","shared_with":[references]}]}] of one or (text NULL)
 * all images. */
json_t *ctr_image_tree(struct ctr_images *images, const char *text, struct ctr_error *err);
struct ctr_prune {
    bool all; /* also images with a name, if no container needs them; else those without one */
    const json_t
        *filters; /* Docker's: {"until":[TEXT],"label":["k=v","k"],"label!":[…]}, may be NULL */
};
/* Removes images and then what no image needs. *ret: {"removed":[{"Untagged"|"Deleted":TEXT}],"bytes":N}, new reference. */
int ctr_image_prune(struct ctr_images *images, const struct ctr_prune *prune,
                    struct ctr_storage *const *storages, size_t n_storages,
                    bool (*in_use)(void *arg, const char *image_id), void *arg, json_t **ret,
                    struct ctr_error *err);
/* {"blobs":{"count","bytes"},"shared":BYTES,"reclaimable":BYTES,"ingest":BYTES,"damaged":BYTES,"images":[{"id","references","size","shared","unique"}],
 *  "storages":[{"instance","plugin","layers","chains","bytes"}]}. */
json_t *ctr_images_usage(struct ctr_images *images, struct ctr_storage *const *storages,
                         size_t n_storages, struct ctr_error *err);

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
