/*
 * Disks on QEMU's command line. Each file is opened here and passed as a descriptor in a set of its own: raw disks in set 0, 1, …, the
 * extents of VMDK disks in sets from 100 on. QEMU gets a VMDK descriptor of our own making, which names those sets, so it opens no path, and
 * it takes flat extents for what they are: it looks for no format in them.
 */
#include "qemu-priv.h"
#include "vmdk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

enum { FIRST_EXTENT_SET = 100 };

static int
open_file(const char *path, bool read_only, struct stat *ret, struct ctr_error *err)
{
    int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        int code = -errno;
        return ctr_fail(err, code, "disk %s: %s", path, strerror(-code));
    }
    if (fstat(fd, ret) < 0 || (!S_ISREG(ret->st_mode) && !S_ISBLK(ret->st_mode))) {
        (void) close(fd);
        return ctr_fail(err, -EINVAL, "disk %s: neither a file nor a block device", path);
    }
    (void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return fd;
}

/* Takes the fd into a set; the name that QEMU opens it by is /dev/fdset/SET. */
static int
add_to_set(struct command *command, int take_fd, unsigned set, const char *path,
           struct ctr_error *err)
{
    int n = command_pass_fd(command, take_fd);
    if (n < 0) {
        return ctr_fail(err, n, "disk %s: too many disks and extents, %d files at most", path,
                        MAX_FDS);
    }
    command_add(command, "-add-fd");
    command_add(command, "fd=%d,set=%u", n, set);
    return 0;
}

/* --- raw --- */

static int
add_raw(struct command *command, const struct ctr_disk *disk, unsigned index,
        struct ctr_error *err)
{
    bool read_only = (disk->flags & CTR_DISK_READ_ONLY) != 0;
    const char *discard = (disk->flags & CTR_DISK_DISCARD) != 0 ? "unmap" : "ignore";
    char node[24], set[24];
    struct stat st;
    int fd = open_file(disk->path, read_only, &st, err);
    int code = fd < 0 ? fd : add_to_set(command, fd, index, disk->path, err);
    if (code < 0) {
        return code;
    }
    (void) snprintf(node, sizeof node, "disk%u", index);
    (void) snprintf(set, sizeof set, "/dev/fdset/%u", index);
    command_add_json(command, "-blockdev",
                     json_pack("{s:s, s:s, s:b, s:s, s:{s:s, s:s, s:b, s:s}}", "driver", "raw",
                               "node-name", node, "read-only", (int) read_only, "discard",
                               discard, "file", "driver",
                               S_ISBLK(st.st_mode) ? "host_device" : "file", "filename", set,
                               "read-only", (int) read_only, "discard", discard));
    return 0;
}

/* --- VMDK --- */

/* The whole file, with its length. Caller frees. */
static int
read_descriptor(const char *path, char **ret, size_t *ret_length, struct ctr_error *err)
{
    struct stat st;
    int fd = open_file(path, true, &st, err);
    if (fd < 0) {
        return fd;
    }
    size_t size = (size_t) st.st_size;
    char *text = !S_ISREG(st.st_mode) || size > VMDK_MAX_TEXT ? NULL : malloc(size + 1);
    ssize_t n = text != NULL ? read(fd, text, size) : -1;
    (void) close(fd);
    if (n < 0 || (size_t) n != size) {
        free(text);
        return ctr_fail(err, -EBADMSG, "it cannot be read, or is larger than 1 MiB");
    }
    *ret = text;
    *ret_length = size;
    return 0;
}

static int
add_extent(struct command *command, const struct vmdk_extent *extent, unsigned set,
           struct ctr_error *err)
{
    struct stat st;
    int fd = open_file(extent->path, true, &st, err);
    if (fd < 0) {
        return fd;
    }
    uint64_t sectors = (uint64_t) st.st_size / 512;
    if (S_ISREG(st.st_mode) &&
        (extent->offset > sectors || extent->sectors > sectors - extent->offset)) {
        (void) close(fd);
        return ctr_fail(err, -EBADMSG, "its extent %s is shorter than %llu sectors",
                        extent->path, (unsigned long long) (extent->offset + extent->sectors));
    }
    return add_to_set(command, fd, set, extent->path, err);
}

/* The descriptor for QEMU in a file without a name, open for reading only. No empty line may stand before an extent: QEMU 7.2 would read past
 * its end and take that extent twice. */
static int
write_descriptor(const struct vmdk *vmdk, unsigned first_set)
{
#ifdef __linux__
    char path[40];
    int fd = memfd_create("ctr-vmdk", MFD_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    bool written = dprintf(fd, "# Disk DescriptorFile\nversion=1\nCID=fffffffe\n"
                               "parentCID=ffffffff\ncreateType=\"twoGbMaxExtentFlat\"\n") > 0;
    for (size_t i = 0; i < vmdk->n && written; i++) {
        written = dprintf(fd, "RW %llu FLAT \"/dev/fdset/%zu\" %llu\n",
                          (unsigned long long) vmdk->extents[i].sectors, first_set + i,
                          (unsigned long long) vmdk->extents[i].offset) > 0;
    }
    (void) snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = written ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    int code = again < 0 ? -errno : again;
    (void) close(fd);
    return code;
#else
    (void) vmdk;
    (void) first_set;
    return -ENOTSUP;
#endif
}

static int
add_extents(struct command *command, const struct ctr_disk *disk, const struct vmdk *vmdk,
            unsigned index, struct ctr_error *err)
{
    unsigned first = FIRST_EXTENT_SET + command->n_extents;
    if (disk->bytes != vmdk->sectors * 512) {
        return ctr_fail(err, -EBADMSG, "it has %llu sectors, but the disk %llu bytes",
                        (unsigned long long) vmdk->sectors, (unsigned long long) disk->bytes);
    }
    for (size_t i = 0; i < vmdk->n; i++, command->n_extents++) {
        int code = add_extent(command, &vmdk->extents[i], first + (unsigned) i, err);
        if (code < 0) {
            return code;
        }
    }
    int fd = write_descriptor(vmdk, first);
    return fd < 0 ? ctr_fail(err, fd, "no descriptor for QEMU can be made: %s", strerror(-fd))
                  : add_to_set(command, fd, index, disk->path, err);
}

static int
add_vmdk(struct command *command, const struct ctr_disk *disk, unsigned index,
         struct ctr_error *err)
{
    char node[24], set[24], *text = NULL;
    size_t length = 0;
    struct vmdk vmdk = {0};
    if ((disk->flags & CTR_DISK_READ_ONLY) == 0) {
        return ctr_fail(err, -ENOTSUP, "disk %s: a VMDK disk can only be read", disk->path);
    }
    int code = read_descriptor(disk->path, &text, &length, err);
    code = code < 0 ? code : vmdk_parse(text, length, &vmdk, err);
    code = code < 0 ? code : add_extents(command, disk, &vmdk, index, err);
    vmdk_finish(&vmdk);
    free(text);
    if (code < 0) {
        return ctr_prefix(err, "disk %s", disk->path);
    }
    (void) snprintf(node, sizeof node, "disk%u", index);
    (void) snprintf(set, sizeof set, "/dev/fdset/%u", index);
    command_add_json(command, "-blockdev",
                     json_pack("{s:s, s:s, s:b, s:{s:s, s:s, s:b}}", "driver", "vmdk",
                               "node-name", node, "read-only", 1, "file", "driver", "file",
                               "filename", set, "read-only", 1));
    return 0;
}

int
command_add_disk(struct command *command, const struct ctr_disk *disk, unsigned index,
                 const char *bus, const char *depth, struct ctr_error *err)
{
    int code = disk->format == CTR_DISK_RAW ? add_raw(command, disk, index, err)
               : disk->format == CTR_DISK_VMDK
                   ? add_vmdk(command, disk, index, err)
                   : ctr_fail(err, -ENOTSUP, "disk %s: format %u is unknown", disk->path,
                              disk->format);
    if (code == 0) {
        command_add(command, "-device");
        command_add(command, "virtio-blk-%s,drive=disk%u,serial=ctr%u%s", bus, index, index,
                    depth);
    }
    return code;
}
