/*
 * A container that is up joins one more network, over an interface that its machine had to spare.
 */
#include "core/net/net-priv.h"

static int
set_hardware(struct ctr_nets *nets, const struct ctr_network_entry *n, const char *container,
             const char *hardware, struct ctr_error *err)
{
    ctr_nets_lock(nets);
    struct ctr_endpoint *e = ctr_endpoint_find(nets, n, container);
    int code = e != NULL ? 0
                         : ctr_fail(err, -ENOENT, "container %.12s is not on network %s",
                                    container, n->name);
    if (code == 0) {
        (void) snprintf(e->hardware, sizeof e->hardware, "%s", hardware);
        code = ctr_lease_update(nets, e, err);
    }
    ctr_nets_unlock(nets);
    return code;
}

static int
attach_spare(struct ctr_nets *nets, struct ctr_network_entry *n, const char *container, int fd,
             struct ctr_error *err)
{
    struct ctr_error why = CTR_ERROR_INIT;
    (void) pthread_mutex_lock(&n->mutex);
    int code = ctr_peer_open(nets, n, true, NULL, &why);
    if (code == 0 && n->kinds != 0 && (n->kinds & CTR_PORT_DGRAM) == 0) {
        code = ctr_fail(&why, -EOPNOTSUPP,
                        "network plugin %s cannot be joined by a machine that runs; restart "
                        "the container",
                        n->plugin);
    } else if (code == 0 && n->kinds != 0) {
        code = ctr_port_restore(nets, n, container, CTR_PORT_DGRAM, fd, &why);
    }
    (void) pthread_mutex_unlock(&n->mutex);
    return code == 0 ? 0 : ctr_fail(err, code, "network %s: %s", n->name, why.msg);
}

/* What a container had published was gone with the last network that had a way out; there may be one again. */
static int
expose_late(struct ctr_nets *nets, const char *container, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *wishes = NULL;
    bool published = false;
    ctr_nets_lock(nets);
    const struct ctr_up *up = ctr_up_find(nets, container);
    for (const struct ctr_endpoint *e = ctr_endpoint_next(nets, NULL, container); e != NULL;
         e = ctr_endpoint_next(nets, e, container)) {
        published |= e->kind != 0 && json_array_size(e->published) > 0;
    }
    bool due = !published && up != NULL && ctr_endpoint_gateway(nets, container) != NULL;
    wishes = due ? json_deep_copy(up->publish) : NULL;
    ctr_nets_unlock(nets);
    return json_array_size(wishes) == 0 ? 0 : ctr_expose(nets, container, wishes, NULL, err);
}

int
ctr_nets_up_one(struct ctr_nets *nets, const char *ref, const char *container,
                const char *hardware, int fd, struct ctr_error *err)
{
    struct ctr_error local = CTR_ERROR_INIT;
    struct ctr_network_entry *n;
    err = err == NULL ? &local : err;
    int code = ctr_network_get(nets, ref, &n, err);
    if (code != 0) {
        return code;
    }
    code = set_hardware(nets, n, container, hardware, err);
    code = code != 0 ? code : attach_spare(nets, n, container, fd, err);
    if (code == 0) {
        ctr_keeper_watch(nets, n);
        code = expose_late(nets, container, err);
        code = code != 0 ? code : ctr_zones_tell(nets, container, err);
    }
    if (code == 0) {
        ctr_nets_tell(nets, "connect", n, container, NULL);
    }
    ctr_network_release(nets, n);
    return code;
}
