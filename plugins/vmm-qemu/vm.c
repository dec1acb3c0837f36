/*
 * One VM: a QEMU process and the four sockets to it. How it ended is pieced together when the process is gone: QMP's SHUTDOWN
 * event says whether the guest powered off or reset itself (a panic, as panic=-1 is on the kernel's line); without one
 * the VM is lost, and QEMU's last line on stderr says why.
 */
#include "qemu-priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

struct vm {
    struct qemu *qemu;
    struct plan plan;
    struct command command;
    struct ctr_child *child;
    struct qmp qmp;
    struct console console;
    int channel; /* our end, until taken; -1 */
    int stderr_fd;
    struct ctr_watch *stderr_watch;
    char line[400]; /* QEMU's last line on stderr */
    size_t line_length;
    bool line_over; /* the next byte begins a new line */
    uint64_t memory, memory_now;
    bool kill_asked;
    uint32_t end;    /* from the SHUTDOWN event; 0: none came */
    char reason[64]; /* its reason */
    void (*exited)(void *arg, uint32_t end, const char *detail);
    void *arg;
};

/* --- what QEMU says --- */

static void
on_event(void *arg, const char *name, const json_t *data)
{
    struct vm *vm = arg;
    if (strcmp(name, "greeting") == 0) { /* made by qmp.c */
        (void) snprintf(vm->qemu->version, sizeof vm->qemu->version, "%s", vm->qmp.version);
        return;
    }
    if (strcmp(name, "SHUTDOWN") == 0) {
        const char *reason = json_string_value(json_object_get(data, "reason"));
        bool guest = json_is_true(json_object_get(data, "guest"));
        (void) snprintf(vm->reason, sizeof vm->reason, "%s", reason == NULL ? "" : reason);
        vm->end = strcmp(vm->reason, "guest-shutdown") == 0 ? CTR_VM_OFF
                  : guest                                   ? CTR_VM_PANIC
                                                            : CTR_VM_LOST;
    } else if (strcmp(name, "GUEST_PANICKED") == 0) {
        vm->end = CTR_VM_PANIC;
    } else if (strcmp(name, "BALLOON_CHANGE") == 0) {
        vm->memory_now = (uint64_t) json_integer_value(json_object_get(data, "actual"));
    }
}

/* Keeps the last line that is not empty. */
static void
add_stderr(struct vm *vm, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\n') {
            vm->line_over = true;
            continue;
        }
        if (vm->line_over) {
            vm->line_over = false;
            vm->line_length = 0;
        }
        if (vm->line_length < sizeof vm->line - 1) {
            bool plain = (unsigned char) bytes[i] >= 0x20 && (unsigned char) bytes[i] < 0x7f;
            vm->line[vm->line_length++] = plain ? bytes[i] : '?';
            vm->line[vm->line_length] = '\0';
        }
    }
}

static bool
pump_stderr(struct vm *vm)
{
    char block[2048];
    ssize_t n = read(vm->stderr_fd, block, sizeof block);
    if (n > 0) {
        add_stderr(vm, block, (size_t) n);
        return true;
    }
    if (n == 0 && vm->stderr_watch != NULL) {
        vm->qemu->host->watch_set(vm->stderr_watch, 0);
    }
    return n < 0 && errno == EINTR;
}

static void
on_stderr(void *arg, uint32_t events)
{
    (void) events;
    (void) pump_stderr(arg);
}

static void
on_child_exited(void *arg, int32_t status, int32_t signal)
{
    struct vm *vm = arg;
    char detail[512];
    for (int i = 0; i < 64 && pump_stderr(vm); i++) {
    }
    qmp_drain(&vm->qmp);
    console_drain(&vm->console);
    uint32_t end = vm->kill_asked ? (uint32_t) CTR_VM_OFF
                   : vm->end != 0 ? vm->end
                                  : (uint32_t) CTR_VM_LOST;
    if (end != CTR_VM_LOST) {
        (void) snprintf(detail, sizeof detail, "%s", vm->kill_asked ? "killed" : vm->reason);
    } else if (vm->line[0] != '\0') {
        (void) snprintf(detail, sizeof detail, "%s", vm->line);
    } else if (signal != 0) {
        (void) snprintf(detail, sizeof detail, "QEMU was ended by signal %d (%s)", signal,
                        strsignal(signal));
    } else {
        (void) snprintf(detail, sizeof detail, "QEMU exited with status %d", status);
    }
    vm->exited(vm->arg, end, detail);
}

/* --- life --- */

static int
socket_pair(int *ret_ours, int32_t *ret_theirs)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return -errno;
    }
    *ret_ours = pair[0];
    *ret_theirs = pair[1];
    return 0;
}

static void
set_nonblocking(int fd)
{
    (void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static int
make_stderr(struct vm *vm, struct ctr_error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return ctr_fail(err, -errno, "pipe: %s", strerror(errno));
    }
    vm->stderr_fd = ends[0];
    vm->command.fds[FD_STDERR] = ends[1];
    set_nonblocking(ends[0]);
    vm->stderr_watch =
        vm->qemu->host->watch_add(vm->qemu->host, ends[0], CTR_READABLE, on_stderr, vm);
    return vm->stderr_watch == NULL ? ctr_fail(err, -ENOMEM, "cannot watch QEMU's stderr") : 0;
}

static int
make_sockets(struct vm *vm, const struct ctr_machine *machine, struct ctr_error *err)
{
    const struct ctr_host *host = vm->qemu->host;
    struct command *command = &vm->command;
    int qmp = -1, console = -1;
    int code = socket_pair(&vm->channel, &command->fds[FD_CHANNEL]);
    code = code < 0 ? code : socket_pair(&qmp, &command->fds[FD_QMP]);
    if (code < 0) {
        return ctr_fail(err, code, "socket: %s", strerror(-code));
    }
    code = qmp_start(&vm->qmp, host, qmp, on_event, vm, err);
    if (code < 0) {
        return code;
    }
    code = socket_pair(&console, &command->fds[FD_CONSOLE]);
    if (code < 0) {
        return ctr_fail(err, code, "socket: %s", strerror(-code));
    }
    set_nonblocking(console);
    code = console_start(&vm->console, host, console, machine->console, machine->console_bytes,
                         err);
    return code < 0 ? code : make_stderr(vm, err);
}

static void
close_ports(const struct ctr_machine *machine)
{
    for (uint32_t i = 0; i < machine->n_ports; i++) {
        if (machine->ports[i].fd >= 0) {
            (void) close(machine->ports[i].fd);
        }
    }
}

int
qemu_create(void *self, const struct ctr_machine *machine, void **ret_vm, struct ctr_error *err)
{
    struct qemu *qemu = self;
    struct vm *vm = calloc(1, sizeof *vm);
    if (vm == NULL) {
        close_ports(machine);
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    vm->qemu = qemu;
    vm->channel = vm->stderr_fd = -1;
    vm->memory = vm->memory_now = machine->memory;
    vm->exited = machine->exited;
    vm->arg = machine->arg;
    vm->command.n_fds = FD_FREE;
    for (unsigned i = 0; i < FD_FREE; i++) {
        vm->command.fds[i] = -1;
    }
    int code = qemu_plan(qemu, machine->arch, &vm->plan, err);
    code = code < 0 ? code : make_sockets(vm, machine, err);
    if (code < 0) {
        close_ports(machine);
    } else {
        code = command_build(&vm->command, qemu, &vm->plan, machine, err);
    }
    if (code < 0) {
        qemu_destroy(vm);
        return code;
    }
    *ret_vm = vm;
    return 0;
}

int
qemu_channel(void *self, int32_t *ret_fd, struct ctr_error *err)
{
    struct vm *vm = self;
    if (vm->channel < 0) {
        return ctr_fail(err, -EBUSY, "the channel was taken already");
    }
    *ret_fd = vm->channel;
    vm->channel = -1;
    return 0;
}

int
qemu_start(void *self, struct ctr_error *err)
{
    struct vm *vm = self;
    const struct ctr_host *host = vm->qemu->host;
    struct ctr_spawn spawn = {
        .size = sizeof spawn,
        .n_fds = vm->command.n_fds,
        .file = vm->plan.binary,
        .argv = (const char *const *) vm->command.argv,
        .fds = vm->command.fds,
        .uid = vm->plan.uid,
        .gid = vm->plan.gid,
        .flags = CTR_SPAWN_DIE_WITH_PARENT | CTR_SPAWN_NO_NEW_PRIVS,
    };
    vm->child = host->spawn(host, &spawn, on_child_exited, vm, err);
    command_finish(&vm->command);
    return vm->child == NULL ? ctr_prefix(err, "%s", vm->plan.binary) : 0;
}

int
qemu_kill(void *self, struct ctr_error *err)
{
    struct vm *vm = self;
    (void) err;
    if (vm->child != NULL) {
        vm->kill_asked = true;
        (void) vm->qemu->host->child_kill(vm->child, SIGKILL); /* -ESRCH: it is over already */
    }
    return 0;
}

void
qemu_destroy(void *self)
{
    struct vm *vm = self;
    if (vm == NULL) {
        return;
    }
    vm->qemu->host->child_forget(vm->child);
    vm->qemu->host->watch_remove(vm->stderr_watch);
    qmp_finish(&vm->qmp);
    console_finish(&vm->console);
    if (vm->stderr_fd >= 0) {
        (void) close(vm->stderr_fd);
    }
    if (vm->channel >= 0) {
        (void) close(vm->channel);
    }
    command_finish(&vm->command);
    free(vm);
}

/* --- while it runs --- */

int
qemu_pause(void *self, struct ctr_error *err)
{
    return qmp_call(&((struct vm *) self)->qmp, "stop", NULL, err);
}

int
qemu_resume(void *self, struct ctr_error *err)
{
    return qmp_call(&((struct vm *) self)->qmp, "cont", NULL, err);
}

int
qemu_set_memory(void *self, uint64_t bytes, struct ctr_error *err)
{
    struct vm *vm = self;
    if (bytes > vm->memory) {
        bytes = vm->memory;
    }
    return qmp_call(&vm->qmp, "balloon", json_pack("{s:I}", "value", (json_int_t) bytes), err);
}

/* The first two numbers of /proc/PID/statm, and CPU ticks of /proc/PID/stat; macOS has neither: zeros. */
static void
read_usage(int pid, struct ctr_vm_stats *ret)
{
    char path[64], text[1024];
    unsigned long long total, resident, user = 0, kernel = 0;
    (void) snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        if (fscanf(file, "%llu %llu", &total, &resident) == 2) {
            ret->memory_host = resident * (uint64_t) sysconf(_SC_PAGESIZE);
        }
        (void) fclose(file);
    }
    (void) snprintf(path, sizeof path, "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (file == NULL) {
        return;
    }
    size_t n = fread(text, 1, sizeof text - 1, file);
    (void) fclose(file);
    text[n] = '\0';
    const char *rest = strrchr(text, ')'); /* the name may hold anything */
    if (rest != NULL && sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
                               &user, &kernel) == 2) {
        ret->cpu_ns = (user + kernel) * (1000000000u / (uint64_t) sysconf(_SC_CLK_TCK));
    }
}

int
qemu_stats(void *self, struct ctr_vm_stats *ret, struct ctr_error *err)
{
    struct vm *vm = self;
    if (vm->child == NULL) {
        return ctr_fail(err, -ESRCH, "the machine does not run");
    }
    int32_t pid = vm->qemu->host->child_pid(vm->child);
    ret->pid = (uint32_t) pid;
    ret->memory_guest = vm->memory_now;
    read_usage(pid, ret);
    return 0;
}
