/*
 * root-vm.c: ctr-init as PID 1 of a virtual machine. See root.h.
 *
 * ctr-init's own root is the initramfs, bound over itself: pivot_root in a container needs a root that is mounted on something.
 */
#include "loop.h"
#include "root.h"
#include "vm.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

const bool root_is_private = true;

static const json_t *boot_message; /* kept for the first process */
static int cgroup = -1, own_pids = -1, init_pids = -1, init_pidfd = -1;

int
vm_mkdir(const char *path)
{
    return mkdir(path, 0755) < 0 && errno != EEXIST ? -1 : 0;
}

int
vm_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    ssize_t n = write(fd, text, strlen(text));
    (void) close(fd);
    return n < 0 ? -1 : 0;
}

/* --- start --- */

static int
mount_own(struct fault *fault)
{
    static const char *const folders[] = {"/proc", "/sys", "/dev", "/ctr"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        (void) vm_mkdir(folders[i]);
    }
    if (mount("/", "/ctr", NULL, MS_BIND, NULL) < 0 || chdir("/ctr") < 0 ||
        mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0) {
        return fault_errno(fault, "EIO", "bind the initramfs");
    }
    if (mount("proc", "/proc", "proc", 0, NULL) < 0 ||
        mount("sysfs", "/sys", "sysfs", 0, NULL) < 0 ||
        (mount("devtmpfs", "/dev", "devtmpfs", 0, NULL) < 0 && errno != EBUSY)) {
        return fault_errno(fault, "EIO", "mount /proc, /sys and /dev");
    }
    return 0;
}

static bool
any_in(const char *folder, const char *part)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    bool found = false;
    while (dir != NULL && !found && (entry = readdir(dir)) != NULL) {
        found = entry->d_name[0] != '.' && strstr(entry->d_name, part) != NULL;
    }
    if (dir != NULL) {
        (void) closedir(dir);
    }
    return found;
}

static void
load_transport(void)
{
    modules_load("core");
    if (any_in("/sys/bus/pci/devices", "")) {
        modules_load("pci");
    }
    if (!any_in("/sys/bus/virtio/devices", "")) {
        modules_load("mmio");
    }
    modules_load_drivers();
}

/* Finds the port called ctr.channel; its name arrives some time after the port. */
static bool
find_port(void *arg)
{
    char *ret_path = arg;
    DIR *dir = opendir("/sys/class/virtio-ports");
    struct dirent *entry;
    bool found = false;
    while (dir != NULL && !found && (entry = readdir(dir)) != NULL) {
        char path[PATH_MAX], name[64] = "";
        (void) snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, name, sizeof name - 1);
        if (fd >= 0) {
            (void) close(fd);
        }
        name[n > 0 ? n : 0] = '\0';
        name[strcspn(name, "\n")] = '\0';
        found = strcmp(name, "ctr.channel") == 0;
        (void) snprintf(ret_path, 64, "/dev/%.50s", entry->d_name);
    }
    if (dir != NULL) {
        (void) closedir(dir);
    }
    return found;
}

int
root_start(struct fault *fault)
{
    char path[64] = "";
    (void) umask(022);
    if (getpid() != 1) {
        (void) fault_set(fault, "EINVAL", "ctr-init is the first process of a virtual machine");
        note("%s", fault->message);
        _exit(1);
    }
    if (mount_own(fault) < 0) {
        return -1;
    }
    (void) vm_write("/proc/self/oom_score_adj", "-1000");
    /* Not woken in the middle of a process's many small writes, so that they leave in large frames. */
    struct sched_param normal = {0};
    (void) sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &normal);
    /* Drivers and mounts wait for other processors many times; there are none that do anything yet. */
    (void) vm_write("/sys/kernel/rcu_expedited", "1");
    load_transport();
    if (!uevent_wait(find_port, path)) {
        return fault_set(fault, "EIO", "the machine has no virtio-serial port ctr.channel");
    }
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    own_pids = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    return fd < 0 || own_pids < 0 ? fault_errno(fault, "EIO", "open %s", path) : fd;
}

/* --- boot --- */

static void
set_clock(json_int_t time_ns)
{
    struct timespec now = {.tv_sec = time_ns / 1000000000, .tv_nsec = time_ns % 1000000000};
    if (time_ns > 0 && clock_settime(CLOCK_REALTIME, &now) < 0) {
        note("set the clock: %s", fault_reason(errno));
    }
}

static int
nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int
seed_random(const char *hex, struct fault *fault)
{
    enum { BYTES = 32 };
    union {
        struct rand_pool_info info;
        uint8_t raw[sizeof(struct rand_pool_info) + BYTES];
    } pool = {.info = {.entropy_count = 8 * BYTES, .buf_size = BYTES}};
    bool good = hex != NULL && strlen(hex) == (size_t) 2 * BYTES;
    for (size_t i = 0; good && i < BYTES; i++) {
        int high = nibble(hex[2 * i]), low = nibble(hex[2 * i + 1]);
        good = high >= 0 && low >= 0;
        pool.raw[offsetof(struct rand_pool_info, buf) + i] =
            (uint8_t) ((unsigned) high << 4 | (unsigned) low);
    }
    if (!good) {
        return fault_set(fault, "EINVAL", "the seed is not 64 lower-case hex digits");
    }
    int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
    int result = fd < 0 ? -1 : ioctl(fd, RNDADDENTROPY, &pool);
    if (result == 0) {
        (void) ioctl(fd, RNDRESEEDCRNG);
    }
    if (fd >= 0) {
        (void) close(fd);
    }
    return result < 0 ? fault_errno(fault, "EIO", "seed /dev/urandom") : 0;
}

int
root_boot(const json_t *boot, struct fault *fault)
{
    boot_message = json_incref((json_t *) boot);
    set_clock(json_integer_value(json_object_get(boot, "time_ns")));
    if (seed_random(json_string_value(json_object_get(boot, "seed")), fault) < 0 ||
        disks_mount(boot, fault) < 0 || names_write(boot, fault) < 0 ||
        net_setup(json_object_get(boot, "network"), true, fault) < 0) {
        return -1;
    }
    if (mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL) < 0) {
        return fault_errno(fault, "EIO", "mount cgroup2");
    }
    cgroup = cgroup_create(fault);
    return cgroup < 0 ? -1 : 0;
}

int
root_network(const json_t *network, struct fault *fault)
{
    return net_setup(network, false, fault) < 0 ? -1 : names_update(network, fault);
}

static void
load_late(struct watch *watch, uint32_t events)
{
    watch_close(watch);
    (void) vm_write("/sys/kernel/rcu_expedited", "0");
    modules_load("late");
}

/* Balloon and the like can wait: a short command must not. */
void
root_settled(void)
{
    static struct watch timer;
    struct itimerspec soon = {.it_value = {.tv_sec = 1}};
    timer =
        (struct watch){.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), .ready = load_late};
    (void) timerfd_settime(timer.fd, 0, &soon, NULL);
    (void) watch_set(&timer, EPOLLIN);
}

/* --- processes --- */

pid_t
root_clone(bool first)
{
    struct clone_args args = {
        .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t) cgroup};
    if (first) {
        args.flags |= CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
    } else if (init_pids < 0 || setns(init_pids, CLONE_NEWPID) < 0) {
        return -1;
    }
    pid_t pid = (pid_t) syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0) {
        return 0;
    }
    int number = errno;
    if (first && pid > 0) {
        char path[64];
        (void) snprintf(path, sizeof path, "/proc/%d/ns/pid", pid);
        init_pids = open(path, O_RDONLY | O_CLOEXEC);
        init_pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
    } else if (!first) {
        (void) setns(own_pids, CLONE_NEWPID);
    }
    errno = number;
    return pid;
}

int
root_enter(const struct spec *spec, struct fault *fault)
{
    (void) vm_write("/proc/self/oom_score_adj", "0");
    if (spec->first) {
        if (unshare(CLONE_NEWCGROUP) < 0) {
            return fault_errno(fault, "EIO", "make a cgroup namespace");
        }
        return layout_enter(boot_message, fault);
    }
    if (setns(init_pidfd, CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) < 0) {
        return fault_errno(fault, "EIO", "join the container");
    }
    return 0;
}

int
root_open_terminal(struct fault *fault)
{
    int fd = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) {
        return fault_errno(fault, "EIO", "open a terminal");
    }
    int unlock = 0;
    if (getpid() == 1 && ioctl(fd, TIOCSPTLCK, &unlock) == 0) {
        layout_console(fd);
    }
    return fd;
}

bool
root_oom(void)
{
    return cgroup_oom();
}

/* --- the end --- */

void
root_unmount(void)
{
    static bool done;
    if (!done) {
        done = true;
        disks_unmount();
    }
}

void
root_power_off(void)
{
    sync();
    (void) reboot(RB_POWER_OFF);
    for (;;) {
        (void) pause();
    }
}
