/*
 * QEMU's command line. Nothing from an image, a name or a path stands in it: files go in as inherited descriptors
 * (/dev/fdset/N for disks, /dev/fd/N for kernel and initramfs), so neither commas nor options can be smuggled in. A disk's format
 * is always stated: a guest that writes a qcow2 header onto its disk gains nothing.
 */
#include "qemu-priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/vhost.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#endif

void
command_add(struct command *command, const char *format, ...)
{
    va_list args;
    char *text = NULL;
    if (command->code < 0) {
        return;
    }
    va_start(args, format);
    if (command->n == MAX_ARGS || vasprintf(&text, format, args) < 0) {
        command->code = -ENOMEM;
    } else {
        command->argv[command->n++] = text;
        command->argv[command->n] = NULL;
    }
    va_end(args);
}

void
command_add_json(struct command *command, const char *option, json_t *take_json)
{
    char *text = take_json == NULL ? NULL : json_dumps(take_json, JSON_COMPACT);
    json_decref(take_json);
    if (text == NULL) {
        command->code = -ENOMEM;
        return;
    }
    command_add(command, "%s", option);
    command_add(command, "%s", text);
    free(text);
}

int
command_pass_fd(struct command *command, int take_fd)
{
    if (command->n_fds == MAX_FDS) {
        (void) close(take_fd);
        return -EMFILE;
    }
    command->fds[command->n_fds] = take_fd;
    return (int) command->n_fds++;
}

/* --- kernel and initramfs --- */

/* A copy in memory that QEMU's user may open again. Takes the fd. */
static int
copy_to_memory(int take_fd, off_t size)
{
#ifdef __linux__
    int copy = memfd_create("ctr-kernel", MFD_CLOEXEC);
    off_t at = 0;
    while (copy >= 0 && at < size) {
        if (sendfile(copy, take_fd, &at, (size_t) (size - at)) <= 0) {
            (void) close(copy);
            copy = -1;
        }
    }
    if (copy >= 0) {
        (void) fchmod(copy, 0444);
    }
    (void) close(take_fd);
    return copy;
#else
    (void) size;
    return take_fd;
#endif
}

/* QEMU opens it by /dev/fd/N: it needs read permission on the file, not on the folders above. */
static int
pass_image(struct command *command, const struct plan *plan, const char *what, const char *path,
           struct ctr_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        int code = fd < 0 ? -errno : -EINVAL;
        if (fd >= 0) {
            (void) close(fd);
        }
        return ctr_fail(err, code, "%s %s: %s", what, path,
                        code == -EINVAL ? "not a file" : strerror(-code));
    }
    if (plan->uid != 0 && (st.st_mode & S_IROTH) == 0) {
        fd = copy_to_memory(fd, st.st_size);
    }
    int n = fd < 0 ? -errno : command_pass_fd(command, fd);
    return n < 0 ? ctr_fail(err, n, "%s %s: %s", what, path, strerror(-n)) : n;
}

static void
add_cmdline(struct command *command, const struct qemu *qemu, const struct plan *plan,
            const struct ctr_machine *machine)
{
    bool arm = plan->machine == MACHINE_VIRT;
    char clock[128] = "";
    if (!arm && plan->accel == ACCEL_TCG) {
        /* QEMU passes an x86 host's counter through; elsewhere its own ticks at 1 GHz. */
        uint64_t khz = qemu_tsc_khz(qemu->opened);
        (void) snprintf(clock, sizeof clock,
                        "tsc_early_khz=%llu tsc=reliable no_timer_check noreplace-smp "
                        "mitigations=off ",
                        (unsigned long long) (khz == 0 ? 1000000 : khz));
    }
    command_add(command, "-append");
    command_add(command, "console=%s %spanic=-1 %s%s", arm ? "ttyAMA0" : "ttyS0",
                arm ? "" : "reboot=t ", clock,
                machine->cmdline == NULL ? "" : machine->cmdline);
}

static int
add_kernel(struct command *command, const struct qemu *qemu, const struct plan *plan,
           const struct ctr_machine *machine, struct ctr_error *err)
{
    int kernel = pass_image(command, plan, "kernel", machine->kernel, err);
    int initramfs =
        kernel < 0 ? kernel : pass_image(command, plan, "initramfs", machine->initramfs, err);
    if (initramfs < 0) {
        return initramfs;
    }
    command_add(command, "-kernel");
    command_add(command, "/dev/fd/%d", kernel);
    command_add(command, "-initrd");
    command_add(command, "/dev/fd/%d", initramfs);
    add_cmdline(command, qemu, plan, machine);
    return 0;
}

/* --- machine --- */

/* A guest's memory goes into no core dump, and is not merged with that of others (a side channel). */
#define NO_SHARING ",dump-guest-core=off,mem-merge=off"

static void
add_machine(struct command *command, const struct plan *plan)
{
    static const char *const types[] = {
        [MACHINE_MICROVM] = "microvm,acpi=on,rtc=on,isa-serial=on" NO_SHARING,
        [MACHINE_Q35] = "q35,vmport=off,sata=off,smbus=off,usb=off,graphics=off" NO_SHARING,
        [MACHINE_VIRT] = "virt,gic-version=3,usb=off,graphics=off" NO_SHARING,
    };
    static const char *const qboot[] = {"/usr/share/qemu/qboot.rom",
                                        "/usr/share/qboot/bios.bin",
                                        "/opt/homebrew/share/qemu/qboot.rom"};
    command_add(command, "-machine");
    /* Under KVM the interrupt controller of the host decides. */
    command_add(command, "%s",
                plan->machine == MACHINE_VIRT && plan->accel != ACCEL_TCG
                    ? "virt,gic-version=max,usb=off,graphics=off" NO_SHARING
                    : types[plan->machine]);
    for (size_t i = 0; plan->machine == MACHINE_MICROVM && i < sizeof qboot / sizeof qboot[0];
         i++) {
        if (access(qboot[i], R_OK) == 0) { /* 0.15 s faster than SeaBIOS, under tcg */
            command_add(command, "-bios");
            command_add(command, "%s", qboot[i]);
            break;
        }
    }
}

static void
add_processor(struct command *command, const struct qemu *qemu, const struct plan *plan,
              const struct ctr_machine *machine)
{
    bool arm = plan->machine == MACHINE_VIRT;
    command_add(command, "-accel");
    if (plan->accel == ACCEL_TCG) {
        int64_t tb_size = qemu->host->option_int(qemu->host, "tb_size");
        command_add(command, "tcg,thread=multi,tb-size=%lld", (long long) (tb_size >> 20));
    } else {
        command_add(command, "%s", qemu_accel_name(plan->accel));
    }
    /* Without "fast" string instructions, which tcg does byte by byte: guests then move words, and boot in a tenth less time. */
    const char *emulated = arm ? "neoverse-n1" : "max,-erms,-fsrm";
    command_add(command, "-cpu");
    command_add(command, "%s", plan->accel != ACCEL_TCG ? "host" : emulated);
    command_add(command, "-smp");
    command_add(command, "%u", machine->cpus);
    command_add(command, "-m");
    command_add(command, "%lluM", (unsigned long long) (machine->memory >> 20));
}

static void
add_process_options(struct command *command, const struct qemu *qemu,
                    const struct ctr_machine *machine)
{
    command_add(command, "-name");
    command_add(command, "ctr-%.12s", machine->id);
    command_add(command, "-nodefaults");
    command_add(command, "-no-user-config");
    command_add(command, "-no-reboot");
    command_add(command, "-display");
    command_add(command, "none");
#ifdef __linux__
    if (qemu->host->option_bool(qemu->host, "sandbox")) {
        command_add(command, "-sandbox");
        command_add(command,
                    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    }
#endif
}

/* --- devices --- */

static void
add_socket(struct command *command, const char *id, int fd)
{
    command_add(command, "-chardev");
    command_add(command, "socket,id=%s,fd=%d", id, fd);
}

static void
add_fixed_devices(struct command *command, const char *bus)
{
    add_socket(command, "qmp", FD_QMP);
    command_add(command, "-mon");
    command_add(command, "chardev=qmp,mode=control");
    add_socket(command, "console", FD_CONSOLE);
    command_add(command, "-serial");
    command_add(command, "chardev:console");
    add_socket(command, "channel", FD_CHANNEL);
    command_add(command, "-device");
    command_add(command, "virtio-serial-%s,max_ports=2", bus);
    command_add(command, "-device");
    command_add(command, "virtserialport,chardev=channel,name=ctr.channel");
    command_add(command, "-object");
    command_add(command, "rng-builtin,id=rng");
    command_add(command, "-device");
    command_add(command, "virtio-rng-%s,rng=rng", bus);
    command_add(command, "-device");
    command_add(command, "virtio-balloon-%s,free-page-reporting=on,deflate-on-oom=on", bus);
}

/* The kernel's own end of a tap, where it has one that works: frames then do not pass through QEMU. */
static int
open_vhost(void)
{
#ifdef __linux__
    uint64_t features;
    int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
    if (fd >= 0 && ioctl(fd, VHOST_GET_FEATURES, &features) != 0) {
        (void) close(fd);
        fd = -1;
    }
    return fd;
#else
    return -1;
#endif
}

static void
add_tap(struct command *command, unsigned index, int fd)
{
    int vhost = open_vhost();
    int n = vhost < 0 ? vhost : command_pass_fd(command, vhost);
    command_add(command, "-netdev");
    if (n < 0) {
        command_add(command, "tap,id=net%u,fd=%d", index, fd);
    } else {
        command_add(command, "tap,id=net%u,fd=%d,vhost=on,vhostfd=%d", index, fd, n);
    }
}

/* No control queue: a guest then sets up two queues instead of three, and changes its MAC without asking, since all frames come through. With it
 * each interface took a kernel 1 % of its boot under tcg, whether used or not. */
#define NO_CONTROL                                                                             \
    ",ctrl_vq=off,ctrl_rx=off,ctrl_vlan=off,ctrl_rx_extra=off,ctrl_mac_addr=off,"              \
    "ctrl_guest_offloads=off,guest_announce=off"

static int
add_port(struct command *command, int take_fd, const struct ctr_port *port,
         const uint8_t mac[6], unsigned index, const char *bus, struct ctr_error *err)
{
    if ((port->kind & QEMU_PORTS) == 0 || take_fd < 0) {
        if (take_fd >= 0) {
            (void) close(take_fd);
        }
        return ctr_fail(err, -ENOTSUP,
                        "network port kind %u: QEMU is given taps and datagram sockets",
                        port->kind);
    }
    int n = command_pass_fd(command, take_fd);
    if (n < 0) {
        return ctr_fail(err, n, "too many network ports");
    }
    if (port->kind == CTR_PORT_TAP) {
        add_tap(command, index, n);
    } else {
        command_add(command, "-netdev");
        command_add(command, "dgram,id=net%u,local.type=fd,local.str=%d", index, n);
    }
    command_add(command, "-device");
    command_add(
        command,
        "virtio-net-%s,netdev=net%u,mac=%02x:%02x:%02x:%02x:%02x:%02x,host_mtu=%u" NO_CONTROL
        "%s",
        bus, index, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], port->mtu,
        strcmp(bus, "pci") == 0 ? ",romfile=" : "");
    return 0;
}

int
command_build(struct command *command, const struct qemu *qemu, const struct plan *plan,
              const struct ctr_machine *machine, struct ctr_error *err)
{
    const char *bus = plan->machine == MACHINE_MICROVM ? "device" : "pci";
    /* A guest prepares memory for each request that a disk can take: under tcg, where the processor is the limit, few do. */
    const char *depth = plan->accel == ACCEL_TCG ? ",queue-size=64" : "";
    int code = 0;
    command->n_fds = FD_FREE;
    command_add(command, "%s", plan->binary);
    add_process_options(command, qemu, machine);
    add_machine(command, plan);
    add_processor(command, qemu, plan, machine);
    add_fixed_devices(command, bus);
    for (uint32_t i = 0; i < machine->n_ports; i++) { /* all are taken, also after a failure */
        int taken = machine->ports[i].fd;
        if (code < 0) {
            (void) close(taken);
        } else {
            code = add_port(command, taken, &machine->ports[i], machine->macs[i], i, bus, err);
        }
    }
    for (uint32_t i = 0; i < machine->n_disks && code == 0; i++) {
        code = command_add_disk(command, &machine->disks[i], i, bus, depth, err);
    }
    code = code < 0 ? code : add_kernel(command, qemu, plan, machine, err);
    if (code == 0 && command->code < 0) {
        code = ctr_fail(err, command->code, "out of memory");
    }
    return code;
}

void
command_close_fds(struct command *command)
{
    for (uint32_t i = FD_STDERR; i < command->n_fds; i++) {
        if (command->fds[i] >= 0) {
            (void) close(command->fds[i]);
            command->fds[i] = -1;
        }
    }
}

void
command_finish(struct command *command)
{
    command_close_fds(command);
    for (unsigned i = 0; i < command->n; i++) {
        free(command->argv[i]);
    }
    command->n = 0;
}
