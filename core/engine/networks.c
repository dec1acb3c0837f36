/*
 * Networks, as the API asks for them; what they are is in core/net.
 */
#include "core/engine/engine-priv.h"

json_t *
ctr_engine_network_list(struct ctr_engine *engine, struct ctr_error *err)
{
    return ctr_nets_list(engine->nets, err);
}

json_t *
ctr_engine_network_inspect(struct ctr_engine *engine, const char *network,
                           struct ctr_error *err)
{
    return ctr_nets_inspect(engine->nets, network, err);
}

int
ctr_engine_network_create(struct ctr_engine *engine, const json_t *request, char ret_id[65],
                          struct ctr_error *err)
{
    return ctr_nets_add(engine->nets, request, ret_id, err);
}

int
ctr_engine_network_remove(struct ctr_engine *engine, const char *network, struct ctr_error *err)
{
    return ctr_nets_remove(engine->nets, network, err);
}

/* ID and name of a container; *ret_running: it has a machine. */
static int
find(struct ctr_engine *engine, const char *ref, char ret_id[65], char ret_name[130],
     bool *ret_running, struct ctr_error *err)
{
    ctr_engine_lock(engine);
    const struct ctr_container *c = ctr_container_find(engine, ref, err);
    if (c != NULL) {
        (void) snprintf(ret_id, 65, "%s", c->id);
        (void) snprintf(ret_name, 130, "%s", c->name == NULL ? "" : c->name);
        *ret_running = c->state == CTR_STATE_RUNNING;
    }
    ctr_engine_unlock(engine);
    return c != NULL ? 0 : err->code;
}

int
ctr_engine_network_connect(struct ctr_engine *engine, const char *network, const char *ref,
                           const json_t *endpoint, struct ctr_error *err)
{
    char id[65], name[130];
    bool running = false;
    if (find(engine, ref, id, name, &running, err) < 0) {
        return err->code;
    }
    if (running) {
        return ctr_fail(err, -EBUSY, "container %s runs: stop it first", name);
    }
    return ctr_nets_join(engine->nets, network, id, name, endpoint, err);
}

int
ctr_engine_network_disconnect(struct ctr_engine *engine, const char *network, const char *ref,
                              bool force, struct ctr_error *err)
{
    char id[65], name[130];
    bool running = false;
    if (find(engine, ref, id, name, &running, err) < 0) {
        return err->code;
    }
    return ctr_nets_leave(engine->nets, network, id, err);
}

int
ctr_engine_network_capture(struct ctr_engine *engine, const char *network, const char *ref,
                           int64_t count, int *ret_fd, struct ctr_error *err)
{
    char id[65] = "", name[130];
    bool running = false;
    if (ref != NULL && find(engine, ref, id, name, &running, err) < 0) {
        return err->code;
    }
    return ctr_nets_capture(engine->nets, network, id, count, ret_fd, err);
}
