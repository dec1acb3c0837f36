/* vm: what the files behind root-vm.c share. Paths are those of ctr-init's own mount namespace. */
#ifndef CTR_INIT_VM_H
#define CTR_INIT_VM_H

#include "fault.h"
#include <jansson.h>
#include <stdbool.h>

#define VM_ROOT "/ctr/root"   /* the container's root filesystem */
#define VM_DISKS "/ctr/disks" /* lower and upper disks, by number */
#define VM_ETC "/ctr/etc"     /* hosts, hostname, resolv.conf */

/* mkdir that is content with an existing one. */
int vm_mkdir(const char *path);
/* Writes a short text into an existing file (proc, sysfs). */
int vm_write(const char *path, const char *text);

/* modules.c: loads the modules of one group of /modules/list, in order. Modules that are there already are fine. */
void modules_load(const char *group);
/* Drivers of the virtio devices that the machine has. The channel's first: its port appears while the others load. */
void modules_load_drivers(void);
/* uevent.c: waits until `there` says yes, asking again at every event of a device; false after ten seconds. */
bool uevent_wait(bool (*there)(void *arg), void *arg);
/* disks.c: mounts the disks of the boot message as VM_ROOT; and lets go of them. */
int disks_mount(const json_t *boot, struct fault *fault);
void disks_unmount(void);
/* net.c: the interfaces as `network` says. boot: for the first time. */
int net_setup(const json_t *network, bool boot, struct fault *fault);
/* names.c: makes and writes VM_ETC; and writes hosts and resolv.conf anew, into the same files. */
int names_write(const json_t *boot, struct fault *fault);
int names_update(const json_t *network, struct fault *fault);
/* cgroup.c: the container's cgroup and its device rules; the fd of its folder. */
int cgroup_create(struct fault *fault);
bool cgroup_oom(void);
/* layout.c, in the child: from ctr-init's root to the container's, with all its mounts. */
int layout_enter(const json_t *boot, struct fault *fault);
/* The terminal of the first process is also its /dev/console. */
void layout_console(int master);
/* mount options: flags are taken out of `options`, the rest goes into data; -1 if it does not fit. */
int mount_flags(const char *options, unsigned long *flags, char *data, size_t data_size);

#endif
