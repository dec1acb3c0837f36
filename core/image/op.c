/*
 * Operations: what a pull, a load or an unpack carries along. A transfer, for progress and cancelling, and its lease on blobs and snapshots.
 */
#include "core/image/image-priv.h"

int
op_init(struct image_op *op, struct ctr_images *images, const struct ctr_progress *progress,
        struct ctr_error *err)
{
    memset(op, 0, sizeof *op);
    struct image_lease *lease = calloc(1, sizeof *lease);
    if (lease == NULL || (lease->names = json_object()) == NULL) {
        free(lease);
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    op->images = images;
    op->lease = lease;
    ctr_transfer_init(&op->transfer, &images->client, progress);
    (void) pthread_mutex_lock(&images->mutex);
    lease->next = images->leases;
    images->leases = lease;
    (void) pthread_mutex_unlock(&images->mutex);
    return 0;
}

void
op_finish(struct image_op *op)
{
    struct ctr_images *images = op->images;
    ctr_transfer_finish(&op->transfer);
    (void) pthread_mutex_lock(&images->mutex);
    for (struct image_lease **at = &images->leases; *at != NULL; at = &(*at)->next) {
        if (*at == op->lease) {
            *at = op->lease->next;
            break;
        }
    }
    (void) pthread_mutex_unlock(&images->mutex);
    json_decref(op->lease->names);
    free(op->lease);
}

bool
op_disk_full(struct image_op *op, bool is_full)
{
    if (is_full) {
        atomic_store(&op->disk_full, true);
    }
    return atomic_load(&op->disk_full);
}

/* --- leases --- */

/* With images->mutex held: a collection that computed before what is needed has to know. */
static int
lease_note(struct ctr_images *images, const char *name)
{
    return images->leased == NULL ? 0 : json_object_set_new(images->leased, name, json_true());
}

int
lease_add(struct image_op *op, const char *name, struct ctr_error *err)
{
    (void) pthread_mutex_lock(&op->images->mutex);
    int rc = json_object_set_new(op->lease->names, name, json_true());
    rc = rc < 0 ? rc : lease_note(op->images, name);
    (void) pthread_mutex_unlock(&op->images->mutex);
    return rc < 0 ? ctr_fail(err, -ENOMEM, "out of memory") : 0;
}

void
lease_all(struct image_op *op)
{
    (void) pthread_mutex_lock(&op->images->mutex);
    op->lease->all = true;
    (void) lease_note(op->images, LEASE_ALL);
    (void) pthread_mutex_unlock(&op->images->mutex);
}

int
lease_stored(struct image_op *op, const char *name, struct ctr_error *err)
{
    struct image_claim removal;
    int rc = lease_add(op, name, err);
    rc = rc < 0 ? rc : claim_take(op->images, op, &removal, LEASE_REMOVAL, name, err);
    if (rc == 0) {
        claim_give(op->images, &removal);
    }
    return rc;
}
