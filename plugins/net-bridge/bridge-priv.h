/*
 * net-bridge: a network that the kernel carries. One `struct br` per network, all on the loop's thread.
 *
 *     VM ── tap ┐ netdev ingress: who may send (rules.c, one chain for each tap)
 *     VM ── tap ┼─ bridge ── inet: forward, input, nat (rules.c, publish.c, egress.c) ── the host's interfaces
 *     VM ─ pump ┘ (pump.c: a tap of ours and the descriptor of a port that is no tap)
 *
 * Everything outside this process is named by 12 hex digits of the network's ID: the bridge ctrHEX, the nftables tables ctr-HEX. By that
 * a ctr-net that is started again finds them, and what a killed one left is found by others (sweep.c).
 */
#ifndef CTR_BRIDGE_PRIV_H
#define CTR_BRIDGE_PRIV_H

#include <ctr/net.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define BR_HEX 12
#define BR_GROUP                                                                               \
    0x637472 /* "ctr": the interface group of all our bridges, which never reach each other */
#define BR_FRAME 65600 /* the largest frame, with room for a VLAN tag */
#define BR_BATCH 64    /* frames taken from one side before others have their turn */
#define BR_PUBLISHED 4096
#define BR_RULES 16384 /* addresses that may be open on the way out at a time */

struct nft_ctx;
struct br;

struct br_port {
    struct br *br;
    struct br_port *next;
    char *id;
    char tap[IFNAMSIZ];
    int index; /* of the tap */
    uint8_t mac[6];
    uint32_t flags;
    struct ctr_address address, address6;
    struct br_pump *pump;       /* DGRAM ports */
    struct br_capture *capture; /* while it is on */
    bool capture_own;           /* asked for this port, whatever is asked for all */
};

struct br {
    const struct ctr_host *host;
    const struct ctr_net_services *services;
    struct nft_ctx *nft;
    char hex[BR_HEX + 1];
    char name[64]; /* the network's */
    char bridge[IFNAMSIZ];
    int index; /* of the bridge; 0: there is none */
    struct ctr_address subnet, gateway, subnet6, gateway6, dns, host_address;
    uint32_t prefix, prefix6, mtu, out_mtu;
    bool internal, isolated, egress_deny;
    int lock;      /* held as long as we serve the network */
    int netlink;   /* rtnetlink */
    int netfilter; /* nfnetlink, for counters */
    int opener;    /* to the process that opens /dev/net/tun; -1: we may do so ourselves */
    int32_t opener_pid;
    bool made; /* tables and bridge are ours to take down */
    bool capture_all;
    struct br_port *ports;
    struct br_dns *dns_server;
    struct br_published *published;
    size_t n_published;
    struct br_egress *egress; /* NULL unless egress_deny */
    struct br_nflog *nflog;
    uint8_t *frame; /* one received frame */
};

/* --- port.c: ports as slots --- */
struct br_port *br_find_id(const struct br *br, const char *id);
struct br_port *br_find_address(const struct br *br, const struct ctr_address *address);
int br_attach(void *self, const struct ctr_port_spec *spec, struct ctr_port *ret,
              struct ctr_error *err);
int br_detach(void *self, const char *id, struct ctr_error *err);
void br_detach_all(struct br *br);
int br_stats(void *self, const char *id, struct ctr_net_stats *ret, struct ctr_error *err);

/* --- check.c: what the host must have --- */
int br_check_rights(struct ctr_error *err);
/* Forwarding is on, and no firewall of the host drops what we let through. */
int br_check_host(struct br *br, struct ctr_error *err);

/* --- opener.c: /dev/net/tun, also when we are no longer root --- */
int br_opener_start(struct br *br, struct ctr_error *err);
void br_opener_stop(struct br *br);
int br_opener_open(const struct br *br); /* the descriptor or a negative code */

/* --- netlink.c: messages to the kernel --- */
struct br_message {
    struct {
        uint32_t length;
        uint16_t type, flags;
        uint32_t sequence, port;
        uint8_t body[1008];
    } m;
    bool full;
};
int br_netlink_open(int family);
void br_message_init(struct br_message *message, uint16_t type, uint16_t flags,
                     const void *header, size_t length);
void br_message_add(struct br_message *message, uint16_t type, const void *bytes, size_t n);
void br_message_add32(struct br_message *message, uint16_t type, uint32_t value);
void br_message_add8(struct br_message *message, uint16_t type, uint8_t value);
size_t br_message_nest(struct br_message *message, uint16_t type); /* to give to end */
void br_message_end(struct br_message *message, size_t nest);
/* Sends it and waits for the end of the answer; each part of the answer goes to `part` (may be NULL). 0 or the kernel's negative code. */
int br_message_call(int fd, struct br_message *message,
                    void (*part)(void *arg, const uint8_t *bytes, size_t length), void *arg);
/* The attribute `type` in a row of them; NULL: none. */
const uint8_t *
br_attribute(const uint8_t *bytes, size_t length, uint16_t type, size_t *ret_length);

/* --- link.c: bridge and taps; each 0 or a negative code --- */
int br_link_bridge(struct br *br); /* makes it, or finds it again */
int br_link_delete(const struct br *br, int index);
int br_link_up(const struct br *br, int index, bool up);
/* Makes the tap a port of the bridge; master false: takes it out. */
int br_link_join(const struct br *br, const struct br_port *port, bool master);
int br_link_address(const struct br *br, const struct ctr_address *address, uint32_t prefix);
int br_link_stats(const struct br *br, int index, struct rtnl_link_stats64 *ret);
bool br_link_has_ports(const struct br *br, int index);
/* Writes net/FAMILY/conf/INTERFACE/KEY of an interface of ours. */
int br_link_sysctl(const char *interface, const char *family, const char *key, int value);

/* --- nft.c: the library --- */
/* A text that grows; br_text_run runs it as one transaction and frees it. */
struct br_text {
    char *bytes;
    size_t length;
    FILE *file;
};
void br_text_init(struct br_text *text);
void br_text_add(struct br_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int br_text_run(const struct br *br, struct br_text *text, struct ctr_error *err);
/* Runs one command and gives what it prints, valid until the next; NULL: it failed. */
const char *br_nft_read(const struct br *br, const char *command);
const char *br_show(const struct ctr_address *address, char text[INET6_ADDRSTRLEN]);
struct ctr_address br_address4(uint32_t address);
bool br_same(const struct ctr_address *a, const struct ctr_address *b);

/* --- rules.c: what is let through --- */
int br_rules_create(struct br *br, struct ctr_error *err);
void br_rules_destroy(const struct br *br);
int br_rules_attach(const struct br_port *port, struct ctr_error *err);
void br_rules_detach(const struct br_port *port);

/* --- counter.c --- */
/* Packets that were dropped because the sender lied, and that went where they may not. */
void br_counters(const struct br_port *port, uint64_t *ret_spoofed, uint64_t *ret_refused);

/* --- sweep.c --- */
int br_lock(struct br *br, struct ctr_error *err);
/* Removes what killed ctr-nets left of networks that nobody serves and no machine is on. */
void br_sweep(const struct br *br);

/* --- pump.c --- */
/* Takes both descriptors if it succeeds. */
int br_pump_create(struct br_port *port, int tap, int fd, struct ctr_error *err);
void br_pump_destroy(struct br_pump *pump); /* takes NULL */
uint64_t br_pump_dropped(const struct br_pump *pump);

/* --- dns.c --- */
int br_dns_create(struct br *br, struct ctr_error *err);
void br_dns_destroy(struct br *br);
uint16_t br_dns_udp_port(const struct br *br);
uint16_t br_dns_tcp_port(const struct br *br);

/* --- publish.c --- */
int br_publish(void *self, struct ctr_publish *publish, struct ctr_error *err);
int br_unpublish(void *self, const struct ctr_publish *publish, struct ctr_error *err);
/* Takes back all that leads to the port's addresses; port NULL: everything. */
void br_unpublish_all(struct br *br, const struct br_port *port);

/* --- egress.c, nflog.c --- */
int br_egress_create(struct br *br, struct ctr_error *err);
void br_egress_destroy(struct br *br);
int br_allow(void *self, const struct ctr_net_rule *rule, struct ctr_error *err);
int br_nflog_create(struct br *br, struct ctr_error *err);
void br_nflog_destroy(struct br *br);
uint16_t br_nflog_group(const struct br *br);

/* --- capture.c --- */
int br_capture(void *self, const char *id, uint32_t on, struct ctr_error *err);
int br_capture_start(struct br_port *port, struct ctr_error *err);
void br_capture_stop(struct br_port *port);

#endif
