/*
 * What a control connection asks of the guest: exec, signal, resize. The answer goes out when the guest has answered; the
 * guest module answers every request, if need be with EPIPE when the channel ends.
 */
#include "core/sandbox/sandbox-priv.h"

#define EXECS_MAX 256

/* A request that waits for the guest's answer. */
struct pending {
    struct ctr_sandbox *sandbox;
    char exec[130]; /* the process's id; it may be gone when the answer comes */
};

static bool
valid_id(const char *id)
{
    return ctr_is_name(id) && strlen(id) < 130 && strcmp(id, "init") != 0;
}

static void
pass_on_error(struct ctr_conn *conn, const json_t *error)
{
    ctr_conn_fail(conn, ctr_json_str(error, "code", "EIO"),
                  ctr_json_str(error, "message", "the guest refused"));
}

static void
on_exec_answer(void *arg, const json_t *ok, const json_t *error)
{
    CTR_AUTO(free) struct pending *pending = arg;
    struct ctr_process *process = ctr_process_find(pending->sandbox, pending->exec);
    if (process == NULL) {
        return;
    }
    struct ctr_conn *conn = process->waiting;
    process->waiting = NULL;
    ctr_sandbox_sweep(pending->sandbox);
    if (error != NULL) {
        process->doomed = true;
        if (conn != NULL) {
            pass_on_error(conn, error);
        }
        return;
    }
    process->started = true;
    if (conn == NULL) {
        ctr_client_destroy(process->held);
        return;
    }
    json_t *answer =
        json_pack("{s:{s:I}}", "ok", "pid", (json_int_t) ctr_json_int(ok, "pid", 0));
    if (process->held != NULL) {
        ctr_conn_become_client(conn, process->held, answer);
    } else {
        ctr_conn_reply(conn, answer);
    }
}

static int
send_exec(struct ctr_process *process, json_t *json, struct ctr_error *err)
{
    struct pending *pending = calloc(1, sizeof *pending);
    if (pending == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    pending->sandbox = process->sandbox;
    (void) snprintf(pending->exec, sizeof pending->exec, "%s", process->id);
    CTR_AUTO(json)
    json_t *request =
        json_pack("{s:s, s:s, s:O}", "op", "exec", "process_id", process->id, "process", json);
    int code = request == NULL ? ctr_fail(err, -ENOMEM, "out of memory")
                               : ctr_guest_request(process->sandbox->guest, request,
                                                   on_exec_answer, pending, err);
    if (code < 0) {
        free(pending);
    }
    return code;
}

static int
check_exec(struct ctr_sandbox *sandbox, const char *id, const json_t *json,
           struct ctr_error *err)
{
    if (!valid_id(id) || !json_is_object(json)) {
        return ctr_fail(err, -EINVAL, "exec needs an \"exec\" id and a \"process\"");
    }
    if (sandbox->phase != CTR_RUNNING) {
        return ctr_fail(err, -ESRCH, "the container is not running");
    }
    if (ctr_process_find(sandbox, id) != NULL) {
        return ctr_fail(err, -EEXIST, "exec %.40s exists", id);
    }
    if (sandbox->n_execs >= EXECS_MAX) {
        return ctr_fail(err, -EAGAIN, "%d execs run in this container, wait until one ends",
                        EXECS_MAX);
    }
    return 0;
}

void
ctr_exec_start(struct ctr_conn *conn, const json_t *request)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_sandbox *sandbox = ctr_conn_sandbox(conn);
    const char *id = ctr_json_str(request, "exec", "");
    struct ctr_spec_attach wants = {.fd = -1,
                                    .in = ctr_json_bool(request, "stdin", false),
                                    .out = ctr_json_bool(request, "stdout", false),
                                    .err = ctr_json_bool(request, "stderr", false)};
    CTR_AUTO(json) json_t *json = json_deep_copy(json_object_get(request, "process"));
    struct ctr_process *process = NULL;
    int code = check_exec(sandbox, id, json, &err);
    if (code == 0) {
        code = ctr_process_create(sandbox, id, json, &wants, true, &process, &err);
    }
    if (code == 0 && (wants.in || wants.out || wants.err)) {
        process->held = ctr_client_create(process, -1, &wants);
        code = process->held == NULL ? ctr_fail(&err, -ENOMEM, "out of memory") : 0;
    }
    if (code == 0) {
        code = send_exec(process, json, &err);
    }
    if (code < 0) {
        ctr_process_destroy(process);
        ctr_conn_fail(conn, ctr_code_name(code), err.msg);
        return;
    }
    process->waiting = conn;
    ctr_conn_wait(conn, process);
}

/* --- signal, resize --- */

static void
on_simple_answer(void *arg, const json_t *ok, const json_t *error)
{
    struct ctr_conn *conn = arg;
    (void) ok;
    if (!ctr_conn_answered(conn)) {
        return;
    }
    if (error != NULL) {
        pass_on_error(conn, error);
    } else {
        ctr_conn_reply(conn, NULL);
    }
}

/* Sends a request whose answer is just passed on. Takes it. */
static void
ask(struct ctr_conn *conn, json_t *take_request)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *request = take_request;
    if (request == NULL) {
        ctr_conn_fail(conn, "ENOMEM", "out of memory");
        return;
    }
    int code =
        ctr_guest_request(ctr_conn_sandbox(conn)->guest, request, on_simple_answer, conn, &err);
    if (code < 0) {
        ctr_conn_fail(conn, ctr_code_name(code), err.msg);
        return;
    }
    ctr_conn_wait(conn, NULL);
}

/* The process by the request's "exec"; NULL after an error was sent. */
static struct ctr_process *
target(struct ctr_conn *conn, const json_t *request)
{
    struct ctr_sandbox *sandbox = ctr_conn_sandbox(conn);
    const char *id = ctr_json_str(request, "exec", "");
    struct ctr_process *process = ctr_process_find(sandbox, id);
    if (process == NULL || process->exited || sandbox->phase > CTR_RUNNING) {
        ctr_conn_fail(conn, "ESRCH",
                      id[0] == '\0' ? "the container's process has ended"
                                    : "no such exec runs");
        return NULL;
    }
    return process;
}

void
ctr_exec_signal(struct ctr_conn *conn, const json_t *request)
{
    struct ctr_sandbox *sandbox = ctr_conn_sandbox(conn);
    int64_t signal = ctr_json_int(request, "signal", 0);
    struct ctr_process *process = target(conn, request);
    if (process == NULL) {
        return;
    }
    if (signal < 1 || signal > 64) {
        ctr_conn_fail(conn, "EINVAL", "signal must be a number from 1 to 64");
        return;
    }
    if (sandbox->phase == CTR_BOOTING) { /* it is sent when the process runs */
        sandbox->early_signals |= UINT64_C(1) << (signal - 1);
        ctr_conn_reply(conn, NULL);
        return;
    }
    ask(conn, json_pack("{s:s, s:s, s:I}", "op", "signal", "process_id", process->id, "signal",
                        (json_int_t) signal));
}

void
ctr_exec_resize(struct ctr_conn *conn, const json_t *request)
{
    struct ctr_sandbox *sandbox = ctr_conn_sandbox(conn);
    int64_t rows = ctr_json_int(request, "rows", 0), cols = ctr_json_int(request, "cols", 0);
    struct ctr_process *process = target(conn, request);
    if (process == NULL) {
        return;
    }
    if (rows < 0 || rows > 65535 || cols < 0 || cols > 65535) {
        ctr_conn_fail(conn, "EINVAL", "rows and cols must be numbers from 0 to 65535");
        return;
    }
    if (sandbox->phase == CTR_BOOTING) {
        sandbox->early_rows = (int) rows;
        sandbox->early_cols = (int) cols;
        ctr_conn_reply(conn, NULL);
        return;
    }
    ask(conn, json_pack("{s:s, s:s, s:I, s:I}", "op", "resize", "process_id", process->id,
                        "rows", (json_int_t) rows, "cols", (json_int_t) cols));
}
