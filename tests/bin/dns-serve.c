/*
 * The resolver behind a UDP and a TCP socket on loopback, for benches and for trying it with dig:
 *
 *     dns-serve ZONE.json RESOLV.CONF
 *
 * Everybody is the port "p" of the zone (core/dns/dns.h). Prints the port number and serves until standard input ends; then prints the counters.
 */
#include "core/dns/dns.h"
#include <arpa/inet.h>
#include <sys/socket.h>

struct server {
    struct ctr_loop *loop;
    struct ctr_dns *dns;
    int udp, tcp;
};

struct client {
    struct server *server;
    struct sockaddr_in address;
};

static void
die(const char *what, const struct ctr_error *err)
{
    fprintf(stderr, "dns-serve: %s: %s\n", what, err != NULL ? err->msg : strerror(errno));
    exit(1);
}

static void
on_answer(void *arg, const void *bytes, size_t length)
{
    struct client *client = arg;
    if (length > 0) {
        (void) sendto(client->server->udp, bytes, length, 0,
                      (struct sockaddr *) &client->address, sizeof client->address);
    }
    free(client);
}

static void
on_datagram(void *arg, uint32_t events)
{
    struct server *server = arg;
    uint8_t bytes[65536];
    for (int i = 0; i < 64; i++) {
        struct client *client = calloc(1, sizeof *client);
        socklen_t length = sizeof client->address;
        ssize_t n = recvfrom(server->udp, bytes, sizeof bytes, 0,
                             (struct sockaddr *) &client->address, &length);
        if (n < 0) {
            free(client);
            return;
        }
        client->server = server;
        ctr_dns_query(server->dns, "p", bytes, (size_t) n, on_answer, client);
    }
}

static void
on_connection(void *arg, uint32_t events)
{
    struct server *server = arg;
    int fd = accept4(server->tcp, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        ctr_dns_stream(server->dns, "p", fd);
    }
}

static void
on_input(void *arg, uint32_t events)
{
    struct server *server = arg;
    char bytes[64];
    if (read(0, bytes, sizeof bytes) == 0) {
        ctr_loop_stop(server->loop);
    }
}

/* Both on one free port. */
static uint16_t
open_sockets(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    server->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    server->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server->udp, (struct sockaddr *) &address, length) != 0 ||
        getsockname(server->udp, (struct sockaddr *) &address, &length) != 0 ||
        bind(server->tcp, (struct sockaddr *) &address, length) != 0 ||
        listen(server->tcp, 64) != 0) {
        die("127.0.0.1", NULL);
    }
    return ntohs(address.sin_port);
}

int
main(int argc, char **argv)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct server server;
    json_t *zone = argc == 3 ? ctr_read_json(argv[1], 64 << 20, &err) : NULL;
    if (zone == NULL) {
        die("usage: dns-serve ZONE.json RESOLV.CONF", &err);
    }
    if (ctr_loop_create(&server.loop, &err) != 0 ||
        ctr_dns_create(server.loop, argv[2], NULL, &server.dns, &err) != 0 ||
        ctr_dns_set_zone(server.dns, zone, &err) != 0) {
        die(argv[1], &err);
    }
    json_decref(zone);
    uint16_t port = open_sockets(&server);
    if (ctr_watch_add(server.loop, server.udp, CTR_READABLE, on_datagram, &server) == NULL ||
        ctr_watch_add(server.loop, server.tcp, CTR_READABLE, on_connection, &server) == NULL ||
        ctr_watch_add(server.loop, 0, CTR_READABLE, on_input, &server) == NULL) {
        die("loop", NULL);
    }
    printf("%u\n", port);
    fflush(stdout);
    ctr_loop_run(server.loop);
    json_t *stats = ctr_dns_stats(server.dns);
    json_dumpf(stats, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(stats);
    ctr_dns_destroy(server.dns);
    ctr_loop_destroy(server.loop);
    return 0;
}
