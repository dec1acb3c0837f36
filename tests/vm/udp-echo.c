/*
 * A UDP echo on port 5000, for tests/vm/net.sh: Debian's busybox has none.
 */
#include <arpa/inet.h>
#include <sys/socket.h>

int
main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(5000)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(fd, (const struct sockaddr *) &address, sizeof address) != 0) {
        return 1;
    }
    for (;;) {
        char bytes[2048];
        socklen_t length = sizeof address;
        ssize_t n = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *) &address, &length);
        if (n < 0 ||
            sendto(fd, bytes, (size_t) n, 0, (const struct sockaddr *) &address, length) != n) {
            return 1;
        }
    }
}
