/* Unpacking an image that is in the store: what its pull or load did not do already. */
#include "core/image/flow.h"

static int
unpack_run(struct image_op *op, const struct ctr_image *image, struct ctr_storage *storage,
           struct ctr_error *err)
{
    int rc = lease_add(op, image->digest, err);
    rc = rc < 0 ? rc : lease_add(op, image->manifest, err);
    rc = rc < 0 ? rc : lease_add(op, image->id, err);
    rc = rc < 0 ? rc : lease_stored(op, image->chain_id, err);
    if (rc < 0 || snapshot_is_ready(op->images, storage, image->chain_id)) {
        return rc;
    }
    struct layers_job job = {.storage = storage,
                             .layers = image->layers,
                             .config = image->config,
                             .manifest = image->manifest};
    return layers_run(op, &job, err);
}

int
ctr_image_unpack(struct ctr_images *images, const struct ctr_image *image,
                 struct ctr_storage *storage, const struct ctr_progress *progress,
                 struct ctr_error *err)
{
    struct image_op op;
    struct ctr_error inner = CTR_ERROR_INIT;
    int rc = op_init(&op, images, progress, &inner);
    if (rc == 0) {
        rc = unpack_run(&op, image, storage, &inner);
        op_finish(&op);
    }
    return rc < 0 ? ctr_fail(err, rc, "unpack image %.19s: %s", image->id, inner.msg) : 0;
}
