/*
 * disks.c: the disks of the boot message and the root filesystem that they make.
 *
 * The n-th disk is the one with the serial "ctrN"; where the VMM gives no serials, the one that the message names. Role root is
 * the root filesystem; roles lower and upper make an overlay: lower disks as given, the lowest first.
 */
#include "vm.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define DISKS_MAX 64

struct wanted {
    size_t number;
    const char *name; /* of the boot message */
    char path[PATH_MAX];
};

static bool
has_serial(const char *disk, const char *serial)
{
    char path[PATH_MAX], text[32] = "";
    (void) snprintf(path, sizeof path, "/sys/block/%s/serial", disk);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    (void) close(fd);
    return n > 0 && (size_t) n >= strlen(serial) &&
           strncmp(text, serial, strlen(serial)) == 0 &&
           (text[strlen(serial)] == '\0' || text[strlen(serial)] == '\n');
}

/* Whether the disk is there yet; any serial of ours means that serials decide. */
static bool
find_disk(void *arg)
{
    struct wanted *wanted = arg;
    char serial[32];
    bool serials = false;
    (void) snprintf(serial, sizeof serial, "ctr%zu", wanted->number);
    DIR *dir = opendir("/sys/block");
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        serials = serials || has_serial(entry->d_name, "ctr0");
        if (has_serial(entry->d_name, serial)) {
            (void) snprintf(wanted->path, sizeof wanted->path, "/dev/%s", entry->d_name);
            (void) closedir(dir);
            return true;
        }
    }
    if (dir != NULL) {
        (void) closedir(dir);
    }
    (void) snprintf(wanted->path, sizeof wanted->path, "%s", wanted->name);
    return !serials && access(wanted->path, F_OK) == 0;
}

static const char *
text_of(const json_t *disk, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(disk, key));
    return text == NULL ? otherwise : text;
}

/* A program is read by its page faults. Each request leaves the machine, so it brings as much as a small program is long. */
static void
read_ahead(const char *device)
{
    char path[PATH_MAX];
    if (strncmp(device, "/dev/", 5) == 0 && strchr(device + 5, '/') == NULL) {
        (void) snprintf(path, sizeof path, "/sys/block/%.32s/queue/read_ahead_kb", device + 5);
        (void) vm_write(path, "1024");
    }
}

static int
mount_disk(const json_t *disk, size_t number, const char *target, struct fault *fault)
{
    struct wanted wanted = {.number = number, .name = text_of(disk, "device", "")};
    const char *fstype = text_of(disk, "fstype", "ext4");
    unsigned long flags = 0;
    char data[1024];
    if (mount_flags(text_of(disk, "options", ""), &flags, data, sizeof data) < 0) {
        return fault_set(fault, "EINVAL", "disk %zu: its mount options are too long", number);
    }
    if (json_is_true(json_object_get(disk, "read_only"))) {
        flags |= MS_RDONLY;
    }
    if (!uevent_wait(find_disk, &wanted)) {
        return fault_set(fault, "EIO", "disk %zu (%.60s) is not there", number, wanted.name);
    }
    read_ahead(wanted.path);
    if (strcmp(fstype, "erofs") == 0) {
        modules_load("erofs");
    }
    if (vm_mkdir(target) < 0 || mount(wanted.path, target, fstype, flags, data) < 0) {
        return fault_errno(fault, "EIO", "mount disk %zu (%.60s, %.32s)", number, wanted.path,
                           fstype);
    }
    return 0;
}

/* The writable side: the upper disk, or memory when there is none. */
static int
mount_upper(const json_t *disk, size_t number, struct fault *fault)
{
    const char *target = VM_DISKS "/upper";
    if (disk != NULL) {
        if (mount_disk(disk, number, target, fault) < 0) {
            return -1;
        }
    } else if (vm_mkdir(target) < 0 || mount("tmpfs", target, "tmpfs", 0, "mode=755") < 0) {
        return fault_errno(fault, "EIO", "mount a writable layer");
    }
    if (vm_mkdir(VM_DISKS "/upper/upper") < 0 || vm_mkdir(VM_DISKS "/upper/work") < 0) {
        return fault_errno(fault, "EIO", "make the writable layer's folders");
    }
    return 0;
}

static int
mount_overlay(const json_t *disks, struct fault *fault)
{
    char options[4096];
    char lower[2048] = "";
    const json_t *disk, *upper = NULL;
    size_t i, upper_number = 0;
    json_array_foreach(disks, i, disk)
    {
        const char *role = text_of(disk, "role", "");
        char target[64], longer[sizeof lower];
        if (strcmp(role, "upper") == 0) {
            upper = disk;
            upper_number = i;
            continue;
        }
        (void) snprintf(target, sizeof target, VM_DISKS "/%zu", i);
        if (mount_disk(disk, i, target, fault) < 0) {
            return -1;
        }
        if ((size_t) snprintf(longer, sizeof longer, "%s%s%s", target,
                              *lower == '\0' ? "" : ":", lower) >= sizeof longer) {
            return fault_set(fault, "EINVAL", "too many lower disks");
        }
        memcpy(lower, longer, sizeof lower);
    }
    if (mount_upper(upper, upper_number, fault) < 0) {
        return -1;
    }
    (void) snprintf(
        options, sizeof options,
        "lowerdir=%s,upperdir=" VM_DISKS "/upper/upper,workdir=" VM_DISKS "/upper/work", lower);
    modules_load("overlay");
    if (mount("overlay", VM_ROOT, "overlay", 0, options) < 0) {
        return fault_errno(fault, "EIO", "mount the overlay of the disks");
    }
    return 0;
}

int
disks_mount(const json_t *boot, struct fault *fault)
{
    const json_t *disks = json_object_get(boot, "disks");
    size_t n = json_array_size(disks), roots = 0, lowers = 0, root = 0, i;
    const json_t *disk;
    json_array_foreach(disks, i, disk)
    {
        const char *role = text_of(disk, "role", "");
        if (strcmp(role, "root") == 0) {
            roots++;
            root = i;
        } else if (strcmp(role, "lower") == 0) {
            lowers++;
        } else if (strcmp(role, "upper") != 0) {
            return fault_set(fault, "EINVAL", "disk %zu has no known role", i);
        }
    }
    if (n == 0 || n > DISKS_MAX || roots > 1 || (roots == 0) == (lowers == 0)) {
        return fault_set(fault, "EINVAL",
                         "the disks make no root: one root, or lower ones and an upper one");
    }
    if (vm_mkdir(VM_ROOT) < 0 || vm_mkdir(VM_DISKS) < 0) {
        return fault_errno(fault, "EIO", "make mount points");
    }
    return roots == 1 ? mount_disk(json_array_get(disks, root), root, VM_ROOT, fault)
                      : mount_overlay(disks, fault);
}

void
disks_unmount(void)
{
    sync();
    if (umount2(VM_ROOT, 0) < 0 && errno != EINVAL && errno != ENOENT) {
        note("unmount the root: %s", fault_reason(errno));
        (void) mount(NULL, VM_ROOT, NULL, MS_REMOUNT | MS_RDONLY, NULL);
        (void) umount2(VM_ROOT, MNT_DETACH);
    }
    if (umount2(VM_DISKS "/upper", 0) < 0 && errno != EINVAL && errno != ENOENT) {
        (void) mount(NULL, VM_DISKS "/upper", NULL, MS_REMOUNT | MS_RDONLY, NULL);
    }
    sync();
}
