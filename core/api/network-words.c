/*
 * Networks, and how containers are on them, in Docker's words. What Docker has no words for is in the member "Ctr".
 */
#include "core/api/api-priv.h"

/* --- a network --- */

/* "10.89.0.2/24": an address with its subnet's length. */
static json_t *
with_prefix(const json_t *member, const char *key, const char *subnet)
{
    const char *address = ctr_json_str(member, key, ""), *slash = strchr(subnet, '/');
    CTR_AUTO(free) char *whole = ctr_printf("%s%s", address, slash == NULL ? "" : slash);
    return json_string(*address == '\0' || whole == NULL ? "" : whole);
}

static json_t *
members(const json_t *network)
{
    json_t *containers = json_object(), *member;
    const char *id;
    json_object_foreach(json_object_get(network, "containers"), id, member)
    {
        json_t *one = json_object();
        docker_set(one, "Name", docker_text(member, "name"));
        docker_set(one, "MacAddress", docker_text(member, "mac"));
        docker_set(one, "IPv4Address",
                   with_prefix(member, "address", ctr_json_str(network, "subnet", "")));
        docker_set(one, "IPv6Address",
                   with_prefix(member, "address6", ctr_json_str(network, "subnet6", "")));
        docker_set(containers, id, one);
    }
    return containers;
}

static json_t *
pools(const json_t *network)
{
    static const char *const keys[][2] = {{"subnet", "gateway"}, {"subnet6", "gateway6"}};
    json_t *list = json_array();
    for (size_t i = 0; i < CTR_LENGTH(keys); i++) {
        if (*ctr_json_str(network, keys[i][0], "") != '\0') {
            json_t *pool = json_object();
            docker_set(pool, "Subnet", docker_text(network, keys[i][0]));
            if (*ctr_json_str(network, keys[i][1], "") != '\0') {
                docker_set(pool, "Gateway", docker_text(network, keys[i][1]));
            }
            (void) json_array_append_new(list, pool);
        }
    }
    return list;
}

static json_t *
allowed(const json_t *network)
{
    struct ctr_buf buf = {0};
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(network, "allow"), i, entry)
    {
        ctr_buf_printf(&buf, "%s%s", i > 0 ? "," : "", json_string_value(entry));
    }
    json_t *ret = json_string(buf.length > 0 ? buf.data : "");
    ctr_buf_clear(&buf);
    return ret;
}

/* The options that would make the same network again; Compose compares them with what it would ask for. */
static json_t *
options(const json_t *network, const json_t *usual)
{
    json_t *options = json_object();
    int64_t mtu = ctr_json_int(network, "mtu", 0);
    (void) json_object_update(options, json_object_get(network, "options"));
    if (mtu != 0 && mtu != ctr_json_int(usual, "mtu", mtu)) {
        char digits[16];
        (void) snprintf(digits, sizeof digits, "%d", (int) mtu);
        docker_set(options, "com.docker.network.driver.mtu", json_string(digits));
    }
    if (ctr_json_bool(network, "isolated", false)) {
        docker_set(options, "ctr.isolated", json_string("true"));
    }
    if (strcmp(ctr_json_str(network, "egress", "open"), "deny") == 0) {
        docker_set(options, "ctr.egress", json_string("deny"));
    }
    if (json_array_size(json_object_get(network, "allow")) > 0) {
        docker_set(options, "ctr.allow", allowed(network));
    }
    return options;
}

/* The profile's plugin is what Docker's clients know as "bridge". */
static const char *
driver_of(const json_t *network, const json_t *usual)
{
    const char *plugin = ctr_json_str(network, "driver", "");
    if (strcmp(ctr_json_str(network, "name", ""), "none") == 0) {
        return "null";
    }
    return strcmp(plugin, ctr_json_str(usual, "driver", "?")) == 0 ? "bridge" : plugin;
}

static json_t *
own(const json_t *network)
{
    json_t *own = json_object();
    docker_set(own, "Plugin", docker_text(network, "driver"));
    docker_set(own, "Mtu", docker_number(network, "mtu"));
    docker_set(own, "Isolated", docker_flag(network, "isolated"));
    docker_set(own, "Egress", json_string(ctr_json_str(network, "egress", "open")));
    docker_set(own, "Allow", docker_copy(network, "allow", json_array()));
    docker_set(own, "Running", docker_flag(network, "running"));
    if (json_object_get(network, "refused") != NULL) {
        docker_set(own, "Refused", docker_copy(network, "refused", json_array()));
    }
    if (json_object_get(network, "dns") != NULL) {
        docker_set(own, "Dns", docker_copy(network, "dns", json_object()));
    }
    return own;
}

json_t *
docker_network(const json_t *network, const json_t *usual)
{
    json_t *json = json_object();
    docker_set(json, "Name", docker_text(network, "name"));
    docker_set(json, "Id", docker_text(network, "id"));
    docker_set(json, "Created", docker_time(network, "created"));
    docker_set(json, "Scope", json_string("local"));
    docker_set(json, "Driver", json_string(driver_of(network, usual)));
    docker_set(json, "EnableIPv6", json_boolean(*ctr_json_str(network, "subnet6", "") != '\0'));
    docker_set(json, "Internal", docker_flag(network, "internal"));
    docker_set(json, "Attachable", json_true());
    docker_set(json, "Ingress", json_false());
    docker_set(json, "ConfigOnly", json_false());
    docker_set(json, "ConfigFrom", json_pack("{s:s}", "Network", ""));
    docker_set(
        json, "IPAM",
        json_pack("{s:s,s:{},s:o}", "Driver", "default", "Options", "Config", pools(network)));
    docker_set(json, "Containers", members(network));
    docker_set(json, "Options", options(network, usual));
    docker_set(json, "Labels", docker_copy(network, "labels", json_object()));
    docker_set(json, "Ctr", own(network));
    return json;
}

/* --- a container's ports --- */

json_t *
docker_port_map(const json_t *published, bool asked)
{
    json_t *map = json_object(), *port;
    size_t i;
    json_array_foreach((json_t *) published, i, port)
    {
        char key[32], host[32] = "";
        (void) snprintf(key, sizeof key, "%d/%s", (int) ctr_json_int(port, "port", 0),
                        ctr_json_str(port, "proto", "tcp"));
        int first = (int) ctr_json_int(port, "host_port", 0);
        int last = asked ? (int) ctr_json_int(port, "host_port_end", first) : first;
        if (first > 0) {
            (void) snprintf(host, sizeof host, last > first ? "%d-%d" : "%d", first, last);
        }
        json_t *bindings = json_object_get(map, key);
        if (bindings == NULL) {
            bindings = json_array();
            docker_set(map, key, bindings);
        }
        (void) json_array_append_new(bindings, json_pack("{s:s,s:s}", "HostIp",
                                                         ctr_json_str(port, "host_address", ""),
                                                         "HostPort", host));
    }
    return map;
}

json_t *
docker_port_list(const json_t *container)
{
    json_t *list = json_array(), *port;
    size_t i;
    if (!docker_is_state(container, "running")) {
        return list;
    }
    json_array_foreach(json_object_get(container, "published"), i, port)
    {
        const char *address = ctr_json_str(port, "host_address", "");
        (void) json_array_append_new(
            list, json_pack("{s:s,s:I,s:I,s:s}", "IP", *address == '\0' ? "0.0.0.0" : address,
                            "PrivatePort", (json_int_t) ctr_json_int(port, "port", 0),
                            "PublicPort", (json_int_t) ctr_json_int(port, "host_port", 0),
                            "Type", ctr_json_str(port, "proto", "tcp")));
    }
    return list;
}

/* What runs has its published ports, and null for those that are exposed and no more. */
static json_t *
ports_of(const json_t *container)
{
    if (!docker_is_state(container, "running")) {
        return json_object();
    }
    json_t *map = docker_port_map(json_object_get(container, "published"), false), *port;
    size_t i;
    json_array_foreach(json_object_get(json_object_get(container, "spec"), "expose"), i, port)
    {
        const char *key = json_string_value(port);
        if (json_object_get(map, key) == NULL) {
            docker_set(map, key, json_null());
        }
    }
    return map;
}

/* --- a container's endpoints --- */

/* The aliases as Docker tells them, with the short ID among them; and all names that others find the container by. */
static void
set_names(json_t *settings, const json_t *container, const json_t *endpoint)
{
    const char *name = ctr_json_str(container, "name", "");
    char id[13];
    (void) snprintf(id, sizeof id, "%s", ctr_json_str(container, "id", ""));
    json_t *aliases = json_array(), *names = json_pack("[s]", name), *alias;
    bool known = false;
    size_t i;
    json_array_foreach(json_object_get(endpoint, "aliases"), i, alias)
    {
        known = known || strcmp(json_string_value(alias), id) == 0;
        (void) json_array_append(aliases, alias);
        if (strcmp(json_string_value(alias), name) != 0) {
            (void) json_array_append(names, alias);
        }
    }
    if (!known) {
        (void) json_array_append_new(aliases, json_string(id));
        (void) json_array_append_new(names, json_string(id));
    }
    docker_set(settings, "Aliases", aliases);
    docker_set(settings, "DNSNames", names);
}

/* The addresses that were asked for at creation. */
static json_t *
ipam_config(const json_t *container, const char *network)
{
    size_t i;
    json_t *wish, *config = json_object();
    json_array_foreach(json_object_get(json_object_get(container, "spec"), "endpoints"), i,
                       wish)
    {
        if (strcmp(ctr_json_str(wish, "network", ""), network) != 0) {
            continue;
        }
        if (json_object_get(wish, "ip") != NULL) {
            docker_set(config, "IPv4Address", docker_text(wish, "ip"));
        }
        if (json_object_get(wish, "ip6") != NULL) {
            docker_set(config, "IPv6Address", docker_text(wish, "ip6"));
        }
    }
    if (json_object_size(config) > 0) {
        return config;
    }
    json_decref(config);
    return json_null();
}

/* Addresses are shown while the container runs, as Docker does; they stay its own when it does not. */
static void
set_addresses(json_t *settings, const json_t *endpoint)
{
    docker_set(settings, "Gateway", docker_text(endpoint, "gateway"));
    docker_set(settings, "IPAddress", docker_text(endpoint, "address"));
    docker_set(settings, "IPPrefixLen", docker_number(endpoint, "prefix"));
    docker_set(settings, "IPv6Gateway", docker_text(endpoint, "gateway6"));
    docker_set(settings, "GlobalIPv6Address", docker_text(endpoint, "address6"));
    docker_set(settings, "GlobalIPv6PrefixLen", docker_number(endpoint, "prefix6"));
    docker_set(settings, "MacAddress", docker_text(endpoint, "mac"));
}

json_t *
docker_networks_of(const json_t *container)
{
    json_t *networks = json_object(), *endpoint;
    size_t i;
    json_array_foreach(json_object_get(container, "endpoints"), i, endpoint)
    {
        const char *name = ctr_json_str(endpoint, "network", "");
        json_t *settings = json_object();
        docker_set(settings, "IPAMConfig", ipam_config(container, name));
        docker_set(settings, "Links", json_null());
        set_names(settings, container, endpoint);
        docker_set(settings, "NetworkID", docker_text(endpoint, "network_id"));
        set_addresses(settings, docker_is_state(container, "running") ? endpoint : NULL);
        docker_set(settings, "DriverOpts", json_null());
        docker_set(networks, name, settings);
    }
    return networks;
}

json_t *
docker_network_settings(const json_t *container)
{
    json_t *settings = json_object();
    const json_t *first = json_array_get(json_object_get(container, "endpoints"), 0);
    docker_set(settings, "Ports", ports_of(container));
    set_addresses(settings, docker_is_state(container, "running") ? first : NULL);
    docker_set(settings, "Networks", docker_networks_of(container));
    return settings;
}
