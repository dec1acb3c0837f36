/*
 * Ports: a tap on the bridge for each, given to the machine as it is or pumped into the descriptor of a DGRAM port.
 *
 * A tap is named after network and container, so that a ctr-net that is started again finds it, and no two networks' rules ever speak of
 * the same name. It goes by itself when the last who has it open closes it.
 */
#include "bridge-priv.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct br_port *
br_find_id(const struct br *br, const char *id)
{
    struct br_port *p = br->ports;
    while (p != NULL && strcmp(p->id, id) != 0) {
        p = p->next;
    }
    return p;
}

struct br_port *
br_find_address(const struct br *br, const struct ctr_address *address)
{
    struct br_port *p = br->ports;
    while (p != NULL && !br_same(address->family == 6 ? &p->address6 : &p->address, address)) {
        p = p->next;
    }
    return address->family == 0 ? NULL : p;
}

/* "ctp" and 12 hex digits: FNV-1a of both IDs. */
static void
name_tap(const struct br *br, const char *id, char ret[IFNAMSIZ])
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (const char *c = br->hex; *c != '\0'; c++) {
        hash = (hash ^ (uint8_t) *c) * UINT64_C(1099511628211);
    }
    for (const char *c = id; *c != '\0'; c++) {
        hash = (hash ^ (uint8_t) *c) * UINT64_C(1099511628211);
    }
    (void) snprintf(ret, IFNAMSIZ, "ctp%012llx", (unsigned long long) (hash >> 16));
}

/* --- the tap --- */

static int
set_tap(const struct br *br, const char *name, short flags)
{
    struct ifreq request = {.ifr_flags = flags};
    int fd = br_opener_open(br);
    if (fd < 0) {
        return fd;
    }
    memcpy(request.ifr_name, name, IFNAMSIZ);
    if (ioctl(fd, TUNSETIFF, &request) != 0) {
        int code = -errno;
        (void) close(fd);
        return code;
    }
    return fd;
}

static int
make_tap(struct br_port *port, bool pumped)
{
    const struct br *br = port->br;
    short flags = (short) (IFF_TAP | IFF_NO_PI | (pumped ? 0 : IFF_VNET_HDR));
    int fd = set_tap(br, port->tap, flags);
    if (fd == -EBUSY) { /* a machine that is about to end still has the last one */
        (void) br_link_delete(br, (int) if_nametoindex(port->tap));
        fd = set_tap(br, port->tap, flags);
    }
    return fd;
}

/* 0 if the descriptor, which an earlier attach gave, is that of the port's tap. */
static int
check_tap(const struct br_port *port, int fd)
{
    struct ifreq request = {0};
    if (ioctl(fd, TUNGETIFF, &request) != 0) {
        return -errno;
    }
    return strncmp(request.ifr_name, port->tap, IFNAMSIZ) == 0 ? 0 : -ESTALE;
}

/* Who may send is said before the tap is joined. */
static int
wire(struct br_port *port, struct ctr_error *err)
{
    const struct br *br = port->br;
    port->index = (int) if_nametoindex(port->tap);
    (void) br_link_sysctl(port->tap, "ipv6", "disable_ipv6",
                          1); /* the host says nothing there */
    int code = br_rules_attach(port, err);
    if (code != 0) {
        return code;
    }
    code = br_link_join(br, port, true);
    code = code != 0 ? code : br_link_up(br, port->index, true);
    if (code != 0) {
        br_rules_detach(port);
        return ctr_fail(err, code, "port of %s: tap %s on %s: %s", port->id, port->tap,
                        br->bridge, strerror(-code));
    }
    return 0;
}

/* The machine's end of the tap, or -1 where there is one already. */
static int
connect_tap(struct br_port *port, const struct ctr_port_spec *spec, int *ret_fd,
            struct ctr_error *err)
{
    bool again = spec->fd >= 0;
    int fd = again ? check_tap(port, spec->fd) : make_tap(port, false);
    if (fd < 0) {
        return ctr_fail(err, fd, "port of %s: tap %s: %s", port->id, port->tap, strerror(-fd));
    }
    int code = wire(port, err);
    if (again && code == 0) {
        (void) close(spec->fd);
    } else if (!again && code != 0) {
        (void) close(fd);
    }
    *ret_fd = again ? -1 : fd;
    return code;
}

static int
connect_pump(struct br_port *port, const struct ctr_port_spec *spec, struct ctr_error *err)
{
    if (spec->fd < 0) {
        return ctr_fail(err, -EINVAL, "port of %s: a dgram port comes with its descriptor",
                        port->id);
    }
    int tap = make_tap(port, true);
    if (tap < 0) {
        return ctr_fail(err, tap, "port of %s: tap %s: %s", port->id, port->tap,
                        strerror(-tap));
    }
    int code = wire(port, err);
    if (code == 0) {
        code = br_pump_create(port, tap, spec->fd, err);
        if (code != 0) {
            br_rules_detach(port);
        }
    }
    if (code != 0) {
        (void) close(tap);
    }
    return code;
}

/* --- slots --- */

static int
check_spec(const struct br *br, const struct ctr_port_spec *spec, struct ctr_error *err)
{
    const struct ctr_address address = br_address4(spec->address);
    if (spec->kind != CTR_PORT_TAP && spec->kind != CTR_PORT_DGRAM) {
        return ctr_fail(err, -EOPNOTSUPP, "port of %s: a bridge has tap and dgram ports only",
                        spec->id);
    }
    if (br_find_id(br, spec->id) != NULL) {
        return ctr_fail(err, -EEXIST, "%s has a port already", spec->id);
    }
    bool taken =
        br_find_address(br, &address) != NULL || br_find_address(br, &spec->address6) != NULL;
    for (const struct br_port *p = br->ports; p != NULL; p = p->next) {
        taken = taken || memcmp(p->mac, spec->mac, sizeof p->mac) == 0;
    }
    if (taken) {
        return ctr_fail(err, -EADDRINUSE, "port of %s: its address is another port's",
                        spec->id);
    }
    uint32_t subnet, mask = 0xffffffffU << (32 - br->prefix);
    memcpy(&subnet, br->subnet.bytes, sizeof subnet);
    if ((spec->address & mask) != ntohl(subnet) || br_same(&address, &br->gateway) ||
        br_same(&address, &br->dns) || br_same(&address, &br->host_address) ||
        (spec->address6.family == 6 &&
         (br->subnet6.family != 6 || br_same(&spec->address6, &br->gateway6))) ||
        (spec->mac[0] & 1) != 0 || memcmp(spec->mac + 2, br->gateway.bytes, 4) == 0) {
        return ctr_fail(err, -EINVAL, "port of %s: address or MAC is not one for a container",
                        spec->id);
    }
    return 0;
}

static struct br_port *
new_port(struct br *br, const struct ctr_port_spec *spec)
{
    struct br_port *port = calloc(1, sizeof *port);
    if (port == NULL || (port->id = strdup(spec->id)) == NULL) {
        free(port);
        return NULL;
    }
    port->br = br;
    port->address = br_address4(spec->address);
    port->address6 = spec->address6;
    port->flags = spec->flags;
    memcpy(port->mac, spec->mac, sizeof port->mac);
    name_tap(br, spec->id, port->tap);
    return port;
}

static void
free_port(struct br_port *port)
{
    free(port->id);
    free(port);
}

int
br_attach(void *self, const struct ctr_port_spec *spec, struct ctr_port *ret,
          struct ctr_error *err)
{
    struct br *br = self;
    int fd = -1, code = check_spec(br, spec, err);
    if (code != 0) {
        return code;
    }
    struct br_port *port = new_port(br, spec);
    if (port == NULL) {
        return ctr_fail(err, -ENOMEM, "port of %s: out of memory", spec->id);
    }
    code = spec->kind == CTR_PORT_TAP ? connect_tap(port, spec, &fd, err)
                                      : connect_pump(port, spec, err);
    if (code != 0) {
        free_port(port);
        return code;
    }
    port->next = br->ports;
    br->ports = port;
    ret->kind = spec->kind;
    ret->fd = fd;
    ret->mtu = br->mtu;
    ret->out_mtu = br->out_mtu;
    ret->native[0] = '\0';
    if (ret->size >= offsetof(struct ctr_port, reserved)) {
        ret->out_mtu = br->out_mtu;
    }
    if (br->capture_all) {
        (void) br_capture_start(port, NULL);
    }
    return 0;
}

/* A tap that its machine still has open stays behind: without power and on no bridge. */
static void
disconnect(struct br_port *port)
{
    struct br *br = port->br;
    br_unpublish_all(br, port);
    br_capture_stop(port);
    br_rules_detach(port);
    int index = (int) if_nametoindex(port->tap);
    if (index == port->index && index != 0) {
        (void) br_link_up(br, index, false);
        (void) br_link_join(br, port, false);
    }
    br_pump_destroy(port->pump);
    free_port(port);
}

int
br_detach(void *self, const char *id, struct ctr_error *err)
{
    struct br *br = self;
    struct br_port **at = &br->ports, *port = br_find_id(br, id);
    if (port == NULL) {
        return ctr_fail(err, -ENOENT, "%s has no port", id);
    }
    while (*at != port) {
        at = &(*at)->next;
    }
    *at = port->next;
    disconnect(port);
    return 0;
}

void
br_detach_all(struct br *br)
{
    while (br->ports != NULL) {
        struct br_port *port = br->ports;
        br->ports = port->next;
        disconnect(port);
    }
}

int
br_stats(void *self, const char *id, struct ctr_net_stats *ret, struct ctr_error *err)
{
    const struct br_port *port = br_find_id(self, id);
    struct rtnl_link_stats64 link;
    if (port == NULL) {
        return ctr_fail(err, -ENOENT, "%s has no port", id);
    }
    int code = br_link_stats(port->br, port->index, &link);
    if (code != 0) {
        return ctr_fail(err, code, "port of %s: tap %s: %s", id, port->tap, strerror(-code));
    }
    struct ctr_net_stats stats = {
        .rx_frames = link.tx_packets,
        .rx_bytes = link.tx_bytes,
        .tx_frames = link.rx_packets,
        .tx_bytes = link.rx_bytes,
        .dropped = link.tx_dropped + link.rx_dropped + br_pump_dropped(port->pump),
    };
    br_counters(port, &stats.spoofed, &stats.refused);
    stats.dropped += stats.spoofed + stats.refused;
    size_t size = ret->size < sizeof *ret ? ret->size : sizeof *ret;
    memcpy(ret, &stats, size);
    ret->size = (uint32_t) size;
    return 0;
}
