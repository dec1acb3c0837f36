/*
 * Published ports: a list of what the host listens on for containers. TCP is the uplink's, UDP is udp.c's.
 */
#include "switch-priv.h"
#include <errno.h>
#include <stdlib.h>

#define PROTO_SCTP 132

/* What a request names, in either of its two forms. */
struct ends {
    struct ctr_address host, container;
};

static struct ends
ends_of(const struct ctr_publish *p)
{
    bool six = p->host_address6.family == 6 || p->address6.family == 6;
    return (struct ends){
        .host = six ? p->host_address6 : sw_ipv4(p->host_address),
        .container = six ? p->address6 : sw_ipv4(p->address),
    };
}

static int
explain(const struct ctr_publish *p, int code, const char *why, struct ctr_error *err)
{
    char host[SW_ADDRESS_TEXT];
    const struct ends ends = ends_of(p);
    const char *proto = p->proto == CTR_PROTO_UDP ? "udp" : "tcp";
    (void) sw_show(&ends.host, host);
    switch (code) {
    case -EADDRINUSE:
        return ctr_fail(err, code,
                        "port %u is already in use on %s; stop what listens there (ss -lnp "
                        "shows it) or publish another port",
                        p->host_port, host);
    case -EACCES:
        return ctr_fail(err, code,
                        "port %u on %s is for privileged users; publish one from 1024 on",
                        p->host_port, host);
    case -EADDRNOTAVAIL:
        return ctr_fail(err, code,
                        "port %u cannot be published on %s: the host has no such address",
                        p->host_port, host);
    case -EAFNOSUPPORT:
        return ctr_fail(err, code, "port %u cannot be published on %s: the host has no IPv6",
                        p->host_port, host);
    default:
        return ctr_fail(err, code, "port %u/%s cannot be published on %s: %s", p->host_port,
                        proto, host, *why != '\0' ? why : strerror(-code));
    }
}

static int
check(const struct sw *sw, const struct ctr_publish *p, const struct ends *ends,
      struct ctr_error *err)
{
    char host[SW_ADDRESS_TEXT], text[SW_ADDRESS_TEXT];
    if (sw->rules.internal) {
        return ctr_fail(err, -EOPNOTSUPP,
                        "the network is internal: it has no way in, so publish no ports");
    }
    if (p->proto == PROTO_SCTP) {
        return ctr_fail(err, -EPROTONOSUPPORT,
                        "sctp ports cannot be published here; publish tcp or udp");
    }
    if (p->proto != CTR_PROTO_TCP && p->proto != CTR_PROTO_UDP) {
        return ctr_fail(err, -EPROTONOSUPPORT, "only tcp and udp ports can be published");
    }
    if (ends->host.family != ends->container.family) {
        return ctr_fail(
            err, -EAFNOSUPPORT,
            "port %u cannot be published on %s: the container has no IPv6 address; give "
            "its network one (--ipv6) or publish on an IPv4 address",
            p->host_port, sw_show(&p->host_address6, host));
    }
    if (p->port == 0) {
        return ctr_fail(err, -EINVAL, "port 0 of a container cannot be published");
    }
    if (sw_find_address(sw, &ends->container) == NULL) {
        return ctr_fail(err, -ENOENT, "no container has a port at %s",
                        sw_show(&ends->container, text));
    }
    if (sw->n_published >= SW_PUBLISHED) {
        return ctr_fail(err, -ENOSPC, "the network has %d published ports, no more fit",
                        SW_PUBLISHED);
    }
    return 0;
}

int
sw_publish(struct sw *sw, struct ctr_publish *publish, struct ctr_error *err)
{
    const struct ends ends = ends_of(publish);
    int code = check(sw, publish, &ends, err);
    if (code != 0) {
        return code;
    }
    struct sw_published *p = malloc(sizeof *p);
    if (p == NULL) {
        return ctr_fail(err, -ENOMEM, "port %u: out of memory", publish->host_port);
    }
    *p = (struct sw_published){
        .sw = sw,
        .proto = publish->proto,
        .host_address = ends.host,
        .address = ends.container,
        .host_port = publish->host_port,
        .port = publish->port,
        .fd = -1,
    };
    struct ctr_error why = CTR_ERROR_INIT;
    code = p->proto == CTR_PROTO_UDP ? sw_udp_open(p) : sw_uplink_listen(sw->uplink, p, &why);
    if (code != 0) {
        free(p);
        return explain(publish, code, why.msg, err);
    }
    publish->host_port = p->host_port;
    p->next = sw->published;
    sw->published = p;
    sw->n_published++;
    return 0;
}

/* Takes one out of the list and ends it. */
static void
take_back(struct sw *sw, struct sw_published **at)
{
    struct sw_published *p = *at;
    *at = p->next;
    sw->n_published--;
    if (p->proto == CTR_PROTO_UDP) {
        sw_udp_close(p);
    } else {
        sw_uplink_unlisten(sw->uplink, p);
    }
    free(p);
}

int
sw_unpublish(struct sw *sw, const struct ctr_publish *publish, struct ctr_error *err)
{
    char host[SW_ADDRESS_TEXT];
    const struct ends ends = ends_of(publish);
    for (struct sw_published **at = &sw->published; *at != NULL; at = &(*at)->next) {
        const struct sw_published *p = *at;
        if (p->proto == publish->proto && p->host_port == publish->host_port &&
            sw_same(&p->host_address, &ends.host) && sw_same(&p->address, &ends.container)) {
            take_back(sw, at);
            return 0;
        }
    }
    return ctr_fail(err, -ENOENT, "port %u is not published on %s", publish->host_port,
                    sw_show(&ends.host, host));
}

void
sw_unpublish_all(struct sw *sw, const struct ctr_address *address)
{
    struct sw_published **at = &sw->published;
    while (*at != NULL) {
        if (address == NULL || sw_same(&(*at)->address, address)) {
            take_back(sw, at);
        } else {
            at = &(*at)->next;
        }
    }
}
