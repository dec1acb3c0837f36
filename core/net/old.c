/*
 * The old way in words of the new one, until the engine uses that.
 */
#include "core/net/net-priv.h"

static int
join_if_needed(struct ctr_nets *nets, const char *network, const char *container,
               struct ctr_error *err)
{
    struct ctr_error why = CTR_ERROR_INIT;
    char name[13];
    (void) snprintf(name, sizeof name, "%.12s", container);
    int code = ctr_nets_join(nets, network, container, name, NULL, &why);
    return code == -EEXIST ? 0 : code == 0 ? 0 : ctr_fail(err, code, "%s", why.msg);
}

static int
fill(struct ctr_nets *nets, const char *container, struct ctr_old_attachment *ret,
     struct ctr_error *err)
{
    CTR_AUTO(json) json_t *all = ctr_nets_endpoints(nets, container, err);
    const json_t *e = json_array_get(all, 0);
    if (all == NULL) {
        return err->code;
    }
    (void) snprintf(ret->network, sizeof ret->network, "%s", ctr_json_str(e, "network", ""));
    (void) snprintf(ret->mac, sizeof ret->mac, "%s", ctr_json_str(e, "mac", ""));
    (void) snprintf(ret->address, sizeof ret->address, "%s", ctr_json_str(e, "address", ""));
    (void) snprintf(ret->gateway, sizeof ret->gateway, "%s", ctr_json_str(e, "gateway", ""));
    (void) snprintf(ret->dns, sizeof ret->dns, "%s", ret->gateway);
    ret->prefix = (int) ctr_json_int(e, "prefix", 0);
    return 0;
}

int
ctr_nets_connect(struct ctr_nets *nets, const char *network, const char *container,
                 uint32_t vmm_kinds, const json_t *publish, struct ctr_old_attachment *ret,
                 json_t **ret_published, struct ctr_error *err)
{
    struct ctr_attachment *made = NULL;
    size_t n = 0;
    struct ctr_old_attachment old = {.fd = -1};
    struct ctr_nets_wants wants = {.container = container,
                                   .name = container,
                                   .hostname = container,
                                   .vmm_kinds = vmm_kinds,
                                   .publish = publish};
    int code = join_if_needed(nets, network, container, err);
    code = code != 0 ? code : ctr_nets_up(nets, &wants, &made, &n, ret_published, err);
    if (code != 0) {
        return code;
    }
    if (n > 0) {
        code = fill(nets, container, &old, err);
        old.kind = made[0].kind;
        old.mtu = made[0].mtu;
        old.fd = ctr_steal_fd(&made[0].fd);
    } else {
        (void) snprintf(old.network, sizeof old.network, "%s", network);
    }
    ctr_attachments_free(made, n);
    *ret = old;
    return code;
}

int
ctr_nets_disconnect(struct ctr_nets *nets, const char *network, const char *container,
                    struct ctr_error *err)
{
    return ctr_nets_down(nets, container, err);
}

int
ctr_nets_release(struct ctr_nets *nets, const char *network, const char *container,
                 struct ctr_error *err)
{
    struct ctr_error why = CTR_ERROR_INIT;
    int code = ctr_nets_leave(nets, network, container, &why);
    return code == 0 || code == -ENOENT ? 0 : ctr_fail(err, code, "%s", why.msg);
}
