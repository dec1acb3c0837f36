/*
 * layout.c: in the first process, its own mount namespace: pivot into the root and mount what the OCI runtime spec lists.
 *
 * The root is hostile: each mount point is opened as a folder without following links, and mounted on by the open folder.
 * After the pivot every path ends inside the root by construction, and nothing of ctr-init's own root is left in reach.
 */
#include "vm.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int
open_in(const char *path, int flags, mode_t mode, uint64_t resolve)
{
    struct open_how how = {.flags = (uint64_t) (flags | O_CLOEXEC),
                           .mode = (flags & O_CREAT) != 0 ? mode : 0,
                           .resolve = resolve | RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = (int) syscall(SYS_openat2, root, path, &how, sizeof how);
    int number = errno;
    (void) close(root);
    errno = number;
    return fd;
}

/* mkdir -p of all but the last part of an absolute path. */
static void
make_parents(const char *path)
{
    char copy[PATH_MAX];
    (void) snprintf(copy, sizeof copy, "%s", path);
    for (char *p = strchr(copy + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
        *p = '\0';
        (void) mkdir(copy, 0755);
        *p = '/';
    }
}

/* Goes into a mount point, made if missing. `resolve` may forbid links. */
static int
enter(const char *path, uint64_t resolve, struct fault *fault)
{
    make_parents(path);
    (void) mkdir(path, 0755);
    int fd = open_in(path, O_PATH | O_DIRECTORY, 0, resolve);
    if (fd < 0 || fchdir(fd) < 0) {
        int number = errno;
        (void) close(fd);
        errno = number;
        return fault_errno(fault, "EIO", "the mount point %.200s cannot be used", path);
    }
    (void) close(fd);
    return 0;
}

static int
mount_at(const char *path, const char *type, unsigned long flags, const char *data,
         struct fault *fault)
{
    if (enter(path, RESOLVE_NO_SYMLINKS, fault) < 0) {
        return -1;
    }
    if (mount(type, ".", type, flags, data) < 0) {
        return fault_errno(fault, "EIO", "mount %s on %.200s", type, path);
    }
    return chdir("/");
}

/* --- /dev --- */

static int
fill_dev(struct fault *fault)
{
    static const struct {
        const char *path;
        unsigned major, minor;
    } nodes[] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
                 {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};
    static const char *const links[][2] = {
        {"/proc/self/fd", "/dev/fd"},       {"/proc/self/fd/0", "/dev/stdin"},
        {"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"},
        {"pts/ptmx", "/dev/ptmx"},          {"/proc/kcore", "/dev/core"}};
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        if (mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)) < 0 ||
            chmod(nodes[i].path, 0666) < 0) {
            return fault_errno(fault, "EIO", "make %s", nodes[i].path);
        }
    }
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        if (symlink(links[i][0], links[i][1]) < 0) {
            return fault_errno(fault, "EIO", "make %s", links[i][1]);
        }
    }
    return 0;
}

static int
mount_dev(const json_t *boot, struct fault *fault)
{
    char shm[64];
    json_int_t size = json_integer_value(json_object_get(boot, "shm_size"));
    (void) snprintf(shm, sizeof shm, "mode=1777,size=%lld",
                    size > 0 ? (long long) size : 67108864ll);
    unsigned long quiet = MS_NOSUID | MS_NOEXEC;
    if (mount_at("/dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k", fault) <
            0 ||
        fill_dev(fault) < 0 ||
        mount_at("/dev/pts", "devpts", quiet, "newinstance,ptmxmode=0666,mode=0620,gid=5",
                 fault) < 0 ||
        mount_at("/dev/shm", "tmpfs", quiet | MS_NODEV, shm, fault) < 0) {
        return -1;
    }
    return mount_at("/dev/mqueue", "mqueue", quiet | MS_NODEV, NULL, fault);
}

void
layout_console(int master)
{
    int number = -1;
    char path[32];
    int fd = open("/dev/console", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || ioctl(master, TIOCGPTN, &number) < 0) {
        return;
    }
    (void) close(fd);
    (void) snprintf(path, sizeof path, "/dev/pts/%d", number);
    (void) mount(path, "/dev/console", NULL, MS_BIND, NULL);
}

/* --- files of the core's --- */

/* The file's own place in the root: links are followed inside it, missing parts are made. -1: it cannot be. */
static int
open_target(const char *path)
{
    char now[PATH_MAX], link[PATH_MAX], next[PATH_MAX];
    (void) snprintf(now, sizeof now, "%s", path);
    for (int i = 0; i < 8; i++) {
        make_parents(now);
        int fd = open_in(now, O_RDONLY | O_CREAT | O_NONBLOCK | O_NOCTTY, 0644, 0);
        if (fd >= 0) {
            return fd;
        }
        ssize_t n = readlink(now, link, sizeof link - 1);
        if (n <= 0) {
            return open_in(now, O_PATH, 0, 0);
        }
        link[n] = '\0';
        int folder = link[0] == '/' ? 0 : (int) (strrchr(now, '/') - now + 1);
        if ((size_t) snprintf(next, sizeof next, "%.*s%s", folder, now, link) >= sizeof next) {
            return -1;
        }
        memcpy(now, next, sizeof now);
    }
    return -1;
}

static void
bind_file(int take_tree, const char *path)
{
    int target = open_target(path);
    if (target < 0 || move_mount(take_tree, "", target, "",
                                 MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
        note("%s: %s", path, fault_reason(errno));
    }
    if (target >= 0) {
        (void) close(target);
    }
    (void) close(take_tree);
}

/* --- what the container must not see or change --- */

static void
mask(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0) {
        return;
    }
    if (S_ISDIR(st.st_mode)) {
        (void) mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
                     "mode=555");
    } else {
        (void) mount("/dev/null", path, NULL, MS_BIND, NULL);
    }
}

static void
make_read_only(const char *path)
{
    unsigned long keep = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) == 0) {
        (void) mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | keep, NULL);
    }
}

static void
protect(void)
{
    static const char *const hidden[] = {"/proc/acpi",
                                         "/proc/asound",
                                         "/proc/kcore",
                                         "/proc/keys",
                                         "/proc/latency_stats",
                                         "/proc/timer_list",
                                         "/proc/timer_stats",
                                         "/proc/sched_debug",
                                         "/proc/scsi",
                                         "/sys/firmware",
                                         "/sys/devices/virtual/powercap"};
    static const char *const fixed[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                        "/proc/sysrq-trigger"};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        mask(hidden[i]);
    }
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        make_read_only(fixed[i]);
    }
}

/* --- all of it --- */

static int
mount_tmpfs(const json_t *list, struct fault *fault)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        const char *path = json_string_value(json_object_get(item, "path"));
        const char *options = json_string_value(json_object_get(item, "options"));
        unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
        char data[512];
        if (path == NULL || path[0] != '/' || strlen(path) >= PATH_MAX ||
            mount_flags(options == NULL ? "" : options, &flags, data, sizeof data) < 0) {
            return fault_set(fault, "EINVAL",
                             "a tmpfs has no absolute path or too many options");
        }
        if (enter(path, 0, fault) < 0) {
            return -1;
        }
        if (mount("tmpfs", ".", "tmpfs", flags, data) < 0) {
            return fault_errno(fault, "EINVAL", "mount a tmpfs (%.100s) on %.200s", data, path);
        }
        if (chdir("/") < 0) {
            return fault_errno(fault, "EIO", "go back to the root");
        }
    }
    return 0;
}

static int
pivot(struct fault *fault)
{
    if (chdir(VM_ROOT) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
        umount2(".", MNT_DETACH) < 0 || chdir("/") < 0) {
        return fault_errno(fault, "EIO", "make the root the root");
    }
    return 0;
}

int
layout_enter(const json_t *boot, struct fault *fault)
{
    static const char *const files[] = {"hosts", "hostname", "resolv.conf"};
    int trees[3];
    char path[64];
    for (int i = 0; i < 3; i++) {
        (void) snprintf(path, sizeof path, VM_ETC "/%s", files[i]);
        trees[i] = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | O_CLOEXEC);
        if (trees[i] < 0) {
            return fault_errno(fault, "EIO", "take %s along", path);
        }
    }
    unsigned long quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (pivot(fault) < 0 || mount_at("/proc", "proc", quiet, NULL, fault) < 0 ||
        mount_dev(boot, fault) < 0 ||
        mount_at("/sys", "sysfs", quiet | MS_RDONLY, NULL, fault) < 0 ||
        mount_at("/sys/fs/cgroup", "cgroup2", quiet | MS_RDONLY, NULL, fault) < 0 ||
        mount_tmpfs(json_object_get(boot, "tmpfs"), fault) < 0) {
        return -1;
    }
    for (int i = 0; i < 3; i++) {
        (void) snprintf(path, sizeof path, "/etc/%s", files[i]);
        bind_file(trees[i], path);
    }
    protect();
    if (json_is_true(json_object_get(boot, "read_only")) &&
        mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0) {
        return fault_errno(fault, "EIO", "make the root read-only");
    }
    return 0;
}
