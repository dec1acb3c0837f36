/*
 * ctr-sandbox as a process, on the fake machine: ends of all kinds, streams, control socket, hostile guests. The program
 * itself plays the hostile guest when the fake machine starts it (CTR_CHANNEL_FD is set then).
 */
#include "core/sandbox/sandbox.h"
#include "guest/protocol.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PATIENCE_MS 60000

struct box {
    char root[64], folder[80], socket[96];
    json_t *spec;
    pid_t pid;
    int control, attach; /* our ends */
    struct ctr_buf lines;
};

static const char *build;

/* --- the sandbox under test --- */

static json_t *
fake_options(void)
{
    char init[PATH_MAX];
    (void) snprintf(init, sizeof init, "%s/tests/bin/ctr-init-fake", build);
    return json_pack("{s:s}", "init", init);
}

static json_t *
make_spec(const struct box *box, const char *command)
{
    char plugin[PATH_MAX], log[128];
    (void) snprintf(plugin, sizeof plugin, "%s/tests/plugins/vmm-fake.so", build);
    (void) snprintf(log, sizeof log, "%s/container.log", box->folder);
    return json_pack("{s:s, s:{s:s, s:s, s:o}, s:{s:s, s:i, s:i, s:s, s:s, s:s, s:[]},"
                     " s:[], s:{s:s, s:{s:[s,s,s], s:[s], s:s, s:s, s:b, s:i, s:i}}, s:b, s:b,"
                     " s:[{s:i, s:b, s:b, s:b}], s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i}",
                     "id", "abababababababababababababababababababababababababababababababab",
                     "vmm", "plugin", plugin, "instance", "default", "options", fake_options(),
                     "machine", "arch", "amd64", "cpus", 1, "memory", 64 << 20, "kernel",
                     "/dev/null", "initramfs", "/dev/null", "cmdline", "", "disks", "ports",
                     "boot", "hostname", "box", "process", "args", "sh", "-c", command, "env",
                     "PATH=/usr/bin:/bin", "cwd", "/", "user", "", "tty", 0, "rows", 24, "cols",
                     80, "open_stdin", 1, "stdin_once", 1, "attach", "fd", 5, "stdin", 1,
                     "stdout", 1, "stderr", 1, "socket", box->socket, "run_dir", box->root,
                     "log", log, "log_size", 1 << 20, "console_size", 65536, "boot_timeout", 30,
                     "stop_signal", 15, "stop_timeout", 5);
}

static struct box *
box_create(const char *command)
{
    struct box *box = calloc(1, sizeof *box);
    (void) snprintf(box->root, sizeof box->root, "/tmp/ctr-sandbox-XXXXXX");
    assert_non_null(mkdtemp(box->root));
    (void) snprintf(box->folder, sizeof box->folder, "%s/box", box->root);
    (void) snprintf(box->socket, sizeof box->socket, "%s/box.sock", box->root);
    assert_int_equal(mkdir(box->folder, 0700), 0);
    box->spec = make_spec(box, command);
    assert_non_null(box->spec);
    box->control = box->attach = -1;
    return box;
}

static void
set_option(struct box *box, const char *key, const char *value)
{
    json_t *vmm = json_object_get(box->spec, "vmm");
    assert_int_equal(
        json_object_set_new(json_object_get(vmm, "options"), key, json_string(value)), 0);
}

static void
write_spec(struct box *box)
{
    char path[128];
    (void) snprintf(path, sizeof path, "%s/sandbox.json", box->folder);
    assert_int_equal(ctr_write_json(path, box->spec, NULL), 0);
}

/* Starts it with descriptors 3 (control) and 5 (attach). */
static void
box_start(struct box *box)
{
    char program[PATH_MAX];
    int control[2], attach[2];
    (void) snprintf(program, sizeof program, "%s/bin/ctr-sandbox", build);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, attach), 0);
    box->pid = fork();
    assert_true(box->pid >= 0);
    if (box->pid == 0) {
        int c = fcntl(control[1], F_DUPFD, 20), a = fcntl(attach[1], F_DUPFD, 20);
        (void) dup2(c, 3);
        (void) dup2(a, 5);
        (void) close(c);
        (void) close(a);
        (void) execl(program, program, box->folder, (char *) NULL);
        _exit(126);
    }
    (void) close(control[1]);
    (void) close(attach[1]);
    box->control = control[0];
    box->attach = attach[0];
}

static struct box *
box_run(const char *command)
{
    struct box *box = box_create(command);
    write_spec(box);
    box_start(box);
    return box;
}

static bool
wait_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int n;
    do {
        n = poll(&poll_fd, 1, PATIENCE_MS);
    } while (n < 0 && errno == EINTR);
    return n == 1;
}

/* The next event, NULL at the end. */
static json_t *
next_event(struct box *box)
{
    for (;;) {
        char *end =
            box->lines.length == 0 ? NULL : memchr(box->lines.data, '\n', box->lines.length);
        if (end != NULL) {
            json_t *event =
                json_loadb(box->lines.data, (size_t) (end - box->lines.data), 0, NULL);
            ctr_buf_consume(&box->lines, (size_t) (end - box->lines.data) + 1);
            assert_non_null(event);
            return event;
        }
        char block[4096];
        assert_true(wait_readable(box->control));
        ssize_t n = read(box->control, block, sizeof block);
        if (n <= 0) {
            assert_int_equal(n, 0);
            return NULL;
        }
        ctr_buf_add(&box->lines, block, (size_t) n);
    }
}

/* Reads the next event and checks its kind; the caller drops it. */
static json_t *
expect_event(struct box *box, const char *kind)
{
    json_t *event = next_event(box);
    assert_non_null(event);
    if (strcmp(ctr_json_str(event, "event", ""), kind) != 0) {
        char *text = ctr_json_text(event);
        print_error("wanted %s, got %s\n", kind, text);
        free(text);
    }
    assert_string_equal(ctr_json_str(event, "event", ""), kind);
    return event;
}

static void
pass_event(struct box *box, const char *kind)
{
    json_decref(expect_event(box, kind));
}

static char *
read_to_end(int fd, size_t *ret_length)
{
    struct ctr_buf buf = {0};
    char block[65536];
    ssize_t n;
    while (wait_readable(fd) && (n = read(fd, block, sizeof block)) > 0) {
        ctr_buf_add(&buf, block, (size_t) n);
    }
    assert_int_equal(n, 0);
    ctr_buf_add(&buf, "", 1);
    if (ret_length != NULL) {
        *ret_length = buf.length - 1;
    }
    return ctr_buf_take(&buf);
}

/* Bytes of one stream out of docker's frames. */
static char *
unframe(const char *bytes, size_t length, int stream, size_t *ret_length)
{
    struct ctr_buf buf = {0};
    size_t at = 0;
    while (at < length) {
        const uint8_t *h = (const uint8_t *) bytes + at;
        assert_true(at + 8 <= length && (h[0] == 1 || h[0] == 2));
        size_t n = (size_t) h[4] << 24 | (size_t) h[5] << 16 | (size_t) h[6] << 8 | h[7];
        assert_true(at + 8 + n <= length);
        if (h[0] == stream) {
            ctr_buf_add(&buf, bytes + at + 8, n);
        }
        at += 8 + n;
    }
    ctr_buf_add(&buf, "", 1);
    if (ret_length != NULL) {
        *ret_length = buf.length - 1;
    }
    return ctr_buf_take(&buf);
}

static void
expect_output(int fd, const char *out, const char *err)
{
    size_t length;
    char *all = read_to_end(fd, &length);
    char *one = unframe(all, length, 1, NULL), *two = unframe(all, length, 2, NULL);
    assert_string_equal(one, out);
    assert_string_equal(two, err);
    free(one);
    free(two);
    free(all);
}

static json_t *
read_exit(const struct box *box)
{
    char path[128];
    (void) snprintf(path, sizeof path, "%s/exit.json", box->folder);
    json_t *json = ctr_read_json(path, 65536, NULL);
    assert_non_null(json);
    return json;
}

static void
expect_exit_record(const struct box *box, int code, const char *reason, const char *error)
{
    json_t *json = read_exit(box);
    assert_int_equal(ctr_json_int(json, "code", -1), code);
    assert_string_equal(ctr_json_str(json, "reason", ""), reason);
    if (strstr(ctr_json_str(json, "error", ""), error) == NULL) {
        print_error("error: %s\n", ctr_json_str(json, "error", ""));
    }
    assert_non_null(strstr(ctr_json_str(json, "error", ""), error));
    json_decref(json);
}

/* Waits for its end and checks that nothing is left. */
static void
box_finish(struct box *box, int status)
{
    int got;
    json_t *event;
    while ((event = next_event(box)) != NULL) {
        json_decref(event);
    }
    assert_int_equal(waitpid(box->pid, &got, 0), box->pid);
    assert_true(WIFEXITED(got));
    assert_int_equal(WEXITSTATUS(got), status);
    assert_int_equal(access(box->socket, F_OK), -1);
    (void) close(box->control);
    if (box->attach >= 0) {
        (void) close(box->attach);
    }
    assert_int_equal(ctr_remove_tree(box->root, NULL), 0);
    ctr_buf_clear(&box->lines);
    json_decref(box->spec);
    free(box);
}

static json_t *
call(const struct box *box, json_t *take_request)
{
    int fd = ctr_unix_connect(box->socket, NULL);
    assert_true(fd >= 0);
    struct ctr_error err = CTR_ERROR_INIT;
    json_t *reply = ctr_unix_call(fd, take_request, PATIENCE_MS, NULL, &err);
    if (reply == NULL) {
        reply = json_pack("{s:s}", "failed", err.msg);
    }
    json_decref(take_request);
    (void) close(fd);
    return reply;
}

static void
call_ok(const struct box *box, json_t *take_request)
{
    json_t *reply = call(box, take_request);
    assert_non_null(json_object_get(reply, "ok"));
    json_decref(reply);
}

static void
call_fails(const struct box *box, json_t *take_request, const char *message)
{
    json_t *reply = call(box, take_request);
    assert_non_null(strstr(ctr_json_str(reply, "failed", ""), message));
    json_decref(reply);
}

/* A connection that became a raw stream. */
static int
open_stream(const struct box *box, json_t *take_request, json_t **ret_ok)
{
    int fd = ctr_unix_connect(box->socket, NULL);
    char *text = ctr_json_text(take_request);
    assert_true(fd >= 0);
    assert_int_equal(ctr_write_all(fd, text, strlen(text)), 0);
    assert_int_equal(ctr_write_all(fd, "\n", 1), 0);
    char *line = ctr_read_line(fd, 65536, NULL, NULL);
    assert_non_null(line);
    *ret_ok = json_loads(line, 0, NULL);
    free(line);
    free(text);
    json_decref(take_request);
    return fd;
}

/* --- ends --- */

static void
test_output_and_exit(void **state)
{
    struct box *box = box_run("echo out; echo err >&2; cat; exit 3");
    (void) state;
    json_t *started = expect_event(box, "started");
    assert_true(ctr_json_int(started, "pid", 0) > 0);
    assert_string_equal(ctr_json_str(started, "accel", ""), "fake");
    assert_false(ctr_json_bool(started, "hardware", true));
    json_decref(started);
    assert_int_equal(ctr_write_all(box->attach, "typed\n", 6), 0);
    (void) shutdown(box->attach, SHUT_WR);
    expect_output(box->attach, "out\ntyped\n", "err\n");
    json_t *end = expect_event(box, "exit");
    assert_int_equal(ctr_json_int(end, "code", -1), 3);
    assert_string_equal(ctr_json_str(end, "reason", ""), "exited");
    json_decref(end);
    expect_exit_record(box, 3, "exited", "");
    struct ctr_log_reader *log;
    struct ctr_log_record record;
    size_t bytes = 0;
    assert_int_equal(ctr_log_open(box->folder, -1, &log, NULL), 0);
    while (ctr_log_next(log, &record, NULL) > 0) {
        bytes += record.length;
    }
    ctr_log_close(log);
    assert_int_equal(bytes, 14);
    box_finish(box, 0);
}

static void
test_not_found(void **state)
{
    struct box *box = box_create("");
    (void) state;
    json_t *process = json_object_get(json_object_get(box->spec, "boot"), "process");
    (void) json_object_set_new(process, "args", json_pack("[s]", "no-such-program"));
    write_spec(box);
    box_start(box);
    json_t *failed = expect_event(box, "failed");
    assert_int_equal(ctr_json_int(failed, "exit", 0), 127);
    const json_t *error = json_object_get(failed, "error");
    assert_string_equal(ctr_json_str(error, "code", ""), "ENOENT");
    assert_non_null(strstr(ctr_json_str(error, "message", ""), "no-such-program"));
    json_decref(failed);
    expect_exit_record(box, 127, "boot-failed", "no-such-program");
    box_finish(box, 1);
}

static void
expect_failed(struct box *box, const char *code, const char *reason, const char *message)
{
    json_t *failed = expect_event(box, "failed");
    const json_t *error = json_object_get(failed, "error");
    assert_string_equal(ctr_json_str(error, "code", ""), code);
    assert_non_null(strstr(ctr_json_str(error, "message", ""), message));
    assert_int_equal(ctr_json_int(failed, "exit", 0), 125);
    json_decref(failed);
    expect_exit_record(box, 125, reason, message);
    expect_output(box->attach, "", "");
    box_finish(box, 1);
}

static void
test_misbehaving_machines(void **state)
{
    static const struct {
        const char *option, *value, *code, *reason, *message;
    } cases[] = {
        {"panic", "true", "EIO", "panic", "Unable to mount root fs"},
        {"no_boot", "true", "ETIMEDOUT", "boot-failed", "did not answer within 1 s"},
        {"fail_start", "true", "EIO", "boot-failed", "told not to start"},
        {"init", "/no/such/init", "ENOENT", "boot-failed", "/no/such/init"},
        {"bogus", "1", "EINVAL", "boot-failed", "bogus"},
    };
    (void) state;
    for (size_t i = 0; i < CTR_LENGTH(cases); i++) {
        struct box *box = box_create("true");
        set_option(box, cases[i].option, cases[i].value);
        (void) json_object_set_new(box->spec, "boot_timeout", json_integer(1));
        write_spec(box);
        box_start(box);
        expect_failed(box, cases[i].code, cases[i].reason, cases[i].message);
    }
}

static void
test_lost_machine(void **state)
{
    struct box *box = box_create("sleep 1000");
    (void) state;
    set_option(box, "die_after_ms", "300");
    write_spec(box);
    box_start(box);
    pass_event(box, "started");
    pass_event(box, "exit");
    expect_exit_record(box, 255, "vmm-lost", "the fake machine ended");
    box_finish(box, 0);
}

static void
test_bad_spec(void **state)
{
    static const char *const members[] = {"id",      "vmm", "machine", "boot",  "socket",
                                          "run_dir", "log", "ports",   "attach"};
    (void) state;
    for (size_t i = 0; i < CTR_LENGTH(members); i++) {
        struct box *box = box_create("true");
        (void) json_object_set_new(box->spec, members[i], json_integer(7));
        write_spec(box);
        box_start(box);
        json_t *failed = expect_event(box, "failed");
        const char *message = ctr_json_str(json_object_get(failed, "error"), "message", "");
        assert_non_null(strstr(message, "sandbox.json"));
        assert_non_null(strstr(message, members[i]));
        json_decref(failed);
        box_finish(box, 1);
    }
}

static void
test_stop_escalates(void **state)
{
    struct box *box = box_run("trap 'echo no' TERM; while :; do sleep 0.1; done");
    (void) state;
    char first;
    pass_event(box, "started");
    call_ok(box, json_pack("{s:s, s:i}", "op", "stop", "timeout", 1));
    pass_event(box, "exit");
    expect_exit_record(box, 137, "exited", "");
    assert_int_equal(read(box->attach, &first, 1), 1); /* it had the signal before */
    box_finish(box, 0);
}

static void
test_sigterm_stops(void **state)
{
    struct box *box = box_run("sleep 1000");
    (void) state;
    pass_event(box, "started");
    assert_int_equal(kill(box->pid, SIGTERM), 0);
    pass_event(box, "exit");
    expect_exit_record(box, 143, "exited", "");
    box_finish(box, 0);
}

static void
test_kill(void **state)
{
    struct box *box = box_run("sleep 1000");
    (void) state;
    pass_event(box, "started");
    call_ok(box, json_pack("{s:s}", "op", "kill"));
    pass_event(box, "exit");
    expect_exit_record(box, 137, "killed", "");
    box_finish(box, 0);
}

static void
test_signal_before_it_runs(void **state)
{
    struct box *box = box_create("sleep 1000");
    (void) state;
    write_spec(box);
    box_start(box);
    int fd = -1;
    while (fd < 0) { /* the socket comes up before the guest */
        fd = ctr_unix_connect(box->socket, NULL);
    }
    (void) close(fd);
    call_ok(box, json_pack("{s:s, s:i}", "op", "signal", "signal", SIGUSR1));
    pass_event(box, "started");
    pass_event(box, "exit");
    expect_exit_record(box, 128 + SIGUSR1, "exited", "");
    box_finish(box, 0);
}

static void
test_second_sandbox_is_refused(void **state)
{
    struct box *box = box_run("sleep 1000");
    (void) state;
    pass_event(box, "started");
    struct box other = *box;
    other.lines = (struct ctr_buf){0};
    box_start(&other);
    json_t *failed = expect_event(&other, "failed");
    assert_string_equal(ctr_json_str(json_object_get(failed, "error"), "code", ""),
                        "EADDRINUSE");
    json_decref(failed);
    int status;
    assert_int_equal(waitpid(other.pid, &status, 0), other.pid);
    (void) close(other.control);
    (void) close(other.attach);
    ctr_buf_clear(&other.lines);
    char path[128];
    (void) snprintf(path, sizeof path, "%s/exit.json", box->folder);
    assert_int_equal(access(path, F_OK), -1); /* the first one's folder was left alone */
    call_ok(box, json_pack("{s:s}", "op", "kill"));
    box_finish(box, 0);
}

/* ctrd dies: the container runs on, and the next one is told what happened. */
static void
test_lost_control(void **state)
{
    struct box *box = box_run("read line; exit 9");
    (void) state;
    pass_event(box, "started");
    (void) close(box->control);
    box->control = ctr_unix_connect(box->socket, NULL);
    assert_true(box->control >= 0);
    assert_int_equal(ctr_write_all(box->control, "{\"op\":\"events\"}\n", 16), 0);
    pass_event(box, "started");
    assert_int_equal(ctr_write_all(box->attach, "\n", 1), 0);
    pass_event(box, "exit");
    expect_exit_record(box, 9, "exited", "");
    box_finish(box, 0);
}

/* --- streams --- */

static void
test_megabytes_through_cat(void **state)
{
    struct box *box = box_run("cat");
    (void) state;
    size_t total = 20 << 20, sent = 0, length = 0, got;
    char *data = malloc(total);
    struct ctr_buf back = {0};
    for (size_t i = 0; i < total; i++) {
        data[i] = (char) (i * 2654435761u >> 13);
    }
    (void) fcntl(box->attach, F_SETFL, O_NONBLOCK);
    for (;;) {
        struct pollfd poll_fd = {.fd = box->attach,
                                 .events = (short) (POLLIN | (sent < total ? POLLOUT : 0))};
        assert_int_equal(poll(&poll_fd, 1, PATIENCE_MS), 1);
        if ((poll_fd.revents & POLLOUT) != 0 && sent < total) {
            ssize_t n = write(box->attach, data + sent, total - sent);
            sent += n > 0 ? (size_t) n : 0;
            if (sent == total) {
                (void) shutdown(box->attach, SHUT_WR);
            }
        }
        if ((poll_fd.revents & POLLIN) != 0) {
            char block[65536];
            ssize_t n = read(box->attach, block, sizeof block);
            if (n == 0) {
                break;
            }
            ctr_buf_add(&back, block, n > 0 ? (size_t) n : 0);
        }
    }
    char *one = unframe(back.data, back.length, 1, &got);
    length = got;
    assert_int_equal(length, total);
    assert_memory_equal(one, data, total);
    free(one);
    free(data);
    ctr_buf_clear(&back);
    box_finish(box, 0);
}

static void
test_tty(void **state)
{
    struct box *box = box_create("stty size; read line; stty size; echo $line");
    (void) state;
    json_t *process = json_object_get(json_object_get(box->spec, "boot"), "process");
    (void) json_object_set_new(process, "tty", json_true());
    write_spec(box);
    box_start(box);
    pass_event(box, "started");
    call_ok(box, json_pack("{s:s, s:i, s:i}", "op", "resize", "rows", 11, "cols", 22));
    assert_int_equal(ctr_write_all(box->attach, "hello\n", 6), 0);
    char *all = read_to_end(box->attach, NULL);
    assert_non_null(strstr(all, "11 22\r\n"));
    assert_non_null(strstr(all, "hello\r\n"));
    free(all);
    box_finish(box, 0);
}

static long
resident_kib(pid_t pid)
{
    char path[64], line[256];
    long kib = -1;
    (void) snprintf(path, sizeof path, "/proc/%d/status", (int) pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0) {
            kib = strtol(line + 6, NULL, 10);
        }
    }
    if (file != NULL) {
        (void) fclose(file);
    }
    return kib;
}

/* A client that does not read holds back the guest: memory stays, control works, a second client gets what the first lets through. */
static void
test_slow_client(void **state)
{
    struct box *box = box_run("yes");
    (void) state;
    char block[65536];
    pass_event(box, "started");
    long before = resident_kib(box->pid);
    for (int i = 0; i < 50; i++) { /* every answer is a turn of its loop */
        call_ok(box, json_pack("{s:s}", "op", "stats"));
    }
    assert_true(resident_kib(box->pid) - before < 4096);
    for (int i = 0; i < 200; i++) {
        assert_true(wait_readable(box->attach));
        assert_true(read(box->attach, block, sizeof block) > 0);
    }
    assert_true(resident_kib(box->pid) - before < 4096);
    (void) close(box->attach); /* and a lost client holds back nobody */
    box->attach = -1;
    json_t *ok;
    int fd = open_stream(box, json_pack("{s:s, s:b}", "op", "attach", "stdout", 1), &ok);
    json_decref(ok);
    for (int i = 0; i < 100; i++) {
        assert_true(wait_readable(fd));
        assert_true(read(fd, block, sizeof block) > 0);
    }
    call_ok(box, json_pack("{s:s, s:i}", "op", "signal", "signal", SIGKILL));
    free(read_to_end(fd, NULL));
    (void) close(fd);
    pass_event(box, "exit");
    box_finish(box, 0);
}

static json_t *
exec_request(const char *id, const char *command, bool streams)
{
    return json_pack("{s:s, s:s, s:{s:[s,s,s], s:[s], s:s, s:s, s:b}, s:b, s:b, s:b}", "op",
                     "exec", "exec", id, "process", "args", "sh", "-c", command, "env",
                     "PATH=/usr/bin:/bin", "cwd", "/", "user", "", "tty", 0, "stdin",
                     (int) streams, "stdout", (int) streams, "stderr", (int) streams);
}

static void
expect_exec_exit(struct box *box, const char *id, int code)
{
    json_t *event = expect_event(box, "exec-exit");
    assert_string_equal(ctr_json_str(event, "exec", ""), id);
    assert_int_equal(ctr_json_int(event, "code", -1), code);
    json_decref(event);
}

static void
test_exec(void **state)
{
    struct box *box = box_run("sleep 1000");
    (void) state;
    json_t *ok;
    pass_event(box, "started");
    int fd = open_stream(
        box, exec_request("one", "echo early; cat; echo err >&2; exit 7", true), &ok);
    assert_true(ctr_json_int(json_object_get(ok, "ok"), "pid", 0) > 0);
    json_decref(ok);
    assert_int_equal(ctr_write_all(fd, "more\n", 5), 0);
    (void) shutdown(fd, SHUT_WR);
    expect_output(fd, "early\nmore\n", "err\n");
    (void) close(fd);
    expect_exec_exit(box, "one", 7);
    call_ok(box, exec_request("two", "exit 4", false));
    expect_exec_exit(box, "two", 4);
    json_t *missing = exec_request("three", "", false);
    (void) json_object_set_new(json_object_get(missing, "process"), "args",
                               json_pack("[s]", "no-such-program"));
    call_fails(box, missing, "no-such-program");
    call_fails(box, exec_request("init", "true", false), "exec needs");
    call_fails(box, exec_request("../x", "true", false), "exec needs");
    /* A new subscriber hears of the past ones. */
    (void) close(box->control);
    box->control = ctr_unix_connect(box->socket, NULL);
    assert_int_equal(ctr_write_all(box->control, "{\"op\":\"events\"}\n", 16), 0);
    pass_event(box, "started");
    expect_exec_exit(box, "one", 7);
    expect_exec_exit(box, "two", 4);
    call_ok(box, json_pack("{s:s}", "op", "kill"));
    pass_event(box, "exit");
    box_finish(box, 0);
}

/* --- the control socket --- */

static void
test_bad_requests(void **state)
{
    struct box *box = box_run("sleep 1000");
    (void) state;
    pass_event(box, "started");
    call_fails(box, json_pack("{s:s}", "op", "bogus"), "unknown");
    call_fails(box, json_pack("{s:s, s:i}", "op", "signal", "signal", 99), "signal");
    call_fails(box, json_pack("{s:s, s:s, s:i}", "op", "signal", "exec", "none", "signal", 1),
               "no such exec");
    call_fails(box, json_pack("{s:s, s:i}", "op", "memory", "bytes", 1), "fake cannot");
    call_ok(box, json_pack("{s:s}", "op", "pause"));
    call_ok(box, json_pack("{s:s}", "op", "resume"));
    int fd = ctr_unix_connect(box->socket, NULL);
    assert_int_equal(ctr_write_all(fd, "garbage\n", 8), 0);
    char *line = ctr_read_line(fd, 65536, NULL, NULL);
    assert_non_null(strstr(line, "error"));
    free(line);
    (void) close(fd);
    /* A line without an end. */
    fd = ctr_unix_connect(box->socket, NULL);
    char *big = malloc(3 << 20);
    memset(big, 'x', 3 << 20);
    (void) send(fd, big, 3 << 20, MSG_NOSIGNAL);
    line = ctr_read_line(fd, 65536, NULL, NULL);
    assert_true(line == NULL || strstr(line, "EMSGSIZE") != NULL);
    free(line);
    free(big);
    (void) close(fd);
    call_ok(box, json_pack("{s:s}", "op", "kill"));
    pass_event(box, "exit");
    box_finish(box, 0);
}

/* --- network --- */

static int
take_port(const struct box *box, const char *hardware)
{
    CTR_AUTO(fd) int fd = ctr_unix_connect(box->socket, NULL);
    CTR_AUTO(json)
    json_t *request = json_pack("{s:s, s:s}", "op", "port", "hardware", hardware);
    int port = -1;
    CTR_AUTO(json) json_t *reply = ctr_unix_call(fd, request, PATIENCE_MS, &port, NULL);
    assert_non_null(reply);
    assert_true(port >= 0);
    return port;
}

static json_t *
network_request(const char *mac)
{
    return json_pack("{s:s, s:{s:[{s:s, s:s, s:s, s:i}], s:[s]}}", "op", "network", "network",
                     "interfaces", "mac", mac, "hardware", "02:fe:00:00:00:01", "address",
                     "10.0.0.2", "prefix", 24, "dns", "10.0.0.1");
}

static void
test_spare_ports(void **state)
{
    struct box *box = box_create("sleep 1000");
    struct stat one, two;
    (void) state;
    (void) json_object_set_new(box->spec, "spare_ports", json_integer(2));
    write_spec(box);
    box_start(box);
    pass_event(box, "started");
    json_t *reply = call(box, json_pack("{s:s}", "op", "ports"));
    json_t *ports = json_object_get(json_object_get(reply, "ok"), "ports");
    assert_int_equal(json_array_size(ports), 2);
    assert_string_equal(ctr_json_str(json_array_get(ports, 1), "hardware", ""),
                        "02:fe:00:00:00:01");
    assert_true(ctr_json_bool(json_array_get(ports, 1), "spare", false));
    assert_int_equal(ctr_json_int(json_array_get(ports, 1), "kind", 0), CTR_PORT_DGRAM);
    json_decref(reply);
    /* Each copy is the same end, and the machine has the other. */
    int a = take_port(box, "02:fe:00:00:00:01"), b = take_port(box, "02:FE:00:00:00:01");
    assert_int_equal(fstat(a, &one), 0);
    assert_int_equal(fstat(b, &two), 0);
    assert_int_equal(one.st_ino, two.st_ino);
    assert_int_equal(send(a, "frame", 5, MSG_NOSIGNAL), 5);
    (void) close(a);
    (void) close(b);
    call_fails(box, json_pack("{s:s, s:s}", "op", "port", "hardware", "02:fe:00:00:00:02"),
               "no such port");
    call_ok(box, json_pack("{s:s}", "op", "kill"));
    pass_event(box, "exit");
    box_finish(box, 0);
}

static void
test_network(void **state)
{
    struct box *box = box_run("sleep 1000");
    char path[128], text[4096];
    (void) state;
    pass_event(box, "started");
    call_ok(box, network_request("02:42:0a:00:00:02"));
    (void) snprintf(path, sizeof path, "%s/console.ring", box->folder);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n < 0 ? 0 : n] = '\0';
    (void) close(fd);
    assert_non_null(strstr(text, "network {\"interfaces\":[{\"mac\":\"02:42:0a:00:00:02\""));
    call_fails(box, network_request("03:42:0a:00:00:02"), "network interface 0: \"mac\"");
    call_fails(box, json_pack("{s:s, s:i}", "op", "network", "network", 1),
               "must be an object");
    /* A guest that does not answer in time; what it says later is nobody's. */
    call_ok(box, json_pack("{s:s}", "op", "pause"));
    call_fails(box, network_request("02:42:0a:00:00:03"), "does not set up its network");
    call_ok(box, json_pack("{s:s}", "op", "resume"));
    call_ok(box, network_request("02:42:0a:00:00:04"));
    call_ok(box, json_pack("{s:s}", "op", "kill"));
    pass_event(box, "exit");
    box_finish(box, 0);
}

static void
test_too_many_connections(void **state)
{
    struct box *box = box_run("sleep 1000");
    (void) state;
    int fds[300];
    char reply[200] = "";
    pass_event(box, "started");
    for (int i = 0; i < 300; i++) {
        fds[i] = ctr_unix_connect(box->socket, NULL);
        assert_true(fds[i] >= 0);
    }
    assert_true(wait_readable(fds[299]));
    assert_true(read(fds[299], reply, sizeof reply - 1) > 0);
    assert_non_null(strstr(reply, "too many"));
    for (int i = 0; i < 300; i++) {
        (void) close(fds[i]);
    }
    json_t *reply_json; /* they are noticed as gone one by one: then there is room again */
    do {
        reply_json = call(box, json_pack("{s:s}", "op", "kill"));
    } while (json_object_get(reply_json, "ok") == NULL && (json_decref(reply_json), true));
    json_decref(reply_json);
    pass_event(box, "exit");
    box_finish(box, 0);
}

/* --- hostile guests --- */

static void
guest_frame(uint8_t type, uint16_t flags, uint32_t stream, uint32_t length, const void *bytes)
{
    struct ctr_yamux_header header = {
        .type = type, .flags = flags, .stream = stream, .length = length};
    uint8_t out[CTR_YAMUX_HEADER];
    ctr_yamux_encode(&header, out);
    (void) ctr_write_all(3, out, sizeof out);
    if (bytes != NULL) {
        (void) ctr_write_all(3, bytes, length);
    }
}

static void
guest_message(const char *text)
{
    size_t n = strlen(text);
    char *bytes = malloc(n + 4);
    for (int i = 0; i < 4; i++) {
        bytes[i] = (char) (n >> (24 - 8 * i));
    }
    memcpy(bytes + 4, text, n);
    guest_frame(CTR_YAMUX_DATA, 0, CTR_CONTROL_STREAM, (uint32_t) n + 4, bytes);
    free(bytes);
}

static int
play_guest(const char *mode)
{
    if (strcmp(mode, "huge") == 0) {
        (void) ctr_write_all(3, "\0\0\0\0\0\0\0\1\xff\xff\xff\xff", 12);
    } else if (strcmp(mode, "version") == 0) {
        (void) ctr_write_all(3, "\7\7\7\7\7\7\7\7\7\7\7\7", 12);
    } else if (strcmp(mode, "json") == 0) {
        guest_message("{\"event\":\"exit\",");
    } else if (strcmp(mode, "flood") == 0) {
        for (int i = 0; i < 200000; i++) {
            guest_frame(CTR_YAMUX_DATA, 0, 99999, 0, NULL);
        }
        guest_message("[[[[");
    } else if (strcmp(mode, "close") == 0) {
        (void) close(3);
    } else if (strcmp(mode, "exit-first") == 0) {
        guest_message("{\"event\":\"hello\",\"protocol\":1,\"version\":\"0\"}");
        guest_message("{\"event\":\"exit\",\"process_id\":\"init\",\"code\":0}");
        return 0;
    } else if (strcmp(mode, "window") == 0) {
        char bytes[65536] = "";
        guest_message("{\"event\":\"hello\",\"protocol\":1,\"version\":\"0\"}");
        for (int i = 0; i < 64;
             i++) { /* on whatever stream the process has, more than any window */
            guest_frame(CTR_YAMUX_DATA, 0, 3 + 2 * (uint32_t) (i % 3), sizeof bytes, bytes);
        }
    }
    for (;;) {
        (void) pause();
    }
}

static void
test_hostile_guests(void **state)
{
    static const struct {
        const char *mode, *reason, *message;
    } cases[] = {
        {"huge", "vmm-lost", "protocol"},    {"version", "vmm-lost", "protocol"},
        {"json", "vmm-lost", "protocol"},    {"flood", "vmm-lost", "protocol"},
        {"close", "vmm-lost", "channel"},    {"exit-first", "vmm-lost", "powered off"},
        {"silent", "boot-failed", "within"}, {"window", "vmm-lost", "protocol"},
    };
    (void) state;
    char self[PATH_MAX] = "";
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    for (size_t i = 0; i < CTR_LENGTH(cases); i++) {
        struct box *box = box_create("true");
        set_option(box, "script", self);
        set_option(box, "arg", cases[i].mode);
        bool silent = strcmp(cases[i].mode, "silent") == 0;
        (void) json_object_set_new(box->spec, "boot_timeout", json_integer(silent ? 1 : 30));
        write_spec(box);
        box_start(box);
        pass_event(box, "failed");
        expect_exit_record(box, 125, cases[i].reason, cases[i].message);
        box_finish(box, 1);
    }
}

int
main(int argc, char **argv)
{
    if (getenv("CTR_CHANNEL_FD") != NULL) {
        return play_guest(argc > 1 ? argv[1] : "");
    }
    build = getenv("CTR_TEST_BUILD");
    if (build == NULL) {
        (void) fputs("CTR_TEST_BUILD is not set\n", stderr);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output_and_exit),
        cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_misbehaving_machines),
        cmocka_unit_test(test_lost_machine),
        cmocka_unit_test(test_bad_spec),
        cmocka_unit_test(test_stop_escalates),
        cmocka_unit_test(test_sigterm_stops),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_signal_before_it_runs),
        cmocka_unit_test(test_second_sandbox_is_refused),
        cmocka_unit_test(test_lost_control),
        cmocka_unit_test(test_megabytes_through_cat),
        cmocka_unit_test(test_tty),
        cmocka_unit_test(test_slow_client),
        cmocka_unit_test(test_exec),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_spare_ports),
        cmocka_unit_test(test_network),
        cmocka_unit_test(test_too_many_connections),
        cmocka_unit_test(test_hostile_guests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
