/*
 * Who serves which network, and what nobody serves any more.
 *
 * A ctr-net holds a lock for its network, an abstract socket's name, which goes with the process and belongs to the network namespace like the
 * bridge. A table of ours whose lock is free and on whose bridge there is no port is what a killed ctr-net left of a network that
 * was not started again: bridge and tables are removed.
 */
#include "bridge-priv.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LOCK_TRIES 20
#define LOCK_WAIT_US 50000

/* The lock or a negative code; -EADDRINUSE: somebody has it. */
static int
take_lock(const char *hex)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int length =
        snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "ctr-net-bridge-%s", hex);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    socklen_t size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + 1 + (size_t) length);
    if (bind(fd, (const struct sockaddr *) &name, size) != 0) {
        int code = -errno;
        (void) close(fd);
        return code;
    }
    return fd;
}

int
br_lock(struct br *br, struct ctr_error *err)
{
    /* One that is ending gives way within a moment. */
    for (int i = 0; i < LOCK_TRIES; i++) {
        br->lock = take_lock(br->hex);
        if (br->lock != -EADDRINUSE) {
            break;
        }
        (void) usleep(LOCK_WAIT_US);
    }
    return br->lock >= 0
               ? 0
               : ctr_fail(err, br->lock == -EADDRINUSE ? -EBUSY : br->lock, "network %s: %s",
                          br->name,
                          br->lock == -EADDRINUSE
                              ? "another ctr-net serves it already; stop that engine first"
                              : strerror(-br->lock));
}

static void
remove_leftover(const struct br *br, const char *hex)
{
    struct br old = *br;
    (void) snprintf(old.hex, sizeof old.hex, "%s", hex);
    (void) snprintf(old.bridge, sizeof old.bridge, "ctr%s", hex);
    int index = (int) if_nametoindex(old.bridge);
    int lock = take_lock(hex);
    if (lock < 0) {
        return;
    }
    if (index == 0 || !br_link_has_ports(br, index)) {
        char line[128];
        if (index != 0) {
            (void) br_link_delete(br, index);
        }
        br_rules_destroy(&old);
        (void) snprintf(line, sizeof line,
                        "removed bridge %s and its rules, which a killed ctr-net left",
                        old.bridge);
        br->host->log(br->host, CTR_LOG_INFO, line);
    }
    (void) close(lock);
}

void
br_sweep(const struct br *br)
{
    static const char start[] = "table netdev ctr-";
    const char *said = br_nft_read(br, "list tables netdev");
    char *tables = said == NULL ? NULL : strdup(said);
    char *rest = NULL;
    for (char *line = tables == NULL ? NULL : strtok_r(tables, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        const char *hex = line + strlen(start);
        if (strncmp(line, start, strlen(start)) == 0 &&
            strspn(hex, "0123456789abcdef") == BR_HEX && strlen(hex) == BR_HEX &&
            strcmp(hex, br->hex) != 0) {
            remove_leftover(br, hex);
        }
    }
    free(tables);
}
