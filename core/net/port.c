/*
 * One port at a ctr-net: made for a machine that is about to boot, made again over a descriptor that is there, and taken away.
 */
#include "core/net/net-priv.h"
#include <fcntl.h>
#include <sys/socket.h>

#define PAIR_BUFFER (1 << 20) /* bytes on the way in one direction */

/* The highest kind that both sides speak. */
uint32_t
ctr_port_kind(uint32_t network_kinds, uint32_t vmm_kinds)
{
    uint32_t common = network_kinds & vmm_kinds, kind = 0;
    for (uint32_t bit = CTR_PORT_DGRAM; bit <= CTR_PORT_NATIVE; bit <<= 1) {
        kind = (common & bit) != 0 ? bit : kind;
    }
    return kind;
}

static bool
wants_host(const struct ctr_up *up)
{
    size_t i;
    const json_t *item;
    char name[256];
    const char *address;
    json_array_foreach(up->extra_hosts, i, item)
    {
        if (ctr_extra_host_split(json_string_value(item), name, &address) == 0 &&
            *address == '\0') {
            return true;
        }
    }
    return false;
}

static json_t *
attach_request(struct ctr_nets *nets, const struct ctr_network_entry *network,
               const char *container, uint32_t kind, struct ctr_error *err)
{
    char address[16], address6[CTR_ADDRESS_TEXT];
    json_t *request = NULL;
    ctr_nets_lock(nets);
    const struct ctr_endpoint *e = ctr_endpoint_find(nets, network, container);
    const struct ctr_up *up = ctr_up_find(nets, container);
    if (e == NULL || up == NULL) {
        (void) ctr_fail(err, -ENOENT, "container %.12s is not on network %s any more",
                        container, network->name);
    } else {
        request =
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:b}", "op", "attach", "id", container,
                      "mac", e->mac, "address", ctr_ipv4_format(e->address, address),
                      "address6", ctr_address_format(&e->address6, address6), "kind",
                      (int) kind, "host", !network->internal && wants_host(up));
        if (request == NULL) {
            (void) ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
        }
    }
    ctr_nets_unlock(nets);
    return request;
}

static void
note_port(struct ctr_nets *nets, const struct ctr_network_entry *network, const char *container,
          uint32_t kind, const json_t *ok)
{
    ctr_nets_lock(nets);
    struct ctr_endpoint *e = ctr_endpoint_find(nets, network, container);
    if (e != NULL) {
        e->kind = kind;
        e->out_mtu = (int) ctr_json_int(ok, "out_mtu", 0);
    }
    ctr_nets_unlock(nets);
}

static int
attach(struct ctr_nets *nets, struct ctr_network_entry *network, const char *container,
       uint32_t kind, int fd, struct ctr_attachment *ret, struct ctr_error *err)
{
    json_t *request = attach_request(nets, network, container, kind, err);
    if (request == NULL) {
        return err->code;
    }
    CTR_AUTO(fd) int got = -1;
    CTR_AUTO(json) json_t *ok = ctr_peer_call(network, request, fd, &got, err);
    if (ok == NULL) {
        return err->code;
    }
    if (ret != NULL) {
        ret->kind = (int) kind;
        ret->mtu = (int) ctr_json_int(ok, "mtu", 1500);
        ret->fd = ctr_steal_fd(&got);
        (void) snprintf(ret->native, sizeof ret->native, "%s", ctr_json_str(ok, "native", ""));
    }
    note_port(nets, network, container, kind, ok);
    return 0;
}

/* Both ends of a port that carries datagrams: [0] is the machine's. */
static int
make_pair(int ret[2], struct ctr_error *err)
{
    int size = PAIR_BUFFER;
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ret) != 0) {
        return ctr_fail(err, -errno, "no socket pair: %s", strerror(errno));
    }
    for (int i = 0; i < 2; i++) {
        (void) fcntl(ret[i], F_SETFD, FD_CLOEXEC);
        (void) setsockopt(ret[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        (void) setsockopt(ret[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
    return 0;
}

/* Attaches with what the kind needs. One of the same name is left of a machine that ended unseen: it goes first. */
static int
attach_new(struct ctr_nets *nets, struct ctr_network_entry *network, const char *container,
           uint32_t kind, int fd, struct ctr_attachment *ret, struct ctr_error *err)
{
    int code = attach(nets, network, container, kind, fd, ret, err);
    if (code == -EEXIST) {
        code = ctr_port_drop(nets, network, container, err);
        code = code != 0 ? code : attach(nets, network, container, kind, fd, ret, err);
    }
    return code;
}

static int
make_dgram(struct ctr_nets *nets, struct ctr_network_entry *network, const char *container,
           struct ctr_attachment *ret, struct ctr_error *err)
{
    int pair[2];
    int code = make_pair(pair, err);
    if (code != 0) {
        return code;
    }
    code = attach_new(nets, network, container, CTR_PORT_DGRAM, pair[1], ret, err);
    if (code != 0) {
        (void) close(pair[0]);
        (void) close(pair[1]);
        return code;
    }
    if (ret->fd >= 0) { /* the plugin is of before 1.2 and has made a pair of its own */
        (void) close(pair[0]);
        (void) close(pair[1]);
        return 0;
    }
    ret->fd = pair[0];
    ret->keep = pair[1];
    return 0;
}

static int
make_other(struct ctr_nets *nets, struct ctr_network_entry *network, const char *container,
           uint32_t kind, struct ctr_attachment *ret, struct ctr_error *err)
{
    int code = attach_new(nets, network, container, kind, -1, ret, err);
    if (code != 0 || kind == CTR_PORT_NATIVE) {
        return code;
    }
    ret->keep = ret->fd < 0 ? -1 : fcntl(ret->fd, F_DUPFD_CLOEXEC, 3);
    return ret->keep >= 0 ? 0 : ctr_fail(err, -EPROTO, "ctr-net gave no port");
}

int
ctr_port_make(struct ctr_nets *nets, struct ctr_network_entry *network, const char *container,
              struct ctr_attachment *ret, bool *ret_made, struct ctr_error *err)
{
    struct ctr_attachment made = {.fd = -1, .keep = -1};
    ctr_nets_lock(nets);
    const struct ctr_endpoint *e = ctr_endpoint_find(nets, network, container);
    const struct ctr_up *up = ctr_up_find(nets, container);
    uint32_t kinds = up == NULL ? 0 : up->vmm_kinds;
    int mtu = e == NULL ? 0 : e->mtu;
    (void) snprintf(made.hardware, sizeof made.hardware, "%s", e == NULL ? "" : e->mac);
    ctr_nets_unlock(nets);
    *ret_made = network->kinds != 0;
    if (!*ret_made) {
        return 0;
    }
    uint32_t kind = ctr_port_kind(network->kinds, kinds);
    if (kind == 0) {
        return ctr_fail(err, -EOPNOTSUPP,
                        "the network plugin and the VMM plugin have no kind of port in common "
                        "(sets %#x and %#x): choose another [net] or [vmm] plugin",
                        (unsigned) network->kinds, (unsigned) kinds);
    }
    (void) snprintf(made.network, sizeof made.network, "%s", network->name);
    int code = kind == CTR_PORT_DGRAM ? make_dgram(nets, network, container, &made, err)
                                      : make_other(nets, network, container, kind, &made, err);
    if (code != 0) {
        ctr_auto_fd(&made.fd);
        return code;
    }
    made.mtu = mtu != 0 && mtu < made.mtu ? mtu : made.mtu;
    *ret = made;
    return 0;
}

int
ctr_port_restore(struct ctr_nets *nets, struct ctr_network_entry *network,
                 const char *container, uint32_t kind, int fd, struct ctr_error *err)
{
    struct ctr_attachment got = {.fd = -1, .keep = -1};
    int code = attach(nets, network, container, kind, fd, &got, err);
    ctr_auto_fd(&got.fd);
    return code;
}

int
ctr_port_drop(struct ctr_nets *nets, struct ctr_network_entry *network, const char *container,
              struct ctr_error *err)
{
    struct ctr_error why = CTR_ERROR_INIT;
    CTR_AUTO(json)
    json_t *ok = ctr_peer_call(
        network, json_pack("{s:s, s:s}", "op", "detach", "id", container), -1, NULL, &why);
    note_port(nets, network, container, 0, NULL);
    return ok != NULL || why.code == -ENOENT ? 0 : ctr_fail(err, why.code, "%s", why.msg);
}
