/*
 * Networks as records: {name, driver, subnet, prefix, mtu, internal, id, created}. The gateway is the first address.
 */
#include "core/net/net-priv.h"

int
ctr_subnet_parse(const char *text, uint32_t *ret_subnet, int *ret_prefix, struct ctr_error *err)
{
    const char *slash = strchr(text, '/');
    CTR_AUTO(free) char *dotted = slash == NULL ? NULL : strndup(text, (size_t) (slash - text));
    uint32_t subnet;
    int64_t prefix;
    if (dotted == NULL || ctr_ipv4_parse(dotted, &subnet) != 0 ||
        ctr_parse_int(slash + 1, 8, 29, &prefix) != 0) {
        return ctr_fail(err, -EINVAL,
                        "subnet \"%s\" is not one: want an address and a prefix from 8 to 29, "
                        "as in 10.88.0.0/16",
                        text);
    }
    uint32_t mask = ~UINT32_C(0) << (32 - prefix);
    if ((subnet & ~mask) != 0) {
        char right[16];
        return ctr_fail(err, -EINVAL,
                        "subnet \"%s\" has bits set behind its prefix: want %s/%d", text,
                        ctr_ipv4_format(subnet & mask, right), (int) prefix);
    }
    *ret_subnet = subnet;
    *ret_prefix = (int) prefix;
    return 0;
}

void
ctr_network_free(struct ctr_network_entry *network)
{
    if (network == NULL) {
        return;
    }
    ctr_peer_close(network);
    ctr_leases_free(network);
    (void) pthread_mutex_destroy(&network->mutex);
    free(network->used);
    free(network);
}

/* Makes the entry; subnet is text. */
static int
make_entry(const char *name, const char *subnet, struct ctr_network_entry **ret,
           struct ctr_error *err)
{
    struct ctr_network_entry *n = calloc(1, sizeof *n);
    if (n == NULL || strlen(name) >= sizeof n->name) {
        free(n);
        return ctr_fail(err, -ENOMEM, "network %.64s: out of memory or of space", name);
    }
    int code = ctr_subnet_parse(subnet, &n->subnet, &n->prefix, err);
    n->used = code == 0 ? calloc(1, (ctr_network_size(n) + 7) / 8) : NULL;
    if (n->used == NULL) {
        free(n);
        return code != 0 ? code : ctr_fail(err, -ENOMEM, "network %s: out of memory", name);
    }
    (void) snprintf(n->name, sizeof n->name, "%s", name);
    n->gateway = n->subnet + 1;
    n->mtu = 1500;
    n->peer = -1;
    (void) pthread_mutex_init(&n->mutex, NULL);
    *ret = n;
    return 0;
}

static json_t *
record_of(const struct ctr_network_entry *n, const char *driver)
{
    char dotted[16], subnet[24];
    (void) snprintf(subnet, sizeof subnet, "%s/%d", ctr_ipv4_format(n->subnet, dotted),
                    n->prefix);
    return json_pack("{s:s, s:s, s:s, s:i, s:b, s:s, s:I}", "name", n->name, "driver", driver,
                     "subnet", subnet, "mtu", n->mtu, "internal", n->internal, "id", n->id,
                     "created", (json_int_t) n->created);
}

static const char *
driver_of(const struct ctr_nets *nets)
{
    const struct ctr_conf_instance *instance =
        ctr_conf_instance(nets->conf, CTR_KIND_NET, "default");
    return instance == NULL ? "" : instance->plugin;
}

static int
load_one(void *arg, const char *key, const json_t *value)
{
    struct ctr_nets *nets = arg;
    struct ctr_network_entry *n;
    struct ctr_error err = CTR_ERROR_INIT;
    if (make_entry(key, ctr_json_str(value, "subnet", ""), &n, &err) != 0) {
        ctr_log(CTR_LEVEL_ERROR, "event=network-record-unusable network=%s error=\"%s\"", key,
                err.msg);
        return 0;
    }
    (void) snprintf(n->id, sizeof n->id, "%s", ctr_json_str(value, "id", ""));
    n->mtu = (int) ctr_json_int(value, "mtu", 1500);
    n->internal = ctr_json_bool(value, "internal", false);
    n->created = ctr_json_int(value, "created", 0);
    n->next = nets->networks;
    nets->networks = n;
    return 0;
}

int
ctr_networks_load(struct ctr_nets *nets, struct ctr_error *err)
{
    return ctr_record_each(nets->store, "network", load_one, nets, err);
}

static struct ctr_network_entry *
find(const struct ctr_nets *nets, const char *name)
{
    struct ctr_network_entry *n = nets->networks;
    while (n != NULL && strcmp(n->name, name) != 0) {
        n = n->next;
    }
    return n;
}

int
ctr_network_refresh(struct ctr_nets *nets, struct ctr_error *err)
{
    struct ctr_error ignored = CTR_ERROR_INIT;
    struct ctr_network_entry **at = &nets->networks, *n;
    uint32_t subnet;
    int prefix, code = 0;
    while (*at != NULL && strcmp((*at)->name, CTR_NET_DEFAULT) != 0) {
        at = &(*at)->next;
    }
    n = *at;
    if (n == NULL ||
        ctr_subnet_parse(nets->conf->engine.subnet, &subnet, &prefix, &ignored) != 0 ||
        (n->subnet == subnet && n->prefix == prefix && n->mtu == nets->conf->engine.mtu)) {
        return 0;
    }
    if (n->leases != NULL) {
        ctr_log(CTR_LEVEL_WARN,
                "event=network-unchanged network=%s reason=\"it keeps its subnet and mtu while "
                "containers have addresses of it\"",
                n->name);
        return 0;
    }
    if (ctr_peer_open(nets, n, false, &ignored) == 0) {
        (void) ctr_peer_stop(nets, n, &ignored);
    }
    code = ctr_record_remove(nets->store, "network", n->name, err);
    if (code == 0) {
        *at = n->next;
        ctr_network_free(n);
    }
    return code;
}

/* Writes the record and puts the entry into the list. nets->mutex is held. */
static int
add(struct ctr_nets *nets, struct ctr_network_entry *n, struct ctr_error *err)
{
    if (ctr_random_id(n->id) != 0) {
        return ctr_fail(err, -EIO, "network %s: no random bytes", n->name);
    }
    n->created = ctr_now_ns();
    CTR_AUTO(json) json_t *record = record_of(n, driver_of(nets));
    if (record == NULL) {
        return ctr_fail(err, -ENOMEM, "network %s: out of memory", n->name);
    }
    int code = ctr_record_claim(nets->store, "network", n->name, record, err);
    if (code == -EEXIST) {
        return ctr_fail(err, code, "a network %s exists already", n->name);
    }
    if (code == 0) {
        n->next = nets->networks;
        nets->networks = n;
    }
    return code;
}

static int
create_locked(struct ctr_nets *nets, const char *name, const char *subnet, bool internal,
              struct ctr_network_entry **ret, struct ctr_error *err)
{
    struct ctr_network_entry *n;
    int code = make_entry(name, subnet, &n, err);
    if (code != 0) {
        return code;
    }
    n->mtu = (int) nets->conf->engine.mtu;
    n->internal = internal;
    code = add(nets, n, err);
    if (code != 0) {
        ctr_network_free(n);
        return code;
    }
    *ret = n;
    return 0;
}

int
ctr_network_get(struct ctr_nets *nets, const char *name, struct ctr_network_entry **ret,
                struct ctr_error *err)
{
    int code = 0;
    (void) pthread_mutex_lock(&nets->mutex);
    struct ctr_network_entry *n = find(nets, name);
    if (n == NULL && strcmp(name, CTR_NET_DEFAULT) == 0) {
        code = create_locked(nets, name, nets->conf->engine.subnet, false, &n, err);
    } else if (n == NULL) {
        code = ctr_fail(err, -ENOENT, "no network is called \"%.64s\"", name);
    }
    (void) pthread_mutex_unlock(&nets->mutex);
    if (code == 0) {
        *ret = n;
    }
    return code;
}

/* True if two networks share an address. */
static const struct ctr_network_entry *
overlapping(const struct ctr_nets *nets, uint32_t subnet, int prefix)
{
    for (const struct ctr_network_entry *n = nets->networks; n != NULL; n = n->next) {
        int shift = 32 - (prefix < n->prefix ? prefix : n->prefix);
        if ((n->subnet ^ subnet) >> shift == 0) {
            return n;
        }
    }
    return NULL;
}

int
ctr_nets_add(struct ctr_nets *nets, const json_t *request, char ret_id[65],
             struct ctr_error *err)
{
    const char *name = ctr_json_str(request, "name", "");
    const char *subnet = ctr_json_str(request, "subnet", "");
    bool internal = ctr_json_bool(request, "internal", false);
    uint32_t address;
    int prefix;
    struct ctr_network_entry *n;
    if (!ctr_is_name(name) || strlen(name) > 63 || strcmp(name, CTR_NET_NONE) == 0) {
        return ctr_fail(err, -EINVAL, "\"%.64s\" is not a name for a network", name);
    }
    int code = ctr_subnet_parse(subnet, &address, &prefix, err);
    if (code == 0 && strcmp(name, CTR_NET_DEFAULT) != 0) {
        code = ctr_network_get(nets, CTR_NET_DEFAULT, &n, err); /* its subnet comes first */
    }
    if (code != 0) {
        return code;
    }
    (void) pthread_mutex_lock(&nets->mutex);
    const struct ctr_network_entry *other = overlapping(nets, address, prefix);
    code = other != NULL ? ctr_fail(err, -EEXIST, "subnet %s overlaps that of network %s",
                                    subnet, other->name)
                         : create_locked(nets, name, subnet, internal, &n, err);
    if (code == 0) {
        (void) snprintf(ret_id, 65, "%s", n->id);
    }
    (void) pthread_mutex_unlock(&nets->mutex);
    return code;
}

/* --- what others see --- */

static json_t *
describe(const struct ctr_nets *nets, const struct ctr_network_entry *n)
{
    json_t *ret = record_of(n, driver_of(nets));
    json_t *containers = json_object();
    char text[18];
    if (ret == NULL || containers == NULL ||
        json_object_set_new(ret, "gateway", json_string(ctr_ipv4_format(n->gateway, text))) !=
            0) {
        json_decref(ret);
        json_decref(containers);
        return NULL;
    }
    for (const struct ctr_lease *l = n->leases; l != NULL; l = l->next) {
        char mac[18];
        ctr_mac_format(l->address, mac);
        (void) json_object_set_new(
            containers, l->container,
            json_pack("{s:s, s:s}", "address", ctr_ipv4_format(l->address, text), "mac", mac));
    }
    (void) json_object_set_new(ret, "containers", containers);
    return ret;
}

static json_t *
describe_none(void)
{
    char id[65];
    for (size_t i = 0; i < 64; i++) {
        id[i] = '0';
    }
    id[64] = '\0';
    return json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:I, s:{}}", "name", CTR_NET_NONE,
                     "driver", "none", "subnet", "", "gateway", "", "internal", 1, "id", id,
                     "created", (json_int_t) 0, "containers");
}

json_t *
ctr_nets_inspect(struct ctr_nets *nets, const char *network, struct ctr_error *err)
{
    struct ctr_network_entry *n;
    json_t *ret;
    if (strcmp(network, CTR_NET_NONE) == 0) {
        ret = describe_none();
    } else if (ctr_network_get(nets, network, &n, err) != 0) {
        return NULL;
    } else {
        (void) pthread_mutex_lock(&nets->mutex);
        ret = describe(nets, n);
        (void) pthread_mutex_unlock(&nets->mutex);
    }
    if (ret == NULL) {
        (void) ctr_fail(err, -ENOMEM, "network %.64s: out of memory", network);
    }
    return ret;
}

json_t *
ctr_nets_list(struct ctr_nets *nets, struct ctr_error *err)
{
    struct ctr_network_entry *n;
    if (ctr_network_get(nets, CTR_NET_DEFAULT, &n, err) != 0) {
        return NULL;
    }
    json_t *list = json_array();
    (void) json_array_append_new(list, describe_none());
    (void) pthread_mutex_lock(&nets->mutex);
    for (n = nets->networks; n != NULL; n = n->next) {
        (void) json_array_insert_new(list, 0, describe(nets, n));
    }
    (void) pthread_mutex_unlock(&nets->mutex);
    if (list == NULL) {
        (void) ctr_fail(err, -ENOMEM, "networks: out of memory");
    }
    return list;
}
