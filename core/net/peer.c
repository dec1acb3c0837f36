/*
 * ctrd's connection to one network's ctr-net: found again through its socket, started if nobody answers there.
 */
#include "core/net/net-priv.h"

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
    char subnet[16], gateway[16], dns[16];
    (void) ctr_ipv4_format(n->gateway, dns); /* the resolver answers at the gateway */
    return json_pack("{s:s, s:i, s:s, s:i, s:s, s:s, s:b}", "name", n->name, "mtu", n->mtu,
                     "subnet", ctr_ipv4_format(n->subnet, subnet), "prefix", n->prefix,
                     "gateway", ctr_ipv4_format(n->gateway, gateway), "dns", dns, "internal",
                     n->internal);
}

static json_t *
make_config(const struct ctr_nets *nets, const struct ctr_network_entry *network,
            const char *path, struct ctr_error *err)
{
    const struct ctr_conf_instance *instance =
        ctr_conf_instance(nets->conf, CTR_KIND_NET, "default");
    if (instance == NULL) {
        (void) ctr_fail(err, -ENOENT,
                        "the profile %s names no network plugin: add [net] plugin",
                        nets->conf->name);
        return NULL;
    }
    CTR_AUTO(free) char *plugin = find_plugin(nets->conf, instance->plugin, err);
    CTR_AUTO(free) char *run = ctr_printf("%s/n", nets->conf->engine.run);
    if (plugin == NULL) {
        return NULL;
    }
    json_t *config =
        json_pack("{s:s, s:s, s:o, s:s, s:s*, s:o}", "plugin", plugin, "instance",
                  instance->name, "options", ctr_conf_instance_json(instance), "socket", path,
                  "run_dir", run, "network", describe_network(network));
    if (config == NULL) {
        (void) ctr_fail(err, -ENOMEM, "out of memory");
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

void
ctr_peer_forget(const struct ctr_nets *nets, struct ctr_network_entry *network)
{
    CTR_AUTO(free) char *path = socket_path(nets, network);
    ctr_peer_close(network);
    if (path != NULL) {
        (void) unlink(path);
    }
}

/* Connects and asks what it is. -ENOENT: nobody is there. */
static int
reach(struct ctr_network_entry *network, const char *path, struct ctr_error *err)
{
    int fd = ctr_unix_connect(path, err);
    if (fd == -ECONNREFUSED || fd == -ENOENT) {
        return ctr_fail(err, -ENOENT, "ctr-net does not run");
    }
    if (fd < 0) {
        return fd;
    }
    int code = ctr_unix_check_peer(fd, err);
    if (code != 0) {
        (void) close(fd);
        return code;
    }
    network->peer = fd;
    CTR_AUTO(json)
    json_t *about = ctr_peer_call(network, json_pack("{s:s}", "op", "info"), NULL, err);
    if (about == NULL) {
        ctr_peer_close(network);
        return err == NULL || err->code == 0 ? -EIO : err->code;
    }
    network->kinds = (uint32_t) ctr_json_int(about, "kinds", 0);
    (void) snprintf(network->plugin, sizeof network->plugin, "%s",
                    ctr_json_str(about, "plugin", ""));
    return 0;
}

/* Connects; one that runs another plugin than the profile names now, and is not used, is ended: -ENOENT then. */
static int
reach_right(const struct ctr_nets *nets, struct ctr_network_entry *network, const char *path,
            struct ctr_error *err)
{
    const struct ctr_conf_instance *instance =
        ctr_conf_instance(nets->conf, CTR_KIND_NET, "default");
    int code = reach(network, path, err);
    if (code == 0 && instance != NULL && strcmp(instance->plugin, network->plugin) != 0 &&
        ctr_peer_stop(nets, network, err) == 1) {
        return ctr_fail(err, -ENOENT, "ctr-net does not run");
    }
    return code;
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
    json_t *about = ctr_peer_call(network, json_pack("{s:s}", "op", "info"), NULL, &ignored);
    return about != NULL;
}

int
ctr_peer_open(struct ctr_nets *nets, struct ctr_network_entry *network, bool run,
              struct ctr_error *err)
{
    struct ctr_error local = CTR_ERROR_INIT;
    err = err == NULL ? &local : err;
    if (is_alive(network)) {
        return 0;
    }
    ctr_peer_close(network);
    CTR_AUTO(free) char *path = socket_path(nets, network);
    CTR_AUTO(free) char *folder = ctr_printf("%s/n", nets->conf->engine.run);
    if (path == NULL || folder == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int code = reach_right(nets, network, path, err);
    if (code != -ENOENT || !run) {
        return code;
    }
    CTR_AUTO(json) json_t *config = make_config(nets, network, path, err);
    if (config == NULL) {
        return err->code;
    }
    code = ctr_mkdirs(folder, 0700, err);
    if (code == 0) {
        code = ctr_net_spawn(config, err);
    }
    return code != 0 ? code : reach(network, path, err);
}

int
ctr_peer_stop(const struct ctr_nets *nets, struct ctr_network_entry *network,
              struct ctr_error *err)
{
    struct ctr_error why = CTR_ERROR_INIT;
    CTR_AUTO(json)
    json_t *ports = ctr_peer_call(network, json_pack("{s:s}", "op", "ports"), NULL, &why);
    if (ports == NULL) {
        return ctr_fail(err, why.code, "%s", why.msg);
    }
    if (json_object_size(json_object_get(ports, "ports")) > 0) {
        return 0;
    }
    json_decref(ctr_peer_call(network, json_pack("{s:s}", "op", "stop"), NULL, NULL));
    ctr_peer_forget(nets, network);
    return 1;
}

json_t *
ctr_peer_call(struct ctr_network_entry *network, json_t *take_request, int *ret_fd,
              struct ctr_error *err)
{
    CTR_AUTO(json) json_t *request = take_request;
    struct ctr_error why = CTR_ERROR_INIT;
    if (request == NULL || network->peer < 0) {
        (void) ctr_fail(err, -ENOTCONN, "ctr-net does not run");
        return NULL;
    }
    CTR_AUTO(json)
    json_t *reply = ctr_unix_call(network->peer, request, CTR_NET_CALL_MS, ret_fd, &why);
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
