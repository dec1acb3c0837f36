/* netspec: NETWORK of guest/PROTOCOL.guest.md, checked: what interfaces there are to be. */
#ifndef CTR_INIT_NETSPEC_H
#define CTR_INIT_NETSPEC_H

#include "fault.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define NET_INTERFACES_MAX 16

/* An address of one family; prefix is its length. */
struct net_address {
    bool is_set;
    uint8_t prefix;
    uint8_t bytes[16];
};

/* What an interface is. Two of equal bytes are the same: all padding is zero. */
struct net_link {
    uint8_t hardware[6]; /* its MAC at boot, by which it is found */
    uint8_t mac[6];
    uint32_t mtu; /* 0: as it is */
    struct net_address address, address6;
};

/* Where its default routes lead. */
struct net_route {
    uint32_t mtu, metric; /* mtu 0: the interface's */
    struct net_address gateway, gateway6;
};

struct net_interface {
    struct net_link link;
    struct net_route route;
};

struct net_spec {
    struct net_interface interfaces[NET_INTERFACES_MAX];
    size_t n;
};

/* No network or one without interfaces is good as well. */
int netspec_parse(const json_t *network, struct net_spec *ret, struct fault *fault);

#endif
