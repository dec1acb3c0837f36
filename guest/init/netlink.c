/*
 * netlink.c: rtnetlink's messages, as far as the network of a VM needs them.
 */
#include "netlink.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

struct request {
    struct nlmsghdr header;
    union {
        struct ifinfomsg link;
        struct ifaddrmsg address;
        struct rtmsg route;
    };
    char room[256];
};

int
netlink_open(void)
{
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
}

static void
add_attribute(struct request *request, unsigned short type, const void *bytes, size_t n)
{
    struct rtattr *attribute =
        (struct rtattr *) ((char *) request + NLMSG_ALIGN(request->header.nlmsg_len));
    attribute->rta_type = type;
    attribute->rta_len = (unsigned short) RTA_LENGTH(n);
    memcpy(RTA_DATA(attribute), bytes, n);
    request->header.nlmsg_len =
        (uint32_t) (NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(RTA_LENGTH(n)));
}

/* Sends and waits for the kernel's answer: 0 or -1 with errno. */
static int
send_request(int netlink, struct request *request)
{
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char rest[512];
    } answer;
    request->header.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
    if (send(netlink, request, request->header.nlmsg_len, 0) < 0) {
        return -1;
    }
    ssize_t n = recv(netlink, &answer, sizeof answer, 0);
    if (n < (ssize_t) NLMSG_LENGTH(sizeof answer.error) ||
        answer.header.nlmsg_type != NLMSG_ERROR) {
        errno = EPROTO;
        return -1;
    }
    errno = -answer.error.error;
    return errno == 0 ? 0 : -1;
}

int
netlink_link(int netlink, int index, const struct link_change *change)
{
    struct request request = {
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof request.link), .nlmsg_type = RTM_NEWLINK},
        .link = {.ifi_family = AF_UNSPEC, .ifi_index = index}};
    if (change->state != LINK_AS_IT_IS) {
        request.link.ifi_change = IFF_UP;
        request.link.ifi_flags = change->state == LINK_UP ? IFF_UP : 0;
    }
    if (change->mtu > 0) {
        add_attribute(&request, IFLA_MTU, &change->mtu, sizeof change->mtu);
    }
    if (change->mac != NULL) {
        add_attribute(&request, IFLA_ADDRESS, change->mac, 6);
    }
    if (change->name != NULL) {
        add_attribute(&request, IFLA_IFNAME, change->name, strlen(change->name) + 1);
    }
    return send_request(netlink, &request);
}

int
netlink_address(int netlink, bool add, int index, int family, const uint8_t *address,
                uint8_t prefix)
{
    size_t n = family == AF_INET ? 4 : 16;
    struct request request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof request.address),
                                         .nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR,
                                         .nlmsg_flags = add ? NLM_F_CREATE | NLM_F_REPLACE : 0},
                              .address = {.ifa_family = (unsigned char) family,
                                          .ifa_prefixlen = prefix,
                                          .ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0,
                                          .ifa_scope = RT_SCOPE_UNIVERSE,
                                          .ifa_index = (unsigned) index}};
    add_attribute(&request, IFA_LOCAL, address, n);
    add_attribute(&request, IFA_ADDRESS, address, n);
    if (add && family == AF_INET && prefix < 31) {
        uint32_t broadcast;
        memcpy(&broadcast, address, 4);
        broadcast |= htonl(prefix == 0 ? ~0u : ~0u >> prefix);
        add_attribute(&request, IFA_BROADCAST, &broadcast, 4);
    }
    return send_request(netlink, &request);
}

int
netlink_default_route(int netlink, bool add, int index, int family, const uint8_t *gateway,
                      uint32_t metric, uint32_t mtu)
{
    struct request request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof request.route),
                                         .nlmsg_type = add ? RTM_NEWROUTE : RTM_DELROUTE,
                                         .nlmsg_flags = add ? NLM_F_CREATE | NLM_F_EXCL : 0},
                              .route = {.rtm_family = (unsigned char) family,
                                        .rtm_table = RT_TABLE_MAIN,
                                        .rtm_protocol = RTPROT_BOOT,
                                        .rtm_scope = RT_SCOPE_UNIVERSE,
                                        .rtm_type = RTN_UNICAST}};
    add_attribute(&request, RTA_GATEWAY, gateway, family == AF_INET ? 4 : 16);
    add_attribute(&request, RTA_OIF, &index, sizeof index);
    add_attribute(&request, RTA_PRIORITY, &metric, sizeof metric);
    if (add && mtu > 0) {
        struct {
            struct rtattr attribute;
            uint32_t value;
        } metrics = {{.rta_len = RTA_LENGTH(sizeof mtu), .rta_type = RTAX_MTU}, mtu};
        add_attribute(&request, RTA_METRICS, &metrics, sizeof metrics);
    }
    return send_request(netlink, &request);
}
