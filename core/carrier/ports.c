/*
 * Requests on ports: attach, detach, what there is, and what went through them.
 */
#include "core/carrier/carrier-priv.h"
#include <sys/socket.h>
#include <sys/stat.h>

/* "02:42:0a:58:00:02" */
static int
parse_mac(const char *text, uint8_t ret[6], struct ctr_error *err)
{
    if (strlen(text) == 17) {
        for (int i = 0; i < 6; i++) {
            char pair[3] = {text[i * 3], text[i * 3 + 1], '\0'};
            char *end;
            ret[i] = (uint8_t) strtoul(pair, &end, 16);
            if (end != pair + 2 || !ctr_is_hex(pair, 2) ||
                text[i * 3 + 2] != (i < 5 ? ':' : '\0')) {
                break;
            }
            if (i == 5) {
                return 0;
            }
        }
    }
    return ctr_fail(err, -EINVAL, "mac \"%.40s\" is not one", text);
}

const char *
ctr_carrier_id(const json_t *request, struct ctr_error *err)
{
    const char *id = ctr_json_str(request, "id", "");
    if (!ctr_is_name(id)) {
        (void) ctr_fail(err, -EINVAL, "id \"%.140s\" is not one", id);
        return NULL;
    }
    return id;
}

/* A descriptor that comes with an attach is what its kind says. */
static int
check_fd(int fd, uint32_t kind, struct ctr_error *err)
{
    int type = 0, domain = 0;
    socklen_t size = sizeof type;
    struct stat st;
    bool good = false;
    if (kind == CTR_PORT_DGRAM) {
        good = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_DGRAM;
#ifdef SO_DOMAIN
        good = good && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
               domain == AF_UNIX;
#endif
    } else if (kind == CTR_PORT_TAP) {
        good = fstat(fd, &st) == 0 && S_ISCHR(st.st_mode);
    }
    return good ? 0
                : ctr_fail(err, -EINVAL,
                           "the descriptor that came with the request is no port of kind %u",
                           (unsigned) kind);
}

static int
parse_spec(const struct ctr_carrier *c, const struct ctr_exchange *exchange,
           struct ctr_port_spec *ret, struct ctr_error *err)
{
    const json_t *request = exchange->request;
    int64_t kind = ctr_json_int(request, "kind", 0);
    *ret = (struct ctr_port_spec){
        .size = sizeof *ret,
        .kind = (uint32_t) kind,
        .id = ctr_carrier_id(request, err),
        .fd = exchange->fd,
        .flags = ctr_json_bool(request, "host", false) ? CTR_PORT_HOST : 0,
    };
    if (ret->id == NULL || parse_mac(ctr_json_str(request, "mac", ""), ret->mac, err) != 0 ||
        ctr_carrier_ipv4(request, "address", &ret->address, err) != 0 ||
        ctr_carrier_address(request, "address6", &ret->address6, err) != 0) {
        return -EINVAL;
    }
    if (ret->address6.family == 4) {
        return ctr_fail(err, -EINVAL, "address6 of %s is an IPv4 address", ret->id);
    }
    if (kind <= 0 || kind > INT32_MAX || (kind & (kind - 1)) != 0 ||
        ((uint32_t) kind & c->kinds) == 0) {
        return ctr_fail(err, -EOPNOTSUPP, "network plugin %s has no ports of kind %lld",
                        c->plugin->name, (long long) kind);
    }
    return ret->fd < 0 ? 0 : check_fd(ret->fd, ret->kind, err);
}

static int
remember(struct ctr_carrier *c, const struct ctr_port_spec *spec, const struct ctr_port *port,
         const json_t *request)
{
    json_t *known = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:b, s:[]}", "mac", ctr_json_str(request, "mac", ""),
        "address", ctr_json_str(request, "address", ""), "address6",
        ctr_json_str(request, "address6", ""), "kind", (json_int_t) spec->kind, "out_mtu",
        (json_int_t) port->out_mtu, "host", (spec->flags & CTR_PORT_HOST) != 0, "published");
    return json_object_set_new(c->ports, spec->id, known) == 0 ? 0 : -ENOMEM;
}

static json_t *
describe(struct ctr_port *port)
{
    json_t *ok = json_pack("{s:I, s:I, s:I}", "kind", (json_int_t) port->kind, "mtu",
                           (json_int_t) port->mtu, "out_mtu", (json_int_t) port->out_mtu);
    port->native[sizeof port->native - 1] = '\0';
    if (port->native[0] != '\0') {
        (void) json_object_set_new(ok, "native", json_string(port->native));
    }
    return ok;
}

json_t *
ctr_carrier_attach(struct ctr_carrier *c, struct ctr_exchange *exchange, struct ctr_error *err)
{
    struct ctr_port_spec spec;
    struct ctr_port port = {.size = sizeof port, .fd = -1};
    if (parse_spec(c, exchange, &spec, err) != 0 ||
        c->ops.attach(c->self, &spec, &port, err) != 0) {
        return NULL;
    }
    if (port.fd < 0) {
        exchange->fd = -1; /* the plugin took it */
    }
    CTR_AUTO(fd) int fd = port.fd;
    CTR_AUTO(json) json_t *ok = describe(&port);
    if (ok == NULL || remember(c, &spec, &port, exchange->request) != 0) {
        (void) c->ops.detach(c->self, spec.id, NULL);
        (void) ctr_fail(err, -ENOMEM, "port of %s: out of memory", spec.id);
        return NULL;
    }
    exchange->ret_fd = ctr_steal_fd(&fd);
    return ctr_steal(&ok);
}

json_t *
ctr_carrier_detach(struct ctr_carrier *c, struct ctr_exchange *exchange, struct ctr_error *err)
{
    const char *id = ctr_carrier_id(exchange->request, err);
    if (id == NULL) {
        return NULL;
    }
    if (json_object_get(c->ports, id) == NULL) {
        (void) ctr_fail(err, -ENOENT, "%s has no port on network %s", id, c->network.name);
        return NULL;
    }
    if (c->ops.detach(c->self, id, err) != 0) {
        return NULL;
    }
    ctr_captures_gone(&c->captures, id);
    (void) json_object_del(c->ports, id);
    return json_object();
}

json_t *
ctr_carrier_ports(struct ctr_carrier *c, struct ctr_exchange *exchange, struct ctr_error *err)
{
    return json_pack("{s:O}", "ports", c->ports);
}

json_t *
ctr_carrier_stats(struct ctr_carrier *c, struct ctr_exchange *exchange, struct ctr_error *err)
{
    struct ctr_net_stats s = {.size = sizeof s};
    const char *id = ctr_carrier_id(exchange->request, err);
    if (id == NULL) {
        return NULL;
    }
    if (c->ops.stats == NULL) {
        (void) ctr_fail(err, -EOPNOTSUPP, "network plugin %s counts nothing", c->plugin->name);
        return NULL;
    }
    if (c->ops.stats(c->self, id, &s, err) != 0) {
        return NULL;
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rx_frames",
                     (json_int_t) s.rx_frames, "rx_bytes", (json_int_t) s.rx_bytes, "tx_frames",
                     (json_int_t) s.tx_frames, "tx_bytes", (json_int_t) s.tx_bytes, "dropped",
                     (json_int_t) s.dropped, "spoofed", (json_int_t) s.spoofed, "refused",
                     (json_int_t) s.refused);
}
