/*
 * ask ADDRESS PORT [PATH]: gets a page by HTTP/1.0 and prints its last line, or "closed". Static, for containers of any image; addresses only, no names.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int
connected(const char *address, const char *port)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t) strtoul(port, NULL, 10))};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = in.sin_port};
    struct timeval limit = {.tv_sec = 5};
    int six = strchr(address, ':') != NULL;
    int fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    (void) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    int known = six ? inet_pton(AF_INET6, address, &in6.sin6_addr)
                    : inet_pton(AF_INET, address, &in.sin_addr);
    int done = six ? connect(fd, (struct sockaddr *) &in6, sizeof in6)
                   : connect(fd, (struct sockaddr *) &in, sizeof in);
    return known == 1 && done == 0 ? fd : -1;
}

int
main(int argc, char **argv)
{
    char text[8192];
    size_t length = 0;
    ssize_t n;
    if (argc < 3) {
        return 2;
    }
    int fd = connected(argv[1], argv[2]);
    if (fd < 0 || dprintf(fd, "GET %s HTTP/1.0\r\n\r\n", argc > 3 ? argv[3] : "/") < 0) {
        puts("closed");
        return 0;
    }
    while (length < sizeof text - 1 &&
           (n = read(fd, text + length, sizeof text - 1 - length)) > 0) {
        length += (size_t) n;
    }
    while (length > 0 && text[length - 1] == '\n') {
        length--;
    }
    text[length] = '\0';
    const char *line = strrchr(text, '\n');
    puts(length == 0 ? "closed" : line == NULL ? text : line + 1);
    return 0;
}
