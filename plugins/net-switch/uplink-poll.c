/*
 * A poll loop for libslirp, made of the host's watches and timers.
 *
 * `fill` asks it which descriptors it waits for and sets the watches so; a watch that fires notes its events and asks for a `step`, which hands all noted events
 * over at once. Descriptor numbers serve as libslirp's poll indexes. While no connection exists there is no timer at all. What comes in for a VM
 * that is behind with its frames is not read: TCP then holds its sender back, which hurts nobody else.
 */
#include "uplink-priv.h"
#include <errno.h>
#include <stdlib.h>

#define NO_TIMEOUT UINT32_MAX
#define LAZY_MS                                                                                \
    5000 /* UDP and pings only end, minutes later; libslirp would look twice a second */

struct sw_fd *
sw_uplink_fd(const struct sw_uplink *up, int fd)
{
    return fd >= 0 && (size_t) fd < up->n_fds ? up->fds[fd] : NULL;
}

struct sw_fd *
sw_uplink_add_fd(struct sw_uplink *up, int fd)
{
    struct sw_fd *known = sw_uplink_fd(up, fd);
    if (known != NULL || fd < 0) {
        return known;
    }
    if ((size_t) fd >= up->n_fds) {
        size_t n = (size_t) fd + 64;
        struct sw_fd **more = realloc(up->fds, n * sizeof *more);
        if (more == NULL) {
            return NULL;
        }
        memset(more + up->n_fds, 0, (n - up->n_fds) * sizeof *more);
        up->fds = more;
        up->n_fds = n;
    }
    struct sw_fd *f = calloc(1, sizeof *f);
    if (f != NULL) {
        *f = (struct sw_fd){.uplink = up, .fd = fd};
        up->fds[fd] = f;
    }
    return f;
}

void
sw_uplink_forget_fd(struct sw_uplink *up, int fd)
{
    struct sw_fd *f = sw_uplink_fd(up, fd);
    if (f == NULL) {
        return;
    }
    up->sw->host->watch_remove(f->watch);
    if (f->flow) {
        up->flows--;
        up->streams -= f->stream;
        if (f->owner != NULL) {
            f->owner->flows--;
        }
    }
    free(f);
    up->fds[fd] = NULL;
}

void
sw_uplink_schedule(struct sw_uplink *up)
{
    if (!up->soon_armed) {
        up->soon_armed = true;
        up->sw->host->timer_set(up->soon, 0);
    }
}

static void
on_fd(void *arg, uint32_t events)
{
    struct sw_fd *f = arg;
    f->ready |= events != 0 ? events : (uint32_t) (CTR_READABLE | CTR_WRITABLE);
    f->fired = true;
    sw_uplink_schedule(f->uplink);
}

/* Makes the watch wait for what libslirp wants. A fired watch is told again: after an error it has stopped. */
static void
apply(struct sw_uplink *up, struct sw_fd *f)
{
    const struct ctr_host *host = up->sw->host;
    uint32_t want = f->generation == up->generation ? f->want : 0;
    if (f->watch == NULL && want != 0) {
        f->watch = host->watch_add(host, f->fd, want, on_fd, f);
    } else if (f->watch != NULL && (want != f->set || f->fired)) {
        host->watch_set(f->watch, want);
    }
    f->set = want;
    f->fired = false;
}

static bool
is_listening(int fd)
{
    int on = 0;
    socklen_t length = sizeof on;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &length) == 0 && on != 0;
}

/* No further connection is accepted for a container that has its share, or when all shares are given. */
static bool
is_full(const struct sw_uplink *up, const struct sw_fd *listener)
{
    const struct sw_port *port = sw_find_address(up->sw, &listener->address);
    return up->flows >= up->max_flows || port == NULL || port->flows >= up->sw->max_flows;
}

/* libslirp waits for `events` of fd; returns the index that it asks about later. */
static int
on_add_poll(int fd, int events, void *opaque)
{
    struct sw_uplink *up = opaque;
    struct sw_fd *f = sw_uplink_fd(up, fd);
    if (f == NULL && is_listening(fd)) {
        up->found = fd; /* published just now; sw_uplink_listen takes it */
    }
    f = f != NULL ? f : sw_uplink_add_fd(up, fd);
    if (f == NULL || (f->listener && is_full(up, f))) {
        return -1;
    }
    bool behind = f->owner != NULL && sw_is_behind(f->owner);
    bool reads = (events & (SLIRP_POLL_IN | SLIRP_POLL_PRI)) != 0 && !behind;
    f->generation = up->generation;
    f->want = (reads ? CTR_READABLE : 0) | ((events & SLIRP_POLL_OUT) != 0 ? CTR_WRITABLE : 0);
    return fd;
}

static int
on_get_revents(int index, void *opaque)
{
    struct sw_uplink *up = opaque;
    struct sw_fd *f = sw_uplink_fd(up, index);
    up->current = NULL;
    if (f == NULL) {
        return 0;
    }
    if (f->listener) {
        up->current = sw_find_address(up->sw, &f->address);
    }
    uint32_t ready = f->ready & f->want;
    f->ready = 0;
    return ((ready & CTR_READABLE) != 0 ? SLIRP_POLL_IN : 0) |
           ((ready & CTR_WRITABLE) != 0 ? SLIRP_POLL_OUT : 0);
}

void
sw_uplink_fill(struct sw_uplink *up)
{
    uint32_t timeout = NO_TIMEOUT;
    up->generation++;
    slirp_pollfds_fill(up->slirp, &timeout, on_add_poll, up);
    for (size_t i = 0; i < up->n_fds; i++) {
        if (up->fds[i] != NULL) {
            apply(up, up->fds[i]);
        }
    }
    if (up->streams == 0 && timeout < LAZY_MS) {
        timeout = LAZY_MS;
    }
    if (up->flows > 0) {
        up->sw->host->timer_set(up->tick, timeout);
    }
}

void
sw_uplink_step(struct sw_uplink *up)
{
    up->stepped_ms = sw_now_ms();
    slirp_pollfds_poll(up->slirp, 0, on_get_revents, up);
    up->current = NULL;
    sw_uplink_fill(up);
}

static void
on_soon(void *arg)
{
    struct sw_uplink *up = arg;
    up->soon_armed = false;
    sw_uplink_step(up);
    sw_flush(up->sw);
}

static void
on_tick(void *arg)
{
    struct sw_uplink *up = arg;
    sw_uplink_step(up);
    sw_flush(up->sw);
}

int
sw_uplink_poll_init(struct sw_uplink *up)
{
    const struct ctr_host *host = up->sw->host;
    up->soon_armed = true; /* a timer runs from its start */
    up->soon = host->timer_add(host, 0, on_soon, up);
    up->tick = host->timer_add(host, 0, on_tick, up);
    return up->soon == NULL || up->tick == NULL ? -ENOMEM : 0;
}

void
sw_uplink_poll_finish(struct sw_uplink *up)
{
    for (size_t i = 0; i < up->n_fds; i++) {
        sw_uplink_forget_fd(up, (int) i);
    }
    up->sw->host->timer_remove(up->tick);
    up->sw->host->timer_remove(up->soon);
    free(up->fds);
}
