/*
 * Published UDP ports.
 *
 * libslirp would let a container send from such a port to the host's loopback, so they are done here: a container
 * may answer those who wrote to it of late, and nobody else. A client on the host itself is seen as the uplink's address, any other by
 * its own. The answer leaves from the address that the client wrote to. Answers must fit one frame.
 */
#include "switch-priv.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif
#ifndef IP_PKTINFO
#define IP_PKTINFO IP_RECVPKTINFO
#endif

#define HEADERS (SW_ETHER + SW_IPV4 + 8)
#define CLIENT_MS (4 * 60 * 1000)

union control {
    struct cmsghdr align;
    char space[CMSG_SPACE(sizeof(struct in_pktinfo))];
};

/* The entry of this client, or the one that was not used for the longest time. */
static struct sw_client *
find_client(struct sw_published *p, uint32_t seen, uint16_t port, bool *ret_found)
{
    struct sw_client *oldest = &p->clients[0];
    for (size_t i = 0; i < SW_CLIENTS; i++) {
        struct sw_client *c = &p->clients[i];
        if (c->used_ms != 0 && c->seen == seen && c->port == port) {
            *ret_found = true;
            return c;
        }
        oldest = c->used_ms < oldest->used_ms ? c : oldest;
    }
    *ret_found = false;
    return oldest;
}

static uint16_t
udp_sum(const struct sw *sw, uint32_t source, uint32_t target, size_t length)
{
    uint8_t pseudo[12] = {[9] = SW_UDP};
    sw_put32(pseudo, source);
    sw_put32(pseudo + 4, target);
    sw_put16(pseudo + 10, (uint16_t) length);
    uint32_t sum = sw_sum(0, pseudo, sizeof pseudo);
    uint16_t ret = sw_sum_finish(sw_sum(sum, sw->datagram + SW_ETHER + SW_IPV4, length));
    return ret == 0 ? 0xffff : ret;
}

/* In fragments if need be. A piece's header overwrites the end of the piece before it, which has left already. */
void
sw_udp_deliver(struct sw_port *to, uint32_t source, uint16_t source_port, uint16_t target_port,
               size_t length)
{
    struct sw *sw = to->sw;
    uint8_t mac[6], *udp = sw->datagram + SW_ETHER + SW_IPV4;
    size_t most = (sw->mtu - SW_IPV4) & ~(size_t) 7;
    length += 8;
    sw_put16(udp, source_port);
    sw_put16(udp + 2, target_port);
    sw_put16(udp + 4, (uint16_t) length);
    sw_put16(udp + 6, 0);
    sw_put16(udp + 6, udp_sum(sw, source, to->address, length));
    sw_uplink_mac(sw->rules.gateway, mac);
    sw->ident++;
    for (size_t at = 0; at < length; at += most) {
        size_t n = length - at < most ? length - at : most;
        struct sw_header header = {
            .to = to->mac,
            .from = mac,
            .source = source,
            .target = to->address,
            .ident = sw->ident,
            .fragment = (uint16_t) (at / 8 | (at + n < length ? 0x2000 : 0)),
            .proto = SW_UDP,
            .payload_length = n,
        };
        sw_write_header(&header, sw->datagram + at);
        sw_port_send(to, sw->datagram + at, SW_ETHER + SW_IPV4 + n);
    }
}

static void
from_client(struct sw_published *p, const struct sockaddr_in *from, uint32_t local, size_t n)
{
    struct sw *sw = p->sw;
    const struct sw_rules *r = &sw->rules;
    struct sw_port *to = sw_find_address(sw, p->address);
    uint32_t address = ntohl(from->sin_addr.s_addr);
    uint16_t port = ntohs(from->sin_port);
    bool hidden = sw_is_closed(address) || (address & r->mask) == r->subnet;
    uint32_t seen = hidden ? r->uplink : address;
    bool known;
    if (to == NULL) {
        return;
    }
    *find_client(p, seen, port, &known) = (struct sw_client){
        .address = address,
        .seen = seen,
        .local = local,
        .port = port,
        .used_ms = sw_now_ms(),
    };
    sw_udp_deliver(to, seen, port, p->port, n);
}

/* The host's address that a datagram came to; 0 if it is not told. */
static uint32_t
local_address(struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            return ntohl(info.ipi_addr.s_addr);
        }
    }
    return 0;
}

static void
on_datagram(void *arg, uint32_t events)
{
    struct sw_published *p = arg;
    for (int i = 0; i < SW_BATCH / 2; i++) {
        struct sockaddr_in from;
        union control control;
        struct iovec part = {.iov_base = p->sw->datagram + HEADERS, .iov_len = SW_MAX_UDP};
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
        if (n >= 0 && message.msg_namelen == sizeof from && from.sin_family == AF_INET) {
            from_client(p, &from, local_address(&message), (size_t) n);
        }
    }
    p->sw->host->watch_set(p->watch, CTR_READABLE); /* after an error it has stopped */
}

static void
answer(const struct sw_published *p, const struct sw_client *client, const struct sw_frame *f)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons(client->port),
        .sin_addr.s_addr = htonl(client->address),
    };
    struct iovec part = {
        .iov_base = (void *) (uintptr_t) (f->payload + 8),
        .iov_len = f->payload_length - 8,
    };
    union control control = {0};
    struct msghdr message = {
        .msg_name = &to,
        .msg_namelen = sizeof to,
        .msg_iov = &part,
        .msg_iovlen = 1,
    };
    if (client->local != 0) {
        struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(client->local)};
        message.msg_control = control.space;
        message.msg_controllen = sizeof control.space;
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = IPPROTO_IP;
        c->cmsg_type = IP_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(c), &info, sizeof info);
    }
    (void) sendmsg(p->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL); /* UDP may be lost */
}

bool
sw_udp_answer(struct sw *sw, const struct sw_frame *f)
{
    if (f->type != SW_TYPE_IPV4 || f->proto != SW_UDP || f->fragment || f->options) {
        return false;
    }
    size_t udp_length = sw_get16(f->payload + 4);
    if (udp_length != f->payload_length) {
        return false;
    }
    for (struct sw_published *p = sw->published; p != NULL; p = p->next) {
        if (p->proto != CTR_PROTO_UDP || p->address != f->source || p->port != f->source_port) {
            continue;
        }
        bool known;
        struct sw_client *c = find_client(p, f->target, f->target_port, &known);
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
    int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    if (fd < 0) {
        return -errno;
    }
    (void) fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void) setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    struct sockaddr_in name = {
        .sin_family = AF_INET,
        .sin_port = htons(p->host_port),
        .sin_addr.s_addr = htonl(p->host_address),
    };
    if (bind(fd, (struct sockaddr *) &name, sizeof name) != 0) {
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
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    int fd = bind_udp(p);
    if (fd < 0) {
        return fd;
    }
    p->clients = calloc(SW_CLIENTS, sizeof *p->clients);
    p->watch = host->watch_add(host, fd, CTR_READABLE, on_datagram, p);
    p->fd = fd;
    if (p->clients == NULL || p->watch == NULL ||
        getsockname(fd, (struct sockaddr *) &name, &length) != 0) {
        sw_udp_close(p);
        return -ENOMEM;
    }
    p->host_port = ntohs(name.sin_port);
    return 0;
}

void
sw_udp_close(struct sw_published *p)
{
    p->sw->host->watch_remove(p->watch);
    (void) close(p->fd);
    free(p->clients);
}
