/*
 * netspec.c: the JSON of a network into numbers. A member of the wrong type, an address that is none, a prefix or an MTU out of
 * range and a second interface of the same hardware are errors that name the interface; nothing is set up before all was read.
 */
#include "netspec.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define MTU_LEAST 68
#define MTU_MOST 65535
#define METRIC_STEP 100 /* of several default routes the first interface's is taken */

struct reader {
    const json_t *json;
    size_t index;
    struct fault *fault;
};

static int
wrong(const struct reader *reader, const char *key, const char *expected)
{
    return fault_set(reader->fault, "EINVAL", "network interface %zu: \"%s\" must be %s",
                     reader->index, key, expected);
}

/* A text member; "" if it is not there. NULL: it is something else. */
static const char *
text_of(const struct reader *reader, const char *key)
{
    const json_t *value = json_object_get(reader->json, key);
    return value == NULL || json_is_null(value) ? "" : json_string_value(value);
}

static int
parse_mac(const char *text, uint8_t ret[6])
{
    unsigned bytes[6];
    int end = 0;
    if (strlen(text) != 17 ||
        sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &bytes[0], &bytes[1], &bytes[2], &bytes[3],
               &bytes[4], &bytes[5], &end) != 6 ||
        end != 17) {
        return -1;
    }
    for (int i = 0; i < 6; i++) {
        ret[i] = (uint8_t) bytes[i];
    }
    return (ret[0] & 1) == 0 ? 0 : -1;
}

static int
read_macs(const struct reader *reader, struct net_link *link)
{
    const char *mac = text_of(reader, "mac"), *hardware = text_of(reader, "hardware");
    if (mac == NULL || parse_mac(mac, link->mac) < 0) {
        return wrong(reader, "mac", "the address of one interface, like 02:42:0a:58:00:02");
    }
    if (hardware == NULL || parse_mac(*hardware == '\0' ? mac : hardware, link->hardware) < 0) {
        return wrong(reader, "hardware", "like mac, or absent");
    }
    return 0;
}

static int
read_number(const struct reader *reader, const char *key, json_int_t least, json_int_t most,
            uint32_t *ret)
{
    const json_t *value = json_object_get(reader->json, key);
    json_int_t number = json_integer_value(value);
    if (value != NULL &&
        (!json_is_integer(value) || number > most || (number < least && number != 0))) {
        char expected[64];
        (void) snprintf(expected, sizeof expected, "0, or a number from %d to %d", (int) least,
                        (int) most);
        return wrong(reader, key, expected);
    }
    *ret = (uint32_t) number;
    return 0;
}

static int
read_address(const struct reader *reader, int family, const char *key, const char *prefix_key,
             struct net_address *ret)
{
    const char *text = text_of(reader, key);
    uint32_t prefix = 0;
    if (text == NULL || (*text != '\0' && inet_pton(family, text, ret->bytes) != 1)) {
        return wrong(reader, key,
                     family == AF_INET ? "an IPv4 address or absent"
                                       : "an IPv6 address or absent");
    }
    if (*text != '\0' && prefix_key != NULL &&
        read_number(reader, prefix_key, 0, family == AF_INET ? 32 : 128, &prefix) < 0) {
        return -1;
    }
    ret->prefix = (uint8_t) prefix;
    ret->is_set = *text != '\0';
    return 0;
}

static int
read_interface(const struct reader *reader, struct net_interface *ret)
{
    struct net_link *link = &ret->link;
    struct net_route *route = &ret->route;
    if (!json_is_object(reader->json)) {
        return fault_set(reader->fault, "EINVAL", "network interface %zu is no object",
                         reader->index);
    }
    if (read_macs(reader, link) < 0 ||
        read_number(reader, "mtu", MTU_LEAST, MTU_MOST, &link->mtu) < 0 ||
        read_number(reader, "out_mtu", MTU_LEAST, MTU_MOST, &route->mtu) < 0 ||
        read_address(reader, AF_INET, "address", "prefix", &link->address) < 0 ||
        read_address(reader, AF_INET6, "address6", "prefix6", &link->address6) < 0 ||
        read_address(reader, AF_INET, "gateway", NULL, &route->gateway) < 0 ||
        read_address(reader, AF_INET6, "gateway6", NULL, &route->gateway6) < 0) {
        return -1;
    }
    if (route->mtu == link->mtu) {
        route->mtu = 0;
    }
    route->metric = (uint32_t) reader->index * METRIC_STEP;
    return 0;
}

static bool
is_known(const struct net_spec *spec, const uint8_t hardware[6])
{
    for (size_t i = 0; i < spec->n; i++) {
        if (memcmp(spec->interfaces[i].link.hardware, hardware, 6) == 0) {
            return true;
        }
    }
    return false;
}

int
netspec_parse(const json_t *network, struct net_spec *ret, struct fault *fault)
{
    const json_t *list = json_object_get(network, "interfaces"), *json;
    size_t i;
    memset(ret, 0, sizeof *ret);
    if ((network != NULL && !json_is_object(network)) ||
        (list != NULL && !json_is_array(list)) || json_array_size(list) > NET_INTERFACES_MAX) {
        return fault_set(fault, "EINVAL", "the network is no object with at most %d interfaces",
                         NET_INTERFACES_MAX);
    }
    json_array_foreach(list, i, json)
    {
        struct reader reader = {.json = json, .index = i, .fault = fault};
        struct net_interface *interface = &ret->interfaces[i];
        if (read_interface(&reader, interface) < 0) {
            return -1;
        }
        if (is_known(ret, interface->link.hardware)) {
            return wrong(&reader, "hardware", "another one than that of an earlier interface");
        }
        ret->n++;
    }
    return 0;
}
