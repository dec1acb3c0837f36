/*
 * Networks come and go. One that is being made is in the list, so that nobody else gets its name or subnet, but is not found before its ctr-net has run
 * once; its record is written last. One that is being removed is not found any more, and its record goes last, too.
 */
#include "core/net/net-priv.h"

/* Into the list, unless the name is taken; its subnets are chosen. nets->mutex is held. */
static int
reserve(struct ctr_nets *nets, struct ctr_network_entry *n, const json_t *request,
        const struct ctr_routes *routes, struct ctr_error *err)
{
    for (const struct ctr_network_entry *o = nets->networks; o != NULL; o = o->next) {
        if (strcmp(o->name, n->name) == 0) {
            return ctr_fail(err, -EEXIST, "a network %s exists already", n->name);
        }
    }
    int code = ctr_subnets_choose(nets, n, ctr_json_bool(request, "ipv6", false), routes, err);
    code = code != 0 ? code : ctr_network_settle(n, request, err);
    if (code == 0 && ctr_random_id(n->id) != 0) {
        code = ctr_fail(err, -EIO, "network %s: no random bytes", n->name);
    }
    if (code == 0) {
        n->created = ctr_now_ns();
        n->next = nets->networks;
        nets->networks = n;
    }
    return code;
}

/* Out of the list, whose reference becomes the caller's. nets->mutex is held. */
static void
unlist(struct ctr_nets *nets, struct ctr_network_entry *n)
{
    struct ctr_network_entry **at = &nets->networks;
    while (*at != NULL && *at != n) {
        at = &(*at)->next;
    }
    *at = *at == NULL ? NULL : n->next;
}

/* The record is written, and the network can be found from now on. nets->mutex is held. */
static int
settle_record(struct ctr_nets *nets, struct ctr_network_entry *n, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *record = ctr_network_record(n);
    if (record == NULL) {
        return ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    int code = ctr_record_claim(nets->store, "network", n->name, record, err);
    n->ready = code == 0;
    return code;
}

/* What its plugin refuses is refused now: it runs once. */
static int
try_plugin(struct ctr_nets *nets, struct ctr_network_entry *n, struct ctr_error *err)
{
    struct ctr_error why = CTR_ERROR_INIT;
    (void) pthread_mutex_lock(&n->mutex);
    int code = ctr_peer_open(nets, n, true, NULL, &why);
    if (code == 0) {
        (void) ctr_peer_stop(nets, n, true, NULL);
    }
    (void) pthread_mutex_unlock(&n->mutex);
    return code == 0 ? 0 : ctr_fail(err, code, "network %s: %s", n->name, why.msg);
}

/* `try`: not for the default one, whose ctr-net starts with its first container. */
static int
make_with(struct ctr_nets *nets, struct ctr_network_entry *n, const json_t *request, bool try,
          const struct ctr_routes *routes, struct ctr_error *err)
{
    ctr_nets_lock(nets);
    int code = reserve(nets, n, request, routes, err);
    if (code == 0 && try) {
        ctr_nets_unlock(nets);
        code = try_plugin(nets, n, err);
        ctr_nets_lock(nets);
    }
    code = code != 0 ? code : settle_record(nets, n, err);
    if (code != 0) {
        unlist(nets, n);
    }
    ctr_nets_unlock(nets);
    return code;
}

static int
make(struct ctr_nets *nets, const char *name, const json_t *request, bool try, char ret_id[65],
     struct ctr_error *err)
{
    struct ctr_network_entry *n;
    struct ctr_routes routes = {0};
    int code = ctr_network_parse(name, request, &n, err);
    if (code != 0) {
        return code;
    }
    code = nets->routes(&routes, err);
    code = code != 0 ? code : make_with(nets, n, request, try, &routes, err);
    ctr_routes_free(&routes);
    if (code != 0) {
        ctr_network_free(n);
        return code;
    }
    (void) snprintf(ret_id, 65, "%s", n->id);
    return 0;
}

static bool
is_known(struct ctr_nets *nets, const char *name)
{
    ctr_nets_lock(nets);
    const struct ctr_network_entry *n = nets->networks;
    while (n != NULL && strcmp(n->name, name) != 0) {
        n = n->next;
    }
    ctr_nets_unlock(nets);
    return n != NULL;
}

int
ctr_network_default(struct ctr_nets *nets, struct ctr_error *err)
{
    const struct ctr_conf_engine *engine = &nets->conf->engine;
    struct ctr_error why = CTR_ERROR_INIT;
    char id[65];
    if (is_known(nets, CTR_NET_DEFAULT)) {
        return 0;
    }
    CTR_AUTO(json)
    json_t *request =
        json_pack("{s:s, s:b, s:I}", "subnet", engine->subnet_set ? engine->subnet : "", "ipv6",
                  engine->ipv6, "mtu", (json_int_t) engine->mtu);
    int code = make(nets, CTR_NET_DEFAULT, request, false, id, &why);
    return code == 0 || (code == -EEXIST && is_known(nets, CTR_NET_DEFAULT))
               ? 0 /* another thread was faster */
               : ctr_fail(err, code, "the default network: %s", why.msg);
}

int
ctr_nets_add(struct ctr_nets *nets, const json_t *request, char ret_id[65],
             struct ctr_error *err)
{
    static const char *const reserved[] = {CTR_NET_NONE, CTR_NET_DEFAULT, "bridge"};
    const char *name = ctr_json_str(request, "name", "");
    struct ctr_network_entry *n;
    int code = ctr_network_name_check(name, err);
    for (size_t i = 0; code == 0 && i < CTR_LENGTH(reserved); i++) {
        if (strcmp(name, reserved[i]) == 0) {
            code =
                ctr_fail(err, -EEXIST, "network %s is always there; choose another name", name);
        }
    }
    code = code != 0 ? code : ctr_network_default(nets, err); /* its subnet comes first */
    CTR_AUTO(json) json_t *whole = json_deep_copy(request);
    if (code == 0 && whole == NULL) {
        code = ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    const char *driver = ctr_json_str(request, "driver", "");
    if (code == 0 && (*driver == '\0' || strcmp(driver, "default") == 0)) {
        const struct ctr_conf_instance *instance =
            ctr_conf_instance(nets->conf, CTR_KIND_NET, "default");
        (void) json_object_set_new(whole, "driver",
                                   json_string(instance == NULL ? "" : instance->plugin));
    }
    if (code == 0 && ctr_json_int(request, "mtu", 0) == 0) {
        (void) json_object_set_new(whole, "mtu", json_integer(nets->conf->engine.mtu));
    }
    code = code != 0 ? code : make(nets, name, whole, true, ret_id, err);
    if (code == 0 && ctr_network_get(nets, name, &n, NULL) == 0) {
        ctr_nets_tell(nets, "create", n, "", NULL);
        ctr_network_release(nets, n);
    }
    return code;
}

/* --- the end of one --- */

static int
check_unused(const struct ctr_nets *nets, const struct ctr_network_entry *n,
             struct ctr_error *err)
{
    if (strcmp(n->name, CTR_NET_DEFAULT) == 0 || ctr_network_is_none(n)) {
        return ctr_fail(err, -EPERM, "network %s is part of the profile and cannot be removed",
                        n->name);
    }
    for (const struct ctr_endpoint *e = nets->endpoints; e != NULL; e = e->next) {
        if (e->network == n) {
            return ctr_fail(err, -EBUSY,
                            "container %s is on network %s: remove or disconnect it first",
                            e->name, n->name);
        }
    }
    return n->ready ? 0 : ctr_fail(err, -EBUSY, "network %s is being removed", n->name);
}

/* Ends its ctr-net and removes the record. On failure it is as before. */
static int
end(struct ctr_nets *nets, struct ctr_network_entry *n, struct ctr_error *err)
{
    struct ctr_error why = CTR_ERROR_INIT;
    (void) pthread_mutex_lock(&n->mutex);
    int code = ctr_peer_open(nets, n, false, NULL, &why);
    code = code == 0 ? ctr_peer_stop(nets, n, true, &why) : code;
    (void) pthread_mutex_unlock(&n->mutex);
    if (code < 0 && code != -ENOENT) {
        return ctr_fail(err, code, "network %s: %s", n->name, why.msg);
    }
    return ctr_record_remove(nets->store, "network", n->name, err);
}

int
ctr_nets_remove(struct ctr_nets *nets, const char *ref, struct ctr_error *err)
{
    struct ctr_network_entry *n;
    int code = ctr_network_get(nets, ref, &n, err);
    if (code != 0) {
        return code;
    }
    ctr_nets_lock(nets);
    code = check_unused(nets, n, err);
    n->ready = n->ready && code != 0;
    ctr_nets_unlock(nets);
    if (code == 0) {
        code = end(nets, n, err);
        if (code == 0) {
            ctr_nets_lock(nets);
            unlist(nets, n);
            ctr_nets_unlock(nets);
            ctr_nets_tell(nets, "destroy", n, "", NULL);
            ctr_network_release(nets, n); /* the list's */
        } else {
            ctr_nets_lock(nets);
            n->ready = true;
            ctr_nets_unlock(nets);
        }
    }
    ctr_network_release(nets, n);
    return code;
}

/* --- the profile has changed --- */

static bool
is_as_profile(const struct ctr_nets *nets, const struct ctr_network_entry *n)
{
    const struct ctr_conf_engine *engine = &nets->conf->engine;
    struct ctr_subnet now = ctr_network_subnet(n);
    char text[64];
    bool subnet =
        !engine->subnet_set || strcmp(ctr_subnet_format(&now, text), engine->subnet) == 0;
    return subnet && n->mtu == engine->mtu && engine->ipv6 == (n->subnet6.address.family != 0);
}

int
ctr_network_refresh(struct ctr_nets *nets, struct ctr_error *err)
{
    struct ctr_network_entry *n = nets->networks;
    while (n != NULL && strcmp(n->name, CTR_NET_DEFAULT) != 0) {
        n = n->next;
    }
    if (n == NULL || is_as_profile(nets, n)) {
        return 0;
    }
    for (const struct ctr_endpoint *e = nets->endpoints; e != NULL; e = e->next) {
        if (e->network == n) {
            ctr_log(CTR_LEVEL_WARN,
                    "event=network-unchanged network=%s reason=\"it keeps its subnets and mtu "
                    "while containers have addresses of it\"",
                    n->name);
            return 0;
        }
    }
    int code = end(nets, n, err);
    if (code == 0) {
        unlist(nets, n);
        ctr_network_free(n);
    }
    return code;
}
