/*
 * The network checks, inside: one network with its two ports (net-world.c), and the frames that go through it (net-frame.c).
 */
#ifndef CTR_CONFORM_NET_H
#define CTR_CONFORM_NET_H

#include "sdk/conform/conform.h"

/* The network that all checks use: 10.99.0.0/24 and fd63::/64, gateway and resolver .1; port n has .n, ::n and the MAC 02:42:0a:63:00:n. */
#define NET_SUBNET 0x0a630000U
#define NET_PREFIX 24
#define NET_GATEWAY 1
enum { A = 2, B = 3, LIAR = 77, SOON = 2000, NEVER = 300 };

/* --- net-frame.c --- */

#define MAX_FRAME 2048

struct frame {
    uint8_t bytes[MAX_FRAME];
    size_t length;
};

struct ends {
    uint8_t source, target; /* numbers of ports; 0: beyond the network, see `outside` */
    uint8_t source_mac, target_mac;
    uint32_t outside; /* IPv4 address, host byte order */
    uint16_t source_port, target_port;
};

/* An ARP request of port n for target; as_mac, as_address: whom it claims to be. */
struct frame frame_arp(uint8_t as_mac, uint8_t as_address, uint8_t target);
struct frame frame_udp4(const struct ends *ends, const void *bytes, size_t length);
struct frame frame_udp6(const struct ends *ends, const void *bytes, size_t length);
/* A TCP segment. */
struct segment {
    uint8_t flags; /* enum segment_flag */
    uint32_t number, acknowledged;
    const char *text; /* its payload */
    size_t length;
};
enum segment_flag { SEGMENT_SYN = 2, SEGMENT_PUSH = 8, SEGMENT_ACK = 16 };
struct frame frame_tcp(const struct ends *ends, const struct segment *segment);
/* One between these with sound checksums; 0 if the frame is another. The text is borrowed from it. */
int frame_read_tcp(const struct frame *frame, const struct ends *ends, struct segment *ret);
/* The payload of a sound IPv4 UDP frame between these; NULL if it is another or one of its checksums is wrong. */
const uint8_t *
frame_read_udp4(const struct frame *frame, const struct ends *ends, size_t *ret_length);
/* The MAC that an ARP answer for 10.99.0.n tells; 0 if the frame is another. */
int frame_read_arp(const struct frame *frame, uint8_t n, uint8_t ret_mac[6]);
void frame_to(struct frame *frame, const uint8_t mac[6]);

/* --- net-world.c --- */

struct net {
    struct conform *kit;
    struct ctr_net_ops ops;
    int is_12;
    uint32_t kind;
    struct ctr_host *host;
    void *self;
    struct ctr_net_services services;
    /* what the plugin told */
    char question[512];
    size_t n_questions;
    void (*answer)(void *arg, const void *bytes, size_t length);
    void *answer_arg;
    int stream; /* a TCP connection to the resolver, -1 */
    int n_refused;
    struct ctr_address refused_address;
    uint16_t refused_port;
    int n_from[2], n_to[2]; /* frames captured, of ports a (2) and b (3) */
};

struct port {
    const char *id;
    uint8_t n;
    int fd;        /* the VM's end */
    int keep;      /* DGRAM: a copy of the network's end, which outlives the plugin; else -1 */
    size_t header; /* bytes before a tap's frame */
};

/* What a network is to be beside the usual. */
struct net_wish {
    const char *slot;
    int isolated, egress_deny;
};

extern struct ctr_error net_err;
/* A check that a call gave 0; what it said if it did not. */
int net_done(struct net *net, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Opens the plugin and makes the network; 0 after a check that failed. */
int net_up(struct net *net, const struct net_wish *wish);
void net_down(struct net *net);
/* Attaches as the core does: DGRAM ports over a pair of our own where the plugin knows that. Code of attach. */
int port_up(struct net *net, struct port *port, const char *id, uint8_t n);
/* Attaches again over what an earlier instance had. */
int port_again(struct net *net, struct port *port);
void port_close(struct port *port);
int port_send(const struct port *port, const struct frame *frame);
/* Whether this very frame arrives within `ms`; others are skipped. */
int port_gets(struct net *net, const struct port *port, const struct frame *frame, int ms);
/* The next frame for which is(arg, frame) holds. */
int port_wait(struct net *net, const struct port *port,
              int (*is)(void *arg, const struct frame *frame), void *arg, int ms);
/* The MAC of the gateway, as it answers ARP. */
int port_gateway(struct net *net, const struct port *port, uint8_t ret_mac[6]);

/* --- net-resolver.c --- */

void net_resolver(struct net *net, const struct port *a);
/* A question whose answer comes when the port is gone. */
void net_late_answer(struct net *net, const struct port *a);

#endif
