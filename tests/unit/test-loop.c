/*
 * core/loop: watches, timers, posts, work and children. No test depends on how long something takes.
 */
#include "core/loop/loop.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/wait.h>
/* after the headers that it needs */
#include <cmocka.h>

static struct ctr_loop *loop;

static int
make_loop(void **state)
{
    return ctr_loop_create(&loop, NULL);
}

static int
destroy_loop(void **state)
{
    ctr_loop_destroy(loop);
    loop = NULL;
    return 0;
}

static int fired;

static void
stop(void *arg)
{
    fired++;
    ctr_loop_stop(loop);
}

static void
count(void *arg)
{
    fired++;
}

/* --- posts and work --- */

static int order[3], n_order;

static void
note(void *arg)
{
    order[n_order++] = *(int *) arg;
    if (n_order == 3) {
        ctr_loop_stop(loop);
    }
}

static void
test_posts_run_in_order(void **state)
{
    int numbers[] = {1, 2, 3};
    n_order = 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ctr_loop_post(loop, note, &numbers[i]), 0);
    }
    assert_int_equal(n_order, 0); /* not inside the call */
    ctr_loop_run(loop);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 2);
    assert_int_equal(order[2], 3);
}

static void *
post_from_thread(void *arg)
{
    for (int i = 0; i < 999; i++) {
        (void) ctr_loop_post(loop, count, NULL);
    }
    (void) ctr_loop_post(loop, stop, NULL);
    return NULL;
}

static void
test_posts_from_threads(void **state)
{
    pthread_t thread;
    fired = 0;
    assert_int_equal(pthread_create(&thread, NULL, post_from_thread, NULL), 0);
    ctr_loop_run(loop);
    (void) pthread_join(thread, NULL);
    assert_int_equal(fired, 1000);
}

static pthread_t worker;

static void
work(void *arg)
{
    worker = pthread_self();
    *(int *) arg = 42;
}

static void
test_work(void **state)
{
    int result = 0;
    fired = 0;
    assert_int_equal(ctr_loop_work(loop, work, stop, &result), 0);
    ctr_loop_run(loop);
    assert_int_equal(fired, 1);
    assert_int_equal(result, 42);
    assert_false(pthread_equal(worker, pthread_self()));
}

static void
test_destroy_waits_for_work(void **state)
{
    int result = 0;
    fired = 0;
    assert_int_equal(ctr_loop_work(loop, work, count, &result), 0);
    (void) destroy_loop(state);
    assert_int_equal(result, 42);
    assert_int_equal(fired, 1);
}

/* --- timers --- */

static struct ctr_timer *timer;

static void
again(void *arg)
{
    if (++fired < 3) {
        ctr_timer_set(timer, 1);
    } else {
        ctr_timer_remove(timer);
        ctr_loop_stop(loop);
    }
}

static void
test_timers(void **state)
{
    fired = 0;
    timer = ctr_timer_add(loop, 0, again, NULL);
    assert_non_null(timer);
    ctr_loop_run(loop);
    assert_int_equal(fired, 3);
    struct ctr_timer *never = ctr_timer_add(loop, 1, count, NULL);
    ctr_timer_remove(never);
    ctr_timer_remove(NULL);
    fired = 0;
    assert_non_null(ctr_timer_add(loop, 20, stop, NULL)); /* left to destroy */
    ctr_loop_run(loop);
    assert_int_equal(fired, 1);
}

/* --- watches --- */

struct echo {
    struct ctr_watch *watch;
    int fd;
    char text[8];
    ssize_t n;
    uint32_t events;
};

static void
on_readable(void *arg, uint32_t events)
{
    struct echo *echo = arg;
    echo->events = events;
    echo->n = read(echo->fd, echo->text, sizeof echo->text);
    ctr_watch_remove(echo->watch); /* inside its own callback */
    (void) close(echo->fd);
    ctr_loop_stop(loop);
}

static void
test_watches(void **state)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    struct echo echo = {.fd = pair[0]};
    echo.watch = ctr_watch_add(loop, pair[0], CTR_READABLE, on_readable, &echo);
    assert_non_null(echo.watch);
    assert_int_equal(write(pair[1], "hi", 2), 2);
    ctr_loop_run(loop);
    assert_int_equal(echo.events, CTR_READABLE);
    assert_int_equal(echo.n, 2);
    (void) close(pair[1]);
}

static void
on_writable(void *arg, uint32_t events)
{
    struct ctr_watch **watch = arg;
    fired++;
    assert_int_equal(events, CTR_WRITABLE);
    ctr_watch_set(*watch, 0); /* paused: must not fire again */
    (void) ctr_timer_add(loop, 10, stop, NULL);
}

static void
test_a_paused_watch_is_silent(void **state)
{
    int pair[2];
    struct ctr_watch *watch;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    fired = 0;
    watch = ctr_watch_add(loop, pair[0], 0, on_writable, &watch);
    assert_non_null(watch);
    ctr_watch_set(watch, CTR_WRITABLE);
    ctr_loop_run(loop);
    assert_int_equal(fired, 2); /* the watch and the timer */
    ctr_watch_remove(watch);
    ctr_watch_remove(NULL);
    (void) close(pair[0]);
    (void) close(pair[1]);
}

/* A pipe whose reader is gone: an error, not data. The owner learns it by writing. */
static void
on_broken(void *arg, uint32_t events)
{
    int *fd = arg;
    assert_int_equal(events, CTR_WRITABLE);
    assert_int_equal(write(*fd, "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    if (++fired == 2) { /* it is told again as long as it lasts */
        ctr_loop_stop(loop);
    }
}

static void
test_errors_are_told_as_events(void **state)
{
    int ends[2];
    assert_int_equal(ctr_pipe(ends), 0);
    (void) close(ends[0]);
    fired = 0;
    struct ctr_watch *watch = ctr_watch_add(loop, ends[1], CTR_WRITABLE, on_broken, &ends[1]);
    assert_non_null(watch);
    ctr_loop_run(loop);
    assert_int_equal(fired, 2);
    ctr_watch_remove(watch);
    (void) close(ends[1]);
}

static void
test_a_file_cannot_be_watched(void **state)
{
    CTR_AUTO(fd) int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    assert_null(ctr_watch_add(loop, fd, CTR_READABLE, on_writable, NULL));
    assert_int_equal(errno, EPERM);
}

/* --- children --- */

struct end {
    struct ctr_child *child;
    int status, signal, told;
};

static void
on_exit_of_child(void *arg, int32_t status, int32_t signal)
{
    struct end *end = arg;
    end->status = status;
    end->signal = signal;
    end->told++;
    ctr_loop_stop(loop);
}

/* Runs a shell script with its output in a pipe; returns what it wrote. */
static char *
run_script(const char *script, struct end *end, bool detached, uint32_t flags)
{
    struct ctr_error err = CTR_ERROR_INIT;
    static char text[4096];
    int out[2];
    size_t n;
    assert_int_equal(ctr_pipe(out), 0);
    const char *const argv[] = {"sh", "-c", script, NULL};
    const int32_t fds[] = {-1, out[1], out[1], -1, out[1]};
    struct ctr_spawn spawn = {.size = sizeof spawn,
                              .file = "/bin/sh",
                              .argv = argv,
                              .fds = fds,
                              .n_fds = 5,
                              .flags = flags};
    *end = (struct end){0};
    end->child = ctr_child_spawn(loop, &spawn, detached, on_exit_of_child, end, &err);
    if (end->child == NULL) {
        fail_msg("%s", err.msg);
    }
    (void) close(out[1]);
    assert_int_equal(end->told, 0);
    ctr_loop_run(loop);
    assert_int_equal(end->told, 1);
    assert_int_equal(ctr_read_all(out[0], text, sizeof text - 1, &n), 0);
    (void) close(out[0]);
    text[n] = '\0';
    return text;
}

static void
test_children_end(void **state)
{
    struct end end;
    assert_string_equal(run_script("echo hello; exit 7", &end, false, 0), "hello\n");
    assert_int_equal(end.status, 7);
    assert_int_equal(end.signal, 0);
    assert_int_equal(ctr_child_kill(end.child, SIGTERM), -ESRCH);
    ctr_child_forget(end.child);
    (void) run_script("kill -9 $$", &end, false, 0);
    assert_int_equal(end.signal, SIGKILL);
    ctr_child_release(end.child);
}

static void
test_children_hold_only_their_fds(void **state)
{
    struct end end;
    /* neither close-on-exec nor named */
    int leak = open("/etc/passwd", O_RDONLY), high = fcntl(leak, F_DUPFD, 200);
    const char *text = run_script("cd /proc/self/fd && for f in *; do readlink $f; done | "
                                  "sed 's/pipe:.*/pipe/' | grep -v '^/proc' | tr '\\n' ' '",
                                  &end, false, 0);
    /* 0 and 3: /dev/null; 1, 2 and 4: the pipe. The shell's own pipes may follow. */
    assert_non_null(strstr(text, "/dev/null pipe pipe /dev/null pipe"));
    assert_null(strstr(text, "passwd"));
    (void) close(leak);
    (void) close(high);
    ctr_child_forget(end.child);
}

static void
test_children_start_clean(void **state)
{
    struct end end;
    assert_int_equal(setenv("CTR_SECRET", "x", 1), 0);
    assert_string_equal(run_script("echo \"[$CTR_SECRET]\"", &end, false, 0), "[]\n");
    ctr_child_forget(end.child);
    /* SIGPIPE is ignored in this process, but not in the child */
    const char *text =
        run_script("grep -E 'SigIgn|SigBlk|NoNewPrivs' /proc/$$/status | tr -d '\\n\\t'", &end,
                   false, CTR_SPAWN_NO_NEW_PRIVS | CTR_SPAWN_DIE_WITH_PARENT);
    assert_non_null(strstr(text, "SigBlk:0000000000000000"));
    /* 32 and 33 belong to the C library: its posix_spawn leaves one ignored, and sigaction cannot undo that */
    const char *ignored = strstr(text, "SigIgn:");
    assert_non_null(ignored);
    assert_int_equal(strtoull(ignored + strlen("SigIgn:"), NULL, 16) & ~(3ULL << 31), 0);
    assert_non_null(strstr(text, "NoNewPrivs:1"));
    ctr_child_forget(end.child);
    char own[32];
    (void) snprintf(own, sizeof own, "%d", (int) getsid(0));
    text = run_script("cut -d' ' -f6 /proc/$$/stat | tr -d '\\n'", &end, true, 0);
    assert_string_not_equal(text, own);
    ctr_child_forget(end.child);
}

static void
test_another_user(void **state)
{
    if (geteuid() != 0) {
        skip();
    }
    struct end end = {0};
    struct ctr_error err = CTR_ERROR_INIT;
    const char *const argv[] = {"sh", "-c",
                                "[ \"$(id -u):$(id -g):$(id -G)\" = 65534:65534:65534 ]", NULL};
    const char *const envp[] = {"PATH=/usr/bin:/bin", NULL};
    struct ctr_spawn spawn = {.size = sizeof spawn,
                              .file = "/bin/sh",
                              .argv = argv,
                              .envp = envp,
                              .uid = 65534,
                              .gid = 65534};
    end.child = ctr_child_spawn(loop, &spawn, false, on_exit_of_child, &end, &err);
    assert_non_null(end.child);
    ctr_loop_run(loop);
    assert_int_equal(end.status, 0);
    ctr_child_forget(end.child);
}

static void
test_a_missing_program_is_an_error(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    const char *const argv[] = {"nothing", NULL};
    struct ctr_spawn spawn = {
        .size = sizeof spawn, .file = "/nonexistent/nothing", .argv = argv};
    assert_null(ctr_child_spawn(loop, &spawn, false, NULL, NULL, &err));
    assert_int_equal(err.code, -ENOENT);
    assert_non_null(strstr(err.msg, "/nonexistent/nothing: cannot be started"));
    spawn.file = "sh";
    assert_null(ctr_child_spawn(loop, &spawn, false, NULL, NULL, &err));
    assert_int_equal(err.code, -EINVAL);
}

static struct ctr_child *
spawn_sleeper(void (*exited)(void *arg, int32_t status, int32_t signal), void *arg)
{
    const char *const argv[] = {"sleep", "1000", NULL};
    struct ctr_spawn spawn = {.size = sizeof spawn, .file = "/bin/sleep", .argv = argv};
    struct ctr_child *child = ctr_child_spawn(loop, &spawn, false, exited, arg, NULL);
    assert_non_null(child);
    return child;
}

static void
test_forgotten_children_are_killed(void **state)
{
    struct end end = {0}, other = {0};
    other.child = spawn_sleeper(on_exit_of_child, &other);
    end.child = spawn_sleeper(on_exit_of_child, &end);
    pid_t forgotten = ctr_child_pid(other.child);
    ctr_child_forget(other.child);
    assert_int_equal(ctr_child_kill(end.child, SIGTERM), 0);
    ctr_loop_run(loop);
    assert_int_equal(end.signal, SIGTERM);
    assert_int_equal(other.told, 0);
    ctr_child_forget(end.child);
    /* it is reaped by the loop, without a word */
    while (kill(forgotten, 0) == 0) {
        (void) ctr_timer_add(loop, 1, stop, NULL);
        ctr_loop_run(loop);
    }
    assert_int_equal(other.told, 0);
}

static void
test_released_children_live(void **state)
{
    struct ctr_child *child = spawn_sleeper(NULL, NULL);
    pid_t pid = ctr_child_pid(child);
    ctr_child_release(child);
    (void) destroy_loop(state);
    assert_int_equal(kill(pid, 0), 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void
forget_in_callback(void *arg, int32_t status, int32_t signal)
{
    struct end *ends = arg;
    ctr_child_forget(ends[0].child);
    ctr_child_forget(ends[1].child);
    ctr_loop_stop(loop);
}

static void
test_forgetting_in_the_callback(void **state)
{
    struct end ends[2] = {{0}, {0}};
    ends[0].child = spawn_sleeper(forget_in_callback, ends);
    ends[1].child = spawn_sleeper(forget_in_callback, ends);
    (void) ctr_child_kill(ends[0].child, SIGKILL);
    (void) ctr_child_kill(ends[1].child, SIGKILL);
    ctr_loop_run(loop);
}

/* --- signals --- */

static void
on_signal(void *arg, int signal)
{
    *(int *) arg = signal;
    ctr_loop_stop(loop);
}

static void
test_signals(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    int got = 0;
    assert_int_equal(ctr_signal_watch(loop, SIGHUP, on_signal, &got, &err), 0);
    assert_int_equal(raise(SIGHUP), 0);
    ctr_loop_run(loop);
    assert_int_equal(got, SIGHUP);
    assert_int_equal(ctr_signal_watch(loop, SIGKILL, on_signal, &got, &err), -EINVAL);
}

static void
test_destroy_takes_null(void **state)
{
    ctr_loop_destroy(NULL);
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, make_loop, destroy_loop)
    const struct CMUnitTest tests[] = {
        EACH(test_posts_run_in_order),
        EACH(test_posts_from_threads),
        EACH(test_work),
        EACH(test_destroy_waits_for_work),
        EACH(test_timers),
        EACH(test_watches),
        EACH(test_a_paused_watch_is_silent),
        EACH(test_errors_are_told_as_events),
        EACH(test_a_file_cannot_be_watched),
        EACH(test_children_end),
        EACH(test_children_hold_only_their_fds),
        EACH(test_children_start_clean),
        EACH(test_another_user),
        EACH(test_a_missing_program_is_an_error),
        EACH(test_forgotten_children_are_killed),
        EACH(test_released_children_live),
        EACH(test_forgetting_in_the_callback),
        EACH(test_signals),
        cmocka_unit_test(test_destroy_takes_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
