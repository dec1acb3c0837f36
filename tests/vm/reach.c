/*
 * What a container can reach, for net-matrix.sh. Static, so that it runs in an image of its own.
 *
 *     reach serve                     answers TCP and UDP on port 7, both families, for ever
 *     reach try KIND/TARGET…          tries all at once, KIND one of tcp4 udp4 icmp4 tcp6 udp6 icmp6, TARGET an address or a name;
 *                                     prints "KIND/TARGET yes|no|unknown" (unknown: the name does not resolve), each on a line
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORT 7
#define SECONDS 6 /* a first packet waits for ARP, and the machines are emulated */

static int
listen_on(int type)
{
    int fd = socket(AF_INET6, type, 0), off = 0, on = 1;
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
    (void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *) &name, sizeof name) != 0 ||
        (type == SOCK_STREAM && listen(fd, 64) != 0)) {
        perror("reach: listen");
        exit(1);
    }
    return fd;
}

static void
answer_udp(int fd)
{
    char bytes[64];
    struct sockaddr_in6 from;
    socklen_t length = sizeof from;
    ssize_t n = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *) &from, &length);
    if (n >= 0) {
        (void) sendto(fd, bytes, (size_t) n, 0, (struct sockaddr *) &from, length);
    }
}

static void
serve(void)
{
    struct pollfd fds[2] = {{.fd = listen_on(SOCK_STREAM), .events = POLLIN},
                            {.fd = listen_on(SOCK_DGRAM), .events = POLLIN}};
    (void) signal(SIGPIPE, SIG_IGN);
    (void) puts("serving");
    (void) fflush(stdout);
    for (;;) {
        if (poll(fds, 2, -1) > 0 && fds[0].revents != 0) {
            int fd = accept(fds[0].fd, NULL, NULL);
            (void) !write(fd, "hi", 2);
            (void) close(fd);
        }
        if (fds[1].revents != 0) {
            answer_udp(fds[1].fd);
        }
    }
}

/* Waits for anything to read; for TCP that means: connected, and spoken to. */
static int
is_answered(int fd, const void *question, size_t length)
{
    char bytes[256];
    for (int i = 0; i < SECONDS; i++) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (question != NULL) { /* a datagram may be lost */
            (void) send(fd, question, length, 0);
        }
        if (poll(&p, 1, 1000) > 0) {
            ssize_t n = recv(fd, bytes, sizeof bytes, 0);
            if (n > 0 && p.revents != 0) {
                return 1;
            }
            if (n <= 0 && question == NULL) {
                return 0;
            }
            (void) usleep(200000);
        }
    }
    return 0;
}

static int
try_address(const char *kind, const struct addrinfo *to)
{
    struct icmphdr echo4 = {.type = ICMP_ECHO};
    struct icmp6_hdr echo6 = {.icmp6_type = ICMP6_ECHO_REQUEST};
    const void *question = NULL;
    size_t length = 0;
    int type = SOCK_DGRAM, proto = 0;
    if (strncmp(kind, "tcp", 3) == 0) {
        type = SOCK_STREAM;
    } else if (strncmp(kind, "udp", 3) == 0) {
        question = "hi";
        length = 2;
    } else {
        proto = to->ai_family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;
        question = to->ai_family == AF_INET ? (void *) &echo4 : (void *) &echo6;
        length = 8;
    }
    int fd = socket(to->ai_family, type | SOCK_NONBLOCK, proto);
    if (fd < 0) {
        perror("reach: socket");
        exit(1);
    }
    ((struct sockaddr_in *) to->ai_addr)->sin_port = htons(PORT); /* the same place in both */
    if (connect(fd, to->ai_addr, to->ai_addrlen) != 0 && errno != EINPROGRESS) {
        return 0;
    }
    return is_answered(fd, question, length);
}

static const char *
try_one(const char *what)
{
    char kind[8] = "";
    const char *slash = strchr(what, '/');
    struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM};
    if (slash == NULL || (size_t) (slash - what) >= sizeof kind) {
        return "?";
    }
    memcpy(kind, what, (size_t) (slash - what));
    hints.ai_family = kind[strlen(kind) - 1] == '6' ? AF_INET6 : AF_INET;
    if (getaddrinfo(slash + 1, NULL, &hints, &found) != 0) {
        return "unknown";
    }
    return try_address(kind, found) ? "yes" : "no";
}

int
main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "serve") == 0) {
        serve();
    }
    for (int i = 2; i < argc; i++) {
        if (fork() == 0) {
            char line[256];
            int n = snprintf(line, sizeof line, "%s %s\n", argv[i], try_one(argv[i]));
            return write(1, line, (size_t) n) != n;
        }
    }
    while (wait(NULL) > 0) {
    }
    return 0;
}
