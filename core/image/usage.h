/* core/image, inside: what the store and the storages hold, in bytes. */
#ifndef CTR_IMAGE_USAGE_H
#define CTR_IMAGE_USAGE_H

#include "core/image/image-priv.h"

/* {digest: bytes} of all blobs; new reference or NULL. */
json_t *usage_blobs(struct ctr_images *images, struct ctr_error *err);
/* {"chains": {chain_id: bytes}, "layers": {diff_id: bytes}} of a storage, empty where its plugin cannot list. A chain of layers that
 * are listed too holds 0 bytes of its own. New reference or NULL. */
json_t *usage_storage(struct ctr_storage *storage, struct ctr_error *err);
uint64_t usage_sum(const json_t *sizes);

#endif
