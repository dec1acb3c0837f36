/*
 * Leases: which address is whose. An endpoint is the record "NETWORK/ADDRESS" = {container, name, …}, so that claiming the record is claiming the
 * address, and what was claimed survives. An IPv6 address that was asked for has a record "NETWORK/ADDRESS6" = {container} as well, claimed before
 * and removed after; one that is left without its endpoint is removed at the next start. "none" has "none/CONTAINER".
 *
 * Other IPv6 addresses follow from the IPv4 ones: the same offset in the subnet. In memory there is a bit per address for each family.
 */
#include "core/net/net-priv.h"

void
ctr_mac_format(uint32_t address, char ret[18])
{
    (void) snprintf(ret, 18, "02:42:%02x:%02x:%02x:%02x", address >> 24, address >> 16 & 255,
                    address >> 8 & 255, address & 255);
}

static void
set_bit(uint8_t *bits, uint32_t offset, bool on)
{
    uint8_t bit = (uint8_t) (1U << (offset % 8));
    bits[offset / 8] = (uint8_t) (on ? bits[offset / 8] | bit : bits[offset / 8] & ~bit);
}

static bool
has_bit(const uint8_t *bits, uint32_t offset)
{
    return (bits[offset / 8] >> (offset % 8) & 1) != 0;
}

void
ctr_lease_mark(struct ctr_network_entry *network, uint32_t address, bool on)
{
    set_bit(network->used, address - network->subnet, on);
}

void
ctr_lease_mark6(struct ctr_network_entry *network, const struct ctr_address *address, bool on)
{
    uint32_t offset = ctr_subnet_offset(&network->subnet6, address);
    if (offset < ctr_network_size(network)) {
        set_bit(network->taken6, offset, on);
    }
}

/* Caller frees. */
static char *
key_of(const struct ctr_endpoint *e)
{
    char dotted[16];
    return ctr_network_is_none(e->network)
               ? ctr_printf("%s/%s", e->network->name, e->container)
               : ctr_printf("%s/%s", e->network->name, ctr_ipv4_format(e->address, dotted));
}

static char *
key6_of(const struct ctr_endpoint *e)
{
    char text[CTR_ADDRESS_TEXT];
    return ctr_printf("%s/%s", e->network->name, ctr_address_format(&e->address6, text));
}

/* --- claiming --- */

/* Offset of a free address, from the cursor on; 0 if there is none. */
static uint32_t
next_free(const struct ctr_network_entry *n, bool ipv6)
{
    uint32_t size = ctr_network_size(n);
    for (uint32_t i = 0; i < size; i++) {
        uint32_t offset = (n->cursor + i) % size;
        if (!has_bit(n->used, offset) && !(ipv6 && has_bit(n->taken6, offset))) {
            return offset;
        }
    }
    return 0;
}

/* What follows from the IPv4 address, where nothing else was asked for. */
static void
derive(struct ctr_endpoint *e, bool mac)
{
    struct ctr_network_entry *n = e->network;
    if (!e->own6 && n->subnet6.address.family != 0) {
        e->address6 = ctr_subnet_at(&n->subnet6, e->address - n->subnet);
    }
    if (mac) {
        ctr_mac_format(e->address, e->mac);
    }
    (void) snprintf(e->hardware, sizeof e->hardware, "%s", e->mac);
}

static int
claim_record(struct ctr_nets *nets, const struct ctr_endpoint *e, struct ctr_error *err)
{
    CTR_AUTO(free) char *key = key_of(e);
    CTR_AUTO(json) json_t *record = ctr_endpoint_record(e);
    return key == NULL || record == NULL
               ? ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY)
               : ctr_record_claim(nets->store, "lease", key, record, err);
}

static int
claim_any(struct ctr_nets *nets, struct ctr_endpoint *e, struct ctr_error *err)
{
    struct ctr_network_entry *n = e->network;
    bool mac = e->mac[0] == '\0';
    uint32_t offset;
    char text[64];
    while ((offset = next_free(n, n->subnet6.address.family != 0 && !e->own6)) != 0) {
        e->address = n->subnet + offset;
        derive(e, mac);
        int code = claim_record(nets, e, err);
        if (code != -EEXIST) {
            n->cursor = offset + 1;
            return code;
        }
        ctr_lease_mark(n, e->address, true); /* a record that was unknown here */
    }
    struct ctr_subnet subnet = ctr_network_subnet(n);
    return ctr_fail(err, -ENOSPC,
                    "network %s is full: all %u addresses of %s are taken; remove containers "
                    "that are not needed, or use a network with a larger subnet",
                    n->name, ctr_network_size(n) - 4, ctr_subnet_format(&subnet, text));
}

static int
claim_ipv4(struct ctr_nets *nets, struct ctr_endpoint *e, struct ctr_error *err)
{
    if (e->address == 0 && !ctr_network_is_none(e->network)) {
        return claim_any(nets, e, err);
    }
    derive(e, e->mac[0] == '\0' && e->address != 0);
    return claim_record(nets, e, err);
}

static int
claim_ipv6(struct ctr_nets *nets, const struct ctr_endpoint *e, struct ctr_error *err)
{
    CTR_AUTO(free) char *key = key6_of(e);
    CTR_AUTO(json) json_t *record = json_pack("{s:s}", "container", e->container);
    return key == NULL || record == NULL
               ? ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY)
               : ctr_record_claim(nets->store, "lease", key, record, err);
}

static int
drop_ipv6(struct ctr_nets *nets, const struct ctr_endpoint *e, struct ctr_error *err)
{
    CTR_AUTO(free) char *key = e->own6 ? key6_of(e) : NULL;
    if (!e->own6) {
        return 0;
    }
    return key == NULL ? ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY)
                       : ctr_record_remove(nets->store, "lease", key, err);
}

static void
mark(const struct ctr_endpoint *e, bool on)
{
    if (e->address != 0) {
        ctr_lease_mark(e->network, e->address, on);
    }
    if (e->own6) {
        ctr_lease_mark6(e->network, &e->address6, on);
    }
}

int
ctr_lease_claim(struct ctr_nets *nets, struct ctr_endpoint *endpoint, struct ctr_error *err)
{
    int code = endpoint->own6 ? claim_ipv6(nets, endpoint, err) : 0;
    if (code != 0) {
        return code;
    }
    code = claim_ipv4(nets, endpoint, err);
    if (code != 0) {
        (void) drop_ipv6(nets, endpoint, NULL);
        return code;
    }
    mark(endpoint, true);
    return 0;
}

int
ctr_lease_drop(struct ctr_nets *nets, const struct ctr_endpoint *endpoint,
               struct ctr_error *err)
{
    CTR_AUTO(free) char *key = key_of(endpoint);
    int code = key == NULL ? ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY)
                           : ctr_record_remove(nets->store, "lease", key, err);
    code = code != 0 ? code : drop_ipv6(nets, endpoint, err);
    if (code == 0) {
        mark(endpoint, false);
    }
    return code;
}

int
ctr_lease_update(struct ctr_nets *nets, const struct ctr_endpoint *endpoint,
                 struct ctr_error *err)
{
    CTR_AUTO(free) char *key = key_of(endpoint);
    CTR_AUTO(json) json_t *record = ctr_endpoint_record(endpoint);
    return key == NULL || record == NULL
               ? ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY)
               : ctr_record_put(nets->store, "lease", key, record, err);
}

/* --- loading --- */

/* The network that a key names, and what stands behind it. */
static struct ctr_network_entry *
network_of(const struct ctr_nets *nets, const char *key, const char **ret_rest)
{
    const char *slash = strrchr(key, '/');
    size_t length = slash == NULL ? 0 : (size_t) (slash - key);
    struct ctr_network_entry *n = nets->networks;
    while (n != NULL && (strlen(n->name) != length || strncmp(n->name, key, length) != 0)) {
        n = n->next;
    }
    *ret_rest = slash == NULL ? "" : slash + 1;
    return n;
}

/* What an earlier version did not write has its default. */
static int
fill(struct ctr_endpoint *e, const json_t *value)
{
    const json_t *aliases = json_object_get(value, "aliases");
    const json_t *published = json_object_get(value, "published");
    const char *mac = ctr_json_str(value, "mac", "");
    e->own6 = ctr_json_bool(value, "own6", false) &&
              ctr_address_parse(ctr_json_str(value, "address6", ""), &e->address6) == 0;
    (void) snprintf(e->mac, sizeof e->mac, "%s", mac);
    derive(e, *mac == '\0' && e->address != 0);
    (void) snprintf(e->hardware, sizeof e->hardware, "%s",
                    ctr_json_str(value, "hardware", e->mac));
    e->mtu = (int) ctr_json_int(value, "mtu", 0);
    e->order = ctr_json_int(value, "order", 0);
    if (json_is_array(aliases) &&
        json_array_extend(e->aliases, (json_t *) (uintptr_t) aliases) != 0) {
        return -ENOMEM;
    }
    return json_is_array(published)
               ? json_array_extend(e->published, (json_t *) (uintptr_t) published)
               : 0;
}

static int
load_endpoint(void *arg, const char *key, const json_t *value)
{
    struct ctr_nets *nets = arg;
    const char *rest, *container = ctr_json_str(value, "container", "");
    struct ctr_network_entry *n = network_of(nets, key, &rest);
    struct ctr_address address = {0};
    char name[13];
    if (n == NULL || *container == '\0') {
        ctr_log(CTR_LEVEL_WARN, "event=lease-record-unusable key=%s", key);
        return 0;
    }
    bool parsed = !ctr_network_is_none(n) && ctr_address_parse(rest, &address) == 0;
    if (parsed && address.family == 6) {
        return 0; /* see load_claim */
    }
    uint32_t v4 = ctr_address_ipv4(&address);
    if (!ctr_network_is_none(n) && v4 - n->subnet >= ctr_network_size(n)) {
        ctr_log(CTR_LEVEL_WARN, "event=lease-record-unusable key=%s", key);
        return 0;
    }
    (void) snprintf(name, sizeof name, "%.12s", container);
    struct ctr_endpoint *e =
        ctr_endpoint_create(n, container, ctr_json_str(value, "name", name));
    if (e == NULL) {
        return -ENOMEM;
    }
    e->address = v4;
    if (fill(e, value) != 0) {
        ctr_endpoint_free(e);
        return -ENOMEM;
    }
    mark(e, true);
    ctr_endpoint_insert(nets, e);
    return 0;
}

/* A claim of an IPv6 address whose endpoint was never written, or has gone: a crash came between. */
static int
load_claim(void *arg, const char *key, const json_t *value)
{
    struct ctr_nets *nets = arg;
    const char *rest;
    struct ctr_address address;
    const struct ctr_network_entry *n = network_of(nets, key, &rest);
    if (n == NULL || ctr_address_parse(rest, &address) != 0 || address.family != 6) {
        return 0;
    }
    const struct ctr_endpoint *e =
        ctr_endpoint_find(nets, n, ctr_json_str(value, "container", ""));
    if (e != NULL && e->own6 && memcmp(&e->address6, &address, sizeof address) == 0) {
        return 0;
    }
    return ctr_record_remove(nets->store, "lease", key, NULL);
}

int
ctr_leases_load(struct ctr_nets *nets, struct ctr_error *err)
{
    int code = ctr_record_each(nets->store, "lease", load_endpoint, nets, err);
    return code != 0 ? code : ctr_record_each(nets->store, "lease", load_claim, nets, err);
}
