/*
 * flow: the two ends of a network measurement, one static program for guest and host.
 *
 *   flow serve PORT                     answers the others, for ever
 *   flow up ADDRESS PORT SECONDS        sends; prints what arrived, in bytes per second
 *   flow down ADDRESS PORT SECONDS      receives; prints the same
 *   flow frames ADDRESS PORT SECONDS    sends UDP datagrams of 18 bytes (frames of 60); prints sent and arrived per second
 *
 * A TCP connection begins with one letter: u (swallow, then answer 8 bytes: how many), d (send until it is closed), c (answer how many
 * datagrams have come so far).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char buffer[256 * 1024];

static double
now(void)
{
    struct timespec ts;
    (void) clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static void
give_up(const char *what)
{
    (void) fprintf(stderr, "flow: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t
swallow(int fd, double until)
{
    uint64_t total = 0;
    while (until <= 0 || now() < until) {
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n <= 0) {
            break;
        }
        total += (uint64_t) n;
    }
    return total;
}

static void
pour(int fd, double until)
{
    while ((until <= 0 || now() < until) && write(fd, buffer, sizeof buffer) > 0) {
    }
}

/* --- serve --- */

static void
serve_one(int fd, const uint64_t *datagrams)
{
    char letter = 0;
    if (read(fd, &letter, 1) != 1) {
        return;
    }
    if (letter == 'd') {
        pour(fd, 0);
        return;
    }
    uint64_t answer = letter == 'c' ? *datagrams : swallow(fd, 0);
    (void) !write(fd, &answer, sizeof answer);
}

static int
bound(int type, const char *port)
{
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t) strtoul(port, NULL, 10))};
    int fd = socket(AF_INET, type, 0), on = 1, size = 8 << 20;
    (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (type == SOCK_DGRAM) {
        (void) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
    if (fd < 0 || bind(fd, (struct sockaddr *) &name, sizeof name) != 0) {
        give_up("bind");
    }
    return fd;
}

static void
serve(const char *port)
{
    uint64_t *datagrams = mmap(NULL, sizeof *datagrams, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int tcp = bound(SOCK_STREAM, port), udp = bound(SOCK_DGRAM, port);
    if (datagrams == MAP_FAILED || listen(tcp, 16) != 0) {
        give_up("listen");
    }
    (void) signal(SIGCHLD, SIG_IGN);
    for (;;) {
        struct pollfd ready[2] = {{.fd = tcp, .events = POLLIN}, {.fd = udp, .events = POLLIN}};
        if (poll(ready, 2, -1) < 0) {
            continue;
        }
        while (recv(udp, buffer, sizeof buffer, MSG_DONTWAIT) >= 0) {
            ++*datagrams;
        }
        int fd = ready[0].revents != 0 ? accept(tcp, NULL, NULL) : -1;
        if (fd >= 0 && fork() == 0) {
            serve_one(fd, datagrams);
            _exit(0);
        }
        if (fd >= 0) {
            (void) close(fd);
        }
    }
}

/* --- ask --- */

static int
connected(int type, const char *address, const char *port)
{
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t) strtoul(port, NULL, 10))};
    int fd = socket(AF_INET, type, 0);
    if (fd < 0 || inet_pton(AF_INET, address, &name.sin_addr) != 1 ||
        connect(fd, (struct sockaddr *) &name, sizeof name) != 0) {
        give_up("connect");
    }
    return fd;
}

static uint64_t
ask(int fd)
{
    uint64_t answer = 0;
    if (read(fd, &answer, sizeof answer) != sizeof answer) {
        give_up("answer");
    }
    return answer;
}

static uint64_t
count(const char *address, const char *port)
{
    int fd = connected(SOCK_STREAM, address, port);
    (void) !write(fd, "c", 1);
    uint64_t answer = ask(fd);
    (void) close(fd);
    return answer;
}

static void
stream(const char *kind, const char *address, const char *port, double seconds)
{
    int fd = connected(SOCK_STREAM, address, port);
    uint64_t bytes;
    double begin = now();
    (void) !write(fd, kind, 1);
    if (kind[0] == 'u') {
        pour(fd, begin + seconds);
        (void) shutdown(fd, SHUT_WR);
        bytes = ask(fd);
    } else {
        bytes = swallow(fd, begin + seconds);
    }
    printf("%.0f\n", (double) bytes / (now() - begin));
}

static void
frames(const char *address, const char *port, double seconds)
{
    uint64_t sent = 0, before = count(address, port);
    int fd = connected(SOCK_DGRAM, address, port);
    double begin = now(), end = begin + seconds;
    while (now() < end) {
        for (int i = 0; i < 64; i++) {
            sent += send(fd, buffer, 18, 0) == 18;
        }
    }
    double took = now() - begin;
    (void) sleep(1); /* what is under way */
    printf("%.0f %.0f\n", (double) sent / took,
           (double) (count(address, port) - before) / took);
}

int
main(int argc, char **argv)
{
    (void) signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && strcmp(argv[1], "serve") == 0) {
        serve(argv[2]);
    } else if (argc == 5 && strcmp(argv[1], "frames") == 0) {
        frames(argv[2], argv[3], strtod(argv[4], NULL));
    } else if (argc == 5 && (strcmp(argv[1], "up") == 0 || strcmp(argv[1], "down") == 0)) {
        stream(argv[1], argv[2], argv[3], strtod(argv[4], NULL));
    } else {
        (void) fprintf(stderr,
                       "usage: flow serve PORT | up|down|frames ADDRESS PORT SECONDS\n");
        return 2;
    }
    return 0;
}
