/*
 * ctr/command.h: one child process, by posix_spawn, its input written before it starts, its output read until its end or a limit.
 *
 * The input fits into a pipe, so that writing it never waits and never meets a closed end. Nothing of it outlives the call: buffers that held output are
 * wiped, and a child that went over a limit is killed with its group and reaped.
 */
#include <ctr/command.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __APPLE__
#include <crt_externs.h>
#define environ (*_NSGetEnviron())
#else
extern char **environ;
#endif

#define SPAWN_ALWAYS (POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP)
#ifdef __APPLE__
#define SPAWN_FLAGS (SPAWN_ALWAYS | POSIX_SPAWN_CLOEXEC_DEFAULT)
#else
#define SPAWN_FLAGS SPAWN_ALWAYS
#endif

struct output {
    char *bytes;
    size_t length, capacity;
};

static void
wipe(void *bytes, size_t length)
{
    volatile unsigned char *p = (volatile unsigned char *) bytes;
    while (length-- > 0) {
        *p++ = 0;
    }
}

static int64_t
now_ms(void)
{
    struct timespec now;
    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int
command_fail(const struct ctr_command *command, const char *what, int code,
             struct ctr_error *err)
{
    return ctr_fail(err, -code, "%s: %s: %s", command->argv[0], what, strerror(code));
}

/* --- pipes --- */

static void
close_end(int *end)
{
    if (*end >= 0) {
        (void) close(*end);
    }
    *end = -1;
}

/* Close-on-exec from the start where the system can. */
static int
make_pipe(int ends[2])
{
#ifdef __linux__
    return pipe2(ends, O_CLOEXEC) == 0 ? 0 : errno;
#else
    if (pipe(ends) != 0) {
        return errno;
    }
    (void) fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    (void) fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    return 0;
#endif
}

/* Fills a pipe with the whole input; 0 or errno. */
static int
fill_pipe(const struct ctr_command *command, int end)
{
    size_t done = 0;
    if (command->input_length > CTR_COMMAND_INPUT_MAX) {
        return EMSGSIZE;
    }
    (void) fcntl(end, F_SETFL, O_NONBLOCK);
    while (done < command->input_length) {
        ssize_t n =
            write(end, (const char *) command->input + done, command->input_length - done);
        if (n < 0 && errno != EINTR) {
            return errno == EAGAIN ? EMSGSIZE : errno;
        }
        done += n > 0 ? (size_t) n : 0;
    }
    return 0;
}

/* --- the child --- */

static int
start(const struct ctr_command *command, int in, int out, pid_t *ret)
{
    static const char *const empty[] = {NULL};
    const char *const *envp = command->envp != NULL ? command->envp : empty;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    (void) sigemptyset(&none);
    (void) sigfillset(&all);
    (void) posix_spawn_file_actions_init(&actions);
    (void) posix_spawn_file_actions_adddup2(&actions, in, 0);
    (void) posix_spawn_file_actions_adddup2(&actions, out, 1);
    (void) posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
#ifdef __GLIBC__
    (void) posix_spawn_file_actions_addclosefrom_np(&actions, 3);
#endif
    (void) posix_spawnattr_init(&attributes);
    (void) posix_spawnattr_setsigmask(&attributes, &none);
    (void) posix_spawnattr_setsigdefault(&attributes, &all);
    (void) posix_spawnattr_setpgroup(&attributes, 0);
    (void) posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    int code = posix_spawn(ret, command->argv[0], &actions, &attributes,
                           (char *const *) (uintptr_t) command->argv,
                           (char *const *) (uintptr_t) envp);
    (void) posix_spawnattr_destroy(&attributes);
    (void) posix_spawn_file_actions_destroy(&actions);
    return code;
}

/* Room for more; the old block is wiped. */
static int
grow(struct output *output)
{
    size_t capacity = output->capacity == 0 ? 4096 : output->capacity * 2;
    char *bytes = malloc(capacity);
    if (bytes == NULL) {
        return ENOMEM;
    }
    if (output->bytes != NULL) {
        memcpy(bytes, output->bytes, output->length);
        wipe(output->bytes, output->length);
        free(output->bytes);
    }
    output->bytes = bytes;
    output->capacity = capacity;
    return 0;
}

/* Reads to the end; 0 or errno. */
static int
read_output(const struct ctr_command *command, int fd, int64_t end, struct output *output)
{
    for (;;) {
        if (output->capacity - output->length < 2 && grow(output) != 0) {
            return ENOMEM;
        }
        int64_t left = end - now_ms();
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int ready = left > 0 ? poll(&wait, 1, (int) left) : 0;
        if (ready == 0) {
            return ETIMEDOUT;
        }
        ssize_t n = ready < 0 ? -1
                              : read(fd, output->bytes + output->length,
                                     output->capacity - output->length - 1);
        if (n == 0) {
            output->bytes[output->length] = '\0';
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        output->length += n > 0 ? (size_t) n : 0;
        if (output->length > command->output_max) {
            return EFBIG;
        }
    }
}

/* Waits for the end of one that closed its output; 0 or errno. */
static int
reap(pid_t pid, int64_t end, int *ret_status)
{
    struct timespec pause = {.tv_nsec = 1000000};
    for (;;) {
        pid_t ended = waitpid(pid, ret_status, WNOHANG);
        if (ended == pid) {
            return 0;
        }
        if (ended < 0 && errno != EINTR) {
            return errno;
        }
        if (now_ms() >= end) {
            return ETIMEDOUT;
        }
        (void) nanosleep(&pause, NULL);
        pause.tv_nsec += pause.tv_nsec < 20000000 ? pause.tv_nsec : 0;
    }
}

/* Its group, and itself should it have left that. */
static void
kill_all(pid_t pid)
{
    int status;
    (void) kill(-pid, SIGKILL);
    (void) kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
}

/* From its start to its end. */
static int
watch(const struct ctr_command *command, pid_t pid, int fd, struct output *output,
      int *ret_status, struct ctr_error *err)
{
    int64_t end = now_ms() + command->limit_ms;
    int code = read_output(command, fd, end, output);
    code = code != 0 ? code : reap(pid, end, ret_status);
    if (code == 0) {
        return 0;
    }
    if (code != ECHILD) { /* else it is reaped, and its number may be another's */
        kill_all(pid);
    }
    if (code == ETIMEDOUT) {
        return ctr_fail(err, -code, "%s: not done within %u ms; it was killed",
                        command->argv[0], (unsigned) command->limit_ms);
    }
    if (code == EFBIG) {
        return ctr_fail(err, -code, "%s: printed more than %llu bytes; it was killed",
                        command->argv[0], (unsigned long long) command->output_max);
    }
    return command_fail(command, "failed", code, err);
}

int
ctr_command_run(const struct ctr_command *command, struct ctr_command_result *ret,
                struct ctr_error *err)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, status = 0;
    struct output output = {0};
    pid_t pid = -1;
    int code = make_pipe(in);
    code = code != 0 ? code : make_pipe(out);
    code = code != 0 ? code : fill_pipe(command, in[1]);
    close_end(&in[1]);
    code = code != 0 ? code : start(command, in[0], out[1], &pid);
    close_end(&in[0]);
    close_end(&out[1]);
    int rc = code != 0 ? command_fail(command, "cannot be run", code, err)
                       : watch(command, pid, out[0], &output, &status, err);
    close_end(&out[0]);
    struct ctr_command_result result = {.size = sizeof result,
                                        .status = WIFSIGNALED(status) ? 128 + WTERMSIG(status)
                                                                      : WEXITSTATUS(status),
                                        .output = output.bytes,
                                        .length = output.length};
    if (rc < 0) {
        ctr_command_finish(&result);
    } else {
        *ret = result;
    }
    return rc;
}

void
ctr_command_finish(struct ctr_command_result *result)
{
    if (result->output != NULL) {
        wipe(result->output, result->length);
        free(result->output);
    }
    memset(result, 0, sizeof *result);
}

/* --- environment --- */

static bool
is_named(const char *entry, const char *const *names)
{
    size_t n = strcspn(entry, "=");
    for (; *names != NULL; names++) {
        if (strncmp(entry, *names, n) == 0 && (*names)[n] == '\0') {
            return true;
        }
    }
    return false;
}

const char **
ctr_command_environment(const char *const *names, const char *more)
{
    size_t total = 0, n = 0;
    while (environ != NULL && environ[total] != NULL) {
        total++;
    }
    const char **list = calloc(total + 2, sizeof *list);
    for (size_t i = 0; i < total && list != NULL; i++) {
        if (is_named(environ[i], names)) {
            list[n++] = environ[i];
        }
    }
    if (list != NULL) {
        list[n] = more;
    }
    return list;
}
