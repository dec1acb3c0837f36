/*
 * net-switch: a layer 2 switch in user space. One `struct sw` per network, all on the loop's thread.
 *
 *     VM ──socketpair── port ┐                                  ┌─ published UDP sockets (udp.c)
 *     VM ──socketpair── port ┼─ switch.c: who may send, whereto ─┤
 *     VM ──socketpair── port ┘                                  └─ uplink.c: libslirp, the way out; published TCP
 */
#ifndef CTR_SWITCH_PRIV_H
#define CTR_SWITCH_PRIV_H

#include "ether.h"
#include <ctr/net.h>
#include <netinet/in.h>

#define SW_BUCKETS 256
#define SW_QUEUE 512        /* frames that wait for one VM */
#define SW_BATCH 64         /* frames taken from one VM before others have their turn */
#define SW_BUFFER (1 << 20) /* bytes asked for each socket buffer */
#define SW_CLIENTS 256      /* remembered clients of one published UDP port */
#define SW_PUBLISHED 4096   /* published ports of a network */
#define SW_QUESTIONS 256    /* that one container may have open with the resolver */
#define SW_MAX_UDP 65507    /* bytes in a datagram */
#define SW_MAX_MTU 9000

struct sw;
struct sw_uplink;

struct sw_port {
    struct sw *sw;
    struct sw_port *next, *next_by_mac, *next_by_address;
    char *id;
    uint8_t mac[6];
    uint32_t address;
    int fd;
    struct ctr_watch *watch;
    struct sw_queued {
        uint8_t *bytes;
        size_t length;
    } queue[SW_QUEUE]; /* a ring */
    size_t first, queued;
    uint32_t flows;  /* connections through libslirp */
    uint64_t serial; /* no other port's, ever */
    uint32_t questions;
    struct ctr_net_stats stats;
};

struct sw_client {
    uint32_t address, seen; /* the client's, and what the container sees */
    uint32_t local;         /* the host's address that it spoke to */
    uint16_t port;
    uint64_t used_ms;
};

struct sw_published {
    struct sw *sw;
    struct sw_published *next;
    uint32_t proto, host_address, address;
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
    bool internal, open_host;
    uint32_t max_flows;
    struct sw_port *ports, *by_mac[SW_BUCKETS], *by_address[SW_BUCKETS];
    struct sw_published *published;
    size_t n_published;
    struct sw_uplink *uplink; /* NULL if internal */
    uint32_t *host_addresses;
    uint64_t host_addresses_ms; /* when they were looked up */
    uint16_t ident;
    uint64_t serial;   /* of the port made last */
    uint8_t *frame;    /* one received frame */
    uint8_t *datagram; /* one received UDP datagram, with room for headers before it */
};

/* --- host.c: the host's clock and addresses --- */
uint64_t sw_now_ms(void);
/* Looks the host's own addresses up again if what is known is older than two seconds. */
void sw_refresh_host(struct sw *sw);

/* --- port.c --- */
/* *ret_fd: the VM's end, or -1 where spec->fd was taken. */
int sw_port_create(struct sw *sw, const struct ctr_port_spec *spec, int *ret_fd,
                   struct sw_port **ret, struct ctr_error *err);
void sw_port_destroy(struct sw_port *port); /* takes NULL; not in any list any more */
/* Sends a frame to the VM, or queues it, or counts it as dropped. */
void sw_port_send(struct sw_port *port, const uint8_t *frame, size_t length);

/* --- switch.c --- */
struct sw_port *sw_find_address(const struct sw *sw, uint32_t address);
/* A frame that a VM sent. */
void sw_from_port(struct sw_port *port, const uint8_t *bytes, size_t length);
/* A frame that came in from outside, for the VM that it names. */
void sw_from_uplink(struct sw *sw, const uint8_t *bytes, size_t length);

/* --- uplink.c --- */
int sw_uplink_create(struct sw *sw, struct sw_uplink **ret, struct ctr_error *err);
void sw_uplink_destroy(struct sw_uplink *uplink); /* takes NULL */
/* A judged frame of `from`. */
void
sw_uplink_input(struct sw_uplink *uplink, struct sw_port *from, const struct sw_frame *frame);
/* Port `from` goes away. */
void sw_uplink_forget(struct sw_uplink *uplink, const struct sw_port *from);
/* Listens on TCP; *host_port 0 becomes the real one. 0 or a negative code. */
int sw_uplink_listen(struct sw_uplink *uplink, struct sw_published *published);
void sw_uplink_unlisten(struct sw_uplink *uplink, const struct sw_published *published);

/* --- udp.c: published UDP ports --- */
int sw_udp_open(struct sw_published *published); /* 0 or a negative code */
void sw_udp_close(struct sw_published *published);
/* An answer of a container; true if it was one and was dealt with. */
bool sw_udp_answer(struct sw *sw, const struct sw_frame *frame);

/* Sends the datagram whose bytes are in sw->datagram behind room for headers. */
void sw_udp_deliver(struct sw_port *to, uint32_t source, uint16_t source_port,
                    uint16_t target_port, size_t length);

/* --- dns.c --- */
/* A question for the resolver; true if it was one and was dealt with. */
bool sw_dns_question(struct sw_port *port, const struct sw_frame *frame);

/* --- publish.c --- */
int sw_publish(struct sw *sw, struct ctr_publish *publish, struct ctr_error *err);
int sw_unpublish(struct sw *sw, const struct ctr_publish *publish, struct ctr_error *err);
/* Takes back all that leads to an address; 0 for every address. */
void sw_unpublish_all(struct sw *sw, uint32_t address);

#endif
