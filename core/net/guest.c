/*
 * What the guest's machine is told of its networks: guest/PROTOCOL.guest.md, "network".
 */
#include "core/net/net-priv.h"

static json_t *
interface(const struct ctr_endpoint *e, bool gateway, bool gateway6)
{
    const struct ctr_network_entry *n = e->network;
    char v4[16], v6[CTR_ADDRESS_TEXT], way[16], way6[CTR_ADDRESS_TEXT];
    int mtu = e->mtu == 0 ? n->mtu : e->mtu;
    return json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:i, s:s, s:i, s:i}", "mac", e->mac,
                     "hardware", e->hardware, "address", ctr_ipv4_format(e->address, v4),
                     "prefix", n->prefix, "gateway",
                     gateway ? ctr_ipv4_format(n->gateway, way) : "", "address6",
                     ctr_address_format(&e->address6, v6), "prefix6", n->subnet6.prefix,
                     "gateway6", gateway6 ? ctr_address_format(&n->gateway6, way6) : "", "mtu",
                     mtu, "out_mtu", e->out_mtu < mtu ? e->out_mtu : mtu);
}

/* nets->mutex is held, here and below. */
static json_t *
interfaces(const struct ctr_nets *nets, const char *container)
{
    const struct ctr_endpoint *out = ctr_endpoint_gateway(nets, container);
    json_t *list = json_array();
    bool out6 = false;
    for (const struct ctr_endpoint *e = ctr_endpoint_next(nets, NULL, container); e != NULL;
         e = ctr_endpoint_next(nets, e, container)) {
        bool first6 = !out6 && !e->network->internal && e->address6.family != 0;
        if (e->kind != 0) {
            (void) json_array_append_new(list, interface(e, e == out, first6));
            out6 |= first6;
        }
    }
    return list;
}

/* The name server: that of the network with the default route, else of the first one. */
static json_t *
name_servers(const struct ctr_nets *nets, const char *container)
{
    const struct ctr_endpoint *e = ctr_endpoint_gateway(nets, container);
    char text[16];
    if (e == NULL) {
        e = ctr_endpoint_next(nets, NULL, container);
        while (e != NULL && e->kind == 0) {
            e = ctr_endpoint_next(nets, e, container);
        }
    }
    return e == NULL ? json_array()
                     : json_pack("[s]", ctr_ipv4_format(e->network->gateway, text));
}

static void
add_host(json_t *hosts, const char *address, const char *name)
{
    if (*address != '\0' && *name != '\0') {
        (void) json_array_append_new(
            hosts, json_pack("{s:s, s:[s]}", "address", address, "names", name));
    }
}

static void
add_extra_host(const struct ctr_nets *nets, json_t *hosts, const struct ctr_up *up,
               const char *text)
{
    const struct ctr_endpoint *out = ctr_endpoint_gateway(nets, up->container);
    char name[256], host[16] = "";
    const char *address;
    if (ctr_extra_host_split(text, name, &address) != 0) {
        return;
    }
    if (*address == '\0' && out != NULL) {
        address = ctr_ipv4_format(ctr_network_host(out->network), host);
    }
    add_host(hosts, address, name);
}

/* Its own name at all its addresses, and what --add-host says. */
static json_t *
host_lines(const struct ctr_nets *nets, const struct ctr_up *up)
{
    json_t *hosts = json_array();
    char text[CTR_ADDRESS_TEXT];
    size_t i;
    const json_t *item;
    for (const struct ctr_endpoint *e = ctr_endpoint_next(nets, NULL, up->container); e != NULL;
         e = ctr_endpoint_next(nets, e, up->container)) {
        if (e->kind != 0) {
            add_host(hosts, ctr_ipv4_format(e->address, text), up->hostname);
            add_host(hosts, ctr_address_format(&e->address6, text), up->hostname);
        }
    }
    json_array_foreach(up->extra_hosts, i, item)
    {
        add_extra_host(nets, hosts, up, json_string_value(item));
    }
    return hosts;
}

static json_t *
own_or(const json_t *own, const json_t *host, const char *key)
{
    return json_deep_copy(json_array_size(own) > 0 ? own : json_object_get(host, key));
}

/* A search list of "." alone is none. */
static json_t *
search_list(const json_t *own, const json_t *host)
{
    const char *first = json_string_value(json_array_get(own, 0));
    bool none = json_array_size(own) == 1 && first != NULL && strcmp(first, ".") == 0;
    return none ? json_array() : own_or(own, host, "search");
}

json_t *
ctr_nets_guest(struct ctr_nets *nets, const char *container, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *host = ctr_resolv_read(nets->conf->engine.resolv_conf);
    json_t *ret = NULL;
    ctr_nets_lock(nets);
    const struct ctr_up *up = ctr_up_find(nets, container);
    if (up == NULL) {
        (void) ctr_fail(err, -ENOENT, "container %.12s is not up", container);
    } else {
        ret = json_pack(
            "{s:o, s:o, s:o, s:o, s:o}", "interfaces", interfaces(nets, container), "dns",
            name_servers(nets, container), "search", search_list(up->dns_search, host),
            "options", own_or(up->dns_options, host, "options"), "hosts", host_lines(nets, up));
        if (ret == NULL) {
            (void) ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
        }
    }
    ctr_nets_unlock(nets);
    return ret;
}
