/*
 * ctrd's connection to one network's ctr-net: found again through its socket, started if nobody answers there.
 */
#include "core/net/net-priv.h"

#define OUT_MTU 1500

static char *
socket_path(const struct ctr_nets *nets, const struct ctr_network_entry *network)
{
    return ctr_printf("%s/n/%s.sock", nets->conf->engine.run, network->name);
}

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

/* The plugin that carries a network, with its options: an instance of the profile, or a plugin by its name. */
struct carrier {
    const char *plugin, *instance;
    json_t *options;
};

static int
find_carrier(const struct ctr_nets *nets, const struct ctr_network_entry *n,
             struct carrier *ret, struct ctr_error *err)
{
    const char *driver = n->driver[0] == '\0' ? "default" : n->driver;
    const struct ctr_conf_instance *instance =
        ctr_conf_instance(nets->conf, CTR_KIND_NET, driver);
    if (instance == NULL && n->driver[0] == '\0') {
        return ctr_fail(err, -ENOENT,
                        "the profile %s names no network plugin: add [net] plugin",
                        nets->conf->name);
    }
    *ret = (struct carrier){
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

static json_t *
make_config(const struct ctr_nets *nets, const struct ctr_network_entry *network,
            const char *path, struct ctr_error *err)
{
    struct carrier carrier;
    if (find_carrier(nets, network, &carrier, err) != 0) {
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

void
ctr_peer_close(struct ctr_network_entry *network)
{
    if (network->peer >= 0) {
        (void) close(network->peer);
    }
    network->peer = -1;
}

/* After a stop: the socket goes, too, which a ctr-net that gave up root cannot remove. */
static void
forget(const struct ctr_nets *nets, struct ctr_network_entry *network)
{
    CTR_AUTO(free) char *path = socket_path(nets, network);
    ctr_peer_close(network);
    if (path != NULL) {
        (void) unlink(path);
    }
}

static int
connect_to(const char *path, struct ctr_error *err)
{
    CTR_AUTO(fd) int fd = ctr_unix_connect(path, err);
    if (fd == -ECONNREFUSED || fd == -ENOENT) {
        return ctr_fail(err, -ENOENT, "ctr-net does not run");
    }
    int code = fd < 0 ? fd : ctr_unix_check_peer(fd, err);
    return code < 0 ? code : ctr_steal_fd(&fd);
}

/* Connects and asks what it is. -ENOENT: nobody is there. */
static int
reach(struct ctr_network_entry *network, const char *path, struct ctr_error *err)
{
    int fd = connect_to(path, err);
    if (fd < 0) {
        return fd;
    }
    network->peer = fd;
    CTR_AUTO(json)
    json_t *about = ctr_peer_call(network, json_pack("{s:s}", "op", "info"), -1, NULL, err);
    if (about == NULL) {
        ctr_peer_close(network);
        return err->code;
    }
    network->kinds = (uint32_t) ctr_json_int(about, "kinds", 0);
    (void) snprintf(network->plugin, sizeof network->plugin, "%s",
                    ctr_json_str(about, "plugin", ""));
    return 0;
}

/* Connects; one that runs another plugin than the network's now, and is not used, is ended: -ENOENT then. */
static int
reach_right(const struct ctr_nets *nets, struct ctr_network_entry *network, const char *path,
            struct ctr_error *err)
{
    struct carrier carrier = {0};
    int code = reach(network, path, err);
    if (code != 0 || find_carrier(nets, network, &carrier, err) != 0) {
        return code;
    }
    json_decref(carrier.options);
    if (strcmp(carrier.plugin, network->plugin) != 0 &&
        ctr_peer_stop(nets, network, false, err) == 1) {
        return ctr_fail(err, -ENOENT, "ctr-net does not run");
    }
    return 0;
}

/* True if the connection that is kept still has ctr-net behind it. */
static bool
is_alive(struct ctr_network_entry *network)
{
    struct ctr_error ignored = CTR_ERROR_INIT;
    if (network->peer < 0) {
        return false;
    }
    CTR_AUTO(json)
    json_t *about =
        ctr_peer_call(network, json_pack("{s:s}", "op", "info"), -1, NULL, &ignored);
    return about != NULL;
}

static int
start(const struct ctr_nets *nets, struct ctr_network_entry *network, const char *path,
      struct ctr_error *err)
{
    CTR_AUTO(free) char *folder = ctr_printf("%s/n", nets->conf->engine.run);
    CTR_AUTO(json) json_t *config = make_config(nets, network, path, err);
    if (config == NULL || folder == NULL) {
        return config == NULL ? err->code : ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    int code = ctr_mkdirs(folder, 0700, err);
    code = code != 0 ? code : ctr_net_spawn(config, err);
    return code != 0 ? code : reach(network, path, err);
}

int
ctr_peer_open(struct ctr_nets *nets, struct ctr_network_entry *network, bool run,
              bool *ret_started, struct ctr_error *err)
{
    struct ctr_error local = CTR_ERROR_INIT;
    err = err == NULL ? &local : err;
    if (is_alive(network)) {
        return 0;
    }
    ctr_peer_close(network);
    CTR_AUTO(free) char *path = socket_path(nets, network);
    if (path == NULL) {
        return ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    int code = reach_right(nets, network, path, err);
    if (code != -ENOENT || !run) {
        return code;
    }
    code = start(nets, network, path, err);
    if (code == 0 && ret_started != NULL) {
        *ret_started = true;
    }
    return code;
}

json_t *
ctr_peer_ports(struct ctr_network_entry *network, struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *ok = ctr_peer_call(network, json_pack("{s:s}", "op", "ports"), -1, NULL, err);
    json_t *ports = json_incref(json_object_get(ok, "ports"));
    if (ok != NULL && !json_is_object(ports)) {
        json_decref(ports);
        (void) ctr_fail(err, -EPROTO, "ctr-net does not tell its ports");
        return NULL;
    }
    return ports;
}

int
ctr_peer_stop(const struct ctr_nets *nets, struct ctr_network_entry *network, bool force,
              struct ctr_error *err)
{
    struct ctr_error why = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *ports = ctr_peer_ports(network, &why);
    if (ports == NULL) {
        return ctr_fail(err, why.code, "%s", why.msg);
    }
    if (!force && json_object_size(ports) > 0) {
        return 0;
    }
    json_decref(ctr_peer_call(network, json_pack("{s:s}", "op", "stop"), -1, NULL, NULL));
    forget(nets, network);
    return 1;
}

json_t *
ctr_peer_call(struct ctr_network_entry *network, json_t *take_request, int fd, int *ret_fd,
              struct ctr_error *err)
{
    CTR_AUTO(json) json_t *request = take_request;
    struct ctr_error why = CTR_ERROR_INIT;
    if (request == NULL || network->peer < 0) {
        (void) ctr_fail(err, -ENOTCONN, "ctr-net does not run");
        return NULL;
    }
    CTR_AUTO(json)
    json_t *reply =
        ctr_unix_call_with(network->peer, request, fd, CTR_NET_CALL_MS, ret_fd, &why);
    if (reply == NULL) {
        if (why.code == -ECONNRESET || why.code == -EPIPE || why.code == -ETIMEDOUT ||
            why.code == -EFBIG) {
            ctr_peer_close(network); /* what comes next on it would not be ours */
        }
        (void) ctr_fail(err, why.code, "%s", why.msg);
        return NULL;
    }
    json_t *ok = json_incref(json_object_get(reply, "ok"));
    if (ok == NULL) {
        ctr_peer_close(network);
        (void) ctr_fail(err, -EPROTO, "ctr-net sent something that is no answer");
    }
    return ok;
}

int
ctr_peer_stream(const struct ctr_nets *nets, const struct ctr_network_entry *network,
                json_t *take_request, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *request = take_request;
    CTR_AUTO(free) char *path = socket_path(nets, network);
    struct ctr_error why = CTR_ERROR_INIT;
    if (path == NULL || request == NULL) {
        return ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    CTR_AUTO(fd) int fd = connect_to(path, &why);
    CTR_AUTO(json)
    json_t *reply = fd < 0 ? NULL : ctr_unix_call(fd, request, CTR_NET_CALL_MS, NULL, &why);
    return reply == NULL ? ctr_fail(err, why.code, "%s", why.msg) : ctr_steal_fd(&fd);
}

bool
ctr_peer_is_there(const struct ctr_nets *nets, const struct ctr_network_entry *network)
{
    CTR_AUTO(free) char *path = socket_path(nets, network);
    CTR_AUTO(fd) int fd = path == NULL ? -1 : connect_to(path, NULL);
    return fd >= 0;
}
