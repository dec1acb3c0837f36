/*
 * Networks: what core/net asks of the engine, and its calls with the engine's containers filled in.
 */
#include "core/engine/engine-priv.h"

/* --- hooks: any thread, nothing held --- */

static int
give_port(void *arg, const char *id, const char *hardware, struct ctr_error *err)
{
    struct ctr_engine *engine = arg;
    int fd = -1;
    CTR_AUTO(json)
    json_t *request = json_pack("{s:s,s:s}", "op", "port", "hardware", hardware);
    ctr_engine_lock(engine);
    struct ctr_container *c = ctr_container_find(engine, id, err);
    bool live = c != NULL && c->live;
    ctr_engine_unlock(engine);
    int rc = !live             ? ctr_fail(err, -ENOENT, "container %.12s does not run", id)
             : request == NULL ? ctr_fail(err, -ENOMEM, "out of memory")
                               : ctr_sandbox_take(c, request, &fd, err);
    ctr_engine_lock(engine);
    ctr_container_release(c);
    ctr_engine_unlock(engine);
    return rc < 0 ? (rc == -ESRCH ? -ENOENT : rc) : fd;
}

static void
take_event(void *arg, const json_t *told)
{
    struct ctr_engine *engine = arg;
    const char *network = ctr_json_str(told, "network", "");
    const char *container = ctr_json_str(told, "container", "");
    json_t *attributes = json_deep_copy(json_object_get(told, "attributes"));
    attributes = attributes == NULL ? json_object() : attributes;
    (void) json_object_set_new(attributes, "name", json_string(network));
    if (*container != '\0') {
        (void) json_object_set_new(attributes, "container", json_string(container));
    }
    ctr_engine_lock(engine);
    ctr_engine_tell(engine, json_pack("{s:s,s:s,s:s,s:s,s:s,s:i,s:o,s:I}", "type", "network",
                                      "action", ctr_json_str(told, "action", ""), "id",
                                      ctr_json_str(told, "network_id", ""), "name", network,
                                      "image", "", "exit_code", 0, "attributes", attributes,
                                      "time", (json_int_t) ctr_now_ns()));
    ctr_engine_unlock(engine);
}

struct ctr_nets_hooks
ctr_engine_net_hooks(struct ctr_engine *engine)
{
    return (struct ctr_nets_hooks){.arg = engine, .port = give_port, .event = take_event};
}

/* --- calls --- */

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

int
ctr_engine_network_capture(struct ctr_engine *engine, const char *network, const char *ref,
                           int64_t count, int *ret_fd, struct ctr_error *err)
{
    char id[65] = "";
    if (ref != NULL && *ref != '\0' && ctr_container_id(engine, ref, id, err) < 0) {
        return err->code;
    }
    return ctr_nets_capture(engine->nets, network, id, count, ret_fd, err);
}
