/*
 * The way of questions to the core's resolver: sockets on the resolver's address, bound to the bridge. They have ports of the kernel's choice, to which the
 * rules lead port 53, so that a name server of the host that listens on all addresses is in nobody's way.
 */
#include "bridge-priv.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUESTION 4096 /* larger ones come by TCP */
#define BACKLOG 64

struct br_dns {
    int udp, tcp;
    struct ctr_watch *udp_watch, *tcp_watch;
    uint16_t udp_port, tcp_port;
};

struct question {
    struct br *br;
    struct sockaddr_in from;
};

static void
on_answer(void *arg, const void *bytes, size_t length)
{
    struct question *question = arg;
    const struct br_dns *dns = question->br->dns_server;
    if (length > 0 &&
        dns != NULL) { /* an answer that does not get through is asked for again */
        (void) sendto(dns->udp, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL,
                      (const struct sockaddr *) &question->from, sizeof question->from);
    }
    free(question);
}

static const struct br_port *
port_of(const struct br *br, const struct sockaddr_in *from)
{
    const struct ctr_address address = br_address4(ntohl(from->sin_addr.s_addr));
    return br_find_address(br, &address);
}

static void
on_udp(void *arg, uint32_t events)
{
    struct br *br = arg;
    uint8_t bytes[QUESTION];
    for (int i = 0; i < BR_BATCH; i++) {
        struct sockaddr_in from;
        socklen_t size = sizeof from;
        ssize_t n = recvfrom(br->dns_server->udp, bytes, sizeof bytes, MSG_DONTWAIT,
                             (struct sockaddr *) &from, &size);
        if (n < 0) {
            break;
        }
        const struct br_port *port = port_of(br, &from);
        struct question *question = port == NULL ? NULL : malloc(sizeof *question);
        if (question != NULL) {
            *question = (struct question){.br = br, .from = from};
            br->services->dns_query(br->services->arg, port->id, bytes, (size_t) n, on_answer,
                                    question);
        }
    }
}

static void
on_tcp(void *arg, uint32_t events)
{
    struct br *br = arg;
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    int fd = accept4(br->dns_server->tcp, (struct sockaddr *) &from, &size,
                     SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return;
    }
    const struct br_port *port = port_of(br, &from);
    if (port == NULL) {
        (void) close(fd);
    } else {
        br->services->dns_stream(br->services->arg, port->id, fd);
    }
}

/* A socket on the resolver's address, which the bridge may get later. */
static int
open_socket(const struct br *br, int type, uint16_t *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;
    int on = 1, code = 0, fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    memcpy(&at.sin_addr, br->dns.bytes, sizeof at.sin_addr);
    if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, br->bridge,
                   (socklen_t) strlen(br->bridge)) != 0 ||
        setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *) &at, sizeof at) != 0 ||
        (type == SOCK_STREAM && listen(fd, BACKLOG) != 0) ||
        getsockname(fd, (struct sockaddr *) &at, &size) != 0) {
        code = -errno;
        (void) close(fd);
    }
    *ret_port = ntohs(at.sin_port);
    return code != 0 ? code : fd;
}

int
br_dns_create(struct br *br, struct ctr_error *err)
{
    const struct ctr_host *host = br->host;
    struct br_dns *dns = calloc(1, sizeof *dns);
    if (dns == NULL) {
        return ctr_fail(err, -ENOMEM, "network %s: out of memory", br->name);
    }
    br->dns_server = dns;
    dns->udp = open_socket(br, SOCK_DGRAM, &dns->udp_port);
    dns->tcp = dns->udp < 0 ? dns->udp : open_socket(br, SOCK_STREAM, &dns->tcp_port);
    if (dns->tcp < 0) {
        return ctr_fail(err, dns->tcp, "network %s: no socket for names on %s: %s", br->name,
                        br->bridge, strerror(-dns->tcp));
    }
    dns->udp_watch = host->watch_add(host, dns->udp, CTR_READABLE, on_udp, br);
    dns->tcp_watch = host->watch_add(host, dns->tcp, CTR_READABLE, on_tcp, br);
    return dns->udp_watch != NULL && dns->tcp_watch != NULL
               ? 0
               : ctr_fail(err, -ENOMEM, "network %s: cannot watch its sockets", br->name);
}

void
br_dns_destroy(struct br *br)
{
    struct br_dns *dns = br->dns_server;
    if (dns == NULL) {
        return;
    }
    br->host->watch_remove(dns->udp_watch);
    br->host->watch_remove(dns->tcp_watch);
    if (dns->udp >= 0) {
        (void) close(dns->udp);
    }
    if (dns->tcp >= 0) {
        (void) close(dns->tcp);
    }
    free(dns);
    br->dns_server = NULL;
}

uint16_t
br_dns_udp_port(const struct br *br)
{
    return br->dns_server->udp_port;
}

uint16_t
br_dns_tcp_port(const struct br *br)
{
    return br->dns_server->tcp_port;
}
