/*
 * Requests on published ports. A port of the host leads to a port of a container, both by IPv4 or both by IPv6.
 */
#include "core/carrier/carrier-priv.h"

struct wish {
    struct ctr_publish publish;
    struct ctr_address host; /* where the host listens */
    const char *proto;
    json_t *published; /* of the container's port */
    int64_t last;      /* host port that may be tried last */
};

static int
parse_ports(const json_t *request, struct wish *w, struct ctr_error *err)
{
    int64_t host_port = ctr_json_int(request, "host_port", 0);
    int64_t port = ctr_json_int(request, "port", 0);
    w->last = ctr_json_int(request, "host_port_end", host_port);
    w->proto = ctr_json_str(request, "proto", "tcp");
    if (strcmp(w->proto, "tcp") != 0 && strcmp(w->proto, "udp") != 0) {
        return ctr_fail(err, -EPROTONOSUPPORT,
                        "protocol \"%.20s\" cannot be published: tcp and udp can", w->proto);
    }
    if (host_port < 0 || host_port > 65535 || port < 1 || port > 65535) {
        return ctr_fail(err, -ERANGE, "a published port is not within 1 and 65535");
    }
    if (w->last < host_port || w->last > 65535) {
        return ctr_fail(err, -ERANGE, "the range of host ports ends before it begins");
    }
    w->publish.proto = strcmp(w->proto, "udp") == 0 ? CTR_PROTO_UDP : CTR_PROTO_TCP;
    w->publish.host_port = (uint16_t) host_port;
    w->publish.port = (uint16_t) port;
    return 0;
}

/* The container's end, of the same family as the host's. */
static int
find_container(struct ctr_carrier *c, const char *id, struct wish *w, struct ctr_error *err)
{
    json_t *port = json_object_get(c->ports, id);
    if (port == NULL) {
        return ctr_fail(err, -ENOENT, "%s has no port on network %s", id, c->network.name);
    }
    w->published = json_object_get(port, "published");
    if (w->host.family != 6) {
        w->publish.host_address = ctr_address_ipv4(&w->host);
        return ctr_carrier_ipv4(port, "address", &w->publish.address, err);
    }
    w->publish.host_address6 = w->host;
    int code = ctr_carrier_address(port, "address6", &w->publish.address6, err);
    if (code == 0 && w->publish.address6.family == 0) {
        return ctr_fail(err, -EADDRNOTAVAIL,
                        "%s has no IPv6 address on network %s: publish its port on an IPv4 "
                        "address, or give the network IPv6",
                        id, c->network.name);
    }
    return code;
}

static int
parse_wish(struct ctr_carrier *c, const json_t *request, struct wish *w, struct ctr_error *err)
{
    *w = (struct wish){.publish.size = sizeof w->publish};
    const char *id = ctr_carrier_id(request, err);
    int code = id == NULL ? -EINVAL : parse_ports(request, w, err);
    code = code != 0 ? code : ctr_carrier_address(request, "host_address", &w->host, err);
    if (code == 0 && w->host.family == 0) {
        w->host.family = 4; /* all of the host's */
    }
    code = code != 0 ? code : find_container(c, id, w, err);
    if (code == 0 && (c->ops.publish == NULL || c->ops.unpublish == NULL)) {
        code = ctr_fail(err, -EOPNOTSUPP, "network plugin %s cannot publish ports",
                        c->plugin->name);
    }
    if (code == 0 && w->host.family == 6 && !ctr_plugin_net_is_12(c->plugin)) {
        code = ctr_fail(err, -EOPNOTSUPP, "network plugin %s cannot publish IPv6 ports",
                        c->plugin->name);
    }
    return code;
}

/* The first port of the range that is free. */
static int
publish_first(struct ctr_carrier *c, struct wish *w, struct ctr_error *err)
{
    char text[CTR_ADDRESS_TEXT];
    int64_t first = w->publish.host_port;
    for (int64_t port = first; port <= w->last; port++) {
        w->publish.host_port = (uint16_t) port;
        int code = c->ops.publish(c->self, &w->publish, err);
        if (code != -EADDRINUSE || first == w->last) {
            return code;
        }
    }
    return ctr_fail(err, -EADDRINUSE, "no port from %lld to %lld is free on %s",
                    (long long) first, (long long) w->last, ctr_address_format(&w->host, text));
}

json_t *
ctr_carrier_publish(struct ctr_carrier *c, struct ctr_exchange *exchange, struct ctr_error *err)
{
    struct wish w;
    char text[CTR_ADDRESS_TEXT];
    if (parse_wish(c, exchange->request, &w, err) != 0 || publish_first(c, &w, err) != 0) {
        return NULL;
    }
    json_t *entry = json_pack("{s:s, s:s, s:i, s:i}", "proto", w.proto, "host_address",
                              ctr_address_format(&w.host, text), "host_port",
                              w.publish.host_port, "port", w.publish.port);
    if (json_array_append_new(w.published, entry) != 0) {
        (void) c->ops.unpublish(c->self, &w.publish, NULL);
        return NULL;
    }
    return json_pack("{s:i}", "host_port", w.publish.host_port);
}

json_t *
ctr_carrier_unpublish(struct ctr_carrier *c, struct ctr_exchange *exchange,
                      struct ctr_error *err)
{
    struct wish w;
    char text[CTR_ADDRESS_TEXT];
    if (parse_wish(c, exchange->request, &w, err) != 0 ||
        c->ops.unpublish(c->self, &w.publish, err) != 0) {
        return NULL;
    }
    for (size_t i = json_array_size(w.published); i-- > 0;) {
        const json_t *p = json_array_get(w.published, i);
        if (ctr_json_int(p, "host_port", 0) == w.publish.host_port &&
            strcmp(ctr_json_str(p, "proto", ""), w.proto) == 0 &&
            strcmp(ctr_json_str(p, "host_address", ""), ctr_address_format(&w.host, text)) ==
                0) {
            (void) json_array_remove(w.published, i);
        }
    }
    return json_object();
}
