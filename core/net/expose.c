/*
 * Published ports, on the network that has the container's default route. They move when the container leaves that one.
 */
#include "core/net/net-priv.h"

/* One port; *ret (new reference) is the wish with the real host port. */
static int
publish(struct ctr_network_entry *network, const char *container, const json_t *wish,
        json_t **ret, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *real = json_deep_copy(wish);
    json_t *request = json_deep_copy(wish);
    if (!json_is_object(real) || request == NULL) {
        json_decref(request);
        return ctr_fail(err, -EINVAL, "a published port is not described by an object");
    }
    (void) json_object_set_new(request, "op", json_string("publish"));
    (void) json_object_set_new(request, "id", json_string(container));
    CTR_AUTO(json) json_t *ok = ctr_peer_call(network, request, -1, NULL, err);
    if (ok == NULL) {
        return err->code;
    }
    (void) json_object_del(real, "host_port_end");
    if (json_object_set_new(real, "host_port",
                            json_integer(ctr_json_int(ok, "host_port", 0))) != 0) {
        return ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    *ret = ctr_steal(&real);
    return 0;
}

/* All of a list; what was published is in *ret in any case. */
static int
publish_all(struct ctr_network_entry *network, const char *container, const json_t *wishes,
            json_t *ret, struct ctr_error *err)
{
    size_t i;
    const json_t *wish;
    json_array_foreach(wishes, i, wish)
    {
        json_t *real;
        int code = publish(network, container, wish, &real, err);
        if (code != 0) {
            return code;
        }
        if (json_array_append_new(ret, real) != 0) {
            return ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
        }
    }
    return 0;
}

static void
unpublish_all(struct ctr_network_entry *network, const char *container, const json_t *list)
{
    size_t i;
    const json_t *port;
    json_array_foreach(list, i, port)
    {
        json_t *request = json_deep_copy(port);
        (void) json_object_set_new(request, "op", json_string("unpublish"));
        (void) json_object_set_new(request, "id", json_string(container));
        json_decref(ctr_peer_call(network, request, -1, NULL, NULL));
    }
}

/* Writes down what is published: a ctr-net that is started again gets the same. */
static int
note(struct ctr_nets *nets, const struct ctr_network_entry *network, const char *container,
     json_t *list, struct ctr_error *err)
{
    int code = 0;
    ctr_nets_lock(nets);
    struct ctr_endpoint *e = ctr_endpoint_find(nets, network, container);
    if (e != NULL && !json_equal(e->published, list)) {
        json_decref(e->published);
        e->published = json_incref(list);
        code = ctr_lease_update(nets, e, err);
    }
    ctr_nets_unlock(nets);
    return code;
}

/* All or none, on this network. */
static int
expose_on(struct ctr_nets *nets, struct ctr_network_entry *n, const char *container,
          const json_t *wishes, json_t *made, struct ctr_error *err)
{
    int code = 0;
    (void) pthread_mutex_lock(&n->mutex);
    if (json_array_size(wishes) > 0) {
        code = ctr_peer_open(nets, n, true, NULL, err);
        code = code != 0 ? code : publish_all(n, container, wishes, made, err);
    }
    code = code != 0 ? code : note(nets, n, container, made, err);
    if (code != 0) {
        unpublish_all(n, container, made);
    }
    (void) pthread_mutex_unlock(&n->mutex);
    return code;
}

int
ctr_expose(struct ctr_nets *nets, const char *container, const json_t *wishes, json_t **ret,
           struct ctr_error *err)
{
    CTR_AUTO(json) json_t *made = json_array();
    if (made == NULL) {
        return ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    ctr_nets_lock(nets);
    const struct ctr_endpoint *e = ctr_endpoint_gateway(nets, container);
    struct ctr_network_entry *n = e == NULL ? NULL : e->network;
    if (n != NULL) {
        n->refs++;
    }
    ctr_nets_unlock(nets);
    int code = 0;
    if (n != NULL) {
        code = expose_on(nets, n, container, wishes, made, err);
        ctr_network_release(nets, n);
    } else if (json_array_size(wishes) > 0) {
        code = ctr_fail(err, -EINVAL,
                        "ports cannot be published: container %.12s is on no network with a "
                        "way out",
                        container);
    }
    if (code == 0 && ret != NULL) {
        *ret = ctr_steal(&made);
    }
    return code;
}

/* True if the list has that port of the host. */
static bool
has_port(const json_t *list, const json_t *wanted)
{
    size_t i;
    const json_t *p;
    json_array_foreach(list, i, p)
    {
        if (ctr_json_int(p, "host_port", 0) == ctr_json_int(wanted, "host_port", -1) &&
            strcmp(ctr_json_str(p, "proto", ""), ctr_json_str(wanted, "proto", "")) == 0 &&
            strcmp(ctr_json_str(p, "host_address", ""),
                   ctr_json_str(wanted, "host_address", "")) == 0) {
            return true;
        }
    }
    return false;
}

int
ctr_expose_again(struct ctr_nets *nets, struct ctr_network_entry *network,
                 const char *container, const json_t *have, struct ctr_error *err)
{
    ctr_nets_lock(nets);
    const struct ctr_endpoint *e = ctr_endpoint_find(nets, network, container);
    CTR_AUTO(json)
    json_t *wanted = e == NULL || e->kind == 0 ? json_array() : json_deep_copy(e->published);
    ctr_nets_unlock(nets);
    size_t i;
    const json_t *port;
    json_array_foreach(wanted, i, port)
    {
        json_t *real;
        int code = has_port(have, port) ? 1 : publish(network, container, port, &real, err);
        if (code < 0) {
            return code;
        }
        if (code == 0) {
            json_decref(real);
        }
    }
    return 0;
}
