/*
 * core/carrier: a real ctr-net (with net-switch) under polite and rude clients.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "core/carrier/carrier-priv.h"
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define WAIT_MS 5000

static struct ctr_error err;

/* --- a real ctr-net --- */

struct carrier {
    char folder[64];
    char *socket;
    pid_t pid;
    int fd; /* a connection */
};

static json_t *
configuration(const struct carrier *c, const char *build, const char *egress)
{
    CTR_AUTO(free) char *plugin = ctr_printf("%s/lib/ctr/plugins/net-switch.so", build);
    char id[65];
    assert_int_equal(ctr_random_id(id), 0);
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:{s:s, s:s, s:i, s:s, s:i, s:s, s:s, s:s, s:s, s:i, s:s,"
        " s:s, s:[s]}}",
        "plugin", plugin, "socket", c->socket, "run_dir", c->folder, "resolv_conf", "/dev/null",
        "network", "name", "test", "id", id, "mtu", 1500, "subnet", "10.88.0.0", "prefix", 24,
        "gateway", "10.88.0.1", "dns", "10.88.0.1", "host", "10.88.0.254", "subnet6",
        "fd88::", "prefix6", 64, "gateway6", "fd88::1", "egress", egress, "allow",
        "api.example.com:443");
}

/* Starts one with this configuration: its answer. */
static json_t *
start(const char *build, const json_t *config)
{
    CTR_AUTO(free) char *program = ctr_printf("%s/bin/ctr-net", build);
    CTR_AUTO(free) char *text = ctr_json_text(config);
    int in[2], out[2];
    assert_int_equal(ctr_pipe(in), 0);
    assert_int_equal(ctr_pipe(out), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void) dup2(in[0], 0);
        (void) dup2(out[1], 1);
        (void) execl(program, "ctr-net", (char *) NULL);
        _exit(127);
    }
    (void) close(in[0]);
    (void) close(out[1]);
    assert_int_equal(ctr_write_all(in[1], text, strlen(text)), 0);
    (void) close(in[1]);
    char line[8192];
    size_t n;
    assert_int_equal(ctr_read_all(out[0], line, sizeof line, &n), 0);
    (void) close(out[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    json_t *answer = ctr_json_parse(line, n, sizeof line, "answer", &err);
    assert_non_null(answer);
    return answer;
}

static const char *
build_dir(void)
{
    static char *build;
    if (build == NULL) {
        const char *given = getenv("CTR_TEST_BUILD");
        build = ctr_expand_path(given == NULL ? "build" : given, NULL);
    }
    return build;
}

static int
dial(const struct carrier *c)
{
    int fd = ctr_unix_connect(c->socket, &err);
    assert_true(fd >= 0);
    return fd;
}

static void
carrier_up(struct carrier *c, const char *egress)
{
    *c = (struct carrier){.folder = "/tmp/ctr-test-carrier-XXXXXX"};
    assert_non_null(mkdtemp(c->folder));
    c->socket = ctr_printf("%s/s", c->folder);
    CTR_AUTO(json) json_t *config = configuration(c, build_dir(), egress);
    CTR_AUTO(json) json_t *answer = start(build_dir(), config);
    c->pid = (pid_t) ctr_json_int(json_object_get(answer, "ok"), "pid", 0);
    if (c->pid <= 0) {
        fail_msg("%s", ctr_json_str(json_object_get(answer, "error"), "message", "?"));
    }
    c->fd = dial(c);
}

/* One request; its "ok", or NULL with err. */
static json_t *
ask(int fd, const char *text)
{
    CTR_AUTO(json) json_t *request = json_loads(text, 0, NULL);
    assert_non_null(request);
    err = (struct ctr_error) CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *reply = ctr_unix_call(fd, request, WAIT_MS, NULL, &err);
    return json_incref(json_object_get(reply, "ok"));
}

static void
asked(int fd, const char *text)
{
    CTR_AUTO(json) json_t *ok = ask(fd, text);
    if (ok == NULL) {
        fail_msg("%s: %s", text, err.msg);
    }
}

static void
refused_with(int fd, const char *text, int code, const char *says)
{
    CTR_AUTO(json) json_t *ok = ask(fd, text);
    assert_null(ok);
    if (err.code != code || strstr(err.msg, says) == NULL) {
        fail_msg("%s: %d: %s", text, err.code, err.msg);
    }
}

static void
carrier_down(struct carrier *c)
{
    int status;
    asked(c->fd, "{\"op\":\"stop\"}");
    (void) close(c->fd);
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(ctr_remove_tree(c->folder, &err), 0);
    free(c->socket);
}

/* Sends a line with descriptors; the reply, NULL if the connection was closed. */
static json_t *
ask_with(int fd, const char *text, const int *fds, size_t n_fds)
{
    CTR_AUTO(free) char *line = ctr_printf("%s\n", text);
    assert_int_equal(ctr_send_fds(fd, line, strlen(line), fds, n_fds), 0);
    CTR_AUTO(free) char *reply = ctr_read_line(fd, 65536, NULL, &err);
    return reply == NULL ? NULL : ctr_json_parse(reply, strlen(reply), 65536, "reply", &err);
}

#define ATTACH_A                                                                               \
    "{\"op\":\"attach\",\"id\":\"a\",\"mac\":\"02:42:0a:58:00:02\",\"address\":\"10.88.0.2\"," \
    "\"address6\":\"fd88::2\",\"kind\":1}"
#define ATTACH_B                                                                               \
    "{\"op\":\"attach\",\"id\":\"b\",\"mac\":\"02:42:0a:58:00:03\",\"address\":\"10.88.0.3\"," \
    "\"kind\":1}"

/* Attaches over a new pair; the VM's end. */
static int
attach(const struct carrier *c, const char *text)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
    CTR_AUTO(json) json_t *reply = ask_with(c->fd, text, &pair[1], 1);
    if (json_object_get(reply, "ok") == NULL) {
        fail_msg("%s", ctr_json_str(json_object_get(reply, "error"), "message", "closed"));
    }
    (void) close(pair[1]);
    return pair[0];
}

static void
send_arp(int fd, uint8_t target)
{
    uint8_t frame[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0x42, 10, 88,   0,  2,  8, 6,
                         0,    1,    8,    0,    6,    4,    0, 1,    2,  0x42, 10, 88, 0, 2,
                         10,   88,   0,    2,    0,    0,    0, 0,    0,  0,    10, 88, 0, 3};
    frame[41] = target;
    assert_int_equal(send(fd, frame, sizeof frame, 0), sizeof frame);
}

static bool
readable(int fd, int ms)
{
    struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    return select(fd + 1, &set, NULL, NULL, &wait) == 1;
}

/* The MAC that answers for the gateway. */
static void
find_gateway(int fd, uint8_t ret_mac[6])
{
    uint8_t frame[2048];
    send_arp(fd, 1);
    assert_true(readable(fd, WAIT_MS));
    assert_int_equal(recv(fd, frame, sizeof frame, 0), 42);
    memcpy(ret_mac, frame + 22, 6);
}

/* A question for this name, "\3api\7example\3com" and the like. */
static void
send_question(int fd, const uint8_t gateway[6], const char *name)
{
    uint8_t f[512] = {0, 0, 0, 0, 0, 0, 2, 0x42, 10, 88, 0, 2, 8, 0, 0x45};
    size_t n = strlen(name) + 1, dns = 12 + n + 4, ip = 20 + 8 + dns;
    uint8_t *at = f + 42;
    memcpy(f, gateway, 6);
    f[16] = (uint8_t) (ip >> 8);
    f[17] = (uint8_t) ip;
    f[22] = 64;
    f[23] = 17;
    memcpy(f + 26, (const uint8_t[]){10, 88, 0, 2, 10, 88, 0, 1}, 8);
    uint32_t sum = 0;
    for (size_t i = 14; i < 34; i += 2) {
        sum += (uint32_t) f[i] << 8 | f[i + 1];
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~(sum + (sum >> 16)) & 0xffff;
    f[24] = (uint8_t) (sum >> 8);
    f[25] = (uint8_t) sum;
    memcpy(f + 34, (const uint8_t[]){0x14, 0xe9, 0, 53, 0, (uint8_t) (8 + dns)}, 6);
    memcpy(at, (const uint8_t[]){0, 7, 1, 0, 0, 1}, 6);
    memcpy(at + 12, name, n);
    memcpy(at + 12 + n, (const uint8_t[]){0, 1, 0, 1}, 4);
    assert_int_equal(send(fd, f, 14 + ip, 0), (ssize_t) (14 + ip));
}

static void
given_descriptors(void **state)
{
    struct carrier c;
    uint8_t frame[2048];
    carrier_up(&c, "open");
    int a = attach(&c, ATTACH_A), b = attach(&c, ATTACH_B);
    send_arp(a, 3);
    assert_true(readable(b, WAIT_MS));
    assert_int_equal(recv(b, frame, sizeof frame, 0), 42);
    CTR_AUTO(json) json_t *ok = ask(c.fd, "{\"op\":\"ports\"}");
    const json_t *port = json_object_get(json_object_get(ok, "ports"), "a");
    assert_string_equal(ctr_json_str(port, "address6", ""), "fd88::2");
    CTR_AUTO(json) json_t *stats = ask(c.fd, "{\"op\":\"stats\",\"id\":\"a\"}");
    assert_int_equal(ctr_json_int(stats, "tx_frames", -1), 1);
    assert_int_equal(ctr_json_int(stats, "spoofed", -1), 0);
    asked(c.fd, "{\"op\":\"detach\",\"id\":\"a\"}");
    refused_with(c.fd, "{\"op\":\"detach\",\"id\":\"a\"}", -ENOENT,
                 "a has no port on network test");
    (void) close(a);
    (void) close(b);
    carrier_down(&c);
}

/* Whether the other end of a socket pair is open nowhere. */
static bool
is_closed(int fd)
{
    return send(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN;
}

static void
wrong_descriptors(void **state)
{
    struct carrier c;
    int pair[2], stream[2];
    carrier_up(&c, "open");
    /* Of another kind, with another request, with a request that fails: closed each time. */
    static const char *const texts[] = {"{\"op\":\"info\"}", "nonsense", "{\"op\":\"attach\"}",
                                        "{\"op\":\"detach\",\"id\":\"x\"}"};
    for (size_t i = 0; i < CTR_LENGTH(texts); i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
        CTR_AUTO(json) json_t *reply = ask_with(c.fd, texts[i], &pair[1], 1);
        assert_non_null(reply);
        (void) close(pair[1]);
        assert_true(is_closed(pair[0]));
        (void) close(pair[0]);
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, stream), 0);
    CTR_AUTO(json) json_t *wrong = ask_with(c.fd, ATTACH_A, &stream[1], 1);
    assert_int_equal(ctr_json_int(json_object_get(wrong, "error"), "code", 0), -EINVAL);
    /* Several with one line: the first counts, the others are closed. */
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    const int three[] = {pair[1], stream[1], stream[1]};
    CTR_AUTO(json) json_t *first = ask_with(c.fd, ATTACH_A, three, 3);
    assert_non_null(json_object_get(first, "ok"));
    (void) close(pair[1]);
    (void) close(stream[1]);
    assert_false(is_closed(pair[0]));
    assert_true(is_closed(stream[0]));
    /* A second attach of the same: not taken. */
    int other[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, other), 0);
    CTR_AUTO(json) json_t *twice = ask_with(c.fd, ATTACH_A, &other[1], 1);
    assert_int_equal(ctr_json_int(json_object_get(twice, "error"), "code", 0), -EEXIST);
    (void) close(other[1]);
    assert_true(is_closed(other[0]));
    (void) close(other[0]);
    (void) close(stream[0]);
    (void) close(pair[0]);
    carrier_down(&c);
}

static void
lines_together(void **state)
{
    struct carrier c;
    int pair[2];
    carrier_up(&c, "open");
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    static const char before[] = "{\"op\":\"info\"}\n{\"op\":\"ports\"}\n";
    static const char middle[] = ATTACH_A "\n";
    static const char after[] = "{\"op\":\"ports\"}\n{\"op\":";
    assert_int_equal(send(c.fd, before, strlen(before), 0), (ssize_t) strlen(before));
    assert_int_equal(ctr_send_fds(c.fd, middle, strlen(middle), &pair[1], 1), 0);
    assert_int_equal(send(c.fd, after, strlen(after), 0), (ssize_t) strlen(after));
    (void) close(pair[1]);
    for (int i = 0; i < 4; i++) {
        CTR_AUTO(free) char *line = ctr_read_line(c.fd, 65536, NULL, &err);
        assert_non_null(line);
        assert_true(ctr_starts_with(line, "{\"ok\":"));
        assert_true(i != 3 || strstr(line, "fd88::2") != NULL);
    }
    assert_false(is_closed(pair[0])); /* it went to the attach */
    assert_int_equal(send(c.fd, "\"info\"}\n", 8, 0), 8);
    CTR_AUTO(free) char *last = ctr_read_line(c.fd, 65536, NULL, &err);
    assert_true(ctr_starts_with(last, "{\"ok\":"));
    (void) close(pair[0]);
    carrier_down(&c);
}

/* Sends all of it while the peer takes it; the reply or NULL if it closed. */
static char *
say(const struct carrier *c, const char *text, size_t length)
{
    CTR_AUTO(fd) int fd = dial(c);
    while (length > 0) {
        ssize_t n = send(fd, text, length, MSG_NOSIGNAL);
        if (n <= 0) {
            break;
        }
        text += n;
        length -= (size_t) n;
    }
    return ctr_read_line(fd, 65536, NULL, &err);
}

static void
rude_lines(void **state)
{
    static const char *const lines[] = {"",
                                        "x",
                                        "[]",
                                        "7",
                                        "{\"op\":7}",
                                        "{\"op\":\"\"}",
                                        "{\"op\":\"nothing\"}",
                                        "{\"op\":\"zone\",\"zone\":7}",
                                        "{\"op\":\"capture\",\"id\":\"nobody\"}",
                                        "{\"op\":\"publish\",\"id\":\"nobody\",\"port\":80}"};
    struct carrier c;
    carrier_up(&c, "open");
    for (size_t i = 0; i < CTR_LENGTH(lines); i++) {
        CTR_AUTO(free) char *line = ctr_printf("%s\n", lines[i]);
        CTR_AUTO(free) char *reply = say(&c, line, strlen(line));
        if (reply == NULL || !ctr_starts_with(reply, "{\"error\":{\"code\":-")) {
            fail_msg("%s -> %s", line, reply == NULL ? "closed" : reply);
        }
    }
    size_t length = 1 << 20;
    CTR_AUTO(free) char *large = malloc(length);
    memset(large, ' ', length);
    assert_null(say(&c, large, length)); /* no end of the line in sight */
    static const char zone[] = "{\"op\":\"zone\",\"zone\":{\"hosts\":[],\"ports\":{}}}";
    memcpy(large, zone, strlen(zone));
    large[length - 100] = '\n';
    CTR_AUTO(free) char *fits = say(&c, large, length - 99);
    assert_string_equal(fits, "{\"ok\":{}}");
    carrier_down(&c);
}

static void
many_connections(void **state)
{
    struct carrier c;
    int fds[63];
    carrier_up(&c, "open");
    asked(c.fd, "{\"op\":\"info\"}");
    for (size_t i = 0; i < CTR_LENGTH(fds); i++) {
        fds[i] = dial(&c);
        asked(fds[i], "{\"op\":\"info\"}");
        assert_int_equal(send(fds[i], "{", 1, 0), 1); /* and half a line */
    }
    int more = dial(&c); /* one too many */
    char byte;
    assert_int_equal(recv(more, &byte, 1, 0), 0);
    (void) close(more);
    asked(c.fd, "{\"op\":\"info\"}");
    for (size_t i = 0; i < CTR_LENGTH(fds); i++) {
        (void) close(fds[i]);
    }
    asked(c.fd, "{\"op\":\"info\"}");
    more = dial(&c);
    asked(more, "{\"op\":\"info\"}");
    (void) close(more);
    carrier_down(&c);
}

/* A client that asks and asks and takes no answers: its requests wait, others are served, nothing is lost. */
static void
answers_not_taken(void **state)
{
    static const char line[] = "{\"op\":\"info\"}\n";
    static char block[4096 * (sizeof line - 1)];
    struct carrier c;
    size_t sent = 0, got = 0;
    for (size_t i = 0; i < sizeof block; i++) {
        block[i] = line[i % strlen(line)];
    }
    carrier_up(&c, "open");
    int rude = dial(&c);
    while (sent < sizeof block * 100) {
        size_t at = sent % sizeof block;
        ssize_t n = send(rude, block + at, sizeof block - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        asked(c.fd, "{\"op\":\"info\"}"); /* time for it to read */
        if (n < 0) {
            break;
        }
        sent += (size_t) n;
    }
    assert_true(sent < sizeof block * 100);
    asked(c.fd, "{\"op\":\"info\"}");
    size_t whole = sent / strlen(line);
    assert_true(whole > 1000);
    (void) shutdown(rude, SHUT_WR);
    while (got < whole) {
        CTR_AUTO(free) char *answer = ctr_read_line(rude, 65536, NULL, &err);
        if (answer == NULL) {
            break;
        }
        assert_true(ctr_starts_with(answer, "{\"ok\":"));
        got++;
    }
    assert_int_equal(got, whole);
    (void) close(rude);
    carrier_down(&c);
}

static void
publishing(void **state)
{
    struct carrier c;
    carrier_up(&c, "open");
    int a = attach(&c, ATTACH_A), b = attach(&c, ATTACH_B);
    CTR_AUTO(json)
    json_t *first = ask(
        c.fd, "{\"op\":\"publish\",\"id\":\"a\",\"host_address\":\"127.0.0.1\",\"port\":80}");
    int port = (int) ctr_json_int(first, "host_port", 0);
    assert_in_range(port, 1, 65535 - 8);
    CTR_AUTO(free)
    char *taken =
        ctr_printf("{\"op\":\"publish\",\"id\":\"b\",\"host_address\":\"127.0.0.1\",\"port\":"
                   "80,\"host_port\":%d}",
                   port);
    refused_with(c.fd, taken, -EADDRINUSE, "in use");
    CTR_AUTO(free)
    char *range =
        ctr_printf("{\"op\":\"publish\",\"id\":\"b\",\"host_address\":\"127.0.0.1\",\"port\":"
                   "80,\"host_port\":%d,\"host_port_end\":%d}",
                   port, port + 8);
    CTR_AUTO(json) json_t *next = ask(c.fd, range);
    assert_in_range(ctr_json_int(next, "host_port", 0), port + 1, port + 8);
    asked(c.fd, "{\"op\":\"publish\",\"id\":\"a\",\"host_address\":\"::1\",\"port\":80,"
                "\"proto\":\"udp\"}");
    refused_with(c.fd, "{\"op\":\"publish\",\"id\":\"b\",\"host_address\":\"::\",\"port\":80}",
                 -EADDRNOTAVAIL, "b has no IPv6 address on network test");
    refused_with(c.fd, "{\"op\":\"publish\",\"id\":\"a\",\"port\":80,\"proto\":\"sctp\"}",
                 -EPROTONOSUPPORT, "sctp");
    refused_with(c.fd, "{\"op\":\"publish\",\"id\":\"a\",\"port\":0}", -ERANGE, "65535");
    refused_with(
        c.fd,
        "{\"op\":\"publish\",\"id\":\"a\",\"port\":80,\"host_port\":9,\"host_port_end\":8}",
        -ERANGE, "range");
    CTR_AUTO(json) json_t *ok = ask(c.fd, "{\"op\":\"ports\"}");
    const json_t *ports = json_object_get(ok, "ports");
    assert_int_equal(json_array_size(json_object_get(json_object_get(ports, "a"), "published")),
                     2);
    CTR_AUTO(free)
    char *undo = ctr_printf("{\"op\":\"unpublish\",\"id\":\"a\",\"host_address\":\"127.0.0.1\","
                            "\"port\":80,\"host_port\":%d}",
                            port);
    asked(c.fd, undo);
    asked(c.fd, taken);
    (void) close(a);
    (void) close(b);
    carrier_down(&c);
}

static void
capture_of_a_port(void **state)
{
    struct carrier c;
    uint8_t head[24 + 16 + 42], more;
    size_t n;
    carrier_up(&c, "open");
    int a = attach(&c, ATTACH_A), b = attach(&c, ATTACH_B);
    int file = dial(&c);
    refused_with(file, "{\"op\":\"capture\",\"id\":\"c\"}", -ENOENT, "c has no port");
    asked(file, "{\"op\":\"capture\",\"id\":\"a\",\"count\":1}");
    send_arp(a, 3);
    assert_int_equal(ctr_read_all(file, head, sizeof head, &n), 0);
    assert_int_equal(n, sizeof head);
    assert_int_equal(recv(file, &more, 1, 0), 0); /* one was asked for */
    (void) close(file);
    /* Nobody reads: the network goes on, and frames are lost to that reader alone. */
    file = dial(&c);
    asked(file, "{\"op\":\"capture\",\"id\":\"\"}");
    struct timeval soon = {.tv_sec = 5};
    (void) setsockopt(a, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
    int64_t lost = 0;
    for (int i = 0; i < 200000 && lost == 0; i++) {
        send_arp(a, 3);
        while (recv(b, head, sizeof head, MSG_DONTWAIT) > 0) {
        }
        if (i % 5000 == 4999) {
            CTR_AUTO(json) json_t *info = ask(c.fd, "{\"op\":\"info\"}");
            lost =
                ctr_json_int(json_array_get(json_object_get(info, "captures"), 0), "lost", 0);
        }
    }
    assert_true(lost > 0);
    (void) close(file);
    /* Its port goes: the file ends. */
    file = dial(&c);
    asked(file, "{\"op\":\"capture\",\"id\":\"b\"}");
    asked(c.fd, "{\"op\":\"detach\",\"id\":\"b\"}");
    assert_int_equal(ctr_read_all(file, head, sizeof head, &n), 0);
    assert_int_equal(n, 24);
    (void) close(file);
    (void) close(a);
    (void) close(b);
    carrier_down(&c);
}

static void
names_that_are_refused(void **state)
{
    struct carrier c;
    carrier_up(&c, "deny");
    int a = attach(&c, ATTACH_A), events = dial(&c);
    asked(events, "{\"op\":\"events\"}");
    asked(
        c.fd,
        "{\"op\":\"zone\",\"zone\":{\"hosts\":[{\"name\":\"web\",\"addresses\":[\"10.88.0.3\"]"
        "}],\"ports\":{\"a\":{}}}}");
    uint8_t frame[2048], gateway[6];
    find_gateway(a, gateway);
    send_question(a, gateway, "\3web");
    assert_true(readable(a, WAIT_MS));
    assert_true(recv(a, frame, sizeof frame, 0) > 42);
    assert_int_equal(frame[42 + 3] & 15, 0); /* NOERROR */
    send_question(a, gateway, "\4evil\7example");
    assert_true(readable(a, WAIT_MS));
    assert_true(recv(a, frame, sizeof frame, 0) > 42);
    assert_int_equal(frame[42 + 3] & 15, 5); /* REFUSED */
    assert_true(readable(events, WAIT_MS));
    CTR_AUTO(free) char *line = ctr_read_line(events, 65536, NULL, &err);
    CTR_AUTO(json) json_t *event = json_loads(line, 0, NULL);
    assert_string_equal(ctr_json_str(event, "event", ""), "refused");
    assert_string_equal(ctr_json_str(event, "proto", ""), "dns");
    assert_string_equal(ctr_json_str(event, "container", ""), "a");
    assert_string_equal(ctr_json_str(event, "name", ""), "evil.example");
    CTR_AUTO(json) json_t *info = ask(c.fd, "{\"op\":\"info\"}");
    assert_int_equal(json_array_size(json_object_get(info, "refused")), 1);
    (void) close(events);
    (void) close(a);
    carrier_down(&c);
}

static void
status_has(pid_t pid, const char *line)
{
    char path[64], text[4096];
    (void) snprintf(path, sizeof path, "/proc/%d/status", (int) pid);
    CTR_AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);
    assert_true(n > 0);
    text[n] = '\0';
    if (strstr(text, line) == NULL) {
        fail_msg("no \"%s\" in %s", line, text);
    }
}

static void
few_rights(void **state)
{
    struct carrier c;
    carrier_up(&c, "open");
    status_has(c.pid, "NoNewPrivs:\t1\n");
    if (geteuid() == 0) {
        status_has(c.pid, "Uid:\t65534\t65534\t65534\t65534\n");
        status_has(c.pid, "CapPrm:\t0000000000000400\n");
    }
#ifndef __SANITIZE_ADDRESS__
    status_has(c.pid, "Seccomp:\t2\n");
#endif
    carrier_down(&c);
}

static void
bad_configuration(void **state)
{
    static const struct {
        const char *key, *value, *says;
    } bad[] = {
        {"subnet", "10.88.0", "subnet"}, {"gateway", "", "gateway"},
        {"subnet6", "fd88", "subnet6"},  {"gateway6", "10.0.0.1", "gateway6"},
        {"egress", "maybe", "egress"},   {"id", "xyz", "id"},
        {"host", "fd00::1", "host"},
    };
    struct carrier c = {.folder = "/tmp/ctr-test-carrier-XXXXXX"};
    assert_non_null(mkdtemp(c.folder));
    c.socket = ctr_printf("%s/s", c.folder);
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        CTR_AUTO(json) json_t *config = configuration(&c, build_dir(), "open");
        (void) json_object_set_new(json_object_get(config, "network"), bad[i].key,
                                   json_string(bad[i].value));
        CTR_AUTO(json) json_t *answer = start(build_dir(), config);
        const char *says = ctr_json_str(json_object_get(answer, "error"), "message", "started");
        if (strstr(says, bad[i].says) == NULL) {
            fail_msg("%s: %s", bad[i].key, says);
        }
        assert_int_equal(access(c.socket, F_OK), -1);
    }
    int status;
    while (waitpid(-1, &status, 0) > 0) {
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    }
    assert_int_equal(ctr_remove_tree(c.folder, &err), 0);
    free(c.socket);
}

static int
prepare(void **state)
{
    (void) signal(SIGPIPE, SIG_IGN);
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(given_descriptors),
        cmocka_unit_test(wrong_descriptors),
        cmocka_unit_test(lines_together),
        cmocka_unit_test(rude_lines),
        cmocka_unit_test(many_connections),
        cmocka_unit_test(answers_not_taken),
        cmocka_unit_test(publishing),
        cmocka_unit_test(capture_of_a_port),
        cmocka_unit_test(names_that_are_refused),
        cmocka_unit_test(few_rights),
        cmocka_unit_test(bad_configuration),
    };
    return cmocka_run_group_tests_name("carrier", tests, prepare, NULL);
}
