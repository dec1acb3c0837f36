/*
 * A container that is found running when ctrd comes back: what its ctr-nets lack is brought back, or their keepers go on trying.
 */
#include "core/net/net-priv.h"

/* The kind of a port that ctr-net does not know (any more); while nobody can be asked what there is, a guess. */
static uint32_t
likely_kind(const struct ctr_network_entry *n, const struct ctr_endpoint *e,
            const struct ctr_up *up, bool asked)
{
    if (!asked || strcmp(e->hardware, e->mac) != 0) {
        return CTR_PORT_DGRAM;
    }
    return ctr_port_kind(n->kinds, up->vmm_kinds);
}

/* What kind of port it has: as ctr-net says, or as it would get one. */
static int
find_port(struct ctr_nets *nets, struct ctr_network_entry *n, const char *container,
          struct ctr_error *err)
{
    (void) pthread_mutex_lock(&n->mutex);
    int code = ctr_peer_open(nets, n, true, NULL, err);
    CTR_AUTO(json) json_t *ports = code == 0 ? ctr_peer_ports(n, err) : NULL;
    const json_t *port = json_object_get(ports, container);
    bool asked = ports != NULL, nothing = asked && n->kinds == 0;
    ctr_nets_lock(nets);
    struct ctr_endpoint *e = ctr_endpoint_find(nets, n, container);
    const struct ctr_up *up = ctr_up_find(nets, container);
    if (e != NULL && up != NULL && !nothing) {
        e->kind = port != NULL ? (uint32_t) ctr_json_int(port, "kind", 0)
                               : likely_kind(n, e, up, asked);
        e->out_mtu = (int) ctr_json_int(port, "out_mtu", 0);
        n->damaged |= port == NULL;
    }
    ctr_nets_unlock(nets);
    (void) pthread_mutex_unlock(&n->mutex);
    return asked ? 0 : err->code;
}

/* What a container had published before. */
static json_t *
published_of(struct ctr_nets *nets, const char *container)
{
    json_t *all = json_array();
    ctr_nets_lock(nets);
    for (const struct ctr_endpoint *e = ctr_endpoint_next(nets, NULL, container);
         e != NULL && all != NULL; e = ctr_endpoint_next(nets, e, container)) {
        (void) json_array_extend(all, e->published);
    }
    ctr_nets_unlock(nets);
    return all;
}

int
ctr_nets_adopt(struct ctr_nets *nets, const struct ctr_nets_wants *wants,
               json_t **ret_published, struct ctr_error *err)
{
    struct ctr_error local = CTR_ERROR_INIT;
    struct ctr_network_list of = {0};
    err = err == NULL ? &local : err;
    int code = ctr_networks_of(nets, wants->container, &of, err);
    code = code != 0 ? code : ctr_up_begin(nets, wants, false, err);
    for (size_t i = 0; i < of.n && code == 0; i++) {
        struct ctr_network_entry *n = of.list[i];
        struct ctr_error why = CTR_ERROR_INIT;
        bool started = false;
        if (ctr_network_is_none(n)) {
            continue;
        }
        if (find_port(nets, n, wants->container, &why) != 0 ||
            ctr_network_restore(nets, n, &started, &why) != 0) {
            ctr_log(CTR_LEVEL_WARN, "event=network-not-whole network=%s error=\"%s\"", n->name,
                    why.msg); /* its keeper goes on trying */
        }
        ctr_keeper_watch(nets, n);
    }
    code = code != 0 ? code : ctr_zones_tell(nets, wants->container, err);
    if (code == 0 && ret_published != NULL) {
        *ret_published = published_of(nets, wants->container);
    }
    ctr_network_list_free(nets, &of);
    return code;
}
