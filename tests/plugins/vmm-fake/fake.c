/*
 * vmm-fake: a VMM plugin for tests whose "machine" is a child process, ctr-init-fake, that runs the container's process
 * on the host. It has the channel as descriptor 3 (CTR_CHANNEL_FD=3) and its stderr as console. No kernel, no isolation: for tests
 * alone. Options make it misbehave in the ways that a real machine can. What the guest is told about its network stands in the
 * console as lines "network {…}".
 */
#include <ctr/vmm.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORTS_MAX 16

struct fake {
    const struct ctr_host *host;
};

struct vm {
    struct fake *fake;
    struct ctr_child *child;
    struct ctr_timer *timer;
    int channel, theirs; /* both ends of the channel, until taken and started */
    int console;
    int ports[PORTS_MAX]; /* held as a machine does, never read */
    uint32_t n_ports;
    uint64_t memory;
    bool kill_asked, paused, panic;
    void (*exited)(void *arg, uint32_t end, const char *detail);
    void *arg;
};

static const struct ctr_option options[] = {
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_PATH,
     .name = "init",
     .help = "the program ctr-init-fake, absolute; required"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_BOOL,
     .name = "panic",
     .def = "false",
     .help = "the kernel panics instead of booting"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_INT,
     .name = "die_after_ms",
     .def = "0",
     .min = 0,
     .max = 3600000,
     .help = "the machine is lost that many milliseconds after its start; 0: never"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_BOOL,
     .name = "no_boot",
     .def = "false",
     .help = "the guest never answers"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_BOOL,
     .name = "fail_start",
     .def = "false",
     .help = "the machine cannot be started"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_PATH,
     .name = "script",
     .help = "a program that plays a hostile guest on descriptor 3, instead of init"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_STRING,
     .name = "arg",
     .help = "its argument"},
};

static bool
flag(const struct vm *vm, const char *name)
{
    return vm->fake->host->option_bool(vm->fake->host, name);
}

static const char *
program(const struct fake *fake)
{
    const char *script = fake->host->option_string(fake->host, "script");
    return script != NULL ? script : fake->host->option_string(fake->host, "init");
}

static int
fake_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    struct fake *fake = calloc(1, sizeof *fake);
    if (fake == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    fake->host = host;
    *ret_self = fake;
    return 0;
}

static void
fake_close(void *self)
{
    free(self);
}

static int
fake_info(void *self, const char *arch, struct ctr_vmm_info *ret, struct ctr_error *err)
{
    struct fake *fake = self;
    const char *init = program(fake);
    if (strcmp(arch, "amd64") != 0 && strcmp(arch, "arm64") != 0) {
        return ctr_fail(err, -ENOTSUP, "no guests of architecture %.32s", arch);
    }
    if (init == NULL || access(init, X_OK) < 0) {
        return ctr_fail(err, -ENOENT, "option init: %s is not a program",
                        init == NULL ? "(unset)" : init);
    }
    uint32_t size = ret->size;
    memset(ret, 0, size < sizeof *ret ? size : sizeof *ret);
    ret->size = size;
    ret->caps = CTR_VMM_VMDK | CTR_VMM_PAUSE;
    ret->port_kinds = CTR_PORT_DGRAM;
    ret->max_cpus = 8;
    ret->max_disks = 16;
    (void) snprintf(ret->accel, sizeof ret->accel, "fake");
    (void) snprintf(ret->version, sizeof ret->version, "fake 1.0");
    return 0;
}

static void
close_fd(int *fd)
{
    if (*fd >= 0) {
        (void) close(*fd);
    }
    *fd = -1;
}

static void
fake_destroy(void *self)
{
    struct vm *vm = self;
    if (vm == NULL) {
        return;
    }
    vm->fake->host->child_forget(vm->child);
    vm->fake->host->timer_remove(vm->timer);
    close_fd(&vm->channel);
    close_fd(&vm->theirs);
    close_fd(&vm->console);
    for (uint32_t i = 0; i < vm->n_ports; i++) {
        close_fd(&vm->ports[i]);
    }
    free(vm);
}

/* Takes the ports; without a machine, or more than it has room for, they are closed. */
static void
take_ports(struct vm *vm, const struct ctr_machine *machine)
{
    for (uint32_t i = 0; i < machine->n_ports; i++) {
        int fd = machine->ports[i].fd;
        if (vm != NULL && vm->n_ports < PORTS_MAX) {
            vm->ports[vm->n_ports++] = fd;
        } else {
            close_fd(&fd);
        }
    }
}

static int
fake_create(void *self, const struct ctr_machine *machine, void **ret_vm, struct ctr_error *err)
{
    struct vm *vm = calloc(1, sizeof *vm);
    int pair[2] = {-1, -1};
    take_ports(vm, machine);
    if (vm == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    vm->fake = self;
    vm->memory = machine->memory;
    vm->exited = machine->exited;
    vm->arg = machine->arg;
    vm->console =
        open(machine->console, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    int code = vm->console < 0 ? -errno : 0;
    if (code == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        code = -errno;
    }
    vm->channel = pair[0];
    vm->theirs = pair[1];
    if (code < 0) {
        fake_destroy(vm);
        return ctr_fail(err, code, "console %s: %s", machine->console, strerror(-code));
    }
    *ret_vm = vm;
    return 0;
}

static int
fake_channel(void *self, int32_t *ret_fd, struct ctr_error *err)
{
    struct vm *vm = self;
    if (vm->channel < 0) {
        return ctr_fail(err, -EBUSY, "the channel was taken already");
    }
    *ret_fd = vm->channel;
    vm->channel = -1;
    return 0;
}

static void
on_exited(void *arg, int32_t status, int32_t signal)
{
    struct vm *vm = arg;
    char detail[128] = "guest-shutdown";
    uint32_t end = CTR_VM_OFF;
    if (vm->panic) {
        end = CTR_VM_PANIC;
        (void) snprintf(detail, sizeof detail, "guest-reset");
    } else if (!vm->kill_asked && (signal != 0 || status != 0)) {
        end = CTR_VM_LOST;
        (void) snprintf(detail, sizeof detail, "the fake machine ended (status %d, signal %d)",
                        status, signal);
    }
    vm->exited(vm->arg, end, detail);
}

static void
on_die(void *arg)
{
    struct vm *vm = arg;
    (void) vm->fake->host->child_kill(vm->child, SIGKILL);
}

static int
fake_start(void *self, struct ctr_error *err)
{
    struct vm *vm = self;
    const struct ctr_host *host = vm->fake->host;
    const char *file = program(vm->fake);
    const char *const env[] = {"CTR_CHANNEL_FD=3", NULL};
    const char *argv[] = {file, host->option_string(host, "arg"), NULL, NULL};
    vm->panic = flag(vm, "panic");
    if (flag(vm, "fail_start")) {
        return ctr_fail(err, -EIO, "the fake machine was told not to start");
    }
    if (vm->panic) {
        argv[0] = file = "/bin/sh";
        argv[1] = "-c";
        argv[2] =
            "echo '[    0.1] Kernel panic - not syncing: VFS: Unable to mount root fs' >&2";
    } else if (flag(vm, "no_boot")) {
        argv[0] = file = "/bin/sleep";
        argv[1] = "3600";
    }
    int32_t fds[4] = {-1, vm->console, vm->console, vm->theirs};
    struct ctr_spawn spawn = {.size = sizeof spawn,
                              .n_fds = 4,
                              .file = file,
                              .argv = argv,
                              .envp = env,
                              .fds = fds,
                              .flags = CTR_SPAWN_DIE_WITH_PARENT};
    vm->child = host->spawn(host, &spawn, on_exited, vm, err);
    close_fd(&vm->theirs);
    if (vm->child == NULL) {
        return ctr_prefix(err, "%s", file);
    }
    int64_t die = host->option_int(host, "die_after_ms");
    if (die > 0) {
        vm->timer = host->timer_add(host, (uint64_t) die, on_die, vm);
    }
    return 0;
}

static int
fake_kill(void *self, struct ctr_error *err)
{
    struct vm *vm = self;
    (void) err;
    if (vm->child != NULL) {
        vm->kill_asked = true;
        (void) vm->fake->host->child_kill(vm->child, SIGKILL);
    }
    return 0;
}

static int
fake_pause(void *self, struct ctr_error *err)
{
    struct vm *vm = self;
    int code = vm->fake->host->child_kill(vm->child, SIGSTOP);
    return code < 0 ? ctr_fail(err, code, "the machine does not run") : 0;
}

static int
fake_resume(void *self, struct ctr_error *err)
{
    struct vm *vm = self;
    int code = vm->fake->host->child_kill(vm->child, SIGCONT);
    return code < 0 ? ctr_fail(err, code, "the machine does not run") : 0;
}

static int
fake_stats(void *self, struct ctr_vm_stats *ret, struct ctr_error *err)
{
    struct vm *vm = self;
    (void) err;
    ret->pid = (uint32_t) vm->fake->host->child_pid(vm->child);
    ret->memory_guest = vm->memory;
    ret->memory_host = 1 << 20;
    ret->cpu_ns = 1000000;
    return 0;
}

static const struct ctr_vmm_ops ops = {
    .size = sizeof ops,
    .open = fake_open,
    .close = fake_close,
    .info = fake_info,
    .create = fake_create,
    .channel = fake_channel,
    .start = fake_start,
    .kill = fake_kill,
    .destroy = fake_destroy,
    .pause = fake_pause,
    .resume = fake_resume,
    .stats = fake_stats,
};

CTR_PLUGIN(CTR_KIND_VMM, "fake", "1.0", "a child process in place of a VM, for tests alone",
           options, &ops);
