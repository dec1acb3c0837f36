/*
 * What a ctr-net is started with: the plugin with its options, and the network. core/carrier/carrier.h says the form.
 */
#include "core/net/net-priv.h"

#define OUT_MTU 1500

/* PLUGIN's file in the profile's plugin folders; caller frees. */
static char *
find_plugin(const struct ctr_conf *conf, const char *plugin, struct ctr_error *err)
{
    CTR_AUTO(free) char *prefix = ctr_prefix_dir();
    CTR_AUTO(free)
    char *folders = prefix == NULL
                        ? NULL
                        : ctr_printf("%s:%s/lib/ctr/plugins", conf->engine.plugins, prefix);
    if (folders == NULL) {
        (void) ctr_fail(err, -ENOMEM, "out of memory");
        return NULL;
    }
    char *rest = NULL;
    for (char *folder = strtok_r(folders, ":", &rest); folder != NULL;
         folder = strtok_r(NULL, ":", &rest)) {
        char *path = ctr_printf("%s/net-%s.so", folder, plugin);
        if (path != NULL && access(path, R_OK) == 0) {
            return path;
        }
        free(path);
    }
    (void) ctr_fail(
        err, -ENOENT,
        "network plugin \"%s\" is not there: no net-%s.so in %s%s%s/lib/ctr/plugins", plugin,
        plugin, conf->engine.plugins, *conf->engine.plugins == '\0' ? "" : " and ", prefix);
    return NULL;
}

static json_t *
describe_network(const struct ctr_network_entry *n)
{
    char host[16];
    CTR_AUTO(json) json_t *more = NULL;
    json_t *ret = ctr_network_record(n);
    const char *gateway = ctr_json_str(ret, "gateway", "");
    struct ctr_subnet v4 = ctr_network_subnet(n);
    char subnet[CTR_ADDRESS_TEXT], subnet6[CTR_ADDRESS_TEXT];
    more =
        json_pack("{s:s, s:i, s:s, s:i, s:s, s:s, s:i}", "subnet",
                  ctr_address_format(&v4.address, subnet), "prefix", n->prefix, "subnet6",
                  ctr_address_format(&n->subnet6.address, subnet6), "prefix6",
                  n->subnet6.prefix, "dns", gateway, /* the resolver answers at the gateway */
                  "host", ctr_ipv4_format(ctr_network_host(n), host), "out_mtu",
                  n->mtu < OUT_MTU ? n->mtu : OUT_MTU);
    if (ret == NULL || more == NULL || json_object_update(ret, more) != 0) {
        json_decref(ret);
        return NULL;
    }
    return ret;
}

int
ctr_network_carrier(const struct ctr_nets *nets, const struct ctr_network_entry *n,
                    struct ctr_network_carrier *ret, struct ctr_error *err)
{
    const char *driver = n->driver[0] == '\0' ? "default" : n->driver;
    const struct ctr_conf_instance *instance =
        ctr_conf_instance(nets->conf, CTR_KIND_NET, driver);
    if (instance == NULL && n->driver[0] == '\0') {
        return ctr_fail(err, -ENOENT,
                        "the profile %s names no network plugin: add [net] plugin",
                        nets->conf->name);
    }
    *ret = (struct ctr_network_carrier){
        .plugin = instance == NULL ? n->driver : instance->plugin,
        .instance = instance == NULL ? n->driver : instance->name,
        .options = instance == NULL ? json_object() : ctr_conf_instance_json(instance),
    };
    if (ret->options == NULL || json_object_update(ret->options, n->options) != 0) {
        json_decref(ret->options);
        return ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    return 0;
}

json_t *
ctr_peer_config(const struct ctr_nets *nets, const struct ctr_network_entry *network,
                const char *path, struct ctr_error *err)
{
    struct ctr_network_carrier carrier;
    if (ctr_network_carrier(nets, network, &carrier, err) != 0) {
        return NULL;
    }
    CTR_AUTO(json) json_t *options = carrier.options;
    CTR_AUTO(free) char *plugin = find_plugin(nets->conf, carrier.plugin, err);
    CTR_AUTO(free) char *run = ctr_printf("%s/n", nets->conf->engine.run);
    if (plugin == NULL) {
        return NULL;
    }
    json_t *config = json_pack("{s:s, s:s, s:O, s:s, s:s*, s:s, s:o}", "plugin", plugin,
                               "instance", carrier.instance, "options", options, "socket", path,
                               "run_dir", run, "resolv_conf", nets->conf->engine.resolv_conf,
                               "network", describe_network(network));
    if (config == NULL) {
        (void) ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    return config;
}
