/*
 * A container that runs joins and leaves networks.
 *
 * Joining: the endpoint is a record first; then a spare interface of the machine is attached to the network, and the guest is
 * told. Whatever fails takes the endpoint away again. Leaving: the endpoint and its port go first, for certain; the guest follows.
 * What a killed daemon leaves half done is mend.c's.
 */
#include "core/engine/engine-priv.h"
#include <sys/socket.h>

#define STALE_FRAMES_MAX 65536

/* --- the machine's side; not locked --- */

json_t *
ctr_sandbox_ports(struct ctr_container *c, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *request = json_pack("{s:s}", "op", "ports");
    CTR_AUTO(json) json_t *ok = NULL;
    if (request == NULL) {
        (void) ctr_fail(err, -ENOMEM, "out of memory");
        return NULL;
    }
    if (ctr_sandbox_do(c, request, &ok, err) < 0) {
        return NULL;
    }
    return json_incref(json_object_get(ok, "ports"));
}

int
ctr_guest_tell(struct ctr_container *c, struct ctr_error *err)
{
    json_t *network = ctr_nets_guest(c->engine->nets, c->id, err);
    if (network == NULL) {
        return err->code;
    }
    CTR_AUTO(json)
    json_t *request = json_pack("{s:s,s:o}", "op", "network", "network", network);
    return request == NULL ? ctr_fail(err, -ENOMEM, "out of memory")
                           : ctr_sandbox_do(c, request, NULL, err);
}

/* Whether an endpoint of another network has the interface. */
static bool
is_used(const json_t *endpoints, const char *hardware, const char *network)
{
    size_t i;
    json_t *endpoint;
    json_array_foreach((json_t *) endpoints, i, endpoint)
    {
        if (strcasecmp(ctr_json_str(endpoint, "hardware", ""), hardware) == 0 &&
            strcmp(ctr_json_str(endpoint, "network_id", ""), network) != 0) {
            return true;
        }
    }
    return false;
}

/* An interface that no network uses, boot's own that were left among them, and that can do the endpoint's MTU. */
static int
pick_port(struct ctr_container *c, const json_t *wanted, char ret_hardware[18],
          struct ctr_error *err)
{
    CTR_AUTO(json) json_t *endpoints = ctr_nets_endpoints(c->engine->nets, c->id, err);
    CTR_AUTO(json) json_t *ports = endpoints == NULL ? NULL : ctr_sandbox_ports(c, err);
    size_t i;
    json_t *port;
    if (ports == NULL) {
        return err->code;
    }
    json_array_foreach(ports, i, port)
    {
        const char *hardware = ctr_json_str(port, "hardware", "");
        if (ctr_json_int(port, "kind", 0) == CTR_PORT_DGRAM &&
            ctr_json_int(port, "mtu", 0) >= ctr_json_int(wanted, "mtu", 0) &&
            !is_used(endpoints, hardware, ctr_json_str(wanted, "network_id", ""))) {
            (void) snprintf(ret_hardware, 18, "%s", hardware);
            return 0;
        }
    }
    return ctr_fail(err, -EBUSY,
                    "container %.12s has no network interface left (spare_ports = %lld): "
                    "restart it, and it has one for each of its networks",
                    c->id, (long long) c->engine->conf->engine.spare_ports);
}

/* What the machine sent to its last network is nothing to the next one. */
static void
drop_stale(int fd)
{
    char byte;
    for (int i = 0; i < STALE_FRAMES_MAX && recv(fd, &byte, 1, MSG_DONTWAIT | MSG_TRUNC) > 0;
         i++) {
    }
}

/* Gives a container that runs an interface for its endpoint. */
static int
attach(struct ctr_container *c, const json_t *endpoint, struct ctr_error *err)
{
    CTR_AUTO(fd) int fd = -1;
    char hardware[18];
    if (pick_port(c, endpoint, hardware, err) < 0) {
        return err->code;
    }
    CTR_AUTO(json)
    json_t *request = json_pack("{s:s,s:s}", "op", "port", "hardware", hardware);
    if (request == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (ctr_sandbox_take(c, request, &fd, err) < 0) {
        return err->code;
    }
    drop_stale(fd);
    pthread_mutex_lock(&c->net_lock);
    int rc = ctr_nets_up_one(c->engine->nets, ctr_json_str(endpoint, "network_id", ""), c->id,
                             hardware, fd, err);
    pthread_mutex_unlock(&c->net_lock);
    return rc < 0 ? rc : ctr_guest_tell(c, err);
}

static int
leave(struct ctr_container *c, const char *network, struct ctr_error *err)
{
    pthread_mutex_lock(&c->net_lock);
    int rc = ctr_nets_leave(c->engine->nets, network, c->id, err);
    pthread_mutex_unlock(&c->net_lock);
    return rc;
}

bool
ctr_container_runs(struct ctr_container *c)
{
    ctr_engine_lock(c->engine);
    bool running = c->state == CTR_STATE_RUNNING && c->live;
    ctr_engine_unlock(c->engine);
    return running;
}

int
ctr_endpoint_attach(struct ctr_container *c, const json_t *endpoint, struct ctr_error *err)
{
    const char *network = ctr_json_str(endpoint, "network_id", "");
    struct ctr_error left = CTR_ERROR_INIT;
    if (attach(c, endpoint, err) == 0) {
        return 0;
    }
    if (!ctr_container_runs(c)) {
        (void) ctr_container_net_down(c, &left);
        return 0;
    }
    if (leave(c, network, &left) < 0 || ctr_guest_tell(c, &left) < 0) {
        ctr_log(CTR_LEVEL_WARN, "container=%.12s network=%s error=\"%s\"", c->id, network,
                left.msg);
    }
    return err->code;
}

/* --- the calls --- */

static int
connect_claimed(struct ctr_container *c, const char *network, const json_t *endpoint,
                struct ctr_error *err)
{
    pthread_mutex_lock(&c->net_lock);
    int rc = ctr_nets_join(c->engine->nets, network, c->id, c->name, endpoint, err);
    pthread_mutex_unlock(&c->net_lock);
    if (rc < 0 || !ctr_container_runs(c)) {
        return rc;
    }
    CTR_AUTO(json) json_t *all = ctr_nets_endpoints(c->engine->nets, c->id, err);
    const json_t *joined = json_array_get(all, json_array_size(all) - 1); /* the last one */
    rc = all == NULL ? err->code : ctr_endpoint_attach(c, joined, err);
    return rc < 0 && rc != -EBUSY ? ctr_engine_internal(err) : rc;
}

void
ctr_container_let_go(struct ctr_container *c)
{
    ctr_engine_lock(c->engine);
    ctr_container_idle(c);
    ctr_container_release(c);
    ctr_engine_unlock(c->engine);
}

int
ctr_engine_network_connect(struct ctr_engine *engine, const char *network, const char *ref,
                           const json_t *endpoint, struct ctr_error *err)
{
    ctr_engine_lock(engine);
    struct ctr_container *c = ctr_container_claim(engine, ref, "connect", err);
    ctr_engine_unlock(engine);
    if (c == NULL) {
        return err->code;
    }
    int rc = connect_claimed(c, network, endpoint, err);
    ctr_container_let_go(c);
    return rc;
}

/* The ID of a container of the network by ID, name or unique prefix; it need not exist any more. */
static int
member_of(struct ctr_engine *engine, const char *network, const char *ref, char ret_id[65],
          struct ctr_error *err)
{
    CTR_AUTO(json) json_t *found = ctr_nets_inspect(engine->nets, network, err);
    const char *id;
    json_t *member;
    size_t length = strlen(ref), hits = 0;
    if (found == NULL) {
        return err->code;
    }
    json_object_foreach(json_object_get(found, "containers"), id, member)
    {
        bool named = strcmp(ctr_json_str(member, "name", ""), ref) == 0;
        if (named || (length > 0 && strncmp(id, ref, length) == 0)) {
            (void) snprintf(ret_id, 65, "%s", id);
            hits++;
        }
    }
    return hits == 1 ? 0
                     : ctr_fail(err, hits == 0 ? -ENOENT : -EINVAL,
                                hits == 0 ? "No such container: %s"
                                          : "several containers are meant by %s: give its ID",
                                ref);
}

int
ctr_engine_network_disconnect(struct ctr_engine *engine, const char *network, const char *ref,
                              bool force, struct ctr_error *err)
{
    char id[65];
    ctr_engine_lock(engine);
    struct ctr_container *c = ctr_container_claim(engine, ref, "disconnect", err);
    ctr_engine_unlock(engine);
    if (c == NULL) {
        return err->code != -ENOENT || !force || member_of(engine, network, ref, id, err) < 0
                   ? err->code
                   : ctr_nets_leave(engine->nets, network, id, err);
    }
    struct ctr_error why = CTR_ERROR_INIT;
    int rc = leave(c, network, err);
    if (rc == 0 && ctr_container_runs(c) && ctr_guest_tell(c, &why) < 0) {
        ctr_log(CTR_LEVEL_WARN,
                "container=%.12s network=%s msg=\"left, guest not told\" "
                "error=\"%s\"",
                c->id, network, why.msg);
    }
    ctr_container_let_go(c);
    return rc;
}
