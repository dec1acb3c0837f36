/*
 * One blob from the registry into the store. An ingest belongs to one operation at a time: others wait until it ends and
 * look again. What a cut download has brought is gone on with; if that turns out wrong, it is fetched once more from the start.
 */
#include "core/image/remote.h"

struct fetch {
    struct image_op *op;
    struct ctr_ingest *ingest;
    const char *digest;
    uint64_t size, offset, shown;
};

static int
fetch_sink(void *arg, const void *bytes, size_t length, struct ctr_error *err)
{
    struct fetch *fetch = arg;
    int rc = ctr_ingest_write(fetch->ingest, bytes, length, err);
    if (rc < 0) {
        return rc;
    }
    fetch->offset += length;
    if (fetch->offset - fetch->shown >= 512 << 10 || fetch->offset == fetch->size) {
        fetch->shown = fetch->offset;
        op_step(fetch->op, fetch->digest, "Downloading", fetch->offset, fetch->size);
    }
    return 0;
}

/* Opens the ingest, waiting for another operation that has the blob in hand. 1: it is in the store. */
static int
fetch_open(struct fetch *fetch, struct ctr_error *err)
{
    struct ctr_store *store = fetch->op->images->store;
    for (;;) {
        uint64_t size = 0;
        if (ctr_blob_exists(store, fetch->digest, &size)) {
            return size == fetch->size
                       ? 1
                       : ctr_fail(err, -EBADMSG, "blob %s has %llu bytes, not %llu",
                                  fetch->digest, (unsigned long long) size,
                                  (unsigned long long) fetch->size);
        }
        int rc = ctr_ingest_open(store, fetch->digest, (int64_t) fetch->size, &fetch->ingest,
                                 &fetch->offset, err);
        if (rc != -EBUSY) {
            return rc;
        }
        if (op_cancelled(fetch->op)) {
            return op_fail_cancelled(err);
        }
        ctr_ingest_wait(store, 200);
    }
}

int
fetch_blob(struct remote *remote, const char *digest, int64_t size, struct ctr_error *err)
{
    struct image_op *op = remote->op;
    struct fetch fetch = {.op = op, .digest = digest, .size = (uint64_t) size};
    int rc = lease_add(op, digest, err);
    rc = rc < 0 ? rc : fetch_open(&fetch, err);
    if (rc == 1) {
        op_step(op, digest, "Already exists", 0, 0);
        return 0;
    }
    if (rc < 0) {
        return rc;
    }
    bool resumed = fetch.offset > 0;
    struct remote_blob blob = {.digest = digest,
                               .size = fetch.size,
                               .offset = fetch.offset,
                               .sink = fetch_sink,
                               .arg = &fetch};
    rc = remote_blob(remote, &blob, err);
    bool full = op_disk_full(op, rc == -ENOSPC);
    bool wrong = rc == -EBADMSG || rc == -EFBIG;
    if (rc < 0) {
        /* What is right so far is kept to go on with, unless the disk is full: then all of this pull goes. */
        ctr_ingest_abort(fetch.ingest, !wrong && !full);
    } else {
        rc = ctr_ingest_commit(fetch.ingest, NULL, err);
        wrong = rc == -EBADMSG;
    }
    if (wrong && blob.mirrored) {
        remote_distrust(remote);
        return fetch_blob(remote, digest, size, err);
    }
    return wrong && resumed ? fetch_blob(remote, digest, size, err) : rc;
}
