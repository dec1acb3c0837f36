/*
 * Operations: what a pull, a load or an unpack carries along. Progress and cancelling, its lease on blobs and snapshots, and
 * curl's handles. A cancel is seen within a tenth of a second, and shuts the sockets that threads wait for.
 */
#include "core/image/image-priv.h"
#include <curl/curl.h>
#include <sys/socket.h>

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
    op->progress = progress;
    op->lease = lease;
    (void) pthread_mutex_init(&op->mutex, NULL);
    (void) pthread_cond_init(&op->watcher_stop, NULL);
    (void) pthread_mutex_lock(&images->mutex);
    lease->next = images->leases;
    images->leases = lease;
    (void) pthread_mutex_unlock(&images->mutex);
    return 0;
}

static void
op_unwatch(struct image_op *op)
{
    if (op->watched) {
        (void) pthread_mutex_lock(&op->mutex);
        op->watch_ends = true;
        (void) pthread_cond_signal(&op->watcher_stop);
        (void) pthread_mutex_unlock(&op->mutex);
        (void) pthread_join(op->watcher, NULL);
    }
}

void
op_finish(struct image_op *op)
{
    struct ctr_images *images = op->images;
    op_unwatch(op);
    for (size_t i = 0; i < CTR_LENGTH(op->curls); i++) {
        curl_easy_cleanup(op->curls[i]);
    }
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
    (void) pthread_cond_destroy(&op->watcher_stop);
    (void) pthread_mutex_destroy(&op->mutex);
}

/* With the mutex held: asks, and at the first yes wakes whoever waits for a socket. */
static bool
op_ask(struct image_op *op)
{
    if (!op->cancelled && op->progress != NULL && op->progress->cancelled != NULL) {
        op->cancelled = op->progress->cancelled(op->progress->arg);
    }
    for (size_t i = 0; op->cancelled && i < op->n_sockets; i++) {
        (void) shutdown(op->sockets[i], SHUT_RDWR);
    }
    return op->cancelled;
}

bool
op_cancelled(struct image_op *op)
{
    (void) pthread_mutex_lock(&op->mutex);
    bool cancelled = op_ask(op);
    (void) pthread_mutex_unlock(&op->mutex);
    return cancelled;
}

void
op_cancel(struct image_op *op)
{
    (void) pthread_mutex_lock(&op->mutex);
    op->cancelled = true;
    (void) op_ask(op);
    (void) pthread_mutex_unlock(&op->mutex);
}

static void *
op_watcher(void *arg)
{
    struct image_op *op = arg;
    (void) pthread_mutex_lock(&op->mutex);
    while (!op->watch_ends && !op_ask(op)) {
        struct timespec until;
        (void) clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 100000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000L;
        }
        (void) pthread_cond_timedwait(&op->watcher_stop, &op->mutex, &until);
    }
    (void) pthread_mutex_unlock(&op->mutex);
    return NULL;
}

int
op_watch(struct image_op *op, struct ctr_error *err)
{
    int code = pthread_create(&op->watcher, NULL, op_watcher, op);
    if (code != 0) {
        return ctr_fail(err, -code, "start a thread: %s", strerror(code));
    }
    op->watched = true;
    return 0;
}

void *
op_take_curl(struct image_op *op)
{
    void *curl = NULL;
    (void) pthread_mutex_lock(&op->mutex);
    for (size_t i = 0; i < CTR_LENGTH(op->curls) && curl == NULL; i++) {
        curl = ctr_steal(&op->curls[i]);
    }
    (void) pthread_mutex_unlock(&op->mutex);
    return curl != NULL ? curl : curl_easy_init();
}

void
op_give_curl(struct image_op *op, void *curl, bool keep)
{
    if (keep) {
        curl_easy_reset(curl); /* forgets headers and callbacks, keeps connections */
        (void) pthread_mutex_lock(&op->mutex);
        for (size_t i = 0; i < CTR_LENGTH(op->curls) && curl != NULL; i++) {
            if (op->curls[i] == NULL) {
                op->curls[i] = ctr_steal(&curl);
            }
        }
        (void) pthread_mutex_unlock(&op->mutex);
    }
    curl_easy_cleanup(curl);
}

bool
op_track_socket(struct image_op *op, int fd)
{
    (void) pthread_mutex_lock(&op->mutex);
    bool ok = fd >= 0 && !op->cancelled && op->n_sockets < CTR_LENGTH(op->sockets);
    if (ok) {
        op->sockets[op->n_sockets++] = fd;
    }
    (void) pthread_mutex_unlock(&op->mutex);
    if (!ok && fd >= 0) {
        (void) close(fd);
    }
    return ok;
}

void
op_untrack_socket(struct image_op *op, int fd)
{
    (void) pthread_mutex_lock(&op->mutex);
    for (size_t i = 0; i < op->n_sockets; i++) {
        if (op->sockets[i] == fd) {
            op->sockets[i] = op->sockets[--op->n_sockets];
            break;
        }
    }
    (void) pthread_mutex_unlock(&op->mutex);
}

bool
op_disk_full(struct image_op *op, bool is_full)
{
    (void) pthread_mutex_lock(&op->mutex);
    op->disk_full = op->disk_full || is_full;
    bool full = op->disk_full;
    (void) pthread_mutex_unlock(&op->mutex);
    return full;
}

int
op_fail_cancelled(struct ctr_error *err)
{
    return ctr_fail(err, -ECANCELED, "cancelled");
}

void
op_step(struct image_op *op, const char *digest, const char *status, uint64_t current,
        uint64_t total)
{
    char id[13] = "";
    if (digest != NULL && ctr_is_digest(digest)) {
        (void) snprintf(id, sizeof id, "%.12s", digest + 7);
    }
    if (op->progress == NULL || op->progress->step == NULL) {
        return;
    }
    (void) pthread_mutex_lock(&op->mutex);
    op->progress->step(op->progress->arg, id, status, current, total);
    (void) pthread_mutex_unlock(&op->mutex);
}

bool
op_sleep(struct image_op *op, int64_t milliseconds)
{
    int64_t until = ctr_monotonic_ns() + milliseconds * 1000000;
    for (;;) {
        if (op_cancelled(op)) {
            return true;
        }
        int64_t left = until - ctr_monotonic_ns();
        if (left <= 0) {
            return false;
        }
        struct timespec piece = {.tv_nsec = left < 100000000 ? (long) left : 100000000L};
        (void) nanosleep(&piece, NULL);
    }
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
