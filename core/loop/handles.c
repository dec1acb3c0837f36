/*
 * Watches, timers and signals: thin coats over uv_poll_t, uv_timer_t and uv_signal_t. A handle's memory goes in its close
 * callback, so that removing one inside its own callback is safe.
 */
#include "core/loop/loop-priv.h"

struct ctr_watch {
    uv_poll_t poll;
    uint32_t events;
    void (*cb)(void *arg, uint32_t events);
    void *arg;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static int
arm(struct ctr_watch *watch)
{
    int events = ((watch->events & CTR_READABLE) != 0 ? UV_READABLE : 0) |
                 ((watch->events & CTR_WRITABLE) != 0 ? UV_WRITABLE : 0);
    return events == 0 ? uv_poll_stop(&watch->poll)
                       : uv_poll_start(&watch->poll, events, on_poll);
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
    struct ctr_watch *watch = poll->data;
    uint32_t ready = ((events & UV_READABLE) != 0 ? CTR_READABLE : 0U) |
                     ((events & UV_WRITABLE) != 0 ? CTR_WRITABLE : 0U);
    if (status < 0) {
        /* libuv stops on an error of the descriptor. To the owner it is ready: read or write will tell the error. */
        (void) arm(watch);
        ready = watch->events;
    }
    watch->cb(watch->arg, ready & watch->events);
}

struct ctr_watch *
ctr_watch_add(struct ctr_loop *loop, int fd, uint32_t events,
              void (*cb)(void *arg, uint32_t events), void *arg)
{
    struct ctr_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    watch->events = events;
    watch->cb = cb;
    watch->arg = arg;
    int code = uv_poll_init(&loop->uv, &watch->poll, fd);
    if (code != 0) {
        free(watch);
        errno = -code;
        return NULL;
    }
    watch->poll.data = watch;
    code = arm(watch);
    if (code != 0) {
        ctr_watch_remove(watch);
        errno = -code;
        return NULL;
    }
    return watch;
}

void
ctr_watch_set(struct ctr_watch *watch, uint32_t events)
{
    if (watch->events != events) {
        watch->events = events;
        (void) arm(watch);
    }
}

void
ctr_watch_remove(struct ctr_watch *watch)
{
    if (watch != NULL && !uv_is_closing((uv_handle_t *) &watch->poll)) {
        uv_close((uv_handle_t *) &watch->poll, ctr_loop_free_handle);
    }
}

struct ctr_timer {
    uv_timer_t timer;
    void (*cb)(void *arg);
    void *arg;
};

static void
on_timer(uv_timer_t *handle)
{
    struct ctr_timer *timer = handle->data;
    timer->cb(timer->arg);
}

struct ctr_timer *
ctr_timer_add(struct ctr_loop *loop, uint64_t ms, void (*cb)(void *arg), void *arg)
{
    struct ctr_timer *timer = calloc(1, sizeof *timer);
    if (timer == NULL || uv_timer_init(&loop->uv, &timer->timer) != 0) {
        free(timer);
        errno = ENOMEM;
        return NULL;
    }
    timer->timer.data = timer;
    timer->cb = cb;
    timer->arg = arg;
    ctr_timer_set(timer, ms);
    return timer;
}

void
ctr_timer_set(struct ctr_timer *timer, uint64_t ms)
{
    /* The loop's idea of now is that of its last turn; a long callback would shorten the time. */
    uv_update_time(timer->timer.loop);
    (void) uv_timer_start(&timer->timer, on_timer, ms, 0);
}

void
ctr_timer_remove(struct ctr_timer *timer)
{
    if (timer != NULL && !uv_is_closing((uv_handle_t *) &timer->timer)) {
        uv_close((uv_handle_t *) &timer->timer, ctr_loop_free_handle);
    }
}

struct signal_watch {
    uv_signal_t handle;
    void (*cb)(void *arg, int signal);
    void *arg;
};

static void
on_signal(uv_signal_t *handle, int signal)
{
    struct signal_watch *watch = handle->data;
    watch->cb(watch->arg, signal);
}

int
ctr_signal_watch(struct ctr_loop *loop, int signal, void (*cb)(void *arg, int signal),
                 void *arg, struct ctr_error *err)
{
    struct signal_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        return ctr_fail(err, -ENOMEM, "signal %d: out of memory", signal);
    }
    watch->cb = cb;
    watch->arg = arg;
    int code = uv_signal_init(&loop->uv, &watch->handle);
    if (code != 0) {
        free(watch);
        return ctr_fail(err, code, "signal %d: %s", signal, uv_strerror(code));
    }
    watch->handle.data = watch;
    code = uv_signal_start(&watch->handle, on_signal, signal);
    if (code != 0) {
        uv_close((uv_handle_t *) &watch->handle, ctr_loop_free_handle);
        return ctr_fail(err, code, "signal %d: %s", signal, uv_strerror(code));
    }
    return 0;
}
