/*
 * The plugin's face: options, and how a network comes up and goes.
 *
 * It comes up closed: the bridge carries nothing before the rules are there. What an earlier ctr-net of the same network left running is
 * taken over as it is, so that its machines' connections go on.
 */
#include "bridge-priv.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <stdlib.h>
#include <unistd.h>

#define MIN_MTU 576
#define MIN_MTU6 1280
#define MAX_MTU 65520

static const struct ctr_option options[] = {
    {
        .size = sizeof(struct ctr_option),
        .type = CTR_OPTION_CHOICE,
        .name = "firewall",
        .def = "check",
        .choices = "check|ignore",
        .help = "what to do about a firewall of the host that drops by default",
    },
};

static void
br_close(void *self)
{
    struct br *br = self;
    if (br == NULL) {
        return;
    }
    br_detach_all(br);
    br_unpublish_all(br, NULL);
    if (br->index != 0) {
        (void) br_link_delete(br, br->index);
    }
    if (br->made) {
        br_rules_destroy(br);
    }
    br_dns_destroy(br);
    br_nflog_destroy(br);
    br_egress_destroy(br);
    br_opener_stop(br);
    if (br->netlink >= 0) {
        (void) close(br->netlink);
    }
    if (br->netfilter >= 0) {
        (void) close(br->netfilter);
    }
    if (br->lock >= 0) {
        (void) close(br->lock);
    }
    if (br->nft != NULL) {
        nft_ctx_free(br->nft);
    }
    free(br->frame);
    free(br);
}

static int
br_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    struct br *br = calloc(1, sizeof *br);
    if (br == NULL) {
        return ctr_fail(err, -ENOMEM, "bridge: out of memory");
    }
    *br = (struct br){.host = host, .lock = -1, .netlink = -1, .netfilter = -1, .opener = -1};
    *ret_self = br;
    return 0;
}

static uint32_t
br_port_kinds(void *self)
{
    return CTR_PORT_TAP | CTR_PORT_DGRAM;
}

/* --- create --- */

static int
check_network(const struct ctr_network *n, struct ctr_error *err)
{
    if (n->id == NULL || strspn(n->id, "0123456789abcdef") < BR_HEX || n->services == NULL) {
        return ctr_fail(err, -EINVAL, "network %s: it has no ID of hex digits", n->name);
    }
    uint32_t mask = n->prefix < 1 || n->prefix > 30 ? 0 : 0xffffffffU << (32 - n->prefix);
    if (mask == 0 || (n->subnet & ~mask) != 0 || (n->gateway & mask) != n->subnet ||
        (n->dns & mask) != n->subnet ||
        (n->subnet6.family == 6 && (n->gateway6.family != 6 || n->prefix6 < 1))) {
        return ctr_fail(err, -EINVAL,
                        "network %s: subnet, gateway and resolver do not fit together",
                        n->name);
    }
    uint32_t least = n->subnet6.family == 6 ? MIN_MTU6 : MIN_MTU;
    if (n->mtu < least || n->mtu > MAX_MTU) {
        return ctr_fail(err, -ERANGE, "network %s: mtu %u is not within %u and %d", n->name,
                        n->mtu, least, MAX_MTU);
    }
    return 0;
}

static void
take_network(struct br *br, const struct ctr_network *n)
{
    br->services = n->services;
    (void) snprintf(br->name, sizeof br->name, "%s", n->name);
    (void) snprintf(br->hex, sizeof br->hex, "%.*s", BR_HEX, n->id);
    (void) snprintf(br->bridge, sizeof br->bridge, "ctr%s", br->hex);
    br->subnet = br_address4(n->subnet);
    br->gateway = br_address4(n->gateway);
    br->dns = br_address4(n->dns);
    br->host_address = n->host == 0 ? (struct ctr_address){0} : br_address4(n->host);
    br->prefix = n->prefix;
    br->subnet6 = n->subnet6;
    br->gateway6 = n->subnet6.family == 6 ? n->gateway6 : (struct ctr_address){0};
    br->prefix6 = n->prefix6;
    br->mtu = n->mtu;
    br->out_mtu = n->out_mtu >= MIN_MTU && n->out_mtu < n->mtu ? n->out_mtu : n->mtu;
    br->internal = n->internal != 0;
    br->isolated = n->isolated != 0;
    br->egress_deny = n->egress_deny != 0 && !br->internal;
}

static int
open_tools(struct br *br, struct ctr_error *err)
{
    br->frame = malloc(BR_FRAME);
    br->nft = nft_ctx_new(NFT_CTX_DEFAULT);
    if (br->frame == NULL || br->nft == NULL) {
        return ctr_fail(err, -ENOMEM, "network %s: out of memory", br->name);
    }
    (void) nft_ctx_buffer_output(br->nft);
    (void) nft_ctx_buffer_error(br->nft);
    nft_ctx_output_set_flags(br->nft, NFT_CTX_OUTPUT_NUMERIC_PROTO);
    br->netlink = br_netlink_open(NETLINK_ROUTE);
    br->netfilter = br_netlink_open(NETLINK_NETFILTER);
    int code = br->netlink < 0 ? br->netlink : br->netfilter < 0 ? br->netfilter : 0;
    return code == 0
               ? 0
               : ctr_fail(err, code, "network %s: netlink: %s", br->name, strerror(-code));
}

/* The empty tables first: by them a bridge is found that we leave behind. */
static int
make_tables(const struct br *br, struct ctr_error *err)
{
    struct br_text text;
    br_text_init(&text);
    br_text_add(&text, "table netdev ctr-%s {\n}\ntable inet ctr-%s {\n}\n", br->hex, br->hex);
    return br_text_run(br, &text, err);
}

/* The bridge's own settings; those of the host's other interfaces are not touched. */
static int
set_bridge(struct br *br)
{
    bool six = br->gateway6.family == 6;
    /* 127.0.0.1 leads into the bridge for published ports, and out of it for network.host; the rules close all else of it. */
    int code = br_link_sysctl(br->bridge, "ipv4", "route_localnet", 1);
    code = code != 0 ? code : br_link_sysctl(br->bridge, "ipv4", "arp_ignore", 1);
    code = code != 0 ? code : br_link_sysctl(br->bridge, "ipv4", "send_redirects", 0);
    code = code != 0 ? code : br_link_sysctl(br->bridge, "ipv4", "accept_redirects", 0);
    /* A host without IPv6 has none of these. */
    int code6 = br_link_sysctl(br->bridge, "ipv6", "disable_ipv6", six ? 0 : 1);
    if (six) {
        code6 = code6 != 0 ? code6 : br_link_sysctl(br->bridge, "ipv6", "accept_ra", 0);
        code6 = code6 != 0 ? code6 : br_link_sysctl(br->bridge, "ipv6", "accept_dad", 0);
        code = code != 0 ? code : code6;
    }
    return code;
}

static int
set_addresses(struct br *br)
{
    int code = br_link_address(br, &br->gateway, br->prefix);
    if (code == 0 && !br_same(&br->dns, &br->gateway)) {
        code = br_link_address(br, &br->dns, 32);
    }
    if (code == 0 && br->host_address.family == 4) {
        code = br_link_address(br, &br->host_address, 32);
    }
    if (code == 0 && br->gateway6.family == 6) {
        code = br_link_address(br, &br->gateway6, br->prefix6);
    }
    return code == 0 ? br_link_up(br, br->index, true) : code;
}

static int
make(struct br *br, struct ctr_error *err)
{
    int code = make_tables(br, err);
    if (code != 0) {
        return code;
    }
    code = br_link_bridge(br);
    code = code != 0 ? code : set_bridge(br);
    if (code != 0) {
        return ctr_fail(err, code, "network %s: bridge %s: %s", br->name, br->bridge,
                        strerror(-code));
    }
    code = br_dns_create(br, err);
    if (code == 0 && br->egress_deny) {
        code = br_egress_create(br, err);
        code = code != 0 ? code : br_nflog_create(br, err);
    }
    code = code != 0 ? code : br_rules_create(br, err);
    if (code != 0) {
        return code;
    }
    code = set_addresses(br);
    return code == 0 ? 0
                     : ctr_fail(err, code, "network %s: bridge %s: addresses: %s", br->name,
                                br->bridge, strerror(-code));
}

static int
br_create(void *self, const struct ctr_network *network, struct ctr_error *err)
{
    struct br *br = self;
    int code = br_check_rights(err);
    code = code != 0 ? code : check_network(network, err);
    if (code != 0) {
        return code;
    }
    take_network(br, network);
    code = open_tools(br, err);
    code = code != 0 ? code : br_lock(br, err);
    code = code != 0 ? code : br_check_host(br, err);
    code = code != 0 ? code : br_opener_start(br, err);
    if (code != 0) {
        return code;
    }
    br_sweep(br);
    br->made = true;
    return make(br, err);
}

static const struct ctr_net_ops ops = {
    .size = sizeof ops,
    .open = br_open,
    .close = br_close,
    .port_kinds = br_port_kinds,
    .create = br_create,
    .attach = br_attach,
    .detach = br_detach,
    .publish = br_publish,
    .unpublish = br_unpublish,
    .stats = br_stats,
    .allow = br_allow,
    .capture = br_capture,
};

CTR_PLUGIN(CTR_KIND_NET, "bridge", CTR_VERSION,
           "a bridge, taps and nftables rules of the Linux kernel; needs root or CAP_NET_ADMIN",
           options, &ops);
