/*
 * What an egress_deny network lets out: addresses, networks and ports, each for a time. See judge.h.
 *
 * A hash table by network, prefix and port; a look-up tries each prefix length that is in use. Rules whose time is over are taken out when room
 * is needed, so that there is no timer.
 */
#include "judge.h"
#include <errno.h>
#include <stdlib.h>

#define BUCKETS 4096
#define MAX_RULES 65536
#define LENGTHS 129

struct rule {
    struct rule *next;
    struct sw_net net;
    uint16_t port;
    uint64_t until_ms; /* 0: for good */
};

struct sw_allowed {
    struct rule *buckets[BUCKETS];
    uint32_t lengths[2][LENGTHS]; /* rules of each prefix length; IPv4, IPv6 */
    size_t n;
};

static bool
is_over(const struct rule *rule, uint64_t now_ms)
{
    return rule->until_ms != 0 && rule->until_ms <= now_ms;
}

static size_t
bucket_of(const struct sw_net *net, uint16_t port)
{
    uint32_t hash = 2166136261U ^ net->prefix ^ (uint32_t) port << 8;
    for (size_t i = 0; i < 16; i++) {
        hash = (hash ^ net->address.bytes[i]) * 16777619U;
    }
    return (hash ^ hash >> 16) % BUCKETS;
}

static struct rule *
find(const struct sw_allowed *allowed, const struct sw_net *net, uint16_t port)
{
    struct rule *r = allowed->buckets[bucket_of(net, port)];
    while (r != NULL && (r->port != port || r->net.prefix != net->prefix ||
                         !sw_same(&r->net.address, &net->address))) {
        r = r->next;
    }
    return r;
}

static uint32_t *
length_of(struct sw_allowed *allowed, const struct sw_net *net)
{
    return &allowed->lengths[net->address.family == 6][net->prefix];
}

static void
sweep(struct sw_allowed *allowed, uint64_t now_ms)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        struct rule **at = &allowed->buckets[i];
        while (*at != NULL) {
            struct rule *r = *at;
            if (!is_over(r, now_ms)) {
                at = &r->next;
                continue;
            }
            *at = r->next;
            (*length_of(allowed, &r->net))--;
            allowed->n--;
            free(r);
        }
    }
}

int
sw_allowed_create(struct sw_allowed **ret, struct ctr_error *err)
{
    struct sw_allowed *allowed = calloc(1, sizeof *allowed);
    if (allowed == NULL) {
        return ctr_fail(err, -ENOMEM, "rules for the way out: out of memory");
    }
    *ret = allowed;
    return 0;
}

void
sw_allowed_destroy(struct sw_allowed *allowed)
{
    for (size_t i = 0; allowed != NULL && i < BUCKETS; i++) {
        while (allowed->buckets[i] != NULL) {
            struct rule *next = allowed->buckets[i]->next;
            free(allowed->buckets[i]);
            allowed->buckets[i] = next;
        }
    }
    free(allowed);
}

int
sw_allowed_add(struct sw_allowed *allowed, const struct sw_net *net, uint16_t port,
               uint64_t until_ms, uint64_t now_ms, struct ctr_error *err)
{
    struct sw_net masked = {.address = sw_masked(&net->address, net->prefix),
                            .prefix = net->prefix};
    struct rule *rule = find(allowed, &masked, port);
    if (rule != NULL) {
        bool longer = rule->until_ms != 0 && (until_ms == 0 || until_ms > rule->until_ms);
        rule->until_ms = longer ? until_ms : rule->until_ms;
        return 0;
    }
    if (allowed->n >= MAX_RULES) {
        sweep(allowed, now_ms);
    }
    rule = allowed->n < MAX_RULES ? malloc(sizeof *rule) : NULL;
    if (rule == NULL) {
        return ctr_fail(err, -ENOSPC, "the network has %zu rules for its way out, no more fit",
                        allowed->n);
    }
    struct rule **bucket = &allowed->buckets[bucket_of(&masked, port)];
    *rule = (struct rule){.next = *bucket, .net = masked, .port = port, .until_ms = until_ms};
    *bucket = rule;
    (*length_of(allowed, &masked))++;
    allowed->n++;
    return 0;
}

bool
sw_allowed_has(const struct sw_allowed *allowed, const struct ctr_address *address,
               uint16_t port, uint64_t now_ms)
{
    const uint32_t *lengths = allowed->lengths[address->family == 6];
    for (uint32_t prefix = 0; prefix < LENGTHS; prefix++) {
        if (lengths[prefix] == 0) {
            continue;
        }
        const struct sw_net net = {.address = sw_masked(address, prefix), .prefix = prefix};
        const struct rule *any = find(allowed, &net, 0);
        const struct rule *one = port == 0 ? NULL : find(allowed, &net, port);
        if ((any != NULL && !is_over(any, now_ms)) || (one != NULL && !is_over(one, now_ms))) {
            return true;
        }
    }
    return false;
}

size_t
sw_allowed_count(const struct sw_allowed *allowed)
{
    return allowed->n;
}
