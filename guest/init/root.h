/*
 * root: what makes a VM a container's home. Two implementations: root-vm.c and its helpers (mounts, network, namespaces,
 * confinement, power) and root-fake.c (none of these: a process of the host, for tests).
 */
#ifndef CTR_INIT_ROOT_H
#define CTR_INIT_ROOT_H

#include "process.h"

/* The root belongs to the container alone; false in the fake: the host's files are not ours to change. */
extern const bool root_is_private;
/* Before all else: kernel modules, /proc and friends. The channel's fd, or -1. */
int root_start(struct fault *fault);
/* Disks, clock, seed, network, names, as the boot message says. */
int root_boot(const json_t *boot, struct fault *fault);
/* NETWORK of guest/PROTOCOL.guest.md anew, while the container runs. */
int root_network(const json_t *network, struct fault *fault);
/* The container's init runs: the time for what could wait. */
void root_settled(void);
/* fork into the container: its first process or one more. As fork(2). */
pid_t root_clone(bool first);
/* In the child: into the container's namespaces and root. */
int root_enter(const struct spec *spec, struct fault *fault);
/* In the child: limits and seccomp while still privileged, then capabilities and the user. */
struct user;
int root_confine(const struct user *user, struct fault *fault);
/* Where a terminal comes from: fd of a new pty master. */
int root_open_terminal(struct fault *fault);
/* The kernel killed something of the container for want of memory since the last call. */
bool root_oom(void);
/* Nothing runs any more: filesystems are written and let go. */
void root_unmount(void);
_Noreturn void root_power_off(void);

#endif
