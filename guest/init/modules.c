/*
 * modules.c: kernel modules from the initramfs, and the wait for devices that they bring.
 *
 * /modules/list holds lines "group name"; the file is /modules/name.ko. The list is in order of dependence and made at build.
 */
#include "vm.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int uevents = -1;

static void
load(const char *name)
{
    char path[128];
    (void) snprintf(path, sizeof path, "/modules/%s.ko", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        note("module %s: %s", name, fault_reason(errno));
        return;
    }
    if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST) {
        note("module %s: %s; is it of another kernel?", name, fault_reason(errno));
    }
    (void) close(fd);
}

void
modules_load(const char *group)
{
    char line[128], of[32], name[64];
    FILE *list = fopen("/modules/list", "re");
    while (list != NULL && fgets(line, sizeof line, list) != NULL) {
        if (sscanf(line, "%31s %63s", of, name) == 2 && strcmp(of, group) == 0) {
            load(name);
        }
    }
    if (list != NULL) {
        (void) fclose(list);
    }
}

void
uevent_open(void)
{
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1};
    uevents = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
    if (uevents >= 0 && bind(uevents, (struct sockaddr *) &address, sizeof address) < 0) {
        (void) close(uevents);
        uevents = -1;
    }
}

bool
uevent_wait(bool (*there)(void *arg), void *arg)
{
    char event[4096];
    while (!there(arg)) {
        struct pollfd wait = {.fd = uevents, .events = POLLIN};
        if (poll(&wait, 1, 10000) <= 0) {
            return there(arg);
        }
        (void) !recv(uevents, event, sizeof event, MSG_DONTWAIT);
    }
    return true;
}
