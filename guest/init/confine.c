/*
 * confine.c: docker's defaults for a process: rlimits, seccomp, capabilities, user and groups. In the child, once.
 *
 * The seccomp program is made at build by seccomp-gen.c. It is loaded first, while there is still the privilege, because
 * no_new_privs stays off as with docker.
 */
#include "root.h"
#include "seccomp-filter.h"
#include "users.h"
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(capability) (1ull << (capability))
#define CAPABILITIES                                                                           \
    (BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FSETID) | BIT(CAP_FOWNER) |              \
     BIT(CAP_MKNOD) | BIT(CAP_NET_RAW) | BIT(CAP_SETGID) | BIT(CAP_SETUID) |                   \
     BIT(CAP_SETFCAP) | BIT(CAP_SETPCAP) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SYS_CHROOT) |   \
     BIT(CAP_KILL) | BIT(CAP_AUDIT_WRITE))

static int
set_limits(void)
{
    static const struct {
        int resource;
        rlim_t value;
    } limits[] = {
        {RLIMIT_NOFILE, 1048576}, {RLIMIT_NPROC, RLIM_INFINITY}, {RLIMIT_CORE, RLIM_INFINITY}};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct rlimit limit = {limits[i].value, limits[i].value};
        if (setrlimit((__rlimit_resource_t) limits[i].resource, &limit) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
set_filter(void)
{
    struct sock_fprog program = {.len = sizeof seccomp_filter / sizeof *seccomp_filter,
                                 .filter = (struct sock_filter *) seccomp_filter};
    return (int) syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static int
drop_bounding(void)
{
    for (unsigned long i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++) {
        if ((CAPABILITIES & BIT(i)) == 0 && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Root keeps the default capabilities; any other user lost them by setuid, and gains them by a set-uid program only. */
static int
set_capabilities(uid_t uid)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    uint64_t keep = uid == 0 ? CAPABILITIES : 0;
    struct __user_cap_data_struct data[2] = {
        {.effective = (uint32_t) keep, .permitted = (uint32_t) keep},
        {.effective = (uint32_t) (keep >> 32), .permitted = (uint32_t) (keep >> 32)}};
    return (int) syscall(SYS_capset, &header, data);
}

int
root_confine(const struct user *user, struct fault *fault)
{
    if (set_limits() < 0) {
        return fault_errno(fault, "EIO", "set resource limits");
    }
    if (set_filter() < 0) {
        return fault_errno(fault, "EIO", "load the seccomp filter");
    }
    if (drop_bounding() < 0) {
        return fault_errno(fault, "EIO", "drop capabilities");
    }
    if (setgroups(user->n_groups, user->groups) < 0 ||
        setresgid(user->gid, user->gid, user->gid) < 0 ||
        setresuid(user->uid, user->uid, user->uid) < 0) {
        return fault_errno(fault, "EIO", "become user %u:%u", user->uid, user->gid);
    }
    if (set_capabilities(user->uid) < 0) {
        return fault_errno(fault, "EIO", "set capabilities");
    }
    return 0;
}
