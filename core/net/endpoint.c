/*
 * Endpoints in memory: one list of all, in the order in which they were joined.
 */
#include "core/net/net-priv.h"

struct ctr_endpoint *
ctr_endpoint_find(const struct ctr_nets *nets, const struct ctr_network_entry *network,
                  const char *container)
{
    struct ctr_endpoint *e = nets->endpoints;
    while (e != NULL && (e->network != network || strcmp(e->container, container) != 0)) {
        e = e->next;
    }
    return e;
}

struct ctr_endpoint *
ctr_endpoint_next(const struct ctr_nets *nets, const struct ctr_endpoint *after,
                  const char *container)
{
    struct ctr_endpoint *e = after == NULL ? nets->endpoints : after->next;
    while (e != NULL && strcmp(e->container, container) != 0) {
        e = e->next;
    }
    return e;
}

struct ctr_endpoint *
ctr_endpoint_gateway(const struct ctr_nets *nets, const char *container)
{
    struct ctr_endpoint *e = ctr_endpoint_next(nets, NULL, container);
    while (e != NULL && (e->kind == 0 || e->network->internal)) {
        e = ctr_endpoint_next(nets, e, container);
    }
    return e;
}

void
ctr_endpoint_free(struct ctr_endpoint *endpoint)
{
    if (endpoint == NULL) {
        return;
    }
    free(endpoint->container);
    free(endpoint->name);
    json_decref(endpoint->aliases);
    json_decref(endpoint->published);
    free(endpoint);
}

struct ctr_endpoint *
ctr_endpoint_create(struct ctr_network_entry *network, const char *container, const char *name)
{
    struct ctr_endpoint *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return NULL;
    }
    e->network = network;
    e->container = strdup(container);
    e->name = strdup(name);
    e->aliases = json_array();
    e->published = json_array();
    if (e->container == NULL || e->name == NULL || e->aliases == NULL || e->published == NULL) {
        ctr_endpoint_free(e);
        return NULL;
    }
    return e;
}

void
ctr_endpoint_insert(struct ctr_nets *nets, struct ctr_endpoint *endpoint)
{
    struct ctr_endpoint **at = &nets->endpoints;
    while (*at != NULL && (*at)->order <= endpoint->order) {
        at = &(*at)->next;
    }
    endpoint->next = *at;
    *at = endpoint;
    nets->order = endpoint->order >= nets->order ? endpoint->order + 1 : nets->order;
}

void
ctr_endpoint_unlink(struct ctr_nets *nets, struct ctr_endpoint *endpoint)
{
    struct ctr_endpoint **at = &nets->endpoints;
    while (*at != endpoint) {
        at = &(*at)->next;
    }
    *at = endpoint->next;
}

json_t *
ctr_endpoint_record(const struct ctr_endpoint *e)
{
    char address6[CTR_ADDRESS_TEXT];
    return json_pack("{s:s, s:s, s:O, s:s, s:b, s:s, s:s, s:i, s:I, s:O}", "container",
                     e->container, "name", e->name, "aliases", e->aliases, "address6",
                     ctr_address_format(&e->address6, address6), "own6", e->own6, "mac", e->mac,
                     "hardware", e->hardware, "mtu", e->mtu, "order", (json_int_t) e->order,
                     "published", e->published);
}

json_t *
ctr_endpoint_brief(const struct ctr_endpoint *e)
{
    char address[16] = "", address6[CTR_ADDRESS_TEXT];
    if (e->address != 0) {
        (void) ctr_ipv4_format(e->address, address);
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:O}", "name", e->name, "address", address,
                     "address6", ctr_address_format(&e->address6, address6), "mac", e->mac,
                     "aliases", e->aliases);
}

static json_t *
describe(const struct ctr_endpoint *e)
{
    const struct ctr_network_entry *n = e->network;
    char gateway[16] = "", gateway6[CTR_ADDRESS_TEXT] = "";
    json_t *ret = ctr_endpoint_brief(e);
    if (e->address != 0) {
        (void) ctr_ipv4_format(n->gateway, gateway);
    }
    CTR_AUTO(json)
    json_t *more = json_pack(
        "{s:s, s:s, s:i, s:s, s:i, s:s, s:s, s:i, s:b}", "network", n->name, "network_id",
        n->id, "prefix", n->prefix, "gateway", gateway, "prefix6", n->subnet6.prefix,
        "gateway6", ctr_address_format(&n->gateway6, gateway6), "hardware", e->hardware, "mtu",
        e->mtu == 0 ? n->mtu : e->mtu, "up", e->kind != 0);
    if (ret == NULL || more == NULL || json_object_update(ret, more) != 0 ||
        json_object_set_new(ret, "published", json_deep_copy(e->published)) != 0) {
        json_decref(ret);
        return NULL;
    }
    (void) json_object_del(ret, "name"); /* the container's own */
    return ret;
}

json_t *
ctr_nets_endpoints(struct ctr_nets *nets, const char *container, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *list = json_array();
    bool failed = list == NULL;
    ctr_nets_lock(nets);
    for (const struct ctr_endpoint *e = ctr_endpoint_next(nets, NULL, container);
         e != NULL && !failed; e = ctr_endpoint_next(nets, e, container)) {
        failed = json_array_append_new(list, describe(e)) != 0;
    }
    ctr_nets_unlock(nets);
    if (failed) {
        (void) ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
        return NULL;
    }
    return ctr_steal(&list);
}
