/*
 * The start: spec, socket, log, machine, and the boot message, which is written into the channel while the machine boots.
 * Whatever fails is told as "failed" and recorded, then the loop runs as ever until the last words are out.
 */
#include "core/sandbox/sandbox-priv.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#define CONTROL_FD 3
#define FAILED_CODE 125

static void
on_signal(void *arg, int signal)
{
    struct ctr_sandbox *sandbox = arg;
    if (signal != SIGHUP) {
        ctr_sandbox_stop(sandbox, sandbox->spec.stop_signal, sandbox->spec.stop_timeout);
    }
}

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
    struct ctr_spec_attach wants = {
        .fd = -1, .in = sandbox->spec.open_stdin, .out = true, .err = true};
    json_t *boot = sandbox->spec.boot;
    int code = ctr_guest_create(sandbox->loop, take_channel, &ctr_life_events, sandbox,
                                &sandbox->guest, err);
    code = code < 0 ? code : complete_boot(sandbox, boot, err);
    code = code < 0 ? code
                    : ctr_process_create(sandbox, "init", json_object_get(boot, "process"),
                                         &wants, sandbox->spec.stdin_once, &sandbox->init, err);
    code = code < 0
               ? code
               : ctr_guest_request(sandbox->guest, boot, ctr_life_on_boot_answer, sandbox, err);
    if (code < 0) {
        return code;
    }
    (void) json_object_del(sandbox->spec.json, "boot"); /* sent: its memory is free again */
    sandbox->spec.boot = NULL;
    attach_early_clients(sandbox);
    ctr_arm(sandbox, &sandbox->boot_timer, (uint64_t) sandbox->spec.boot_timeout * 1000,
            ctr_life_on_boot_timeout);
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
        ctr_end_start(&sandbox, ctr_code_name(code), FAILED_CODE, "boot-failed", err.msg);
    }
    ctr_loop_run(sandbox.loop);
    int status = sandbox.failure != NULL ? 1 : 0;
    finish(&sandbox);
    return status;
}
