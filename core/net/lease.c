/*
 * Leases: which address is whose. A record "NETWORK/ADDRESS" = {container} each, so that claiming the record is claiming the
 * address, and what was claimed survives. In memory: a bit per address, and a list per network.
 */
#include "core/net/net-priv.h"

void
ctr_mac_format(uint32_t address, char ret[18])
{
    (void) snprintf(ret, 18, "02:42:%02x:%02x:%02x:%02x", address >> 24, address >> 16 & 255,
                    address >> 8 & 255, address & 255);
}

static void
set_used(struct ctr_network_entry *n, uint32_t offset, bool on)
{
    uint8_t bit = (uint8_t) (1U << (offset % 8));
    n->used[offset / 8] =
        (uint8_t) (on ? n->used[offset / 8] | bit : n->used[offset / 8] & ~bit);
}

static bool
is_used(const struct ctr_network_entry *n, uint32_t offset)
{
    return (n->used[offset / 8] >> (offset % 8) & 1) != 0;
}

static int
remember(struct ctr_network_entry *n, const char *container, uint32_t address)
{
    struct ctr_lease *lease = malloc(sizeof *lease);
    char *copy = strdup(container);
    if (lease == NULL || copy == NULL) {
        free(lease);
        free(copy);
        return -ENOMEM;
    }
    *lease = (struct ctr_lease){.next = n->leases, .container = copy, .address = address};
    n->leases = lease;
    set_used(n, address - n->subnet, true);
    return 0;
}

static char *
key_of(const struct ctr_network_entry *n, uint32_t address)
{
    char dotted[16];
    return ctr_printf("%s/%s", n->name, ctr_ipv4_format(address, dotted));
}

/* One record into memory; one that fits no network is left alone and told. */
static int
load_one(void *arg, const char *key, const json_t *value)
{
    struct ctr_nets *nets = arg;
    const char *slash = strrchr(key, '/');
    const char *container = ctr_json_str(value, "container", "");
    uint32_t address;
    if (slash == NULL || ctr_ipv4_parse(slash + 1, &address) != 0 || *container == '\0') {
        ctr_log(CTR_LEVEL_WARN, "event=lease-record-unusable key=%s", key);
        return 0;
    }
    for (struct ctr_network_entry *n = nets->networks; n != NULL; n = n->next) {
        if (strlen(n->name) == (size_t) (slash - key) &&
            strncmp(n->name, key, (size_t) (slash - key)) == 0 &&
            address - n->subnet < ctr_network_size(n)) {
            return remember(n, container, address);
        }
    }
    ctr_log(CTR_LEVEL_WARN, "event=lease-without-network key=%s", key);
    return 0;
}

int
ctr_leases_load(struct ctr_nets *nets, struct ctr_error *err)
{
    return ctr_record_each(nets->store, "lease", load_one, nets, err);
}

void
ctr_leases_free(struct ctr_network_entry *network)
{
    while (network->leases != NULL) {
        struct ctr_lease *next = network->leases->next;
        free(network->leases->container);
        free(network->leases);
        network->leases = next;
    }
}

static struct ctr_lease **
find(struct ctr_network_entry *n, const char *container)
{
    struct ctr_lease **at = &n->leases;
    while (*at != NULL && strcmp((*at)->container, container) != 0) {
        at = &(*at)->next;
    }
    return at;
}

uint32_t
ctr_lease_find(struct ctr_nets *nets, const struct ctr_network_entry *network,
               const char *container)
{
    (void) pthread_mutex_lock(&nets->mutex);
    const struct ctr_lease *l = network->leases;
    while (l != NULL && strcmp(l->container, container) != 0) {
        l = l->next;
    }
    uint32_t ret = l == NULL ? 0 : l->address;
    (void) pthread_mutex_unlock(&nets->mutex);
    return ret;
}

/* Offset of a free address, from the cursor on; 0 if there is none. The network itself (0), the gateway (1), the way out's
 * address (last but one) and broadcast (last) are never given. */
static uint32_t
next_free(const struct ctr_network_entry *n)
{
    uint32_t first = n->gateway - n->subnet + 1, end = ctr_network_size(n) - 2;
    uint32_t start = n->cursor < first || n->cursor >= end ? first : n->cursor;
    for (uint32_t i = 0; i < end - first; i++) {
        uint32_t offset = first + (start - first + i) % (end - first);
        if (!is_used(n, offset)) {
            return offset;
        }
    }
    return 0;
}

static int
claim(struct ctr_nets *nets, struct ctr_network_entry *n, const char *container,
      uint32_t address, struct ctr_error *err)
{
    CTR_AUTO(free) char *key = key_of(n, address);
    CTR_AUTO(json) json_t *value = json_pack("{s:s}", "container", container);
    if (key == NULL || value == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int code = ctr_record_claim(nets->store, "lease", key, value, err);
    if (code == 0 && remember(n, container, address) != 0) {
        (void) ctr_record_remove(nets->store, "lease", key, NULL);
        code = ctr_fail(err, -ENOMEM, "out of memory");
    }
    return code;
}

static int
give(struct ctr_nets *nets, struct ctr_network_entry *n, const char *container, uint32_t *ret,
     struct ctr_error *err)
{
    uint32_t offset;
    while ((offset = next_free(n)) != 0) {
        int code = claim(nets, n, container, n->subnet + offset, err);
        n->cursor = offset + 1;
        if (code == 0) {
            *ret = n->subnet + offset;
        }
        if (code != -EEXIST) {
            return code;
        }
        set_used(n, offset, true); /* a record that was unknown here */
    }
    char dotted[16];
    return ctr_fail(err, -ENOSPC,
                    "all %u addresses of %s/%d are taken; remove containers that are not "
                    "needed, or give the profile a larger subnet",
                    ctr_network_size(n) - 4, ctr_ipv4_format(n->subnet, dotted), n->prefix);
}

int
ctr_lease_get(struct ctr_nets *nets, struct ctr_network_entry *network, const char *container,
              uint32_t *ret, struct ctr_error *err)
{
    int code = 0;
    (void) pthread_mutex_lock(&nets->mutex);
    const struct ctr_lease *known = *find(network, container);
    if (known != NULL) {
        *ret = known->address;
    } else {
        code = give(nets, network, container, ret, err);
    }
    (void) pthread_mutex_unlock(&nets->mutex);
    return code;
}

int
ctr_lease_drop(struct ctr_nets *nets, struct ctr_network_entry *network, const char *container,
               struct ctr_error *err)
{
    int code = 0;
    (void) pthread_mutex_lock(&nets->mutex);
    struct ctr_lease **at = find(network, container);
    struct ctr_lease *lease = *at;
    if (lease != NULL) {
        CTR_AUTO(free) char *key = key_of(network, lease->address);
        code = key == NULL ? ctr_fail(err, -ENOMEM, "out of memory")
                           : ctr_record_remove(nets->store, "lease", key, err);
    }
    if (lease != NULL && code == 0) {
        *at = lease->next;
        set_used(network, lease->address - network->subnet, false);
        free(lease->container);
        free(lease);
    }
    (void) pthread_mutex_unlock(&nets->mutex);
    return code;
}
