/*
 * Published UDP ports.
 *
 * libslirp would let a container send from such a port to the host's loopback, so they are done here: a container
 * may answer those who wrote to it of late, and nobody else. A client on the host itself is seen as the host's address on the network (the gateway's, by IPv6),
 * any other by its own. The answer leaves from the address that the client wrote to. Answers must fit one frame.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* struct in6_pktinfo */
#endif
#include "switch-priv.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif
#ifndef IP_PKTINFO
#define IP_PKTINFO IP_RECVPKTINFO
#endif

#define CLIENT_MS (4 * 60 * 1000)

union control {
    struct cmsghdr align;
    char space[CMSG_SPACE(sizeof(struct in_pktinfo)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* The entry of this client, or the one that was not used for the longest time. */
static struct sw_client *
find_client(struct sw_published *p, const struct ctr_address *seen, uint16_t port,
            bool *ret_found)
{
    struct sw_client *oldest = &p->clients[0];
    for (size_t i = 0; i < SW_CLIENTS; i++) {
        struct sw_client *c = &p->clients[i];
        if (c->used_ms != 0 && c->port == port && sw_same(&c->seen, seen)) {
            *ret_found = true;
            return c;
        }
        oldest = c->used_ms < oldest->used_ms ? c : oldest;
    }
    *ret_found = false;
    return oldest;
}

static bool
is_hidden(const struct sw_rules *r, const struct ctr_address *address)
{
    return sw_is_closed(address) ||
           sw_in_net(address, address->family == 6 ? &r->net6 : &r->net);
}

static void
from_client(struct sw_published *p, const struct ctr_address *address, uint16_t port,
            const struct ctr_address *local, size_t length)
{
    const struct sw_rules *r = &p->sw->rules;
    struct sw_port *to = sw_find_address(p->sw, &p->address);
    bool known;
    if (to == NULL) {
        return;
    }
    struct sw_client client = {
        .address = *address,
        .seen = !is_hidden(r, address) ? *address
                : address->family == 6 ? r->gateway6
                                       : r->host,
        .local = *local,
        .port = port,
        .used_ms = sw_now_ms(),
    };
    *find_client(p, &client.seen, port, &known) = client;
    const struct sw_datagram datagram = {
        .source = client.seen,
        .target = p->address,
        .source_port = port,
        .target_port = p->port,
        .bytes = p->sw->datagram,
        .length = length,
    };
    sw_send_datagram(to, &datagram);
}

/* The host's address that a datagram came to; family 0 if it is not told. */
static struct ctr_address
local_address(struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            return sw_ipv4(ntohl(info.ipi_addr.s_addr));
        }
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            return sw_ipv6(info.ipi6_addr.s6_addr);
        }
    }
    return (struct ctr_address){0};
}

static void
on_datagram(void *arg, uint32_t events)
{
    struct sw_published *p = arg;
    for (int i = 0; i < SW_BATCH / 2; i++) {
        struct sockaddr_storage from = {0};
        struct ctr_address address;
        uint16_t port;
        union control control;
        struct iovec part = {.iov_base = p->sw->datagram, .iov_len = SW_MAX_UDP};
        struct msghdr message = {
            .msg_name = &from,
            .msg_namelen = sizeof from,
            .msg_iov = &part,
            .msg_iovlen = 1,
            .msg_control = control.space,
            .msg_controllen = sizeof control.space,
        };
        ssize_t n = recvmsg(p->fd, &message, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            break;
        }
        if (n >= 0 && sw_from_sockaddr(&from, &address, &port) &&
            address.family == p->address.family) {
            const struct ctr_address local = local_address(&message);
            from_client(p, &address, port, &local, (size_t) n);
        }
    }
    p->sw->host->watch_set(p->watch, CTR_READABLE); /* after an error it has stopped */
    sw_flush(p->sw);
}

/* Names the address that the answer is to leave from. */
static void
set_local(struct msghdr *message, union control *control, const struct ctr_address *local)
{
    struct in_pktinfo info = {0};
    struct in6_pktinfo info6 = {0};
    bool six = local->family == 6;
    size_t n = six ? sizeof info6 : sizeof info;
    message->msg_control = control->space;
    message->msg_controllen = six ? CMSG_SPACE(sizeof info6) : CMSG_SPACE(sizeof info);
    struct cmsghdr *c = CMSG_FIRSTHDR(message);
    c->cmsg_level = six ? IPPROTO_IPV6 : IPPROTO_IP;
    c->cmsg_type = six ? IPV6_PKTINFO : IP_PKTINFO;
    c->cmsg_len = CMSG_LEN(n);
    memcpy(&info.ipi_spec_dst, local->bytes, 4);
    memcpy(&info6.ipi6_addr, local->bytes, 16);
    memcpy(CMSG_DATA(c), six ? (const void *) &info6 : (const void *) &info, n);
}

static void
answer(const struct sw_published *p, const struct sw_client *client, const struct sw_frame *f)
{
    struct sockaddr_storage to;
    struct iovec part = {
        .iov_base = (void *) (uintptr_t) (f->payload + 8),
        .iov_len = f->payload_length - 8,
    };
    union control control = {0};
    struct msghdr message = {
        .msg_name = &to,
        .msg_namelen = sw_to_sockaddr(&client->address, client->port, &to),
        .msg_iov = &part,
        .msg_iovlen = 1,
    };
    if (client->local.family != 0) {
        set_local(&message, &control, &client->local);
    }
    (void) sendmsg(p->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL); /* UDP may be lost */
}

bool
sw_udp_answer(struct sw *sw, const struct sw_frame *f)
{
    if (f->proto != SW_UDP || f->fragment || f->options ||
        sw_get16(f->payload + 4) != f->payload_length) {
        return false;
    }
    for (struct sw_published *p = sw->published; p != NULL; p = p->next) {
        if (p->proto != CTR_PROTO_UDP || p->port != f->source_port ||
            !sw_same(&p->address, &f->source)) {
            continue;
        }
        bool known;
        struct sw_client *c = find_client(p, &f->target, f->target_port, &known);
        if (known && sw_now_ms() - c->used_ms < CLIENT_MS) {
            c->used_ms = sw_now_ms();
            answer(p, c, f);
            return true;
        }
    }
    return false;
}

static int
bind_udp(const struct sw_published *p)
{
    struct sockaddr_storage name;
    socklen_t length = sw_to_sockaddr(&p->host_address, p->host_port, &name);
    bool six = p->host_address.family == 6;
    int fd = socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM, 0), on = 1;
    if (fd < 0) {
        return -errno;
    }
    (void) fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (six) {
        (void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
        (void) setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
    } else {
        (void) setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    }
    if (bind(fd, (struct sockaddr *) &name, length) != 0) {
        int code = -errno;
        (void) close(fd);
        return code;
    }
    return fd;
}

int
sw_udp_open(struct sw_published *p)
{
    const struct ctr_host *host = p->sw->host;
    struct sockaddr_storage name;
    struct ctr_address address;
    socklen_t length = sizeof name;
    int fd = bind_udp(p);
    if (fd < 0) {
        return fd;
    }
    p->clients = calloc(SW_CLIENTS, sizeof *p->clients);
    p->watch = host->watch_add(host, fd, CTR_READABLE, on_datagram, p);
    p->fd = fd;
    if (p->clients == NULL || p->watch == NULL ||
        getsockname(fd, (struct sockaddr *) &name, &length) != 0 ||
        !sw_from_sockaddr(&name, &address, &p->host_port)) {
        sw_udp_close(p);
        return -ENOMEM;
    }
    return 0;
}

void
sw_udp_close(struct sw_published *p)
{
    p->sw->host->watch_remove(p->watch);
    (void) close(p->fd);
    free(p->clients);
}
