/*
 * The sandbox's story, in one direction only: booting -> running -> exited -> ending -> over.
 *
 * The machine is started first and the boot message is written into its channel while it boots. The end may come from
 * four sides: the guest tells the process's exit, refuses to start it, the machine ends, or somebody kills it. Whoever
 * is first sets the outcome. Then, in this order: all output goes to log and clients (who have 5 s), exit.json is written durably,
 * the event is told, streams are closed, the machine goes off by itself within 10 s or is killed, connections end.
 */
#include "core/sandbox/sandbox-priv.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#define CONTROL_FD 3
#define FAILED_CODE 125
#define LOST_CODE 255

static void
arm(struct ctr_sandbox *sandbox, struct ctr_timer **timer, uint64_t ms, void (*cb)(void *arg))
{
    ctr_timer_remove(*timer);
    *timer = ctr_timer_add(sandbox->loop, ms, cb, sandbox);
}

/* --- the end --- */

/* The first caller says how it ended. */
static void
set_outcome(struct ctr_sandbox *sandbox, int code, const char *reason, const char *error)
{
    if (sandbox->phase >= CTR_EXITED) {
        return;
    }
    sandbox->phase = CTR_EXITED;
    sandbox->outcome = json_pack("{s:i, s:s, s:s, s:I}", "code", code, "reason", reason,
                                 "error", error, "finished_at", (json_int_t) ctr_now_ns());
    ctr_sandbox_sweep(sandbox);
}

/* The start failed: subscribers get "failed" instead of "started". */
static void
fail_start(struct ctr_sandbox *sandbox, const char *code, int exit_code, const char *reason,
           const char *message)
{
    if (sandbox->phase == CTR_BOOTING) {
        sandbox->failure = ctr_known_code(code);
        set_outcome(sandbox, exit_code, reason, message);
        if (sandbox->init != NULL) {
            ctr_process_exited(sandbox->init, exit_code, false);
            sandbox->init->out.ended = sandbox->init->err.ended = true;
        }
    }
}

static void
on_end_timeout(void *arg)
{
    struct ctr_sandbox *sandbox = arg;
    if (sandbox->vm.started && !sandbox->vm.ended) {
        ctr_log(CTR_LEVEL_WARN, "id=%.12s msg=\"the machine did not go off, killing it\"",
                sandbox->spec.id);
        ctr_vm_kill(sandbox);
        arm(sandbox, &sandbox->end_timer, CTR_LAST_WORDS_MS, on_end_timeout);
        if (sandbox->killed) {
            ctr_loop_stop(sandbox->loop);
        }
        sandbox->killed = true;
        return;
    }
    ctr_loop_stop(sandbox->loop);
}

static json_t *
outcome_event(const struct ctr_sandbox *sandbox)
{
    if (sandbox->failure != NULL) {
        return json_pack("{s:s, s:{s:s, s:O}, s:O}", "event", "failed", "error", "code",
                         sandbox->failure, "message",
                         json_object_get(sandbox->outcome, "error"), "exit",
                         json_object_get(sandbox->outcome, "code"));
    }
    json_t *event = json_pack("{s:s}", "event", "exit");
    if (event != NULL && json_object_update(event, sandbox->outcome) < 0) {
        json_decref(event);
        return NULL;
    }
    return event;
}

/* Records the end, tells it, closes the streams, lets the machine go. */
static void
conclude(struct ctr_sandbox *sandbox)
{
    struct ctr_error err = CTR_ERROR_INIT;
    sandbox->phase = CTR_ENDING;
    if (sandbox->foreign) {
        ctr_log(CTR_LEVEL_ERROR, "folder=%s error=\"another ctr-sandbox has it\"",
                sandbox->folder);
    } else if (sandbox->outcome == NULL ||
               ctr_record_exit(sandbox->folder, sandbox->outcome, &err) < 0) {
        ctr_log(CTR_LEVEL_ERROR, "id=%.12s error=\"the exit could not be recorded: %s\"",
                sandbox->spec.id == NULL ? "" : sandbox->spec.id, err.msg);
    }
    json_t *event = outcome_event(sandbox);
    if (event != NULL) {
        ctr_server_tell(sandbox, event);
    }
    if (sandbox->failure != NULL) {
        json_decref(sandbox->started);
        sandbox->started = event;
    } else {
        sandbox->exit = event;
    }
    ctr_timer_remove(ctr_steal(&sandbox->boot_timer));
    ctr_timer_remove(ctr_steal(&sandbox->stop_timer));
    ctr_timer_remove(ctr_steal(&sandbox->flush_timer));
    bool off_now = sandbox->failure != NULL || sandbox->killed;
    if (off_now) {
        ctr_vm_kill(sandbox); /* there is nothing in it to wait for */
    }
    arm(sandbox, &sandbox->end_timer, off_now ? CTR_LAST_WORDS_MS : CTR_POWEROFF_MS,
        on_end_timeout);
    if (sandbox->init != NULL) {
        sandbox->init->told = true;
        ctr_process_end_clients(sandbox->init);
    }
    ctr_sandbox_sweep(sandbox);
}

static void
on_flush_timeout(void *arg)
{
    struct ctr_sandbox *sandbox = arg;
    sandbox->flushed = true;
    ctr_sandbox_sweep(sandbox);
}

static bool
output_is_out(struct ctr_sandbox *sandbox)
{
    struct ctr_process *init = sandbox->init;
    if (init == NULL || sandbox->flushed) {
        return true;
    }
    if (sandbox->flush_timer == NULL) {
        arm(sandbox, &sandbox->flush_timer, CTR_EXIT_FLUSH_MS, on_flush_timeout);
    }
    return init->out.ended && init->err.ended && ctr_process_drained(init);
}

static void
settle_ending(struct ctr_sandbox *sandbox)
{
    if (sandbox->init != NULL) {
        ctr_process_end_clients(sandbox->init);
    }
    if (sandbox->vm.started && !sandbox->vm.ended) {
        return;
    }
    bool clients =
        sandbox->execs != NULL || (sandbox->init != NULL && sandbox->init->clients != NULL);
    if (!clients && ctr_server_idle(sandbox)) {
        ctr_loop_stop(sandbox->loop);
    }
}

void
ctr_sandbox_settle(struct ctr_sandbox *sandbox)
{
    if (sandbox->phase == CTR_EXITED && output_is_out(sandbox)) {
        conclude(sandbox);
    } else if (sandbox->phase == CTR_ENDING) {
        settle_ending(sandbox);
    }
}

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
        fail_start(sandbox, "EIO", code, reason, text);
    } else {
        set_outcome(sandbox, code, reason, text);
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
        arm(sandbox, &sandbox->end_timer, CTR_CHANNEL_MS, on_channel_timeout);
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
        arm(sandbox, &sandbox->end_timer, CTR_CHANNEL_MS, on_channel_timeout);
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
    set_outcome(sandbox, code, reason, error);
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

static void
on_boot_answer(void *arg, const json_t *ok, const json_t *error)
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
        fail_start(sandbox, code, ctr_exit_code_of(code), "boot-failed",
                   ctr_json_str(error, "message", "the guest did not say why"));
        return;
    }
    sandbox->phase = CTR_RUNNING;
    sandbox->init->started = true;
    tell_started(sandbox, ctr_json_int(ok, "pid", 0));
    send_early(sandbox);
}

static void
on_boot_timeout(void *arg)
{
    struct ctr_sandbox *sandbox = arg;
    CTR_AUTO(free) char *line = ctr_console_line(sandbox->spec.console, NULL);
    CTR_AUTO(free)
    char *message = ctr_printf(
        "the guest did not answer within %lld s (boot_timeout); last line on its console: "
        "\"%s\"",
        (long long) sandbox->spec.boot_timeout, line == NULL ? "" : line);
    fail_start(sandbox, "ETIMEDOUT", FAILED_CODE, "boot-failed",
               message == NULL ? "the guest did not answer" : message);
}

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
    arm(sandbox, &sandbox->stop_timer, CTR_KILL_GRACE_MS, on_stop_timeout);
}

void
ctr_sandbox_stop(struct ctr_sandbox *sandbox, int signal, int64_t timeout_s)
{
    if (sandbox->phase >= CTR_EXITED) {
        return;
    }
    if (sandbox->phase == CTR_BOOTING) {
        sandbox->early_signals |= UINT64_C(1) << (signal - 1);
    } else {
        ctr_sandbox_signal(sandbox, "init", signal);
    }
    if (signal == SIGKILL) {
        sandbox->stop_killed = true;
        arm(sandbox, &sandbox->stop_timer, CTR_KILL_GRACE_MS, on_stop_timeout);
    } else if (timeout_s >= 0) {
        arm(sandbox, &sandbox->stop_timer, (uint64_t) timeout_s * 1000, on_stop_timeout);
    }
}

static void
on_signal(void *arg, int signal)
{
    struct ctr_sandbox *sandbox = arg;
    if (signal != SIGHUP) {
        ctr_sandbox_stop(sandbox, sandbox->spec.stop_signal, sandbox->spec.stop_timeout);
    }
}

/* --- the start --- */

static int
add_devices(struct ctr_sandbox *sandbox, json_t *boot)
{
    json_t *disks = json_object_get(boot, "disks");
    if (disks == NULL) {
        const json_t *machine = json_object_get(sandbox->spec.json, "machine");
        disks = json_deep_copy(json_object_get(machine, "disks"));
        disks = disks == NULL ? json_array() : disks;
        if (json_object_set_new(boot, "disks", disks) < 0) {
            return -ENOMEM;
        }
    }
    size_t i;
    json_t *disk;
    json_array_foreach(disks, i, disk)
    {
        char device[] = "/dev/vda";
        device[7] = (char) ('a' + i % 26);
        (void) json_object_del(disk, "path");
        if (json_object_set_new(disk, "device", json_string(device)) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

static int
complete_boot(struct ctr_sandbox *sandbox, json_t *boot, struct ctr_error *err)
{
    uint8_t random[32];
    char seed[65];
    int code = ctr_random(random, sizeof random);
    if (code < 0) {
        return ctr_fail(err, code, "no random seed for the guest: %s", strerror(-code));
    }
    ctr_hex(random, sizeof random, seed);
    CTR_AUTO(json)
    json_t *head = json_pack("{s:s, s:i, s:s, s:I, s:s}", "op", "boot", "protocol",
                             CTR_PROTOCOL_VERSION, "container", sandbox->spec.id, "time_ns",
                             (json_int_t) ctr_now_ns(), "seed", seed);
    if (head == NULL || json_object_update(boot, head) < 0 || add_devices(sandbox, boot) < 0) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    return 0;
}

static void
attach_early_clients(struct ctr_sandbox *sandbox)
{
    for (size_t i = 0; i < sandbox->spec.n_attach; i++) {
        struct ctr_spec_attach *attach = &sandbox->spec.attach[i];
        int fd = ctr_steal_fd(&attach->fd);
        (void) ctr_client_create(sandbox->init, fd, attach);
    }
}

static int
send_boot(struct ctr_sandbox *sandbox, int take_channel, struct ctr_error *err)
{
    static const struct ctr_guest_events events = {.event = on_guest_event,
                                                   .closed = on_channel_closed};
    struct ctr_spec_attach wants = {
        .fd = -1, .in = sandbox->spec.open_stdin, .out = true, .err = true};
    json_t *boot = sandbox->spec.boot;
    int code =
        ctr_guest_create(sandbox->loop, take_channel, &events, sandbox, &sandbox->guest, err);
    code = code < 0 ? code : complete_boot(sandbox, boot, err);
    code = code < 0 ? code
                    : ctr_process_create(sandbox, "init", json_object_get(boot, "process"),
                                         &wants, sandbox->spec.stdin_once, &sandbox->init, err);
    code =
        code < 0 ? code : ctr_guest_request(sandbox->guest, boot, on_boot_answer, sandbox, err);
    if (code < 0) {
        return code;
    }
    (void) json_object_del(sandbox->spec.json, "boot"); /* sent: its memory is free again */
    sandbox->spec.boot = NULL;
    attach_early_clients(sandbox);
    arm(sandbox, &sandbox->boot_timer, (uint64_t) sandbox->spec.boot_timeout * 1000,
        on_boot_timeout);
    return 0;
}

/* The records of an earlier run make way, now that the socket proves that no other sandbox has this folder. */
static void
forget_last_run(struct ctr_sandbox *sandbox)
{
    static const char *const names[] = {"exit.json", "state.json", "console.ring",
                                        "console.ring.1"};
    for (size_t i = 0; i < CTR_LENGTH(names); i++) {
        CTR_AUTO(free) char *path = ctr_printf("%s/%s", sandbox->folder, names[i]);
        if (path != NULL) {
            (void) unlink(path);
        }
    }
}

static int
start(struct ctr_sandbox *sandbox, struct ctr_error *err)
{
    int channel = -1;
    int code = ctr_server_start(sandbox, sandbox->spec.socket, err);
    if (code < 0) {
        sandbox->foreign = code == -EADDRINUSE;
        return code;
    }
    forget_last_run(sandbox);
    code = ctr_log_start(&sandbox->log, sandbox->spec.log, sandbox->spec.log_size, err);
    code = code < 0 ? code : ctr_vm_start(sandbox, &channel, err);
    code = code < 0 ? code : send_boot(sandbox, channel, err);
    return code < 0 ? code : ctr_record_state(sandbox->folder, 0, err);
}

static int
watch_signals(struct ctr_sandbox *sandbox, struct ctr_error *err)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    int code = 0;
    for (size_t i = 0; i < CTR_LENGTH(signals) && code == 0; i++) {
        code = ctr_signal_watch(sandbox->loop, signals[i], on_signal, sandbox, err);
    }
    return code;
}

static void
finish(struct ctr_sandbox *sandbox)
{
    while (sandbox->execs != NULL) {
        ctr_process_destroy(sandbox->execs);
    }
    ctr_process_destroy(sandbox->init);
    ctr_guest_destroy(sandbox->guest);
    ctr_vm_finish(sandbox);
    ctr_server_finish(sandbox);
    ctr_log_finish(&sandbox->log);
    ctr_timer_remove(sandbox->boot_timer);
    ctr_timer_remove(sandbox->stop_timer);
    ctr_timer_remove(sandbox->end_timer);
    ctr_timer_remove(sandbox->flush_timer);
    ctr_spec_finish(&sandbox->spec);
    json_decref(sandbox->outcome);
    json_decref(sandbox->started);
    json_decref(sandbox->exit);
    json_decref(sandbox->history);
    ctr_loop_destroy(sandbox->loop);
}

int
ctr_sandbox_main(const char *folder)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_sandbox sandbox = {.folder = folder,
                                  .server = {.fd = -1, .reserve = -1},
                                  .log = {.fd = -1},
                                  .history = json_array()};
    bool has_control = fcntl(CONTROL_FD, F_GETFD) >= 0;
    if (has_control) {
        (void) fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC);
    }
    (void) umask(077);
    (void) signal(SIGPIPE, SIG_IGN);
    ctr_log_init("ctr-sandbox", CTR_LEVEL_INFO);
    int code = ctr_loop_create(&sandbox.loop, &err);
    if (code < 0) {
        ctr_log(CTR_LEVEL_ERROR, "error=\"%s\"", err.msg);
        return 1;
    }
    if (has_control) {
        ctr_server_adopt(&sandbox, CONTROL_FD);
    }
    code = ctr_spec_read(folder, &sandbox.spec, &err);
    code = code < 0 ? code : watch_signals(&sandbox, &err);
    code = code < 0 ? code : start(&sandbox, &err);
    if (code < 0) {
        fail_start(&sandbox, ctr_code_name(code), FAILED_CODE, "boot-failed", err.msg);
    }
    ctr_loop_run(sandbox.loop);
    int status = sandbox.failure != NULL ? 1 : 0;
    finish(&sandbox);
    return status;
}
