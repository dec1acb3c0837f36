/*
 * How a container is connected, out of Docker's documents: endpoints, published ports, names. Parsers of foreign bytes.
 */
#include "core/api/api-priv.h"

#define MTU_OPTION "com.docker.network.driver.mtu"

static bool
is_given(const json_t *value)
{
    return value != NULL && !json_is_null(value) &&
           !(json_is_array(value) && json_array_size(value) == 0) &&
           !(json_is_object(value) && json_object_size(value) == 0);
}

/* --- one endpoint --- */

/* A text member into the endpoint; empty is absent. */
static int
set_text(json_t *endpoint, const char *to, const json_t *from, const char *key,
         struct ctr_error *err)
{
    const json_t *value = json_object_get(from, key);
    if (!is_given(value) || (json_is_string(value) && json_string_length(value) == 0)) {
        return 0;
    }
    if (!json_is_string(value)) {
        return ctr_fail(err, -EINVAL, "%s must be a text", key);
    }
    int code = ctr_network_option_set(endpoint, to, json_string_value(value), err);
    return code < 0 && err->code != 0 ? ctr_prefix(err, "%s", key) : code;
}

static bool
has_text(const json_t *list, const char *text)
{
    size_t i;
    json_t *item;
    json_array_foreach((json_t *) list, i, item)
    {
        if (strcmp(json_string_value(item), text) == 0) {
            return true;
        }
    }
    return false;
}

static int
set_aliases(json_t *endpoint, const json_t *settings, struct ctr_error *err)
{
    const json_t *aliases = json_object_get(settings, "Aliases");
    size_t i;
    json_t *alias;
    if (is_given(aliases) && !json_is_array(aliases)) {
        return ctr_fail(err, -EINVAL, "Aliases must be a list of strings");
    }
    json_array_foreach((json_t *) aliases, i, alias)
    {
        if (!json_is_string(alias)) {
            return ctr_fail(err, -EINVAL, "Aliases must be a list of strings");
        }
        const char *text = json_string_value(alias);
        if (!has_text(json_object_get(endpoint, "aliases"), text) &&
            ctr_network_option_set(endpoint, "alias", text, err) < 0) {
            return ctr_prefix(err, "Aliases");
        }
    }
    return 0;
}

static int
set_driver_options(json_t *endpoint, const json_t *settings, struct ctr_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(settings, "DriverOpts"), key, value)
    {
        if (strcmp(key, MTU_OPTION) != 0 || !json_is_string(value)) {
            return ctr_fail(err, -EINVAL, "DriverOpts: %.80s is not known; " MTU_OPTION " is",
                            key);
        }
        if (ctr_network_option_set(endpoint, "mtu", json_string_value(value), err) < 0) {
            return ctr_prefix(err, "DriverOpts");
        }
    }
    return 0;
}

int
ctr_docker_endpoint_parse(const json_t *settings, json_t *endpoint, struct ctr_error *err)
{
    const json_t *ipam = json_object_get(settings, "IPAMConfig");
    if (is_given(settings) && !json_is_object(settings)) {
        return ctr_fail(err, -EINVAL, "EndpointConfig must be an object");
    }
    if (is_given(json_object_get(ipam, "LinkLocalIPs"))) {
        return ctr_fail(err, -EINVAL,
                        "LinkLocalIPs are not supported: an interface has the one that "
                        "belongs to its MAC address");
    }
    if (set_text(endpoint, "ip", ipam, "IPv4Address", err) < 0 ||
        set_text(endpoint, "ip6", ipam, "IPv6Address", err) < 0 ||
        set_text(endpoint, "mac", settings, "MacAddress", err) < 0 ||
        set_aliases(endpoint, settings, err) < 0 ||
        set_driver_options(endpoint, settings, err) < 0) {
        return err->code != 0 ? err->code : ctr_fail(err, -ENOMEM, "out of memory");
    }
    return 0;
}

/* --- the networks of a new container --- */

/* Docker's names of the default network. */
static const char *
network_name(const char *name)
{
    return *name == '\0' || strcmp(name, "bridge") == 0 ? "default" : name;
}

static json_t *
find_endpoint(const json_t *endpoints, const char *network)
{
    size_t i;
    json_t *endpoint;
    json_array_foreach((json_t *) endpoints, i, endpoint)
    {
        if (strcmp(ctr_json_str(endpoint, "network", ""), network) == 0) {
            return endpoint;
        }
    }
    return NULL;
}

static int
add_endpoint(json_t *endpoints, const char *name, const json_t *settings, struct ctr_error *err)
{
    const char *network = network_name(name);
    if (ctr_network_name_check(network, err) < 0) {
        return err->code;
    }
    if (find_endpoint(endpoints, network) != NULL) {
        return ctr_fail(err, -EINVAL, "EndpointsConfig: network %s is named twice", network);
    }
    CTR_AUTO(json) json_t *endpoint = json_pack("{s:s}", "network", network);
    if (endpoint == NULL || ctr_docker_endpoint_parse(settings, endpoint, err) < 0) {
        return err->code != 0 ? ctr_prefix(err, "network %s", network)
                              : ctr_fail(err, -ENOMEM, "out of memory");
    }
    return json_array_append(endpoints, endpoint);
}

/* The endpoints in their order, the one of `first` in front. */
static int
put_first(json_t *endpoints, const char *first, struct ctr_error *err)
{
    json_t *endpoint = find_endpoint(endpoints, first);
    if (endpoint == NULL) {
        return json_array_insert_new(endpoints, 0, json_pack("{s:s}", "network", first));
    }
    size_t i;
    json_t *one;
    json_array_foreach(endpoints, i, one)
    {
        if (one == endpoint) {
            (void) json_incref(endpoint);
            (void) json_array_remove(endpoints, i);
            return json_array_insert_new(endpoints, 0, endpoint);
        }
    }
    return 0;
}

/* Without a network nothing else may be asked for. */
static int
parse_none(json_t *spec, const json_t *configs, struct ctr_error *err)
{
    const char *name;
    json_t *settings;
    json_object_foreach((json_t *) configs, name, settings)
    {
        if (strcmp(name, "none") != 0) {
            return ctr_fail(err, -EINVAL, "network none cannot be combined with network %.63s",
                            name);
        }
    }
    return json_object_set_new(spec, "network", json_string("none"));
}

/* MacAddress beside the endpoints is the first one's. */
static int
set_old_mac(json_t *endpoints, const json_t *body, struct ctr_error *err)
{
    json_t *first = json_array_get(endpoints, 0);
    return json_object_get(first, "mac") != NULL
               ? 0
               : set_text(first, "mac", body, "MacAddress", err);
}

int
ctr_docker_networks_parse(json_t *spec, const json_t *body, const json_t *host,
                          struct ctr_error *err)
{
    json_t *configs =
        json_object_get(json_object_get(body, "NetworkingConfig"), "EndpointsConfig");
    const char *mode = ctr_json_str(host, "NetworkMode", ""), *name;
    const char *wish = network_name(mode);
    json_t *settings;
    if (ctr_json_bool(body, "NetworkDisabled", false) || strcmp(mode, "none") == 0) {
        return parse_none(spec, configs, err);
    }
    if (ctr_network_name_check(wish, err) < 0) {
        return err->code;
    }
    CTR_AUTO(json) json_t *endpoints = json_array();
    int rc = endpoints == NULL ? -ENOMEM : 0;
    json_object_foreach(configs, name, settings)
    {
        rc = rc < 0 ? rc : add_endpoint(endpoints, name, settings, err);
    }
    /* As in Docker, a mode that names no network of its own adds none to those that are listed. */
    bool named = strcmp(wish, "default") != 0 || json_array_size(endpoints) == 0;
    rc = rc < 0 || !named ? rc : put_first(endpoints, wish, err);
    rc = rc < 0 ? rc : set_old_mac(endpoints, body, err);
    if (rc == 0 && find_endpoint(endpoints, "none") != NULL) {
        return ctr_fail(err, -EINVAL, "network none cannot be combined with others");
    }
    if (rc < 0 ||
        json_object_set(spec, "network",
                        json_object_get(json_array_get(endpoints, 0), "network")) < 0 ||
        json_object_set(spec, "endpoints", endpoints) < 0) {
        return err->code != 0 ? err->code : ctr_fail(err, -ENOMEM, "out of memory");
    }
    return 0;
}

/* --- names --- */

static int
parse_extra_hosts(json_t *spec, const json_t *host, struct ctr_error *err)
{
    const json_t *given = json_object_get(host, "ExtraHosts");
    json_t *list = json_array(), *item;
    size_t i;
    (void) json_object_set_new(spec, "extra_hosts", list);
    if (is_given(given) && !json_is_array(given)) {
        return ctr_fail(err, -EINVAL, "ExtraHosts must be a list of strings");
    }
    json_array_foreach((json_t *) given, i, item)
    {
        const char *text = json_string_value(item);
        CTR_AUTO(free) char *entry = ctr_extra_host_parse(text == NULL ? "" : text, err);
        if (entry == NULL || json_array_append_new(list, json_string(entry)) < 0) {
            return ctr_prefix(err, "ExtraHosts");
        }
    }
    return 0;
}

/* A list of texts without blanks or line ends, which would become lines of resolv.conf; `addresses`: they are servers. */
static int
parse_dns(json_t *spec, const char *to, const json_t *host, const char *key, bool addresses,
          struct ctr_error *err)
{
    const json_t *given = json_object_get(host, key);
    size_t i;
    json_t *item;
    if (!is_given(given)) {
        return 0;
    }
    if (!json_is_array(given)) {
        return ctr_fail(err, -EINVAL, "%s must be a list of strings", key);
    }
    json_array_foreach((json_t *) given, i, item)
    {
        const char *text = json_is_string(item) ? json_string_value(item) : "";
        struct ctr_address address;
        if (*text == '\0' || strpbrk(text, " \t\r\n") != NULL || strlen(text) > 253) {
            return ctr_fail(err, -EINVAL, "%s: \"%.80s\" is not one word", key, text);
        }
        if (addresses && ctr_address_parse(text, &address) < 0) {
            return ctr_fail(err, -EINVAL, "%s: \"%.80s\" is not an IP address", key, text);
        }
    }
    return json_object_set(spec, to, (json_t *) given);
}

int
ctr_docker_names_parse(json_t *spec, const json_t *host, struct ctr_error *err)
{
    if (parse_dns(spec, "dns", host, "Dns", true, err) < 0 ||
        parse_dns(spec, "dns_search", host, "DnsSearch", false, err) < 0 ||
        parse_dns(spec, "dns_options", host, "DnsOptions", false, err) < 0 ||
        parse_extra_hosts(spec, host, err) < 0) {
        return err->code != 0 ? err->code : ctr_fail(err, -ENOMEM, "out of memory");
    }
    return 0;
}

/* --- ports --- */

/* A binding in the words of -p: "HostIp:HostPort:port". */
static char *
binding_text(const char *port, const json_t *binding)
{
    const char *address = ctr_json_str(binding, "HostIp", "");
    const char *host = ctr_json_str(binding, "HostPort", "");
    bool six = strchr(address, ':') != NULL;
    if (*address == '\0' && *host == '\0') {
        return strdup(port);
    }
    return ctr_printf("%s%s%s%s%s:%s", six ? "[" : "", address, six ? "]" : "",
                      *address == '\0' ? "" : ":", host, port);
}

static int
parse_binding(json_t *publish, const char *port, const json_t *binding, struct ctr_error *err)
{
    CTR_AUTO(free) char *text = binding_text(port, binding);
    CTR_AUTO(json) json_t *ports = text == NULL ? NULL : ctr_publish_parse(text, err);
    if (ports == NULL) {
        err->code = -EINVAL;
        return ctr_prefix(err, "PortBindings");
    }
    return json_array_extend(publish, ports);
}

int
ctr_docker_ports_parse(json_t *spec, const json_t *body, const json_t *host,
                       struct ctr_error *err)
{
    json_t *publish = json_array(), *expose = json_array(), *bindings, *item;
    (void) json_object_set_new(spec, "publish", publish);
    (void) json_object_set_new(spec, "expose", expose);
    const char *port;
    size_t i;
    json_object_foreach(json_object_get(body, "ExposedPorts"), port, item)
    {
        (void) json_array_append_new(expose, json_string(port));
    }
    json_object_foreach(json_object_get(host, "PortBindings"), port, bindings)
    {
        if (!json_is_array(bindings)) {
            continue;
        }
        json_array_foreach(bindings, i, item)
        {
            if (parse_binding(publish, port, item, err) < 0) {
                return err->code != 0 ? err->code : ctr_fail(err, -ENOMEM, "out of memory");
            }
        }
    }
    return 0;
}
