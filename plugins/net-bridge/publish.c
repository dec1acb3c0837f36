/*
 * Published ports: an element in one of the maps of the nat chains, and a socket that holds the host's port, so that nobody else takes it and a port that is
 * taken is told at once. Nothing is ever read from that socket: its packets are led on before they get there.
 */
#include "bridge-priv.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct br_published {
    struct br_published *next;
    uint32_t proto;
    struct ctr_address host, address;
    bool any; /* all addresses of the host */
    uint16_t host_port, port;
    int fd;
};

static const char *
protocol(uint32_t proto)
{
    return proto == CTR_PROTO_UDP ? "udp" : "tcp";
}

static struct br_published
describe(const struct ctr_publish *p)
{
    static const uint8_t zero[16];
    bool six = p->address6.family == 6;
    struct br_published ret = {
        .proto = p->proto,
        .host = six ? p->host_address6 : br_address4(p->host_address),
        .address = six ? p->address6 : br_address4(p->address),
        .host_port = p->host_port,
        .port = p->port,
        .fd = -1,
    };
    ret.any = memcmp(ret.host.bytes, zero, sizeof zero) == 0;
    return ret;
}

static int
explain(const struct br_published *p, int code, struct ctr_error *err)
{
    char host[INET6_ADDRSTRLEN];
    (void) br_show(&p->host, host);
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
    default:
        return ctr_fail(err, code, "port %u/%s cannot be published on %s: %s", p->host_port,
                        protocol(p->proto), host, strerror(-code));
    }
}

static int
check(const struct br *br, const struct br_published *p, struct ctr_error *err)
{
    char text[INET6_ADDRSTRLEN];
    if (br->internal) {
        return ctr_fail(err, -EOPNOTSUPP,
                        "the network is internal: it has no way in, so publish no ports");
    }
    if (p->proto != CTR_PROTO_TCP && p->proto != CTR_PROTO_UDP) {
        return ctr_fail(err, -EPROTONOSUPPORT, "only tcp and udp ports can be published");
    }
    if (p->port == 0) {
        return ctr_fail(err, -EINVAL, "port 0 of a container cannot be published");
    }
    if (br_find_address(br, &p->address) == NULL) {
        return ctr_fail(err, -ENOENT, "no container has a port at %s",
                        br_show(&p->address, text));
    }
    if (br->n_published >= BR_PUBLISHED) {
        return ctr_fail(err, -ENOSPC, "the network has %d published ports, no more fit",
                        BR_PUBLISHED);
    }
    return 0;
}

/* --- the host's port --- */

static socklen_t
socket_address(const struct br_published *p, struct sockaddr_storage *ret)
{
    struct sockaddr_in six4 = {.sin_family = AF_INET, .sin_port = htons(p->host_port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(p->host_port)};
    memset(ret, 0, sizeof *ret);
    if (p->host.family == 6) {
        memcpy(&six.sin6_addr, p->host.bytes, sizeof six.sin6_addr);
        memcpy(ret, &six, sizeof six);
        return sizeof six;
    }
    memcpy(&six4.sin_addr, p->host.bytes, sizeof six4.sin_addr);
    memcpy(ret, &six4, sizeof six4);
    return sizeof six4;
}

static int
bind_port(struct br_published *p)
{
    struct sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog filter = {.len = 1, .filter = nothing};
    struct sockaddr_storage at;
    socklen_t size = socket_address(p, &at);
    uint16_t port;
    int on = 1;
    /* sin_port and sin6_port stand at the same place. */
    if (p->host.family == 6 &&
        setsockopt(p->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) {
        return -errno;
    }
    if (setsockopt(p->fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0 ||
        bind(p->fd, (const struct sockaddr *) &at, size) != 0 ||
        getsockname(p->fd, (struct sockaddr *) &at, &size) != 0) {
        return -errno;
    }
    memcpy(&port, (const uint8_t *) &at + offsetof(struct sockaddr_in, sin_port), sizeof port);
    p->host_port = ntohs(port);
    return 0;
}

static int
reserve(struct br_published *p)
{
    int family = p->host.family == 6 ? AF_INET6 : AF_INET;
    int type = p->proto == CTR_PROTO_UDP ? SOCK_DGRAM : SOCK_STREAM;
    p->fd = socket(family, type | SOCK_CLOEXEC, 0);
    if (p->fd < 0) {
        return -errno;
    }
    int code = bind_port(p);
    if (code != 0) {
        (void) close(p->fd);
        p->fd = -1;
    }
    return code;
}

/* --- the rule --- */

static void
add_element(const struct br *br, const struct br_published *p, const char *verb,
            struct br_text *text)
{
    char host[INET6_ADDRSTRLEN], address[INET6_ADDRSTRLEN];
    br_text_add(text, "%s element inet ctr-%s %s%u { %s%s%u . %u : %s . %u }\n", verb, br->hex,
                p->any ? "any" : "at", p->host.family, p->any ? "" : br_show(&p->host, host),
                p->any ? "" : " . ", p->proto, p->host_port, br_show(&p->address, address),
                p->port);
}

static int
lead_on(const struct br *br, const struct br_published *p, struct ctr_error *err)
{
    struct br_text text;
    br_text_init(&text);
    add_element(br, p, "add", &text);
    return br_text_run(br, &text, err);
}

int
br_publish(void *self, struct ctr_publish *publish, struct ctr_error *err)
{
    struct br *br = self;
    struct br_published wanted = describe(publish);
    int code = check(br, &wanted, err);
    if (code != 0) {
        return code;
    }
    struct br_published *p = malloc(sizeof *p);
    if (p == NULL) {
        return ctr_fail(err, -ENOMEM, "port %u: out of memory", publish->host_port);
    }
    *p = wanted;
    code = reserve(p);
    code = code != 0 ? explain(p, code, err) : lead_on(br, p, err);
    if (code != 0) {
        if (p->fd >= 0) {
            (void) close(p->fd);
        }
        free(p);
        return code;
    }
    p->next = br->published;
    br->published = p;
    br->n_published++;
    publish->host_port = p->host_port;
    return 0;
}

/* Takes it from the list; the text gets what takes it from the map. */
static void
take_back(struct br *br, struct br_published **at, struct br_text *text)
{
    struct br_published *p = *at;
    *at = p->next;
    br->n_published--;
    add_element(br, p, "delete", text);
    (void) close(p->fd);
    free(p);
}

static void
run_or_log(const struct br *br, struct br_text *text)
{
    struct ctr_error err = CTR_ERROR_INIT;
    if (br_text_run(br, text, &err) != 0) {
        br->host->log(br->host, CTR_LOG_WARN, err.msg);
    }
}

int
br_unpublish(void *self, const struct ctr_publish *publish, struct ctr_error *err)
{
    struct br *br = self;
    const struct br_published wanted = describe(publish);
    for (struct br_published **at = &br->published; *at != NULL; at = &(*at)->next) {
        const struct br_published *p = *at;
        if (p->proto == wanted.proto && p->host_port == wanted.host_port &&
            br_same(&p->host, &wanted.host) && br_same(&p->address, &wanted.address) &&
            p->port == wanted.port) {
            struct br_text text;
            br_text_init(&text);
            take_back(br, at, &text);
            run_or_log(br, &text);
            return 0;
        }
    }
    return ctr_fail(err, -ENOENT, "port %u/%s is not published", publish->host_port,
                    protocol(publish->proto));
}

void
br_unpublish_all(struct br *br, const struct br_port *port)
{
    struct br_text text;
    if (br->published == NULL) {
        return;
    }
    br_text_init(&text);
    for (struct br_published **at = &br->published; *at != NULL;) {
        const struct ctr_address *address = &(*at)->address;
        if (port == NULL || br_same(address, &port->address) ||
            br_same(address, &port->address6)) {
            take_back(br, at, &text);
        } else {
            at = &(*at)->next;
        }
    }
    run_or_log(br, &text);
}
