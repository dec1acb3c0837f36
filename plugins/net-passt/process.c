/*
 * passt's life: started with one end of a socket pair, ended by its owner, started again when it dies. With --fd it ends by itself when this process does.
 *
 * It confines itself (namespaces, an empty root, seccomp) before it looks at a frame. What it says is read from a pipe when it has ended; the pipe never blocks it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pipe2, prlimit */
#endif
#include "passt-priv.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHILD_FD 3
#define READY_MS 900 /* a slot blocks no longer */
#define LASTED_MS 10000
#define FIRST_PAUSE_MS 100
#define LAST_PAUSE_MS 5000
#define OWN_FILES 160 /* what passt opens for itself, ready sockets among it */

char *
passt_find(const struct ctr_host *host, struct ctr_error *err)
{
    static const char *const places[] = {"/usr/bin/passt", "/usr/local/bin/passt", "/bin/passt",
                                         "/usr/sbin/passt"};
    const char *given = host->option_string(host, "binary");
    if (given != NULL && given[0] != '\0') {
        if (given[0] == '/' && access(given, X_OK) == 0) {
            return strdup(given);
        }
        (void) ctr_fail(err, -ENOENT, "way out: binary = %.200s: this program cannot be run",
                        given);
        return NULL;
    }
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (access(places[i], X_OK) == 0) {
            return strdup(places[i]);
        }
    }
    (void) ctr_fail(
        err, -ENOENT,
        "way out: the program passt is not installed; install the package passt, or "
        "set binary = PATH in [net.passt]");
    return NULL;
}

struct way *
way_create(struct guest *guest)
{
    struct way *way = calloc(1, sizeof *way);
    if (way == NULL) {
        return NULL;
    }
    *way = (struct way){.guest = guest, .fd = -1, .errors = -1};
    way->in = malloc(WAY_READ);
    way->out = malloc(WAY_QUEUE);
    if (way->in == NULL || way->out == NULL) {
        way_destroy(way);
        return NULL;
    }
    return way;
}

void
way_destroy(struct way *way)
{
    if (way == NULL) {
        return;
    }
    const struct ctr_host *host = way->guest->up->sw->host;
    way_stop(way);
    host->timer_remove(way->again);
    free(way->ports);
    free(way->in);
    free(way->out);
    free(way);
}

/* What is left of a passt that has ended. */
static void
clean(struct way *way)
{
    const struct ctr_host *host = way->guest->up->sw->host;
    host->watch_remove(way->watch);
    way->watch = NULL;
    if (way->fd >= 0) {
        (void) close(way->fd);
    }
    if (way->errors >= 0) {
        (void) close(way->errors);
    }
    way->fd = way->errors = -1;
    host->child_forget(way->child);
    way->child = NULL;
    way->n_in = way->n_out = way->sent = 0;
    way->ready = way->used = false;
    way->checked_ms = 0;
    flows_forget(way->guest, way);
}

/* The last line that passt wrote, but for its complaints that there is no system log. */
static void
last_words(const struct way *way, char *ret, size_t size)
{
    char text[2048];
    ssize_t n = way->errors < 0 ? 0 : read(way->errors, text, sizeof text - 1);
    text[n < 0 ? 0 : n] = '\0';
    (void) snprintf(ret, size, "no reason told");
    for (char *save = NULL, *line = strtok_r(text, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "Failed to send", 14) != 0) {
            (void) snprintf(ret, size, "%s", line);
        }
    }
}

static void
on_exit_(void *arg, int32_t status, int32_t signal)
{
    struct way *way = arg;
    const struct ctr_host *host = way->guest->up->sw->host;
    char words[160], message[320];
    bool lasted = sw_now_ms() - way->started_ms > LASTED_MS;
    way->failures = lasted ? 0 : way->failures + 1;
    uint32_t shift = way->failures < 7 ? way->failures : 7;
    uint64_t pause = shift == 0 ? FIRST_PAUSE_MS : (uint64_t) FIRST_PAUSE_MS << (shift - 1);
    last_words(way, words, sizeof words);
    (void) snprintf(message, sizeof message,
                    "passt of %.12s ended with status %d, signal %d (%s); its connections are "
                    "lost, it is started again",
                    way->guest->port->id, status, signal, words);
    host->log(host, CTR_LOG_WARN, message);
    clean(way);
    way_start_later(way, pause < LAST_PAUSE_MS ? pause : LAST_PAUSE_MS);
}

static void
on_again(void *arg)
{
    struct way *way = arg;
    struct ctr_error err = CTR_ERROR_INIT;
    if (way->child != NULL || (way->n_ports == 0 && way != way->guest->ways)) {
        return;
    }
    if (way_start(way, &err) != 0) {
        way->guest->up->sw->host->log(way->guest->up->sw->host, CTR_LOG_ERROR, err.msg);
    }
}

void
way_start_later(struct way *way, uint64_t ms)
{
    const struct ctr_host *host = way->guest->up->sw->host;
    way->not_before_ms = sw_now_ms() + ms;
    if (way->n_ports == 0) {
        return; /* the next frame starts it */
    }
    if (way->again == NULL) {
        way->again = host->timer_add(host, ms, on_again, way);
    } else {
        host->timer_set(way->again, ms);
    }
}

/* Ports below 1024 are bound by passt as its first deed: the right to it, where this process has it, is passed on. */
static void
pass_on_low_ports(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    const uint32_t bind = 1U << CAP_NET_BIND_SERVICE;
    if (syscall(SYS_capget, &header, data) != 0 || (data[0].permitted & bind) == 0) {
        return;
    }
    data[0].inheritable |= bind;
    if (syscall(SYS_capset, &header, data) == 0) {
        (void) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0);
    }
}

/* Each connection is a descriptor of passt's: their number is the limit. */
static void
limit_files(const struct way *way)
{
    const struct ctr_host *host = way->guest->up->sw->host;
    rlim_t most = OWN_FILES + 2 * (rlim_t) way->n_ports + way->guest->up->sw->max_flows;
    struct rlimit own, files = {.rlim_cur = most, .rlim_max = most};
    if (getrlimit(RLIMIT_NOFILE, &own) == 0 && most < own.rlim_max) {
        (void) prlimit(host->child_pid(way->child), RLIMIT_NOFILE, &files, NULL);
    }
}

/* The socket pair and the pipe: ours in the way, passt's in fds. */
static int
make_ends(struct way *way, int32_t fds[2])
{
    int pair[2], tube[2], size = WAY_BUFFER;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return -errno;
    }
    if (pipe2(tube, O_CLOEXEC | O_NONBLOCK) != 0) {
        int code = -errno;
        (void) close(pair[0]);
        (void) close(pair[1]);
        return code;
    }
    for (int i = 0; i < 2; i++) {
        (void) setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
    way->fd = pair[0];
    way->errors = tube[0];
    fds[0] = tube[1];
    fds[1] = pair[1];
    return 0;
}

static struct ctr_child *
spawn(struct way *way, const int32_t ends[2], struct ctr_error *err)
{
    const struct ctr_host *host = way->guest->up->sw->host;
    const int32_t fds[CHILD_FD + 1] = {-1, -1, ends[0], ends[1]};
    char **argv = passt_command(way, CHILD_FD);
    if (argv == NULL) {
        (void) ctr_fail(err, -ENOMEM, "passt: out of memory");
        return NULL;
    }
    const struct ctr_spawn spawn = {
        .size = sizeof spawn,
        .file = way->guest->up->binary,
        .argv = (const char *const *) argv,
        .fds = fds,
        .n_fds = CHILD_FD + 1,
        .flags = CTR_SPAWN_DIE_WITH_PARENT | CTR_SPAWN_NO_NEW_PRIVS,
    };
    pass_on_low_ports();
    struct ctr_child *child = host->spawn(host, &spawn, on_exit_, way, err);
    passt_command_free(argv);
    return child;
}

int
way_start(struct way *way, struct ctr_error *err)
{
    const struct ctr_host *host = way->guest->up->sw->host;
    int32_t ends[2] = {-1, -1};
    int code = make_ends(way, ends);
    if (code != 0) {
        return ctr_fail(err, code, "passt: it cannot be given a socket: %s", strerror(-code));
    }
    way->child = spawn(way, ends, err);
    (void) close(ends[0]);
    (void) close(ends[1]);
    if (way->child != NULL) {
        way->watch = host->watch_add(host, way->fd, CTR_READABLE, way_ready, way);
    }
    if (way->watch == NULL) {
        code = way->child != NULL ? ctr_fail(err, -ENOMEM, "passt: it cannot be watched")
                                  : err->code;
        clean(way);
        return code;
    }
    way->started_ms = sw_now_ms();
    limit_files(way);
    return 0;
}

void
way_stop(struct way *way)
{
    if (way->child != NULL) {
        struct pollfd end = {.fd = way->fd, .events = POLLRDHUP};
        (void) way->guest->up->sw->host->child_kill(way->child, 9);
        (void) poll(&end, 1, READY_MS); /* what it listens on is free then */
    }
    clean(way);
}

/* "Who has the gateway's address?" passt answers that once it is ready, and then it listens. */
static void
ask(struct way *way)
{
    const struct sw_identity *who = &way->guest->port->who;
    uint8_t frame[SW_ETHER + SW_ARP] = {0}, *arp = frame + SW_ETHER;
    memset(frame, 0xff, 6);
    memcpy(frame + 6, who->mac, 6);
    sw_put16(frame + 12, SW_TYPE_ARP);
    sw_put16(arp, 1);
    sw_put16(arp + 2, SW_TYPE_IPV4);
    arp[4] = 6;
    arp[5] = 4;
    sw_put16(arp + 6, 1);
    memcpy(arp + 8, who->mac, 6);
    memcpy(arp + 14, who->address.bytes, 4);
    memcpy(arp + 24, way->guest->up->sw->rules.gateway.bytes, 4);
    (void) way_send(way, frame, sizeof frame);
}

int
way_wait(struct way *way, struct ctr_error *err)
{
    char words[160];
    uint64_t end = sw_now_ms() + READY_MS;
    bool open = true;
    ask(way);
    for (uint64_t now; open && !way->ready && (now = sw_now_ms()) < end;) {
        struct pollfd fd = {.fd = way->fd, .events = POLLIN};
        (void) poll(&fd, 1, (int) (end - now));
        open = way_read(way);
    }
    if (way->ready) {
        return 0;
    }
    last_words(way, words, sizeof words);
    bool taken = strstr(words, "Failed to bind") != NULL;
    return ctr_fail(err,
                    taken  ? -EADDRINUSE
                    : open ? -ETIMEDOUT
                           : -EIO,
                    "passt does not start: %s", words);
}
