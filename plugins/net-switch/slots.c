/*
 * The slots of the plugin: what the core gives is checked here, so that the rest sees a sound network and sound ports.
 */
#include "slots.h"
#include <errno.h>
#include <stdlib.h>

void
sw_slot_close(void *self)
{
    struct sw *sw = self;
    if (sw == NULL) {
        return;
    }
    sw_unpublish_all(sw, NULL);
    sw_uplink_destroy(sw->uplink);
    while (sw->ports != NULL) {
        struct sw_port *port = sw->ports;
        sw_unlink(sw, port);
        sw_dns_forget(port);
        sw_port_destroy(port);
    }
    sw_allowed_destroy(sw->rules.allowed);
    free(sw->closed);
    free(sw->frames);
    free(sw->held);
    free(sw->datagram);
    free(sw);
}

/* "5432, 8080" */
static int
parse_host_ports(struct sw *sw, const char *text, struct ctr_error *err)
{
    const char *p = text == NULL ? "" : text;
    while (*p != '\0') {
        char *end;
        unsigned long port = strtoul(p, &end, 10);
        bool digit = *p >= '0' && *p <= '9';
        if (!digit || port < 1 || port > 65535 ||
            (*end != ',' && *end != ' ' && *end != '\0') ||
            sw->rules.n_host_ports == SW_HOST_PORTS) {
            return ctr_fail(
                err, -EINVAL,
                "host_ports = %.80s: this is not a list of at most %d port numbers, "
                "like 5432, 8080",
                text, SW_HOST_PORTS);
        }
        sw->host_ports[sw->rules.n_host_ports++] = (uint16_t) port;
        p = end + strspn(end, ", ");
    }
    sw->rules.host_ports = sw->host_ports;
    return 0;
}

int
sw_slot_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    struct sw *sw = calloc(1, sizeof *sw);
    if (sw == NULL) {
        return ctr_fail(err, -ENOMEM, "switch: out of memory");
    }
    sw->host = host;
    sw->open_host = host->option_bool(host, "host_access");
    sw->max_flows = (uint32_t) host->option_int(host, "flows");
    int code = parse_host_ports(sw, host->option_string(host, "host_ports"), err);
    if (code != 0) {
        free(sw);
        return code;
    }
    *ret_self = sw;
    return 0;
}

uint32_t
sw_slot_port_kinds(void *self)
{
    return CTR_PORT_DGRAM;
}

static int
check_network(const struct sw *sw, const struct ctr_network *n, struct ctr_error *err)
{
    const struct sw_rules *r = &sw->rules;
    const struct ctr_address masked = sw_masked(&r->net.address, r->net.prefix);
    if (n->prefix < 8 || n->prefix > 29 || !sw_same(&masked, &r->net.address) ||
        !sw_in_net(&r->gateway, &r->net) || !sw_in_net(&r->dns, &r->net) ||
        !sw_in_net(&r->host, &r->net)) {
        return ctr_fail(err, -EINVAL,
                        "network %s: subnet, gateway, resolver and host's address do not fit "
                        "together (a switch takes prefixes 8 to 29)",
                        n->name);
    }
    if (r->net6.address.family != 0 &&
        (r->net6.address.family != 6 || n->prefix6 < 8 || n->prefix6 > 120 ||
         r->gateway6.family != 6 || !sw_in_net(&r->gateway6, &r->net6))) {
        return ctr_fail(err, -EINVAL,
                        "network %s: IPv6 subnet and gateway do not fit together (a switch "
                        "takes prefixes 8 to 120)",
                        n->name);
    }
    uint32_t least = r->net6.address.family == 6 ? SW_MIN_MTU6 : SW_MIN_MTU;
    if (n->mtu < least || n->mtu > SW_MAX_MTU || r->out_mtu < least) {
        return ctr_fail(
            err, -ERANGE, "network %s: mtu %u (%u on the way out) is not within %u and %d",
            n->name, (unsigned) n->mtu, (unsigned) r->out_mtu, (unsigned) least, SW_MAX_MTU);
    }
    return 0;
}

static void
read_network(struct sw *sw, const struct ctr_network *n)
{
    uint32_t last = n->subnet | (n->prefix > 31 ? 0 : 0xffffffffU >> n->prefix);
    uint32_t out = n->out_mtu == 0 ? n->mtu : n->out_mtu;
    sw->services = n->services;
    sw->mtu = n->mtu;
    sw->isolated = n->isolated != 0;
    sw->rules.net = (struct sw_net){sw_ipv4(n->subnet), n->prefix};
    sw->rules.net6 = (struct sw_net){n->subnet6, n->prefix6};
    sw->rules.gateway = sw_ipv4(n->gateway);
    sw->rules.gateway6 = n->gateway6;
    sw->rules.dns = sw_ipv4(n->dns);
    sw->rules.host = sw_ipv4(n->host == 0 ? last - 1 : n->host);
    sw->rules.out_mtu = out < n->mtu ? out : n->mtu;
    sw->rules.internal = n->internal != 0;
}

static int
make_room(struct sw *sw)
{
    sw->frame_size = SW_ETHER + 4 + (size_t) sw->mtu + 1;
    sw->n_frames = SW_BATCH_BYTES / sw->frame_size;
    sw->n_frames = sw->n_frames > SW_BATCH ? SW_BATCH : sw->n_frames;
    sw->held_size = 4 * (SW_HEADERS + (size_t) SW_MAX_MTU);
    sw->frames = malloc(sw->n_frames * sw->frame_size);
    sw->held = malloc(sw->held_size);
    sw->datagram = malloc(SW_MAX_UDP);
    return sw->frames == NULL || sw->held == NULL || sw->datagram == NULL ? -ENOMEM : 0;
}

int
sw_slot_create(void *self, const struct ctr_network *network, struct ctr_error *err)
{
    struct sw *sw = self;
    read_network(sw, network);
    int code = check_network(sw, network, err);
    if (code == 0 && make_room(sw) != 0) {
        code = ctr_fail(err, -ENOMEM, "network %s: out of memory", network->name);
    }
    if (code == 0 && network->egress_deny != 0) {
        code = sw_allowed_create(&sw->rules.allowed, err);
    }
    return code != 0 || sw->rules.internal ? code : sw_uplink_create(sw, &sw->uplink, err);
}

/* Not the network's, and one that a machine can have. */
static bool
is_fit(const struct sw_rules *r, const struct ctr_port_spec *spec)
{
    uint8_t gateway[6];
    const struct ctr_address address = sw_ipv4(spec->address);
    uint32_t rest = spec->address & (0xffffffffU >> r->net.prefix);
    bool six = spec->address6.family == 0 ||
               (spec->address6.family == 6 && r->net6.address.family == 6 &&
                sw_in_net(&spec->address6, &r->net6) && !sw_is_own(r, &spec->address6));
    sw_gateway_mac(r, gateway);
    return six && sw_in_net(&address, &r->net) && !sw_is_own(r, &address) && rest != 0 &&
           rest != 0xffffffffU >> r->net.prefix && (spec->mac[0] & 1) == 0 &&
           memcmp(spec->mac, gateway, 6) != 0;
}

static int
check_spec(const struct sw *sw, const struct ctr_port_spec *spec, struct ctr_error *err)
{
    const struct ctr_address address = sw_ipv4(spec->address);
    if (spec->kind != CTR_PORT_DGRAM || spec->fd < 0) {
        return ctr_fail(err, -EOPNOTSUPP,
                        "port of %s: a switch takes dgram ports only, with their socket",
                        spec->id);
    }
    if (sw_find_id(sw, spec->id) != NULL) {
        return ctr_fail(err, -EEXIST, "%s has a port already", spec->id);
    }
    if (sw_find_address(sw, &address) != NULL || sw_find_mac(sw, spec->mac) != NULL ||
        (spec->address6.family != 0 && sw_find_address(sw, &spec->address6) != NULL)) {
        return ctr_fail(err, -EADDRINUSE, "port of %s: its address is another port's",
                        spec->id);
    }
    if (!is_fit(&sw->rules, spec)) {
        return ctr_fail(err, -EINVAL, "port of %s: address or MAC is not one for a container",
                        spec->id);
    }
    return 0;
}

int
sw_slot_attach(void *self, const struct ctr_port_spec *spec, struct ctr_port *ret,
               struct ctr_error *err)
{
    struct sw *sw = self;
    struct sw_port *port;
    int code = check_spec(sw, spec, err);
    code = code != 0 ? code : sw_port_create(sw, spec, &port, err);
    if (code != 0) {
        return code;
    }
    sw_link(sw, port);
    ret->kind = CTR_PORT_DGRAM;
    ret->fd = -1;
    ret->mtu = sw->mtu;
    ret->native[0] = '\0';
    return 0;
}

static int
find(const struct sw *sw, const char *id, struct sw_port **ret, struct ctr_error *err)
{
    *ret = sw_find_id(sw, id);
    return *ret != NULL ? 0 : ctr_fail(err, -ENOENT, "%s has no port", id);
}

int
sw_slot_detach(void *self, const char *id, struct ctr_error *err)
{
    struct sw *sw = self;
    struct sw_port *port;
    int code = find(sw, id, &port, err);
    if (code != 0) {
        return code;
    }
    sw_unpublish_all(sw, &port->who.address);
    if (port->who.address6.family == 6) {
        sw_unpublish_all(sw, &port->who.address6);
    }
    sw_unlink(sw, port);
    sw_dns_forget(port);
    if (sw->uplink != NULL) {
        sw_uplink_forget(sw->uplink, port);
    }
    sw_port_destroy(port);
    return 0;
}

int
sw_slot_publish(void *self, struct ctr_publish *publish, struct ctr_error *err)
{
    return sw_publish(self, publish, err);
}

int
sw_slot_unpublish(void *self, const struct ctr_publish *publish, struct ctr_error *err)
{
    return sw_unpublish(self, publish, err);
}

int
sw_slot_stats(void *self, const char *id, struct ctr_net_stats *ret, struct ctr_error *err)
{
    struct sw_port *port;
    int code = find(self, id, &port, err);
    if (code != 0) {
        return code;
    }
    size_t size = ret->size < sizeof *ret ? ret->size : sizeof *ret;
    memcpy(ret, &port->stats, size);
    ret->size = (uint32_t) size;
    return 0;
}

int
sw_slot_allow(void *self, const struct ctr_net_rule *rule, struct ctr_error *err)
{
    struct sw *sw = self;
    const struct sw_net net = {.address = rule->address, .prefix = rule->prefix};
    uint64_t now = sw_now_ms();
    if (sw->rules.allowed == NULL) {
        return 0; /* everything is allowed */
    }
    if ((rule->address.family != 4 && rule->address.family != 6) ||
        rule->prefix > (rule->address.family == 6 ? 128 : 32)) {
        return ctr_fail(err, -EINVAL, "rule for the way out: this is not an IP network");
    }
    return sw_allowed_add(sw->rules.allowed, &net, rule->port,
                          rule->seconds == 0 ? 0 : now + rule->seconds * (uint64_t) 1000, now,
                          err);
}

int
sw_slot_capture(void *self, const char *id, uint32_t on, struct ctr_error *err)
{
    struct sw *sw = self;
    struct sw_port *port;
    if (sw->services == NULL || sw->services->frame == NULL) {
        return ctr_fail(err, -EOPNOTSUPP, "nobody takes captured frames");
    }
    if (id == NULL) {
        sw->capture_all = on != 0;
        return 0;
    }
    int code = find(sw, id, &port, err);
    if (code == 0) {
        port->captured = on != 0;
    }
    return code;
}
