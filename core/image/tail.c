/*
 * A blob's file, read while it is written. The file is the queue between a download and those who unpack it: memory stays bounded
 * whatever their speeds, no download waits for a slow storage, and what a resumed download has brought before is read like
 * the rest. A writer wakes its readers only when a whole piece is there.
 */
#include "core/image/flow.h"
#include <fcntl.h>

void
tail_init(struct tail *tail, uint64_t size)
{
    *tail = (struct tail){.fd = -1, .size = size};
    (void) pthread_mutex_init(&tail->mutex, NULL);
    (void) pthread_cond_init(&tail->changed, NULL);
}

void
tail_finish(struct tail *tail)
{
    if (tail->fd >= 0) {
        (void) close(tail->fd);
    }
    (void) pthread_cond_destroy(&tail->changed);
    (void) pthread_mutex_destroy(&tail->mutex);
}

/* --- writing --- */

int
tail_begin(struct tail *tail, enum tail_state state, int fd, uint64_t bytes,
           struct ctr_error *err)
{
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0) {
        return ctr_fail(err, -errno, "follow a blob: %s", strerror(errno));
    }
    (void) pthread_mutex_lock(&tail->mutex);
    int before = tail->fd;
    tail->fd = own;
    tail->state = state;
    tail->bytes = bytes;
    tail->round++;
    (void) pthread_cond_broadcast(&tail->changed);
    (void) pthread_mutex_unlock(&tail->mutex);
    if (before >= 0) {
        (void) close(before);
    }
    return 0;
}

void
tail_grow(struct tail *tail, uint64_t bytes)
{
    (void) pthread_mutex_lock(&tail->mutex);
    tail->bytes = bytes;
    if (bytes >= tail->wanted) {
        (void) pthread_cond_broadcast(&tail->changed);
    }
    (void) pthread_mutex_unlock(&tail->mutex);
}

void
tail_end(struct tail *tail, enum tail_state state)
{
    (void) pthread_mutex_lock(&tail->mutex);
    tail->state = state;
    (void) pthread_cond_broadcast(&tail->changed);
    (void) pthread_mutex_unlock(&tail->mutex);
}

/* --- reading --- */

/* With the mutex held: waits for a change, a tenth of a second at most; then op may be asked. */
static bool
tail_wait(struct tail *tail, struct image_op *op)
{
    struct timespec until;
    (void) clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 100000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    (void) pthread_cond_timedwait(&tail->changed, &tail->mutex, &until);
    (void) pthread_mutex_unlock(&tail->mutex);
    bool cancelled = ctr_transfer_cancelled(&op->transfer);
    (void) pthread_mutex_lock(&tail->mutex);
    return cancelled;
}

static int
tail_fail_lost(struct ctr_error *err)
{
    return ctr_fail(err, -ESTALE, "its download ended");
}

int
tail_open(struct tail *tail, struct image_op *op, struct tail_reader *ret,
          struct ctr_error *err)
{
    struct tail_reader reader = {.tail = tail, .op = op, .fd = -1};
    int rc = 0;
    (void) pthread_mutex_lock(&tail->mutex);
    while (tail->state == TAIL_AHEAD && rc == 0) {
        rc = tail_wait(tail, op) ? ctr_fail_cancelled(err) : 0;
    }
    if (rc == 0 && tail->state == TAIL_LOST) {
        rc = tail_fail_lost(err);
    }
    if (rc == 0) {
        reader.fd = fcntl(tail->fd, F_DUPFD_CLOEXEC, 0);
        reader.round = tail->round;
        reader.stored = tail->state == TAIL_STORED;
        rc = reader.fd < 0 ? ctr_fail(err, -errno, "follow a blob: %s", strerror(errno)) : 0;
    }
    (void) pthread_mutex_unlock(&tail->mutex);
    if (rc == 0) {
        *ret = reader;
    }
    return rc;
}

void
tail_close(struct tail_reader *reader)
{
    (void) close(reader->fd);
}

void
tail_stop(struct tail_reader *reader)
{
    (void) pthread_mutex_lock(&reader->tail->mutex);
    reader->stopped = true;
    (void) pthread_cond_broadcast(&reader->tail->changed);
    (void) pthread_mutex_unlock(&reader->tail->mutex);
}

/* How many bytes may be read now, at most `room`; 0: the end. */
static int
tail_available(struct tail_reader *reader, size_t room, size_t *ret, struct ctr_error *err)
{
    struct tail *tail = reader->tail;
    uint64_t left = tail->size - reader->offset;
    uint64_t until = reader->offset + (left < room ? left : room);
    int rc = 0;
    (void) pthread_mutex_lock(&tail->mutex);
    while (rc == 0 && !reader->stopped && tail->round == reader->round &&
           tail->state == TAIL_COMING && tail->bytes < until) {
        tail->wanted = until;
        rc = tail_wait(tail, reader->op) ? ctr_fail_cancelled(err) : 0;
    }
    if (rc == 0 && (tail->round != reader->round || tail->state == TAIL_LOST)) {
        rc = tail_fail_lost(err);
    }
    if (rc == 0 && reader->stopped) {
        rc = ctr_fail(err, -EPIPE, "nobody reads it");
    }
    (void) pthread_mutex_unlock(&tail->mutex);
    *ret = (size_t) (until - reader->offset);
    return rc;
}

int
tail_read(struct tail_reader *reader, void *bytes, size_t room, size_t *ret_length,
          struct ctr_error *err)
{
    size_t want = 0, have = 0;
    int rc = tail_available(reader, room, &want, err);
    while (rc == 0 && have < want) {
        ssize_t n = pread(reader->fd, (char *) bytes + have, want - have,
                          (off_t) (reader->offset + have));
        if (n < 0 && errno != EINTR) {
            rc = ctr_fail(err, -errno, "read: %s", strerror(errno));
        } else if (n == 0) {
            want = have; /* a stored blob that is too short: its digest will tell */
        } else if (n > 0) {
            have += (size_t) n;
        }
    }
    reader->offset += have;
    *ret_length = have;
    return rc;
}

int
tail_settle(struct tail_reader *reader, struct ctr_error *err)
{
    struct tail *tail = reader->tail;
    int rc = 0;
    (void) pthread_mutex_lock(&tail->mutex);
    while (rc == 0 && tail->round == reader->round && tail->state == TAIL_COMING) {
        rc = tail_wait(tail, reader->op) ? ctr_fail_cancelled(err) : 0;
    }
    if (rc == 0 && (tail->round != reader->round || tail->state == TAIL_LOST)) {
        rc = tail_fail_lost(err);
    }
    (void) pthread_mutex_unlock(&tail->mutex);
    return rc;
}
