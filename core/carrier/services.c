/*
 * What the plugin may call (struct ctr_net_services) and what the resolver asks: the glue between plugin, resolver, egress policy and
 * captures. All of it is safe to call for as long as the plugin is open, the time of its close included.
 */
#include "core/carrier/carrier-priv.h"

static void
dns_query(void *arg, const char *port, const void *bytes, size_t length,
          void (*answer)(void *answer_arg, const void *bytes, size_t length), void *answer_arg)
{
    struct ctr_carrier *c = arg;
    if (c->dns == NULL) { /* it is ending */
        answer(answer_arg, NULL, 0);
        return;
    }
    ctr_dns_query(c->dns, port, bytes, length, answer, answer_arg);
}

static void
dns_stream(void *arg, const char *port, int32_t take_fd)
{
    struct ctr_carrier *c = arg;
    if (c->dns == NULL) {
        (void) close(take_fd);
        return;
    }
    ctr_dns_stream(c->dns, port, take_fd);
}

static const char *
proto_name(uint32_t proto, char text[12])
{
    switch (proto) {
    case CTR_PROTO_TCP:
        return "tcp";
    case CTR_PROTO_UDP:
        return "udp";
    case CTR_PROTO_ICMP:
        return "icmp";
    case CTR_PROTO_ICMPV6:
        return "icmpv6";
    default:
        (void) snprintf(text, 12, "%u", proto);
        return text;
    }
}

static void
refused(void *arg, const char *port, uint32_t proto, const struct ctr_address *address,
        uint16_t target_port)
{
    struct ctr_carrier *c = arg;
    char text[12];
    const char *name = c->policy == NULL ? "" : ctr_policy_name(c->policy, address);
    ctr_refusals_add(c->refusals, port, proto_name(proto, text), address, target_port, name);
}

static void
frame(void *arg, const char *port, uint32_t from_vm, const void *bytes, size_t length)
{
    struct ctr_carrier *c = arg;
    ctr_captures_frame(&c->captures, port, bytes, length, ctr_now_ns());
}

void
ctr_carrier_services(struct ctr_carrier *c)
{
    c->services = (struct ctr_net_services){
        .size = sizeof c->services,
        .arg = c,
        .dns_query = dns_query,
        .dns_stream = dns_stream,
        .refused = refused,
        .frame = frame,
    };
}

static bool
may_ask(void *arg, const char *port, const char *name)
{
    struct ctr_carrier *c = arg;
    if (c->policy == NULL || ctr_policy_may_ask(c->policy, name)) {
        return true;
    }
    ctr_refusals_add(c->refusals, port, "dns", &(struct ctr_address){0}, 53, name);
    return false;
}

static void
resolved(void *arg, const char *port, const char *name, const struct ctr_address *addresses,
         size_t n, uint32_t ttl)
{
    struct ctr_carrier *c = arg;
    if (c->policy != NULL) {
        ctr_policy_resolved(c->policy, name, addresses, n, ttl, ctr_monotonic_ns());
    }
}

struct ctr_dns_hooks
ctr_carrier_dns_hooks(struct ctr_carrier *c)
{
    return (struct ctr_dns_hooks){.arg = c, .may_ask = may_ask, .resolved = resolved};
}
