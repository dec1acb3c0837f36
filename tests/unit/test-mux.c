/*
 * core/guest against a scripted guest that breaks the rules: each offence ends the channel once, with a reason, and nothing grows.
 * And the header codec and parser for themselves.
 */
#include "core/guest/guest.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

#define HELLO "{\"event\":\"hello\",\"protocol\":1,\"version\":\"0\"}"

struct box {
    struct ctr_loop *loop;
    struct ctr_guest *guest;
    int peer, host;            /* the guest's end is here; `host` is core/guest's */
    struct ctr_stream *stream; /* 3 */
    unsigned closed, events, replies, ends;
    size_t bytes;
    char reason[128], code[16];
    bool destroy_in_event, close_in_data;
};

static void
on_event(void *arg, const json_t *message)
{
    struct box *box = arg;
    box->events++;
    if (box->destroy_in_event) {
        ctr_guest_destroy(box->guest);
        box->guest = NULL;
        ctr_loop_stop(box->loop);
    }
}

static void
on_closed(void *arg, const char *reason)
{
    struct box *box = arg;
    box->closed++;
    (void) snprintf(box->reason, sizeof box->reason, "%s", reason);
    ctr_loop_stop(box->loop);
}

static void
on_reply(void *arg, const json_t *ok, const json_t *error)
{
    struct box *box = arg;
    box->replies++;
    (void) snprintf(box->code, sizeof box->code, "%s", ctr_json_str(error, "code", ""));
}

static void
on_data(void *arg, const void *bytes, size_t n)
{
    struct box *box = arg;
    box->bytes += n;
    if (box->close_in_data) {
        ctr_stream_close(box->stream);
        box->stream = NULL;
    }
}

static void
on_end(void *arg, bool reset)
{
    struct box *box = arg;
    box->ends++;
}

static const struct ctr_stream_events stream_events = {.data = on_data, .end = on_end};

static int
setup(void **state)
{
    static const struct ctr_guest_events events = {on_event, on_closed};
    struct ctr_error err = CTR_ERROR_INIT;
    struct box *box = calloc(1, sizeof *box);
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    box->peer = pair[1];
    box->host = pair[0];
    assert_int_equal(ctr_loop_create(&box->loop, &err), 0);
    assert_int_equal(ctr_guest_create(box->loop, pair[0], &events, box, &box->guest, &err), 0);
    box->stream = ctr_stream_open(box->guest, &stream_events, box);
    assert_int_equal(ctr_stream_id(box->stream), 3);
    *state = box;
    return 0;
}

static int
teardown(void **state)
{
    struct box *box = *state;
    ctr_guest_destroy(box->guest);
    ctr_loop_destroy(box->loop);
    (void) close(box->peer);
    free(box);
    return 0;
}

static void
frame(struct box *box, uint8_t type, uint16_t flags, uint32_t stream, uint32_t length,
      const void *payload, size_t n)
{
    uint8_t bytes[CTR_YAMUX_HEADER];
    struct ctr_yamux_header header = {type, flags, stream, length};
    ctr_yamux_encode(&header, bytes);
    assert_int_equal(ctr_write_all(box->peer, bytes, sizeof bytes), 0);
    assert_int_equal(ctr_write_all(box->peer, payload, n), 0);
}

static void
message(struct box *box, const char *text)
{
    char bytes[1024];
    size_t n = strlen(text);
    assert_true(n + 4 <= sizeof bytes && n < 256);
    memcpy(bytes, (uint8_t[4]){0, 0, 0, (uint8_t) n}, 4);
    memcpy(bytes + 4, text, n);
    frame(box, CTR_YAMUX_DATA, 0, 1, (uint32_t) n + 4, bytes, n + 4);
}

/* Runs until the channel is over, and expects the reason. */
static void
expect_end(struct box *box, const char *reason)
{
    ctr_loop_run(box->loop);
    assert_int_equal(box->closed, 1);
    assert_string_equal(box->reason, reason);
    assert_int_equal(box->ends, 1);
}

static void
expect_offence(struct box *box, const char *reason)
{
    expect_end(box, reason);
    assert_null(ctr_stream_open(box->guest, &stream_events, box));
    assert_int_equal(ctr_stream_write(box->stream, "x", 1), 0);
}

/* --- offences --- */

static void
end_of_stream_is_no_offence(void **state)
{
    struct box *box = *state;
    message(box, HELLO);
    (void) shutdown(box->peer, SHUT_WR);
    expect_end(box, "");
    assert_int_equal(box->events, 1);
}

static void
half_a_frame(void **state)
{
    struct box *box = *state;
    frame(box, CTR_YAMUX_DATA, 0, 3, 100, "ab", 2);
    (void) shutdown(box->peer, SHUT_WR);
    expect_offence(box, "the channel ended inside a frame");
    assert_int_equal(box->bytes, 2);
}

static void
another_version(void **state)
{
    struct box *box = *state;
    static const uint8_t bytes[CTR_YAMUX_HEADER] = {1};
    assert_int_equal(ctr_write_all(box->peer, bytes, sizeof bytes), 0);
    expect_offence(box, "a frame's header is malformed");
}

static void
a_length_of_all_ones(void **state)
{
    struct box *box = *state;
    frame(box, CTR_YAMUX_DATA, 0, 3, UINT32_MAX, NULL, 0);
    expect_offence(box, "a frame's header is malformed");
}

static void
an_unknown_type(void **state)
{
    struct box *box = *state;
    frame(box, 9, 0, 3, 0, NULL, 0);
    expect_offence(box, "a frame's header is malformed");
}

static void
more_than_the_window(void **state)
{
    struct box *box = *state;
    static const uint8_t zeros[CTR_YAMUX_MAX_FRAME];
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *request = json_pack("{s:s}", "op", "ping");
    assert_int_equal(ctr_guest_request(box->guest, request, on_reply, box, &err), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void) close(box->host);
        for (int i = 0; i < 100; i++) {
            uint8_t bytes[CTR_YAMUX_HEADER];
            struct ctr_yamux_header header = {CTR_YAMUX_DATA, 0, 3, sizeof zeros};
            ctr_yamux_encode(&header, bytes);
            if (ctr_write_all(box->peer, bytes, sizeof bytes) < 0 ||
                ctr_write_all(box->peer, zeros, sizeof zeros) < 0) {
                break;
            }
        }
        _exit(0);
    }
    expect_offence(box, "more data came than the window allows");
    assert_int_equal(box->bytes, CTR_YAMUX_WINDOW);
    assert_string_equal(box->code, "EPIPE");
    assert_int_equal(box->replies, 1);
}

static void
a_window_that_overflows(void **state)
{
    struct box *box = *state;
    frame(box, CTR_YAMUX_UPDATE, 0, 3, UINT32_MAX, NULL, 0);
    expect_offence(box, "a window overflowed");
}

static void
a_stream_of_the_guests(void **state)
{
    struct box *box = *state;
    frame(box, CTR_YAMUX_UPDATE, CTR_YAMUX_SYN, 2, 0, NULL, 0);
    expect_offence(box, "the guest opened a stream");
}

static void
a_stream_that_never_was(void **state)
{
    struct box *box = *state;
    frame(box, CTR_YAMUX_DATA, 0, 5, 1, "x", 1);
    expect_offence(box, "a frame came for a stream that never was");
}

static void
data_behind_the_end(void **state)
{
    struct box *box = *state;
    frame(box, CTR_YAMUX_UPDATE, CTR_YAMUX_FIN, 3, 0, NULL, 0);
    frame(box, CTR_YAMUX_DATA, 0, 3, 1, "x", 1);
    expect_offence(box, "data came behind a stream's end");
}

static void
no_hello(void **state)
{
    struct box *box = *state;
    message(box, "{\"id\":1,\"ok\":{}}");
    expect_offence(box, "the guest speaks another version of the protocol");
}

static void
hello_of_tomorrow(void **state)
{
    struct box *box = *state;
    message(box, "{\"event\":\"hello\",\"protocol\":2}");
    expect_offence(box, "the guest speaks another version of the protocol");
    assert_int_equal(box->events, 0);
}

static void
no_json(void **state)
{
    struct box *box = *state;
    message(box, HELLO);
    message(box, "[[[[");
    expect_offence(box, "a control message is no JSON object");
}

static void
a_message_of_4_gib(void **state)
{
    struct box *box = *state;
    frame(box, CTR_YAMUX_DATA, 0, 1, 4, "\xff\xff\xff\xff", 4);
    expect_offence(box, "a control message has an impossible length");
}

static void
a_reply_with_both(void **state)
{
    struct box *box = *state;
    message(box, HELLO);
    message(box, "{\"id\":1,\"ok\":{},\"error\":{}}");
    expect_offence(box, "a reply has no id, or not one of ok and error");
}

static void
control_stream_closed(void **state)
{
    struct box *box = *state;
    frame(box, CTR_YAMUX_UPDATE, CTR_YAMUX_RST, 1, 0, NULL, 0);
    expect_offence(box, "the guest closed the control stream");
}

/* --- what is allowed --- */

static void
replies_to_nobody_are_dropped(void **state)
{
    struct box *box = *state;
    message(box, HELLO);
    message(box, "{\"id\":77,\"ok\":{}}");
    message(box, "{\"event\":\"tomorrow\"}");
    (void) shutdown(box->peer, SHUT_WR);
    expect_end(box, "");
    assert_int_equal(box->events, 2);
    assert_int_equal(box->replies, 0);
}

/* A million pings that nobody reads the answers of cost one queue, no more. */
static void
pings_do_not_pile_up(void **state)
{
    struct box *box = *state;
    pid_t pid = fork();
    if (pid == 0) {
        (void) close(box->host);
        static uint8_t bytes[CTR_YAMUX_HEADER * 1000];
        struct ctr_yamux_header header = {CTR_YAMUX_PING, CTR_YAMUX_SYN, 0, 1};
        for (size_t i = 0; i < 1000; i++) {
            ctr_yamux_encode(&header, bytes + CTR_YAMUX_HEADER * i);
        }
        for (int i = 0; i < 1000 && ctr_write_all(box->peer, bytes, sizeof bytes) == 0; i++) {
        }
        (void) shutdown(box->peer, SHUT_WR);
        _exit(0);
    }
    expect_end(box, "");
}

static void
callbacks_may_close_the_stream(void **state)
{
    struct box *box = *state;
    box->close_in_data = true;
    box->ends = 1; /* nobody is left to tell */
    frame(box, CTR_YAMUX_DATA, CTR_YAMUX_FIN, 3, 2, "ab", 2);
    frame(box, CTR_YAMUX_DATA, 0, 3, 2, "cd", 2); /* the guest has not heard yet */
    (void) shutdown(box->peer, SHUT_WR);
    expect_end(box, "");
    assert_int_equal(box->bytes, 2);
}

static void
callbacks_may_destroy_the_guest(void **state)
{
    struct box *box = *state;
    box->destroy_in_event = true;
    message(box, HELLO);
    message(box, HELLO);
    ctr_loop_run(box->loop);
    assert_int_equal(box->events, 1);
    assert_int_equal(box->closed, 0);
}

static void
writing_stops_at_the_window(void **state)
{
    struct box *box = *state;
    static const uint8_t zeros[4 * CTR_YAMUX_WINDOW];
    size_t n = ctr_stream_write(box->stream, zeros, sizeof zeros);
    assert_true(n <= CTR_YAMUX_WINDOW);
    assert_int_equal(ctr_stream_write(box->stream, zeros, 0), 0);
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *big = json_pack("{s:s}", "op", "x");
    char *text = calloc(1, CTR_CONTROL_MAX + 1);
    memset(text, 'a', CTR_CONTROL_MAX);
    (void) json_object_set_new(big, "long", json_string(text));
    assert_int_equal(ctr_guest_request(box->guest, big, on_reply, box, &err), -EMSGSIZE);
    free(text);
}

static void
header_survives_the_codec(void **state)
{
    const struct ctr_yamux_header in = {CTR_YAMUX_UPDATE, CTR_YAMUX_SYN | CTR_YAMUX_RST,
                                        0x01020304, 0xfffefdfc};
    static const uint8_t expected[CTR_YAMUX_HEADER] = {0, 1, 0,    9,    1,    2,
                                                       3, 4, 0xff, 0xfe, 0xfd, 0xfc};
    struct ctr_yamux_header out = {0};
    uint8_t bytes[CTR_YAMUX_HEADER];
    ctr_yamux_encode(&in, bytes);
    assert_memory_equal(bytes, expected, sizeof bytes);
    assert_int_equal(ctr_yamux_decode(bytes, &out), 0);
    assert_int_equal(in.type, out.type);
    assert_int_equal(in.flags, out.flags);
    assert_int_equal(in.stream, out.stream);
    assert_int_equal(in.length, out.length);
}

int
main(void)
{
    (void) signal(SIGPIPE, SIG_IGN);
    (void) signal(SIGCHLD, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(end_of_stream_is_no_offence),
        TEST(half_a_frame),
        TEST(another_version),
        TEST(a_length_of_all_ones),
        TEST(an_unknown_type),
        TEST(more_than_the_window),
        TEST(a_window_that_overflows),
        TEST(a_stream_of_the_guests),
        TEST(a_stream_that_never_was),
        TEST(data_behind_the_end),
        TEST(no_hello),
        TEST(hello_of_tomorrow),
        TEST(no_json),
        TEST(a_message_of_4_gib),
        TEST(a_reply_with_both),
        TEST(control_stream_closed),
        TEST(replies_to_nobody_are_dropped),
        TEST(pings_do_not_pile_up),
        TEST(callbacks_may_close_the_stream),
        TEST(callbacks_may_destroy_the_guest),
        TEST(writing_stops_at_the_window),
        cmocka_unit_test(header_survives_the_codec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
