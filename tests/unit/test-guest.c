/*
 * core/guest against the real guest program in its fake mode (ctr-init-fake: no machine, the process runs on the host), over a
 * socketpair: bytes both ways, back-pressure, ends, errors, many streams at once.
 */
#include "core/guest/guest.h"
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#define GUARD_MS 60000 /* a hang fails the test */

struct box {
    struct ctr_loop *loop;
    struct ctr_guest *guest;
    struct ctr_timer *guard;
    pid_t pid;
    json_t *exits; /* process_id -> exit event */
    json_t *reply; /* the last one */
    unsigned replies, wanted_replies, wanted_exits;
    bool closed, stop_on_close;
    char reason[128];
};

static void
on_guard(void *arg)
{
    fail_msg("the guest did not answer in time");
}

static void
on_event(void *arg, const json_t *message)
{
    struct box *box = arg;
    if (strcmp(ctr_json_str(message, "event", ""), "exit") == 0) {
        (void) json_object_set(box->exits, ctr_json_str(message, "process_id", "?"),
                               (json_t *) message);
        if (box->wanted_exits > 0 && json_object_size(box->exits) >= box->wanted_exits) {
            ctr_loop_stop(box->loop);
        }
    }
}

static void
on_closed(void *arg, const char *reason)
{
    struct box *box = arg;
    assert_false(box->closed);
    box->closed = true;
    (void) snprintf(box->reason, sizeof box->reason, "%s", reason);
    ctr_loop_stop(box->loop);
}

static void
on_reply(void *arg, const json_t *ok, const json_t *error)
{
    struct box *box = arg;
    assert_true((ok == NULL) != (error == NULL));
    json_decref(box->reply);
    box->reply = json_deep_copy(ok == NULL ? error : ok);
    box->replies++;
    if (box->replies == box->wanted_replies) {
        ctr_loop_stop(box->loop);
    }
}

static pid_t
start_fake(int take_fd)
{
    char path[PATH_MAX];
    const char *build = getenv("CTR_TEST_BUILD");
    (void) snprintf(path, sizeof path, "%s/tests/bin/ctr-init-fake",
                    build == NULL ? "build" : build);
    pid_t pid = fork();
    if (pid == 0) {
        char *const args[] = {path, NULL};
        char *const env[] = {(char *) "CTR_CHANNEL_FD=3", NULL};
        int fd = fcntl(take_fd, F_DUPFD, 4);
        (void) dup2(fd, 3);
        (void) close(fd);
        (void) execve(path, args, env);
        _exit(127);
    }
    (void) close(take_fd);
    return pid;
}

static int
setup(void **state)
{
    static const struct ctr_guest_events events = {on_event, on_closed};
    struct ctr_error err = CTR_ERROR_INIT;
    struct box *box = calloc(1, sizeof *box);
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    box->exits = json_object();
    box->pid = start_fake(pair[1]);
    assert_int_equal(ctr_loop_create(&box->loop, &err), 0);
    assert_int_equal(ctr_guest_create(box->loop, pair[0], &events, box, &box->guest, &err), 0);
    box->guard = ctr_timer_add(box->loop, GUARD_MS, on_guard, box);
    *state = box;
    return 0;
}

static int
teardown(void **state)
{
    struct box *box = *state;
    int status = -1;
    ctr_guest_destroy(box->guest);
    assert_int_equal(waitpid(box->pid, &status, 0), box->pid);
    ctr_timer_remove(box->guard);
    ctr_loop_destroy(box->loop);
    json_decref(box->exits);
    json_decref(box->reply);
    free(box);
    assert_int_equal(status, 0);
    return 0;
}

/* {"op":op,"process_id":id,"process":{args, streams}} */
static void
ask(struct box *box, const char *op, const char *id, json_t *take_process)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json)
    json_t *request =
        json_pack("{s:s, s:i, s:s, s:o*}", "op", op, "protocol", CTR_PROTOCOL_VERSION,
                  "process_id", id, "process", take_process);
    assert_non_null(request);
    assert_int_equal(ctr_guest_request(box->guest, request, on_reply, box, &err), 0);
}

static json_t *
process(const char *command, uint32_t in, uint32_t out, uint32_t error, bool tty)
{
    return json_pack("{s:[s,s,s], s:[s], s:s, s:b, s:{s:I, s:I, s:I}}", "args", "sh", "-c",
                     command, "env", "PATH=/usr/bin:/bin", "cwd", "/", "tty", tty, "streams",
                     "in", (json_int_t) in, "out", (json_int_t) out, "err", (json_int_t) error);
}

static void
wait_replies(struct box *box, unsigned n)
{
    box->wanted_replies = n;
    if (box->replies < n) {
        ctr_loop_run(box->loop);
    }
    box->wanted_replies = 0;
    assert_true(box->replies >= n);
}

static void
wait_exits(struct box *box, unsigned n)
{
    box->wanted_exits = n;
    while (json_object_size(box->exits) < n) {
        ctr_loop_run(box->loop);
    }
    box->wanted_exits = 0;
}

static int
exit_code(struct box *box, const char *id)
{
    return (int) ctr_json_int(json_object_get(box->exits, id), "code", -1);
}

static void
wait_closed(struct box *box)
{
    while (!box->closed) {
        ctr_loop_run(box->loop);
    }
    assert_string_equal(box->reason, "");
}

/* --- streams --- */

/* Counts bytes, and checks them against a repeating pattern if there is one. */
struct sink {
    struct box *box;
    struct ctr_stream *stream;
    size_t length, held, most;
    bool lazy; /* takes nothing by itself */
    bool ended, reset;
    char text[512]; /* the first of it */
    const uint8_t *pattern;
    size_t pattern_length;
    bool differs;
};

static void
sink_data(void *arg, const void *bytes, size_t n)
{
    struct sink *sink = arg;
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n; i++) {
        if (sink->length + i < sizeof sink->text - 1) {
            sink->text[sink->length + i] = (char) p[i];
        }
        if (sink->pattern != NULL &&
            p[i] != sink->pattern[(sink->length + i) % sink->pattern_length]) {
            sink->differs = true;
        }
    }
    sink->length += n;
    sink->held += n;
    sink->most = sink->held > sink->most ? sink->held : sink->most;
    if (!sink->lazy) {
        ctr_stream_taken(sink->stream, n);
        sink->held -= n;
    }
}

static void
sink_end(void *arg, bool reset)
{
    struct sink *sink = arg;
    assert_false(sink->ended);
    sink->ended = true;
    sink->reset = reset;
}

static const struct ctr_stream_events sink_events = {.data = sink_data, .end = sink_end};

static uint32_t
open_sink(struct box *box, struct sink *sink)
{
    sink->box = box;
    sink->stream = ctr_stream_open(box->guest, &sink_events, sink);
    assert_non_null(sink->stream);
    return ctr_stream_id(sink->stream);
}

/* Sends the pattern until `total` bytes went, then FIN. */
struct source {
    struct ctr_stream *stream;
    const uint8_t *pattern;
    size_t pattern_length, sent, total;
    bool ended, reset;
};

static void
source_writable(void *arg)
{
    struct source *source = arg;
    while (source->sent < source->total) {
        size_t at = source->sent % source->pattern_length;
        size_t n = source->pattern_length - at;
        n = n < source->total - source->sent ? n : source->total - source->sent;
        size_t took = ctr_stream_write(source->stream, source->pattern + at, n);
        source->sent += took;
        if (took < n) {
            return;
        }
    }
    ctr_stream_finish(source->stream);
}

static void
source_data(void *arg, const void *bytes, size_t n)
{
    fail_msg("data came on an input stream");
}

static void
source_end(void *arg, bool reset)
{
    struct source *source = arg;
    source->ended = true;
    source->reset = reset;
}

static const struct ctr_stream_events source_events = {
    .data = source_data, .end = source_end, .writable = source_writable};

static uint32_t
open_source(struct box *box, struct source *source)
{
    source->stream = ctr_stream_open(box->guest, &source_events, source);
    assert_non_null(source->stream);
    return ctr_stream_id(source->stream);
}

/* --- tests --- */

static void
outputs_are_apart(void **state)
{
    struct box *box = *state;
    struct sink out = {0}, error = {0};
    uint32_t o = open_sink(box, &out), e = open_sink(box, &error);
    ask(box, "boot", "", process("echo out; echo err >&2; exit 7", 0, o, e, false));
    wait_exits(box, 1);
    assert_int_equal(exit_code(box, "init"), 7);
    /* The exit event comes behind all output. */
    assert_true(out.ended && error.ended && !out.reset && !error.reset);
    assert_string_equal(out.text, "out\n");
    assert_string_equal(error.text, "err\n");
    wait_closed(box);
}

static void
bytes_are_equal(void **state)
{
    struct box *box = *state;
    static uint8_t pattern[999983]; /* a prime: no alignment with any window */
    assert_int_equal(ctr_random(pattern, sizeof pattern), 0);
    struct source in = {
        .pattern = pattern, .pattern_length = sizeof pattern, .total = 100000000};
    struct sink out = {.pattern = pattern, .pattern_length = sizeof pattern};
    uint32_t i = open_source(box, &in), o = open_sink(box, &out);
    ask(box, "boot", "", process("exec cat", i, o, 0, false));
    source_writable(&in); /* before the guest listens */
    wait_exits(box, 1);
    assert_int_equal(exit_code(box, "init"), 0);
    assert_int_equal(out.length, in.total);
    assert_false(out.differs);
}

/* A reader that takes nothing holds the guest at one window; the other stream goes on. */
static void
slow_reader_holds_one_stream(void **state)
{
    struct box *box = *state;
    struct sink slow = {.lazy = true}, fast = {0};
    uint32_t s = open_sink(box, &slow), f = open_sink(box, &fast);
    ask(box, "boot", "", process("sleep 1000", 0, 0, 0, false));
    wait_replies(box, 1);
    ask(box, "exec", "slow", process("head -c 3000000 /dev/zero", 0, s, 0, false));
    ask(box, "exec", "fast", process("head -c 3000000 /dev/zero", 0, f, 0, false));
    wait_exits(box, 1);
    assert_int_equal(exit_code(box, "fast"), 0);
    assert_int_equal(fast.length, 3000000);
    assert_int_equal(slow.length, CTR_YAMUX_WINDOW);
    assert_false(slow.ended);
    slow.lazy = false;
    ctr_stream_taken(slow.stream, slow.held);
    slow.held = 0;
    wait_exits(box, 2);
    assert_int_equal(slow.length, 3000000);
    assert_int_equal(slow.most, CTR_YAMUX_WINDOW);
}

static void
many_processes_at_once(void **state)
{
    enum { MANY = 60 };
    struct box *box = *state;
    static struct sink outs[MANY];
    static struct source ins[MANY];
    static const uint8_t pattern[] = "0123456789abcdef";
    memset(outs, 0, sizeof outs);
    memset(ins, 0, sizeof ins);
    ask(box, "boot", "", process("sleep 1000", 0, 0, 0, false));
    wait_replies(box, 1);
    for (int n = 0; n < MANY; n++) {
        char id[16], command[64];
        ins[n] = (struct source){.pattern = pattern, .pattern_length = 16, .total = 20000u};
        ins[n].total += (size_t) n;
        outs[n].pattern = pattern;
        outs[n].pattern_length = 16;
        uint32_t i = open_source(box, &ins[n]), o = open_sink(box, &outs[n]);
        (void) snprintf(id, sizeof id, "p%d", n);
        (void) snprintf(command, sizeof command, "cat; exit %d", n);
        ask(box, "exec", id, process(command, i, o, 0, false));
        source_writable(&ins[n]);
    }
    wait_exits(box, MANY);
    for (int n = 0; n < MANY; n++) {
        char id[16];
        (void) snprintf(id, sizeof id, "p%d", n);
        assert_int_equal(exit_code(box, id), n);
        assert_int_equal(outs[n].length, 20000 + n);
        assert_false(outs[n].differs);
        ctr_stream_close(outs[n].stream);
        ctr_stream_close(ins[n].stream);
    }
    /* Their numbers are free again: as many as there may be can be opened. */
    struct sink more = {0};
    for (int n = 0; n < CTR_STREAMS_MAX - 1; n++) {
        assert_non_null(ctr_stream_open(box->guest, &sink_events, &more));
    }
    assert_null(ctr_stream_open(box->guest, &sink_events, &more));
}

static void
reset_of_output_does_not_hold_the_process(void **state)
{
    struct box *box = *state;
    struct sink out = {0};
    uint32_t o = open_sink(box, &out);
    ask(box, "boot", "", process("head -c 5000000 /dev/zero; exit 9", 0, o, 0, false));
    wait_replies(box, 1);
    ctr_stream_close(out.stream);
    wait_exits(box, 1);
    assert_int_equal(exit_code(box, "init"), 9);
}

/* A process that closes its input: the writer hears of it and is not held. */
static void
input_that_nobody_reads_is_reset(void **state)
{
    struct box *box = *state;
    static const uint8_t pattern[1000];
    struct source in = {
        .pattern = pattern, .pattern_length = sizeof pattern, .total = 50000000};
    uint32_t i = open_source(box, &in);
    ask(box, "boot", "", process("exec <&-; sleep 1000", 0, 0, 0, false));
    wait_replies(box, 1);
    ask(box, "exec", "deaf", process("head -c 10 >/dev/null", i, 0, 0, false));
    source_writable(&in);
    wait_exits(box, 1);
    assert_int_equal(exit_code(box, "deaf"), 0);
    while (!in.ended) {
        ask(box, "ping", "", NULL);
        wait_replies(box, box->replies + 1);
    }
    assert_true(in.reset);
    assert_true(in.sent < in.total);
}

static void
terminals_have_sizes_and_signals(void **state)
{
    struct box *box = *state;
    struct sink both = {0};
    uint32_t s = open_sink(box, &both);
    ask(box, "boot", "",
        process("trap 'stty size; exit 4' WINCH; stty -echo; echo ready; "
                "while :; do sleep 0.05; done",
                s, s, 0, true));
    while (strstr(both.text, "ready") == NULL) {
        ask(box, "ping", "", NULL);
        wait_replies(box, box->replies + 1);
    }
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json)
    json_t *resize = json_pack("{s:s, s:s, s:i, s:i}", "op", "resize", "process_id", "init",
                               "rows", 41, "cols", 97);
    assert_int_equal(ctr_guest_request(box->guest, resize, on_reply, box, &err), 0);
    wait_exits(box, 1);
    assert_int_equal(exit_code(box, "init"), 4);
    assert_string_equal(both.text, "ready\r\n41 97\r\n");
    assert_true(both.ended);
}

static void
signals_reach_the_process(void **state)
{
    struct box *box = *state;
    ask(box, "boot", "", process("exec sleep 1000", 0, 0, 0, false));
    wait_replies(box, 1);
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json)
    json_t *signal =
        json_pack("{s:s, s:s, s:i}", "op", "signal", "process_id", "init", "signal", SIGTERM);
    assert_int_equal(ctr_guest_request(box->guest, signal, on_reply, box, &err), 0);
    wait_exits(box, 1);
    assert_int_equal(exit_code(box, "init"), 128 + SIGTERM);
    assert_int_equal(ctr_json_int(json_object_get(box->exits, "init"), "signal", 0), SIGTERM);
    wait_closed(box);
}

static void
failures_are_told_by_code(void **state)
{
    static const struct {
        const char *program, *code, *message;
    } cases[] = {
        {"no-such-program", "ENOENT",
         "exec: \"no-such-program\": executable file not found in $PATH"},
        {"/no/such", "ENOENT", "exec: \"/no/such\": stat /no/such: no such file or directory"},
        {"/etc/passwd", "EACCES", "exec: \"/etc/passwd\": permission denied"},
        {"/etc", "EISDIR", "exec: \"/etc\": is a directory: permission denied"},
    };
    struct box *box = *state;
    ask(box, "boot", "", process("sleep 1000", 0, 0, 0, false));
    wait_replies(box, 1);
    for (size_t i = 0; i < CTR_LENGTH(cases); i++) {
        json_t *bad =
            json_pack("{s:[s], s:[s]}", "args", cases[i].program, "env", "PATH=/usr/bin:/bin");
        ask(box, "exec", "x", bad); /* the same id again: a failed one is gone */
        wait_replies(box, 2 + (unsigned) i);
        assert_string_equal(ctr_json_str(box->reply, "code", ""), cases[i].code);
        assert_string_equal(ctr_json_str(box->reply, "message", ""), cases[i].message);
    }
    unsigned n = box->replies;
    ask(box, "exec", "user", json_pack("{s:[s], s:s}", "args", "true", "user", "nobody-here"));
    wait_replies(box, ++n);
    assert_string_equal(ctr_json_str(box->reply, "message", ""),
                        "unable to find user nobody-here: no matching entries in passwd file");
    ask(box, "exec", "user", json_pack("{s:[s], s:s}", "args", "true", "user", "4294967296"));
    wait_replies(box, ++n);
    assert_string_equal(ctr_json_str(box->reply, "code", ""), "EINVAL");
    ask(box, "boot", "", NULL);
    wait_replies(box, ++n);
    assert_string_equal(ctr_json_str(box->reply, "code", ""), "EBUSY");
    ask(box, "dance", "", NULL);
    wait_replies(box, ++n);
    assert_string_equal(ctr_json_str(box->reply, "code", ""), "EINVAL");
    assert_int_equal(json_object_size(box->exits), 0);
}

/* The whole description is checked before anything of it is done. */
static void
networks_are_checked(void **state)
{
    static const struct {
        const char *network, *message; /* NULL: it is good */
    } cases[] = {
        {"{}", NULL},
        {"{\"interfaces\":[{\"mac\":\"02:42:00:00:00:02\",\"address\":\"10.0.0.2\",\"prefix\":"
         "24,"
         "\"gateway\":\"\",\"address6\":\"fd00::2\",\"prefix6\":64,\"gateway6\":\"fd00::1\","
         "\"mtu\":65520,\"out_mtu\":1500}],\"options\":[\"ndots:1\"]}",
         NULL},
        {"{\"interfaces\":{}}", "no object with at most 16 interfaces"},
        {"{\"interfaces\":[7]}", "interface 0 is no object"},
        {"{\"interfaces\":[{}]}", "\"mac\""},
        {"{\"interfaces\":[{\"mac\":\"02:42:00:00:00:2\"}]}", "\"mac\""},
        {"{\"interfaces\":[{\"mac\":\"ff:ff:ff:ff:ff:ff\"}]}", "\"mac\""},
        {"{\"interfaces\":[{\"mac\":\"02:42:00:00:00:02\",\"hardware\":1}]}", "\"hardware\""},
        {"{\"interfaces\":[{\"mac\":\"02:42:00:00:00:02\"},{\"mac\":\"02:42:00:00:00:02\"}]}",
         "interface 1: \"hardware\""},
        {"{\"interfaces\":[{\"mac\":\"02:42:00:00:00:02\",\"address\":\"fd00::2\"}]}",
         "\"address\""},
        {"{\"interfaces\":[{\"mac\":\"02:42:00:00:00:02\",\"address\":\"10.0.0.2\","
         "\"prefix\":33}]}",
         "\"prefix\""},
        {"{\"interfaces\":[{\"mac\":\"02:42:00:00:00:02\",\"mtu\":67}]}", "\"mtu\""},
        {"{\"interfaces\":[{\"mac\":\"02:42:00:00:00:02\",\"mtu\":\"1500\"}]}", "\"mtu\""},
    };
    struct box *box = *state;
    struct ctr_error err = CTR_ERROR_INIT;
    ask(box, "network", "", NULL);
    wait_replies(box, 1);
    assert_string_equal(ctr_json_str(box->reply, "code", ""), "EINVAL");
    ask(box, "boot", "", process("sleep 1000", 0, 0, 0, false));
    wait_replies(box, 2);
    for (size_t i = 0; i < CTR_LENGTH(cases); i++) {
        CTR_AUTO(json)
        json_t *request = json_pack("{s:s, s:o}", "op", "network", "network",
                                    json_loads(cases[i].network, 0, NULL));
        assert_int_equal(ctr_guest_request(box->guest, request, on_reply, box, &err), 0);
        wait_replies(box, 3 + (unsigned) i);
        const char *message = ctr_json_str(box->reply, "message", NULL);
        assert_true((cases[i].message == NULL) == (message == NULL));
        if (message != NULL && strstr(message, cases[i].message) == NULL) {
            fail_msg("%s: %s", cases[i].network, message);
        }
    }
    ask(box, "poweroff", "", NULL);
    wait_closed(box);
}

static void
power_off_ends_everything(void **state)
{
    struct box *box = *state;
    struct sink out = {0};
    uint32_t o = open_sink(box, &out);
    ask(box, "boot", "", process("trap '' TERM; sleep 1000", 0, o, 0, false));
    wait_replies(box, 1);
    ask(box, "poweroff", "", NULL);
    wait_exits(box, 1);
    assert_int_equal(exit_code(box, "init"), 128 + SIGKILL);
    assert_true(out.ended);
    wait_closed(box);
}

static void
requests_fail_when_the_channel_closes(void **state)
{
    struct box *box = *state;
    struct sink out = {0};
    uint32_t o = open_sink(box, &out);
    ask(box, "boot", "", process("sleep 1000", 0, o, 0, false));
    wait_replies(box, 1);
    assert_int_equal(kill(box->pid, SIGSTOP), 0);
    ask(box, "ping", "", NULL);
    assert_int_equal(kill(-(pid_t) ctr_json_int(box->reply, "pid", 0), SIGKILL), 0);
    assert_int_equal(kill(box->pid, SIGKILL), 0);
    while (!box->closed) {
        ctr_loop_run(box->loop);
    }
    assert_int_equal(box->replies, 2);
    assert_string_equal(ctr_json_str(box->reply, "code", ""), "EPIPE");
    assert_true(out.ended && out.reset);
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *late = json_pack("{s:s}", "op", "ping");
    assert_int_equal(ctr_guest_request(box->guest, late, on_reply, box, &err), -EPIPE);
    int status;
    assert_int_equal(waitpid(box->pid, &status, 0), box->pid);
    box->pid = fork(); /* teardown waits for a child that ended well */
    if (box->pid == 0) {
        _exit(0);
    }
}

int
main(void)
{
    (void) signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(outputs_are_apart),
        TEST(bytes_are_equal),
        TEST(slow_reader_holds_one_stream),
        TEST(many_processes_at_once),
        TEST(reset_of_output_does_not_hold_the_process),
        TEST(input_that_nobody_reads_is_reset),
        TEST(terminals_have_sizes_and_signals),
        TEST(signals_reach_the_process),
        TEST(failures_are_told_by_code),
        TEST(networks_are_checked),
        TEST(power_off_ends_everything),
        TEST(requests_fail_when_the_channel_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
