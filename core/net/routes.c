/*
 * The host's routes of both families, so that no network gets addresses that already lead somewhere. Default routes do not count: they lead everywhere.
 */
#include "core/net/net-priv.h"
#include <sys/socket.h>

void
ctr_routes_free(struct ctr_routes *routes)
{
    free(routes->list);
    *routes = (struct ctr_routes){0};
}

static int
add(struct ctr_routes *routes, uint32_t family, const void *bytes, int prefix)
{
    struct ctr_subnet route = {.address.family = family, .prefix = prefix};
    struct ctr_subnet *more = realloc(routes->list, (routes->n + 1) * sizeof *more);
    if (more == NULL) {
        return -ENOMEM;
    }
    memcpy(route.address.bytes, bytes, family == 4 ? 4 : 16);
    routes->list = more;
    routes->list[routes->n++] = route;
    return 0;
}

#ifdef __linux__
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

static int
ask(int fd, int family)
{
    struct {
        struct nlmsghdr header;
        struct rtmsg route;
    } request = {
        .header = {.nlmsg_len = sizeof request,
                   .nlmsg_type = RTM_GETROUTE,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .route = {.rtm_family = (unsigned char) family},
    };
    return send(fd, &request, sizeof request, 0) == (ssize_t) sizeof request ? 0 : -errno;
}

static int
take_route(struct ctr_routes *routes, struct nlmsghdr *header)
{
    struct rtmsg *route = NLMSG_DATA(header);
    int left = (int) RTM_PAYLOAD(header);
    uint32_t family = route->rtm_family == AF_INET ? 4 : route->rtm_family == AF_INET6 ? 6 : 0;
    if (family == 0 || route->rtm_dst_len == 0) {
        return 0;
    }
    for (struct rtattr *at = RTM_RTA(route); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
        if (at->rta_type == RTA_DST && RTA_PAYLOAD(at) == (family == 4 ? 4 : 16)) {
            return add(routes, family, RTA_DATA(at), route->rtm_dst_len);
        }
    }
    return 0;
}

/* One message with several routes: 1 at the end of the dump, 0 if more comes. */
static int
take_message(struct ctr_routes *routes, void *bytes, size_t length)
{
    uint32_t left = (uint32_t) length;
    int code = 0;
    for (struct nlmsghdr *h = bytes; code == 0 && NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
        if (h->nlmsg_type == NLMSG_DONE) {
            return 1;
        }
        if (h->nlmsg_type == NLMSG_ERROR) {
            const struct nlmsgerr *failure = NLMSG_DATA(h);
            return failure->error < 0 ? failure->error : -EPROTO;
        }
        code = h->nlmsg_type == RTM_NEWROUTE ? take_route(routes, h) : 0;
    }
    return code;
}

static int
read_family(struct ctr_routes *routes, int family)
{
    union {
        struct nlmsghdr align;
        char bytes[32768];
    } buffer;
    CTR_AUTO(fd) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    int code = fd < 0 ? -errno : ask(fd, family);
    while (code == 0) {
        ssize_t n = recv(fd, &buffer, sizeof buffer, 0);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        code = n < 0 ? 0 : n == 0 ? -EPROTO : take_message(routes, &buffer, (size_t) n);
    }
    return code == 1 ? 0 : code;
}

static int
read_all(struct ctr_routes *routes)
{
    int code = read_family(routes, AF_INET);
    return code != 0 ? code : read_family(routes, AF_INET6);
}
#else
#include <ifaddrs.h>
#include <netinet/in.h>

/* The networks that the host's interfaces are on. */
static int
take_interface(struct ctr_routes *routes, const struct ifaddrs *at)
{
    bool v4 = at->ifa_addr->sa_family == AF_INET;
    if ((!v4 && at->ifa_addr->sa_family != AF_INET6) || at->ifa_netmask == NULL) {
        return 0;
    }
    const uint8_t *address =
        v4 ? (const uint8_t *) &((const struct sockaddr_in *) (const void *) at->ifa_addr)
                 ->sin_addr
           : ((const struct sockaddr_in6 *) (const void *) at->ifa_addr)->sin6_addr.s6_addr;
    const uint8_t *mask =
        v4 ? (const uint8_t *) &((const struct sockaddr_in *) (const void *) at->ifa_netmask)
                 ->sin_addr
           : ((const struct sockaddr_in6 *) (const void *) at->ifa_netmask)->sin6_addr.s6_addr;
    int prefix = 0, bits = v4 ? 32 : 128;
    while (prefix < bits && (mask[prefix / 8] >> (7 - prefix % 8) & 1) != 0) {
        prefix++;
    }
    return prefix == 0 ? 0 : add(routes, v4 ? 4 : 6, address, prefix);
}

static int
read_all(struct ctr_routes *routes)
{
    struct ifaddrs *all;
    if (getifaddrs(&all) != 0) {
        return -errno;
    }
    int code = 0;
    for (const struct ifaddrs *at = all; at != NULL && code == 0; at = at->ifa_next) {
        code = at->ifa_addr == NULL ? 0 : take_interface(routes, at);
    }
    freeifaddrs(all);
    return code;
}
#endif

int
ctr_routes_read(struct ctr_routes *ret, struct ctr_error *err)
{
    struct ctr_routes routes = {0};
    int code = read_all(&routes);
    if (code != 0) {
        ctr_routes_free(&routes);
        return ctr_fail(err, code, "the host's routes cannot be read: %s", strerror(-code));
    }
    *ret = routes;
    return 0;
}
