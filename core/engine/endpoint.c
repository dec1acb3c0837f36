/*
 * A container's networks over its life: joined when it is made, up while it runs, left when it is removed. What it is on is
 * known by core/net alone; the spec says what it was made with.
 */
#include "core/engine/engine-priv.h"

/* --- joining --- */

/* A conflict is the request's, a network that is not there, too: "not found" would mean the image. */
static int
join_error(struct ctr_error *err)
{
    switch (err->code) {
    case -ENOENT:
    case -ERANGE:
        err->code = -EINVAL;
        break;
    case -EEXIST:
    case -EINVAL:
        break;
    default:
        (void) ctr_engine_internal(err);
        break;
    }
    return err->code;
}

int
ctr_container_join(struct ctr_container *c, struct ctr_error *err)
{
    size_t i;
    json_t *endpoint;
    json_array_foreach(json_object_get(c->spec, "endpoints"), i, endpoint)
    {
        if (ctr_nets_join(c->engine->nets, ctr_json_str(endpoint, "network", ""), c->id,
                          c->name, endpoint, err) < 0) {
            return join_error(err);
        }
    }
    return 0;
}

/* Its lease may be known already: then it lacks a name. */
int
ctr_container_migrate(struct ctr_container *c, struct ctr_error *err)
{
    if (!c->ready || ctr_json_has(c->spec, "endpoints")) {
        return 0;
    }
    const char *network = ctr_json_str(c->spec, "network", "default");
    int rc = ctr_nets_join(c->engine->nets, network, c->id, c->name, NULL, err);
    if (rc == -EEXIST) {
        rc = ctr_nets_rename(c->engine->nets, c->id, c->name, err);
    }
    if (rc < 0) {
        return ctr_prefix(err, "network %s", network);
    }
    if (json_object_set_new(c->spec, "endpoints", json_pack("[{s:s}]", "network", network)) <
        0) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    return ctr_container_save(c, "ready", err);
}

/* --- up and down --- */

static struct ctr_nets_wants
wants_of(const struct ctr_container *c, const json_t *probe)
{
    return (struct ctr_nets_wants){.container = c->id,
                                   .name = c->name,
                                   .hostname = ctr_json_str(c->spec, "hostname", ""),
                                   .vmm_kinds = (uint32_t) ctr_json_int(probe, "port_kinds", 0),
                                   .publish = json_object_get(c->spec, "publish"),
                                   .extra_hosts = json_object_get(c->spec, "extra_hosts"),
                                   .dns = json_object_get(c->spec, "dns"),
                                   .dns_search = json_object_get(c->spec, "dns_search"),
                                   .dns_options = json_object_get(c->spec, "dns_options")};
}

/* A container without network is for good, and a machine that speaks no datagrams cannot use them. */
static int64_t
spare_ports(const struct ctr_container *c, const json_t *probe)
{
    bool use = strcmp(ctr_json_str(c->spec, "network", ""), "none") != 0 &&
               (ctr_json_int(probe, "port_kinds", 0) & CTR_PORT_DGRAM) != 0;
    return use ? c->engine->conf->engine.spare_ports : 0;
}

int
ctr_container_net_up(struct ctr_launch *launch, struct ctr_error *err)
{
    struct ctr_container *c = launch->container;
    struct ctr_engine *engine = c->engine;
    const json_t *probe = ctr_engine_probe(engine, c->arch, err);
    if (probe == NULL || ctr_container_migrate(c, err) < 0) {
        return ctr_engine_internal(err);
    }
    struct ctr_nets_wants wants = wants_of(c, probe);
    pthread_mutex_lock(&c->net_lock);
    int rc = ctr_nets_up(engine->nets, &wants, &launch->ports, &launch->n_ports, NULL, err);
    ctr_engine_lock(engine);
    c->networked = c->networked || rc == 0;
    ctr_engine_unlock(engine);
    if (rc == 0) {
        launch->network = ctr_nets_guest(engine->nets, c->id, err);
        rc = launch->network == NULL ? err->code : 0;
    }
    pthread_mutex_unlock(&c->net_lock);
    if (rc == 0 && launch->n_ports > CTR_PORTS_MAX) {
        rc = ctr_fail(err, -EIO, "the container is on %zu networks; a machine can be on %d",
                      launch->n_ports, CTR_PORTS_MAX);
    }
    launch->spare_ports = spare_ports(c, probe);
    return rc < 0 ? ctr_engine_internal(err) : 0;
}

int
ctr_container_net_adopt(struct ctr_container *c, struct ctr_error *err)
{
    const json_t *probe = ctr_engine_probe(c->engine, c->arch, err);
    if (probe == NULL) {
        return err->code;
    }
    struct ctr_nets_wants wants = wants_of(c, probe);
    pthread_mutex_lock(&c->net_lock);
    int rc = ctr_nets_adopt(c->engine->nets, &wants, NULL, err);
    pthread_mutex_unlock(&c->net_lock);
    return rc;
}

int
ctr_container_net_down(struct ctr_container *c, struct ctr_error *err)
{
    pthread_mutex_lock(&c->net_lock);
    int rc = ctr_nets_down(c->engine->nets, c->id, err);
    pthread_mutex_unlock(&c->net_lock);
    return rc;
}

/* --- telling --- */

int
ctr_container_add_endpoints(struct ctr_engine *engine, json_t *container, struct ctr_error *err)
{
    json_t *endpoints =
        ctr_nets_endpoints(engine->nets, ctr_json_str(container, "id", ""), err);
    json_t *published = json_array(), *endpoint;
    size_t i;
    if (endpoints == NULL) {
        json_decref(published);
        return err->code;
    }
    json_array_foreach(endpoints, i, endpoint)
    {
        if (ctr_json_bool(endpoint, "up", false)) {
            (void) json_array_extend(published, json_object_get(endpoint, "published"));
        }
        (void) json_object_del(endpoint, "published");
    }
    return json_object_set_new(container, "endpoints", endpoints) < 0 ||
                   json_object_set_new(container, "published", published) < 0
               ? ctr_fail(err, -ENOMEM, "out of memory")
               : 0;
}
