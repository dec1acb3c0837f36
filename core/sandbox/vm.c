/*
 * The machine: loads the VMM plugin that sandbox.json names and drives its slots. Nothing here knows a particular plugin: what
 * one lacks is refused by its name.
 */
#include "core/sandbox/sandbox-priv.h"

#include <sys/resource.h>

static void
on_exited(void *arg, uint32_t end, const char *detail)
{
    struct ctr_sandbox *sandbox = arg;
    sandbox->vm.ended = true;
    sandbox->vm.end = end;
    (void) snprintf(sandbox->vm.detail, sizeof sandbox->vm.detail, "%s",
                    detail == NULL ? "" : detail);
    ctr_sandbox_vm_ended(sandbox);
}

static int
open_plugin(struct ctr_sandbox *sandbox, struct ctr_error *err)
{
    struct ctr_vm *vm = &sandbox->vm;
    struct ctr_spec *spec = &sandbox->spec;
    struct ctr_options *options = NULL;
    int code = ctr_plugin_load(spec->plugin, CTR_KIND_VMM, &vm->plugin, err);
    if (code < 0) {
        return code;
    }
    (void) ctr_plugin_vmm_ops(vm->plugin, &vm->ops);
    code = ctr_options_from_json(spec->options, vm->plugin->options, vm->plugin->n_options,
                                 &options, err);
    code = code < 0 ? code
                    : ctr_host_create(sandbox->loop, options, vm->plugin->name, spec->instance,
                                      NULL, spec->run_dir, &vm->host, err);
    code = code < 0 ? code : vm->ops.open(vm->host, &vm->self, err);
    return code < 0 ? ctr_prefix(err, "vmm %s", vm->plugin->name) : 0;
}

/* The plugin's create closes the ports' descriptors whatever happens. */
static void
forget_ports(struct ctr_spec *spec)
{
    for (uint32_t i = 0; i < spec->machine.n_ports; i++) {
        spec->ports[i].fd = -1;
    }
}

static int
check_machine(const struct ctr_vm *vm, const struct ctr_machine *machine, struct ctr_error *err)
{
    if (vm->info.max_cpus != 0 && machine->cpus > vm->info.max_cpus) {
        return ctr_fail(err, -EINVAL, "%u cpus are asked for, it can give at most %u",
                        machine->cpus, vm->info.max_cpus);
    }
    if (vm->info.max_disks != 0 && machine->n_disks > vm->info.max_disks) {
        return ctr_fail(err, -EINVAL, "%u disks are needed, it can give at most %u",
                        machine->n_disks, vm->info.max_disks);
    }
    for (uint32_t i = 0; i < machine->n_disks; i++) {
        if (machine->disks[i].format == CTR_DISK_VMDK && (vm->info.caps & CTR_VMM_VMDK) == 0) {
            return ctr_fail(err, -ENOTSUP,
                            "it cannot take disks of VMDK format, as the container's storage "
                            "makes them: choose storage ext4 in the profile");
        }
    }
    for (uint32_t i = 0; i < machine->n_ports; i++) {
        if ((machine->ports[i].kind & vm->info.port_kinds) == 0) {
            return ctr_fail(err, -ENOTSUP, "it does not speak the network's port kind %u",
                            machine->ports[i].kind);
        }
    }
    return 0;
}

int
ctr_vm_start(struct ctr_sandbox *sandbox, int *ret_channel, struct ctr_error *err)
{
    struct ctr_vm *vm = &sandbox->vm;
    struct ctr_machine *machine = &sandbox->spec.machine;
    CTR_AUTO(fd) int channel = -1;
    int code = open_plugin(sandbox, err);
    if (code < 0) {
        return code;
    }
    vm->info.size = sizeof vm->info;
    machine->exited = on_exited;
    machine->arg = sandbox;
    code = vm->ops.info(vm->self, machine->arch, &vm->info, err);
    code = code < 0 ? code : check_machine(vm, machine, err);
    if (code == 0) {
        code = vm->ops.create(vm->self, machine, &vm->machine, err);
        forget_ports(&sandbox->spec);
    }
    code = code < 0 ? code : vm->ops.channel(vm->machine, &channel, err);
    code = code < 0 ? code : vm->ops.start(vm->machine, err);
    if (code < 0) {
        return ctr_prefix(err, "vmm %s", vm->plugin->name);
    }
    vm->started = true;
    *ret_channel = ctr_steal_fd(&channel);
    return 0;
}

void
ctr_vm_kill(struct ctr_sandbox *sandbox)
{
    struct ctr_vm *vm = &sandbox->vm;
    struct ctr_error err = CTR_ERROR_INIT;
    if (vm->started && !vm->ended && vm->ops.kill(vm->machine, &err) < 0) {
        ctr_log(CTR_LEVEL_ERROR, "vmm=%s error=\"cannot end the machine: %s\"",
                vm->plugin->name, err.msg);
    }
}

static int
need_running(struct ctr_vm *vm, bool has, const char *what, struct ctr_error *err)
{
    if (!vm->started || vm->ended) {
        return ctr_fail(err, -ESRCH, "the container is not running");
    }
    return has ? 0
               : ctr_fail(err, -ENOTSUP, "the vmm plugin %s cannot %s", vm->plugin->name, what);
}

int
ctr_vm_pause(struct ctr_sandbox *sandbox, bool pause, struct ctr_error *err)
{
    struct ctr_vm *vm = &sandbox->vm;
    bool has =
        (vm->info.caps & CTR_VMM_PAUSE) != 0 && vm->ops.pause != NULL && vm->ops.resume != NULL;
    int code = need_running(vm, has, pause ? "pause" : "resume", err);
    if (code < 0) {
        return code;
    }
    return pause ? vm->ops.pause(vm->machine, err) : vm->ops.resume(vm->machine, err);
}

int
ctr_vm_set_memory(struct ctr_sandbox *sandbox, int64_t bytes, struct ctr_error *err)
{
    struct ctr_vm *vm = &sandbox->vm;
    bool has = (vm->info.caps & CTR_VMM_SET_MEMORY) != 0 && vm->ops.set_memory != NULL;
    int code = need_running(vm, has, "change a running machine's memory", err);
    if (code < 0) {
        return code;
    }
    if (bytes < 1 << 20 || (uint64_t) bytes > sandbox->spec.machine.memory) {
        return ctr_fail(err, -EINVAL,
                        "memory of a running container must be from 1 MiB to the %llu MiB "
                        "that it started with",
                        (unsigned long long) (sandbox->spec.machine.memory >> 20));
    }
    return vm->ops.set_memory(vm->machine, (uint64_t) bytes, err);
}

json_t *
ctr_vm_stats(struct ctr_sandbox *sandbox, struct ctr_error *err)
{
    struct ctr_vm *vm = &sandbox->vm;
    struct ctr_vm_stats stats = {.size = sizeof stats};
    struct rusage usage = {0};
    if (need_running(vm, true, "", err) < 0) {
        return NULL;
    }
    if (vm->ops.stats != NULL) {
        if (vm->ops.stats(vm->machine, &stats, err) < 0) {
            return NULL;
        }
    } else { /* the machine lives in this process */
        (void) getrusage(RUSAGE_SELF, &usage);
        stats.memory_guest = sandbox->spec.machine.memory;
        stats.memory_host = (uint64_t) usage.ru_maxrss * 1024;
        stats.cpu_ns =
            ((uint64_t) usage.ru_utime.tv_sec + (uint64_t) usage.ru_stime.tv_sec) *
                1000000000u +
            ((uint64_t) usage.ru_utime.tv_usec + (uint64_t) usage.ru_stime.tv_usec) * 1000u;
    }
    json_t *json =
        json_pack("{s:I, s:I, s:I, s:I}", "pid", (json_int_t) stats.pid, "memory_host",
                  (json_int_t) stats.memory_host, "memory_guest",
                  (json_int_t) stats.memory_guest, "cpu_ns", (json_int_t) stats.cpu_ns);
    if (json == NULL) {
        (void) ctr_fail(err, -ENOMEM, "out of memory");
    }
    return json;
}

void
ctr_vm_finish(struct ctr_sandbox *sandbox)
{
    struct ctr_vm *vm = &sandbox->vm;
    if (vm->machine != NULL && (!vm->started || vm->ended)) {
        vm->ops.destroy(vm->machine);
        vm->machine = NULL;
    }
    if (vm->machine == NULL && vm->self != NULL) {
        vm->ops.close(vm->self);
        vm->self = NULL;
        ctr_host_destroy(vm->host);
        vm->host = NULL;
    }
}
