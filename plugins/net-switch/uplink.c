/*
 * The way out: libslirp as one more neighbour on the switch.
 *
 * libslirp wants a poll loop; this gives it one made of the host's watches and timers. `fill` asks it which descriptors
 * it waits for and sets the watches so; a watch that fires notes its events and asks for a `step`, which hands all noted events
 * over at once. Descriptor numbers serve as libslirp's poll indexes. While no connection exists there is no timer at all.
 *
 * Each connection belongs to the port that opened it (or was opened to), so that one guest can't use up all descriptors.
 */
#include "switch-priv.h"
#include <errno.h>
#include <libslirp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define STALE_MS 10 /* libslirp reads its clock only in a step */
#define BACKLOG 128
#define NO_TIMEOUT UINT32_MAX

struct sw_fd {
    struct ctr_watch *watch;
    struct sw_uplink *uplink;
    int fd;
    uint32_t want, ready, set; /* enum ctr_watch_events: asked for, noted, told to the watch */
    uint32_t generation;       /* of the fill that asked */
    bool fired;                /* since the watch was last told */
    bool flow, listener;       /* a connection; a published port */
    struct sw_port *owner;     /* of a flow, may be NULL */
    uint32_t address;          /* of a listener's container */
};

struct sw_uplink {
    struct sw *sw;
    Slirp *slirp;
    struct sw_fd **fds; /* by descriptor */
    size_t n_fds;
    uint32_t generation;
    size_t flows, max_flows;
    struct sw_port *current; /* whose frame or connection libslirp looks at */
    int found;               /* a listener that was not known yet */
    struct ctr_timer *tick, *soon;
    bool soon_armed;
    uint64_t stepped_ms;
};

struct sw_slirp_timer {
    struct sw_uplink *uplink;
    SlirpTimerId id;
    void *opaque;
    struct ctr_timer *timer;
};

static void step(struct sw_uplink *up);

/* --- descriptors --- */

static struct sw_fd *
find_fd(const struct sw_uplink *up, int fd)
{
    return fd >= 0 && (size_t) fd < up->n_fds ? up->fds[fd] : NULL;
}

static struct sw_fd *
get_fd(struct sw_uplink *up, int fd)
{
    struct sw_fd *known = find_fd(up, fd);
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

static void
forget_fd(struct sw_uplink *up, int fd)
{
    struct sw_fd *f = find_fd(up, fd);
    if (f == NULL) {
        return;
    }
    up->sw->host->watch_remove(f->watch);
    if (f->flow) {
        up->flows--;
        if (f->owner != NULL) {
            f->owner->flows--;
        }
    }
    free(f);
    up->fds[fd] = NULL;
}

static void
schedule(struct sw_uplink *up)
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
    schedule(f->uplink);
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
    const struct sw_port *port = sw_find_address(up->sw, listener->address);
    return up->flows >= up->max_flows || port == NULL || port->flows >= up->sw->max_flows;
}

/* libslirp waits for `events` of fd; returns the index that it asks about later. */
static int
on_add_poll(int fd, int events, void *opaque)
{
    struct sw_uplink *up = opaque;
    struct sw_fd *f = find_fd(up, fd);
    if (f == NULL && is_listening(fd)) {
        up->found = fd; /* published just now; sw_uplink_listen takes it */
    }
    f = f != NULL ? f : get_fd(up, fd);
    if (f == NULL || (f->listener && is_full(up, f))) {
        return -1;
    }
    f->generation = up->generation;
    f->want = ((events & (SLIRP_POLL_IN | SLIRP_POLL_PRI)) != 0 ? CTR_READABLE : 0) |
              ((events & SLIRP_POLL_OUT) != 0 ? CTR_WRITABLE : 0);
    return fd;
}

static int
on_get_revents(int index, void *opaque)
{
    struct sw_uplink *up = opaque;
    struct sw_fd *f = find_fd(up, index);
    up->current = NULL;
    if (f == NULL) {
        return 0;
    }
    if (f->listener) {
        up->current = sw_find_address(up->sw, f->address);
    }
    uint32_t ready = f->ready & f->want;
    f->ready = 0;
    return ((ready & CTR_READABLE) != 0 ? SLIRP_POLL_IN : 0) |
           ((ready & CTR_WRITABLE) != 0 ? SLIRP_POLL_OUT : 0);
}

static void
fill(struct sw_uplink *up)
{
    uint32_t timeout = NO_TIMEOUT;
    up->generation++;
    slirp_pollfds_fill(up->slirp, &timeout, on_add_poll, up);
    for (size_t i = 0; i < up->n_fds; i++) {
        if (up->fds[i] != NULL) {
            apply(up, up->fds[i]);
        }
    }
    if (up->flows > 0) {
        up->sw->host->timer_set(up->tick, timeout);
    }
}

static void
step(struct sw_uplink *up)
{
    up->stepped_ms = sw_now_ms();
    slirp_pollfds_poll(up->slirp, 0, on_get_revents, up);
    up->current = NULL;
    fill(up);
}

static void
on_soon(void *arg)
{
    struct sw_uplink *up = arg;
    up->soon_armed = false;
    step(up);
}

static void
on_tick(void *arg)
{
    step(arg);
}

/* --- libslirp's callbacks --- */

static ssize_t
on_packet(const void *bytes, size_t length, void *opaque)
{
    struct sw_uplink *up = opaque;
    sw_from_uplink(up->sw, bytes, length);
    return (ssize_t) length;
}

static void
on_guest_error(const char *message, void *opaque)
{
}

static int64_t
on_clock(void *opaque)
{
    struct timespec ts;
    (void) clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void
on_slirp_timer(void *arg)
{
    struct sw_slirp_timer *t = arg;
    slirp_handle_timer(t->uplink->slirp, t->id, t->opaque);
    schedule(t->uplink);
}

static void *
on_timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
    struct sw_slirp_timer *t = calloc(1, sizeof *t);
    if (t != NULL) {
        *t = (struct sw_slirp_timer){.uplink = opaque, .id = id, .opaque = cb_opaque};
    }
    return t;
}

static void
on_timer_free(void *timer, void *opaque)
{
    struct sw_uplink *up = opaque;
    struct sw_slirp_timer *t = timer;
    if (t != NULL) {
        up->sw->host->timer_remove(t->timer);
        free(t);
    }
}

static void
on_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
    struct sw_uplink *up = opaque;
    const struct ctr_host *host = up->sw->host;
    struct sw_slirp_timer *t = timer;
    int64_t left = expire_ms - on_clock(NULL) / 1000000;
    uint64_t ms = left > 0 ? (uint64_t) left : 0;
    if (t == NULL) {
        return;
    }
    if (t->timer == NULL) {
        t->timer = host->timer_add(host, ms, on_slirp_timer, t);
    } else {
        host->timer_set(t->timer, ms);
    }
}

static void
on_register(int fd, void *opaque)
{
    struct sw_uplink *up = opaque;
    forget_fd(up, fd); /* a number used anew */
    struct sw_fd *f = get_fd(up, fd);
    if (f == NULL) {
        return;
    }
    f->flow = true;
    f->owner = up->current;
    up->flows++;
    if (f->owner != NULL) {
        f->owner->flows++;
    }
}

static void
on_unregister(int fd, void *opaque)
{
    forget_fd(opaque, fd);
}

static void
on_notify(void *opaque)
{
    schedule(opaque);
}

static const SlirpCb callbacks = {
    .send_packet = on_packet,
    .guest_error = on_guest_error,
    .clock_get_ns = on_clock,
    .timer_free = on_timer_free,
    .timer_mod = on_timer_mod,
    .register_poll_fd = on_register,
    .unregister_poll_fd = on_unregister,
    .notify = on_notify,
    .timer_new_opaque = on_timer_new,
};

/* --- for the switch --- */

static size_t
flow_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > 65536) {
        return 65536 / 4 * 3;
    }
    return (size_t) limit.rlim_cur / 4 * 3;
}

static Slirp *
make_slirp(struct sw_uplink *up)
{
    const struct sw_rules *rules = &up->sw->rules;
    SlirpConfig config = {
        .version = 4,
        .in_enabled = true,
        .vnetwork.s_addr = htonl(rules->subnet),
        .vnetmask.s_addr = htonl(rules->mask),
        .vhost.s_addr = htonl(rules->uplink),
        .vnameserver.s_addr = htonl(rules->dns),
        .vdhcp_start.s_addr = htonl(rules->uplink),
        .if_mtu = up->sw->mtu,
        .if_mru = up->sw->mtu,
        .disable_host_loopback = true,
        .disable_dhcp = true,
    };
    return slirp_new(&config, &callbacks, up);
}

int
sw_uplink_create(struct sw *sw, struct sw_uplink **ret, struct ctr_error *err)
{
    struct sw_uplink *up = calloc(1, sizeof *up);
    if (up == NULL) {
        return ctr_fail(err, -ENOMEM, "way out: out of memory");
    }
    up->sw = sw;
    up->found = -1;
    up->max_flows = flow_limit();
    up->soon_armed = true; /* a timer runs from its start */
    up->soon = sw->host->timer_add(sw->host, 0, on_soon, up);
    up->tick = sw->host->timer_add(sw->host, 0, on_tick, up);
    up->slirp = up->soon != NULL && up->tick != NULL ? make_slirp(up) : NULL;
    if (up->slirp == NULL) {
        sw_uplink_destroy(up);
        return ctr_fail(err, -ENOMEM, "way out: libslirp does not start");
    }
    *ret = up;
    return 0;
}

void
sw_uplink_destroy(struct sw_uplink *up)
{
    if (up == NULL) {
        return;
    }
    if (up->slirp != NULL) {
        slirp_cleanup(up->slirp);
    }
    for (size_t i = 0; i < up->n_fds; i++) {
        forget_fd(up, (int) i);
    }
    up->sw->host->timer_remove(up->tick);
    up->sw->host->timer_remove(up->soon);
    free(up->fds);
    free(up);
}

/* TCP may fill the port's share; a quarter more is kept for DNS and ping. */
static bool
has_room(const struct sw_uplink *up, const struct sw_port *port, const struct sw_frame *frame)
{
    uint32_t max = up->sw->max_flows;
    if (frame->type != SW_TYPE_IPV4) {
        return true;
    }
    if (frame->proto == SW_TCP) {
        bool opens = (frame->tcp_flags & (SW_TCP_SYN | SW_TCP_ACK)) == SW_TCP_SYN;
        return !opens || (port->flows < max && up->flows < up->max_flows);
    }
    return port->flows < max + max / 4 && up->flows < up->max_flows;
}

void
sw_uplink_input(struct sw_uplink *up, struct sw_port *from, const struct sw_frame *frame)
{
    if (sw_now_ms() - up->stepped_ms >= STALE_MS) {
        step(up);
    }
    if (!has_room(up, from, frame)) {
        from->stats.dropped++;
        return;
    }
    up->current = from;
    slirp_input(up->slirp, frame->bytes, (int) frame->length);
    up->current = NULL;
    schedule(up);
}

void
sw_uplink_forget(struct sw_uplink *up, const struct sw_port *from)
{
    for (size_t i = 0; i < up->n_fds; i++) {
        struct sw_fd *f = up->fds[i];
        if (f != NULL && f->owner == from) {
            f->owner = NULL;
            (void) shutdown(f->fd,
                            SHUT_RDWR); /* the other side learns of it; libslirp closes */
        }
    }
}

int
sw_uplink_listen(struct sw_uplink *up, struct sw_published *p)
{
    struct in_addr host = {.s_addr = htonl(p->host_address)};
    struct in_addr guest = {.s_addr = htonl(p->address)};
    errno = 0;
    if (slirp_add_hostfwd(up->slirp, 0, host, p->host_port, guest, p->port) != 0) {
        return errno != 0 ? -errno : -EIO;
    }
    up->found = -1;
    fill(up);
    struct sw_fd *f = find_fd(up, up->found);
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    if (f == NULL || getsockname(f->fd, (struct sockaddr *) &name, &length) != 0) {
        return -EMFILE;
    }
    f->listener = true;
    f->address = p->address;
    p->host_port = ntohs(name.sin_port);
    (void) listen(f->fd, BACKLOG); /* libslirp's own backlog is 1 */
    return 0;
}

void
sw_uplink_unlisten(struct sw_uplink *up, const struct sw_published *p)
{
    struct in_addr host = {.s_addr = htonl(p->host_address)};
    (void) slirp_remove_hostfwd(up->slirp, 0, host, p->host_port);
}
