/*
 * A network as a record: {name, driver, subnet, gateway, subnet6, gateway6, internal, isolated, mtu, labels, options, egress, allow, id, created}; a request
 * for a new one is the same without id and created. What is absent has its default, so that a record of an earlier version loads.
 */
#include "core/net/net-priv.h"

#define MTU_MAX 65520
#define MTU_MIN 576
#define MTU_DEFAULT 1500 /* of older records */
#define MTU_MIN_IPV6 1280

void
ctr_network_free(struct ctr_network_entry *network)
{
    if (network == NULL) {
        return;
    }
    ctr_peer_close(network);
    (void) pthread_mutex_destroy(&network->mutex);
    json_decref(network->labels);
    json_decref(network->options);
    json_decref(network->allow);
    free(network->used);
    free(network->taken6);
    free(network);
}

/* A copy of an object's or array's member; an empty one where there is none. */
static json_t *
member(const json_t *object, const char *key, json_type type)
{
    const json_t *value = json_object_get(object, key);
    if (value != NULL && json_typeof(value) == type) {
        return json_deep_copy(value);
    }
    return type == JSON_OBJECT ? json_object() : json_array();
}

static int
check_texts(const json_t *object, const char *what, struct ctr_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *) (uintptr_t) object, key, value)
    {
        if (*key == '\0' || !json_is_string(value)) {
            return ctr_fail(err, -EINVAL, "%s \"%.80s\" of a network is not a text", what, key);
        }
    }
    return 0;
}

static int
parse_egress(struct ctr_network_entry *n, const json_t *object, struct ctr_error *err)
{
    const char *egress = ctr_json_str(object, "egress", "open");
    size_t i;
    const json_t *item;
    n->deny = strcmp(egress, "deny") == 0;
    if (!n->deny && *egress != '\0' && strcmp(egress, "open") != 0) {
        return ctr_fail(err, -EINVAL, "egress \"%.40s\" is not one: open or deny", egress);
    }
    if (!n->deny && json_array_size(n->allow) > 0) {
        return ctr_fail(err, -EINVAL,
                        "network %s: what may go out is only asked on one with --egress deny",
                        n->name);
    }
    json_array_foreach(n->allow, i, item)
    {
        int code = ctr_allow_check(json_is_string(item) ? json_string_value(item) : "", err);
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

static int
parse_subnets(struct ctr_network_entry *n, const json_t *object, struct ctr_error *err)
{
    const char *subnet = ctr_json_str(object, "subnet", "");
    const char *subnet6 = ctr_json_str(object, "subnet6", "");
    struct ctr_subnet parsed;
    if (*subnet != '\0') {
        int code = ctr_subnet_parse(subnet, 4, &parsed, err);
        if (code != 0) {
            return code;
        }
        n->subnet = ctr_address_ipv4(&parsed.address);
        n->prefix = parsed.prefix;
    }
    return *subnet6 == '\0' ? 0 : ctr_subnet_parse(subnet6, 6, &n->subnet6, err);
}

static int
parse_mtu(struct ctr_network_entry *n, const json_t *object, struct ctr_error *err)
{
    int64_t mtu = ctr_json_int(object, "mtu", 0);
    bool ipv6 = n->subnet6.address.family != 0 || ctr_json_bool(object, "ipv6", false);
    int64_t least = ipv6 ? MTU_MIN_IPV6 : MTU_MIN;
    if (mtu != 0 && (mtu < least || mtu > MTU_MAX)) {
        return ctr_fail(err, -ERANGE, "mtu %lld is not within %lld and %d", (long long) mtu,
                        (long long) least, MTU_MAX);
    }
    n->mtu = mtu == 0 ? MTU_DEFAULT : (int) mtu;
    return 0;
}

static int
parse_into(struct ctr_network_entry *n, const json_t *object, struct ctr_error *err)
{
    n->labels = member(object, "labels", JSON_OBJECT);
    n->options = member(object, "options", JSON_OBJECT);
    n->allow = member(object, "allow", JSON_ARRAY);
    if (n->labels == NULL || n->options == NULL || n->allow == NULL) {
        return ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    (void) snprintf(n->driver, sizeof n->driver, "%s", ctr_json_str(object, "driver", ""));
    (void) snprintf(n->id, sizeof n->id, "%s", ctr_json_str(object, "id", ""));
    n->created = ctr_json_int(object, "created", 0);
    n->internal = ctr_json_bool(object, "internal", false);
    n->isolated = ctr_json_bool(object, "isolated", false);
    int code = parse_subnets(n, object, err);
    code = code != 0 ? code : parse_mtu(n, object, err);
    code = code != 0 ? code : check_texts(n->labels, "label", err);
    code = code != 0 ? code : check_texts(n->options, "option", err);
    return code != 0 ? code : parse_egress(n, object, err);
}

int
ctr_network_parse(const char *name, const json_t *object, struct ctr_network_entry **ret,
                  struct ctr_error *err)
{
    struct ctr_network_entry *n = calloc(1, sizeof *n);
    if (n == NULL) {
        return ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    (void) pthread_mutex_init(&n->mutex, NULL);
    (void) snprintf(n->name, sizeof n->name, "%s", name);
    n->peer = n->events = -1;
    n->refs = 1;
    int code = parse_into(n, object, err);
    if (code != 0) {
        ctr_network_free(n);
        return code;
    }
    *ret = n;
    return 0;
}

/* The gateway of one family that the object names, or def; it must be an address that a container could have. */
static int
parse_gateway(const json_t *object, const char *key, const struct ctr_subnet *subnet,
              const struct ctr_address *def, struct ctr_address *ret, struct ctr_error *err)
{
    const char *text = ctr_json_str(object, key, "");
    char shown[64];
    struct ctr_address address = *def;
    if (*text != '\0' && ctr_address_parse(text, &address) != 0) {
        return ctr_fail(err, -EINVAL, "gateway \"%.60s\" is not an address", text);
    }
    uint32_t offset = ctr_subnet_offset(subnet, &address);
    bool high =
        subnet->address.family == 4 && offset >= (UINT32_C(1) << (32 - subnet->prefix)) - 2;
    if (offset == UINT32_MAX || offset == 0 || high) {
        return ctr_fail(err, -EINVAL, "gateway %.60s is not an address for one in %s", text,
                        ctr_subnet_format(subnet, shown));
    }
    *ret = address;
    return 0;
}

int
ctr_network_settle(struct ctr_network_entry *n, const json_t *object, struct ctr_error *err)
{
    uint32_t size = ctr_network_size(n);
    struct ctr_subnet subnet = ctr_network_subnet(n);
    struct ctr_address def = ctr_subnet_at(&subnet, 1), gateway;
    int code = parse_gateway(object, "gateway", &subnet, &def, &gateway, err);
    n->used = calloc(1, (size + 7) / 8);
    n->taken6 = calloc(1, (size + 7) / 8);
    if (code != 0 || n->used == NULL || n->taken6 == NULL) {
        return code != 0 ? code : ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    n->gateway = ctr_address_ipv4(&gateway);
    ctr_lease_mark(n, n->subnet, true);
    ctr_lease_mark(n, n->gateway, true);
    ctr_lease_mark(n, ctr_network_host(n), true);
    ctr_lease_mark(n, n->subnet + size - 1, true);
    if (n->subnet6.address.family != 0) {
        def = ctr_subnet_at(&n->subnet6, n->gateway - n->subnet);
        code = parse_gateway(object, "gateway6", &n->subnet6, &def, &n->gateway6, err);
        ctr_lease_mark6(n, &n->gateway6, true);
    }
    return code;
}

json_t *
ctr_network_record(const struct ctr_network_entry *n)
{
    char subnet[64], gateway[16], subnet6[64], gateway6[CTR_ADDRESS_TEXT];
    struct ctr_subnet v4 = ctr_network_subnet(n);
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:i, s:O, s:O, s:s, s:O, s:s, s:I}", "name",
        n->name, "driver", n->driver, "subnet", ctr_subnet_format(&v4, subnet), "gateway",
        v4.prefix == 0 ? "" : ctr_ipv4_format(n->gateway, gateway), "subnet6",
        ctr_subnet_format(&n->subnet6, subnet6), "gateway6",
        ctr_address_format(&n->gateway6, gateway6), "internal", n->internal, "isolated",
        n->isolated, "mtu", n->mtu, "labels", n->labels, "options", n->options, "egress",
        n->deny ? "deny" : "open", "allow", n->allow, "id", n->id, "created",
        (json_int_t) n->created);
}

const char *
ctr_network_driver(const struct ctr_nets *nets, const struct ctr_network_entry *network)
{
    const struct ctr_conf_instance *instance;
    if (network->driver[0] != '\0') {
        return network->driver;
    }
    instance = ctr_conf_instance(nets->conf, CTR_KIND_NET, "default");
    return instance == NULL ? "" : instance->plugin;
}

/* --- loading --- */

static int
load_one(void *arg, const char *key, const json_t *value)
{
    struct ctr_nets *nets = arg;
    struct ctr_network_entry *n = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    int code = ctr_network_parse(key, value, &n, &err);
    if (code == 0 && n->prefix == 0) {
        code = ctr_fail(&err, -EINVAL, "it has no subnet");
    }
    code = code != 0 ? code : ctr_network_settle(n, value, &err);
    if (code != 0) {
        ctr_log(CTR_LEVEL_ERROR, "event=network-record-unusable network=%s error=\"%s\"", key,
                err.msg);
        ctr_network_free(n);
        return 0;
    }
    if (strcmp(key, CTR_NET_DEFAULT) == 0) {
        n->driver[0] = '\0'; /* an earlier version wrote down what the profile said */
    }
    n->ready = true;
    n->next = nets->networks;
    nets->networks = n;
    return 0;
}

/* The network that connects nothing. */
static int
load_none(struct ctr_nets *nets, struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *none = json_pack("{s:s, s:b}", "driver", "none", "internal", 1);
    struct ctr_network_entry *n;
    int code = ctr_network_parse(CTR_NET_NONE, none, &n, err);
    if (code != 0) {
        return code;
    }
    memset(n->id, '0', sizeof n->id - 1);
    n->mtu = 0;
    n->ready = true;
    nets->networks = n;
    return 0;
}

int
ctr_networks_load(struct ctr_nets *nets, struct ctr_error *err)
{
    int code = load_none(nets, err);
    return code != 0 ? code : ctr_record_each(nets->store, "network", load_one, nets, err);
}
