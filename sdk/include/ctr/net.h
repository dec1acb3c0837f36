/*
 * ctr/net.h: the network plugin kind. It runs in ctr-net, one process per network, one instance per process.
 *
 * Addresses, names, leases, name service and the choice of what may go out belong to the core: the plugin carries frames, and
 * brings the questions for the resolver to the core. All slots and services are called on the loop's thread and must not
 * block. Life cycle:
 *
 *     open -> create(network) -> { attach -> detach | publish -> unpublish | allow | stats | capture }... -> close
 *
 * When ctr-net dies it is started again: open and create come anew, then attach for each machine that runs, with the descriptor that its
 * port had (see ctr_port_spec.fd). What the plugin keeps outside its process (interfaces, rules) it finds again by the network's name.
 */
#ifndef CTR_NET_H
#define CTR_NET_H

#include <ctr/address.h>
#include <ctr/plugin.h>

/* How a port reaches a VM. Both sides say which kinds they speak (a bit set), the core takes the highest common bit; a network
 * that a running machine joins must speak DGRAM. */
enum ctr_port_kind {
    CTR_PORT_DGRAM =
        1, /* a connected SOCK_DGRAM socket: one Ethernet frame without FCS per datagram */
    CTR_PORT_TAP =
        2, /* a tap device's fd (IFF_TAP|IFF_NO_PI, IFF_VNET_HDR if the plugin likes) */
    CTR_PORT_NATIVE = 4, /* `native` names something that one VMM understands by itself */
};

/* What the core does for a net plugin; valid until close returns. Since 1.2. */
struct ctr_net_services {
    uint32_t size;
    uint32_t reserved;
    void *arg; /* the first argument of each */
    /* A question that the port's container sent by UDP to port 53 of network.dns. `answer` is called exactly once, now or later, at the
     * latest before close is called: with the answer (borrowed), or with length 0 if there is none. It may come after the port was detached. */
    void (*dns_query)(void *arg, const char *port, const void *bytes, size_t length,
                      void (*answer)(void *answer_arg, const void *bytes, size_t length),
                      void *answer_arg);
    /* A TCP connection that the port's container opened to port 53 of network.dns, as a stream socket; the core owns it now. */
    void (*dns_stream)(void *arg, const char *port, int32_t take_fd);
    /* A packet to the outside that the rules of an egress_deny network refused. Call it for each; the core limits what it tells. */
    void (*refused)(void *arg, const char *port, uint32_t proto,
                    const struct ctr_address *address, uint16_t target_port);
    /* While capture is on: a frame as it went to (from_vm 0) or came from the port's machine. */
    void (*frame)(void *arg, const char *port, uint32_t from_vm, const void *bytes,
                  size_t length);
};

struct ctr_network {
    uint32_t size;
    uint32_t mtu; /* of the machines' interfaces; 1500 by default */
    const char *name;
    uint32_t subnet;   /* IPv4 network address, host byte order */
    uint32_t prefix;   /* its length */
    uint32_t gateway;  /* the address that the network itself answers at, host byte order */
    uint32_t dns;      /* the resolver's address on the network, host byte order */
    uint32_t internal; /* 1: no way out, no way in */
    uint32_t reserved;
    /* Since 1.2. */
    const struct ctr_net_services *services;
    const char *id; /* 64 hex digits, of this network and no other; stays over restarts */
    struct ctr_address subnet6, gateway6; /* family 0: no IPv6 */
    uint32_t prefix6;
    uint32_t host;     /* an address of the subnet that leads to the host itself, for ports with
                             CTR_PORT_HOST; host byte order */
    uint32_t out_mtu;  /* of the way out */
    uint32_t isolated; /* 1: ports do not reach each other */
    uint32_t
        egress_deny; /* 1: nothing goes out but what `allow` names; DNS is the core's business */
    uint32_t reserved2;
};

enum ctr_port_flag {
    CTR_PORT_HOST = 1, /* this port may reach the host's own services at network.host */
};

struct ctr_port_spec {
    uint32_t size;
    uint32_t kind;  /* the enum ctr_port_kind that was matched */
    const char *id; /* the container's ID; unique among the network's ports */
    uint8_t mac[6]; /* the only source address that the port may use */
    uint8_t reserved[2];
    uint32_t address; /* the port's IPv4 address, host byte order */
    /* Since 1.2. DGRAM: the network's end of the pair that the core made; the plugin owns it if attach succeeds. Others: -1, or a copy of the
     * descriptor that an earlier attach of this port gave, when the machine still runs on it. */
    int32_t fd;
    uint32_t flags; /* enum ctr_port_flag */
    uint32_t reserved2;
    struct ctr_address address6; /* family 0: none */
};

struct ctr_port {
    uint32_t size;
    uint32_t kind;
    int32_t
        fd; /* the VM's end; the caller owns it. -1 for NATIVE, and where spec.fd was taken */
    uint32_t mtu;
    char native[64];
    uint32_t
        out_mtu; /* what the machine's packets to the outside must keep to; 0: mtu, as where connections end in the plugin. Since 1.2 */
    uint32_t reserved;
};

enum ctr_proto {
    CTR_PROTO_ICMP = 1,
    CTR_PROTO_TCP = 6,
    CTR_PROTO_UDP = 17,
    CTR_PROTO_ICMPV6 = 58,
};

struct ctr_publish {
    uint32_t size;
    uint32_t proto;        /* enum ctr_proto */
    uint32_t host_address; /* IPv4, host byte order; 0: all addresses of the host */
    uint16_t host_port;    /* 0: the plugin picks one and writes it back */
    uint16_t port;         /* in the container */
    uint32_t address;      /* the container's IPv4 address, host byte order */
    /* Since 1.2: family 6 in both makes it an IPv6 port (:: is all IPv6 addresses, IPv4 ones not among them); 0: the above hold. */
    uint32_t reserved;
    struct ctr_address host_address6, address6;
};

/* What may go out of an egress_deny network. Since 1.2. */
struct ctr_net_rule {
    uint32_t size;
    uint32_t prefix; /* of the address: 0 to 32 or 128 */
    struct ctr_address address;
    uint32_t
        seconds; /* new connections are let through so long from now on; 0: for good. A rule that is there already is prolonged, never shortened */
    uint16_t port; /* 0: any, ICMP echo included */
    uint16_t reserved;
};

struct ctr_net_stats {
    uint32_t size;
    uint32_t reserved;
    uint64_t rx_frames, rx_bytes; /* from the VM's point of view */
    uint64_t tx_frames, tx_bytes;
    uint64_t dropped; /* for whatever reason */
    /* Since 1.2: of these */
    uint64_t spoofed; /* named a sender that the port is not */
    uint64_t refused; /* to where the port may not go */
};

enum ctr_net_flag {
    CTR_NET_SPAWNS = 1, /* it starts programs by host->spawn; without this, ctr-net may not */
};

struct ctr_net_ops {
    uint32_t size;  /* sizeof(struct ctr_net_ops) */
    uint32_t flags; /* enum ctr_net_flag; since 1.2, 0 before */

    /* Required. */
    int (*open)(const struct ctr_host *host, void **ret_self, struct ctr_error *err);
    /* Required. Closes all ports and published sockets. Takes NULL. What must outlive a crash of ctr-net is taken down here: close is the orderly end. */
    void (*close)(void *self);
    /* Set of enum ctr_port_kind. Required. 0: this plugin connects nothing (net-none), attach is never called. */
    uint32_t (*port_kinds)(void *self);
    /* Called once. Required. After a failure only close may follow. */
    int (*create)(void *self, const struct ctr_network *network, struct ctr_error *err);
    /* Makes a port. -EEXIST for a known id. Required unless port_kinds is 0. After a failure spec->fd is still the caller's. */
    int (*attach)(void *self, const struct ctr_port_spec *spec, struct ctr_port *ret,
                  struct ctr_error *err);
    /* Removes it with all that was published for its addresses; -ENOENT if unknown. Required unless port_kinds is 0. */
    int (*detach)(void *self, const char *id, struct ctr_error *err);
    /* Forwards a host port. -EADDRINUSE and -EACCES keep their meaning. NULL: the core refuses `-p` by the plugin's name. */
    int (*publish)(void *self, struct ctr_publish *publish, struct ctr_error *err);
    int (*unpublish)(void *self, const struct ctr_publish *publish, struct ctr_error *err);
    /* Counters of a port. NULL: none are shown. */
    int (*stats)(void *self, const char *id, struct ctr_net_stats *ret, struct ctr_error *err);
    /* Since 1.2. Adds or prolongs a rule. NULL: the core refuses `--egress deny` by the plugin's name. */
    int (*allow)(void *self, const struct ctr_net_rule *rule, struct ctr_error *err);
    /* Since 1.2. Begins (on 1) or ends telling services.frame of a port's frames; id NULL: of all ports, later ones too, beside what was begun for a
     * port. Each frame is told once for each port that it passes, however many were begun. NULL: `network capture` is refused. */
    int (*capture)(void *self, const char *id, uint32_t on, struct ctr_error *err);
};

#endif
