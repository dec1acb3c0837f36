/*
 * A container that runs joins and leaves networks.
 *
 * Joining: the endpoint is a record first; then a spare interface of the machine is attached to the network, and the guest is
 * told. Whatever fails takes the endpoint away again. Leaving: the endpoint and its port go first, for certain; the guest follows.
 * A daemon that is killed in between leaves an endpoint without interface, or an interface without endpoint: the mender finishes
 * the one or, if it cannot, undoes it, and tells every guest once what holds.
 */
#include "core/engine/engine-priv.h"
#include <sys/socket.h>

#define STALE_FRAMES_MAX 65536

/* --- the machine's side; not locked --- */

static json_t *
ask_ports(struct ctr_container *c, struct ctr_error *err)
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

static int
tell_guest(struct ctr_container *c, struct ctr_error *err)
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

/* Whether an endpoint other than that on `network` (may be NULL) has the interface. */
static bool
has_interface(const json_t *endpoints, const char *hardware, const char *network)
{
    size_t i;
    json_t *endpoint;
    json_array_foreach((json_t *) endpoints, i, endpoint)
    {
        if (strcasecmp(ctr_json_str(endpoint, "hardware", ""), hardware) == 0 &&
            (network == NULL || strcmp(ctr_json_str(endpoint, "network", ""), network) != 0)) {
            return true;
        }
    }
    return false;
}

/* An interface that no network uses, boot's own that were left among them. */
static int
pick_port(struct ctr_container *c, const json_t *endpoints, const char *network,
          char ret_hardware[18], struct ctr_error *err)
{
    CTR_AUTO(json) json_t *ports = ask_ports(c, err);
    size_t i;
    json_t *port;
    if (ports == NULL) {
        return err->code;
    }
    json_array_foreach(ports, i, port)
    {
        const char *hardware = ctr_json_str(port, "hardware", "");
        if (ctr_json_int(port, "kind", 0) == CTR_PORT_DGRAM &&
            !has_interface(endpoints, hardware, network)) {
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

/* The container is on the network and runs: gives it an interface there. */
static int
attach_running(struct ctr_container *c, const char *network, struct ctr_error *err)
{
    struct ctr_nets *nets = c->engine->nets;
    CTR_AUTO(json) json_t *endpoints = ctr_nets_endpoints(nets, c->id, err);
    CTR_AUTO(fd) int fd = -1;
    char hardware[18];
    if (endpoints == NULL || pick_port(c, endpoints, network, hardware, err) < 0) {
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
    int rc = ctr_nets_up_one(nets, network, c->id, hardware, fd, err);
    pthread_mutex_unlock(&c->net_lock);
    return rc < 0 ? rc : tell_guest(c, err);
}

static int
leave(struct ctr_container *c, const char *network, struct ctr_error *err)
{
    pthread_mutex_lock(&c->net_lock);
    int rc = ctr_nets_leave(c->engine->nets, network, c->id, err);
    pthread_mutex_unlock(&c->net_lock);
    return rc;
}

static bool
is_running(struct ctr_container *c)
{
    ctr_engine_lock(c->engine);
    bool running = c->state == CTR_STATE_RUNNING && c->live;
    ctr_engine_unlock(c->engine);
    return running;
}

/* A container that ended meanwhile stays on the network, like one that does not run. */
static int
attach_or_leave(struct ctr_container *c, const char *network, struct ctr_error *err)
{
    struct ctr_error left = CTR_ERROR_INIT;
    if (attach_running(c, network, err) == 0) {
        return 0;
    }
    if (!is_running(c)) {
        (void) ctr_container_net_down(c, &left);
        return 0;
    }
    if (leave(c, network, &left) < 0 || tell_guest(c, &left) < 0) {
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
    if (rc < 0 || !is_running(c)) {
        return rc;
    }
    rc = attach_or_leave(c, network, err);
    return rc < 0 && rc != -EBUSY ? ctr_engine_internal(err) : rc;
}

static void
let_go(struct ctr_container *c)
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
    let_go(c);
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
    if (rc == 0 && is_running(c) && tell_guest(c, &why) < 0) {
        ctr_log(CTR_LEVEL_WARN,
                "container=%.12s network=%s msg=\"left, guest not told\" "
                "error=\"%s\"",
                c->id, network, why.msg);
    }
    let_go(c);
    return rc;
}

/* --- after the daemon's end --- */

static bool
is_port(const json_t *ports, const char *hardware)
{
    size_t i;
    json_t *port;
    json_array_foreach((json_t *) ports, i, port)
    {
        if (strcasecmp(ctr_json_str(port, "hardware", ""), hardware) == 0) {
            return true;
        }
    }
    return false;
}

/* Endpoints without an interface get one, or go. False: something is not there yet, of which the guest must not hear. */
static bool
mend_endpoints(struct ctr_container *c, const json_t *ports)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *endpoints = ctr_nets_endpoints(c->engine->nets, c->id, &err);
    bool whole = endpoints != NULL;
    size_t i;
    json_t *endpoint;
    json_array_foreach(endpoints, i, endpoint)
    {
        const char *network = ctr_json_str(endpoint, "network", "");
        if (is_port(ports, ctr_json_str(endpoint, "hardware", ""))) {
            whole = whole && ctr_json_bool(endpoint, "up", false);
        } else if (strcmp(network, "none") != 0 && attach_or_leave(c, network, &err) < 0) {
            ctr_log(CTR_LEVEL_WARN,
                    "container=%.12s network=%s msg=\"was joined by half, left\" "
                    "error=\"%s\"",
                    c->id, network, err.msg);
        }
    }
    return whole;
}

static void
mend(struct ctr_engine *engine, const char *id)
{
    struct ctr_error err = CTR_ERROR_INIT;
    ctr_engine_lock(engine);
    struct ctr_container *c = ctr_container_claim(engine, id, "connect", &err);
    ctr_engine_unlock(engine);
    if (c == NULL) {
        return;
    }
    CTR_AUTO(json) json_t *ports = is_running(c) ? ask_ports(c, &err) : NULL;
    if (ports != NULL && mend_endpoints(c, ports) && tell_guest(c, &err) < 0) {
        ctr_log(CTR_LEVEL_WARN, "container=%.12s error=\"%s\"", c->id, err.msg);
    }
    let_go(c);
}

static void *
mender(void *arg)
{
    struct ctr_engine *engine = arg;
    CTR_AUTO(json) json_t *ids = json_array();
    size_t i;
    json_t *id;
    ctr_engine_lock(engine);
    for (struct ctr_container *c = engine->containers; c != NULL; c = c->next) {
        if (c->live) {
            (void) json_array_append_new(ids, json_string(c->id));
        }
    }
    ctr_engine_unlock(engine);
    json_array_foreach(ids, i, id)
    {
        ctr_engine_lock(engine);
        bool quit = engine->quit;
        ctr_engine_unlock(engine);
        if (!quit) {
            mend(engine, json_string_value(id));
        }
    }
    return NULL;
}

int
ctr_mender_start(struct ctr_engine *engine, struct ctr_error *err)
{
    int rc = pthread_create(&engine->mender, NULL, mender, engine);
    engine->has_mender = rc == 0;
    return rc == 0 ? 0 : ctr_fail(err, -rc, "thread: %s", strerror(rc));
}

void
ctr_mender_stop(struct ctr_engine *engine)
{
    if (engine->has_mender) {
        pthread_join(engine->mender, NULL);
        engine->has_mender = false;
    }
}
