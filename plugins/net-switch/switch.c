/*
 * The switch: which frame goes where, and the slots of the net plugin.
 *
 * The core says which MAC and address a port has, so the table is exact from the start and nothing is learned from
 * what guests claim. A frame that names another sender is dropped; so is all that is neither IPv4 nor ARP.
 */
#include "switch-priv.h"
#include <errno.h>
#include <stdlib.h>

static const struct ctr_option options[] = {
    {
        .size = sizeof(struct ctr_option),
        .type = CTR_OPTION_BOOL,
        .name = "host_access",
        .def = "no",
        .help = "containers may reach the host's own addresses (never its loopback)",
    },
    {
        .size = sizeof(struct ctr_option),
        .type = CTR_OPTION_INT,
        .name = "flows",
        .def = "1024",
        .min = 1,
        .max = 65536,
        .help = "connections that one container may have with the outside at a time",
    },
};

static size_t
mac_bucket(const uint8_t mac[6])
{
    return (mac[5] ^ mac[4] * 31U) % SW_BUCKETS;
}

static size_t
address_bucket(uint32_t address)
{
    return (address ^ (address >> 8) * 31U) % SW_BUCKETS;
}

static struct sw_port *
find_mac(const struct sw *sw, const uint8_t mac[6])
{
    struct sw_port *p = sw->by_mac[mac_bucket(mac)];
    while (p != NULL && memcmp(p->mac, mac, 6) != 0) {
        p = p->next_by_mac;
    }
    return p;
}

struct sw_port *
sw_find_address(const struct sw *sw, uint32_t address)
{
    struct sw_port *p = sw->by_address[address_bucket(address)];
    while (p != NULL && p->address != address) {
        p = p->next_by_address;
    }
    return p;
}

static struct sw_port *
find_id(const struct sw *sw, const char *id)
{
    struct sw_port *p = sw->ports;
    while (p != NULL && strcmp(p->id, id) != 0) {
        p = p->next;
    }
    return p;
}

/* --- forwarding --- */

static bool
is_uplink_mac(const struct sw *sw, const uint8_t mac[6])
{
    const struct sw_rules *r = &sw->rules;
    uint32_t address = sw_get32(mac + 2);
    return mac[0] == 0x52 && mac[1] == 0x55 &&
           (address == r->gateway || address == r->dns || address == r->uplink);
}

static void
refuse(struct sw_port *port, const struct sw_frame *frame)
{
    const struct sw_rules *rules = &port->sw->rules;
    uint8_t mac[6], reply[SW_ICMP_ERROR];
    port->stats.dropped++;
    if (frame->fragment || (frame->proto == SW_ICMP && frame->icmp_type != 8)) {
        return; /* never an error about an error or about part of a datagram */
    }
    sw_uplink_mac(rules->gateway, mac);
    sw_port_send(port, reply, sw_refusal(frame, rules->gateway, mac, reply));
}

static void
to_uplink(struct sw_port *port, const struct sw_frame *frame)
{
    struct sw *sw = port->sw;
    if (sw_dns_question(port, frame)) {
        return;
    }
    if (sw->uplink == NULL) {
        port->stats.dropped++;
        return;
    }
    if (sw_udp_answer(sw, frame)) {
        return;
    }
    sw_refresh_host(sw);
    enum sw_verdict verdict = sw_judge(frame, &sw->rules);
    if (verdict == SW_REFUSE) {
        refuse(port, frame);
    } else if (verdict == SW_DROP) {
        port->stats.dropped++;
    } else {
        sw_uplink_input(sw->uplink, port, frame);
    }
}

static void
flood(struct sw_port *from, const struct sw_frame *frame)
{
    const struct sw *sw = from->sw;
    for (struct sw_port *p = sw->ports; p != NULL; p = p->next) {
        if (p != from) {
            sw_port_send(p, frame->bytes, frame->length);
        }
    }
    const struct sw_rules *r = &sw->rules;
    if (frame->type == SW_TYPE_ARP && sw->uplink != NULL &&
        (frame->arp_target == r->gateway || frame->arp_target == r->dns ||
         frame->arp_target == r->uplink)) {
        to_uplink(from, frame);
    }
}

void
sw_from_port(struct sw_port *port, const uint8_t *bytes, size_t length)
{
    struct sw_frame frame;
    if (!sw_parse(bytes, length, &frame) || !sw_is_from(&frame, port->mac, port->address)) {
        port->stats.dropped++;
        return;
    }
    if ((frame.to[0] & 1) != 0) {
        flood(port, &frame);
        return;
    }
    if (is_uplink_mac(port->sw, frame.to)) {
        to_uplink(port, &frame);
        return;
    }
    struct sw_port *to = find_mac(port->sw, frame.to);
    if (to == NULL || to == port) {
        port->stats.dropped++;
        return;
    }
    sw_port_send(to, bytes, length);
}

void
sw_from_uplink(struct sw *sw, const uint8_t *bytes, size_t length)
{
    struct sw_frame frame;
    if (!sw_parse(bytes, length, &frame)) {
        return;
    }
    struct sw_port *to = frame.type == SW_TYPE_ARP ? sw_find_address(sw, frame.arp_target)
                                                   : find_mac(sw, frame.to);
    if (to != NULL) {
        sw_port_send(to, bytes, length);
    }
}

/* --- slots --- */

static void
sw_close(void *self)
{
    struct sw *sw = self;
    if (sw == NULL) {
        return;
    }
    sw_unpublish_all(sw, 0);
    sw_uplink_destroy(sw->uplink);
    while (sw->ports != NULL) {
        struct sw_port *next = sw->ports->next;
        sw_port_destroy(sw->ports);
        sw->ports = next;
    }
    free(sw->host_addresses);
    free(sw->frame);
    free(sw->datagram);
    free(sw);
}

static int
sw_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    struct sw *sw = calloc(1, sizeof *sw);
    if (sw == NULL) {
        return ctr_fail(err, -ENOMEM, "switch: out of memory");
    }
    sw->host = host;
    sw->open_host = host->option_bool(host, "host_access");
    sw->max_flows = (uint32_t) host->option_int(host, "flows");
    *ret_self = sw;
    return 0;
}

static uint32_t
sw_port_kinds(void *self)
{
    return CTR_PORT_DGRAM;
}

/* An address of the network for libslirp's own use where gateway and resolver are one: it tells the two apart by address. */
static uint32_t
uplink_address(const struct ctr_network *network, uint32_t mask)
{
    return network->gateway == network->dns ? (network->subnet | ~mask) - 1 : network->gateway;
}

static int
check_network(const struct ctr_network *n, uint32_t mask, struct ctr_error *err)
{
    if (n->prefix < 8 || n->prefix > 29 || (n->subnet & ~mask) != 0 ||
        (n->gateway & mask) != n->subnet || (n->dns & mask) != n->subnet) {
        return ctr_fail(err, -EINVAL,
                        "network %s: subnet, gateway and resolver do not fit together (a "
                        "switch takes prefixes 8 to 29)",
                        n->name);
    }
    if (n->mtu < 576 || n->mtu > SW_MAX_MTU) {
        return ctr_fail(err, -ERANGE, "network %s: mtu %u is not within 576 and %d", n->name,
                        (unsigned) n->mtu, SW_MAX_MTU);
    }
    return 0;
}

static int
sw_create(void *self, const struct ctr_network *network, struct ctr_error *err)
{
    struct sw *sw = self;
    uint32_t mask = network->prefix == 0 || network->prefix > 32
                        ? 0
                        : 0xffffffffU << (32 - network->prefix);
    int code = check_network(network, mask, err);
    if (code != 0) {
        return code;
    }
    sw->rules = (struct sw_rules){
        .subnet = network->subnet,
        .mask = mask,
        .gateway = network->gateway,
        .dns = network->dns,
        .uplink = uplink_address(network, mask),
    };
    sw->services = network->services;
    sw->mtu = network->mtu;
    sw->internal = network->internal != 0;
    sw->frame = malloc(SW_ETHER + 4 + (size_t) sw->mtu + 1);
    sw->datagram = malloc(SW_ETHER + SW_IPV4 + 8 + 65536);
    if (sw->frame == NULL || sw->datagram == NULL) {
        return ctr_fail(err, -ENOMEM, "network %s: out of memory", network->name);
    }
    return sw->internal ? 0 : sw_uplink_create(sw, &sw->uplink, err);
}

static void
link_port(struct sw *sw, struct sw_port *port)
{
    struct sw_port **mac = &sw->by_mac[mac_bucket(port->mac)];
    struct sw_port **address = &sw->by_address[address_bucket(port->address)];
    port->next = sw->ports;
    sw->ports = port;
    port->next_by_mac = *mac;
    *mac = port;
    port->next_by_address = *address;
    *address = port;
}

static void
unlink_port(struct sw *sw, const struct sw_port *port)
{
    struct sw_port **p = &sw->ports;
    while (*p != port) {
        p = &(*p)->next;
    }
    *p = port->next;
    for (p = &sw->by_mac[mac_bucket(port->mac)]; *p != port;) {
        p = &(*p)->next_by_mac;
    }
    *p = port->next_by_mac;
    for (p = &sw->by_address[address_bucket(port->address)]; *p != port;) {
        p = &(*p)->next_by_address;
    }
    *p = port->next_by_address;
}

static int
check_spec(const struct sw *sw, const struct ctr_port_spec *spec, struct ctr_error *err)
{
    const struct sw_rules *r = &sw->rules;
    if (spec->kind != CTR_PORT_DGRAM) {
        return ctr_fail(err, -EOPNOTSUPP, "port of %s: a switch makes dgram ports only",
                        spec->id);
    }
    if (find_id(sw, spec->id) != NULL) {
        return ctr_fail(err, -EEXIST, "%s has a port already", spec->id);
    }
    if (sw_find_address(sw, spec->address) != NULL || find_mac(sw, spec->mac) != NULL) {
        return ctr_fail(err, -EADDRINUSE, "port of %s: its address is another port's",
                        spec->id);
    }
    if ((spec->address & r->mask) != r->subnet || spec->address == r->gateway ||
        spec->address == r->dns || spec->address == r->uplink || (spec->mac[0] & 1) != 0 ||
        is_uplink_mac(sw, spec->mac)) {
        return ctr_fail(err, -EINVAL, "port of %s: address or MAC is not one for a container",
                        spec->id);
    }
    return 0;
}

static int
sw_attach(void *self, const struct ctr_port_spec *spec, struct ctr_port *ret,
          struct ctr_error *err)
{
    struct sw *sw = self;
    struct sw_port *port;
    int fd = -1, code = check_spec(sw, spec, err);
    if (code != 0) {
        return code;
    }
    code = sw_port_create(sw, spec, &fd, &port, err);
    if (code != 0) {
        return code;
    }
    link_port(sw, port);
    ret->kind = CTR_PORT_DGRAM;
    ret->fd = fd;
    ret->mtu = sw->mtu;
    ret->native[0] = '\0';
    return 0;
}

static int
sw_detach(void *self, const char *id, struct ctr_error *err)
{
    struct sw *sw = self;
    struct sw_port *port = find_id(sw, id);
    if (port == NULL) {
        return ctr_fail(err, -ENOENT, "%s has no port", id);
    }
    sw_unpublish_all(sw, port->address);
    unlink_port(sw, port);
    if (sw->uplink != NULL) {
        sw_uplink_forget(sw->uplink, port);
    }
    sw_port_destroy(port);
    return 0;
}

static int
sw_slot_publish(void *self, struct ctr_publish *publish, struct ctr_error *err)
{
    return sw_publish(self, publish, err);
}

static int
sw_slot_unpublish(void *self, const struct ctr_publish *publish, struct ctr_error *err)
{
    return sw_unpublish(self, publish, err);
}

static int
sw_stats(void *self, const char *id, struct ctr_net_stats *ret, struct ctr_error *err)
{
    const struct sw_port *port = find_id(self, id);
    if (port == NULL) {
        return ctr_fail(err, -ENOENT, "%s has no port", id);
    }
    size_t size = ret->size < sizeof *ret ? ret->size : sizeof *ret;
    memcpy(ret, &port->stats, size);
    ret->size = (uint32_t) size;
    return 0;
}

static const struct ctr_net_ops ops = {
    .size = sizeof ops,
    .open = sw_open,
    .close = sw_close,
    .port_kinds = sw_port_kinds,
    .create = sw_create,
    .attach = sw_attach,
    .detach = sw_detach,
    .publish = sw_slot_publish,
    .unpublish = sw_slot_unpublish,
    .stats = sw_stats,
};

CTR_PLUGIN(CTR_KIND_NET, "switch", CTR_VERSION,
           "joins the VMs of a network in user space, with a way out through libslirp", options,
           &ops);
