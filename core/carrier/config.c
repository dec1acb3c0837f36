/*
 * The network as ctrd describes it, in ctr-net's configuration. Everything is checked here, so that the plugin sees sound values only.
 */
#include "core/carrier/carrier-priv.h"

int
ctr_carrier_address(const json_t *object, const char *key, struct ctr_address *ret,
                    struct ctr_error *err)
{
    const char *text = ctr_json_str(object, key, "");
    struct ctr_address address = {0};
    if (text[0] != '\0' && ctr_address_parse(text, &address) != 0) {
        return ctr_fail(err, -EINVAL, "%s \"%.60s\" is not an IP address", key, text);
    }
    *ret = address;
    return 0;
}

int
ctr_carrier_ipv4(const json_t *object, const char *key, uint32_t *ret, struct ctr_error *err)
{
    const char *text = ctr_json_str(object, key, "");
    if (ctr_ipv4_parse(text, ret) != 0) {
        return ctr_fail(err, -EINVAL, "%s \"%.60s\" is not an IPv4 address", key, text);
    }
    return 0;
}

static int
parse_ipv4(const json_t *n, struct ctr_network *ret, struct ctr_error *err)
{
    int64_t prefix = ctr_json_int(n, "prefix", -1);
    if (prefix < 1 || prefix > 30) {
        return ctr_fail(err, -EINVAL, "the network's prefix is not within 1 and 30");
    }
    ret->prefix = (uint32_t) prefix;
    int code = ctr_carrier_ipv4(n, "subnet", &ret->subnet, err);
    code = code != 0 ? code : ctr_carrier_ipv4(n, "gateway", &ret->gateway, err);
    code = code != 0 ? code : ctr_carrier_ipv4(n, "dns", &ret->dns, err);
    if (code == 0 && ctr_json_str(n, "host", "")[0] != '\0') {
        code = ctr_carrier_ipv4(n, "host", &ret->host, err);
    }
    return code;
}

static int
parse_ipv6(const json_t *n, struct ctr_network *ret, struct ctr_error *err)
{
    int64_t prefix = ctr_json_int(n, "prefix6", 64);
    int code = ctr_carrier_address(n, "subnet6", &ret->subnet6, err);
    code = code != 0 ? code : ctr_carrier_address(n, "gateway6", &ret->gateway6, err);
    if (code != 0 || (ret->subnet6.family == 0 && ret->gateway6.family == 0)) {
        return code;
    }
    if (ret->subnet6.family != 6 || ret->gateway6.family != 6 || prefix < 1 || prefix > 126) {
        return ctr_fail(err, -EINVAL,
                        "subnet6 and gateway6 are not both IPv6 addresses, or prefix6 is not "
                        "within 1 and 126");
    }
    if (ret->mtu < 1280) {
        return ctr_fail(err, -EINVAL, "mtu %u is too small for IPv6, which asks for 1280",
                        ret->mtu);
    }
    ret->prefix6 = (uint32_t) prefix;
    return 0;
}

int
ctr_carrier_network(const json_t *config, struct ctr_network *ret, struct ctr_error *err)
{
    const json_t *n = json_object_get(config, "network");
    int64_t mtu = ctr_json_int(n, "mtu", 1500), out_mtu = ctr_json_int(n, "out_mtu", 1500);
    const char *id = ctr_json_str(n, "id", ""), *egress = ctr_json_str(n, "egress", "open");
    struct ctr_network network = {
        .size = sizeof network,
        .mtu = (uint32_t) mtu,
        .out_mtu = (uint32_t) out_mtu,
        .name = ctr_json_str(n, "name", ""),
        .id = id,
        .internal = ctr_json_bool(n, "internal", false) ? 1 : 0,
        .isolated = ctr_json_bool(n, "isolated", false) ? 1 : 0,
        .egress_deny = strcmp(egress, "deny") == 0 ? 1 : 0,
    };
    if (mtu < 576 || mtu > 65535 || out_mtu < 576 || out_mtu > 65535) {
        return ctr_fail(err, -EINVAL, "mtu or out_mtu is not within 576 and 65535");
    }
    if (id[0] != '\0' && (strlen(id) != 64 || !ctr_is_hex(id, 64))) {
        return ctr_fail(err, -EINVAL, "the network's id is not 64 hex digits");
    }
    if (network.egress_deny == 0 && strcmp(egress, "open") != 0) {
        return ctr_fail(err, -EINVAL, "egress \"%.20s\" is neither open nor deny", egress);
    }
    int code = parse_ipv4(n, &network, err);
    code = code != 0 ? code : parse_ipv6(n, &network, err);
    if (code == 0) {
        *ret = network;
    }
    return code;
}
