/*
 * core/image, inside: loading images from folders and archives. Blobs come into the store first, each checked as it is
 * written; then the documents are followed from index.json (load-layout.c) or manifest.json (load-docker.c).
 */
#ifndef CTR_IMAGE_LOAD_H
#define CTR_IMAGE_LOAD_H

#include "core/image/image-priv.h"

struct load {
    struct image_op op;
    void (*loaded)(void *arg, const char *reference);
    void *arg;
    size_t n_loaded;
    struct ctr_storage *storage; /* what is loaded is unpacked into it; NULL: only checked */
    /* A layout: brings a blob into the store; -ENOENT if the source has none. */
    int (*fetch)(struct load *load, const char *digest, uint64_t size, struct ctr_error *err);
    int folder;       /* of a layout folder, else -1 */
    const char *base; /* its last path component: what a bare tag belongs to; "" for archives */
    const char *tag;  /* the one that is wanted, or NULL */
    json_t *files;    /* an archive's: {path: {digest, size}} or {path: {link}} */
};

int
load_open(struct load *load, struct ctr_images *images, struct ctr_storage *storage,
          const struct ctr_progress *progress, void (*loaded)(void *arg, const char *reference),
          void *arg, struct ctr_error *err);
/* Ends it; what a failed load has brought in goes again. */
int load_close(struct load *load, int rc, const char *what, struct ctr_error *err);

/* Names `digest` with a reference (NULL: it stays nameless) and tells. */
int load_record(struct load *load, const char *reference, const char *digest,
                const char *media_type, uint64_t size, struct ctr_error *err);
/* A manifest whose blobs are all in the store: config, sizes and diff_ids; unpacked on the way where that is wanted. */
int load_check_image(struct load *load, const json_t *manifest, const char *digest,
                     struct ctr_error *err);

int load_layout(struct load *load, const char *index, size_t length, struct ctr_error *err);
int load_docker(struct load *load, const char *manifest, size_t length, struct ctr_error *err);

/* Opens a regular file below a folder without following a link at its end. */
int load_open_file(int folder, const char *name, int *ret_fd, uint64_t *ret_size,
                   struct ctr_error *err);
int load_small_file(int folder, const char *name, char **ret, size_t *ret_length,
                    struct ctr_error *err);

#endif
