/*
 * The rules: tables inet ctr-HEX (forward, input, nat) and netdev ctr-HEX (one chain at the ingress of each tap).
 *
 * What comes from the bridge to the host itself is closed but for DNS, pings of the gateway, and the host's loopback at network.host for ports with
 * CTR_PORT_HOST. What goes on is let through unless it leads to a closed address, another network of ours, or where an egress_deny network
 * may not go. Into the bridge comes what was published, and answers. A tap lets in what its port may send.
 *
 * The inet table is replaced as a whole in one transaction when ctr-net is started again; the chains of taps stay meanwhile.
 */
#include "bridge-priv.h"

#define CLOSED4                                                                                \
    "0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 100.100.100.200, 168.63.129.16, 192.0.0.192, "    \
    "224.0.0.0/4, 240.0.0.0/4"
#define CLOSED6 "::/127, ::ffff:0:0/96, fe80::/10, ff00::/8, fd00:ec2::254, fd20:ce::254"

static void
add_sets(struct br_text *text)
{
    br_text_add(
        text,
        "set hosts { type ipv4_addr; }\n"
        "set address4 { type ipv4_addr; flags timeout; size %d; }\n"
        "set address6 { type ipv6_addr; flags timeout; size %d; }\n"
        "set service4 { type ipv4_addr . inet_service; flags timeout; size %d; }\n"
        "set service6 { type ipv6_addr . inet_service; flags timeout; size %d; }\n"
        "map refused4 { type ipv4_addr : counter; }\n"
        "map refused6 { type ipv6_addr : counter; }\n"
        "map any4 { type inet_proto . inet_service : ipv4_addr . inet_service; }\n"
        "map any6 { type inet_proto . inet_service : ipv6_addr . inet_service; }\n"
        "map at4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }\n"
        "map at6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }\n",
        BR_RULES, BR_RULES, BR_RULES, BR_RULES);
}

static void
add_nat(const struct br *br, struct br_text *text)
{
    char dns[INET6_ADDRSTRLEN], host[INET6_ADDRSTRLEN], gateway[INET6_ADDRSTRLEN];
    (void) br_show(&br->dns, dns);
    (void) br_show(&br->host_address, host);
    (void) br_show(&br->gateway, gateway);
    br_text_add(text,
                "chain early { type filter hook prerouting priority -310;\n"
                " iifname %s ip daddr 127.0.0.0/8 drop\n}\n",
                br->bridge);
    br_text_add(text,
                "chain publish {\n"
                " dnat ip to ip daddr . meta l4proto . th dport map @at4\n"
                " dnat ip6 to ip6 daddr . meta l4proto . th dport map @at6\n"
                " fib daddr type local dnat ip to meta l4proto . th dport map @any4\n"
                " fib daddr type local dnat ip6 to meta l4proto . th dport map @any6\n}\n");
    br_text_add(text,
                "chain arrive { type nat hook prerouting priority -105;\n"
                " iifname %s ip daddr %s udp dport 53 dnat ip to %s:%u\n"
                " iifname %s ip daddr %s tcp dport 53 dnat ip to %s:%u\n",
                br->bridge, dns, dns, br_dns_udp_port(br), br->bridge, dns, dns,
                br_dns_tcp_port(br));
    if (br->host_address.family == 4) {
        br_text_add(text,
                    " iifname %s ip saddr @hosts ip daddr %s meta l4proto { 6, 17 } dnat ip "
                    "to 127.0.0.1\n",
                    br->bridge, host);
    }
    br_text_add(
        text,
        " iifgroup != %u jump publish\n}\n"
        "chain local { type nat hook output priority -105;\n ip6 daddr != ::1 jump publish\n"
        " meta nfproto ipv4 jump publish\n}\n",
        BR_GROUP);
    /* The kernel takes no answer for ::1 from a bridge: there the socket that holds the port refuses at once. */
    /* A client on the host's loopback is seen as the gateway. */
    br_text_add(text,
                "chain leave { type nat hook postrouting priority 95;\n"
                " oifname %s ip saddr 127.0.0.0/8 snat ip to %s\n",
                br->bridge, gateway);
    if (!br->internal) {
        br_text_add(text, " ip saddr %s/%u oifname != %s masquerade\n",
                    br_show(&br->subnet, host), br->prefix, br->bridge);
    }
    if (!br->internal && br->subnet6.family == 6) {
        br_text_add(text, " ip6 saddr %s/%u oifname != %s masquerade\n",
                    br_show(&br->subnet6, host), br->prefix6, br->bridge);
    }
    br_text_add(text, "}\n");
}

static void
add_input(const struct br *br, struct br_text *text)
{
    char address[INET6_ADDRSTRLEN];
    br_text_add(text, "chain refuse {\n"
                      " counter name ip saddr map @refused4\n"
                      " counter name ip6 saddr map @refused6\n"
                      " reject with icmpx admin-prohibited\n}\n");
    br_text_add(text,
                "chain input { type filter hook input priority -5;\n"
                " iifname %s jump host\n}\n"
                "chain host {\n"
                " ct state established,related accept\n"
                " ip saddr @hosts ip daddr 127.0.0.1 ct status dnat accept\n",
                br->bridge);
    (void) br_show(&br->dns, address);
    br_text_add(text,
                " ip daddr %s udp dport %u accept\n"
                " ip daddr %s tcp dport %u accept\n",
                address, br_dns_udp_port(br), address, br_dns_tcp_port(br));
    br_text_add(text, " ip daddr %s icmp type echo-request accept\n",
                br_show(&br->gateway, address));
    if (br->gateway6.family == 6) {
        br_text_add(text,
                    " ip6 daddr %s icmpv6 type echo-request accept\n"
                    " icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n",
                    br_show(&br->gateway6, address));
    }
    br_text_add(text, " fib daddr type { broadcast, multicast, anycast } drop\n"
                      " jump refuse\n}\n");
}

/* What a machine sends to anything but the host, in the order of the questions. */
static void
add_out(const struct br *br, struct br_text *text)
{
    br_text_add(text, "chain ranges {\n}\nchain out {\n oifname %s %s\n", br->bridge,
                br->isolated ? "drop" : "accept");
    if (!br->internal) {
        br_text_add(text,
                    " ct state established,related accept\n"
                    " oifgroup %u jump refuse\n"
                    " ip daddr { " CLOSED4 " } jump refuse\n"
                    " ip6 daddr { " CLOSED6 " } jump refuse\n",
                    BR_GROUP);
        br_text_add(text,
                    " tcp flags syn tcp option maxseg size set rt mtu\n"
                    " ip version 4 tcp flags syn tcp option maxseg size set %u\n"
                    " ip6 version 6 tcp flags syn tcp option maxseg size set %u\n",
                    br->out_mtu - 40, br->out_mtu - 60);
    }
    if (!br->internal && br->egress_deny) {
        br_text_add(text,
                    " ip daddr @address4 accept\n"
                    " ip6 daddr @address6 accept\n"
                    " meta l4proto { 6, 17 } ip daddr . th dport @service4 accept\n"
                    " meta l4proto { 6, 17 } ip6 daddr . th dport @service6 accept\n"
                    " jump ranges\n"
                    " limit rate 100/second burst 200 packets log group %u snaplen 96\n",
                    br_nflog_group(br));
    }
    br_text_add(text, " %s\n}\n", br->internal || br->egress_deny ? "jump refuse" : "accept");
}

static void
add_forward(const struct br *br, struct br_text *text)
{
    add_out(br, text);
    br_text_add(text, "chain in {\n"
                      " ct state established,related accept\n");
    if (!br->internal) {
        br_text_add(text,
                    " iifgroup != %u ct status dnat tcp flags syn tcp option maxseg size set "
                    "rt mtu\n"
                    " iifgroup != %u ct status dnat accept\n",
                    BR_GROUP, BR_GROUP);
    }
    br_text_add(text,
                " drop\n}\n"
                "chain forward { type filter hook forward priority -5;\n"
                " iifname %s jump out\n"
                " oifname %s jump in\n}\n",
                br->bridge, br->bridge);
}

int
br_rules_create(struct br *br, struct ctr_error *err)
{
    struct br_text text;
    br_text_init(&text);
    br_text_add(&text,
                "delete table inet ctr-%s\n"
                "table inet ctr-%s {\n",
                br->hex, br->hex);
    add_sets(&text);
    add_nat(br, &text);
    add_input(br, &text);
    add_forward(br, &text);
    br_text_add(&text, "}\n");
    return br_text_run(br, &text, err);
}

void
br_rules_destroy(const struct br *br)
{
    struct br_text text;
    br_text_init(&text);
    br_text_add(&text, "delete table inet ctr-%s\ndelete table netdev ctr-%s\n", br->hex,
                br->hex);
    (void) br_text_run(br, &text, NULL);
}

/* --- one port --- */

static void
show_hex(const uint8_t bytes[16], char text[35])
{
    (void) snprintf(text, 35, "0x");
    for (int i = 0; i < 16; i++) {
        (void) snprintf(text + 2 + i * 2, 3, "%02x", bytes[i]);
    }
}

/* The address that the machine makes itself from its MAC: fe80::…ff:fe… */
static struct ctr_address
link_local(const uint8_t mac[6])
{
    return (struct ctr_address){.family = 6,
                                .bytes = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2, mac[1],
                                          mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]}};
}

/* IPv6: no router's or DHCP server's words, and neighbour discovery about its own addresses alone (the target stands after 8 bytes). */
static void
add_ingress6(const struct br_port *port, struct br_text *text)
{
    struct ctr_address local = link_local(port->mac);
    char own[INET6_ADDRSTRLEN], link[INET6_ADDRSTRLEN], own_hex[35], link_hex[35];
    show_hex(port->address6.bytes, own_hex);
    show_hex(local.bytes, link_hex);
    br_text_add(text, " ip6 nexthdr 0 ip6 saddr :: drop\n");
    br_text_add(text,
                " icmpv6 type { nd-router-advert, nd-redirect, mld-listener-query } counter "
                "name s-%s drop\n"
                " icmpv6 type nd-router-solicit drop\n"
                " icmpv6 type nd-neighbor-advert @th,64,128 != { %s, %s } counter name s-%s "
                "drop\n"
                " ip6 saddr :: icmpv6 type nd-neighbor-solicit @th,64,128 { %s, %s } accept\n"
                " ip6 saddr { %s, %s } accept\n",
                port->tap, own_hex, link_hex, port->tap, own_hex, link_hex,
                br_show(&port->address6, own), br_show(&local, link));
}

static void
add_ingress(const struct br_port *port, struct br_text *text)
{
    char mac[18], own[INET6_ADDRSTRLEN];
    const uint8_t *m = port->mac;
    (void) snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
                    m[4], m[5]);
    (void) br_show(&port->address, own);
    br_text_add(text,
                "chain p-%s { type filter hook ingress device %s priority 0; policy drop;\n"
                " ether saddr != %s counter name s-%s drop\n"
                " ether type != { ip, arp, ip6 } drop\n"
                " udp sport { 67, 547 } counter name s-%s drop\n"
                " arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation { request, "
                "reply } arp saddr ether %s arp saddr ip %s accept\n"
                " ip saddr %s accept\n",
                port->tap, port->tap, mac, port->tap, port->tap, mac, own, own);
    if (port->address6.family == 6) {
        add_ingress6(port, text);
    } else {
        br_text_add(text, " ether type ip6 drop\n");
    }
    br_text_add(text, " counter name s-%s drop\n}\n", port->tap);
}

/* The refusals of the port's addresses are counted in r-TAP. */
static void
add_counters(const struct br_port *port, const char *verb, struct br_text *text)
{
    char own[INET6_ADDRSTRLEN];
    br_text_add(text, "%s element inet ctr-%s refused4 { %s : r-%s }\n", verb, port->br->hex,
                br_show(&port->address, own), port->tap);
    if (port->address6.family == 6) {
        br_text_add(text, "%s element inet ctr-%s refused6 { %s : r-%s }\n", verb,
                    port->br->hex, br_show(&port->address6, own), port->tap);
    }
    if ((port->flags & CTR_PORT_HOST) != 0) {
        br_text_add(text, "%s element inet ctr-%s hosts { %s }\n", verb, port->br->hex,
                    br_show(&port->address, own));
    }
}

int
br_rules_attach(const struct br_port *port, struct ctr_error *err)
{
    const char *hex = port->br->hex;
    struct br_text text;
    br_text_init(&text);
    br_text_add(&text, "table netdev ctr-%s {\n counter s-%s {\n }\n chain p-%s {\n }\n}\n",
                hex, port->tap, port->tap);
    br_text_add(&text, "delete chain netdev ctr-%s p-%s\n", hex, port->tap);
    br_text_add(&text, "table netdev ctr-%s {\n", hex);
    add_ingress(port, &text);
    br_text_add(&text, "}\nadd counter inet ctr-%s r-%s\n", hex, port->tap);
    add_counters(port, "add", &text);
    return br_text_run(port->br, &text, err);
}

void
br_rules_detach(const struct br_port *port)
{
    const char *hex = port->br->hex;
    struct br_text text;
    br_text_init(&text);
    /* The kernel removes a chain with its tap: adding it first makes sure that there is one. */
    br_text_add(&text, "table netdev ctr-%s {\n chain p-%s {\n }\n}\n", hex, port->tap);
    br_text_add(&text, "delete chain netdev ctr-%s p-%s\n", hex, port->tap);
    br_text_add(&text, "delete counter netdev ctr-%s s-%s\n", hex, port->tap);
    add_counters(port, "delete", &text);
    br_text_add(&text, "delete counter inet ctr-%s r-%s\n", hex, port->tap);
    struct ctr_error err = CTR_ERROR_INIT;
    if (br_text_run(port->br, &text, &err) != 0) {
        port->br->host->log(port->br->host, CTR_LOG_WARN, err.msg);
    }
}
