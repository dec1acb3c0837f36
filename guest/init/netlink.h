/* netlink: requests to rtnetlink, one at a time, each with its answer: 0 or -1 with errno. */
#ifndef CTR_INIT_NETLINK_H
#define CTR_INIT_NETLINK_H

#include <stdbool.h>
#include <stdint.h>

/* A socket for the others, closed by the caller; -1 with errno. */
int netlink_open(void);

enum link_state { LINK_AS_IT_IS, LINK_UP, LINK_DOWN };

/* What is to change of an interface. */
struct link_change {
    enum link_state state;
    uint32_t mtu;       /* 0: as it is */
    const uint8_t *mac; /* NULL: as it is */
    const char *name;   /* the same */
};
int netlink_link(int netlink, int index, const struct link_change *change);
/* family AF_INET or AF_INET6; IPv6 addresses are used at once, unasked. */
int netlink_address(int netlink, bool add, int index, int family, const uint8_t *address,
                    uint8_t prefix);
/* mtu 0: the interface's. */
int netlink_default_route(int netlink, bool add, int index, int family, const uint8_t *gateway,
                          uint32_t metric, uint32_t mtu);

#endif
