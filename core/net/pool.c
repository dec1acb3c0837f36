/*
 * Subnets: their text, and choosing one that overlaps no route of the host and no other network.
 *
 * IPv4 comes from the profile's pools, cut into /24. IPv6 is a /64 of a random unique local /48 (RFC 4193) that the store keeps as record ("ula", "prefix").
 */
#include "core/net/net-priv.h"

#define CUT 24

struct ctr_address
ctr_address_of_ipv4(uint32_t address)
{
    return (struct ctr_address){
        .family = 4,
        .bytes = {(uint8_t) (address >> 24), (uint8_t) (address >> 16),
                  (uint8_t) (address >> 8), (uint8_t) address},
    };
}

struct ctr_subnet
ctr_network_subnet(const struct ctr_network_entry *network)
{
    if (network->prefix == 0) {
        return (struct ctr_subnet){0};
    }
    return (struct ctr_subnet){ctr_address_of_ipv4(network->subnet), network->prefix};
}

struct ctr_address
ctr_subnet_at(const struct ctr_subnet *subnet, uint32_t offset)
{
    struct ctr_address address = subnet->address;
    size_t last = address.family == 4 ? 3 : 15;
    for (size_t i = 0; i < 4; i++) {
        address.bytes[last - i] |= (uint8_t) (offset >> (8 * i));
    }
    return address;
}

uint32_t
ctr_subnet_offset(const struct ctr_subnet *subnet, const struct ctr_address *address)
{
    size_t bytes = address->family == 4 ? 4 : 16;
    uint64_t offset = 0;
    if (!ctr_prefix_has(&subnet->address, subnet->prefix, address)) {
        return UINT32_MAX;
    }
    for (size_t i = 0; i < bytes; i++) {
        offset = offset << 8 | (uint8_t) (address->bytes[i] ^ subnet->address.bytes[i]);
        if (offset >= UINT32_MAX) {
            return UINT32_MAX;
        }
    }
    return (uint32_t) offset;
}

const char *
ctr_subnet_format(const struct ctr_subnet *subnet, char ret[64])
{
    char text[CTR_ADDRESS_TEXT];
    ret[0] = '\0';
    if (subnet->address.family != 0) {
        (void) snprintf(ret, 64, "%s/%d", ctr_address_format(&subnet->address, text),
                        subnet->prefix);
    }
    return ret;
}

/* Sets the bits behind the prefix to 0; true if one was not. */
static bool
cut_tail(struct ctr_subnet *subnet)
{
    bool had = false;
    for (int i = subnet->prefix; i < (subnet->address.family == 4 ? 32 : 128); i++) {
        uint8_t bit = (uint8_t) (0x80 >> (i % 8));
        had |= (subnet->address.bytes[i / 8] & bit) != 0;
        subnet->address.bytes[i / 8] &= (uint8_t) ~bit;
    }
    return had;
}

int
ctr_subnet_parse(const char *text, uint32_t family, struct ctr_subnet *ret,
                 struct ctr_error *err)
{
    struct ctr_subnet subnet;
    char right[64];
    int least = family == 4 ? 8 : 16, most = family == 4 ? 29 : 120;
    if (strchr(text, '/') == NULL ||
        ctr_prefix_parse(text, &subnet.address, &subnet.prefix) != 0 ||
        subnet.address.family != family || subnet.prefix < least || subnet.prefix > most) {
        return ctr_fail(err, -EINVAL,
                        "subnet \"%.60s\" is not one: want an IPv%u address and a prefix from "
                        "%d to %d, as in %s",
                        text, (unsigned) family, least, most,
                        family == 4 ? "10.88.0.0/16" : "fd00:88::/64");
    }
    if (cut_tail(&subnet)) {
        return ctr_fail(err, -EINVAL,
                        "subnet \"%.60s\" has bits set behind its prefix: want %s", text,
                        ctr_subnet_format(&subnet, right));
    }
    *ret = subnet;
    return 0;
}

/* --- overlaps --- */

static bool
overlap(const struct ctr_subnet *a, const struct ctr_subnet *b)
{
    return ctr_prefix_has(&a->address, a->prefix < b->prefix ? a->prefix : b->prefix,
                          &b->address);
}

/* The network that shares an address with the subnet; NULL if none does. */
static const struct ctr_network_entry *
overlapping(const struct ctr_nets *nets, const struct ctr_subnet *subnet)
{
    for (const struct ctr_network_entry *n = nets->networks; n != NULL; n = n->next) {
        struct ctr_subnet v4 = ctr_network_subnet(n);
        if (overlap(&v4, subnet) || overlap(&n->subnet6, subnet)) {
            return n;
        }
    }
    return NULL;
}

static bool
is_free(const struct ctr_nets *nets, const struct ctr_subnet *subnet,
        const struct ctr_routes *routes)
{
    for (size_t i = 0; i < routes->n; i++) {
        if (overlap(&routes->list[i], subnet)) {
            return false;
        }
    }
    return overlapping(nets, subnet) == NULL;
}

/* --- IPv4 --- */

/* The first free part of one pool; false if there is none. */
static bool
cut_pool(const struct ctr_nets *nets, const struct ctr_subnet *pool,
         const struct ctr_routes *routes, struct ctr_subnet *ret)
{
    uint32_t n = pool->prefix >= CUT ? 1 : UINT32_C(1) << (CUT - pool->prefix);
    for (uint32_t i = 0; i < n; i++) {
        struct ctr_subnet part = {.address = ctr_subnet_at(pool, i << (32 - CUT)),
                                  .prefix = pool->prefix > CUT ? pool->prefix : CUT};
        if (is_free(nets, &part, routes)) {
            *ret = part;
            return true;
        }
    }
    return false;
}

static int
choose(const struct ctr_nets *nets, const struct ctr_routes *routes, struct ctr_subnet *ret,
       struct ctr_error *err)
{
    CTR_AUTO(free) char *pools = strdup(nets->conf->engine.subnets);
    char *rest = NULL;
    if (pools == NULL) {
        return ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    for (char *text = strtok_r(pools, ", ", &rest); text != NULL;
         text = strtok_r(NULL, ", ", &rest)) {
        struct ctr_subnet pool;
        int code = ctr_subnet_parse(text, 4, &pool, err);
        if (code != 0) {
            return code;
        }
        if (cut_pool(nets, &pool, routes, ret)) {
            return 0;
        }
    }
    return ctr_fail(err, -ENOSPC,
                    "no subnet is left in %s that neither another network nor a route of the "
                    "host uses; give one with --subnet, or more of them as subnets in [engine]",
                    nets->conf->engine.subnets);
}

static int
choose_ipv4(const struct ctr_nets *nets, struct ctr_network_entry *n,
            const struct ctr_routes *routes, struct ctr_error *err)
{
    struct ctr_subnet subnet;
    bool usual = strcmp(n->name, CTR_NET_DEFAULT) == 0 &&
                 ctr_subnet_parse(nets->conf->engine.subnet, 4, &subnet, err) == 0 &&
                 is_free(nets, &subnet, routes);
    int code = usual ? 0 : choose(nets, routes, &subnet, err);
    if (code == 0) {
        n->subnet = ctr_address_ipv4(&subnet.address);
        n->prefix = subnet.prefix;
    }
    return code;
}

/* --- IPv6 --- */

/* The /48 of this data root, made at first use. */
static int
local_prefix(const struct ctr_nets *nets, struct ctr_subnet *ret, struct ctr_error *err)
{
    struct ctr_subnet made = {.address = {.family = 6, .bytes = {0xfd}}, .prefix = 48};
    struct ctr_error why = CTR_ERROR_INIT;
    char text[64];
    CTR_AUTO(json) json_t *known = ctr_record_get(nets->store, "ula", "prefix", &why);
    if (known != NULL) {
        return ctr_subnet_parse(ctr_json_str(known, "prefix", ""), 6, ret, err);
    }
    if (why.code != -ENOENT || ctr_random(made.address.bytes + 1, 5) != 0) {
        return ctr_fail(err, why.code, "IPv6 prefix: %s", why.msg);
    }
    CTR_AUTO(json)
    json_t *record = json_pack("{s:s}", "prefix", ctr_subnet_format(&made, text));
    if (record == NULL) {
        return ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY);
    }
    *ret = made;
    return ctr_record_claim(nets->store, "ula", "prefix", record, err);
}

static int
choose_ipv6(const struct ctr_nets *nets, struct ctr_network_entry *n,
            const struct ctr_routes *routes, struct ctr_error *err)
{
    struct ctr_subnet local = {0};
    int code = local_prefix(nets, &local, err);
    for (unsigned i = 0; code == 0 && i < 65536; i++) {
        struct ctr_subnet part = {local.address, 64};
        part.address.bytes[6] = (uint8_t) (i >> 8);
        part.address.bytes[7] = (uint8_t) i;
        if (is_free(nets, &part, routes)) {
            n->subnet6 = part;
            return 0;
        }
    }
    return code != 0 ? code
                     : ctr_fail(err, -ENOSPC, "no IPv6 subnet is left; give one with --subnet");
}

static int
check_taken(const struct ctr_nets *nets, const struct ctr_subnet *subnet, struct ctr_error *err)
{
    char text[64];
    const struct ctr_network_entry *other = overlapping(nets, subnet);
    return other == NULL ? 0
                         : ctr_fail(err, -EEXIST, "subnet %s overlaps that of network %s",
                                    ctr_subnet_format(subnet, text), other->name);
}

int
ctr_subnets_choose(struct ctr_nets *nets, struct ctr_network_entry *network, bool ipv6,
                   const struct ctr_routes *routes, struct ctr_error *err)
{
    struct ctr_subnet v4 = ctr_network_subnet(network);
    bool given = v4.prefix != 0, given6 = network->subnet6.prefix != 0;
    int code = given ? check_taken(nets, &v4, err) : choose_ipv4(nets, network, routes, err);
    if (code == 0 && given6) {
        code = check_taken(nets, &network->subnet6, err);
    } else if (code == 0 && ipv6) {
        code = choose_ipv6(nets, network, routes, err);
    }
    if (code == 0 && given6 && 128 - network->subnet6.prefix < 32 - network->prefix) {
        return ctr_fail(err, -EINVAL,
                        "the IPv6 subnet of network %s is smaller than its IPv4 one",
                        network->name);
    }
    return code;
}
