/*
 * POST /networks/create: Docker's document into that of ctr_nets_add. What Docker has no words for comes in Options whose keys begin with
 * "ctr."; other keys without Docker's prefix belong to the plugin. Parsers of foreign bytes.
 */
#include "core/api/api-priv.h"

#define BRIDGE "com.docker.network.bridge."

static int
no_memory(struct ctr_error *err)
{
    return ctr_fail(err, -ENOMEM, "out of memory");
}

static bool
is_given(const json_t *value)
{
    return value != NULL && !json_is_null(value) &&
           !(json_is_string(value) && json_string_length(value) == 0) &&
           !(json_is_array(value) && json_array_size(value) == 0) &&
           !(json_is_object(value) && json_object_size(value) == 0);
}

static int
set_flag(json_t *request, const char *key, bool value, struct ctr_error *err)
{
    return json_object_set_new(request, key, json_boolean(value)) < 0 ? no_memory(err) : 0;
}

static int
set_text(json_t *request, const char *key, const char *value, struct ctr_error *err)
{
    return json_object_set_new(request, key, json_string(value)) < 0 ? no_memory(err) : 0;
}

static int
parse_flag(const char *key, const char *text, bool *ret, struct ctr_error *err)
{
    bool yes = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    if (!yes && strcmp(text, "false") != 0 && strcmp(text, "0") != 0) {
        return ctr_fail(err, -EINVAL, "Options: %s is true or false, not \"%.40s\"", key, text);
    }
    *ret = yes;
    return 0;
}

/* --- address management --- */

/* One pool: a subnet of IPv4 or IPv6 with its gateway. */
static int
parse_pool(json_t *request, const json_t *pool, struct ctr_error *err)
{
    const char *subnet = ctr_json_str(pool, "Subnet", "");
    const char *gateway = ctr_json_str(pool, "Gateway", "");
    const char *range = ctr_json_str(pool, "IPRange", "");
    bool six = strchr(*subnet != '\0' ? subnet : gateway, ':') != NULL;
    if (is_given(json_object_get(pool, "AuxiliaryAddresses")) ||
        is_given(json_object_get(pool, "AuxAddress"))) {
        return ctr_fail(err, -EINVAL,
                        "IPAM: AuxiliaryAddresses are not supported; addresses that containers "
                        "do not ask for are not given out twice");
    }
    if (*range != '\0' && strcmp(range, subnet) != 0) {
        return ctr_fail(err, -EINVAL,
                        "IPAM: IPRange %.50s: addresses come from the whole subnet; ask for a "
                        "container's own with --ip",
                        range);
    }
    if (*gateway != '\0' && *subnet == '\0') {
        return ctr_fail(err, -EINVAL, "IPAM: gateway %.50s without its subnet", gateway);
    }
    const char *key = six ? "subnet6" : "subnet";
    if (*subnet != '\0' && json_object_get(request, key) != NULL) {
        return ctr_fail(err, -EINVAL,
                        "IPAM: a network has one subnet of IPv%c, not %s and %.50s",
                        six ? '6' : '4', ctr_json_str(request, key, ""), subnet);
    }
    int rc = *subnet == '\0' ? 0 : set_text(request, key, subnet, err);
    rc = rc < 0 || *gateway == '\0'
             ? rc
             : set_text(request, six ? "gateway6" : "gateway", gateway, err);
    return rc < 0 || !six ? rc : set_flag(request, "ipv6", true, err);
}

static int
parse_ipam(json_t *request, const json_t *body, struct ctr_error *err)
{
    const json_t *ipam = json_object_get(body, "IPAM");
    const char *driver = ctr_json_str(ipam, "Driver", "default");
    if (*driver != '\0' && strcmp(driver, "default") != 0) {
        return ctr_fail(err, -EINVAL,
                        "IPAM: driver %.60s is not known; addresses are managed by ctr itself, "
                        "use default",
                        driver);
    }
    if (is_given(json_object_get(ipam, "Options"))) {
        return ctr_fail(err, -EINVAL, "IPAM: Options are not supported");
    }
    size_t i;
    json_t *pool;
    int rc = 0;
    json_array_foreach(json_object_get(ipam, "Config"), i, pool)
    {
        rc = rc < 0 ? rc : parse_pool(request, pool, err);
    }
    return rc;
}

/* --- options --- */

static int
set_mtu(json_t *request, const char *key, const char *text, struct ctr_error *err)
{
    int64_t mtu;
    if (ctr_parse_int(text, 1, 65535, &mtu) < 0) {
        return ctr_fail(err, -EINVAL, "Options: %s=\"%.40s\" is not a number of bytes", key,
                        text);
    }
    return json_object_set_new(request, "mtu", json_integer(mtu)) < 0 ? no_memory(err) : 0;
}

/* "api.example.com:443 10.0.0.0/8", with blanks or commas between. */
static int
set_allow(json_t *request, const char *text, struct ctr_error *err)
{
    CTR_AUTO(free) char *copy = strdup(text);
    json_t *list = json_array();
    if (copy == NULL || json_object_set_new(request, "allow", list) < 0) {
        return no_memory(err);
    }
    char *rest = copy, *word;
    while ((word = strsep(&rest, ", ")) != NULL) {
        if (*word == '\0') {
            continue;
        }
        if (ctr_allow_check(word, err) < 0) {
            return err->code;
        }
        if (json_array_append_new(list, json_string(word)) < 0) {
            return no_memory(err);
        }
    }
    return 0;
}

/* The keys that begin with "ctr.". */
static int
parse_own(json_t *request, const char *key, const char *text, struct ctr_error *err)
{
    static const char *const keys[] = {"ctr.plugin", "ctr.isolated", "ctr.egress", "ctr.allow",
                                       NULL};
    bool flag;
    if (strcmp(key, "ctr.plugin") == 0) {
        return set_text(request, "driver", text, err);
    }
    if (strcmp(key, "ctr.isolated") == 0) {
        return parse_flag(key, text, &flag, err) < 0 ? err->code
                                                     : set_flag(request, "isolated", flag, err);
    }
    if (strcmp(key, "ctr.egress") == 0) {
        return set_text(request, "egress", text, err);
    }
    if (strcmp(key, "ctr.allow") == 0) {
        return set_allow(request, text, err);
    }
    const char *near = ctr_nearest(key, keys);
    return ctr_fail(err, -EINVAL, "Options: %.80s is not known; see ctr-api(7)%s%s", key,
                    near != NULL ? ", the nearest is " : "", near != NULL ? near : "");
}

/* Docker's own keys: those of its bridge that mean what every network here does anyway are passed over. */
static int
parse_docker(json_t *request, const char *key, const char *text, struct ctr_error *err)
{
    bool flag;
    if (strcmp(key, "com.docker.network.driver.mtu") == 0) {
        return set_mtu(request, key, text, err);
    }
    if (strcmp(key, BRIDGE "enable_icc") == 0) {
        return parse_flag(key, text, &flag, err) < 0
                   ? err->code
                   : set_flag(request, "isolated", !flag, err);
    }
    if (strcmp(key, BRIDGE "enable_ip_masquerade") == 0) {
        return parse_flag(key, text, &flag, err) < 0 || flag
                   ? err->code
                   : ctr_fail(err, -EINVAL,
                              "Options: %s=false: what leaves a network has the host's "
                              "address; use Internal for a network without a way out",
                              key);
    }
    return ctr_fail(err, -EINVAL, "Options: %.120s is not supported; see ctr-api(7)", key);
}

static int
parse_options(json_t *request, const json_t *body, struct ctr_error *err)
{
    const char *key;
    json_t *value, *own = json_object();
    if (json_object_set_new(request, "options", own) < 0) {
        return no_memory(err);
    }
    int rc = 0;
    json_object_foreach(json_object_get(body, "Options"), key, value)
    {
        const char *text = json_string_value(value);
        if (text == NULL) {
            return ctr_fail(err, -EINVAL, "Options: %.80s must be a text", key);
        }
        if (ctr_starts_with(key, "ctr.")) {
            rc = parse_own(request, key, text, err);
        } else if (ctr_starts_with(key, "com.docker.")) {
            rc = parse_docker(request, key, text, err);
        } else {
            rc = json_object_set(own, key, value) < 0 ? no_memory(err) : 0;
        }
        if (rc < 0) {
            return rc;
        }
    }
    return rc;
}

/* --- the whole --- */

static int
parse_labels(json_t *request, const json_t *body, struct ctr_error *err)
{
    const char *key;
    json_t *value, *labels = json_object_get(body, "Labels");
    if (!is_given(labels)) {
        return 0;
    }
    if (!json_is_object(labels)) {
        return ctr_fail(err, -EINVAL, "Labels must be an object of texts");
    }
    json_object_foreach(labels, key, value)
    {
        if (!json_is_string(value)) {
            return ctr_fail(err, -EINVAL, "Labels: %.80s must be a text", key);
        }
    }
    return json_object_set(request, "labels", labels) < 0 ? no_memory(err) : 0;
}

/* "bridge" and "default" stand for the profile's plugin, as no name does. */
static int
parse_driver(json_t *request, const json_t *body, struct ctr_error *err)
{
    static const char *const refused[] = {"overlay", "macvlan", "ipvlan", "host", "null", NULL};
    const char *driver = ctr_json_str(body, "Driver", "");
    for (const char *const *at = refused; *at != NULL; at++) {
        if (strcmp(*at, driver) == 0) {
            return ctr_fail(err, -EINVAL,
                            "driver %s is not supported: networks are of one host; use bridge "
                            "or leave it out for the profile's network plugin",
                            driver);
        }
    }
    bool usual =
        *driver == '\0' || strcmp(driver, "bridge") == 0 || strcmp(driver, "default") == 0;
    return usual ? 0 : set_text(request, "driver", driver, err);
}

/* What only a swarm has. */
static int
refuse_swarm(const json_t *body, struct ctr_error *err)
{
    const char *scope = ctr_json_str(body, "Scope", "local");
    if ((*scope != '\0' && strcmp(scope, "local") != 0) ||
        ctr_json_bool(body, "Ingress", false) || ctr_json_bool(body, "ConfigOnly", false) ||
        is_given(json_object_get(json_object_get(body, "ConfigFrom"), "Network"))) {
        return ctr_fail(err, -EINVAL,
                        "networks of a swarm (Scope, Ingress, ConfigOnly, ConfigFrom) are not "
                        "supported");
    }
    return 0;
}

int
ctr_docker_network_parse(const json_t *body, json_t **ret, struct ctr_error *err)
{
    const char *name = ctr_json_str(body, "Name", "");
    if (*name == '\0') {
        return ctr_fail(err, -EINVAL, "Name is missing: a network needs a name");
    }
    CTR_AUTO(json) json_t *request = json_pack("{s:s}", "name", name);
    if (request == NULL) {
        return no_memory(err);
    }
    if (refuse_swarm(body, err) < 0 || parse_driver(request, body, err) < 0 ||
        set_flag(request, "ipv6", ctr_json_bool(body, "EnableIPv6", false), err) < 0 ||
        set_flag(request, "internal", ctr_json_bool(body, "Internal", false), err) < 0 ||
        parse_ipam(request, body, err) < 0 || parse_options(request, body, err) < 0 ||
        parse_labels(request, body, err) < 0) {
        return err->code;
    }
    *ret = ctr_steal(&request);
    return 0;
}
