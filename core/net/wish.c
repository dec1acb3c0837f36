/*
 * What is asked of an endpoint: {"ip","ip6","mac","aliases","mtu"}, each checked by the grammar of --network and against the network.
 */
#include "core/net/net-priv.h"

static int
wish_ipv4(struct ctr_endpoint *e, const json_t *wish, struct ctr_error *err)
{
    const struct ctr_network_entry *n = e->network;
    const char *text = ctr_json_str(wish, "ip", "");
    struct ctr_subnet subnet = ctr_network_subnet(n);
    char shown[64];
    if (*text == '\0') {
        return 0;
    }
    (void) ctr_ipv4_parse(text, &e->address);
    uint32_t offset = e->address - n->subnet;
    if (offset == 0 || offset >= ctr_network_size(n) - 1) {
        return ctr_fail(err, -EINVAL,
                        "address %s is not one for a container in %s of network %s", text,
                        ctr_subnet_format(&subnet, shown), n->name);
    }
    if (e->address == n->gateway || e->address == ctr_network_host(n)) {
        return ctr_fail(err, -EEXIST, "address %s is that of network %s itself", text, n->name);
    }
    return 0;
}

static int
wish_ipv6(struct ctr_endpoint *e, const json_t *wish, struct ctr_error *err)
{
    const struct ctr_network_entry *n = e->network;
    const char *text = ctr_json_str(wish, "ip6", "");
    char shown[64];
    if (*text == '\0') {
        return 0;
    }
    if (n->subnet6.address.family == 0) {
        return ctr_fail(err, -EINVAL, "network %s has no IPv6: create one with --ipv6",
                        n->name);
    }
    (void) ctr_address_parse(text, &e->address6);
    if (ctr_subnet_offset(&n->subnet6, &e->address6) == 0 ||
        !ctr_prefix_has(&n->subnet6.address, n->subnet6.prefix, &e->address6)) {
        return ctr_fail(err, -EINVAL,
                        "address %s is not one for a container in %s of network %s", text,
                        ctr_subnet_format(&n->subnet6, shown), n->name);
    }
    if (memcmp(&e->address6, &n->gateway6, sizeof e->address6) == 0) {
        return ctr_fail(err, -EEXIST, "address %s is that of network %s itself", text, n->name);
    }
    e->own6 = true;
    return 0;
}

/* 02:42 and an address of the subnet belong to that address, 02:fe:00:00:00 to machines' spare interfaces. */
static int
wish_mac(struct ctr_endpoint *e, const json_t *wish, struct ctr_error *err)
{
    const struct ctr_network_entry *n = e->network;
    const char *mac = ctr_json_str(wish, "mac", "");
    unsigned long long all = 0;
    char own[18], *end = (char *) (uintptr_t) mac;
    for (size_t i = 0; i < 6 && *mac != '\0'; i++) {
        all = all << 8 | strtoul(end, &end, 16);
        end += *end == ':';
    }
    bool of_address = all >> 32 == 0x0242 && (uint32_t) all - n->subnet < ctr_network_size(n);
    ctr_mac_format(e->address, own);
    if (ctr_starts_with(mac, "02:fe:00:00:00:") || (of_address && strcmp(own, mac) != 0)) {
        return ctr_fail(err, -EEXIST,
                        "MAC address %s is kept for another interface; choose one that begins "
                        "with 06",
                        mac);
    }
    (void) snprintf(e->mac, sizeof e->mac, "%s", mac);
    return 0;
}

static int
wish_mtu(struct ctr_endpoint *e, const json_t *wish, struct ctr_error *err)
{
    int64_t mtu = ctr_json_int(wish, "mtu", 0);
    int least = e->network->subnet6.address.family != 0 ? 1280 : 576;
    if (mtu != 0 && (mtu < least || mtu > e->network->mtu)) {
        return ctr_fail(err, -ERANGE, "mtu %lld is not within %d and the %d of network %s",
                        (long long) mtu, least, e->network->mtu, e->network->name);
    }
    e->mtu = (int) mtu;
    return 0;
}

/* Checked, and addresses as we write them. */
static int
normalize(const json_t *endpoint, json_t *ret, struct ctr_error *err)
{
    static const char *const keys[] = {"ip", "ip6", "mac"};
    size_t i;
    const json_t *alias;
    for (i = 0; i < CTR_LENGTH(keys); i++) {
        const char *value = ctr_json_str(endpoint, keys[i], "");
        int code = *value == '\0' ? 0 : ctr_network_option_set(ret, keys[i], value, err);
        if (code != 0) {
            return code;
        }
    }
    json_array_foreach(json_object_get(endpoint, "aliases"), i, alias)
    {
        const char *value = json_is_string(alias) ? json_string_value(alias) : "";
        int code = ctr_network_option_set(ret, "alias", value, err);
        if (code != 0) {
            return code;
        }
    }
    return json_object_set_new(ret, "mtu", json_integer(ctr_json_int(endpoint, "mtu", 0)));
}

int
ctr_endpoint_wish(struct ctr_endpoint *e, const json_t *endpoint, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *wish = json_object();
    int code = normalize(endpoint, wish, err);
    const json_t *aliases = json_object_get(wish, "aliases");
    if (code == 0 && aliases != NULL) {
        code = json_array_extend(e->aliases, (json_t *) (uintptr_t) aliases);
    }
    if (ctr_network_is_none(e->network)) {
        return code;
    }
    code = code != 0 ? code : wish_ipv4(e, wish, err);
    code = code != 0 ? code : wish_ipv6(e, wish, err);
    code = code != 0 ? code : wish_mac(e, wish, err);
    return code != 0 ? code : wish_mtu(e, wish, err);
}
