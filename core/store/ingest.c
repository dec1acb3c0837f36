/*
 * Blobs on their way in. Bytes go to images/ingest/ and are hashed as they are written; a commit checks size and digest,
 * syncs the file, renames it into blobs/ and syncs that folder. One writer per digest: the file name is the digest.
 */
#include "core/store/store-priv.h"
#include <fcntl.h>
#include <sys/stat.h>

#define REPLAY_PIECE ((size_t) 256 << 10)
#define REPLAY_STEP ((uint64_t) 16 << 20)
#define SEND_STEP ((uint64_t) 8 << 20)

static void
ingest_unlink_list(struct ctr_ingest *ingest)
{
    struct ctr_store *store = ingest->store;
    (void) pthread_mutex_lock(&store->mutex);
    for (struct ctr_ingest **at = &store->ingests; *at != NULL; at = &(*at)->next) {
        if (*at == ingest) {
            *at = ingest->next;
            break;
        }
    }
    (void) pthread_cond_broadcast(&store->ingest_ended);
    (void) pthread_mutex_unlock(&store->mutex);
}

/* Enters the list, unless another thread has the digest. */
static int
ingest_link_list(struct ctr_ingest *ingest)
{
    struct ctr_store *store = ingest->store;
    int rc = 0;
    (void) pthread_mutex_lock(&store->mutex);
    for (struct ctr_ingest *at = store->ingests; at != NULL && rc == 0; at = at->next) {
        if (ingest->digest[0] != '\0' && strcmp(at->digest, ingest->digest) == 0) {
            rc = -EBUSY;
        }
    }
    if (rc == 0) {
        ingest->next = store->ingests;
        store->ingests = ingest;
    }
    (void) pthread_mutex_unlock(&store->mutex);
    return rc;
}

static void
ingest_free(struct ctr_ingest *ingest)
{
    if (ingest->fd >= 0) {
        (void) close(ingest->fd);
    }
    ctr_sha256_destroy(ingest->sha);
    free(ingest);
}

static int
ingest_name(struct ctr_ingest *ingest, const char *digest, struct ctr_error *err)
{
    if (digest != NULL) {
        if (!ctr_is_digest(digest)) {
            return ctr_fail(err, -EINVAL, "ingest: \"%.80s\" is no sha256 digest", digest);
        }
        (void) snprintf(ingest->digest, sizeof ingest->digest, "%s", digest);
        (void) snprintf(ingest->file, sizeof ingest->file, "sha256-%s", digest + 7);
        return 0;
    }
    char id[65];
    if (ctr_random_id(id) < 0) {
        return ctr_fail(err, -EIO, "ingest: no random numbers");
    }
    (void) snprintf(ingest->file, sizeof ingest->file, "new-%s", id);
    return 0;
}

static int
ingest_open_file(struct ctr_ingest *ingest, struct ctr_error *err)
{
    ingest->fd = openat(ingest->store->incoming, ingest->file,
                        O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (ingest->fd < 0) {
        return ctr_fail(err, -errno, "ingest: create %s/ingest/%s: %s", ingest->store->images,
                        ingest->file, strerror(errno));
    }
    ingest->sha = ctr_sha256_create();
    if (ingest->sha == NULL) {
        return ctr_fail(err, -ENOMEM, "ingest: out of memory");
    }
    struct stat st;
    if (fstat(ingest->fd, &st) < 0) {
        return ctr_fail(err, -errno, "ingest: %s", strerror(errno));
    }
    /* More than `size` bytes are wrong ones: a fresh start. */
    ingest->offset = (uint64_t) st.st_size;
    return ingest->size >= 0 && st.st_size > ingest->size ? ctr_ingest_restart(ingest, err) : 0;
}

int
ctr_ingest_open(struct ctr_store *store, const char *digest, int64_t size,
                struct ctr_ingest **ret, uint64_t *ret_offset, struct ctr_error *err)
{
    struct ctr_ingest *ingest = calloc(1, sizeof *ingest);
    if (ingest == NULL) {
        return ctr_fail(err, -ENOMEM, "ingest: out of memory");
    }
    ingest->fd = -1;
    ingest->store = store;
    ingest->size = size;
    int rc = ingest_name(ingest, digest, err);
    if (rc < 0) {
        ingest_free(ingest);
        return rc;
    }
    if (ingest_link_list(ingest) < 0) {
        ingest_free(ingest);
        return ctr_fail(err, -EBUSY, "blob %s is being fetched already", digest);
    }
    rc = ingest_open_file(ingest, err);
    if (rc < 0) {
        ctr_ingest_abort(ingest, true);
        return rc;
    }
    *ret = ingest;
    *ret_offset = ingest->offset;
    return 0;
}

int
ctr_ingest_fd(const struct ctr_ingest *ingest)
{
    return ingest->fd;
}

int
ctr_ingest_replay(struct ctr_ingest *ingest, bool *ret_more, struct ctr_error *err)
{
    CTR_AUTO(free) char *piece = malloc(REPLAY_PIECE);
    if (piece == NULL) {
        return ctr_fail(err, -ENOMEM, "ingest %s: out of memory", ingest->digest);
    }
    uint64_t left = ingest->offset - ingest->hashed;
    uint64_t until = ingest->hashed + (left < REPLAY_STEP ? left : REPLAY_STEP);
    while (ingest->hashed < until) {
        uint64_t want = until - ingest->hashed;
        ssize_t n = pread(ingest->fd, piece, want < REPLAY_PIECE ? (size_t) want : REPLAY_PIECE,
                          (off_t) ingest->hashed);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return ctr_fail(err, n < 0 ? -errno : -EIO, "read %s/ingest/%s: %s",
                            ingest->store->images, ingest->file,
                            n < 0 ? strerror(errno) : "it has become shorter");
        }
        ctr_sha256_add(ingest->sha, piece, (size_t) n);
        ingest->hashed += (uint64_t) n;
    }
    *ret_more = ingest->hashed < ingest->offset;
    return 0;
}

static int
ingest_catch_up(struct ctr_ingest *ingest, struct ctr_error *err)
{
    int rc = 0;
    for (bool more = ingest->hashed < ingest->offset; more && rc == 0;) {
        rc = ctr_ingest_replay(ingest, &more, err);
    }
    return rc;
}

/* Lets the disk begin early, so that the sync at the end is short. */
static void
ingest_send(struct ctr_ingest *ingest)
{
    if (ingest->offset - ingest->sent >= SEND_STEP) {
#ifdef SYNC_FILE_RANGE_WRITE
        (void) sync_file_range(ingest->fd, (off_t) ingest->sent,
                               (off_t) (ingest->offset - ingest->sent), SYNC_FILE_RANGE_WRITE);
#endif
        ingest->sent = ingest->offset;
    }
}

int
ctr_ingest_write(struct ctr_ingest *ingest, const void *bytes, size_t length,
                 struct ctr_error *err)
{
    if (ingest->size >= 0 && length > (uint64_t) ingest->size - ingest->offset) {
        return ctr_fail(err, -EFBIG, "blob %s is longer than the %lld bytes announced for it",
                        ingest->digest, (long long) ingest->size);
    }
    int rc = ingest_catch_up(ingest, err);
    if (rc < 0) {
        return rc;
    }
    const char *from = bytes;
    while (length > 0) {
        ssize_t n = pwrite(ingest->fd, from, length, (off_t) ingest->offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return ctr_fail(err, -errno, "write blob to %s/ingest: %s%s", ingest->store->images,
                            strerror(errno), errno == ENOSPC ? "; free some there" : "");
        }
        ctr_sha256_add(ingest->sha, from, (size_t) n);
        ingest->offset += (uint64_t) n;
        ingest->hashed = ingest->offset;
        from += n;
        length -= (size_t) n;
    }
    ingest_send(ingest);
    return 0;
}

int
ctr_ingest_restart(struct ctr_ingest *ingest, struct ctr_error *err)
{
    char unused[72];
    ctr_sha256_finish(ingest->sha, unused);
    ingest->offset = ingest->hashed = ingest->sent = 0;
    if (ftruncate(ingest->fd, 0) < 0) {
        return ctr_fail(err, -errno, "empty %s/ingest/%s: %s", ingest->store->images,
                        ingest->file, strerror(errno));
    }
    return 0;
}

/* Size and digest agree; the bytes' digest in ret[72]. */
static int
ingest_check(struct ctr_ingest *ingest, char *ret, struct ctr_error *err)
{
    ctr_sha256_finish(ingest->sha, ret);
    if (ingest->size >= 0 && ingest->offset != (uint64_t) ingest->size) {
        return ctr_fail(err, -EBADMSG, "blob %s has %llu bytes instead of %lld", ingest->digest,
                        (unsigned long long) ingest->offset, (long long) ingest->size);
    }
    if (ingest->digest[0] != '\0' && strcmp(ret, ingest->digest) != 0) {
        return ctr_fail(err, -EBADMSG, "blob %s: the bytes received hash to %s", ingest->digest,
                        ret);
    }
    return 0;
}

static int
ingest_make_durable(struct ctr_ingest *ingest, const char *digest, struct ctr_error *err)
{
    const struct ctr_store *store = ingest->store;
    if (ctr_sync_fd(ingest->fd) < 0) {
        return ctr_fail(err, -errno, "sync blob %s: %s", digest, strerror(errno));
    }
    if (renameat(store->incoming, ingest->file, store->blobs, digest + 7) < 0) {
        return ctr_fail(err, -errno, "move blob %s into %s/blobs: %s", digest, store->images,
                        strerror(errno));
    }
    if (ctr_sync_fd(store->blobs) < 0) {
        int code = -errno;
        (void) unlinkat(store->blobs, digest + 7, 0);
        return ctr_fail(err, code, "sync %s/blobs/sha256: %s", store->images, strerror(-code));
    }
    return 0;
}

int
ctr_ingest_commit(struct ctr_ingest *take_ingest, char *ret_digest, struct ctr_error *err)
{
    char digest[72];
    int rc = ingest_catch_up(take_ingest, err);
    rc = rc < 0 ? rc : ingest_check(take_ingest, digest, err);
    if (rc == 0) {
        rc = ingest_make_durable(take_ingest, digest, err);
    }
    if (rc < 0) {
        ctr_ingest_abort(take_ingest, false);
        return rc;
    }
    if (ret_digest != NULL) {
        memcpy(ret_digest, digest, sizeof digest);
    }
    ingest_unlink_list(take_ingest);
    ingest_free(take_ingest);
    return 0;
}

void
ctr_ingest_abort(struct ctr_ingest *take_ingest, bool keep)
{
    if (take_ingest == NULL) {
        return;
    }
    if (!keep || take_ingest->digest[0] == '\0' || take_ingest->offset == 0) {
        (void) unlinkat(take_ingest->store->incoming, take_ingest->file, 0);
    }
    ingest_unlink_list(take_ingest);
    ingest_free(take_ingest);
}

void
ctr_ingest_wait(struct ctr_store *store, int milliseconds)
{
    struct timespec until;
    (void) clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += milliseconds / 1000;
    until.tv_nsec += (long) (milliseconds % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    (void) pthread_mutex_lock(&store->mutex);
    if (store->ingests != NULL) {
        (void) pthread_cond_timedwait(&store->ingest_ended, &store->mutex, &until);
    }
    (void) pthread_mutex_unlock(&store->mutex);
}
