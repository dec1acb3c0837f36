/*
 * One operation with registries: progress and cancelling, and curl's handles. A cancel is seen within a tenth of a second, and shuts the
 * sockets that threads wait for.
 */
#include "core/registry/registry-priv.h"
#include <curl/curl.h>
#include <sys/socket.h>

void
ctr_transfer_init(struct ctr_transfer *transfer, struct ctr_client *client,
                  const struct ctr_progress *progress)
{
    *transfer = (struct ctr_transfer){.client = client, .progress = progress};
    (void) pthread_mutex_init(&transfer->mutex, NULL);
    (void) pthread_cond_init(&transfer->watcher_stop, NULL);
}

static void
transfer_unwatch(struct ctr_transfer *transfer)
{
    if (transfer->watched) {
        (void) pthread_mutex_lock(&transfer->mutex);
        transfer->watch_ends = true;
        (void) pthread_cond_signal(&transfer->watcher_stop);
        (void) pthread_mutex_unlock(&transfer->mutex);
        (void) pthread_join(transfer->watcher, NULL);
    }
}

void
ctr_transfer_finish(struct ctr_transfer *transfer)
{
    transfer_unwatch(transfer);
    for (size_t i = 0; i < CTR_LENGTH(transfer->curls); i++) {
        curl_easy_cleanup(transfer->curls[i]);
    }
    (void) pthread_cond_destroy(&transfer->watcher_stop);
    (void) pthread_mutex_destroy(&transfer->mutex);
}

/* With the mutex held: asks, and at the first yes wakes whoever waits for a socket. */
static bool
transfer_ask(struct ctr_transfer *transfer)
{
    if (!transfer->cancelled && transfer->progress != NULL &&
        transfer->progress->cancelled != NULL) {
        transfer->cancelled = transfer->progress->cancelled(transfer->progress->arg);
    }
    for (size_t i = 0; transfer->cancelled && i < transfer->n_sockets; i++) {
        (void) shutdown(transfer->sockets[i], SHUT_RDWR);
    }
    return transfer->cancelled;
}

bool
ctr_transfer_cancelled(struct ctr_transfer *transfer)
{
    (void) pthread_mutex_lock(&transfer->mutex);
    bool cancelled = transfer_ask(transfer);
    (void) pthread_mutex_unlock(&transfer->mutex);
    return cancelled;
}

void
ctr_transfer_cancel(struct ctr_transfer *transfer)
{
    (void) pthread_mutex_lock(&transfer->mutex);
    transfer->cancelled = true;
    (void) transfer_ask(transfer);
    (void) pthread_mutex_unlock(&transfer->mutex);
}

static void *
transfer_watcher(void *arg)
{
    struct ctr_transfer *transfer = arg;
    (void) pthread_mutex_lock(&transfer->mutex);
    while (!transfer->watch_ends && !transfer_ask(transfer)) {
        struct timespec until;
        (void) clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 100000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000L;
        }
        (void) pthread_cond_timedwait(&transfer->watcher_stop, &transfer->mutex, &until);
    }
    (void) pthread_mutex_unlock(&transfer->mutex);
    return NULL;
}

int
ctr_transfer_watch(struct ctr_transfer *transfer, struct ctr_error *err)
{
    int code = pthread_create(&transfer->watcher, NULL, transfer_watcher, transfer);
    if (code != 0) {
        return ctr_fail(err, -code, "start a thread: %s", strerror(code));
    }
    transfer->watched = true;
    return 0;
}

void *
transfer_take_curl(struct ctr_transfer *transfer)
{
    void *curl = NULL;
    (void) pthread_mutex_lock(&transfer->mutex);
    for (size_t i = 0; i < CTR_LENGTH(transfer->curls) && curl == NULL; i++) {
        curl = ctr_steal(&transfer->curls[i]);
    }
    (void) pthread_mutex_unlock(&transfer->mutex);
    return curl != NULL ? curl : curl_easy_init();
}

void
transfer_give_curl(struct ctr_transfer *transfer, void *curl, bool keep)
{
    if (keep) {
        curl_easy_reset(curl); /* forgets headers and callbacks, keeps connections */
        (void) pthread_mutex_lock(&transfer->mutex);
        for (size_t i = 0; i < CTR_LENGTH(transfer->curls) && curl != NULL; i++) {
            if (transfer->curls[i] == NULL) {
                transfer->curls[i] = ctr_steal(&curl);
            }
        }
        (void) pthread_mutex_unlock(&transfer->mutex);
    }
    curl_easy_cleanup(curl);
}

bool
transfer_track_socket(struct ctr_transfer *transfer, int fd)
{
    (void) pthread_mutex_lock(&transfer->mutex);
    bool ok =
        fd >= 0 && !transfer->cancelled && transfer->n_sockets < CTR_LENGTH(transfer->sockets);
    if (ok) {
        transfer->sockets[transfer->n_sockets++] = fd;
    }
    (void) pthread_mutex_unlock(&transfer->mutex);
    if (!ok && fd >= 0) {
        (void) close(fd);
    }
    return ok;
}

void
transfer_untrack_socket(struct ctr_transfer *transfer, int fd)
{
    (void) pthread_mutex_lock(&transfer->mutex);
    for (size_t i = 0; i < transfer->n_sockets; i++) {
        if (transfer->sockets[i] == fd) {
            transfer->sockets[i] = transfer->sockets[--transfer->n_sockets];
            break;
        }
    }
    (void) pthread_mutex_unlock(&transfer->mutex);
}

int
ctr_fail_cancelled(struct ctr_error *err)
{
    return ctr_fail(err, -ECANCELED, "cancelled");
}

void
ctr_transfer_step(struct ctr_transfer *transfer, const char *digest, const char *status,
                  uint64_t current, uint64_t total)
{
    char id[13] = "";
    if (digest != NULL && ctr_is_digest(digest)) {
        (void) snprintf(id, sizeof id, "%.12s", digest + 7);
    }
    if (transfer->progress == NULL || transfer->progress->step == NULL) {
        return;
    }
    (void) pthread_mutex_lock(&transfer->mutex);
    transfer->progress->step(transfer->progress->arg, id, status, current, total);
    (void) pthread_mutex_unlock(&transfer->mutex);
}

bool
ctr_transfer_sleep(struct ctr_transfer *transfer, int64_t milliseconds)
{
    int64_t until = ctr_monotonic_ns() + milliseconds * 1000000;
    for (;;) {
        if (ctr_transfer_cancelled(transfer)) {
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
