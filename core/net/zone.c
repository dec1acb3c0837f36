/*
 * Names: who knows whom. Each ctr-net gets all names of its network at once (core/dns/dns.h): those of the containers that are up on it for all, unless it
 * isolates them; and for each of its ports the names on the container's other networks, its own additional hosts and its name servers.
 */
#include "core/net/net-priv.h"

/* --- who is concerned --- */

/* True if a container that is up on n has an endpoint on a network of this container's. */
static bool
is_concerned(const struct ctr_nets *nets, const struct ctr_network_entry *n,
             const char *container)
{
    for (const struct ctr_endpoint *e = nets->endpoints; e != NULL; e = e->next) {
        if (e->network != n || e->kind == 0) {
            continue;
        }
        for (const struct ctr_endpoint *o = ctr_endpoint_next(nets, NULL, e->container);
             o != NULL; o = ctr_endpoint_next(nets, o, e->container)) {
            if (ctr_endpoint_find(nets, o->network, container) != NULL) {
                return true;
            }
        }
    }
    return false;
}

int
ctr_zones_concerned(struct ctr_nets *nets, const char *container, struct ctr_network_list *ret,
                    struct ctr_error *err)
{
    struct ctr_network_list list = {0};
    int code = 0;
    ctr_nets_lock(nets);
    for (struct ctr_network_entry *n = nets->networks; n != NULL && code == 0; n = n->next) {
        if (is_concerned(nets, n, container)) {
            code = ctr_network_list_add(&list, n, err);
        }
    }
    ctr_nets_unlock(nets);
    if (code != 0) {
        ctr_network_list_free(nets, &list);
        return code;
    }
    *ret = list;
    return 0;
}

/* --- the zone; nets->mutex is held, and a failed allocation leaves *failed true --- */

static void
add_name(json_t *hosts, const char *name, const char *v4, const char *v6, bool *failed)
{
    json_t *addresses = *v6 == '\0' ? json_pack("[s]", v4) : json_pack("[s, s]", v4, v6);
    *failed |= json_array_append_new(
                   hosts, json_pack("{s:s, s:o}", "name", name, "addresses", addresses)) != 0;
}

static void
add_endpoint(json_t *hosts, const struct ctr_endpoint *e, bool *failed)
{
    char v4[16], v6[CTR_ADDRESS_TEXT], id[13];
    size_t i;
    const json_t *alias;
    (void) ctr_ipv4_format(e->address, v4);
    (void) ctr_address_format(&e->address6, v6);
    (void) snprintf(id, sizeof id, "%.12s", e->container);
    add_name(hosts, e->name, v4, v6, failed);
    if (strcmp(id, e->name) != 0) {
        add_name(hosts, id, v4, v6, failed);
    }
    json_array_foreach(e->aliases, i, alias)
    {
        const char *name = json_string_value(alias);
        if (strcmp(name, e->name) != 0 && strcmp(name, id) != 0) {
            add_name(hosts, name, v4, v6, failed);
        }
    }
}

int
ctr_extra_host_split(const char *text, char ret_name[256], const char **ret_address)
{
    size_t n = text == NULL ? 0 : strcspn(text, ":=");
    if (n == 0 || n > 255 || text[n] == '\0') {
        return -EINVAL;
    }
    memcpy(ret_name, text, n);
    ret_name[n] = '\0';
    *ret_address = strcmp(text + n + 1, "host-gateway") == 0 ? "" : text + n + 1;
    return 0;
}

static void
add_extra_hosts(const struct ctr_nets *nets, json_t *hosts, const struct ctr_up *up,
                bool *failed)
{
    const struct ctr_endpoint *gateway = ctr_endpoint_gateway(nets, up->container);
    size_t i;
    const json_t *item;
    char name[256], host[16];
    const char *address;
    json_array_foreach(up->extra_hosts, i, item)
    {
        if (ctr_extra_host_split(json_string_value(item), name, &address) != 0 ||
            (*address == '\0' && gateway == NULL)) {
            continue;
        }
        add_name(hosts, name,
                 *address != '\0' ? address
                                  : ctr_ipv4_format(ctr_network_host(gateway->network), host),
                 "", failed);
    }
}

/* Those on the container's other networks that are not on this one as well. */
static void
add_elsewhere(const struct ctr_nets *nets, json_t *hosts, const struct ctr_endpoint *own,
              bool *failed)
{
    for (const struct ctr_endpoint *o = ctr_endpoint_next(nets, NULL, own->container);
         o != NULL; o = ctr_endpoint_next(nets, o, own->container)) {
        if (o->network == own->network || o->kind == 0 || o->network->isolated) {
            continue;
        }
        for (const struct ctr_endpoint *e = nets->endpoints; e != NULL; e = e->next) {
            if (e->network != o->network || e->kind == 0) {
                continue;
            }
            const struct ctr_endpoint *here =
                ctr_endpoint_find(nets, own->network, e->container);
            if (here == NULL || here->kind == 0 || (own->network->isolated && here != own)) {
                add_endpoint(hosts, e, failed);
            }
        }
    }
}

static json_t *
port_zone(const struct ctr_nets *nets, const struct ctr_endpoint *e, bool *failed)
{
    const struct ctr_up *up = ctr_up_find(nets, e->container);
    const char *profile_dns = nets->conf->engine.dns;
    json_t *hosts = json_array(), *elsewhere = json_array();
    json_t *dns = up != NULL && json_array_size(up->dns) > 0 ? json_deep_copy(up->dns)
                  : *profile_dns != '\0'                     ? json_pack("[s]", profile_dns)
                                                             : json_array();
    if (up != NULL) {
        add_extra_hosts(nets, hosts, up, failed);
    }
    if (e->network->isolated) {
        add_endpoint(hosts, e, failed);
    }
    add_elsewhere(nets, elsewhere, e, failed);
    return json_pack("{s:o, s:o, s:o, s:b}", "hosts", hosts, "elsewhere", elsewhere, "dns", dns,
                     "forward", !e->network->internal);
}

static json_t *
make_zone(struct ctr_nets *nets, const struct ctr_network_entry *network)
{
    json_t *hosts = json_array(), *ports = json_object();
    bool failed = false;
    ctr_nets_lock(nets);
    for (const struct ctr_endpoint *e = nets->endpoints; e != NULL; e = e->next) {
        if (e->network == network && e->kind != 0) {
            if (!network->isolated) {
                add_endpoint(hosts, e, &failed);
            }
            failed |=
                json_object_set_new(ports, e->container, port_zone(nets, e, &failed)) != 0;
        }
    }
    ctr_nets_unlock(nets);
    json_t *zone = json_pack("{s:o, s:o}", "hosts", hosts, "ports", ports);
    if (failed) {
        json_decref(zone);
        return NULL;
    }
    return zone;
}

/* --- telling --- */

int
ctr_zone_push(struct ctr_nets *nets, struct ctr_network_entry *network, struct ctr_error *err)
{
    json_t *zone = make_zone(nets, network);
    if (zone == NULL) {
        return ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    CTR_AUTO(json)
    json_t *ok = ctr_peer_call(network, json_pack("{s:s, s:o}", "op", "zone", "zone", zone), -1,
                               NULL, err);
    return ok == NULL ? err->code : 0;
}

/* Nobody there: nobody to tell; its keeper will. */
static int
push_one(struct ctr_nets *nets, struct ctr_network_entry *n, struct ctr_error *err)
{
    struct ctr_error why = CTR_ERROR_INIT;
    (void) pthread_mutex_lock(&n->mutex);
    int code = ctr_peer_open(nets, n, false, NULL, &why);
    bool nobody = code == -ENOENT;
    code = code == 0 ? ctr_zone_push(nets, n, &why) : code;
    (void) pthread_mutex_unlock(&n->mutex);
    return code == 0 || nobody
               ? 0
               : ctr_fail(err, code, "names of network %s: %s", n->name, why.msg);
}

int
ctr_zones_push(struct ctr_nets *nets, const struct ctr_network_list *networks,
               const char *container, struct ctr_error *err)
{
    int ret = 0;
    for (size_t i = 0; i < networks->n; i++) {
        struct ctr_network_entry *n = networks->list[i];
        struct ctr_error why = CTR_ERROR_INIT;
        int code = push_one(nets, n, &why);
        ctr_nets_lock(nets);
        bool own = ctr_endpoint_find(nets, n, container) != NULL;
        ctr_nets_unlock(nets);
        if (code != 0 && own) {
            ret = ctr_fail(err, code, "%s", why.msg);
        } else if (code != 0) {
            ctr_log(CTR_LEVEL_WARN, "event=names-not-told network=%s error=\"%s\"", n->name,
                    why.msg);
        }
    }
    return ret;
}

int
ctr_zones_tell(struct ctr_nets *nets, const char *container, struct ctr_error *err)
{
    struct ctr_network_list concerned = {0};
    int code = ctr_zones_concerned(nets, container, &concerned, err);
    code = code != 0 ? code : ctr_zones_push(nets, &concerned, container, err);
    ctr_network_list_free(nets, &concerned);
    return code;
}
