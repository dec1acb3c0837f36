/*
 * Reading a named counter of our tables straight from the kernel: the library would list the whole table for it.
 */
#include "bridge-priv.h"
#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

static void
take_packets(void *arg, const uint8_t *bytes, size_t length)
{
    uint64_t packets;
    size_t n = 0;
    const uint8_t *data =
        length < sizeof(struct nfgenmsg)
            ? NULL
            : br_attribute(bytes + sizeof(struct nfgenmsg), length - sizeof(struct nfgenmsg),
                           NFTA_OBJ_DATA, &n);
    const uint8_t *found =
        data == NULL ? NULL : br_attribute(data, n, NFTA_COUNTER_PACKETS, &n);
    if (found != NULL && n == sizeof packets) {
        memcpy(&packets, found, n);
        *(uint64_t *) arg = be64toh(packets);
    }
}

static uint64_t
read_counter(const struct br *br, uint8_t family, char kind, const char *tap)
{
    const struct nfgenmsg header = {.nfgen_family = family, .version = NFNETLINK_V0};
    char table[32], name[32];
    uint64_t packets = 0;
    struct br_message message;
    (void) snprintf(table, sizeof table, "ctr-%s", br->hex);
    (void) snprintf(name, sizeof name, "%c-%s", kind, tap);
    br_message_init(&message, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETOBJ, 0, &header,
                    sizeof header);
    br_message_add(&message, NFTA_OBJ_TABLE, table, strlen(table) + 1);
    br_message_add(&message, NFTA_OBJ_NAME, name, strlen(name) + 1);
    br_message_add32(&message, NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
    (void) br_message_call(br->netfilter, &message, take_packets, &packets);
    return packets;
}

void
br_counters(const struct br_port *port, uint64_t *ret_spoofed, uint64_t *ret_refused)
{
    *ret_spoofed = read_counter(port->br, NFPROTO_NETDEV, 's', port->tap);
    *ret_refused = read_counter(port->br, NFPROTO_INET, 'r', port->tap);
}
