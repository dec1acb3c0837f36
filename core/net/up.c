/*
 * A container comes up and goes down: its ports, what it publishes, and who knows its names.
 */
#include "core/net/net-priv.h"

struct ctr_up *
ctr_up_find(const struct ctr_nets *nets, const char *container)
{
    struct ctr_up *up = nets->ups;
    while (up != NULL && strcmp(up->container, container) != 0) {
        up = up->next;
    }
    return up;
}

void
ctr_up_free(struct ctr_up *up)
{
    if (up == NULL) {
        return;
    }
    free(up->container);
    free(up->name);
    free(up->hostname);
    json_decref(up->publish);
    json_decref(up->extra_hosts);
    json_decref(up->dns);
    json_decref(up->dns_search);
    json_decref(up->dns_options);
    free(up);
}

static json_t *
copy_list(const json_t *list)
{
    return json_is_array(list) ? json_deep_copy(list) : json_array();
}

static struct ctr_up *
up_create(const struct ctr_nets_wants *wants)
{
    struct ctr_up *up = calloc(1, sizeof *up);
    if (up == NULL) {
        return NULL;
    }
    up->container = strdup(wants->container);
    up->name = strdup(wants->name);
    up->hostname = strdup(wants->hostname == NULL ? "" : wants->hostname);
    up->vmm_kinds = wants->vmm_kinds;
    up->publish = copy_list(wants->publish);
    up->extra_hosts = copy_list(wants->extra_hosts);
    up->dns = copy_list(wants->dns);
    up->dns_search = copy_list(wants->dns_search);
    up->dns_options = copy_list(wants->dns_options);
    if (up->container == NULL || up->name == NULL || up->hostname == NULL ||
        up->publish == NULL || up->extra_hosts == NULL || up->dns == NULL ||
        up->dns_search == NULL || up->dns_options == NULL) {
        ctr_up_free(up);
        return NULL;
    }
    return up;
}

static void
remove_up(struct ctr_nets *nets, const char *container)
{
    struct ctr_up **at = &nets->ups;
    while (*at != NULL && strcmp((*at)->container, container) != 0) {
        at = &(*at)->next;
    }
    struct ctr_up *up = *at;
    if (up != NULL) {
        *at = up->next;
        ctr_up_free(up);
    }
}

/* At boot: the interface's own address, and ports only on the first network with a way out. True if its record changes. */
static bool
boots_anew(struct ctr_endpoint *e, bool *out)
{
    bool first = !*out && !e->network->internal;
    bool stale = !first && json_array_size(e->published) > 0;
    bool moved = strcmp(e->hardware, e->mac) != 0;
    if (stale) {
        (void) json_array_clear(e->published);
    }
    memcpy(e->hardware, e->mac, sizeof e->hardware);
    *out |= first;
    return stale || moved;
}

/* Its endpoints get the name that it has now and, at boot, the interfaces' own addresses; records are written where something has changed. */
static int
refresh(struct ctr_nets *nets, const struct ctr_nets_wants *wants, bool boot,
        struct ctr_error *err)
{
    int code = 0;
    bool out = false;
    for (struct ctr_endpoint *e = ctr_endpoint_next(nets, NULL, wants->container);
         e != NULL && code == 0; e = ctr_endpoint_next(nets, e, wants->container)) {
        bool same = strcmp(e->name, wants->name) == 0;
        char *name = same ? NULL : strdup(wants->name);
        if (!same && name == NULL) {
            return ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
        }
        if (!same) {
            free(e->name);
            e->name = name;
        }
        same &= !boot || !boots_anew(e, &out);
        code = same ? 0 : ctr_lease_update(nets, e, err);
    }
    return code;
}

int
ctr_up_begin(struct ctr_nets *nets, const struct ctr_nets_wants *wants, bool boot,
             struct ctr_error *err)
{
    struct ctr_up *up = up_create(wants);
    if (up == NULL) {
        return ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    ctr_nets_lock(nets);
    remove_up(nets, wants->container);
    up->next = nets->ups;
    nets->ups = up;
    int code = refresh(nets, wants, boot, err);
    ctr_nets_unlock(nets);
    return code;
}

static int
make_port(struct ctr_nets *nets, struct ctr_network_entry *n, const char *container,
          struct ctr_attachment *ret, bool *ret_made, struct ctr_error *err)
{
    struct ctr_error why = CTR_ERROR_INIT;
    (void) pthread_mutex_lock(&n->mutex);
    int code = ctr_peer_open(nets, n, true, NULL, &why);
    code = code != 0 ? code : ctr_port_make(nets, n, container, ret, ret_made, &why);
    (void) pthread_mutex_unlock(&n->mutex);
    if (code != 0) {
        return ctr_fail(err, code, "network %s: %s", n->name, why.msg);
    }
    if (*ret_made) {
        ctr_keeper_watch(nets, n);
    }
    return 0;
}

static int
make_ports(struct ctr_nets *nets, const struct ctr_network_list *of, const char *container,
           struct ctr_attachment **ret, size_t *ret_n, struct ctr_error *err)
{
    struct ctr_attachment *list = calloc(of->n + 1, sizeof *list);
    size_t n = 0;
    int code = list == NULL ? ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY) : 0;
    for (size_t i = 0; i < of->n && code == 0; i++) {
        bool made = false;
        if (!ctr_network_is_none(of->list[i])) {
            code = make_port(nets, of->list[i], container, &list[n], &made, err);
        }
        n += code == 0 && made;
    }
    if (code != 0) {
        ctr_attachments_free(list, n);
        return code;
    }
    *ret = list;
    *ret_n = n;
    return 0;
}

static void
tell_all(struct ctr_nets *nets, const char *action, const struct ctr_network_list *of,
         const char *container)
{
    for (size_t i = 0; i < of->n; i++) {
        ctr_nets_tell(nets, action, of->list[i], container, NULL);
    }
}

int
ctr_nets_up(struct ctr_nets *nets, const struct ctr_nets_wants *wants,
            struct ctr_attachment **ret, size_t *ret_n, json_t **ret_published,
            struct ctr_error *err)
{
    struct ctr_error local = CTR_ERROR_INIT;
    struct ctr_network_list of = {0};
    struct ctr_attachment *made = NULL;
    size_t n = 0;
    CTR_AUTO(json) json_t *published = NULL;
    err = err == NULL ? &local : err;
    int code = ctr_networks_of(nets, wants->container, &of, err);
    code = code != 0 ? code : ctr_up_begin(nets, wants, true, err);
    code = code != 0 ? code : make_ports(nets, &of, wants->container, &made, &n, err);
    code =
        code != 0 ? code : ctr_expose(nets, wants->container, wants->publish, &published, err);
    code = code != 0 ? code : ctr_zones_tell(nets, wants->container, err);
    if (code != 0) {
        (void) ctr_nets_down(nets, wants->container, NULL);
        ctr_attachments_free(made, n);
    } else {
        tell_all(nets, "connect", &of, wants->container);
        *ret = made;
        *ret_n = n;
        if (ret_published != NULL) {
            *ret_published = ctr_steal(&published);
        }
    }
    ctr_network_list_free(nets, &of);
    return code;
}

void
ctr_attachments_free(struct ctr_attachment *attachments, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ctr_auto_fd(&attachments[i].fd);
        ctr_auto_fd(&attachments[i].keep);
    }
    free(attachments);
}

/* --- down --- */

static int
drop_port(struct ctr_nets *nets, struct ctr_network_entry *n, const char *container,
          struct ctr_error *err)
{
    struct ctr_error why = CTR_ERROR_INIT;
    (void) pthread_mutex_lock(&n->mutex);
    int code = ctr_peer_open(nets, n, false, NULL, &why);
    code = code == 0 ? ctr_port_drop(nets, n, container, &why) : code;
    ctr_nets_lock(nets);
    struct ctr_endpoint *e = ctr_endpoint_find(nets, n, container);
    if (e != NULL) {
        e->kind = 0;
    }
    ctr_nets_unlock(nets);
    (void) pthread_mutex_unlock(&n->mutex);
    return code == 0 || code == -ENOENT
               ? 0
               : ctr_fail(err, code, "network %s: %s", n->name, why.msg);
}

int
ctr_nets_down(struct ctr_nets *nets, const char *container, struct ctr_error *err)
{
    struct ctr_network_list of = {0}, concerned = {0};
    int code = ctr_networks_of(nets, container, &of, err);
    ctr_nets_lock(nets);
    bool was_up = ctr_up_find(nets, container) != NULL;
    remove_up(nets, container);
    ctr_nets_unlock(nets);
    for (size_t i = 0; i < of.n; i++) {
        if (!ctr_network_is_none(of.list[i])) {
            int one = drop_port(nets, of.list[i], container, err);
            code = one != 0 ? one : code;
        }
    }
    if (was_up && ctr_zones_concerned(nets, container, &concerned, NULL) == 0) {
        (void) ctr_zones_push(nets, &concerned, "", NULL);
        tell_all(nets, "disconnect", &of, container);
    }
    ctr_network_list_free(nets, &concerned);
    ctr_network_list_free(nets, &of);
    return code;
}
