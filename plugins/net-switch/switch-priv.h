/*
 * net-switch: a layer 2 switch in user space. One `struct sw` per network, all on the loop's thread.
 *
 *     VM ──socketpair── port ┐                                   ┌─ own.c: ARP, neighbours, ping; dns.c, stream.c: the resolver
 *     VM ──socketpair── port ┼─ switch.c: who may send, whereto ─┼─ udp.c: published UDP ports
 *     VM ──socketpair── port ┘                                   └─ uplink.c: the way out, and published TCP ports
 *
 * Frames that go to a VM are gathered while a batch is worked on, and sent at its end by sw_flush: each callback of the loop that may send ends with it.
 *
 * The way out is chosen at link time: another plugin made of these sources brings another uplink.c and plugin.c, nothing else knows what is behind it.
 */
#ifndef CTR_SWITCH_PRIV_H
#define CTR_SWITCH_PRIV_H

#include "packet.h"
#include <ctr/net.h>

#define SW_BUCKETS 256
#define SW_BATCH 64              /* frames taken from one VM before others have their turn */
#define SW_BATCH_BYTES (1 << 20) /* room for them */
#define SW_QUEUE 1024            /* frames that wait for one VM */
#define SW_QUEUE_BYTES (2 << 20) /* and their bytes */
#define SW_SOURCES 64            /* that share a queue: a quarter of it at most, 0 half */
#define SW_BUFFER (1 << 20)      /* bytes asked for each socket buffer */
#define SW_CLIENTS 256           /* remembered clients of one published UDP port */
#define SW_PUBLISHED 4096        /* published ports of a network */
#define SW_QUESTIONS 256         /* that one container may have open with the resolver */
#define SW_STREAMS 16            /* TCP connections likewise */
#define SW_ANSWERS_PER_SECOND                                                                  \
    1000 /* of the network's own to one VM: ARP, pings, ICMP errors, resets */
#define SW_HOST_PORTS 64
#define SW_MIN_MTU 576
#define SW_MIN_MTU6 1280 /* with IPv6 */
#define SW_MAX_MTU 65520
#define SW_MAX_UDP 65507 /* bytes in a datagram */
#define SW_HEADERS (SW_ETHER + SW_IPV6 + 8)

struct sw;
struct sw_uplink;

/* So much a second, so much at once. */
struct sw_budget {
    uint64_t ms;
    uint32_t left;
};

struct sw_port {
    struct sw *sw;
    struct sw_port *next, *next_by_mac, *next_pending;
    struct sw_key {
        struct sw_port *port;
        struct sw_key *next;
        struct ctr_address address;
    } keys[2]; /* IPv4, IPv6 */
    char *id;
    uint64_t serial; /* no other port's, ever */
    struct sw_identity who;
    bool host;     /* may reach the host's services */
    bool captured; /* each frame is shown to the core */
    int fd;
    struct ctr_watch *watch;
    struct sw_out {
        const uint8_t *bytes;
        size_t length;
        unsigned source; /* sw->source when it came */
    } out[SW_BATCH];     /* until sw_flush */
    size_t n_out;
    bool pending; /* in sw->pending */
    struct sw_queued {
        uint8_t *bytes;
        size_t length;
        unsigned source; /* of its sw_out */
    } queue[SW_QUEUE];   /* a ring: what the VM did not take */
    size_t first, queued, queued_bytes;
    size_t shares[SW_SOURCES]; /* bytes of each source in it */
    struct sw_budget floods, answers;
    uint32_t flows;     /* connections through the uplink; it counts them */
    uint32_t questions; /* open ones */
    struct sw_stream *streams;
    size_t n_streams;
    struct ctr_net_stats stats;
};

struct sw_client {
    struct ctr_address address, seen; /* the client's, and what the container sees */
    struct ctr_address local;         /* the host's address that it spoke to */
    uint16_t port;
    uint64_t used_ms;
};

struct sw_published {
    struct sw *sw;
    struct sw_published *next;
    uint32_t proto;
    struct ctr_address host_address, address; /* of one family */
    uint16_t host_port, port;
    /* UDP */
    int fd;
    struct ctr_watch *watch;
    struct sw_client *clients; /* SW_CLIENTS */
};

struct sw {
    const struct ctr_host *host;
    const struct ctr_net_services *services; /* may be NULL */
    struct sw_rules rules;
    uint32_t mtu;
    bool isolated, open_host, capture_all;
    uint32_t max_flows;
    uint16_t host_ports[SW_HOST_PORTS];
    struct sw_port *ports, *by_mac[SW_BUCKETS], *pending;
    struct sw_key *by_address[SW_BUCKETS];
    uint64_t serial; /* of the port made last */
    struct sw_published *published;
    size_t n_published;
    struct sw_uplink *uplink; /* NULL if internal */
    struct sw_net *closed;    /* rules.closed */
    uint64_t closed_ms;       /* when it was looked up */
    uint16_t ident;
    size_t frame_size, n_frames; /* of frames */
    uint8_t *frames;             /* a batch of received ones */
    uint8_t *held;               /* frames made here, until sw_flush */
    size_t held_size, n_held;
    uint8_t *datagram; /* one received UDP datagram */
    unsigned
        source; /* whose batch is worked on: a port's number, within SW_SOURCES; 0: from outside or our own */
};

/* --- host.c: the host's clock and addresses --- */
uint64_t sw_now_ms(void);
/* Looks the host's own addresses up again if what is known is older than two seconds. */
void sw_refresh_host(struct sw *sw);
/* Takes one from the budget; false if it is used up. */
bool sw_spend(struct sw_budget *budget, uint32_t per_second);

/* --- port.c --- */
/* Takes spec->fd if it succeeds. */
int sw_port_create(struct sw *sw, const struct ctr_port_spec *spec, struct sw_port **ret,
                   struct ctr_error *err);
void sw_port_destroy(struct sw_port *port); /* takes NULL; not in any list any more */

/* --- send.c: what goes to a VM --- */
/* Sends a frame at the next sw_flush; the bytes must stay until then. Queued, or counted as dropped, if the VM is slow. */
void sw_port_send(struct sw_port *port, const uint8_t *frame, size_t length);
/* Room for a frame to be made, valid until the next sw_flush. */
uint8_t *sw_hold(struct sw *sw, size_t length);
void sw_flush(struct sw *sw);
/* So much from outside waits for the VM that no more should be read for it until sw_uplink_resume. */
static inline bool
sw_is_behind(const struct sw_port *port)
{
    return port->shares[0] > SW_QUEUE_BYTES / 8;
}
/* The VM takes frames again. */
void sw_port_drain(struct sw_port *port);
void sw_port_forget(struct sw_port *port); /* what waits for it */

/* --- table.c: ports by what names them --- */
struct sw_port *sw_find_id(const struct sw *sw, const char *id);
struct sw_port *sw_find_serial(const struct sw *sw, uint64_t serial);
struct sw_port *sw_find_mac(const struct sw *sw, const uint8_t mac[6]);
struct sw_port *sw_find_address(const struct sw *sw, const struct ctr_address *address);
void sw_link(struct sw *sw, struct sw_port *port);
void sw_unlink(struct sw *sw, struct sw_port *port);

/* --- switch.c --- */
/* A frame that a VM sent. */
void sw_from_port(struct sw_port *port, const uint8_t *bytes, size_t length);
/* An IP packet in a frame that came in from outside, for the VM whose address it names. The caller ends its batch with sw_flush. */
void sw_from_uplink(struct sw *sw, const uint8_t *bytes, size_t length);
/* Answers with an ICMP error, and counts. */
void sw_refuse(struct sw_port *port, const struct sw_frame *frame, enum sw_verdict verdict);

/* --- own.c: what the network itself answers --- */
/* ARP and neighbour discovery, whoever it is for; true if it was that. */
bool sw_own_neighbour(struct sw_port *port, const struct sw_frame *frame);
/* Pings of the network's own addresses; true if it was one. */
bool sw_own_echo(struct sw_port *port, const struct sw_frame *frame);

/* --- dns.c, stream.c: questions for the resolver by UDP and TCP; true if it was one and was dealt with --- */
bool sw_dns_question(struct sw_port *port, const struct sw_frame *frame);
bool sw_dns_segment(struct sw_port *port, const struct sw_frame *frame);
void sw_dns_forget(struct sw_port *port);

/* --- segment.c: a TCP segment from the resolver to a container --- */
#define SW_STREAM_WINDOW 16384
struct sw_segment {
    uint16_t port, peer;
    uint32_t sequence, acknowledges;
    uint8_t flags;
    const uint8_t *bytes;
    size_t length;
};
void sw_send_segment(struct sw_port *port, const struct sw_segment *segment);
/* Answers a segment that belongs to nothing, as RFC 9293 has it, and counts it as dropped. */
void sw_reset_stranger(struct sw_port *port, const struct sw_frame *frame);
/* The MSS that the container tells in its SYN, within what we like. */
size_t sw_segment_mss(const struct sw *sw, const struct sw_frame *frame);

/* --- uplink.c: the way out --- */
int sw_uplink_create(struct sw *sw, struct sw_uplink **ret, struct ctr_error *err);
void sw_uplink_destroy(struct sw_uplink *uplink); /* takes NULL */
/* A judged frame of `from`, without anything behind its packet; false if the uplink cannot carry such packets at all. */
bool
sw_uplink_input(struct sw_uplink *uplink, struct sw_port *from, const struct sw_frame *frame);
/* Port `from` goes away. */
void sw_uplink_forget(struct sw_uplink *uplink, const struct sw_port *from);
/* A port is no longer behind (sw_is_behind): what was held back for it may come. */
void sw_uplink_resume(struct sw_uplink *uplink);
/* Listens on TCP; host_port 0 becomes the real one. 0 or a negative code; `why` is set where there is more to say than the code. */
int sw_uplink_listen(struct sw_uplink *uplink, struct sw_published *published,
                     struct ctr_error *why);
void sw_uplink_unlisten(struct sw_uplink *uplink, const struct sw_published *published);

/* --- udp.c: published UDP ports --- */
int sw_udp_open(struct sw_published *published); /* 0 or a negative code */
void sw_udp_close(struct sw_published *published);
/* An answer of a container; true if it was one and was dealt with. */
bool sw_udp_answer(struct sw *sw, const struct sw_frame *frame);

/* --- datagram.c: sends one to a VM, in fragments if need be; bytes are copied --- */
struct sw_datagram {
    struct ctr_address source, target;
    uint16_t source_port, target_port;
    const void *bytes;
    size_t length;
};
void sw_send_datagram(struct sw_port *to, const struct sw_datagram *datagram);

/* --- publish.c --- */
int sw_publish(struct sw *sw, struct ctr_publish *publish, struct ctr_error *err);
int sw_unpublish(struct sw *sw, const struct ctr_publish *publish, struct ctr_error *err);
/* Takes back all that leads to an address; NULL for every address. */
void sw_unpublish_all(struct sw *sw, const struct ctr_address *address);

#endif
