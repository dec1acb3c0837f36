/*
 * libslirp: what it calls, and what the switch asks of it.
 *
 * It asks for the MACs of containers like a neighbour, and is told by us that all are ours: where a packet goes is found by its address. So it
 * sees nothing of the containers' ARP and neighbour discovery. Its own name service, DHCP and router advertisements are off. The host's loopback is open in it, at
 * the address rules.host and, by IPv6, at the gateway's alone (its IPv6 prefix is that one address): what may go there is judged before.
 */
#include "uplink-priv.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define STALE_MS 10 /* libslirp reads its clock only in a step */
#define BACKLOG 128

/* --- what libslirp calls --- */

/* Answers libslirp's question for the MAC of a container. */
static void
tell_neighbour(struct sw_uplink *up, const struct sw_frame *question)
{
    uint8_t reply[SW_NEIGHBOUR];
    bool arp = question->type == SW_TYPE_ARP;
    if (sw_find_address(up->sw, arp ? &question->target : &question->neighbour) != NULL) {
        size_t length = sw_neighbour_answer(question, &up->sw->rules, reply);
        slirp_input(up->slirp, reply, (int) length);
        sw_uplink_schedule(up); /* it sends what waited for this in a step */
    }
}

static ssize_t
on_packet(const void *bytes, size_t length, void *opaque)
{
    struct sw_uplink *up = opaque;
    struct sw_frame frame;
    if (sw_parse(bytes, length, &frame)) {
        bool asks = frame.type == SW_TYPE_ARP
                        ? frame.arp_op == 1
                        : frame.proto == SW_ICMPV6 && frame.icmp_type == SW_SOLICIT;
        asks ? tell_neighbour(up, &frame) : sw_from_uplink(up->sw, bytes, length);
    }
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

/* Its one timer is for router advertisements, which nobody gets: it never runs. */
static void *
on_timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
    return opaque;
}

static void
on_timer_free(void *timer, void *opaque)
{
}

static void
on_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
}

static void
on_register(int fd, void *opaque)
{
    struct sw_uplink *up = opaque;
    sw_uplink_forget_fd(up, fd); /* a number used anew */
    struct sw_fd *f = sw_uplink_add_fd(up, fd);
    if (f == NULL) {
        return;
    }
    int type = 0;
    socklen_t length = sizeof type;
    (void) getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length);
    f->flow = true;
    f->stream = type == SOCK_STREAM;
    f->owner = up->current;
    up->flows++;
    up->streams += f->stream;
    if (f->owner != NULL) {
        f->owner->flows++;
    }
}

static void
on_unregister(int fd, void *opaque)
{
    sw_uplink_forget_fd(opaque, fd);
}

static void
on_notify(void *opaque)
{
    sw_uplink_schedule(opaque);
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

/* --- what the switch asks --- */

static size_t
flow_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > 65536) {
        return 65536 / 4 * 3;
    }
    return (size_t) limit.rlim_cur / 4 * 3;
}

static struct in_addr
in4(const struct ctr_address *address)
{
    return (struct in_addr){.s_addr = htonl(sw_ipv4_value(address))};
}

static Slirp *
make_slirp(struct sw_uplink *up)
{
    const struct sw_rules *rules = &up->sw->rules;
    SlirpConfig config = {
        .version = 4,
        .in_enabled = true,
        .vnetwork = in4(&rules->net.address),
        .vnetmask.s_addr = htonl(0xffffffffU << (32 - rules->net.prefix)),
        .vhost = in4(&rules->host),
        .vnameserver = in4(&rules->host),
        .vdhcp_start = in4(&rules->host),
        .if_mtu = (int) up->sw->mtu,
        .if_mru = (int) up->sw->mtu,
        .disable_dns = true,
        .disable_dhcp = true,
    };
    if (rules->gateway6.family == 6) {
        config.in6_enabled = true;
        memcpy(&config.vhost6, rules->gateway6.bytes, 16);
        config.vprefix_addr6 = config.vhost6;
        config.vprefix_len = 128;
        config.vnameserver6 = config.vhost6;
    }
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
    up->slirp = sw_uplink_poll_init(up) == 0 ? make_slirp(up) : NULL;
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
    sw_uplink_poll_finish(up);
    free(up);
}

/* TCP may fill the port's share; a quarter more is kept for DNS and ping. */
static bool
has_room(const struct sw_uplink *up, const struct sw_port *port, const struct sw_frame *frame)
{
    uint32_t max = up->sw->max_flows;
    if (frame->proto == SW_TCP) {
        return !sw_opens(frame) || (port->flows < max && up->flows < up->max_flows);
    }
    return port->flows < max + max / 4 && up->flows < up->max_flows;
}

bool
sw_uplink_input(struct sw_uplink *up, struct sw_port *from, const struct sw_frame *frame)
{
    if (frame->proto == SW_ICMPV6) {
        return false; /* libslirp 4.7 sends no pings by IPv6 */
    }
    if (sw_now_ms() - up->stepped_ms >= STALE_MS) {
        sw_uplink_step(up);
    }
    if (!has_room(up, from, frame)) {
        from->stats.dropped++;
        return true;
    }
    up->current = from;
    slirp_input(up->slirp, frame->bytes, (int) frame->length);
    up->current = NULL;
    sw_uplink_schedule(up);
    return true;
}

void
sw_uplink_forget(struct sw_uplink *up, const struct sw_port *from)
{
    for (size_t i = 0; i < up->n_fds; i++) {
        struct sw_fd *f = up->fds[i];
        if (f != NULL && f->owner == from) {
            f->owner = NULL;
            /* the other side learns of it; libslirp closes */
            (void) shutdown(f->fd, SHUT_RDWR);
        }
    }
}

void
sw_uplink_resume(struct sw_uplink *up)
{
    sw_uplink_schedule(up);
}

int
sw_uplink_listen(struct sw_uplink *up, struct sw_published *p, struct ctr_error *why)
{
    struct sockaddr_storage host, guest, name;
    struct ctr_address address;
    socklen_t host_length = sw_to_sockaddr(&p->host_address, p->host_port, &host);
    socklen_t guest_length = sw_to_sockaddr(&p->address, p->port, &guest), length = sizeof name;
    errno = 0;
    if (slirp_add_hostxfwd(up->slirp, (void *) &host, host_length, (void *) &guest,
                           guest_length, SLIRP_HOSTFWD_V6ONLY) != 0) {
        return errno != 0 ? -errno : -EIO;
    }
    up->found = -1;
    sw_uplink_fill(up);
    struct sw_fd *f = sw_uplink_fd(up, up->found);
    if (f == NULL || getsockname(f->fd, (struct sockaddr *) &name, &length) != 0 ||
        !sw_from_sockaddr(&name, &address, &p->host_port)) {
        return -EMFILE;
    }
    f->listener = true;
    f->address = p->address;
    (void) listen(f->fd, BACKLOG); /* libslirp's own backlog is 1 */
    return 0;
}

void
sw_uplink_unlisten(struct sw_uplink *up, const struct sw_published *p)
{
    struct sockaddr_storage host;
    socklen_t length = sw_to_sockaddr(&p->host_address, p->host_port, &host);
    (void) slirp_remove_hostxfwd(up->slirp, (void *) &host, length, SLIRP_HOSTFWD_V6ONLY);
}
