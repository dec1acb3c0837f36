/*
 * modules.c: kernel modules from the initramfs, and the wait for devices that they bring.
 *
 * /modules/list holds lines "group name"; the file is /modules/name.ko. The list is in order of dependence and made at build.
 */
#include "vm.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
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

/* Whether there is a virtio device of this type. */
static bool
any_device(unsigned long type)
{
    DIR *dir = opendir("/sys/bus/virtio/devices");
    struct dirent *entry;
    bool found = false;
    while (dir != NULL && !found && (entry = readdir(dir)) != NULL) {
        char path[PATH_MAX], text[16] = "";
        (void) snprintf(path, sizeof path, "/sys/bus/virtio/devices/%s/device", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            found = read(fd, text, sizeof text - 1) > 0 && strtoul(text, NULL, 16) == type;
            (void) close(fd);
        }
    }
    if (dir != NULL) {
        (void) closedir(dir);
    }
    return found;
}

void
modules_load_drivers(void)
{
    static const struct {
        unsigned long type;
        const char *group;
    } drivers[] = {{3, "console"}, {2, "disk"}, {1, "net"}};
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
        if (any_device(drivers[i].type)) {
            modules_load(drivers[i].group);
        }
    }
}

static void
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
    if (there(arg)) {
        return true;
    }
    if (uevents <
        0) { /* late, since a kernel with a listener composes each of its hundreds of events */
        uevent_open();
    }
    while (!there(arg)) {
        struct pollfd wait = {.fd = uevents, .events = POLLIN};
        if (poll(&wait, 1, 10000) <= 0) {
            return there(arg);
        }
        (void) !recv(uevents, event, sizeof event, MSG_DONTWAIT);
    }
    return true;
}
