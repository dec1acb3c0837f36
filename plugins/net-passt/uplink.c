/*
 * The way out, as net-switch knows it: which passt takes a frame of a port, and which of passt's frames reach the port. See passt-priv.h.
 *
 * passt takes answers from anybody to a UDP port that a guest has sent from, and connections for all that it listens on: in goes only what belongs to
 * something that the guest sent, or to a port that is published.
 */
#include "passt-priv.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 128
#define ANSWER_MS (180 * 1000) /* as long as passt itself waits */

enum {
    ECHO_REPLY = 0,
    ECHO_REPLY6 = 129,
};

/* --- ports of the switch --- */

/* The guest of a port, first in the list from now on; NULL: it has none, or out of memory where `make`. */
static struct guest *
guest_of(struct sw_uplink *up, struct sw_port *port, bool make)
{
    struct guest **at = &up->guests;
    while (*at != NULL && (*at)->port != port) {
        at = &(*at)->next;
    }
    struct guest *guest = *at;
    if (guest != NULL) {
        *at = guest->next;
    } else if (make && (guest = calloc(1, sizeof *guest)) != NULL) {
        *guest = (struct guest){.up = up, .port = port};
        guest->ways = way_create(guest);
        if (guest->ways == NULL) {
            free(guest);
            guest = NULL;
        }
    }
    if (guest != NULL) {
        guest->next = up->guests;
        up->guests = guest;
    }
    return guest;
}

/* The first guest of the list. */
static void
drop_guest(struct sw_uplink *up)
{
    struct guest *guest = up->guests;
    up->guests = guest->next;
    while (guest->ways != NULL) {
        struct way *way = guest->ways;
        guest->ways = way->next;
        way_destroy(way);
    }
    free(guest->flows);
    free(guest);
}

int
sw_uplink_create(struct sw *sw, struct sw_uplink **ret, struct ctr_error *err)
{
    char *binary = passt_find(sw->host, err);
    if (binary == NULL) {
        return err->code;
    }
    struct sw_uplink *up = calloc(1, sizeof *up);
    if (up == NULL) {
        free(binary);
        return ctr_fail(err, -ENOMEM, "way out: out of memory");
    }
    *up = (struct sw_uplink){.sw = sw, .binary = binary};
    *ret = up;
    return 0;
}

void
sw_uplink_destroy(struct sw_uplink *up)
{
    if (up == NULL) {
        return;
    }
    while (up->guests != NULL) {
        drop_guest(up);
    }
    free(up->binary);
    free(up);
}

void
sw_uplink_forget(struct sw_uplink *up, const struct sw_port *from)
{
    if (guest_of(up, (struct sw_port *) (uintptr_t) from, false) != NULL) {
        drop_guest(up);
    }
}

void
sw_uplink_resume(struct sw_uplink *up)
{
    for (struct guest *g = up->guests; g != NULL; g = g->next) {
        for (struct way *w = g->ways; w != NULL; w = w->next) {
            way_resume(w);
        }
    }
}

/* --- frames --- */

/* The second step of a connection from outside. */
static bool
is_accepting(const struct sw_frame *f)
{
    const uint8_t both = SW_TCP_SYN | SW_TCP_ACK;
    return f->proto == SW_TCP && (f->tcp_flags & both) == both;
}

/* What belongs to a connection from outside goes back where that came from, all else goes out by the first. */
static struct way *
choose(struct guest *guest, const struct sw_frame *f)
{
    bool udp = f->proto == SW_UDP, one = guest->ways->next == NULL;
    struct flow *flow = NULL;
    if (udp || is_accepting(f) || (f->proto == SW_TCP && !one && !sw_opens(f))) {
        flow = flow_find(guest, f->proto, f->source_port, &f->target, f->target_port, udp);
    }
    if (flow == NULL) {
        return guest->ways;
    }
    flow->used_ms = sw_now_ms();
    flow->way = flow->way == NULL ? guest->ways : flow->way;
    if (is_accepting(f)) {
        handshake_finish(guest, f);
    }
    return flow->way;
}

static bool
is_running(struct way *way)
{
    struct ctr_error err = CTR_ERROR_INIT;
    if (way->child != NULL || sw_now_ms() < way->not_before_ms) {
        return way->child != NULL;
    }
    if (way_start(way, &err) != 0) {
        way->guest->up->sw->host->log(way->guest->up->sw->host, CTR_LOG_ERROR, err.msg);
        way_start_later(way, 1000);
    }
    return way->child != NULL;
}

bool
sw_uplink_input(struct sw_uplink *up, struct sw_port *from, const struct sw_frame *frame)
{
    struct guest *guest = guest_of(up, from, true);
    struct way *way =
        guest == NULL || frame->length > sizeof up->changed ? NULL : choose(guest, frame);
    if (way == NULL || !is_running(way)) {
        from->stats.dropped++;
        return true;
    }
    way->used = true;
    const uint8_t *bytes = local_leave(guest, frame, up->changed) ? up->changed : frame->bytes;
    if (!way_send(way, bytes, frame->length)) {
        from->stats.dropped++;
    }
    return true;
}

static bool
is_published(const struct way *way, const struct sw_frame *f)
{
    for (size_t i = 0; i < way->n_ports; i++) {
        if (way->ports[i]->port == f->target_port &&
            way->ports[i]->address.family == f->target.family) {
            return true;
        }
    }
    return false;
}

static bool
may_enter(struct way *way, const struct sw_frame *f)
{
    struct guest *guest = way->guest;
    const struct sw_identity *who = &guest->port->who;
    if (!sw_same(&f->target, &who->address) && !sw_same(&f->target, &who->address6)) {
        return false;
    }
    if (sw_opens(f)) {
        struct flow *flow = is_published(way, f) ? flow_find(guest, SW_TCP, f->target_port,
                                                             &f->source, f->source_port, true)
                                                 : NULL;
        if (flow != NULL) {
            flow->way = way;
            flow->used_ms = sw_now_ms();
            way->used = true;
        }
        return flow != NULL;
    }
    if (f->proto == SW_UDP) {
        const struct flow *flow =
            flow_find(guest, SW_UDP, f->target_port, &f->source, f->source_port, false);
        return flow != NULL && flow->way == way && sw_now_ms() - flow->used_ms < ANSWER_MS;
    }
    return f->proto == SW_TCP || (f->proto == SW_ICMP && f->icmp_type == ECHO_REPLY) ||
           (f->proto == SW_ICMPV6 && f->icmp_type == ECHO_REPLY6);
}

void
guest_from_way(struct way *way, uint8_t *bytes, size_t length)
{
    struct sw_frame frame;
    (void) local_come(way->guest, bytes, length);
    if (!sw_parse(bytes, length, &frame)) {
        return;
    }
    if (frame.type == SW_TYPE_ARP) {
        way->ready = true; /* the one question that way_wait asks */
    } else if (!frame.options && !frame.fragment && may_enter(way, &frame)) {
        sw_from_uplink(way->guest->up->sw, bytes, length);
    }
}

/* --- published ports --- */

/* Binds a port and gives it back: the reasons why that may fail, and a free one for 0. */
static int
probe(struct sw_published *p)
{
    struct sockaddr_storage name;
    struct ctr_address address;
    socklen_t length = sw_to_sockaddr(&p->host_address, p->host_port, &name);
    int on = 1, fd = socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (p->host_address.family == 6) {
        (void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    }
    int code = bind(fd, (struct sockaddr *) &name, length) == 0 && listen(fd, BACKLOG) == 0 &&
                       getsockname(fd, (struct sockaddr *) &name, &length) == 0
                   ? 0
                   : -errno;
    (void) close(fd);
    if (code == 0) {
        (void) sw_from_sockaddr(&name, &address, &p->host_port);
    }
    return code;
}

/* passt knows a host's port once; all IPv4 and all IPv6 addresses can be one for it. */
static bool
can_carry(const struct way *way, const struct sw_published *p)
{
    const struct ctr_address any4 = {.family = 4}, any6 = {.family = 6};
    for (size_t i = 0; i < way->n_ports; i++) {
        const struct sw_published *q = way->ports[i];
        bool any = (sw_same(&p->host_address, &any4) && sw_same(&q->host_address, &any6)) ||
                   (sw_same(&p->host_address, &any6) && sw_same(&q->host_address, &any4));
        if (q->host_port == p->host_port && !(any && q->port == p->port)) {
            return false;
        }
    }
    return true;
}

/* One that has carried nothing yet, else a new one. */
static struct way *
way_for(struct guest *guest, const struct sw_published *p)
{
    struct way **at = &guest->ways;
    for (; *at != NULL; at = &(*at)->next) {
        if (!(*at)->used && can_carry(*at, p)) {
            return *at;
        }
    }
    *at = way_create(guest);
    return *at;
}

static int
add_port(struct way *way, const struct sw_published *p)
{
    const struct sw_published **more =
        realloc(way->ports, (way->n_ports + 1) * sizeof(*way->ports));
    if (more == NULL) {
        return -ENOMEM;
    }
    way->ports = more;
    way->ports[way->n_ports++] = p;
    return 0;
}

/* What is left of the way without a port: it is started again for the others, or is no more. */
static void
take_port(struct way *way, const struct sw_published *p)
{
    struct guest *guest = way->guest;
    size_t i = 0;
    while (i < way->n_ports && way->ports[i] != p) {
        i++;
    }
    way->ports[i] = way->ports[--way->n_ports];
    way_stop(way);
    if (way->n_ports > 0) {
        way_start_later(way, 0);
    } else if (way != guest->ways) {
        struct way **at = &guest->ways;
        while (*at != way) {
            at = &(*at)->next;
        }
        *at = way->next;
        way_destroy(way);
    }
}

int
sw_uplink_listen(struct sw_uplink *up, struct sw_published *p, struct ctr_error *why)
{
    int code = probe(p);
    if (code != 0) {
        return code;
    }
    struct guest *guest = guest_of(up, sw_find_address(up->sw, &p->address), true);
    struct way *way = guest == NULL ? NULL : way_for(guest, p);
    if (way == NULL || add_port(way, p) != 0) {
        return -ENOMEM;
    }
    way_stop(way);
    code = way_start(way, why);
    code = code != 0 ? code : way_wait(way, why);
    if (code != 0) {
        take_port(way, p);
    }
    return code;
}

void
sw_uplink_unlisten(struct sw_uplink *up, const struct sw_published *p)
{
    for (struct guest *g = up->guests; g != NULL; g = g->next) {
        for (struct way *w = g->ways; w != NULL; w = w->next) {
            for (size_t i = 0; i < w->n_ports; i++) {
                if (w->ports[i] == p) {
                    take_port(w, p);
                    return;
                }
            }
        }
    }
}
