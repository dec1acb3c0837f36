/*
 * What the switch asks the operating system: the time, and which addresses are the host's own.
 *
 * A service that listens on one of the host's own addresses is not meant for guests (other containers' bridges, the
 * host's LAN address), so these are closed unless the option host_access opens them.
 */
#include "switch-priv.h"
#include <ifaddrs.h>
#include <stdlib.h>
#include <time.h>

#define MAX_AGE_MS 2000

uint64_t
sw_now_ms(void)
{
    struct timespec ts;
    (void) clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}

static bool
is_ipv4(const struct ifaddrs *i)
{
    return i->ifa_addr != NULL && i->ifa_addr->sa_family == AF_INET;
}

void
sw_refresh_host(struct sw *sw)
{
    uint64_t now = sw_now_ms();
    if (sw->open_host ||
        (sw->host_addresses != NULL && now - sw->host_addresses_ms < MAX_AGE_MS)) {
        return;
    }
    struct ifaddrs *all;
    if (getifaddrs(&all) != 0) {
        return; /* what was known stays */
    }
    size_t n = 0;
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        n += is_ipv4(i);
    }
    uint32_t *list = calloc(n + 1, sizeof *list);
    if (list != NULL) {
        n = 0;
        for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
            if (is_ipv4(i)) {
                const void *address = i->ifa_addr;
                list[n++] = ntohl(((const struct sockaddr_in *) address)->sin_addr.s_addr);
            }
        }
        free(sw->host_addresses);
        sw->host_addresses = list;
        sw->rules.host = list;
        sw->rules.n_host = n;
        sw->host_addresses_ms = now;
    }
    freeifaddrs(all);
}
