/*
 * What an egress_deny network refuses, as the kernel logs it: the rule's NFLOG group sends each packet's head to a netlink socket of ours, at most a hundred
 * in a second. Nothing is polled.
 */
#include "bridge-priv.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SNAP 96
#define FIRST_GROUP 4096 /* small ones are in use by hand-written rules */
#define GROUP_TRIES 64

struct br_nflog {
    int fd;
    uint16_t group;
    struct ctr_watch *watch;
};

/* --- packets --- */

/* Where the packet wants to go, and who sent it. */
struct packet {
    struct ctr_address from, to;
    uint32_t proto;
    uint16_t port;
};

static bool
parse(const uint8_t *bytes, size_t n, struct packet *ret)
{
    size_t head = 0;
    *ret = (struct packet){0};
    if (n >= 20 && bytes[0] >> 4 == 4) {
        head = (size_t) (bytes[0] & 15) * 4;
        ret->from.family = ret->to.family = 4;
        memcpy(ret->from.bytes, bytes + 12, 4);
        memcpy(ret->to.bytes, bytes + 16, 4);
        ret->proto = bytes[9];
    } else if (n >= 40 && bytes[0] >> 4 == 6) {
        head = 40;
        ret->from.family = ret->to.family = 6;
        memcpy(ret->from.bytes, bytes + 8, 16);
        memcpy(ret->to.bytes, bytes + 24, 16);
        ret->proto = bytes[6];
    }
    bool ports = ret->proto == CTR_PROTO_TCP || ret->proto == CTR_PROTO_UDP;
    if (ports && head + 4 <= n) {
        ret->port = (uint16_t) (bytes[head + 2] << 8 | bytes[head + 3]);
    }
    return head >= 20;
}

static void
tell(const struct br *br, const uint8_t *bytes, size_t length)
{
    struct packet packet;
    size_t n = 0;
    const uint8_t *payload =
        length < sizeof(struct nfgenmsg)
            ? NULL
            : br_attribute(bytes + sizeof(struct nfgenmsg), length - sizeof(struct nfgenmsg),
                           NFULA_PAYLOAD, &n);
    if (payload == NULL || !parse(payload, n, &packet)) {
        return;
    }
    const struct br_port *port = br_find_address(br, &packet.from);
    if (port != NULL) {
        br->services->refused(br->services->arg, port->id, packet.proto, &packet.to,
                              packet.port);
    }
}

static void
on_packets(void *arg, uint32_t events)
{
    const struct br *br = arg;
    uint8_t bytes[16384] __attribute__((aligned(8)));
    ssize_t n = recv(br->nflog->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    for (size_t at = 0; n > 0 && at + NLMSG_HDRLEN <= (size_t) n;) {
        struct nlmsghdr header;
        memcpy(&header, bytes + at, sizeof header);
        if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > (size_t) n - at) {
            break;
        }
        if (header.nlmsg_type == (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET)) {
            tell(br, bytes + at + NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN);
        }
        at += NLMSG_ALIGN(header.nlmsg_len);
    }
}

/* --- the group --- */

static int
configure(int fd, uint16_t group, uint16_t attribute, const void *value, size_t n)
{
    const struct nfgenmsg header = {
        .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(group)};
    struct br_message message;
    br_message_init(&message, NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG, 0, &header,
                    sizeof header);
    br_message_add(&message, attribute, value, n);
    return br_message_call(fd, &message, NULL, NULL);
}

static int
take_group(int fd, uint16_t group)
{
    const struct nfulnl_msg_config_cmd bind = {.command = NFULNL_CFG_CMD_BIND};
    const struct nfulnl_msg_config_mode mode = {.copy_range = htonl(SNAP),
                                                .copy_mode = NFULNL_COPY_PACKET};
    uint32_t at_once = htonl(1);
    int code = configure(fd, group, NFULA_CFG_CMD, &bind, sizeof bind);
    code = code != 0 ? code : configure(fd, group, NFULA_CFG_MODE, &mode, sizeof mode);
    return code != 0 ? code : configure(fd, group, NFULA_CFG_QTHRESH, &at_once, sizeof at_once);
}

int
br_nflog_create(struct br *br, struct ctr_error *err)
{
    struct br_nflog *log = calloc(1, sizeof *log);
    if (log == NULL) {
        return ctr_fail(err, -ENOMEM, "network %s: out of memory", br->name);
    }
    br->nflog = log;
    log->fd = br_netlink_open(NETLINK_NETFILTER);
    uint32_t start = (uint32_t) strtoul(br->hex + 4, NULL, 16); /* its last 8 digits */
    int code = log->fd < 0 ? log->fd : -EBUSY;
    for (uint32_t i = 0; i < GROUP_TRIES && code == -EBUSY; i++) {
        log->group = (uint16_t) (FIRST_GROUP + (start + i) % (UINT16_MAX - FIRST_GROUP));
        code = take_group(log->fd, log->group);
    }
    if (code != 0) {
        return ctr_fail(err, code,
                        "network %s: refused packets cannot be watched: %s; load the module "
                        "(modprobe nfnetlink_log)",
                        br->name, strerror(-code));
    }
    log->watch = br->host->watch_add(br->host, log->fd, CTR_READABLE, on_packets, br);
    return log->watch != NULL
               ? 0
               : ctr_fail(err, -ENOMEM, "network %s: cannot be watched", br->name);
}

void
br_nflog_destroy(struct br *br)
{
    if (br->nflog != NULL) {
        br->host->watch_remove(br->nflog->watch);
        if (br->nflog->fd >= 0) {
            (void) close(br->nflog->fd);
        }
        free(br->nflog);
        br->nflog = NULL;
    }
}

uint16_t
br_nflog_group(const struct br *br)
{
    return br->nflog->group;
}
