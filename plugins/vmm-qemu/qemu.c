/*
 * vmm-qemu: runs the VMs of ctr in QEMU. This file is the plugin's face: options, open, info. See ctr-vmm-qemu(7).
 */
#include "qemu-priv.h"

#include <errno.h>

/* Its descriptor for QEMU lies in a memfd. */
#ifdef __linux__
#define CAN_VMDK CTR_VMM_VMDK
#else
#define CAN_VMDK 0
#endif

static const struct ctr_option options[] = {
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_PATH,
     .name = "binary",
     .help = "qemu-system-* to run, absolute; unset: looked for in the standard folders"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_CHOICE,
     .name = "accel",
     .def = "auto",
     .choices = "auto|kvm|hvf|tcg",
     .help = "how the guest's code runs; auto: hardware virtualization if it works, else tcg"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_CHOICE,
     .name = "machine",
     .def = "auto",
     .choices = "auto|microvm|q35|virt",
     .help = "machine type; auto: microvm for amd64, virt for arm64"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_STRING,
     .name = "user",
     .def = "nobody",
     .help = "unprivileged user that QEMU runs as when ctr runs as root; root: stay root"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_SIZE,
     .name = "tb_size",
     .def = "64M",
     .min = 1 << 20,
     .max = INT64_C(4) << 30,
     .help = "memory for translated code under tcg, per container"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_BOOL,
     .name = "sandbox",
     .def = "true",
     .help = "QEMU's own seccomp filter"},
};

static int
qemu_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    struct qemu *qemu = calloc(1, sizeof *qemu);
    if (qemu == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    qemu->host = host;
    qemu->opened = qemu_tick();
    (void) snprintf(qemu->version, sizeof qemu->version, "qemu");
    int code = qemu_find_user(qemu, err);
    if (code < 0) {
        free(qemu);
        return code;
    }
    *ret_self = qemu;
    return 0;
}

static void
qemu_close(void *self)
{
    free(self);
}

static int
qemu_info(void *self, const char *arch, struct ctr_vmm_info *ret, struct ctr_error *err)
{
    struct qemu *qemu = self;
    struct plan plan;
    int code = qemu_plan(qemu, arch, &plan, err);
    if (code < 0) {
        return code;
    }
    struct ctr_vmm_info info = {
        .size = sizeof info,
        .caps = CTR_VMM_PAUSE | CTR_VMM_SET_MEMORY | CTR_VMM_DISCARD | CTR_VMM_FREE_PAGES |
                CAN_VMDK | (plan.accel != ACCEL_TCG ? (uint32_t) CTR_VMM_HARDWARE : 0u),
        .port_kinds = QEMU_PORTS,
        .max_cpus = 64,
        .max_disks = 16,
    };
    (void) snprintf(info.accel, sizeof info.accel, "%s", qemu_accel_name(plan.accel));
    (void) snprintf(info.version, sizeof info.version, "%s", qemu->version);
    uint32_t size = ret->size < sizeof info ? ret->size : (uint32_t) sizeof info;
    info.size = ret->size;
    memcpy(ret, &info, size);
    return 0;
}

static const struct ctr_vmm_ops ops = {
    .size = sizeof ops,
    .open = qemu_open,
    .close = qemu_close,
    .info = qemu_info,
    .create = qemu_create,
    .channel = qemu_channel,
    .start = qemu_start,
    .kill = qemu_kill,
    .destroy = qemu_destroy,
    .pause = qemu_pause,
    .resume = qemu_resume,
    .set_memory = qemu_set_memory,
    .stats = qemu_stats,
};

CTR_PLUGIN(CTR_KIND_VMM, "qemu", CTR_VERSION, "virtual machines in QEMU (KVM, HVF or emulated)",
           options, &ops);
