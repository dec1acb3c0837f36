/*
 * One blob from the registry into the store. An ingest belongs to one operation at a time: others wait until it ends and
 * look again. What a cut download has brought is gone on with; if that turns out wrong, it is fetched once more from the start.
 */
#include "core/image/flow.h"

#define FETCH_SHOW ((uint64_t) 512 << 10) /* bytes between two steps */

struct fetch {
    struct image_op *op;
    const struct fetch_want *want;
    struct ctr_ingest *ingest;
    uint64_t offset, shown;
    bool mirrored; /* some bytes are a mirror's */
};

static int
fetch_sink(void *arg, const void *bytes, size_t length, struct ctr_error *err)
{
    struct fetch *fetch = arg;
    const struct fetch_want *want = fetch->want;
    int rc = ctr_ingest_write(fetch->ingest, bytes, length, err);
    if (rc < 0) {
        return rc;
    }
    fetch->offset += length;
    if (want->tail == NULL) {
        return 0;
    }
    tail_grow(want->tail, fetch->offset);
    if (fetch->offset - fetch->shown >= FETCH_SHOW || fetch->offset == want->size) {
        fetch->shown = fetch->offset;
        ctr_transfer_step(&fetch->op->transfer, want->digest, "Downloading", fetch->offset,
                          want->size);
    }
    return 0;
}

/* --- where the bytes are --- */

/* 1: it is in the store, and followed there. */
static int
fetch_stored(struct fetch *fetch, struct ctr_error *err)
{
    const struct fetch_want *want = fetch->want;
    CTR_AUTO(fd) int fd = -1;
    uint64_t size = 0;
    int rc = ctr_blob_open(fetch->op->images->store, want->digest, &fd, &size, err);
    if (rc == 0 && size != want->size) {
        rc = ctr_fail(err, -EBADMSG, "blob %s has %llu bytes, not %llu", want->digest,
                      (unsigned long long) size, (unsigned long long) want->size);
    }
    if (rc == 0 && want->tail != NULL) {
        rc = tail_begin(want->tail, TAIL_STORED, fd, size, err);
    }
    return rc < 0 ? rc : 1;
}

/* Opens the ingest, waiting for another operation that has the blob in hand. */
static int
fetch_open(struct fetch *fetch, struct ctr_error *err)
{
    struct ctr_store *store = fetch->op->images->store;
    const struct fetch_want *want = fetch->want;
    for (;;) {
        if (ctr_blob_exists(store, want->digest, NULL)) {
            return fetch_stored(fetch, err);
        }
        int rc = ctr_ingest_open(store, want->digest, (int64_t) want->size, &fetch->ingest,
                                 &fetch->offset, err);
        if (rc == 0 && ctr_blob_exists(store, want->digest, NULL)) {
            /* Another one has just brought it, after the first look. */
            ctr_ingest_abort(ctr_steal(&fetch->ingest), false);
            continue;
        }
        if (rc != -EBUSY) {
            return rc;
        }
        if (ctr_transfer_cancelled(&fetch->op->transfer)) {
            return ctr_fail_cancelled(err);
        }
        ctr_ingest_wait(store, 200);
    }
}

/* Hashes what an earlier try left; a reader has it at once. */
static int
fetch_replay(struct fetch *fetch, struct ctr_error *err)
{
    struct tail *tail = fetch->want->tail;
    int rc = tail != NULL ? tail_begin(tail, TAIL_COMING, ctr_ingest_fd(fetch->ingest),
                                       fetch->offset, err)
                          : 0;
    bool more = true;
    while (rc == 0 && more) {
        rc = ctr_transfer_cancelled(&fetch->op->transfer)
                 ? ctr_fail_cancelled(err)
                 : ctr_ingest_replay(fetch->ingest, &more, err);
    }
    return rc;
}

/* --- the bytes --- */

/* From the repository, or from the first of a foreign layer's addresses that has it. */
static int
fetch_bytes(struct fetch *fetch, struct ctr_remote *remote, struct ctr_error *err)
{
    const struct fetch_want *want = fetch->want;
    struct ctr_remote_blob blob = {
        .digest = want->digest, .size = want->size, .sink = fetch_sink, .arg = fetch};
    size_t n = json_array_size(want->urls), i = 0;
    for (;;) {
        struct ctr_error inner = CTR_ERROR_INIT;
        blob.offset = fetch->offset;
        blob.url = json_string_value(json_array_get(want->urls, i));
        int rc = ctr_remote_blob(remote, &blob, &inner);
        fetch->mirrored = fetch->mirrored || blob.mirrored;
        bool next =
            rc < 0 && ++i < n && !ctr_transfer_cancelled(&fetch->op->transfer) && rc != -ENOSPC;
        if (!next) {
            return rc < 0 ? ctr_fail(err, rc, "%s", inner.msg) : 0;
        }
    }
}

static int
fetch_ingest(struct fetch *fetch, struct ctr_remote *remote, struct ctr_error *err)
{
    int rc = fetch_replay(fetch, err);
    rc = rc < 0 ? rc : fetch_bytes(fetch, remote, err);
    if (rc == 0) {
        return ctr_ingest_commit(fetch->ingest, NULL, err);
    }
    /* What is right so far is kept to go on with, unless the disk is full: then all of this pull goes. */
    bool full = op_disk_full(fetch->op, rc == -ENOSPC);
    ctr_ingest_abort(fetch->ingest, rc != -EBADMSG && rc != -EFBIG && !full);
    return rc;
}

/* 1: the store had it. -ESTALE: what an earlier try left, or a mirror sent, was wrong and is gone now. */
static int
fetch_once(struct image_op *op, struct ctr_remote *remote, const struct fetch_want *want,
           struct ctr_error *err)
{
    struct fetch fetch = {.op = op, .want = want};
    int rc = fetch_open(&fetch, err);
    if (rc != 0) {
        return rc;
    }
    bool resumed = fetch.offset > 0;
    rc = fetch_ingest(&fetch, remote, err);
    bool wrong = rc == -EBADMSG || rc == -EFBIG;
    if (wrong && fetch.mirrored) {
        ctr_remote_distrust(remote);
    }
    return wrong && (resumed || fetch.mirrored) ? -ESTALE : rc;
}

int
fetch_blob(struct image_op *op, struct ctr_remote *remote, const struct fetch_want *want,
           struct ctr_error *err)
{
    int rc = lease_add(op, want->digest, err);
    rc = rc < 0 ? rc : fetch_once(op, remote, want, err);
    while (rc == -ESTALE) {
        rc = fetch_once(op, remote, want, err); /* from nothing, and from no mirror */
    }
    if (want->tail != NULL && rc != 1) {
        tail_end(want->tail, rc == 0 ? TAIL_WHOLE : TAIL_LOST);
    }
    return rc < 0 ? rc : 0;
}
