/*
 * Brings back what a ctr-net lacks: ports over descriptors that whoever runs the machines has kept, published ports, names.
 */
#include "core/net/net-priv.h"

/* A port that ctr-net lacks. */
struct lost {
    char *container;
    char hardware[18];
    uint32_t kind;
    int fd;
};

struct losses {
    struct lost *list;
    size_t n;
};

static void
losses_free(struct losses *losses)
{
    for (size_t i = 0; i < losses->n; i++) {
        free(losses->list[i].container);
        ctr_auto_fd(&losses->list[i].fd);
    }
    free(losses->list);
}

/* What should be there and is not among `ports`. */
static int
find_losses(struct ctr_nets *nets, const struct ctr_network_entry *network, const json_t *ports,
            struct losses *ret, struct ctr_error *err)
{
    size_t n = 0;
    ctr_nets_lock(nets);
    for (const struct ctr_endpoint *e = nets->endpoints; e != NULL; e = e->next) {
        n++;
    }
    ret->list = calloc(n + 1, sizeof *ret->list);
    bool failed = ret->list == NULL;
    for (const struct ctr_endpoint *e = nets->endpoints; e != NULL && !failed; e = e->next) {
        if (e->network != network || e->kind == 0 ||
            json_object_get(ports, e->container) != NULL) {
            continue;
        }
        struct lost *lost = &ret->list[ret->n++];
        *lost = (struct lost){.container = strdup(e->container), .kind = e->kind, .fd = -1};
        memcpy(lost->hardware, e->hardware, sizeof lost->hardware);
        failed = lost->container == NULL;
    }
    ctr_nets_unlock(nets);
    return failed ? ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY) : 0;
}

/* Asks whoever runs the machines for the ports' ends; no lock is held. */
static void
fetch_ends(const struct ctr_nets *nets, struct losses *losses)
{
    for (size_t i = 0; i < losses->n && nets->hooks.port != NULL; i++) {
        struct lost *lost = &losses->list[i];
        struct ctr_error err = CTR_ERROR_INIT;
        if (lost->kind != CTR_PORT_NATIVE) {
            lost->fd = nets->hooks.port(nets->hooks.arg, lost->container, lost->hardware, &err);
        }
        if (lost->fd < 0 && lost->kind != CTR_PORT_NATIVE) {
            lost->fd = -1;
            ctr_log(CTR_LEVEL_WARN, "event=port-not-kept container=%.12s error=\"%s\"",
                    lost->container, err.msg);
        }
    }
}

/* One port; network->mutex is held. It may have come back by itself, or its container be down by now. */
static int
bring_back(struct ctr_nets *nets, struct ctr_network_entry *network, const struct lost *lost,
           struct ctr_error *err)
{
    ctr_nets_lock(nets);
    struct ctr_endpoint *e = ctr_endpoint_find(nets, network, lost->container);
    const struct ctr_up *up = ctr_up_find(nets, lost->container);
    bool wanted = e != NULL && e->kind != 0 && strcmp(e->hardware, lost->hardware) == 0;
    uint32_t kind = lost->kind;
    if (e != NULL && up != NULL && (kind & network->kinds) == 0) { /* it was a guess */
        kind = ctr_port_kind(network->kinds, up->vmm_kinds);
        e->kind = wanted ? kind : e->kind;
    }
    ctr_nets_unlock(nets);
    if (!wanted || network->kinds == 0) {
        return 0;
    }
    if (lost->fd < 0 && lost->kind != CTR_PORT_NATIVE) {
        return ctr_fail(err, -EAGAIN, "the machine of container %.12s gives no port",
                        lost->container);
    }
    int code = ctr_port_restore(nets, network, lost->container, kind, lost->fd, err);
    return code == -EEXIST || code == -ENOENT ? 0 : code;
}

/* All of them, then what was published, then the names. The first failure is told, the rest is tried all the same. */
static int
bring_all_back(struct ctr_nets *nets, struct ctr_network_entry *network,
               const struct losses *losses, struct ctr_error *err)
{
    int code = 0;
    for (size_t i = 0; i < losses->n; i++) {
        struct ctr_error why = CTR_ERROR_INIT;
        const char *container = losses->list[i].container;
        int one = bring_back(nets, network, &losses->list[i], &why);
        one = one != 0 ? one : ctr_expose_again(nets, network, container, NULL, &why);
        code = one == 0 ? code : ctr_fail(err, one, "%s", why.msg);
    }
    return code != 0 ? code : ctr_zone_push(nets, network, err);
}

/* What ctr-net has; it is started if it does not run. */
static json_t *
ask_ports(struct ctr_nets *nets, struct ctr_network_entry *network, bool *ret_started,
          struct ctr_error *err)
{
    (void) pthread_mutex_lock(&network->mutex);
    int code = ctr_peer_open(nets, network, true, ret_started, err);
    json_t *ports = code == 0 ? ctr_peer_ports(network, err) : NULL;
    (void) pthread_mutex_unlock(&network->mutex);
    return ports;
}

int
ctr_network_restore(struct ctr_nets *nets, struct ctr_network_entry *network, bool *ret_started,
                    struct ctr_error *err)
{
    struct losses losses = {0};
    CTR_AUTO(json) json_t *ports = ask_ports(nets, network, ret_started, err);
    if (ports == NULL) {
        return err->code;
    }
    int code = find_losses(nets, network, ports, &losses, err);
    if (code == 0) {
        fetch_ends(nets, &losses);
        (void) pthread_mutex_lock(&network->mutex);
        code = ctr_peer_open(nets, network, true, ret_started, err);
        code = code != 0 ? code : bring_all_back(nets, network, &losses, err);
        (void) pthread_mutex_unlock(&network->mutex);
    }
    losses_free(&losses);
    ctr_nets_lock(nets);
    network->damaged = code != 0;
    ctr_nets_unlock(nets);
    return code;
}
