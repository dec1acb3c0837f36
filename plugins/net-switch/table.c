/*
 * The ports of a network by name, number, MAC and address. The core says who a port is, so the tables are exact from the start.
 */
#include "switch-priv.h"

static size_t
mac_bucket(const uint8_t mac[6])
{
    return (mac[5] ^ mac[4] * 31U) % SW_BUCKETS;
}

static size_t
address_bucket(const struct ctr_address *address)
{
    size_t last = address->family == 6 ? 15 : 3;
    return (address->bytes[last] ^ address->bytes[last - 1] * 31U) % SW_BUCKETS;
}

struct sw_port *
sw_find_id(const struct sw *sw, const char *id)
{
    struct sw_port *p = sw->ports;
    while (p != NULL && strcmp(p->id, id) != 0) {
        p = p->next;
    }
    return p;
}

struct sw_port *
sw_find_serial(const struct sw *sw, uint64_t serial)
{
    struct sw_port *p = sw->ports;
    while (p != NULL && p->serial != serial) {
        p = p->next;
    }
    return p;
}

struct sw_port *
sw_find_mac(const struct sw *sw, const uint8_t mac[6])
{
    struct sw_port *p = sw->by_mac[mac_bucket(mac)];
    while (p != NULL && memcmp(p->who.mac, mac, 6) != 0) {
        p = p->next_by_mac;
    }
    return p;
}

/* fe80::, with a MAC in it as sw_link_local writes it. */
static struct sw_port *
find_link_local(const struct sw *sw, const struct ctr_address *address)
{
    const uint8_t *b = address->bytes;
    const uint8_t mac[6] = {b[8] ^ 2, b[9], b[10], b[13], b[14], b[15]};
    struct sw_port *port = sw_find_mac(sw, mac);
    return port != NULL && sw_same(&port->who.link_local, address) ? port : NULL;
}

struct sw_port *
sw_find_address(const struct sw *sw, const struct ctr_address *address)
{
    if (address->family == 6 && address->bytes[0] == 0xfe) {
        return find_link_local(sw, address);
    }
    const struct sw_key *k = sw->by_address[address_bucket(address)];
    while (k != NULL && !sw_same(&k->address, address)) {
        k = k->next;
    }
    return k == NULL ? NULL : k->port;
}

static void
link_address(struct sw *sw, struct sw_key *key)
{
    if (key->address.family != 0) {
        struct sw_key **at = &sw->by_address[address_bucket(&key->address)];
        key->next = *at;
        *at = key;
    }
}

void
sw_link(struct sw *sw, struct sw_port *port)
{
    struct sw_port **mac = &sw->by_mac[mac_bucket(port->who.mac)];
    port->next = sw->ports;
    sw->ports = port;
    port->next_by_mac = *mac;
    *mac = port;
    port->keys[0] = (struct sw_key){.port = port, .address = port->who.address};
    port->keys[1] = (struct sw_key){.port = port, .address = port->who.address6};
    link_address(sw, &port->keys[0]);
    link_address(sw, &port->keys[1]);
}

static void
unlink_address(struct sw *sw, const struct sw_key *key)
{
    if (key->address.family != 0) {
        struct sw_key **at = &sw->by_address[address_bucket(&key->address)];
        while (*at != key) {
            at = &(*at)->next;
        }
        *at = key->next;
    }
}

void
sw_unlink(struct sw *sw, struct sw_port *port)
{
    struct sw_port **at = &sw->ports;
    while (*at != port) {
        at = &(*at)->next;
    }
    *at = port->next;
    for (at = &sw->by_mac[mac_bucket(port->who.mac)]; *at != port;) {
        at = &(*at)->next_by_mac;
    }
    *at = port->next_by_mac;
    unlink_address(sw, &port->keys[0]);
    unlink_address(sw, &port->keys[1]);
}
