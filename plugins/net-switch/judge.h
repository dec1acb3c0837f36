/*
 * Whether a guest's packet may go out: what is closed for all, and what an egress_deny network lets through.
 */
#ifndef CTR_SWITCH_JUDGE_H
#define CTR_SWITCH_JUDGE_H

#include "ether.h"
#include <ctr/error.h>

struct sw_allowed;

/* What the way out needs to know of its network. */
struct sw_rules {
    struct sw_net net, net6; /* family 0: no IPv6 */
    struct ctr_address gateway, gateway6, dns, host;
    uint32_t out_mtu;
    bool internal; /* nothing goes out */
    const struct sw_net *
        closed; /* the host's own addresses, and networks behind it that are not for this one */
    size_t n_closed;
    const uint16_t *host_ports; /* of the host, open to all */
    size_t n_host_ports;
    struct sw_allowed *allowed; /* NULL: all that is not closed */
};

enum sw_verdict {
    SW_PASS,
    SW_DROP,    /* silently */
    SW_REFUSE,  /* with an ICMP error */
    SW_TOO_BIG, /* likewise */
};

/* `host`: the port may reach the host's own services at rules->host. */
enum sw_verdict sw_judge(const struct sw_frame *frame, const struct sw_rules *rules, bool host,
                         uint64_t now_ms);

/* An address at which the network itself answers. */
bool sw_is_own(const struct sw_rules *rules, const struct ctr_address *address);

/* --- allowed.c: a set of rules, each with its end --- */
int sw_allowed_create(struct sw_allowed **ret, struct ctr_error *err);
void sw_allowed_destroy(struct sw_allowed *allowed); /* takes NULL */
/* Adds or prolongs one; `until_ms` 0: for good. port 0: any. */
int sw_allowed_add(struct sw_allowed *allowed, const struct sw_net *net, uint16_t port,
                   uint64_t until_ms, uint64_t now_ms, struct ctr_error *err);
bool sw_allowed_has(const struct sw_allowed *allowed, const struct ctr_address *address,
                    uint16_t port, uint64_t now_ms);
size_t sw_allowed_count(const struct sw_allowed *allowed);

#endif
