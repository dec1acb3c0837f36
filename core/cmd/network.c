/*
 * network.c: network create, rm, prune, connect and disconnect. Lists are in network-list.c, capture in capture.c.
 */
#include "core/cmd/show.h"
#include "core/net/net.h"

static int
no_memory(struct ctr_error *err)
{
    return ctr_fail(err, -ENOMEM, "out of memory");
}

/* --- create --- */

/* The pool whose subnet has the address; NULL: none. */
static json_t *
pool_of(const json_t *pools, const char *address)
{
    struct ctr_address one, subnet;
    size_t i;
    json_t *pool;
    int prefix;
    if (ctr_address_parse(address, &one) < 0) {
        return NULL;
    }
    json_array_foreach((json_t *) pools, i, pool)
    {
        if (ctr_prefix_parse(ctr_json_str(pool, "Subnet", ""), &subnet, &prefix) == 0 &&
            ctr_prefix_has(&subnet, prefix, &one)) {
            return pool;
        }
    }
    return NULL;
}

/* Each --subnet becomes a pool, each --gateway goes to the one that it is in. */
static int
add_pools(const struct ctl *ctl, json_t *body, struct ctr_error *err)
{
    json_t *pools = json_array();
    if (json_object_set_new(body, "IPAM", json_pack("{s:o}", "Config", pools)) < 0) {
        return no_memory(err);
    }
    const char *value;
    for (size_t i = 0; (value = ctl_value_at(ctl, "subnet", i)) != NULL; i++) {
        struct ctr_address subnet;
        int prefix;
        if (strchr(value, '/') == NULL || ctr_prefix_parse(value, &subnet, &prefix) < 0) {
            return ctr_fail(err, -EINVAL, "--subnet: '%s' is not a subnet such as 10.89.0.0/24",
                            value);
        }
        if (json_array_append_new(pools, json_pack("{s:s}", "Subnet", value)) < 0) {
            return no_memory(err);
        }
    }
    for (size_t i = 0; (value = ctl_value_at(ctl, "gateway", i)) != NULL; i++) {
        json_t *pool = pool_of(pools, value);
        if (pool == NULL || json_object_get(pool, "Gateway") != NULL) {
            return ctr_fail(err, -EINVAL, "--gateway: '%s' %s", value,
                            pool == NULL ? "is not an address of a --subnet"
                                         : "is the second one of its subnet");
        }
        if (json_object_set_new(pool, "Gateway", json_string(value)) < 0) {
            return no_memory(err);
        }
    }
    return 0;
}

/* --opt K=V, for the plugin. */
static int
add_plugin_options(const struct ctl *ctl, json_t *options, struct ctr_error *err)
{
    const char *value;
    for (size_t i = 0; (value = ctl_value_at(ctl, "opt", i)) != NULL; i++) {
        size_t length = strcspn(value, "=");
        CTR_AUTO(free) char *key = strndup(value, length);
        if (key == NULL || length == 0 || value[length] == '\0' ||
            json_object_set_new(options, key, json_string(value + length + 1)) < 0) {
            return ctr_fail(err, -EINVAL, "--opt: '%s' must be NAME=VALUE in UTF-8", value);
        }
    }
    return 0;
}

static int
add_allow(const struct ctl *ctl, json_t *options, struct ctr_error *err)
{
    CTR_AUTO(buf) struct ctr_buf list = {0};
    const char *value, *egress = ctl_value(ctl, "egress");
    for (size_t i = 0; (value = ctl_value_at(ctl, "allow", i)) != NULL; i++) {
        if (ctr_allow_check(value, err) < 0) {
            return ctr_prefix(err, "--allow");
        }
        ctr_buf_printf(&list, "%s%s", i > 0 ? "," : "", value);
    }
    if (list.length == 0) {
        return 0;
    }
    if (egress == NULL || strcmp(egress, "deny") != 0) {
        return ctr_fail(err, -EINVAL,
                        "--allow: all is allowed already; it goes with --egress deny");
    }
    return json_object_set_new(options, "ctr.allow", json_string(list.data)) < 0
               ? no_memory(err)
               : 0;
}

static int
add_options(const struct ctl *ctl, json_t *body, struct ctr_error *err)
{
    static const char *const names[][2] = {{"driver", "ctr.plugin"},
                                           {"mtu", "com.docker.network.driver.mtu"},
                                           {"egress", "ctr.egress"}};
    json_t *options = json_object();
    int rc = json_object_set_new(body, "Options", options);
    for (size_t i = 0; rc == 0 && i < CTR_LENGTH(names); i++) {
        const char *value = ctl_value(ctl, names[i][0]);
        rc = value == NULL ? 0 : json_object_set_new(options, names[i][1], json_string(value));
    }
    if (rc == 0 && ctl_flag(ctl, "isolated")) {
        rc = json_object_set_new(options, "ctr.isolated", json_string("true"));
    }
    if (rc < 0) {
        return ctr_fail(err, -EINVAL, "an option is not UTF-8");
    }
    rc = add_plugin_options(ctl, options, err);
    return rc < 0 ? rc : add_allow(ctl, options, err);
}

static int
create_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *answer = NULL;
    CTR_AUTO(json)
    json_t *body =
        json_pack("{s:s,s:b,s:b,s:b}", "Name", ctl->operands[0], "CheckDuplicate", 1,
                  "EnableIPv6", ctl_flag(ctl, "ipv6"), "Internal", ctl_flag(ctl, "internal"));
    int rc = body == NULL ? ctr_fail(&err, -EINVAL, "the name is not UTF-8") : 0;
    rc = rc < 0 ? rc : ctr_network_name_check(ctl->operands[0], &err);
    rc = rc < 0 ? rc : add_pools(ctl, body, &err);
    rc = rc < 0 ? rc : add_options(ctl, body, &err);
    rc = rc < 0 ? rc : ctl_add_labels(ctl, body, &err);
    rc = rc < 0 ? rc : ctl_call(ctl, "POST", CTL_API "/networks/create", body, &answer, &err);
    if (rc < 0) {
        return ctl_error(ctl, &err);
    }
    printf("%s\n", ctr_json_str(answer, "Id", ""));
    return 0;
}

static const struct ctl_option create_options[] = {
    {"allow", 0, "HOST[:PORT]|CIDR[:PORT]",
     "What may be reached outside with --egress deny (repeatable)"},
    {"driver", 'd', "PLUGIN", "Network plugin (default: the profile's)"},
    {"egress", 0, "POLICY", "What may go out: open (default) or deny", "open|deny"},
    {"gateway", 0, "ADDRESS", "The network's own address in a subnet (repeatable)"},
    {"internal", 0, NULL, "No way out and no way in"},
    {"ipv6", 0, NULL, "IPv6 too"},
    {"isolated", 0, NULL, "Containers do not reach each other"},
    {"label", 'l', "NAME=VALUE", "Label (repeatable)"},
    {"mtu", 0, "BYTES", "Largest packet between containers (default: the profile's)"},
    {"opt", 'o', "NAME=VALUE", "Option of the plugin (repeatable)"},
    {"subnet", 0, "CIDR", "Subnet of IPv4, and of IPv6 (default: a free one)"},
    {NULL},
};
const struct ctl_command ctl_network_create = {
    .operands = "NAME",
    .summary = "Make a network",
    .text = "Containers of a network find each other by name and alias. Networks do not reach "
            "each other.\n"
            "A name in --allow lets through what our own DNS has resolved for it, as long as "
            "its answer lives.",
    .examples = "ctrctl network create front\n"
                "ctrctl network create --internal --subnet 10.89.3.0/24 back\n"
                "ctrctl network create --egress deny --allow api.example.com:443 jobs",
    .options = create_options,
    .min_operands = 1,
    .max_operands = 1,
    .run = create_main,
};

/* --- rm, prune --- */

static int
rm_one(struct ctl *ctl, const char *name, struct ctr_error *err)
{
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/networks/%s", name);
    int rc = ctl_call(ctl, "DELETE", path, NULL, NULL, err);
    return rc == -ENOENT && ctl_flag(ctl, "force") ? 0 : rc;
}
static int
rm_main(struct ctl *ctl)
{
    return ctl_each(ctl, rm_one, true);
}

static const struct ctl_option rm_options[] = {
    {"force", 'f', NULL, "One that is not there is no error"},
    {NULL},
};
const struct ctl_command ctl_network_rm = {
    .operands = "NETWORK [NETWORK...]",
    .summary = "Remove networks that no container is on",
    .examples = "ctrctl network rm front back",
    .options = rm_options,
    .min_operands = 1,
    .max_operands = -1,
    .words = CTL_WORDS_NETWORK,
    .run = rm_main,
};

static int
prune_networks(struct ctl *ctl, struct ctr_error *err)
{
    CTR_AUTO(free) char *filters = ctl_filters(ctl, err);
    if (filters == NULL) {
        return err->code;
    }
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/networks/prune?filters=%s", filters);
    CTR_AUTO(json) json_t *answer = NULL;
    int rc = ctl_call(ctl, "POST", path, NULL, &answer, err);
    size_t i;
    json_t *name;
    json_array_foreach(json_object_get(answer, "NetworksDeleted"), i, name)
    {
        printf("%s%s\n", i == 0 ? "Deleted Networks:\n" : "", json_string_value(name));
    }
    return rc;
}

static int
prune_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    int rc = ctl_flag(ctl, "force")
                 ? 1
                 : ctl_confirm(
                       "WARNING! This will remove all networks that no container is on.", &err);
    rc = rc > 0 ? prune_networks(ctl, &err) : rc;
    return rc < 0 ? ctl_error(ctl, &err) : 0;
}

static const struct ctl_option prune_options[] = {
    {"filter", 0, "KEY=VALUE", "Only those with until=24h, label=K=V, label!=K (repeatable)"},
    {"force", 'f', NULL, "Do not ask"},
    {NULL},
};
const struct ctl_command ctl_network_prune = {
    .operands = "",
    .summary = "Remove all networks that no container is on",
    .examples = "ctrctl network prune -f --filter until=24h",
    .options = prune_options,
    .run = prune_main,
};

/* --- connect, disconnect --- */

/* take_body is NULL if the container's name could not be packed. */
static int
post(struct ctl *ctl, const char *what, json_t *take_body)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *body = take_body;
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/networks/%s/%s", ctl->operands[0], what);
    int rc = body == NULL ? ctr_fail(&err, -EINVAL, "the container's name is not UTF-8")
                          : ctl_call(ctl, "POST", path, body, NULL, &err);
    return rc < 0 ? ctl_error(ctl, &err) : 0;
}

static int
connect_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    json_t *endpoint = ctl_endpoint(ctl, &err);
    if (endpoint == NULL) {
        return ctl_error(ctl, &err);
    }
    return post(
        ctl, "connect",
        json_pack("{s:s,s:o}", "Container", ctl->operands[1], "EndpointConfig", endpoint));
}

static const struct ctl_option connect_options[] = {
    {"alias", 0, "NAME", "Another name on this network (repeatable)"},
    {"ip", 0, "ADDRESS", "Its IPv4 address (default: a free one)"},
    {"ip6", 0, "ADDRESS", "Its IPv6 address (default: follows from the IPv4 one)"},
    {"mac-address", 0, "MAC", "Its MAC address (default: follows from the IPv4 one)"},
    {NULL},
};
const struct ctl_command ctl_network_connect = {
    .operands = "NETWORK CONTAINER",
    .summary = "Put a container on a further network, also while it runs",
    .examples = "ctrctl network connect --alias db back postgres",
    .options = connect_options,
    .min_operands = 2,
    .max_operands = 2,
    .words = CTL_WORDS_NETWORK,
    .next_words = CTL_WORDS_CONTAINER,
    .run = connect_main,
};

static int
disconnect_main(struct ctl *ctl)
{
    return post(
        ctl, "disconnect",
        json_pack("{s:s,s:b}", "Container", ctl->operands[1], "Force", ctl_flag(ctl, "force")));
}

static const struct ctl_option disconnect_options[] = {
    {"force", 'f', NULL, "Also one that is gone"},
    {NULL},
};
const struct ctl_command ctl_network_disconnect = {
    .operands = "NETWORK CONTAINER",
    .summary = "Take a container off a network, also while it runs",
    .examples = "ctrctl network disconnect back postgres",
    .options = disconnect_options,
    .min_operands = 2,
    .max_operands = 2,
    .words = CTL_WORDS_NETWORK,
    .next_words = CTL_WORDS_CONTAINER,
    .run = disconnect_main,
};
