/*
 * ctr/net.h: the network plugin kind. It runs in ctr-net, one process per network, one instance per process.
 *
 * Addresses, names and leases belong to the core: the plugin carries frames. All slots are called on the loop's thread
 * and must not block. Life cycle:
 *
 *     open -> create(network) -> { attach -> detach | publish -> unpublish | stats }... -> close
 */
#ifndef CTR_NET_H
#define CTR_NET_H

#include <ctr/plugin.h>

/* How a port reaches a VM. Both sides say which kinds they speak (a bit set), the core takes the lowest common bit. */
enum ctr_port_kind {
    CTR_PORT_DGRAM =
        1, /* a connected SOCK_DGRAM socket: one Ethernet frame without FCS per datagram */
    CTR_PORT_TAP = 2,    /* a tap device's fd (IFF_TAP|IFF_NO_PI) */
    CTR_PORT_NATIVE = 4, /* `native` names something that one VMM understands by itself */
};

struct ctr_network {
    uint32_t size;
    uint32_t mtu; /* 1500 by default */
    const char *name;
    uint32_t subnet;   /* IPv4 network address, host byte order */
    uint32_t prefix;   /* its length */
    uint32_t gateway;  /* the address that the network itself answers at, host byte order */
    uint32_t dns;      /* the resolver's address on the network, host byte order */
    uint32_t internal; /* 1: no way out */
    uint32_t reserved;
};

struct ctr_port_spec {
    uint32_t size;
    uint32_t kind;  /* the enum ctr_port_kind that was matched */
    const char *id; /* the container's ID; unique among the network's ports */
    uint8_t mac[6]; /* the only source address that the port may use */
    uint8_t reserved[2];
    uint32_t address; /* the port's IPv4 address, host byte order */
};

struct ctr_port {
    uint32_t size;
    uint32_t kind;
    int32_t fd; /* the VM's end; the caller owns it. -1 for NATIVE */
    uint32_t mtu;
    char native[64];
};

enum ctr_proto {
    CTR_PROTO_TCP = 6,
    CTR_PROTO_UDP = 17,
};

struct ctr_publish {
    uint32_t size;
    uint32_t proto;        /* enum ctr_proto */
    uint32_t host_address; /* IPv4, host byte order; 0: all addresses of the host */
    uint16_t host_port;    /* 0: the plugin picks one and writes it back */
    uint16_t port;         /* in the container */
    uint32_t address;      /* the container's IPv4 address, host byte order */
};

struct ctr_net_stats {
    uint32_t size;
    uint32_t reserved;
    uint64_t rx_frames, rx_bytes; /* from the VM's point of view */
    uint64_t tx_frames, tx_bytes;
    uint64_t dropped;
};

struct ctr_net_ops {
    uint32_t size; /* sizeof(struct ctr_net_ops) */
    uint32_t reserved;

    /* Required. */
    int (*open)(const struct ctr_host *host, void **ret_self, struct ctr_error *err);
    /* Required. Closes all ports and published sockets. Takes NULL. */
    void (*close)(void *self);
    /* Set of enum ctr_port_kind. Required. 0: this plugin connects nothing (net-none), attach is never called. */
    uint32_t (*port_kinds)(void *self);
    /* Called once. Required. After a failure only close may follow. */
    int (*create)(void *self, const struct ctr_network *network, struct ctr_error *err);
    /* Makes a port. -EEXIST for a known id. Required unless port_kinds is 0. */
    int (*attach)(void *self, const struct ctr_port_spec *spec, struct ctr_port *ret,
                  struct ctr_error *err);
    /* Removes it with all that was published for its address; -ENOENT if unknown. Required unless port_kinds is 0. */
    int (*detach)(void *self, const char *id, struct ctr_error *err);
    /* Forwards a host port. -EADDRINUSE and -EACCES keep their meaning. NULL: the core refuses `-p` by the plugin's name. */
    int (*publish)(void *self, struct ctr_publish *publish, struct ctr_error *err);
    int (*unpublish)(void *self, const struct ctr_publish *publish, struct ctr_error *err);
    /* Counters of a port. NULL: none are shown. */
    int (*stats)(void *self, const char *id, struct ctr_net_stats *ret, struct ctr_error *err);
};

#endif
