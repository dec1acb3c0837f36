/*
 * What this host can do: which qemu-system-* there is, whether KVM really works (the device may exist and refuse), who
 * QEMU may run as, how fast the time stamp counter ticks.
 */
#include "qemu-priv.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/kvm.h>
#endif
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

struct guest_arch {
    const char *name, *binary, *package;
};
static const struct guest_arch arches[] = {
    {"amd64", "qemu-system-x86_64", "qemu-system-x86"},
    {"arm64", "qemu-system-aarch64", "qemu-system-arm"},
};

const char *
qemu_accel_name(enum accel accel)
{
    static const char *const names[] = {"none", "tcg", "kvm", "hvf"};
    return names[accel];
}

/* --- binary --- */

static bool
is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static int
find_binary(const struct qemu *qemu, const struct guest_arch *arch, struct plan *ret,
            struct ctr_error *err)
{
    static const char *const folders[] = {"/usr/bin", "/usr/local/bin", "/opt/homebrew/bin",
                                          "/opt/local/bin", "/usr/libexec"};
    const char *given = qemu->host->option_string(qemu->host, "binary");
    if (given != NULL && given[0] != '\0') {
        (void) snprintf(ret->binary, sizeof ret->binary, "%s", given);
        return given[0] == '/' && is_program(given)
                   ? 0
                   : ctr_fail(err, -ENOENT,
                              "option binary: %s is not a program; give an absolute path or "
                              "unset it and install the package %s",
                              given, arch->package);
    }
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        (void) snprintf(ret->binary, sizeof ret->binary, "%s/%s", folders[i], arch->binary);
        if (is_program(ret->binary)) {
            return 0;
        }
    }
    return ctr_fail(err, -ENOENT,
                    "%s is not installed: install the package %s (macOS: qemu) or set "
                    "binary in [vmm.qemu]",
                    arch->binary, arch->package);
}

/* --- accelerators --- */

static bool
host_is(const char *arch)
{
    struct utsname names;
    if (uname(&names) < 0) {
        return false;
    }
    if (strcmp(arch, "amd64") == 0) {
        return strcmp(names.machine, "x86_64") == 0;
    }
    return strcmp(names.machine, "aarch64") == 0 || strcmp(names.machine, "arm64") == 0;
}

/* Whether the processor shows its virtualization to us. KVM without it exists (in some VMs), takes machines, and then
 * spins: it is neither of use nor a boundary. */
static bool
has_virtualization(void)
{
#if defined(__x86_64__)
    unsigned a, b, c = 0, d;
    bool vmx = __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & (1u << 5)) != 0;
    bool svm = __get_cpuid(0x80000001, &a, &b, &c, &d) != 0 && (c & (1u << 2)) != 0;
    return vmx || svm;
#else
    return true;
#endif
}

/* 0, or why KVM cannot be used, in `why`. */
static int
try_kvm(char *why, size_t size)
{
#ifdef __linux__
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        (void) snprintf(why, size, "/dev/kvm: %s", strerror(errno));
        return -errno;
    }
    int version = ioctl(fd, KVM_GET_API_VERSION, 0);
    int machine = version == 12 ? ioctl(fd, KVM_CREATE_VM, 0) : -1;
    if (machine < 0) {
        (void) snprintf(why, size, "/dev/kvm makes no machine: %s",
                        version < 0 || version == 12 ? strerror(errno) : "unknown version");
    } else {
        (void) close(machine);
    }
    (void) close(fd);
    if (machine >= 0 && !has_virtualization()) {
        (void) snprintf(why, size, "/dev/kvm exists, but the processor has no VMX or SVM");
        machine = -1;
    }
    return machine < 0 ? -ENODEV : 0;
#else
    (void) snprintf(why, size, "this system has no KVM");
    return -ENODEV;
#endif
}

/* QEMU opens /dev/kvm as its own user: through the device's group where that has access. */
static int
grant_kvm(struct plan *plan, char *why, size_t size)
{
    struct stat st;
    if (plan->uid == 0) {
        return 0;
    }
    if (stat("/dev/kvm", &st) < 0) {
        return -errno;
    }
    if ((st.st_mode & 06) == 06) {
        return 0;
    }
    if ((st.st_mode & 060) == 060 && st.st_gid != 0) {
        plan->gid = st.st_gid;
        return 0;
    }
    (void) snprintf(why, size,
                    "/dev/kvm is open to root alone: give it to a group (chgrp kvm, chmod 660) "
                    "or set user = root in [vmm.qemu]");
    return -EACCES;
}

static int
try_hvf(char *why, size_t size)
{
#ifdef __APPLE__
    int supported = 0;
    size_t length = sizeof supported;
    if (sysctlbyname("kern.hv_support", &supported, &length, NULL, 0) == 0 && supported == 1) {
        return 0;
    }
#endif
    (void) snprintf(why, size, "this system has no Hypervisor.framework");
    return -ENODEV;
}

static int
choose_accel(const struct qemu *qemu, const char *arch, struct plan *ret, struct ctr_error *err)
{
    const char *wish = qemu->host->option_string(qemu->host, "accel");
    char why[256] = "";
    ret->accel = ACCEL_TCG;
    if (strcmp(wish, "tcg") == 0) {
        return 0;
    }
    if (!host_is(arch)) {
        return strcmp(wish, "auto") == 0
                   ? 0
                   : ctr_fail(err, -ENOTSUP,
                              "accel = %s runs no %s guests on this host: set accel = auto",
                              wish, arch);
    }
    if (strcmp(wish, "hvf") != 0 && try_kvm(why, sizeof why) == 0) {
        if (grant_kvm(ret, why, sizeof why) == 0) {
            ret->accel = ACCEL_KVM;
            return 0;
        }
        qemu->host->log(qemu->host, CTR_LOG_WARN, why);
    }
    if (strcmp(wish, "kvm") != 0 && try_hvf(why, sizeof why) == 0) {
        ret->accel = ACCEL_HVF;
        return 0;
    }
    return strcmp(wish, "auto") == 0
               ? 0
               : ctr_fail(err, -ENODEV, "accel = %s does not work here (%s): set accel = auto",
                          wish, why);
}

static int
choose_machine(const struct qemu *qemu, const char *arch, struct plan *ret,
               struct ctr_error *err)
{
    const char *wish = qemu->host->option_string(qemu->host, "machine");
    bool arm = strcmp(arch, "arm64") == 0;
    if (strcmp(wish, "auto") == 0) {
        ret->machine = arm ? MACHINE_VIRT : MACHINE_MICROVM;
        return 0;
    }
    ret->machine = strcmp(wish, "microvm") == 0 ? MACHINE_MICROVM
                   : strcmp(wish, "q35") == 0   ? MACHINE_Q35
                                                : MACHINE_VIRT;
    return arm == (ret->machine == MACHINE_VIRT)
               ? 0
               : ctr_fail(err, -ENOTSUP, "machine = %s runs no %s guests: set machine = auto",
                          wish, arch);
}

int
qemu_plan(struct qemu *qemu, const char *arch, struct plan *ret, struct ctr_error *err)
{
    for (size_t i = 0; i < sizeof arches / sizeof arches[0]; i++) {
        struct plan *plan = &qemu->plans[i];
        if (strcmp(arch, arches[i].name) != 0) {
            continue;
        }
        if (plan->machine == MACHINE_NONE) { /* probed once */
            *plan = (struct plan){.uid = qemu->uid, .gid = qemu->gid};
            int code = find_binary(qemu, &arches[i], plan, err);
            code = code < 0 ? code : choose_accel(qemu, arch, plan, err);
            code = code < 0 ? code : choose_machine(qemu, arch, plan, err);
            if (code < 0) {
                plan->machine = MACHINE_NONE;
                return code;
            }
        }
        *ret = *plan;
        return 0;
    }
    return ctr_fail(err, -ENOTSUP, "no guests of architecture %.32s: amd64 and arm64 only",
                    arch);
}

int
qemu_find_user(struct qemu *qemu, struct ctr_error *err)
{
    const char *name = qemu->host->option_string(qemu->host, "user");
    char buffer[4096];
    struct passwd entry, *found = NULL;
    if (geteuid() != 0 || name == NULL || name[0] == '\0' || strcmp(name, "root") == 0) {
        return 0;
    }
    int code = getpwnam_r(name, &entry, buffer, sizeof buffer, &found);
    if (found == NULL) {
        return ctr_fail(err, code == 0 ? -ENOENT : -code,
                        "option user: there is no user %s on this host", name);
    }
    qemu->uid = entry.pw_uid;
    qemu->gid = entry.pw_gid;
    return 0;
}

/* --- time --- */

struct tick
qemu_tick(void)
{
    struct tick best = {0};
#if defined(__x86_64__)
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 8; i++) { /* the try that was not interrupted between the three reads */
        struct timespec now;
        uint64_t before = __rdtsc();
        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        uint64_t after = __rdtsc();
        if (after - before < least) {
            least = after - before;
            best.counter = before + least / 2;
            best.ns = (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
        }
    }
#endif
    return best;
}

uint64_t
qemu_tsc_khz(struct tick since)
{
#if defined(__x86_64__)
    struct tick now = qemu_tick();
    while (now.ns - since.ns < 4000000) {
        now = qemu_tick();
    }
    return (uint64_t) ((double) (now.counter - since.counter) * 1e6 /
                           (double) (now.ns - since.ns) +
                       0.5);
#else
    (void) since;
    return 0;
#endif
}
