/*
 * vmm-qemu, inside. QEMU is a child process that opens nothing by itself: disks, kernel, initramfs, network port, channel, console
 * and QMP are descriptors that it inherits. It runs as an unprivileged user when started by root, with QEMU's own
 * seccomp filter, without an environment, and dies with ctr-sandbox.
 */
#ifndef VMM_QEMU_PRIV_H
#define VMM_QEMU_PRIV_H

#include <ctr/vmm.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/types.h>

enum accel { ACCEL_NONE, ACCEL_TCG, ACCEL_KVM, ACCEL_HVF };
enum machine_type { MACHINE_NONE, MACHINE_MICROVM, MACHINE_Q35, MACHINE_VIRT };

/* Time stamp counter and clock at one moment. */
struct tick {
    uint64_t counter, ns;
};

/* How a guest of one architecture is run on this host. */
struct plan {
    char binary[512];
    enum accel accel;
    enum machine_type machine;
    uint32_t uid, gid;
};

/* One instance of the plugin. */
struct qemu {
    const struct ctr_host *host;
    uint32_t uid, gid; /* to switch to; 0: stay */
    char version[48];  /* "qemu" until one was started, then "qemu 7.2.22" */
    struct tick opened;
    struct plan plans[2]; /* by architecture, made when first asked for */
};

/* --- probe.c --- */

/* Chooses binary, accelerator and machine type for `arch`, as the options say. */
int qemu_plan(struct qemu *qemu, const char *arch, struct plan *ret, struct ctr_error *err);
/* The user that QEMU runs as, 0 unless we are root. */
int qemu_find_user(struct qemu *qemu, struct ctr_error *err);
const char *qemu_accel_name(enum accel accel);
struct tick qemu_tick(void);
/* Frequency of this host's time stamp counter in kHz, 0 if it has none; at least 4 ms after `since`. */
uint64_t qemu_tsc_khz(struct tick since);

/* --- command.c --- */

#ifdef __linux__
#define QEMU_PORTS (CTR_PORT_DGRAM | CTR_PORT_TAP)
#else
#define QEMU_PORTS CTR_PORT_DGRAM
#endif

#define MAX_ARGS 2200
#define MAX_FDS 1020 /* a disk of many extents needs one for each */

/* QEMU's arguments and descriptors. fds[i] becomes descriptor i of the child; from 3 on they are owned here. */
struct command {
    char *argv[MAX_ARGS + 1];
    unsigned n;
    int32_t fds[MAX_FDS];
    uint32_t n_fds;
    unsigned n_extents; /* of all disks so far */
    int code;           /* the first failure, else 0 */
};

enum fixed_fds { FD_STDERR = 2, FD_QMP = 3, FD_CHANNEL = 4, FD_CONSOLE = 5, FD_FREE = 6 };

/* Fills it; FD_STDERR to FD_CONSOLE must be set. The ports' descriptors are taken in any case. */
int command_build(struct command *command, const struct qemu *qemu, const struct plan *plan,
                  const struct ctr_machine *machine, struct ctr_error *err);
void command_close_fds(struct command *command);
void command_add(struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void command_add_json(struct command *command, const char *option, json_t *take_json);
/* Takes the fd; its number in the child, or a negative code. */
int command_pass_fd(struct command *command, int take_fd);
void command_finish(struct command *command);

/* --- disk.c --- */

int command_add_disk(struct command *command, const struct ctr_disk *disk, unsigned index,
                     const char *bus, const char *depth, struct ctr_error *err);

/* --- qmp.c --- */

struct qmp {
    const struct ctr_host *host;
    int fd;
    struct ctr_watch *watch;
    char *buffer;
    size_t length;
    bool ready; /* capabilities are negotiated */
    bool broken;
    int64_t last_id, awaited;
    json_t *reply; /* to `awaited` */
    char version[48];
    void (*event)(void *arg, const char *name, const json_t *data);
    void *arg;
};
/* Takes the fd. */
int qmp_start(struct qmp *qmp, const struct ctr_host *host, int take_fd,
              void (*event)(void *arg, const char *name, const json_t *data), void *arg,
              struct ctr_error *err);
/* Sends a command and waits for its answer, at most a second. Takes the arguments (may be NULL). */
int
qmp_call(struct qmp *qmp, const char *command, json_t *take_arguments, struct ctr_error *err);
/* Reads what has come by now. */
void qmp_drain(struct qmp *qmp);
void qmp_finish(struct qmp *qmp);

/* --- console.c --- */

/* The ring: PATH is written, PATH.1 is the older half; neither grows over half of the bound. */
struct console {
    const struct ctr_host *host;
    int in, out;
    struct ctr_watch *watch;
    char *path, *old;
    uint64_t size, half;
};
/* Takes the fd that the guest's serial port writes to. */
int console_start(struct console *console, const struct ctr_host *host, int take_fd,
                  const char *path, uint64_t bytes, struct ctr_error *err);
void console_drain(struct console *console);
void console_finish(struct console *console);

/* --- vm.c: the slots of struct ctr_vmm_ops that take a VM --- */

int qemu_create(void *self, const struct ctr_machine *machine, void **ret_vm,
                struct ctr_error *err);
int qemu_channel(void *vm, int32_t *ret_fd, struct ctr_error *err);
int qemu_start(void *vm, struct ctr_error *err);
int qemu_kill(void *vm, struct ctr_error *err);
void qemu_destroy(void *vm);
int qemu_pause(void *vm, struct ctr_error *err);
int qemu_resume(void *vm, struct ctr_error *err);
int qemu_set_memory(void *vm, uint64_t bytes, struct ctr_error *err);
int qemu_stats(void *vm, struct ctr_vm_stats *ret, struct ctr_error *err);

#endif
