/*
 * core/dns: the resolver that containers ask. In ctr-net, one per network, on the loop's thread.
 *
 * It answers A, AAAA and PTR for the names of the zone that ctrd sends, and asks the host's resolvers for all others. Packets are taken apart and made by
 * ldns (RFC 1035, EDNS RFC 6891, TCP RFC 7766); every byte from a container and from a resolver is hostile. Names are compared without regard to case.
 */
#ifndef CTR_CORE_DNS_H
#define CTR_CORE_DNS_H

#include "core/loop/loop.h"
#include <ctr/net.h>

struct ctr_dns;

struct ctr_dns_hooks {
    void *arg;
    /* May the port's container ask the outside for this name (lower case, no dot at its end)? false: REFUSED. NULL: it may. */
    bool (*may_ask)(void *arg, const char *port, const char *name);
    /* An answer from outside, before the container gets it: the name that was asked for leads to these addresses (CNAMEs followed within
     * the answer) for `ttl` seconds. NULL: nobody wants to know. */
    void (*resolved)(void *arg, const char *port, const char *name,
                     const struct ctr_address *addresses, size_t n, uint32_t ttl);
};

/* `resolv_conf`: the host's file with resolvers, usually /etc/resolv.conf, looked at again when it has changed; copied. */
int
ctr_dns_create(struct ctr_loop *loop, const char *resolv_conf,
               const struct ctr_dns_hooks *hooks, struct ctr_dns **ret, struct ctr_error *err);
/* Every open question is answered with nothing first. Takes NULL. */
void ctr_dns_destroy(struct ctr_dns *dns);

/* A prefix of the network's own: the names of its addresses are never asked outside. At most 8 (-ENOSPC). */
int ctr_dns_add_prefix(struct ctr_dns *dns, const struct ctr_address *prefix, int length,
                       struct ctr_error *err);

/* Replaces all names:
 *   {"hosts":[{"name":"web","addresses":["10.88.0.2","fd00::2"]},…],          for every port; one name may stand in several entries: all are answered, in turn
 *    "ports":{ID:{"hosts":[…],"elsewhere":[…],"dns":["192.0.2.1"],"forward":true},…}}
 * hosts of a port: for it alone, before the network's (--add-host); elsewhere: for it alone, after the network's (its other networks). The first that knows a name has it,
 * for all types. dns: ask these instead of the host's ("192.0.2.1", with a port "192.0.2.1:5353", "[::1]:53"). forward false (an internal network): other names are REFUSED.
 * A port that is not named asks nothing: REFUSED. Names that DNS cannot say (a label over 63 characters, two dots in a row) are left out. The name of an address is
 * the first one that is told for it. On failure the old names stay. */
int ctr_dns_set_zone(struct ctr_dns *dns, const json_t *zone, struct ctr_error *err);

/* One question by UDP; as ctr_net_services.dns_query. Longer answers than the client takes have TC set. */
void ctr_dns_query(struct ctr_dns *dns, const char *port, const void *bytes, size_t length,
                   void (*answer)(void *answer_arg, const void *bytes, size_t length),
                   void *answer_arg);
/* A connection over TCP; as ctr_net_services.dns_stream. Bounded in number for each port and in idle time. */
void ctr_dns_stream(struct ctr_dns *dns, const char *port, int take_fd);
/* {"queries","local","forwarded","refused","failed"}; new reference. */
json_t *ctr_dns_stats(const struct ctr_dns *dns);

#endif
