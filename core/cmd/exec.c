/*
 * exec.c: one more process in a running container.
 */
#include "core/cmd/session.h"
#include "core/cmd/show.h"
#include <time.h>

enum { CTL_SETTLE_TRIES = 100, CTL_SETTLE_NS = 20 * 1000 * 1000 };

static int
exec_failed(const struct ctl *ctl, const struct ctr_error *err)
{
    ctl_tty_restore();
    (void) ctl_error(ctl, err);
    return ctl_start_status(err->msg);
}

static int
exec_create(struct ctl *ctl, char ret_id[80], struct ctr_error *err)
{
    CTR_AUTO(json) json_t *body = ctl_exec_body(ctl, err);
    if (body == NULL) {
        return err->code;
    }
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/containers/%s/exec", ctl->operands[0]);
    CTR_AUTO(json) json_t *answer = NULL;
    int rc = ctl_call(ctl, "POST", path, body, &answer, err);
    (void) snprintf(ret_id, 80, "%s", ctr_json_str(answer, "Id", ""));
    return rc;
}

/* The exit code. The daemon has it when the stream ends, or very soon after. */
static int
exec_status(struct ctl *ctl, const char *id, struct ctr_error *err)
{
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/exec/%s/json", id);
    for (int i = 0; i < CTL_SETTLE_TRIES; i++) {
        CTR_AUTO(json) json_t *info = NULL;
        if (ctl_call(ctl, "GET", path, NULL, &info, err) < 0) {
            return err->code;
        }
        if (!ctr_json_bool(info, "Running", false)) {
            return (int) (ctr_json_int(info, "ExitCode", 125) & 0xff);
        }
        struct timespec pause = {.tv_nsec = CTL_SETTLE_NS};
        (void) nanosleep(&pause, NULL);
    }
    return ctr_fail(err, -ETIMEDOUT,
                    "exec: the stream ended, but the process runs on; see "
                    "'ctrctl system logs'");
}

static json_t *
start_body(const struct ctl *ctl)
{
    int rows = 0, cols = 0;
    bool tty = ctl_flag(ctl, "tty");
    json_t *body = json_pack("{s:b,s:b}", "Detach", ctl_flag(ctl, "detach"), "Tty", tty);
    if (body != NULL && tty && ctl_tty_size(&rows, &cols)) {
        (void) json_object_set_new(body, "ConsoleSize", json_pack("[i,i]", rows, cols));
    }
    return body;
}

static int
exec_foreground(struct ctl *ctl, const char *id)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctl_session *session = ctl_session_create(ctl, "exec", id, &err);
    if (session == NULL) {
        return ctl_error(ctl, &err);
    }
    session->tty = ctl_flag(ctl, "tty");
    session->use_stdin = ctl_flag(ctl, "interactive");
    const char *keys = ctl_value(ctl, "detach-keys");
    CTR_AUTO(json) json_t *body = start_body(ctl);
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/exec/%s/start", id);
    int rc = ctl_keys_parse(keys != NULL ? keys : "ctrl-p,ctrl-q", &session->keys, &err);
    rc = rc == 0 ? ctl_session_attach(session, path, body, &err) : rc;
    rc = rc == 0 ? ctl_session_run(session, &err) : rc;
    int status = 0;
    if (rc < 0) {
        status = exec_failed(ctl, &err);
    } else if (session->end != CTL_END_EXIT) {
        status = ctl_session_status(session, ctl->operands[0]);
    } else {
        ctl_tty_restore();
        status = exec_status(ctl, id, &err);
        status = status < 0 ? ctl_error(ctl, &err) : status;
    }
    ctl_session_destroy(session);
    return status;
}

static int
exec_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    bool detach = ctl_flag(ctl, "detach");
    if (ctl_flag(ctl, "tty") && ctl_flag(ctl, "interactive") && !detach && !isatty(0)) {
        ctr_fail(&err, -ENOTTY,
                 "the input device is not a TTY; leave out -t, or run it in a "
                 "terminal");
        return ctl_error(ctl, &err);
    }
    char id[80];
    if (exec_create(ctl, id, &err) < 0) {
        return exec_failed(ctl, &err);
    }
    if (!detach) {
        return exec_foreground(ctl, id);
    }
    CTR_AUTO(json) json_t *body = start_body(ctl);
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/exec/%s/start", id);
    return ctl_call(ctl, "POST", path, body, NULL, &err) < 0 ? exec_failed(ctl, &err) : 0;
}

static const struct ctl_option exec_options[] = {
    {"detach", 'd', NULL, "Run in the background"},
    {"detach-keys", 0, "KEYS", "Keys that leave it running (default ctrl-p,ctrl-q)"},
    {"env", 'e', "NAME=VALUE", "Environment; NAME alone takes our own value (repeatable)"},
    {"env-file", 0, "FILE", "Environment from lines NAME=VALUE (repeatable)", NULL,
     CTL_WORDS_FILE},
    {"interactive", 'i', NULL, "Pass standard input on"},
    {"tty", 't', NULL, "Give it a terminal"},
    {"user", 'u', "USER[:GROUP]", "User, by name or number"},
    {"workdir", 'w', "PATH", "Working directory"},
    {NULL},
};
const struct ctl_command ctl_exec = {
    .operands = "CONTAINER COMMAND [ARG...]",
    .summary = "Run one more program in a running container",
    .text = "The exit status is the program's, as for run. Signals are not passed on: with -t, "
            "Ctrl-C is typed\n"
            "into the terminal.",
    .examples = "ctrctl exec -it web sh\nctrctl exec web cat /etc/hostname\n"
                "ctrctl exec -u nobody -w /tmp web id",
    .options = exec_options,
    .min_operands = 2,
    .max_operands = -1,
    .stops_at_operand = true,
    .error_status = 125,
    .words = CTL_WORDS_RUNNING,
    .run = exec_main,
};
