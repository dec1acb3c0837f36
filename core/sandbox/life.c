/*
 * What the machine and the guest say: the machine's end, the channel's end, answers and events. Machine and channel end
 * together; what was still in the channel is read before anything is concluded. With stop and kill, which make them end.
 */
#include "core/sandbox/sandbox-priv.h"

#include <signal.h>

#define FAILED_CODE 125
#define LOST_CODE 255

/* --- the machine ends --- */

/* Joins what is known about a lost machine into one line. */
static char *
lost_message(struct ctr_sandbox *sandbox, const char *what)
{
    CTR_AUTO(free) char *line = ctr_console_line(sandbox->spec.console, NULL);
    const char *detail = sandbox->vm.detail;
    return ctr_printf("%s%s%s%s%s%s", what, detail[0] == '\0' ? "" : ": ", detail,
                      line == NULL ? "" : "; last line on its console: \"",
                      line == NULL ? "" : line, line == NULL ? "" : "\"");
}

static const char *
ended_how(const struct ctr_sandbox *sandbox)
{
    return sandbox->vm.end == CTR_VM_OFF
               ? "the guest powered off before the container's process ended"
               : "the virtual machine was lost";
}

/* Machine and channel are over, and the guest has told no exit. */
static void
explain_end(struct ctr_sandbox *sandbox)
{
    bool booting = sandbox->phase == CTR_BOOTING;
    CTR_AUTO(free) char *panic = ctr_console_line(sandbox->spec.console, "Kernel panic");
    CTR_AUTO(free) char *message = NULL;
    const char *reason = "vmm-lost";
    int code = booting ? FAILED_CODE : LOST_CODE;
    if (sandbox->killed) {
        reason = "killed";
        code = 137;
        message = ctr_printf("%s", booting ? "killed while it booted" : "");
    } else if (panic != NULL) {
        reason = "panic";
        message = ctr_printf("the guest's kernel panicked: %s", panic);
    } else if (sandbox->offence[0] != '\0') {
        message = ctr_printf("the guest broke the channel's protocol: %s", sandbox->offence);
    } else if (sandbox->vm.end == CTR_VM_PANIC) {
        reason = "panic";
        message = lost_message(sandbox, "the guest's kernel reset itself");
    } else {
        message = lost_message(sandbox, ended_how(sandbox));
    }
    const char *text = message == NULL ? "" : message;
    if (booting) {
        ctr_end_start(sandbox, "EIO", code, reason, text);
    } else {
        ctr_end_with(sandbox, code, reason, text);
    }
}

static void
vm_or_channel_over(struct ctr_sandbox *sandbox)
{
    if (sandbox->vm.ended && sandbox->channel_over && sandbox->phase < CTR_EXITED) {
        explain_end(sandbox);
    }
    ctr_sandbox_sweep(sandbox);
}

static void
on_channel_timeout(void *arg)
{
    struct ctr_sandbox *sandbox = arg;
    if (!sandbox->vm.ended) {
        (void) snprintf(sandbox->offence, sizeof sandbox->offence,
                        "it closed the channel and ran on");
        ctr_vm_kill(sandbox);
    } else {
        sandbox->channel_over = true;
        vm_or_channel_over(sandbox);
    }
}

void
ctr_sandbox_vm_ended(struct ctr_sandbox *sandbox)
{
    if (!sandbox->channel_over && sandbox->phase < CTR_EXITED) {
        ctr_arm(sandbox, &sandbox->end_timer, CTR_CHANNEL_MS, on_channel_timeout);
    }
    vm_or_channel_over(sandbox);
}

static void
on_channel_closed(void *arg, const char *reason)
{
    struct ctr_sandbox *sandbox = arg;
    (void) snprintf(sandbox->offence, sizeof sandbox->offence, "%s", reason);
    sandbox->channel_over = true;
    if (sandbox->init != NULL) {
        ctr_process_cut(sandbox->init);
    }
    for (struct ctr_process *p = sandbox->execs; p != NULL; p = p->next) {
        ctr_process_cut(p);
    }
    if (reason[0] != '\0') {
        ctr_vm_kill(sandbox);
    } else if (!sandbox->vm.ended && sandbox->phase < CTR_EXITED) {
        ctr_arm(sandbox, &sandbox->end_timer, CTR_CHANNEL_MS, on_channel_timeout);
    }
    vm_or_channel_over(sandbox);
}

/* --- the guest's words --- */

static void
on_init_exit(struct ctr_sandbox *sandbox, int code, bool oom)
{
    const char *reason = oom ? "oom" : "exited";
    const char *error = oom ? "the container ran out of memory: raise --memory" : "";
    if (sandbox->init == NULL || sandbox->init->exited) {
        return;
    }
    ctr_process_exited(sandbox->init, code, oom);
    ctr_end_with(sandbox, code, reason, error);
}

static void
on_guest_event(void *arg, const json_t *message)
{
    struct ctr_sandbox *sandbox = arg;
    if (strcmp(ctr_json_str(message, "event", ""), "exit") != 0) {
        return;
    }
    int64_t code = ctr_json_int(message, "code", 255);
    int64_t signal = ctr_json_int(message, "signal", 0);
    bool oom = ctr_json_bool(message, "oom", false);
    int exit_code = signal > 0 && signal <= 64 ? 128 + (int) signal : (int) (code & 255);
    const char *id = ctr_json_str(message, "process_id", "");
    if (strcmp(id, "init") == 0) {
        if (sandbox->phase == CTR_RUNNING) {
            on_init_exit(sandbox, exit_code, oom);
        }
        return;
    }
    struct ctr_process *process = id[0] == '\0' ? NULL : ctr_process_find(sandbox, id);
    if (process != NULL) {
        ctr_process_exited(process, exit_code, oom);
    }
}

static void
ignore_answer(void *arg, const json_t *ok, const json_t *error)
{
    (void) arg;
    (void) ok;
    (void) error;
}

void
ctr_sandbox_signal(struct ctr_sandbox *sandbox, const char *process, int signal)
{
    CTR_AUTO(json)
    json_t *request =
        json_pack("{s:s, s:s, s:i}", "op", "signal", "process_id", process, "signal", signal);
    if (request != NULL && !sandbox->channel_over) {
        (void) ctr_guest_request(sandbox->guest, request, ignore_answer, NULL, NULL);
    }
}

/* What was asked for while the guest booted. */
static void
send_early(struct ctr_sandbox *sandbox)
{
    if (sandbox->early_rows > 0 && sandbox->early_cols > 0) {
        CTR_AUTO(json)
        json_t *request =
            json_pack("{s:s, s:s, s:i, s:i}", "op", "resize", "process_id", "init", "rows",
                      sandbox->early_rows, "cols", sandbox->early_cols);
        if (request != NULL) {
            (void) ctr_guest_request(sandbox->guest, request, ignore_answer, NULL, NULL);
        }
    }
    for (int signal = 1; signal <= 64; signal++) {
        if ((sandbox->early_signals >> (signal - 1) & 1) != 0) {
            ctr_sandbox_signal(sandbox, "init", signal);
        }
    }
    sandbox->early_signals = 0;
}

static void
tell_started(struct ctr_sandbox *sandbox, int64_t pid)
{
    struct ctr_vm *vm = &sandbox->vm;
    struct ctr_vmm_info info = {.size = sizeof info};
    int64_t now = ctr_now_ns();
    /* Once more: by now the plugin knows its monitor's version. */
    if (vm->ops.info(vm->self, sandbox->spec.machine.arch, &info, NULL) == 0) {
        vm->info = info;
    }
    sandbox->started =
        json_pack("{s:s, s:I, s:I, s:s, s:s, s:b}", "event", "started", "pid", (json_int_t) pid,
                  "started_at", (json_int_t) now, "vmm", vm->info.version, "accel",
                  vm->info.accel, "hardware", (int) ((vm->info.caps & CTR_VMM_HARDWARE) != 0));
    if (sandbox->started != NULL) {
        ctr_server_tell(sandbox, sandbox->started);
    }
    struct ctr_error err = CTR_ERROR_INIT;
    if (ctr_record_state(sandbox->folder, now, &err) < 0) {
        ctr_log(CTR_LEVEL_ERROR, "id=%.12s error=\"%s\"", sandbox->spec.id, err.msg);
    }
}

void
ctr_life_on_boot_answer(void *arg, const json_t *ok, const json_t *error)
{
    struct ctr_sandbox *sandbox = arg;
    if (sandbox->phase != CTR_BOOTING) {
        return;
    }
    const char *code = ctr_json_str(error, "code", "EIO");
    if (error != NULL && strcmp(code, "EPIPE") == 0) {
        return; /* the channel is over: the machine's end explains it */
    }
    ctr_timer_remove(ctr_steal(&sandbox->boot_timer));
    if (error != NULL) {
        ctr_end_start(sandbox, code, ctr_exit_code_of(code), "boot-failed",
                      ctr_json_str(error, "message", "the guest did not say why"));
        return;
    }
    sandbox->phase = CTR_RUNNING;
    sandbox->init->started = true;
    tell_started(sandbox, ctr_json_int(ok, "pid", 0));
    send_early(sandbox);
}

void
ctr_life_on_boot_timeout(void *arg)
{
    struct ctr_sandbox *sandbox = arg;
    CTR_AUTO(free) char *line = ctr_console_line(sandbox->spec.console, NULL);
    CTR_AUTO(free)
    char *message = ctr_printf(
        "the guest did not answer within %lld s (boot_timeout); last line on its console: "
        "\"%s\"",
        (long long) sandbox->spec.boot_timeout, line == NULL ? "" : line);
    ctr_end_start(sandbox, "ETIMEDOUT", FAILED_CODE, "boot-failed",
                  message == NULL ? "the guest did not answer" : message);
}

const struct ctr_guest_events ctr_life_events = {.event = on_guest_event,
                                                 .closed = on_channel_closed};

/* --- stop and kill --- */

void
ctr_sandbox_kill(struct ctr_sandbox *sandbox)
{
    sandbox->killed = sandbox->killed || sandbox->phase < CTR_EXITED;
    ctr_vm_kill(sandbox);
}

static void
on_stop_timeout(void *arg)
{
    struct ctr_sandbox *sandbox = arg;
    if (sandbox->phase == CTR_BOOTING || sandbox->stop_killed) {
        ctr_sandbox_kill(sandbox);
        return;
    }
    sandbox->stop_killed = true;
    ctr_sandbox_signal(sandbox, "init", SIGKILL);
    ctr_arm(sandbox, &sandbox->stop_timer, CTR_KILL_GRACE_MS, on_stop_timeout);
}

void
ctr_sandbox_stop(struct ctr_sandbox *sandbox, int signal, int64_t timeout_s)
{
    if (sandbox->phase >= CTR_EXITED) {
        return;
    }
    sandbox->stopped = true;
    if (sandbox->phase == CTR_BOOTING) {
        sandbox->early_signals |= UINT64_C(1) << (signal - 1);
    } else {
        ctr_sandbox_signal(sandbox, "init", signal);
    }
    if (signal == SIGKILL) {
        sandbox->stop_killed = true;
        ctr_arm(sandbox, &sandbox->stop_timer, CTR_KILL_GRACE_MS, on_stop_timeout);
    } else if (timeout_s >= 0) {
        ctr_arm(sandbox, &sandbox->stop_timer, (uint64_t) timeout_s * 1000, on_stop_timeout);
    }
}
