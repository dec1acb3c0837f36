/*
 * The net plugin of a ctr-net with its resolver and rules, and the requests on it.
 */
#include "core/carrier/carrier-priv.h"

/* The plugin's instance; carrier->host and carrier->self are what finish undoes. */
static int
open_plugin(struct ctr_carrier *c, struct ctr_loop *loop, struct ctr_error *err)
{
    const struct ctr_plugin *plugin;
    struct ctr_options *options;
    int code =
        ctr_plugin_load(ctr_json_str(c->config, "plugin", ""), CTR_KIND_NET, &plugin, err);
    if (code != 0) {
        return code;
    }
    c->plugin = plugin;
    (void) ctr_plugin_net_ops(plugin, &c->ops);
    code = ctr_options_from_json(json_object_get(c->config, "options"), plugin->options,
                                 plugin->n_options, &options, err);
    if (code != 0) {
        return code;
    }
    code = ctr_host_create(loop, options, plugin->name,
                           ctr_json_str(c->config, "instance", "default"), NULL,
                           ctr_json_str(c->config, "run_dir", "/"), &c->host, err);
    return code != 0 ? code : c->ops.open(c->host, &c->self, err);
}

/* Names of the network's own addresses are not asked outside. */
static int
tell_prefixes(struct ctr_dns *dns, const struct ctr_network *network, struct ctr_error *err)
{
    uint32_t subnet = network->subnet;
    struct ctr_address v4 = {.family = 4,
                             .bytes = {(uint8_t) (subnet >> 24), (uint8_t) (subnet >> 16),
                                       (uint8_t) (subnet >> 8), (uint8_t) subnet}};
    int code = ctr_dns_add_prefix(dns, &v4, (int) network->prefix, err);
    return code != 0 || network->subnet6.family == 0
               ? code
               : ctr_dns_add_prefix(dns, &network->subnet6, (int) network->prefix6, err);
}

/* What the plugin may call while it makes its network. */
static int
make_services(struct ctr_carrier *c, struct ctr_loop *loop,
              void (*tell)(void *arg, const json_t *event), void *tell_arg,
              struct ctr_error *err)
{
    struct ctr_dns_hooks hooks = ctr_carrier_dns_hooks(c);
    ctr_carrier_services(c);
    c->network.services = &c->services;
    int code = ctr_refusals_create(loop, tell, tell_arg, &c->refusals, err);
    if (code == 0) {
        code = ctr_dns_create(loop, ctr_json_str(c->config, "resolv_conf", "/etc/resolv.conf"),
                              &hooks, &c->dns, err);
    }
    return code != 0 ? code : tell_prefixes(c->dns, &c->network, err);
}

static int
make_network(struct ctr_carrier *c, struct ctr_error *err)
{
    c->kinds = c->ops.port_kinds(c->self);
    c->captures.plugin = c->ops.capture;
    c->captures.self = c->self;
    int code = ctr_plugin_net_check(c->plugin, &c->ops, c->kinds, &c->network, err);
    code = code != 0 ? code : c->ops.create(c->self, &c->network, err);
    if (code == 0 && c->network.egress_deny != 0) {
        const json_t *network = json_object_get(c->config, "network");
        code = ctr_policy_create(json_object_get(network, "allow"), c->ops.allow, c->self,
                                 &c->policy, err);
    }
    return code;
}

int
ctr_carrier_init(struct ctr_carrier *carrier, struct ctr_loop *loop, json_t *config,
                 void (*tell)(void *arg, const json_t *event), void *tell_arg,
                 struct ctr_error *err)
{
    *carrier = (struct ctr_carrier){.ports = json_object(), .config = json_incref(config)};
    int code = carrier->ports == NULL ? ctr_fail(err, -ENOMEM, "out of memory") : 0;
    code = code != 0 ? code : ctr_carrier_network(config, &carrier->network, err);
    code = code != 0 ? code : make_services(carrier, loop, tell, tell_arg, err);
    code = code != 0 ? code : open_plugin(carrier, loop, err);
    return code != 0 ? code : make_network(carrier, err);
}

void
ctr_carrier_finish(struct ctr_carrier *carrier)
{
    ctr_dns_destroy(carrier->dns); /* while the plugin can still take its answers */
    carrier->dns = NULL;
    if (carrier->self != NULL) {
        carrier->ops.close(carrier->self);
    }
    ctr_host_destroy(carrier->host);
    ctr_policy_destroy(carrier->policy);
    ctr_refusals_destroy(carrier->refusals);
    json_decref(carrier->ports);
    json_decref(carrier->config);
    *carrier = (struct ctr_carrier){0};
}

static json_t *
on_zone(struct ctr_carrier *c, struct ctr_exchange *exchange, struct ctr_error *err)
{
    const json_t *zone = json_object_get(exchange->request, "zone");
    return ctr_dns_set_zone(c->dns, zone, err) == 0 ? json_object() : NULL;
}

static json_t *
on_info(struct ctr_carrier *c, struct ctr_exchange *exchange, struct ctr_error *err)
{
    return json_pack("{s:I, s:I, s:s, s:s, s:o, s:o, s:o}", "kinds", (json_int_t) c->kinds,
                     "pid", (json_int_t) getpid(), "plugin", c->plugin->name, "network",
                     c->network.name, "dns", ctr_dns_stats(c->dns), "refused",
                     ctr_refusals_list(c->refusals), "captures",
                     ctr_captures_list(&c->captures));
}

struct ctr_capture *
ctr_carrier_capture(struct ctr_carrier *c, const json_t *request, const struct ctr_sink *sink,
                    struct ctr_error *err)
{
    struct ctr_capture *capture;
    const char *id = ctr_json_str(request, "id", "");
    if (id[0] != '\0' && json_object_get(c->ports, id) == NULL) {
        (void) ctr_fail(err, -ENOENT, "%.128s has no port on network %s", id, c->network.name);
        return NULL;
    }
    if (c->ops.capture == NULL) {
        (void) ctr_fail(err, -EOPNOTSUPP,
                        "network plugin %s cannot capture: use another driver",
                        c->plugin->name);
        return NULL;
    }
    int code = ctr_capture_begin(&c->captures, id, ctr_json_int(request, "count", 0), sink,
                                 &capture, err);
    return code == 0 ? capture : NULL;
}

json_t *
ctr_carrier_handle(struct ctr_carrier *carrier, struct ctr_exchange *exchange,
                   struct ctr_error *err)
{
    static const struct {
        const char *op;
        ctr_carrier_handler *handle;
    } table[] = {
        {"attach", ctr_carrier_attach},
        {"detach", ctr_carrier_detach},
        {"publish", ctr_carrier_publish},
        {"unpublish", ctr_carrier_unpublish},
        {"stats", ctr_carrier_stats},
        {"ports", ctr_carrier_ports},
        {"zone", on_zone},
        {"info", on_info},
    };
    const char *op = ctr_json_str(exchange->request, "op", "");
    for (size_t i = 0; i < CTR_LENGTH(table); i++) {
        if (strcmp(table[i].op, op) == 0) {
            json_t *ok = table[i].handle(carrier, exchange, err);
            if (ok == NULL && err->code == 0) {
                (void) ctr_fail(err, -ENOMEM, "%s: out of memory", op);
            }
            return ok;
        }
    }
    (void) ctr_fail(err, -ENOSYS, "no request is called \"%.40s\"", op);
    return NULL;
}
