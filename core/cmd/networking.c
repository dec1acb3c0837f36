/*
 * networking.c: what run and create say of networks, names and ports, as the API's JSON documents.
 */
#include "core/cmd/show.h"
#include "core/net/net.h"

static int
no_memory(struct ctr_error *err)
{
    return ctr_fail(err, -ENOMEM, "out of memory");
}

/* --- networks --- */

/* An endpoint in our words ({"ip","ip6","mac","aliases","mtu"}) in Docker's. New reference. */
static json_t *
endpoint_settings(const json_t *endpoint)
{
    static const char *const texts[][2] = {{"ip", "IPv4Address"}, {"ip6", "IPv6Address"}};
    json_t *settings = json_object(), *ipam = json_object();
    for (size_t i = 0; i < CTR_LENGTH(texts); i++) {
        if (json_object_get(endpoint, texts[i][0]) != NULL) {
            (void) json_object_set(ipam, texts[i][1], json_object_get(endpoint, texts[i][0]));
        }
    }
    (void) json_object_set_new(settings, "IPAMConfig", ipam);
    if (json_object_get(endpoint, "mac") != NULL) {
        (void) json_object_set(settings, "MacAddress", json_object_get(endpoint, "mac"));
    }
    if (json_object_get(endpoint, "aliases") != NULL) {
        (void) json_object_set(settings, "Aliases", json_object_get(endpoint, "aliases"));
    }
    if (json_object_get(endpoint, "mtu") != NULL) {
        char mtu[16];
        (void) snprintf(mtu, sizeof mtu, "%d", (int) ctr_json_int(endpoint, "mtu", 0));
        (void) json_object_set_new(settings, "DriverOpts",
                                   json_pack("{s:s}", "com.docker.network.driver.mtu", mtu));
    }
    return settings;
}

/* --ip and its like into the endpoint; names: pairs of an option and its key. */
static int
set_options(const struct ctl *ctl, json_t *endpoint, const char *const (*names)[2], size_t n,
            struct ctr_error *err)
{
    const char *value;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; (value = ctl_value_at(ctl, names[i][0], k)) != NULL; k++) {
            if (ctr_network_option_set(endpoint, names[i][1], value, err) < 0) {
                return err->code != 0 ? ctr_prefix(err, "--%s", names[i][0]) : no_memory(err);
            }
        }
    }
    return 0;
}

json_t *
ctl_endpoint(const struct ctl *ctl, struct ctr_error *err)
{
    static const char *const names[][2] = {
        {"ip", "ip"}, {"ip6", "ip6"}, {"mac-address", "mac"}, {"alias", "alias"}};
    CTR_AUTO(json) json_t *endpoint = json_object();
    if (endpoint == NULL || set_options(ctl, endpoint, names, CTR_LENGTH(names), err) < 0) {
        return NULL;
    }
    return endpoint_settings(endpoint);
}

/* The i-th --network; behind the last one NULL without an error. */
static json_t *
network_at(const struct ctl *ctl, size_t i, struct ctr_error *err)
{
    static const char *const names[][2] = {
        {"ip", "ip"}, {"ip6", "ip6"}, {"mac-address", "mac"}, {"network-alias", "alias"}};
    const char *text = ctl_value_at(ctl, "network", i);
    bool first = i == 0;
    if (text == NULL && !first) {
        return NULL;
    }
    CTR_AUTO(json)
    json_t *option = ctr_network_option_parse(text != NULL ? text : "default", err);
    if (option == NULL) {
        return NULL;
    }
    if (first && set_options(ctl, option, names, CTR_LENGTH(names), err) < 0) {
        return NULL;
    }
    if (json_object_size(option) > 1 &&
        strcmp(ctr_json_str(option, "network", ""), "none") == 0) {
        ctr_fail(err, -EINVAL, "--network none: no network takes no addresses and no aliases");
        return NULL;
    }
    return ctr_steal(&option);
}

static int
add_networks(const struct ctl *ctl, json_t *body, json_t *host, struct ctr_error *err)
{
    json_t *configs = json_object(), *option;
    if (json_object_set_new(body, "NetworkingConfig",
                            json_pack("{s:o}", "EndpointsConfig", configs)) < 0) {
        return no_memory(err);
    }
    for (size_t i = 0; (option = network_at(ctl, i, err)) != NULL; i++) {
        CTR_AUTO(json) json_t *owned = option;
        const char *name = ctr_json_str(owned, "network", "");
        if (json_object_get(configs, name) != NULL) {
            return ctr_fail(err, -EINVAL, "--network %s: is named twice", name);
        }
        if (i > 0 && (strcmp(name, "none") == 0 || json_object_get(configs, "none") != NULL)) {
            return ctr_fail(err, -EINVAL, "--network none: cannot be combined with others");
        }
        if ((i == 0 && json_object_set_new(host, "NetworkMode", json_string(name)) < 0) ||
            json_object_set_new(configs, name, endpoint_settings(owned)) < 0) {
            return no_memory(err);
        }
    }
    return err->code;
}

/* --- names --- */

/* All values of an option as a list, each checked. */
static int
add_list(const struct ctl *ctl, json_t *host, const char *name, const char *key,
         int (*check)(const char *value, struct ctr_error *err), struct ctr_error *err)
{
    json_t *list = json_array();
    if (json_object_set_new(host, key, list) < 0) {
        return no_memory(err);
    }
    const char *value;
    for (size_t i = 0; (value = ctl_value_at(ctl, name, i)) != NULL; i++) {
        if (check(value, err) < 0) {
            return ctr_prefix(err, "--%s", name);
        }
        if (json_array_append_new(list, json_string(value)) < 0) {
            return ctr_fail(err, -EINVAL, "--%s: '%s' is not UTF-8", name, value);
        }
    }
    return 0;
}

static int
check_server(const char *value, struct ctr_error *err)
{
    struct ctr_address address;
    return ctr_address_parse(value, &address) == 0
               ? 0
               : ctr_fail(err, -EINVAL,
                          "'%s' is not an IP address; name a server such as 192.0.2.53", value);
}

static int
check_word(const char *value, struct ctr_error *err)
{
    return *value != '\0' && strpbrk(value, " \t\r\n") == NULL
               ? 0
               : ctr_fail(err, -EINVAL, "'%s' is not one word", value);
}

static int
add_hosts(const struct ctl *ctl, json_t *host, struct ctr_error *err)
{
    json_t *list = json_array();
    if (json_object_set_new(host, "ExtraHosts", list) < 0) {
        return no_memory(err);
    }
    const char *value;
    for (size_t i = 0; (value = ctl_value_at(ctl, "add-host", i)) != NULL; i++) {
        CTR_AUTO(free) char *entry = ctr_extra_host_parse(value, err);
        if (entry == NULL) {
            return err->code;
        }
        if (json_array_append_new(list, json_string(entry)) < 0) {
            return no_memory(err);
        }
    }
    return 0;
}

/* --- ports --- */

/* {"80/tcp": …} in ExposedPorts and PortBindings. */
static int
add_port(json_t *exposed, json_t *bindings, const json_t *port, struct ctr_error *err)
{
    CTR_AUTO(free)
    char *key =
        ctr_printf("%" JSON_INTEGER_FORMAT "/%s", (json_int_t) ctr_json_int(port, "port", 0),
                   ctr_json_str(port, "proto", "tcp"));
    if (key == NULL || json_object_set_new(exposed, key, json_object()) < 0) {
        return no_memory(err);
    }
    json_t *list = json_object_get(bindings, key);
    if (list == NULL) {
        list = json_array();
        (void) json_object_set_new(bindings, key, list);
    }
    char host[24] = "";
    int first = (int) ctr_json_int(port, "host_port", 0);
    int last = (int) ctr_json_int(port, "host_port_end", first);
    if (first > 0) {
        (void) snprintf(host, sizeof host, last > first ? "%d-%d" : "%d", first, last);
    }
    json_t *binding = json_pack("{s:s,s:s}", "HostIp", ctr_json_str(port, "host_address", ""),
                                "HostPort", host);
    return json_array_append_new(list, binding) == 0 ? 0 : no_memory(err);
}

/* All that one -p asks for. */
static int
add_publish(json_t *exposed, json_t *bindings, const char *text, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *ports = ctr_publish_parse(text, err);
    if (ports == NULL) {
        return ctr_prefix(err, "--publish");
    }
    size_t i;
    json_t *port;
    int rc = 0;
    json_array_foreach(ports, i, port)
    {
        rc = rc == 0 ? add_port(exposed, bindings, port, err) : rc;
    }
    return rc;
}

static int
add_ports(const struct ctl *ctl, json_t *body, json_t *host, struct ctr_error *err)
{
    json_t *exposed = json_object(), *bindings = json_object();
    int rc = json_object_set_new(body, "ExposedPorts", exposed) |
             json_object_set_new(host, "PortBindings", bindings) |
             json_object_set_new(host, "PublishAllPorts",
                                 json_boolean(ctl_flag(ctl, "publish-all")));
    const char *value;
    for (size_t i = 0; rc == 0 && (value = ctl_value_at(ctl, "publish", i)) != NULL; i++) {
        rc = add_publish(exposed, bindings, value, err);
    }
    return rc == 0 || err->code != 0 ? rc : no_memory(err);
}

int
ctl_add_networking(const struct ctl *ctl, json_t *body, json_t *host, struct ctr_error *err)
{
    int rc = add_networks(ctl, body, host, err);
    rc = rc < 0 ? rc : add_list(ctl, host, "dns", "Dns", check_server, err);
    rc = rc < 0 ? rc : add_list(ctl, host, "dns-search", "DnsSearch", check_word, err);
    rc = rc < 0 ? rc : add_list(ctl, host, "dns-option", "DnsOptions", check_word, err);
    rc = rc < 0 ? rc : add_hosts(ctl, host, err);
    return rc < 0 ? rc : add_ports(ctl, body, host, err);
}
