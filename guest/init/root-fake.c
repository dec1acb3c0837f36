/*
 * root-fake.c: ctr-init-fake, for tests: the boot message is taken, but nothing of it is done but the process, which runs on the
 * host as the current user. What it is told about its network is checked and shown on its console, a line each:
 * "network " and the JSON. The channel is the descriptor that CTR_CHANNEL_FD names.
 */
#include "netspec.h"
#include "root.h"
#include "users.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

const bool root_is_private = false;

int
root_start(struct fault *fault)
{
    const char *text = getenv("CTR_CHANNEL_FD");
    char *end = NULL;
    long fd = text == NULL ? -1 : strtol(text, &end, 10);
    if (fd < 3 || fd > 1023 || end == text || *end != '\0' ||
        fcntl((int) fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl((int) fd, F_SETFL, O_NONBLOCK) < 0) {
        return fault_set(fault, "EINVAL", "CTR_CHANNEL_FD names no descriptor above 2");
    }
    (void) prctl(PR_SET_CHILD_SUBREAPER, 1);
    return (int) fd;
}

int
root_network(const json_t *network, struct fault *fault)
{
    struct net_spec spec;
    if (netspec_parse(network, &spec, fault) < 0) {
        return -1;
    }
    char *text = json_dumps(network, JSON_COMPACT);
    if (text != NULL) {
        (void) dprintf(STDERR_FILENO, "network %s\n", text);
    }
    free(text);
    return 0;
}

int
root_boot(const json_t *boot, struct fault *fault)
{
    const json_t *network = json_object_get(boot, "network");
    return network == NULL ? 0 : root_network(network, fault);
}

void
root_settled(void)
{
}

pid_t
root_clone(bool first)
{
    return fork();
}

int
root_enter(const struct spec *spec, struct fault *fault)
{
    return 0;
}

int
root_confine(const struct user *user, struct fault *fault)
{
    return 0;
}

int
root_open_terminal(struct fault *fault)
{
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? fault_errno(fault, "EIO", "open a terminal") : fd;
}

bool
root_oom(void)
{
    return false;
}

void
root_unmount(void)
{
}

void
root_power_off(void)
{
    _exit(0);
}
