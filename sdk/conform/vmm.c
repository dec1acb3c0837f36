/*
 * Checks of vmm plugins that need no kernel: what info says agrees with the table, a machine whose kernel is missing fails in an orderly way,
 * and nothing is left.
 */
#include "sdk/conform/conform.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static struct ctr_error err;
static int ended;

static void
on_exited(void *arg, uint32_t end, const char *detail)
{
    printf("     ended %u: %s\n", end, detail);
    ended++;
}

static int
has_ended(void *arg)
{
    return ended > 0;
}

static void
caps_agree(struct conform *kit, const struct ctr_vmm_ops *ops, const struct ctr_vmm_info *info)
{
    conform_check(kit, info->accel[0] != '\0' && info->version[0] != '\0',
                  "accel '%s', version '%s'", info->accel, info->version);
    conform_check(kit, info->max_cpus > 0 && info->max_disks > 0, "%u cpus, %u disks",
                  info->max_cpus, info->max_disks);
    int pause = (info->caps & CTR_VMM_PAUSE) != 0;
    conform_check(kit, pause == (ops->pause != NULL) && pause == (ops->resume != NULL),
                  "the PAUSE bit agrees with its slots");
    conform_check(kit, ((info->caps & CTR_VMM_SET_MEMORY) != 0) == (ops->set_memory != NULL),
                  "the SET_MEMORY bit agrees with its slot");
    int save = (info->caps & CTR_VMM_SAVE) != 0;
    conform_check(kit, save == (ops->save != NULL) && save == (ops->restore != NULL),
                  "the SAVE bit agrees with its slots");
}

static void
missing_kernel(struct conform *kit, struct ctr_host *host, const struct ctr_vmm_ops *ops,
               void *self, const char *arch)
{
    char console[300];
    snprintf(console, sizeof console, "%s/console", kit->work);
    const struct ctr_machine machine = {.size = sizeof machine,
                                        .cpus = 1,
                                        .memory = 128u << 20,
                                        .id = "conform",
                                        .arch = arch,
                                        .kernel = "/nonexistent/vmlinux",
                                        .initramfs = "/nonexistent/initramfs",
                                        .cmdline = "",
                                        .console = console,
                                        .console_bytes = 65536,
                                        .exited = on_exited};
    void *vm = NULL;
    int32_t channel = -1;
    int result = ops->create(self, &machine, &vm, &err);
    if (result == 0) {
        conform_check(kit, ops->channel(vm, &channel, &err) == 0 && channel >= 0, "channel: %s",
                      err.msg);
        result = ops->start(vm, &err);
        if (result == 0) {
            conform_check(
                kit, conform_host_run(host, has_ended, NULL, 10000) || ops->kill(vm, &err) == 0,
                "a machine that could not start ends, or can be killed");
            conform_check(kit, conform_host_run(host, has_ended, NULL, 10000),
                          "exited() was called");
            conform_check(kit, ended == 1, "exactly once");
        }
        ops->destroy(vm);
        close(channel);
    }
    conform_check(kit, result == 0 || err.msg[0] != '\0', "a missing kernel: %s", err.msg);
}

void
conform_vmm(struct conform *kit)
{
    struct ctr_vmm_ops ops = {0};
    const struct ctr_vmm_ops *given = kit->plugin->ops;
    memcpy(&ops, given, given->size < sizeof ops ? given->size : sizeof ops);
    void *self = NULL;
    struct ctr_host *host = conform_host_create(kit, "one", 1);
    if (host == NULL ||
        !conform_check(kit, ops.open(host, &self, &err) == 0, "open: %s", err.msg)) {
        return;
    }
    struct ctr_vmm_info info = {.size = sizeof info};
    conform_check(kit, ops.info(self, "m68k", &info, &err) < 0 && err.msg[0] != '\0',
                  "an architecture that it cannot run: %s", err.msg);
    static const char *const arches[] = {"amd64", "arm64"};
    int known = 0;
    for (int i = 0; i < 2 && !known; i++) {
        known = ops.info(self, arches[i], &info, &err) == 0;
        if (known) {
            caps_agree(kit, &ops, &info);
            missing_kernel(kit, host, &ops, self, arches[i]);
        }
    }
    conform_check(kit, known, "it runs amd64 or arm64");
    ops.close(self);
    ops.close(NULL);
    conform_host_destroy(host);
}
