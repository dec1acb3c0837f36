/*
 * What a control connection can ask for, by the "op" of its request line. exec, signal and resize are in exec.c, ports, port and
 * network in ports.c.
 */
#include "core/sandbox/sandbox-priv.h"

void
ctr_control_subscribe(struct ctr_conn *conn)
{
    struct ctr_sandbox *sandbox = conn->sandbox;
    size_t i;
    json_t *event;
    conn->subscriber = true;
    ctr_timer_remove(conn->timer);
    conn->timer = NULL;
    if (sandbox->started != NULL && !ctr_conn_send(conn, sandbox->started)) {
        return;
    }
    json_array_foreach(sandbox->history, i, event)
    {
        if (!ctr_conn_send(conn, event)) {
            return;
        }
    }
    if (sandbox->exit != NULL) {
        (void) ctr_conn_send(conn, sandbox->exit);
    }
}

static void
do_events(struct ctr_conn *conn, const json_t *request)
{
    (void) request;
    ctr_control_subscribe(conn);
}

static void
do_attach(struct ctr_conn *conn, const json_t *request)
{
    struct ctr_process *process = conn->sandbox->init;
    struct ctr_spec_attach wants = {.fd = -1,
                                    .in = ctr_json_bool(request, "stdin", false),
                                    .out = ctr_json_bool(request, "stdout", false),
                                    .err = ctr_json_bool(request, "stderr", false)};
    if (process == NULL) {
        ctr_conn_fail(conn, "ESRCH", "the container's process has ended");
        return;
    }
    struct ctr_client *client = ctr_client_create(process, -1, &wants);
    json_t *ok = json_pack("{s:{s:b}}", "ok", "tty", process->tty);
    if (client == NULL || ok == NULL) {
        ctr_client_destroy(client);
        json_decref(ok);
        ctr_conn_fail(conn, "ENOMEM", "out of memory");
        return;
    }
    ctr_conn_become_client(conn, client, ok);
}

static void
do_stop(struct ctr_conn *conn, const json_t *request)
{
    struct ctr_sandbox *sandbox = conn->sandbox;
    int64_t signal = ctr_json_int(request, "signal", 0);
    int64_t timeout = ctr_json_int(request, "timeout", sandbox->spec.stop_timeout);
    if (signal < 0 || signal > 64 || timeout < -1 || timeout > 86400) {
        ctr_conn_fail(conn, "EINVAL",
                      "signal must be from 1 to 64, timeout from -1 (none) to 86400 s");
        return;
    }
    ctr_sandbox_stop(sandbox, signal == 0 ? sandbox->spec.stop_signal : (int) signal, timeout);
    ctr_conn_reply(conn, NULL);
}

static void
do_kill(struct ctr_conn *conn, const json_t *request)
{
    (void) request;
    ctr_sandbox_kill(conn->sandbox);
    ctr_conn_reply(conn, NULL);
}

static void
answer(struct ctr_conn *conn, int code, const struct ctr_error *err, json_t *take_ok)
{
    if (code < 0) {
        json_decref(take_ok);
        ctr_conn_fail(conn, ctr_code_name(code), err->msg);
    } else {
        ctr_conn_reply(conn, take_ok);
    }
}

static void
do_stats(struct ctr_conn *conn, const json_t *request)
{
    struct ctr_error err = CTR_ERROR_INIT;
    json_t *stats = ctr_vm_stats(conn->sandbox, &err);
    (void) request;
    answer(conn, stats == NULL ? err.code : 0, &err,
           stats == NULL ? NULL : json_pack("{s:o}", "ok", stats));
}

static void
do_pause(struct ctr_conn *conn, const json_t *request)
{
    struct ctr_error err = CTR_ERROR_INIT;
    bool pause = strcmp(ctr_json_str(request, "op", ""), "pause") == 0;
    answer(conn, ctr_vm_pause(conn->sandbox, pause, &err), &err, NULL);
}

static void
do_memory(struct ctr_conn *conn, const json_t *request)
{
    struct ctr_error err = CTR_ERROR_INIT;
    answer(conn, ctr_vm_set_memory(conn->sandbox, ctr_json_int(request, "bytes", 0), &err),
           &err, NULL);
}

static const struct {
    const char *op;
    void (*call)(struct ctr_conn *conn, const json_t *request);
} requests[] = {
    {"events", do_events},       {"attach", do_attach},
    {"exec", ctr_exec_start},    {"stop", do_stop},
    {"signal", ctr_exec_signal}, {"resize", ctr_exec_resize},
    {"kill", do_kill},           {"stats", do_stats},
    {"pause", do_pause},         {"resume", do_pause},
    {"memory", do_memory},       {"ports", ctr_ports_list},
    {"port", ctr_ports_take},    {"network", ctr_ports_network},
};

void
ctr_control_dispatch(struct ctr_conn *conn, const char *line, size_t length)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json)
    json_t *request = ctr_json_parse(line, length, CTR_LINE_MAX, "request", &err);
    if (request == NULL) {
        ctr_conn_fail(conn, "EINVAL", err.msg);
        return;
    }
    const char *op = ctr_json_str(request, "op", "");
    for (size_t i = 0; i < CTR_LENGTH(requests); i++) {
        if (strcmp(op, requests[i].op) == 0) {
            requests[i].call(conn, request);
            return;
        }
    }
    ctr_conn_fail(conn, "EINVAL", "unknown \"op\"");
}
