/*
 * After the daemon's end: one that was killed while a running container joined or left a network has left behind an endpoint without
 * interface, or an interface without endpoint. The first is finished or, if that cannot be, undone; and every guest is told
 * once what holds. On a thread of its own, since a guest may let us wait.
 */
#include "core/engine/engine-priv.h"

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
        } else if (strcmp(network, "none") != 0 && ctr_endpoint_attach(c, endpoint, &err) < 0) {
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
    CTR_AUTO(json) json_t *ports = ctr_container_runs(c) ? ctr_sandbox_ports(c, &err) : NULL;
    if (ports != NULL && mend_endpoints(c, ports) && ctr_guest_tell(c, &err) < 0) {
        ctr_log(CTR_LEVEL_WARN, "container=%.12s error=\"%s\"", c->id, err.msg);
    }
    ctr_container_let_go(c);
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
