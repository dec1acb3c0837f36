/*
 * The net plugin of a ctr-net and the requests on it. Everything in a request is checked here, so that the plugin sees sound
 * values only.
 */
#include "core/carrier/carrier-priv.h"

static int
parse_address(const json_t *object, const char *key, uint32_t *ret, struct ctr_error *err)
{
    const char *text = ctr_json_str(object, key, "");
    if (ctr_ipv4_parse(text, ret) != 0) {
        return ctr_fail(err, -EINVAL, "%s \"%.40s\" is not an IPv4 address", key, text);
    }
    return 0;
}

static int
parse_network(const json_t *config, struct ctr_network *ret, struct ctr_error *err)
{
    const json_t *n = json_object_get(config, "network");
    int64_t prefix = ctr_json_int(n, "prefix", -1), mtu = ctr_json_int(n, "mtu", 1500);
    if (prefix < 1 || prefix > 30 || mtu < 576 || mtu > 65535) {
        return ctr_fail(err, -EINVAL, "the network's prefix or mtu is out of range");
    }
    *ret = (struct ctr_network){
        .size = sizeof *ret,
        .mtu = (uint32_t) mtu,
        .name = ctr_json_str(n, "name", ""),
        .prefix = (uint32_t) prefix,
        .internal = ctr_json_bool(n, "internal", false) ? 1 : 0,
    };
    int code = parse_address(n, "subnet", &ret->subnet, err);
    code = code != 0 ? code : parse_address(n, "gateway", &ret->gateway, err);
    return code != 0 ? code : parse_address(n, "dns", &ret->dns, err);
}

/* The plugin's instance; carrier->host and carrier->self are what finish undoes. */
static int
open_plugin(struct ctr_carrier *c, struct ctr_loop *loop, const json_t *config,
            struct ctr_error *err)
{
    const struct ctr_plugin *plugin;
    struct ctr_options *options;
    int code = ctr_plugin_load(ctr_json_str(config, "plugin", ""), CTR_KIND_NET, &plugin, err);
    if (code != 0) {
        return code;
    }
    (void) snprintf(c->plugin, sizeof c->plugin, "%s", plugin->name);
    (void) ctr_plugin_net_ops(plugin, &c->ops);
    code = ctr_options_from_json(json_object_get(config, "options"), plugin->options,
                                 plugin->n_options, &options, err);
    if (code != 0) {
        return code;
    }
    code = ctr_host_create(loop, options, plugin->name,
                           ctr_json_str(config, "instance", "default"), NULL,
                           ctr_json_str(config, "run_dir", "/"), &c->host, err);
    return code != 0 ? code : c->ops.open(c->host, &c->self, err);
}

int
ctr_carrier_init(struct ctr_carrier *carrier, struct ctr_loop *loop, const json_t *config,
                 struct ctr_error *err)
{
    struct ctr_network network;
    *carrier = (struct ctr_carrier){.ports = json_object()};
    if (carrier->ports == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int code = parse_network(config, &network, err);
    code = code != 0 ? code : open_plugin(carrier, loop, config, err);
    if (code != 0) {
        return code;
    }
    (void) snprintf(carrier->name, sizeof carrier->name, "%s", network.name);
    carrier->kinds = carrier->ops.port_kinds(carrier->self);
    if (carrier->kinds != 0 && (carrier->ops.attach == NULL || carrier->ops.detach == NULL)) {
        return ctr_fail(err, -ENOSYS, "network plugin %s offers ports but can't attach one",
                        carrier->plugin);
    }
    return carrier->ops.create(carrier->self, &network, err);
}

void
ctr_carrier_finish(struct ctr_carrier *carrier)
{
    if (carrier->self != NULL) {
        carrier->ops.close(carrier->self);
    }
    ctr_host_destroy(carrier->host);
    json_decref(carrier->ports);
    *carrier = (struct ctr_carrier){0};
}

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

static const char *
id_of(const json_t *request, struct ctr_error *err)
{
    const char *id = ctr_json_str(request, "id", "");
    if (!ctr_is_name(id)) {
        (void) ctr_fail(err, -EINVAL, "id \"%.140s\" is not one", id);
        return NULL;
    }
    return id;
}

static int
remember(struct ctr_carrier *c, const char *id, const json_t *request)
{
    json_t *port = json_pack("{s:s, s:s, s:I, s:[]}", "mac", ctr_json_str(request, "mac", ""),
                             "address", ctr_json_str(request, "address", ""), "kind",
                             (json_int_t) ctr_json_int(request, "kind", 0), "published");
    return json_object_set_new(c->ports, id, port) == 0 ? 0 : -ENOMEM;
}

static json_t *
on_attach(struct ctr_carrier *c, const json_t *request, int *ret_fd, struct ctr_error *err)
{
    struct ctr_port_spec spec = {.size = sizeof spec, .id = id_of(request, err)};
    int64_t kind = ctr_json_int(request, "kind", 0);
    if (spec.id == NULL || parse_mac(ctr_json_str(request, "mac", ""), spec.mac, err) != 0 ||
        parse_address(request, "address", &spec.address, err) != 0) {
        return NULL;
    }
    if (kind <= 0 || kind > INT32_MAX || (kind & (kind - 1)) != 0 ||
        ((uint32_t) kind & c->kinds) == 0) {
        (void) ctr_fail(err, -EOPNOTSUPP, "network plugin %s has no ports of kind %lld",
                        c->plugin, (long long) kind);
        return NULL;
    }
    spec.kind = (uint32_t) kind;
    struct ctr_port port = {.size = sizeof port, .fd = -1};
    if (c->ops.attach(c->self, &spec, &port, err) != 0) {
        return NULL;
    }
    json_t *ok =
        json_pack("{s:I, s:I}", "kind", (json_int_t) port.kind, "mtu", (json_int_t) port.mtu);
    port.native[sizeof port.native - 1] = '\0';
    if (port.native[0] != '\0') {
        (void) json_object_set_new(ok, "native", json_string(port.native));
    }
    if (ok == NULL || remember(c, spec.id, request) != 0) {
        json_decref(ok);
        ctr_auto_fd(&port.fd);
        (void) c->ops.detach(c->self, spec.id, NULL);
        (void) ctr_fail(err, -ENOMEM, "port of %s: out of memory", spec.id);
        return NULL;
    }
    *ret_fd = port.fd;
    return ok;
}

static json_t *
on_detach(struct ctr_carrier *c, const json_t *request, int *ret_fd, struct ctr_error *err)
{
    const char *id = id_of(request, err);
    if (id == NULL) {
        return NULL;
    }
    if (c->kinds == 0 || json_object_get(c->ports, id) == NULL) {
        (void) ctr_fail(err, -ENOENT, "%s has no port", id);
        return NULL;
    }
    if (c->ops.detach(c->self, id, err) != 0) {
        return NULL;
    }
    (void) json_object_del(c->ports, id);
    return json_object();
}

static int
parse_publish(const json_t *request, struct ctr_publish *ret, struct ctr_error *err)
{
    const char *proto = ctr_json_str(request, "proto", "tcp");
    int64_t host_port = ctr_json_int(request, "host_port", 0);
    int64_t port = ctr_json_int(request, "port", 0);
    *ret = (struct ctr_publish){.size = sizeof *ret};
    if (strcmp(proto, "tcp") != 0 && strcmp(proto, "udp") != 0) {
        return ctr_fail(err, -EPROTONOSUPPORT, "protocol \"%.20s\" cannot be published", proto);
    }
    if (host_port < 0 || host_port > 65535 || port < 1 || port > 65535) {
        return ctr_fail(err, -ERANGE, "a published port is not within 1 and 65535");
    }
    ret->proto = strcmp(proto, "udp") == 0 ? CTR_PROTO_UDP : CTR_PROTO_TCP;
    ret->host_port = (uint16_t) host_port;
    ret->port = (uint16_t) port;
    int code = parse_address(request, "address", &ret->address, err);
    if (code == 0 && json_object_get(request, "host_address") != NULL) {
        code = parse_address(request, "host_address", &ret->host_address, err);
    }
    return code;
}

/* The list of published ports of the container at this address; NULL if none is there. */
static json_t *
published_at(const struct ctr_carrier *c, const char *address)
{
    const char *id;
    json_t *port;
    json_object_foreach(c->ports, id, port)
    {
        if (strcmp(ctr_json_str(port, "address", ""), address) == 0) {
            return json_object_get(port, "published");
        }
    }
    return NULL;
}

static json_t *
on_publish(struct ctr_carrier *c, const json_t *request, int *ret_fd, struct ctr_error *err)
{
    struct ctr_publish publish;
    char host[16];
    if (parse_publish(request, &publish, err) != 0) {
        return NULL;
    }
    if (c->ops.publish == NULL) {
        (void) ctr_fail(err, -EOPNOTSUPP, "network plugin %s cannot publish ports", c->plugin);
        return NULL;
    }
    if (c->ops.publish(c->self, &publish, err) != 0) {
        return NULL;
    }
    (void) json_array_append_new(
        published_at(c, ctr_json_str(request, "address", "")),
        json_pack("{s:s, s:s, s:i, s:i}", "proto", ctr_json_str(request, "proto", "tcp"),
                  "host_address", ctr_ipv4_format(publish.host_address, host), "host_port",
                  publish.host_port, "port", publish.port));
    return json_pack("{s:i}", "host_port", publish.host_port);
}

static json_t *
on_unpublish(struct ctr_carrier *c, const json_t *request, int *ret_fd, struct ctr_error *err)
{
    struct ctr_publish publish;
    if (parse_publish(request, &publish, err) != 0) {
        return NULL;
    }
    if (c->ops.unpublish == NULL) {
        (void) ctr_fail(err, -EOPNOTSUPP, "network plugin %s cannot publish ports", c->plugin);
        return NULL;
    }
    if (c->ops.unpublish(c->self, &publish, err) != 0) {
        return NULL;
    }
    json_t *list = published_at(c, ctr_json_str(request, "address", ""));
    for (size_t i = json_array_size(list); i-- > 0;) {
        const json_t *p = json_array_get(list, i);
        if (ctr_json_int(p, "host_port", 0) == publish.host_port &&
            strcmp(ctr_json_str(p, "proto", ""), ctr_json_str(request, "proto", "tcp")) == 0) {
            (void) json_array_remove(list, i);
        }
    }
    return json_object();
}

static json_t *
on_stats(struct ctr_carrier *c, const json_t *request, int *ret_fd, struct ctr_error *err)
{
    struct ctr_net_stats stats = {.size = sizeof stats};
    const char *id = id_of(request, err);
    if (id == NULL) {
        return NULL;
    }
    if (c->ops.stats == NULL) {
        (void) ctr_fail(err, -EOPNOTSUPP, "network plugin %s counts nothing", c->plugin);
        return NULL;
    }
    if (c->ops.stats(c->self, id, &stats, err) != 0) {
        return NULL;
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "rx_frames", (json_int_t) stats.rx_frames,
                     "rx_bytes", (json_int_t) stats.rx_bytes, "tx_frames",
                     (json_int_t) stats.tx_frames, "tx_bytes", (json_int_t) stats.tx_bytes,
                     "dropped", (json_int_t) stats.dropped);
}

static json_t *
on_ports(struct ctr_carrier *c, const json_t *request, int *ret_fd, struct ctr_error *err)
{
    return json_pack("{s:O}", "ports", c->ports);
}

static json_t *
on_info(struct ctr_carrier *c, const json_t *request, int *ret_fd, struct ctr_error *err)
{
    return json_pack("{s:I, s:I, s:s, s:s}", "kinds", (json_int_t) c->kinds, "pid",
                     (json_int_t) getpid(), "plugin", c->plugin, "network", c->name);
}

json_t *
ctr_carrier_handle(struct ctr_carrier *carrier, const json_t *request, int *ret_fd,
                   struct ctr_error *err)
{
    static const struct {
        const char *op;
        json_t *(*handle)(struct ctr_carrier *c, const json_t *request, int *ret_fd,
                          struct ctr_error *err);
    } table[] = {
        {"attach", on_attach},       {"detach", on_detach}, {"publish", on_publish},
        {"unpublish", on_unpublish}, {"stats", on_stats},   {"ports", on_ports},
        {"info", on_info},
    };
    const char *op = ctr_json_str(request, "op", "");
    *ret_fd = -1;
    for (size_t i = 0; i < CTR_LENGTH(table); i++) {
        if (strcmp(table[i].op, op) == 0) {
            json_t *ok = table[i].handle(carrier, request, ret_fd, err);
            if (ok == NULL && err->code == 0) {
                (void) ctr_fail(err, -ENOMEM, "%s: out of memory", op);
            }
            return ok;
        }
    }
    (void) ctr_fail(err, -ENOSYS, "no request is called \"%.40s\"", op);
    return NULL;
}
