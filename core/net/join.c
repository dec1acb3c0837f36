/*
 * A container joins a network, leaves it, or gets another name.
 */
#include "core/net/net-priv.h"

/* --- conflicts; nets->mutex is held --- */

static int
taken(const struct ctr_endpoint *by, const char *what, const char *text, struct ctr_error *err)
{
    return ctr_fail(err, -EEXIST, "%s %s is that of container %s", what, text, by->name);
}

static int
check_against(const struct ctr_endpoint *e, const struct ctr_endpoint *o, struct ctr_error *err)
{
    const struct ctr_network_entry *n = e->network;
    char text[CTR_ADDRESS_TEXT];
    struct ctr_address address6 = e->address6;
    bool same_container = strcmp(e->container, o->container) == 0;
    if (e->mac[0] != '\0' && strcmp(e->mac, o->mac) == 0 &&
        (o->network == n || same_container)) {
        return taken(o, "MAC address", e->mac, err);
    }
    if (o->network != n || e->address == 0) {
        return o->network == n && e->own6 &&
                       memcmp(&address6, &o->address6, sizeof address6) == 0
                   ? taken(o, "address", ctr_address_format(&address6, text), err)
                   : 0;
    }
    if (e->address == o->address) {
        return taken(o, "address", ctr_ipv4_format(e->address, text), err);
    }
    if (!e->own6 && n->subnet6.address.family != 0) {
        address6 = ctr_subnet_at(&n->subnet6, e->address - n->subnet);
    }
    return address6.family != 0 && memcmp(&address6, &o->address6, sizeof address6) == 0
               ? taken(o, "address", ctr_address_format(&address6, text), err)
               : 0;
}

static int
check_join(const struct ctr_nets *nets, const struct ctr_endpoint *e, struct ctr_error *err)
{
    const struct ctr_network_entry *n = e->network;
    if (!n->ready) {
        return ctr_fail(err, -ENOENT, "network %s not found: it is being removed", n->name);
    }
    if (ctr_endpoint_find(nets, n, e->container) != NULL) {
        return ctr_fail(err, -EEXIST, "container %s is on network %s already", e->name,
                        n->name);
    }
    for (const struct ctr_endpoint *o = nets->endpoints; o != NULL; o = o->next) {
        bool none = ctr_network_is_none(n) || ctr_network_is_none(o->network);
        if (none && strcmp(o->container, e->container) == 0) {
            return ctr_fail(
                err, -EINVAL,
                "container %s is on network %s; none goes with no other: disconnect "
                "it there first",
                e->name, o->network->name);
        }
        int code = check_against(e, o, err);
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

int
ctr_nets_join(struct ctr_nets *nets, const char *ref, const char *container, const char *name,
              const json_t *endpoint, struct ctr_error *err)
{
    struct ctr_network_entry *n;
    int code = ctr_network_get(nets, ref, &n, err);
    if (code != 0) {
        return code;
    }
    struct ctr_endpoint *e = ctr_endpoint_create(n, container, name);
    code = e == NULL ? ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY)
                     : ctr_endpoint_wish(e, endpoint, err);
    if (code == 0) {
        ctr_nets_lock(nets);
        code = check_join(nets, e, err);
        e->order = nets->order;
        code = code != 0 ? code : ctr_lease_claim(nets, e, err);
        if (code == 0) {
            ctr_endpoint_insert(nets, ctr_steal(&e));
        }
        ctr_nets_unlock(nets);
    }
    ctr_endpoint_free(e);
    ctr_network_release(nets, n);
    return code;
}

/* --- leaving --- */

/* Gives the addresses back. */
static int
forget(struct ctr_nets *nets, struct ctr_network_entry *n, const char *container,
       struct ctr_error *err)
{
    ctr_nets_lock(nets);
    struct ctr_endpoint *e = ctr_endpoint_find(nets, n, container);
    int code = e == NULL ? 0 : ctr_lease_drop(nets, e, err);
    if (e != NULL && code == 0) {
        ctr_endpoint_unlink(nets, e);
        ctr_endpoint_free(e);
    }
    ctr_nets_unlock(nets);
    return code;
}

/* Onto the next network with a way out, if there is one. */
static void
move_published(struct ctr_nets *nets, const char *container, const json_t *published)
{
    struct ctr_error err = CTR_ERROR_INIT;
    if (json_array_size(published) > 0 &&
        ctr_expose(nets, container, published, NULL, &err) != 0) {
        ctr_log(CTR_LEVEL_WARN, "event=ports-lost container=%.12s error=\"%s\"", container,
                err.msg);
    }
}

/* Takes the port away first, so that there are never two at one address. */
static int
leave_one(struct ctr_nets *nets, struct ctr_network_entry *n, const char *container,
          struct ctr_error *err)
{
    struct ctr_network_list concerned = {0};
    struct ctr_error why = CTR_ERROR_INIT;
    ctr_nets_lock(nets);
    const struct ctr_endpoint *e = ctr_endpoint_find(nets, n, container);
    bool known = e != NULL, up = known && e->kind != 0;
    CTR_AUTO(json) json_t *published = up ? json_deep_copy(e->published) : NULL;
    ctr_nets_unlock(nets);
    if (!known) {
        return ctr_fail(err, -ENOENT, "container %.12s is not on network %s", container,
                        n->name);
    }
    int code = up ? ctr_zones_concerned(nets, container, &concerned, err) : 0;
    if (code == 0 && !ctr_network_is_none(n)) {
        (void) pthread_mutex_lock(&n->mutex);
        code = ctr_peer_open(nets, n, false, NULL, &why);
        code = code == 0 ? ctr_port_drop(nets, n, container, &why) : code;
        (void) pthread_mutex_unlock(&n->mutex);
        code = code == -ENOENT ? 0 : code;
        if (code != 0) {
            (void) ctr_fail(err, code, "network %s: %s", n->name, why.msg);
        }
    }
    code = code != 0 ? code : forget(nets, n, container, err);
    if (code == 0 && up) {
        (void) ctr_zones_push(nets, &concerned, "", NULL);
        move_published(nets, container, published);
        ctr_nets_tell(nets, "disconnect", n, container, NULL);
    }
    ctr_network_list_free(nets, &concerned);
    return code;
}

int
ctr_nets_leave(struct ctr_nets *nets, const char *ref, const char *container,
               struct ctr_error *err)
{
    struct ctr_network_list of = {0};
    struct ctr_network_entry *n;
    if (ref != NULL) {
        int code = ctr_network_get(nets, ref, &n, err);
        if (code == 0) {
            code = leave_one(nets, n, container, err);
            ctr_network_release(nets, n);
        }
        return code;
    }
    int code = ctr_networks_of(nets, container, &of, err);
    for (size_t i = of.n; i-- > 0;) { /* published ports need no new place in between */
        int one = leave_one(nets, of.list[i], container, err);
        code = one != 0 ? one : code;
    }
    ctr_network_list_free(nets, &of);
    return code;
}

/* --- another name --- */

static int
rename_endpoints(struct ctr_nets *nets, const char *container, const char *name,
                 struct ctr_error *err)
{
    int code = 0;
    for (struct ctr_endpoint *e = ctr_endpoint_next(nets, NULL, container);
         e != NULL && code == 0; e = ctr_endpoint_next(nets, e, container)) {
        char *copy = strdup(name);
        if (copy == NULL) {
            return ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
        }
        free(e->name);
        e->name = copy;
        code = ctr_lease_update(nets, e, err);
    }
    return code;
}

int
ctr_nets_rename(struct ctr_nets *nets, const char *container, const char *name,
                struct ctr_error *err)
{
    struct ctr_network_list concerned = {0};
    ctr_nets_lock(nets);
    int code = rename_endpoints(nets, container, name, err);
    bool up = ctr_up_find(nets, container) != NULL;
    ctr_nets_unlock(nets);
    if (code == 0 && up) {
        code = ctr_zones_concerned(nets, container, &concerned, err);
        code = code != 0 ? code : ctr_zones_push(nets, &concerned, container, err);
        ctr_network_list_free(nets, &concerned);
    }
    return code;
}
