/*
 * What the switch asks the operating system: the time, and which addresses are the host's own.
 *
 * A service that listens on one of the host's own addresses is not meant for guests (other containers' bridges, the
 * host's LAN address), so these are closed unless the option host_access opens them. The subnets behind bridges that net-bridge made
 * are other networks of ours, and closed in any case.
 */
#include "switch-priv.h"
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <time.h>

#define MAX_AGE_MS 2000
#define BRIDGE "ctr" /* how the names of net-bridge's interfaces begin */

uint64_t
sw_now_ms(void)
{
    struct timespec ts;
    (void) clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}

bool
sw_spend(struct sw_budget *budget, uint32_t per_second)
{
    uint64_t now = sw_now_ms(), more = (now - budget->ms) * per_second / 1000;
    if (more > 0) {
        budget->left =
            more + budget->left < per_second ? (uint32_t) (more + budget->left) : per_second;
        budget->ms = now;
    }
    if (budget->left == 0) {
        return false;
    }
    budget->left--;
    return true;
}

/* Bits that are set at the front. */
static uint32_t
prefix_of(const struct sockaddr *mask, uint32_t family)
{
    struct sockaddr_storage copy = {0};
    struct ctr_address address;
    uint16_t port;
    uint32_t n = 0, all = family == 6 ? 128 : 32;
    if (mask == NULL) {
        return all;
    }
    memcpy(&copy, mask, family == 6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    if (!sw_from_sockaddr(&copy, &address, &port)) {
        return all;
    }
    while (n < all && (address.bytes[n / 8] & 0x80 >> n % 8) != 0) {
        n++;
    }
    return n;
}

static bool
read_one(const struct sw *sw, const struct ifaddrs *i, struct sw_net *ret)
{
    struct sockaddr_storage name = {0};
    uint16_t port;
    if (i->ifa_addr == NULL ||
        (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6)) {
        return false;
    }
    memcpy(&name, i->ifa_addr,
           i->ifa_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                              : sizeof(struct sockaddr_in));
    if (!sw_from_sockaddr(&name, &ret->address, &port)) {
        return false;
    }
    bool bridge = strncmp(i->ifa_name, BRIDGE, sizeof BRIDGE - 1) == 0;
    ret->prefix = bridge                     ? prefix_of(i->ifa_netmask, ret->address.family)
                  : ret->address.family == 6 ? 128
                                             : 32;
    return bridge || !sw->open_host;
}

void
sw_refresh_host(struct sw *sw)
{
    uint64_t now = sw_now_ms();
    struct ifaddrs *all;
    if ((sw->closed != NULL && now - sw->closed_ms < MAX_AGE_MS) || getifaddrs(&all) != 0) {
        return; /* what was known stays */
    }
    size_t n = 0, used = 0;
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        n++;
    }
    struct sw_net *list = calloc(n + 1, sizeof *list);
    for (const struct ifaddrs *i = all; list != NULL && i != NULL; i = i->ifa_next) {
        used += read_one(sw, i, &list[used]);
    }
    if (list != NULL) {
        free(sw->closed);
        sw->closed = list;
        sw->rules.closed = list;
        sw->rules.n_closed = used;
        sw->closed_ms = now;
    }
    freeifaddrs(all);
}
