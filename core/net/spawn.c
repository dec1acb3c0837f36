/*
 * Starting ctr-net: detached, with its configuration on standard input and its answer on standard output.
 *
 * ctr-net forks once it has read the configuration, so that it is nobody's child and is never left unreaped. It gets no
 * descriptor but 0 to 2 and an environment of a few harmless names.
 */
#include "core/net/net-priv.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#define MAX_ANSWER 8192

struct child {
    pid_t pid;
    int to, from; /* its standard input and output */
};

static int
spawn(const char *program, int in, int out, pid_t *ret)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    char *argv[] = {(char *) (uintptr_t) program, NULL};
    CTR_AUTO(free) const char **envp = ctr_child_environment();
    if (envp == NULL) {
        return -ENOMEM;
    }
    (void) sigemptyset(&none);
    (void) sigfillset(&all);
    (void) posix_spawn_file_actions_init(&actions);
    (void) posix_spawnattr_init(&attributes);
    (void) posix_spawn_file_actions_adddup2(&actions, in, 0);
    (void) posix_spawn_file_actions_adddup2(&actions, out, 1);
    (void) posix_spawnattr_setsigmask(&attributes, &none);
    (void) posix_spawnattr_setsigdefault(&attributes, &all);
    (void) posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    int code = -posix_spawn(ret, program, &actions, &attributes, argv, (char *const *) envp);
    (void) posix_spawnattr_destroy(&attributes);
    (void) posix_spawn_file_actions_destroy(&actions);
    return code;
}

/* A pipe that no other child inherits; where there is no pipe2, one started just now could. */
static int
private_pipe(int fds[2])
{
#ifdef __linux__
    return pipe2(fds, O_CLOEXEC);
#else
    if (pipe(fds) != 0) {
        return -1;
    }
    (void) fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    (void) fcntl(fds[1], F_SETFD, FD_CLOEXEC);
    return 0;
#endif
}

static int
start(const char *program, struct child *ret)
{
    int in[2], out[2];
    if (private_pipe(in) != 0) {
        return -errno;
    }
    if (private_pipe(out) != 0) {
        int code = -errno;
        (void) close(in[0]);
        (void) close(in[1]);
        return code;
    }
    int code = spawn(program, in[0], out[1], &ret->pid);
    (void) close(in[0]);
    (void) close(out[1]);
    ret->to = in[1];
    ret->from = out[0];
    if (code != 0) {
        (void) close(in[1]);
        (void) close(out[0]);
    }
    return code;
}

/* Its line on standard output, read until it closes that; "" if it said nothing in time. Caller frees. */
static char *
read_answer(int fd)
{
    int64_t deadline = ctr_monotonic_ns() + CTR_NET_CALL_MS * INT64_C(1000000);
    CTR_AUTO(buf) struct ctr_buf text = {0};
    char chunk[1024];
    while (text.length < MAX_ANSWER) {
        int64_t left = (deadline - ctr_monotonic_ns()) / 1000000;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (left <= 0 || (poll(&p, 1, (int) left) < 0 && errno != EINTR)) {
            break;
        }
        ssize_t n = p.revents == 0 ? -1 : read(fd, chunk, sizeof chunk);
        if (n == 0) {
            break;
        }
        ctr_buf_add(&text, chunk, n > 0 ? (size_t) n : 0);
    }
    ctr_buf_puts(&text, "");
    return ctr_buf_take(&text);
}

static int
judge(const char *program, const char *answer, struct ctr_error *err)
{
    struct ctr_error why = CTR_ERROR_INIT;
    CTR_AUTO(json)
    json_t *reply = *answer == '\0' ? NULL
                                    : ctr_json_parse(answer, strcspn(answer, "\n"), MAX_ANSWER,
                                                     "ctr-net's answer", &why);
    const json_t *error = json_object_get(reply, "error");
    if (error != NULL) {
        return ctr_fail(err, (int) ctr_json_int(error, "code", -EIO), "%s",
                        ctr_json_str(error, "message", "it did not start"));
    }
    if (json_object_get(reply, "ok") == NULL) {
        return ctr_fail(err, -EIO, "%s did not start%s%s; the engine's log may say why",
                        program, why.code != 0 ? ": " : "", why.code != 0 ? why.msg : "");
    }
    return 0;
}

int
ctr_net_spawn(const json_t *config, struct ctr_error *err)
{
    CTR_AUTO(free) char *prefix = ctr_prefix_dir();
    CTR_AUTO(free)
    char *program = prefix == NULL ? NULL : ctr_printf("%s/bin/ctr-net", prefix);
    CTR_AUTO(free) char *text = ctr_json_text(config);
    struct child child;
    if (program == NULL || text == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int code = start(program, &child);
    if (code != 0) {
        return ctr_fail(err, code, "%s cannot be started: %s; it belongs beside ctrd", program,
                        strerror(-code));
    }
    (void) ctr_write_all(child.to, text,
                         strlen(text)); /* if it is gone, its answer is missing */
    (void) close(child.to);
    CTR_AUTO(free) char *answer = read_answer(child.from);
    (void) close(child.from);
    if (answer == NULL || *answer == '\0') {
        (void) kill(child.pid,
                    SIGKILL); /* the parent of the real one; it ends by itself if all is well */
    }
    while (waitpid(child.pid, NULL, 0) < 0 && errno == EINTR) {
    }
    return judge(program, answer == NULL ? "" : answer, err);
}
