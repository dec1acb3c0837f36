/*
 * Attach and exec: connections taken over and spliced to the sandbox.
 */
#include "core/api/api-priv.h"

struct hijack {
    struct ctr_engine *engine;
    int stream;
    char exec[65]; /* "" for attach */
    bool tty;
    char *failure; /* told in place of the process's output */
};

/* A program that cannot be run: Docker's clients want to hear of it on the stream. */
static void
tell_failure(const struct hijack *hijack, int socket)
{
    size_t length = strlen(hijack->failure) + 2;
    uint8_t head[8] = {2,
                       0,
                       0,
                       0,
                       (uint8_t) (length >> 24),
                       (uint8_t) (length >> 16),
                       (uint8_t) (length >> 8),
                       (uint8_t) length};
    if (!hijack->tty) {
        (void) ctr_write_all(socket, head, sizeof head);
    }
    (void) ctr_write_all(socket, hijack->failure, length - 2);
    (void) ctr_write_all(socket, "\r\n", 2);
}

static void
hijack_run(void *arg, int socket, const char *extra, size_t n)
{
    struct hijack *hijack = arg;
    if (hijack->failure != NULL) {
        tell_failure(hijack, socket);
        api_splice_finish(socket);
        return;
    }
    api_splice(socket, hijack->stream, extra, n);
    (void) close(ctr_steal_fd(&hijack->stream));
    if (hijack->exec[0] != '\0') {
        /* The client asks for the exit code as soon as its stream ends: it must be known by then. */
        ctr_engine_exec_settle(hijack->engine, hijack->exec);
    }
    api_splice_finish(socket);
}

static void
hijack_done(void *arg)
{
    struct hijack *hijack = arg;
    ctr_auto_fd(&hijack->stream);
    free(hijack->failure);
    free(hijack);
}

static const char *
stream_type(bool tty)
{
    return tty ? "application/vnd.docker.raw-stream"
               : "application/vnd.docker.multiplexed-stream";
}

static int
check_upgrade(struct ctr_request *request, struct ctr_error *err)
{
    return api_wants_upgrade(request)
               ? 0
               : ctr_fail(err, -EINVAL,
                          "this call takes the connection over: send the headers Connection: "
                          "Upgrade and Upgrade: tcp");
}

int
api_attach(struct ctr_request *request, struct ctr_error *err)
{
    bool tty = false;
    if (check_upgrade(request, err) < 0) {
        return err->code;
    }
    if (!api_query_bool(request, "stream", false)) {
        return ctr_fail(err, -EINVAL,
                        "attach needs stream=1; what was written earlier is in logs");
    }
    struct hijack *hijack = calloc(1, sizeof *hijack);
    if (hijack == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    hijack->engine = request->engine;
    hijack->stream = -1;
    if (ctr_engine_container_attach(
            request->engine, request->capture, api_query_bool(request, "stdin", false),
            api_query_bool(request, "stdout", false), api_query_bool(request, "stderr", false),
            &hijack->stream, &tty, err) < 0) {
        hijack_done(hijack);
        return err->code;
    }
    return api_upgrade(request, stream_type(tty), hijack_run, hijack_done, hijack, err);
}

/* --- exec --- */

int
api_exec_create(struct ctr_request *request, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *spec = NULL;
    char id[65];
    if (ctr_docker_exec_parse(request->body, &spec, err) < 0 ||
        ctr_engine_exec_create(request->engine, request->capture, spec, id, err) < 0) {
        return err->code;
    }
    return api_json(request, 201, json_pack("{s:s}", "Id", id));
}

int
api_exec_start(struct ctr_request *request, struct ctr_error *err)
{
    bool detach = ctr_json_bool(request->body, "Detach", false), tty = false;
    const json_t *size = json_object_get(request->body, "ConsoleSize");
    int64_t rows = json_integer_value(json_array_get(size, 0));
    int64_t cols = json_integer_value(json_array_get(size, 1));
    if (!detach && check_upgrade(request, err) < 0) {
        return err->code;
    }
    if (rows < 0 || rows > 65535 || cols < 0 || cols > 65535) {
        return ctr_fail(err, -EINVAL, "ConsoleSize is out of range");
    }
    struct hijack *hijack = calloc(1, sizeof *hijack);
    if (hijack == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    hijack->engine = request->engine;
    hijack->stream = -1;
    (void) snprintf(hijack->exec, sizeof hijack->exec, "%.64s", request->capture);
    int rc = ctr_engine_exec_start(request->engine, request->capture, detach, (int) rows,
                                   (int) cols, &hijack->stream, &tty, err);
    hijack->tty = tty;
    if (rc == -EINVAL && !detach) {
        hijack->failure = ctr_printable(err->msg);
    }
    if (rc < 0 && hijack->failure == NULL) {
        hijack_done(hijack);
        return err->code;
    }
    if (detach) {
        hijack_done(hijack);
        return api_empty(request, 200);
    }
    return api_upgrade(request, stream_type(tty), hijack_run, hijack_done, hijack, err);
}

int
api_exec_resize(struct ctr_request *request, struct ctr_error *err)
{
    int64_t rows, cols;
    if (api_query_int(request, "h", 0, 65535, 0, &rows, err) < 0 ||
        api_query_int(request, "w", 0, 65535, 0, &cols, err) < 0 ||
        ctr_engine_exec_resize(request->engine, request->capture, (int) rows, (int) cols, err) <
            0) {
        return err->code;
    }
    return api_empty(request, 200);
}

int
api_exec_inspect(struct ctr_request *request, struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *exec = ctr_engine_exec_inspect(request->engine, request->capture, err);
    if (exec == NULL) {
        return err->code;
    }
    const json_t *spec = json_object_get(exec, "spec");
    json_t *args = json_object_get(spec, "args");
    const json_t *code = json_object_get(exec, "exit_code");
    json_t *rest = json_array();
    for (size_t i = 1; i < json_array_size(args); i++) {
        (void) json_array_append(rest, json_array_get(args, i));
    }
    return api_json(
        request, 200,
        json_pack("{s:s,s:b,s:o,s:{s:b,s:s,s:o,s:s},s:b,s:b,s:b,s:s,s:I}", "ID",
                  ctr_json_str(exec, "id", ""), "Running",
                  ctr_json_bool(exec, "running", false), "ExitCode",
                  code == NULL ? json_null() : json_integer(json_integer_value(code)),
                  "ProcessConfig", "tty", ctr_json_bool(spec, "tty", false), "entrypoint",
                  json_string_value(json_array_get(args, 0)), "arguments", rest, "user",
                  ctr_json_str(spec, "user", ""), "OpenStdin", ctr_json_bool(spec, "in", false),
                  "OpenStdout", ctr_json_bool(spec, "out", false), "OpenStderr",
                  ctr_json_bool(spec, "err", false), "ContainerID",
                  ctr_json_str(exec, "container", ""), "Pid",
                  (json_int_t) ctr_json_int(exec, "pid", 0)));
}
