/*
 * core/image, inside: documents of the store read loosely. Beside images an index lists attestations and other artifacts, which pulls refuse to run but which are
 * saved, pushed and verified like all that belongs to an image.
 */
#ifndef CTR_IMAGE_DOCUMENTS_H
#define CTR_IMAGE_DOCUMENTS_H

#include "core/image/image-priv.h"

enum document_part {
    PART_DOCUMENT, /* an index or a manifest */
    PART_BLOB,     /* a config, or what an index lists of another kind */
    PART_LAYER,
};

/* Any JSON document of at most 4 MiB, re-hashed; new reference or NULL. ret_size may be NULL. */
json_t *document_read(struct ctr_images *images, const char *digest, uint64_t *ret_size,
                      struct ctr_error *err);
/* What an entry of an index, or of a manifest's layers, is. */
enum document_part document_part_of(const json_t *descriptor, bool in_index);
/* Calls each(arg, descriptor, part) for a manifest's config and layers, or for what an index lists; a result other than 0 ends it. */
int document_below(const json_t *document,
                   int (*each)(void *arg, const json_t *descriptor, enum document_part part),
                   void *arg);

#endif
