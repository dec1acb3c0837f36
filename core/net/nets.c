/*
 * ctrd's half: a container on a network. See net.h; the parts are in network.c, lease.c, peer.c and spawn.c.
 */
#include "core/net/net-priv.h"

int
ctr_nets_create(struct ctr_store *store, const struct ctr_conf *conf,
                const struct ctr_nets_hooks *hooks, struct ctr_nets **ret,
                struct ctr_error *err)
{
    struct ctr_nets *nets = calloc(1, sizeof *nets);
    if (nets == NULL) {
        return ctr_fail(err, -ENOMEM, "networks: out of memory");
    }
    nets->store = store;
    nets->conf = conf;
    (void) pthread_mutex_init(&nets->mutex, NULL);
    int code = ctr_networks_load(nets, err);
    if (code == 0) {
        code = ctr_leases_load(nets, err);
    }
    if (code == 0) {
        code = ctr_network_refresh(nets, err);
    }
    if (code != 0) {
        ctr_nets_destroy(nets);
        return code;
    }
    *ret = nets;
    return 0;
}

void
ctr_nets_destroy(struct ctr_nets *nets)
{
    if (nets == NULL) {
        return;
    }
    while (nets->networks != NULL) {
        struct ctr_network_entry *next = nets->networks->next;
        ctr_network_free(nets->networks);
        nets->networks = next;
    }
    (void) pthread_mutex_destroy(&nets->mutex);
    free(nets);
}

/* The lowest kind of port that both sides speak; 0 if there is none. */
static uint32_t
common_kind(uint32_t a, uint32_t b)
{
    return (a & b) & (~(a & b) + 1);
}

static json_t *
attach_request(const char *container, uint32_t address, uint32_t kind)
{
    char mac[18], dotted[16];
    ctr_mac_format(address, mac);
    return json_pack("{s:s, s:s, s:s, s:s, s:i}", "op", "attach", "id", container, "mac", mac,
                     "address", ctr_ipv4_format(address, dotted), "kind", (int) kind);
}

static json_t *
detach_request(const char *container)
{
    return json_pack("{s:s, s:s}", "op", "detach", "id", container);
}

/* Makes the port. One of the same name is left of a VM that ended unseen: it goes first. */
static int
attach(struct ctr_network_entry *network, const char *container, uint32_t address,
       uint32_t kind, struct ctr_old_attachment *ret, struct ctr_error *err)
{
    struct ctr_error why = CTR_ERROR_INIT;
    int fd = -1;
    json_t *ok = ctr_peer_call(network, attach_request(container, address, kind), &fd, &why);
    if (ok == NULL && why.code == -EEXIST) {
        json_decref(ctr_peer_call(network, detach_request(container), NULL, NULL));
        ok = ctr_peer_call(network, attach_request(container, address, kind), &fd, &why);
    }
    if (ok == NULL) {
        return ctr_fail(err, why.code, "%s", why.msg);
    }
    ret->kind = (int) ctr_json_int(ok, "kind", 0);
    ret->mtu = (int) ctr_json_int(ok, "mtu", 1500);
    ret->fd = fd;
    json_decref(ok);
    if (fd < 0 && kind != CTR_PORT_NATIVE) {
        return ctr_fail(err, -EPROTO, "ctr-net gave no port");
    }
    return 0;
}

static int
publish_one(struct ctr_network_entry *network, const json_t *wish, uint32_t address,
            json_t *published, struct ctr_error *err)
{
    char dotted[16];
    CTR_AUTO(json) json_t *real = json_deep_copy(wish);
    json_t *request = json_deep_copy(wish);
    if (real == NULL || request == NULL || !json_is_object(request)) {
        json_decref(request);
        return ctr_fail(err, -EINVAL, "a published port is not described by an object");
    }
    (void) json_object_set_new(request, "op", json_string("publish"));
    (void) json_object_set_new(request, "address",
                               json_string(ctr_ipv4_format(address, dotted)));
    CTR_AUTO(json) json_t *ok = ctr_peer_call(network, request, NULL, err);
    if (ok == NULL) {
        return err->code;
    }
    if (json_object_set_new(real, "host_port",
                            json_integer(ctr_json_int(ok, "host_port", 0))) != 0 ||
        json_array_append(published, real) != 0) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    return 0;
}

static int
publish_all(struct ctr_network_entry *network, const json_t *publish, uint32_t address,
            json_t *published, struct ctr_error *err)
{
    size_t i;
    const json_t *wish;
    json_array_foreach(publish, i, wish)
    {
        int code = publish_one(network, wish, address, published, err);
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

static void
fill_attachment(const struct ctr_nets *nets, const struct ctr_network_entry *network,
                uint32_t address, struct ctr_old_attachment *ret)
{
    const char *dns = nets->conf->engine.dns;
    (void) snprintf(ret->network, sizeof ret->network, "%s", network->name);
    ctr_mac_format(address, ret->mac);
    (void) ctr_ipv4_format(address, ret->address);
    (void) ctr_ipv4_format(network->gateway, ret->gateway);
    (void) snprintf(ret->dns, sizeof ret->dns, "%s", *dns != '\0' ? dns : ret->gateway);
    ret->prefix = network->prefix;
}

/* No port: "none", or a plugin that connects nothing. */
static int
connect_nothing(const char *network, const json_t *publish, struct ctr_old_attachment *ret,
                struct ctr_error *err)
{
    if (json_array_size(publish) > 0) {
        return ctr_fail(err, -EINVAL,
                        "ports cannot be published on network %.63s, which connects nothing",
                        network);
    }
    *ret = (struct ctr_old_attachment){.fd = -1};
    (void) snprintf(ret->network, sizeof ret->network, "%s", network);
    return 0;
}

/* With network->mutex held and its ctr-net there. */
static int
connect_port(struct ctr_nets *nets, struct ctr_network_entry *network, const char *container,
             uint32_t vmm_kinds, const json_t *publish, json_t *published,
             struct ctr_old_attachment *ret, struct ctr_error *err)
{
    uint32_t address, kind = common_kind(network->kinds, vmm_kinds);
    struct ctr_old_attachment made = {.fd = -1};
    if (network->kinds == 0) {
        return connect_nothing(network->name, publish, ret, err);
    }
    if (kind == 0) {
        return ctr_fail(err, -EOPNOTSUPP,
                        "the network plugin and the VMM plugin have no kind of port in common "
                        "(sets %#x and %#x): choose another [net] or [vmm] plugin",
                        (unsigned) network->kinds, (unsigned) vmm_kinds);
    }
    int code = ctr_lease_get(nets, network, container, &address, err);
    if (code != 0) {
        return code;
    }
    fill_attachment(nets, network, address, &made);
    code = attach(network, container, address, kind, &made, err);
    if (code == 0) {
        code = publish_all(network, publish, address, published, err);
    }
    if (code != 0) {
        json_decref(ctr_peer_call(network, detach_request(container), NULL, NULL));
        ctr_auto_fd(&made.fd);
        return code;
    }
    *ret = made;
    return 0;
}

int
ctr_nets_connect(struct ctr_nets *nets, const char *network, const char *container,
                 uint32_t vmm_kinds, const json_t *publish, struct ctr_old_attachment *ret,
                 json_t **ret_published, struct ctr_error *err)
{
    struct ctr_error local = CTR_ERROR_INIT;
    struct ctr_network_entry *n;
    CTR_AUTO(json) json_t *published = json_array();
    err = err == NULL ? &local : err;
    if (published == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int code;
    if (strcmp(network, CTR_NET_NONE) == 0) {
        code = connect_nothing(network, publish, ret, err);
    } else {
        code = ctr_network_get(nets, network, &n, err);
        if (code != 0) {
            return code;
        }
        (void) pthread_mutex_lock(&n->mutex);
        code = ctr_peer_open(nets, n, true, err);
        if (code == 0) {
            code = connect_port(nets, n, container, vmm_kinds, publish, published, ret, err);
        }
        (void) pthread_mutex_unlock(&n->mutex);
    }
    if (code == 0 && ret_published != NULL) {
        *ret_published = ctr_steal(&published);
    }
    return code;
}

int
ctr_nets_disconnect(struct ctr_nets *nets, const char *network, const char *container,
                    struct ctr_error *err)
{
    struct ctr_error why = CTR_ERROR_INIT;
    struct ctr_network_entry *n;
    if (strcmp(network, CTR_NET_NONE) == 0 || ctr_network_get(nets, network, &n, &why) != 0) {
        return 0;
    }
    (void) pthread_mutex_lock(&n->mutex);
    int code = ctr_peer_open(nets, n, false, &why);
    if (code == 0) {
        json_t *ok = ctr_peer_call(n, detach_request(container), NULL, &why);
        code = ok != NULL ? 0 : why.code;
        json_decref(ok);
    }
    (void) pthread_mutex_unlock(&n->mutex);
    return code == 0 || code == -ENOENT ? 0 : ctr_fail(err, code, "%s", why.msg);
}

int
ctr_nets_release(struct ctr_nets *nets, const char *network, const char *container,
                 struct ctr_error *err)
{
    struct ctr_error ignored = CTR_ERROR_INIT;
    struct ctr_network_entry *n;
    if (strcmp(network, CTR_NET_NONE) == 0 ||
        ctr_network_get(nets, network, &n, &ignored) != 0) {
        return 0;
    }
    if (ctr_lease_find(nets, n, container) == 0) {
        return 0;
    }
    int code =
        ctr_nets_disconnect(nets, network, container, err); /* never two at one address */
    return code != 0 ? code : ctr_lease_drop(nets, n, container, err);
}

static int
stop_one(struct ctr_nets *nets, struct ctr_network_entry *n, struct ctr_error *err)
{
    struct ctr_error why = CTR_ERROR_INIT;
    (void) pthread_mutex_lock(&n->mutex);
    int code = ctr_peer_open(nets, n, false, &why);
    if (code == 0) {
        code = ctr_peer_stop(nets, n, &why);
    }
    (void) pthread_mutex_unlock(&n->mutex);
    return code >= 0 || code == -ENOENT
               ? 0
               : ctr_fail(err, code, "network %s: %s", n->name, why.msg);
}

int
ctr_nets_stop(struct ctr_nets *nets, const char *network, struct ctr_error *err)
{
    int code = 0;
    (void) pthread_mutex_lock(&nets->mutex);
    struct ctr_network_entry *n = nets->networks;
    (void) pthread_mutex_unlock(&nets->mutex);
    for (; n != NULL; n = n->next) { /* new ones come in front */
        if (network == NULL || strcmp(n->name, network) == 0) {
            int one = stop_one(nets, n, err);
            code = one != 0 ? one : code;
        }
    }
    return code;
}
