/*
 * ctrd's connection to one network's ctr-net: found again through its socket, started if nobody answers there.
 */
#include "core/net/net-priv.h"

static char *
socket_path(const struct ctr_nets *nets, const struct ctr_network_entry *network)
{
    return ctr_printf("%s/n/%s.sock", nets->conf->engine.run, network->name);
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
    struct ctr_network_carrier carrier = {0};
    int code = reach(network, path, err);
    if (code != 0 || ctr_network_carrier(nets, network, &carrier, err) != 0) {
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
    CTR_AUTO(json) json_t *config = ctr_peer_config(nets, network, path, err);
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
