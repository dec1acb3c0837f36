/*
 * What others see of networks, and what runs: list, inspect, capture, counters, and the end of processes that nobody uses.
 */
#include "core/net/net-priv.h"

/* nets->mutex is held. */
static json_t *
describe(const struct ctr_nets *nets, const struct ctr_network_entry *n)
{
    json_t *ret = ctr_network_record(n);
    json_t *containers = json_object();
    bool failed =
        ret == NULL || containers == NULL ||
        json_object_set_new(ret, "driver", json_string(ctr_network_driver(nets, n))) != 0;
    for (const struct ctr_endpoint *e = nets->endpoints; e != NULL && !failed; e = e->next) {
        failed = e->network == n &&
                 json_object_set_new(containers, e->container, ctr_endpoint_brief(e)) != 0;
    }
    failed |= json_object_set_new(ret, "containers", containers) != 0;
    if (failed) {
        json_decref(ret);
        return NULL;
    }
    return ret;
}

static json_t *
describe_running(struct ctr_nets *nets, const struct ctr_network_entry *n,
                 struct ctr_error *err)
{
    bool running = !ctr_network_is_none(n) && ctr_peer_is_there(nets, n);
    ctr_nets_lock(nets);
    json_t *ret = describe(nets, n);
    ctr_nets_unlock(nets);
    if (ret == NULL || json_object_set_new(ret, "running", json_boolean(running)) != 0) {
        json_decref(ret);
        (void) ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
        return NULL;
    }
    return ret;
}

/* All networks that can be found, oldest first. */
static int
all_networks(struct ctr_nets *nets, struct ctr_network_list *ret, struct ctr_error *err)
{
    int code = 0;
    ctr_nets_lock(nets);
    for (struct ctr_network_entry *n = nets->networks; n != NULL && code == 0; n = n->next) {
        code = n->ready ? ctr_network_list_add(ret, n, err) : 0;
    }
    ctr_nets_unlock(nets);
    if (code != 0) {
        ctr_network_list_free(nets, ret);
    }
    return code;
}

static int
older(const void *a, const void *b)
{
    const struct ctr_network_entry *x = *(struct ctr_network_entry *const *) a;
    const struct ctr_network_entry *y = *(struct ctr_network_entry *const *) b;
    return x->created != y->created ? (x->created > y->created) - (x->created < y->created)
                                    : strcmp(x->name, y->name);
}

json_t *
ctr_nets_list(struct ctr_nets *nets, struct ctr_error *err)
{
    struct ctr_network_list all = {0};
    CTR_AUTO(json) json_t *list = json_array();
    if (ctr_network_default(nets, err) != 0 || all_networks(nets, &all, err) != 0) {
        return NULL;
    }
    qsort(all.list, all.n, sizeof *all.list, older);
    bool failed = list == NULL;
    for (size_t i = 0; i < all.n && !failed; i++) {
        failed = json_array_append_new(list, describe_running(nets, all.list[i], err)) != 0;
    }
    ctr_network_list_free(nets, &all);
    return failed ? NULL : ctr_steal(&list);
}

/* What its ctr-net knows; that it cannot be asked is no failure. */
static void
add_live(struct ctr_nets *nets, struct ctr_network_entry *n, json_t *ret)
{
    (void) pthread_mutex_lock(&n->mutex);
    CTR_AUTO(json)
    json_t *info = ctr_peer_open(nets, n, false, NULL, NULL) == 0
                       ? ctr_peer_call(n, json_pack("{s:s}", "op", "info"), -1, NULL, NULL)
                       : NULL;
    (void) pthread_mutex_unlock(&n->mutex);
    if (json_object_get(info, "refused") != NULL) {
        (void) json_object_set(ret, "refused", json_object_get(info, "refused"));
    }
    if (json_object_get(info, "dns") != NULL) {
        (void) json_object_set(ret, "dns", json_object_get(info, "dns"));
    }
}

json_t *
ctr_nets_inspect(struct ctr_nets *nets, const char *ref, struct ctr_error *err)
{
    struct ctr_network_entry *n;
    if (ctr_network_get(nets, ref, &n, err) != 0) {
        return NULL;
    }
    json_t *ret = describe_running(nets, n, err);
    if (ret != NULL && ctr_json_bool(ret, "running", false)) {
        add_live(nets, n, ret);
    }
    ctr_network_release(nets, n);
    return ret;
}

int
ctr_nets_capture(struct ctr_nets *nets, const char *ref, const char *container, int64_t count,
                 int *ret_fd, struct ctr_error *err)
{
    struct ctr_network_entry *n;
    int code = ctr_network_get(nets, ref, &n, err);
    if (code != 0) {
        return code;
    }
    if (ctr_network_is_none(n)) {
        code = ctr_fail(err, -EINVAL, "network %s connects nothing", n->name);
    } else {
        (void) pthread_mutex_lock(&n->mutex);
        code = ctr_peer_open(nets, n, true, NULL, err);
        (void) pthread_mutex_unlock(&n->mutex);
    }
    int fd = code != 0 ? code
                       : ctr_peer_stream(nets, n,
                                         json_pack("{s:s, s:s, s:I}", "op", "capture", "id",
                                                   container, "count", (json_int_t) count),
                                         err);
    ctr_network_release(nets, n);
    if (fd < 0) {
        return fd;
    }
    *ret_fd = fd;
    return 0;
}

json_t *
ctr_nets_stats(struct ctr_nets *nets, const char *container, struct ctr_error *err)
{
    struct ctr_network_list of = {0};
    if (ctr_networks_of(nets, container, &of, err) != 0) {
        return NULL;
    }
    json_t *ret = json_object();
    for (size_t i = 0; i < of.n; i++) {
        struct ctr_network_entry *n = of.list[i];
        json_t *ok = NULL;
        (void) pthread_mutex_lock(&n->mutex);
        if (!ctr_network_is_none(n) && ctr_peer_open(nets, n, false, NULL, NULL) == 0) {
            ok = ctr_peer_call(n, json_pack("{s:s, s:s}", "op", "stats", "id", container), -1,
                               NULL, NULL);
        }
        (void) pthread_mutex_unlock(&n->mutex);
        if (ok != NULL) {
            (void) json_object_set_new(ret, n->name, ok);
        }
    }
    ctr_network_list_free(nets, &of);
    return ret;
}

static int
stop_one(struct ctr_nets *nets, struct ctr_network_entry *n, struct ctr_error *err)
{
    struct ctr_error why = CTR_ERROR_INIT;
    if (ctr_network_is_none(n)) {
        return 0;
    }
    (void) pthread_mutex_lock(&n->mutex);
    int code = ctr_peer_open(nets, n, false, NULL, &why);
    code = code == 0 ? ctr_peer_stop(nets, n, false, &why) : code;
    (void) pthread_mutex_unlock(&n->mutex);
    return code >= 0 || code == -ENOENT
               ? 0
               : ctr_fail(err, code, "network %s: %s", n->name, why.msg);
}

int
ctr_nets_stop(struct ctr_nets *nets, const char *network, struct ctr_error *err)
{
    struct ctr_network_list all = {0};
    struct ctr_network_entry *n;
    if (network != NULL) {
        int code = ctr_network_get(nets, network, &n, err);
        if (code == 0) {
            code = stop_one(nets, n, err);
            ctr_network_release(nets, n);
        }
        return code;
    }
    int code = all_networks(nets, &all, err);
    for (size_t i = 0; i < all.n; i++) {
        int one = stop_one(nets, all.list[i], err);
        code = one != 0 ? one : code;
    }
    ctr_network_list_free(nets, &all);
    return code;
}
