/*
 * ctrd's half: what there is, and finding it. See net.h and, for the locks, net-priv.h.
 */
#include "core/net/net-priv.h"

int
ctr_nets_create(struct ctr_store *store, const struct ctr_conf *conf,
                const struct ctr_nets_hooks *hooks, struct ctr_nets **ret,
                struct ctr_error *err)
{
    struct ctr_nets *nets = calloc(1, sizeof *nets);
    if (nets == NULL) {
        return ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    nets->store = store;
    nets->conf = conf;
    nets->watching = hooks != NULL;
    nets->hooks = hooks == NULL ? (struct ctr_nets_hooks){0} : *hooks;
    nets->routes = ctr_routes_read;
    (void) pthread_mutex_init(&nets->mutex, NULL);
    (void) pthread_cond_init(&nets->changed, NULL);
    int code = ctr_networks_load(nets, err);
    if (code == 0) {
        code = ctr_leases_load(nets, err);
    }
    if (code == 0) {
        code = ctr_network_refresh(nets, err);
    }
    if (code != 0) {
        ctr_nets_destroy(nets);
        return code;
    }
    ctr_peers_tidy(nets);
    *ret = nets;
    return 0;
}

void
ctr_nets_destroy(struct ctr_nets *nets)
{
    if (nets == NULL) {
        return;
    }
    ctr_keepers_stop(nets);
    while (nets->ups != NULL) {
        struct ctr_up *next = nets->ups->next;
        ctr_up_free(nets->ups);
        nets->ups = next;
    }
    while (nets->endpoints != NULL) {
        struct ctr_endpoint *next = nets->endpoints->next;
        ctr_endpoint_free(nets->endpoints);
        nets->endpoints = next;
    }
    while (nets->networks != NULL) {
        struct ctr_network_entry *next = nets->networks->next;
        ctr_network_free(nets->networks);
        nets->networks = next;
    }
    (void) pthread_cond_destroy(&nets->changed);
    (void) pthread_mutex_destroy(&nets->mutex);
    free(nets);
}

/* --- finding; nets->mutex is held --- */

static int
find_prefix(const struct ctr_nets *nets, const char *ref, struct ctr_network_entry **ret,
            struct ctr_error *err)
{
    struct ctr_network_entry *found = NULL;
    size_t length = strlen(ref);
    for (struct ctr_network_entry *n = nets->networks; n != NULL; n = n->next) {
        if (!n->ready || length == 0 || strncmp(n->id, ref, length) != 0) {
            continue;
        }
        if (found != NULL) {
            return ctr_fail(err, -EINVAL,
                            "\"%.64s\" is the beginning of several networks' IDs: give more of "
                            "it, or a name",
                            ref);
        }
        found = n;
    }
    if (found == NULL) {
        return ctr_fail(err, -ENOENT, "network %.64s not found", ref);
    }
    *ret = found;
    return 0;
}

static int
find(const struct ctr_nets *nets, const char *ref, struct ctr_network_entry **ret,
     struct ctr_error *err)
{
    for (struct ctr_network_entry *n = nets->networks; n != NULL; n = n->next) {
        if (n->ready && strcmp(n->name, ref) == 0) {
            *ret = n;
            return 0;
        }
    }
    return find_prefix(nets, ref, ret, err);
}

int
ctr_network_get(struct ctr_nets *nets, const char *ref, struct ctr_network_entry **ret,
                struct ctr_error *err)
{
    int code = strcmp(ref, "host") == 0 ? ctr_network_name_check(ref, err) : 0;
    ref = strcmp(ref, "bridge") == 0 ? CTR_NET_DEFAULT : ref;
    if (code == 0 && strcmp(ref, CTR_NET_DEFAULT) == 0) {
        code = ctr_network_default(nets, err);
    }
    if (code != 0) {
        return code;
    }
    ctr_nets_lock(nets);
    code = find(nets, ref, ret, err);
    if (code == 0) {
        (*ret)->refs++;
    }
    ctr_nets_unlock(nets);
    return code;
}

void
ctr_network_release(struct ctr_nets *nets, struct ctr_network_entry *network)
{
    ctr_nets_lock(nets);
    bool last = --network->refs == 0;
    ctr_nets_unlock(nets);
    if (last) { /* the list's own reference is gone, too */
        ctr_network_free(network);
    }
}

int
ctr_network_list_add(struct ctr_network_list *list, struct ctr_network_entry *network,
                     struct ctr_error *err)
{
    struct ctr_network_entry **more = realloc(list->list, (list->n + 1) * sizeof *list->list);
    if (more == NULL) {
        return ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    list->list = more;
    list->list[list->n++] = network;
    network->refs++;
    return 0;
}

void
ctr_network_list_free(struct ctr_nets *nets, struct ctr_network_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        ctr_network_release(nets, list->list[i]);
    }
    free(list->list);
    *list = (struct ctr_network_list){0};
}

int
ctr_networks_of(struct ctr_nets *nets, const char *container, struct ctr_network_list *ret,
                struct ctr_error *err)
{
    struct ctr_network_list found = {0};
    int code = 0;
    ctr_nets_lock(nets);
    for (struct ctr_endpoint *e = ctr_endpoint_next(nets, NULL, container);
         e != NULL && code == 0; e = ctr_endpoint_next(nets, e, container)) {
        code = ctr_network_list_add(&found, e->network, err);
    }
    ctr_nets_unlock(nets);
    if (code != 0) {
        ctr_network_list_free(nets, &found);
        return code;
    }
    *ret = found;
    return 0;
}

void
ctr_nets_tell(struct ctr_nets *nets, const char *action,
              const struct ctr_network_entry *network, const char *container,
              json_t *take_attributes)
{
    CTR_AUTO(json)
    json_t *attributes = take_attributes == NULL ? json_object() : take_attributes;
    if (nets->hooks.event == NULL) {
        return;
    }
    (void) json_object_set_new(attributes, "type",
                               json_string(ctr_network_driver(nets, network)));
    CTR_AUTO(json)
    json_t *event =
        json_pack("{s:s, s:s, s:s, s:s, s:O}", "action", action, "network", network->name,
                  "network_id", network->id, "container", container, "attributes", attributes);
    if (event != NULL) {
        nets->hooks.event(nets->hooks.arg, event);
    }
}
