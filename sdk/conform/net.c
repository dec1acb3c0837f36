/*
 * Checks of net plugins: ports, that two of them reach each other, that a lie about the source stays out, publishing.
 */
#include "sdk/conform/conform.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static struct ctr_error err;

struct reader {
    int fd;
    uint8_t frame[2048];
    ssize_t length;
};

/* An ARP request of port n (address 10.99.0.n) for the address 10.99.0.target; `mac` overrides the source. */
static void
arp(uint8_t n, uint8_t target, const uint8_t *mac, uint8_t out[42])
{
    const uint8_t own[6] = {0x02, 0x42, 10, 99, 0, n};
    memset(out, 0, 42);
    memset(out, 0xff, 6);
    memcpy(out + 6, mac != NULL ? mac : own, 6);
    memcpy(out + 12, (const uint8_t[]){0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1}, 10);
    memcpy(out + 22, mac != NULL ? mac : own, 6);
    memcpy(out + 28, (const uint8_t[]){10, 99, 0, n}, 4);
    memcpy(out + 38, (const uint8_t[]){10, 99, 0, target}, 4);
}

static int
arrived(void *arg)
{
    struct reader *reader = arg;
    reader->length = recv(reader->fd, reader->frame, sizeof reader->frame, MSG_DONTWAIT);
    return reader->length > 0;
}

static int
attach(const struct ctr_net_ops *ops, void *self, const char *id, uint8_t n,
       struct ctr_port *port)
{
    const struct ctr_port_spec spec = {.size = sizeof spec,
                                       .kind = CTR_PORT_DGRAM,
                                       .id = id,
                                       .mac = {0x02, 0x42, 10, 99, 0, n},
                                       .address = 0x0a630000u | n};
    *port = (struct ctr_port){.size = sizeof *port, .fd = -1};
    return ops->attach(self, &spec, port, &err);
}

static void
exchange(struct conform *kit, struct ctr_host *host, const struct ctr_port *a,
         const struct ctr_port *b)
{
    uint8_t frame[42];
    struct reader reader = {.fd = b->fd};
    arp(2, 3, NULL, frame);
    conform_check(kit, send(a->fd, frame, sizeof frame, 0) == (ssize_t) sizeof frame,
                  "a sends");
    conform_check(kit, conform_host_run(host, arrived, &reader, 2000), "a broadcast reaches b");
    conform_check(kit, reader.length >= 42 && memcmp(reader.frame, frame, 42) == 0,
                  "unchanged");
    const uint8_t liar[6] = {0x02, 0x42, 10, 99, 0, 77};
    arp(2, 3, liar, frame);
    conform_check(kit, send(a->fd, frame, sizeof frame, 0) > 0, "a lies about its MAC");
    conform_check(kit, !conform_host_run(host, arrived, &reader, 300), "b never sees it");
    conform_check(kit, send(a->fd, frame, 7, 0) == 7, "a sends a frame of 7 bytes");
    conform_check(kit, !conform_host_run(host, arrived, &reader, 300),
                  "b never sees it either");
}

static void
publishing(struct conform *kit, const struct ctr_net_ops *ops, void *self)
{
    struct ctr_publish publish = {.size = sizeof publish,
                                  .proto = CTR_PROTO_TCP,
                                  .host_address = 0x7f000001,
                                  .port = 80,
                                  .address = 0x0a630002};
    if (ops->publish == NULL) {
        return;
    }
    conform_check(kit, ops->publish(self, &publish, &err) == 0, "publish: %s", err.msg);
    conform_check(kit, publish.host_port != 0, "it picked host port %u", publish.host_port);
    struct ctr_publish again = publish;
    conform_check(kit, ops->publish(self, &again, &err) == -EADDRINUSE,
                  "the same port again says EADDRINUSE: %s", err.msg);
    conform_check(kit, ops->unpublish(self, &publish, &err) == 0, "unpublish: %s", err.msg);
    conform_check(kit, ops->publish(self, &publish, &err) == 0, "and it is free again: %s",
                  err.msg);
}

void
conform_net(struct conform *kit)
{
    struct ctr_net_ops ops = {0};
    const struct ctr_net_ops *given = kit->plugin->ops;
    memcpy(&ops, given, given->size < sizeof ops ? given->size : sizeof ops);
    const struct ctr_network network = {.size = sizeof network,
                                        .mtu = 1500,
                                        .name = "conform",
                                        .subnet = 0x0a630000,
                                        .prefix = 24,
                                        .gateway = 0x0a630001,
                                        .dns = 0x0a630001};
    void *self = NULL;
    struct ctr_host *host = conform_host_create(kit, "one", 1);
    if (host == NULL ||
        !conform_check(kit, ops.open(host, &self, &err) == 0, "open: %s", err.msg)) {
        return;
    }
    conform_check(kit, ops.create(self, &network, &err) == 0, "create: %s", err.msg);
    if (ops.port_kinds(self) & CTR_PORT_DGRAM) {
        struct ctr_port a, b;
        conform_check(kit, attach(&ops, self, "a", 2, &a) == 0 && a.fd >= 0, "attach a: %s",
                      err.msg);
        conform_check(kit, attach(&ops, self, "b", 3, &b) == 0 && b.fd >= 0, "attach b: %s",
                      err.msg);
        struct ctr_port twice;
        conform_check(kit, attach(&ops, self, "a", 4, &twice) == -EEXIST,
                      "attach of a again says EEXIST");
        exchange(kit, host, &a, &b);
        publishing(kit, &ops, self);
        conform_check(kit, ops.detach(self, "a", &err) == 0, "detach: %s", err.msg);
        conform_check(kit, ops.detach(self, "a", &err) == -ENOENT, "detach again says ENOENT");
        close(a.fd);
        close(b.fd);
    }
    ops.close(self);
    ops.close(NULL);
    conform_host_destroy(host);
}
