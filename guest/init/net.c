/*
 * net.c: the network of the VM, which is the container's: lo up, and the interfaces that the host describes, at boot and again while
 * it runs.
 *
 * An interface is known by its hardware address, which the kernel keeps whatever MAC it is given. What was set up is
 * remembered: of a later description only the difference is done, so that connections over interfaces that stay are not
 * disturbed. An interface that is not described any more is down, without addresses, and has its hardware address again. One
 * without an IPv6 address has IPv6 off, as with docker; router advertisements are never asked for nor taken.
 */
#include "netlink.h"
#include "netspec.h"
#include "vm.h"
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINKS_MAX 64

/* An interface of the machine. */
struct link {
    int index;
    uint8_t hardware[6];
    char name[IFNAMSIZ];
    char target[IFNAMSIZ]; /* the name that it is to have; "": any */
};

struct links {
    struct link all[LINKS_MAX];
    size_t n;
};

/* What was set up. */
struct applied {
    int index;
    char name[IFNAMSIZ];
    struct net_interface as;
};

static struct applied applied[NET_INTERFACES_MAX];
static size_t n_applied;
static int netlink = -1;

/* --- what the machine has --- */

static bool
read_hardware(int socket, const char *name, uint8_t ret[6])
{
    static const uint8_t none[6];
    union {
        struct ethtool_perm_addr head;
        uint8_t room[sizeof(struct ethtool_perm_addr) + 32];
    } address = {.head = {.cmd = ETHTOOL_GPERMADDR, .size = 32}};
    struct ifreq request = {.ifr_data = (void *) &address};
    (void) snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    if (ioctl(socket, SIOCETHTOOL, &request) < 0 || address.head.size != 6) {
        return false;
    }
    memcpy(ret, address.room + sizeof address.head, 6);
    return memcmp(ret, none, 6) != 0;
}

static void
list_links(struct links *ret)
{
    struct if_nameindex *names = if_nameindex();
    int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ret->n = 0;
    for (size_t i = 0; names != NULL && socket_fd >= 0 && names[i].if_name != NULL; i++) {
        struct link *link = &ret->all[ret->n];
        if (ret->n < LINKS_MAX && read_hardware(socket_fd, names[i].if_name, link->hardware)) {
            link->index = (int) names[i].if_index;
            (void) snprintf(link->name, sizeof link->name, "%.15s", names[i].if_name);
            link->target[0] = '\0';
            ret->n++;
        }
    }
    if (socket_fd >= 0) {
        (void) close(socket_fd);
    }
    if_freenameindex(names);
}

static struct link *
find_link(struct links *links, const uint8_t hardware[6])
{
    for (size_t i = 0; i < links->n; i++) {
        if (memcmp(links->all[i].hardware, hardware, 6) == 0) {
            return &links->all[i];
        }
    }
    return NULL;
}

struct wanted {
    const struct net_spec *spec;
    struct links *links;
    const uint8_t *missing;
};

static bool
all_there(void *arg)
{
    struct wanted *wanted = arg;
    list_links(wanted->links);
    for (size_t i = 0; i < wanted->spec->n; i++) {
        wanted->missing = wanted->spec->interfaces[i].link.hardware;
        if (find_link(wanted->links, wanted->missing) == NULL) {
            return false;
        }
    }
    return true;
}

/* While the machine boots its interfaces may still appear. */
static int
find_links(const struct net_spec *spec, bool boot, struct links *ret, struct fault *fault)
{
    struct wanted wanted = {.spec = spec, .links = ret};
    if (all_there(&wanted) || (boot && uevent_wait(all_there, &wanted))) {
        return 0;
    }
    const uint8_t *m = wanted.missing;
    return fault_set(fault, "EIO",
                     "the network interface %02x:%02x:%02x:%02x:%02x:%02x is not there", m[0],
                     m[1], m[2], m[3], m[4], m[5]);
}

/* --- names --- */

static struct applied *
find_applied(const uint8_t hardware[6])
{
    for (size_t i = 0; i < n_applied; i++) {
        if (memcmp(applied[i].as.link.hardware, hardware, 6) == 0) {
            return &applied[i];
        }
    }
    return NULL;
}

static bool
is_target(const struct links *links, const char *name)
{
    for (size_t i = 0; i < links->n; i++) {
        if (strcmp(links->all[i].target, name) == 0) {
            return true;
        }
    }
    return false;
}

/* The first ethN that nobody is to have yet. */
static void
give_free_name(struct links *links, struct link *link)
{
    char name[IFNAMSIZ];
    unsigned n = 0;
    do {
        (void) snprintf(name, sizeof name, "eth%u", n++);
    } while (is_target(links, name));
    memcpy(link->target, name, sizeof name);
}

/* What is set up keeps its name, the new ones get the first free ones in their order, the rest the remaining ones. */
static void
choose_names(const struct net_spec *spec, struct links *links)
{
    for (size_t i = 0; i < n_applied; i++) {
        struct link *link = find_link(links, applied[i].as.link.hardware);
        if (link != NULL) {
            memcpy(link->target, link->name, sizeof link->target);
        }
    }
    for (size_t i = 0; i < spec->n; i++) {
        struct link *link = find_link(links, spec->interfaces[i].link.hardware);
        if (link->target[0] == '\0') {
            give_free_name(links, link);
        }
    }
    for (size_t i = 0; i < links->n; i++) {
        struct link *link = &links->all[i];
        if (link->target[0] == '\0' && !is_target(links, link->name)) {
            memcpy(link->target, link->name, sizeof link->target);
        } else if (link->target[0] == '\0') {
            give_free_name(links, link);
        }
    }
}

static int
rename_link(struct link *link, const char *name, struct fault *fault)
{
    struct link_change change = {.name = name};
    if (netlink_link(netlink, link->index, &change) < 0) {
        return fault_errno(fault, "EIO", "rename the network interface %s to %s", link->name,
                           name);
    }
    (void) snprintf(link->name, sizeof link->name, "%s", name);
    return 0;
}

/* All that change are down. They go out of each other's way first. */
static int
rename_links(struct links *links, struct fault *fault)
{
    bool change[LINKS_MAX] = {false};
    for (size_t i = 0; i < links->n; i++) {
        struct link *link = &links->all[i];
        char aside[IFNAMSIZ];
        (void) snprintf(aside, sizeof aside, "ctr%d", link->index);
        change[i] = strcmp(link->name, link->target) != 0;
        if (change[i] && rename_link(link, aside, fault) < 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < links->n; i++) {
        struct link *link = &links->all[i];
        if (change[i] && rename_link(link, link->target, fault) < 0) {
            return -1;
        }
    }
    return 0;
}

/* --- routes --- */

static int
change_route(const struct applied *at, bool add, int family)
{
    const struct net_route *route = &at->as.route;
    const struct net_address *gateway = family == AF_INET ? &route->gateway : &route->gateway6;
    /* IPv6 knows no metric of 0. */
    uint32_t metric = route->metric + (family == AF_INET6 ? 1024 : 0);
    return gateway->is_set ? netlink_default_route(netlink, add, at->index, family,
                                                   gateway->bytes, metric, route->mtu)
                           : 0;
}

/* Those that change go first, so that no two are in each other's way. */
static int
set_routes(const struct net_spec *spec, struct fault *fault)
{
    bool change[NET_INTERFACES_MAX];
    for (size_t i = 0; i < spec->n; i++) {
        struct applied *at = find_applied(spec->interfaces[i].link.hardware);
        const struct net_route *route = &spec->interfaces[i].route;
        change[i] = memcmp(&at->as.route, route, sizeof *route) != 0;
        if (change[i]) {
            (void) change_route(at, false, AF_INET);
            (void) change_route(at, false, AF_INET6);
            at->as.route = *route;
        }
    }
    for (size_t i = 0; i < spec->n; i++) {
        struct applied *at = find_applied(spec->interfaces[i].link.hardware);
        if (change[i] &&
            (change_route(at, true, AF_INET) < 0 || change_route(at, true, AF_INET6) < 0)) {
            memset(&at->as.route, 0, sizeof at->as.route);
            return fault_errno(fault, "EIO", "set the default route of %s", at->name);
        }
    }
    return 0;
}

/* --- interfaces --- */

static void
set_ipv6(const char *name, bool on)
{
    static const char *const options[][2] = {
        {"disable_ipv6", "0"},         {"accept_ra", "0"},  {"autoconf", "0"},
        {"router_solicitations", "0"}, {"accept_dad", "0"}, {"dad_transmits", "0"},
        {"accept_redirects", "0"}};
    for (size_t i = 0; i < (on ? sizeof options / sizeof *options : 1); i++) {
        char path[128];
        (void) snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/%s", name,
                        options[i][0]);
        (void) vm_write(path, on ? options[i][1] : "1");
    }
}

static int
change_address(const struct applied *at, bool add, int family)
{
    const struct net_link *link = &at->as.link;
    const struct net_address *address = family == AF_INET ? &link->address : &link->address6;
    return address->is_set ? netlink_address(netlink, add, at->index, family, address->bytes,
                                             address->prefix)
                           : 0;
}

/* Takes it away as far as it goes: the interface may be half set up. Its routes go with it. */
static void
take_down(struct applied *at)
{
    struct link_change down = {.state = LINK_DOWN};
    struct link_change own = {.mac = at->as.link.hardware};
    (void) change_address(at, false, AF_INET);
    (void) change_address(at, false, AF_INET6);
    (void) netlink_link(netlink, at->index, &down);
    (void) netlink_link(netlink, at->index, &own);
    set_ipv6(at->name, false);
    *at = applied[--n_applied];
}

static bool
is_wanted(const struct net_spec *spec, const struct net_link *link)
{
    for (size_t i = 0; i < spec->n; i++) {
        if (memcmp(&spec->interfaces[i].link, link, sizeof *link) == 0) {
            return true;
        }
    }
    return false;
}

static int
bring_up(const struct link *link, const struct net_link *as, struct fault *fault)
{
    struct applied *at = &applied[n_applied++];
    *at = (struct applied){.index = link->index};
    memcpy(at->name, link->name, sizeof at->name);
    at->as.link = *as;
    struct link_change shape = {.mtu = as->mtu,
                                .mac = memcmp(as->mac, as->hardware, 6) != 0 ? as->mac : NULL};
    struct link_change up = {.state = LINK_UP};
    bool reshape = shape.mtu != 0 || shape.mac != NULL;
    if (reshape && netlink_link(netlink, at->index, &shape) < 0) {
        return fault_errno(fault, "EIO", "give the network interface %s its MAC or MTU %u",
                           at->name, as->mtu);
    }
    set_ipv6(at->name, as->address6.is_set);
    if (netlink_link(netlink, at->index, &up) < 0 || change_address(at, true, AF_INET) < 0 ||
        change_address(at, true, AF_INET6) < 0) {
        return fault_errno(fault, "EIO", "set up the network interface %s", at->name);
    }
    return 0;
}

static int
set_up(const struct net_spec *spec, struct links *links, struct fault *fault)
{
    for (size_t i = 0; i < spec->n; i++) {
        const struct net_link *as = &spec->interfaces[i].link;
        if (find_applied(as->hardware) == NULL &&
            bring_up(find_link(links, as->hardware), as, fault) < 0) {
            return -1;
        }
    }
    return set_routes(spec, fault);
}

static int
apply(const struct net_spec *spec, bool boot, struct fault *fault)
{
    static struct links links;
    if (find_links(spec, boot, &links, fault) < 0) {
        return -1;
    }
    for (size_t i = n_applied; i > 0; i--) {
        if (!is_wanted(spec, &applied[i - 1].as.link)) {
            take_down(&applied[i - 1]);
        }
    }
    choose_names(spec, &links);
    return rename_links(&links, fault) < 0 ? -1 : set_up(spec, &links, fault);
}

int
net_setup(const json_t *network, bool boot, struct fault *fault)
{
    static struct net_spec spec;
    if (netspec_parse(network, &spec, fault) < 0) {
        return -1;
    }
    if (boot) {
        netlink = netlink_open();
        if (netlink < 0) {
            return fault_errno(fault, "EIO", "open rtnetlink");
        }
        struct link_change up = {.state = LINK_UP};
        (void) netlink_link(netlink, 1, &up); /* lo is always the first */
        (void) vm_write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
        (void) vm_write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
    }
    return apply(&spec, boot, fault);
}
