/*
 * Child processes, started by our own fork and exec: the child gets exactly the descriptors that were named, an empty
 * environment unless one is given, default signals and, where asked for, another user. (uv_spawn leaves open what some
 * library forgot to mark close-on-exec.)
 *
 * A child's record lives until its owner forgets or releases it *and* the process is reaped.
 */
#include "core/loop/loop-priv.h"
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <sys/wait.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#define MAX_CHILD_FDS 1024

struct ctr_child {
    struct ctr_child *next;
    struct ctr_loop *loop;
    pid_t pid;
    int status; /* of waitpid, valid once ended */
    bool ended, told, owned;
    void (*exited)(void *arg, int32_t status, int32_t signal);
    void *arg;
};

/* What the child reports when it cannot become the program. */
struct failure {
    int code;
    const char *step; /* a literal: the same address in both processes */
};

/* --- in the child, between fork and exec: only async-signal-safe calls --- */

static void
give_up(int report, const char *step)
{
    struct failure failure = {.code = errno, .step = step};
    (void) ctr_write_all(report, &failure, sizeof failure);
    _exit(127);
}

static void
reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int s = 1; s < NSIG; s++) {
        (void) sigaction(s, &action, NULL);
    }
    sigset_t none;
    (void) sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
close_from(unsigned first, unsigned last)
{
    if (first > last) {
        return;
    }
#ifdef __linux__
    if (close_range(first, last, 0) == 0) {
        return;
    }
#endif
    long limit = sysconf(_SC_OPEN_MAX);
    for (unsigned fd = first; fd <= last && (long) fd < limit; fd++) {
        (void) close((int) fd);
    }
}

/* Puts fds[i] at i, /dev/null where there is none, closes all others but `report`. Returns the report's new number. */
static int
place_fds(const struct ctr_spawn *spawn, int report)
{
    int high[MAX_CHILD_FDS], n = spawn->n_fds < 3 ? 3 : (int) spawn->n_fds;
    /* First everything out of the way, then down to its place. */
    int moved = fcntl(report, F_DUPFD_CLOEXEC, n);
    if (moved < 0) {
        give_up(report, "descriptors");
    }
    for (int i = 0; i < n; i++) {
        bool given = i < (int) spawn->n_fds && spawn->fds[i] >= 0;
        int from = given ? spawn->fds[i] : open("/dev/null", O_RDWR | O_CLOEXEC);
        high[i] = from < 0 ? -1 : fcntl(from, F_DUPFD_CLOEXEC, n);
        if (high[i] < 0) {
            give_up(moved, "descriptors");
        }
    }
    for (int i = 0; i < n; i++) {
        if (dup2(high[i], i) < 0) {
            give_up(moved, "descriptors");
        }
    }
    close_from((unsigned) n, (unsigned) moved - 1);
    close_from((unsigned) moved + 1, UINT_MAX);
    return moved;
}

static void
change_user(const struct ctr_spawn *spawn, int report)
{
    if ((spawn->uid != 0 || spawn->gid != 0) && setgroups(0, NULL) != 0) {
        give_up(report, "setgroups");
    }
    if (spawn->gid != 0 && setgid(spawn->gid) != 0) {
        give_up(report, "setgid");
    }
    if (spawn->uid != 0 && setuid(spawn->uid) != 0) {
        give_up(report, "setuid");
    }
}

/* After the change of user, which clears the parent-death signal. */
static void
limit_child(const struct ctr_spawn *spawn, pid_t parent, int report)
{
#ifdef __linux__
    if ((spawn->flags & CTR_SPAWN_NO_NEW_PRIVS) != 0 &&
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        give_up(report, "prctl");
    }
    if ((spawn->flags & CTR_SPAWN_DIE_WITH_PARENT) != 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
            give_up(report, "prctl");
        }
        if (getppid() != parent) {
            _exit(127); /* it died before the signal was armed */
        }
    }
#endif
}

static void
become(const struct ctr_spawn *spawn, bool detached, pid_t parent, int report)
{
    static char *const empty[] = {NULL};
    reset_signals();
    if (detached && setsid() < 0) {
        give_up(report, "setsid");
    }
    report = place_fds(spawn, report);
    change_user(spawn, report);
    limit_child(spawn, parent, report);
    char *const *envp = spawn->envp == NULL ? empty : (char *const *) (uintptr_t) spawn->envp;
    (void) execve(spawn->file, (char *const *) (uintptr_t) spawn->argv, envp);
    give_up(report, "execve");
}

/* --- in the parent --- */

/* Forks with all signals blocked, so that no handler of ours runs in the child. */
static pid_t
fork_quietly(const struct ctr_spawn *spawn, bool detached, int report)
{
    sigset_t all, old;
    pid_t parent = getpid();
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &old);
    pid_t pid = fork();
    if (pid == 0) {
        become(spawn, detached, parent, report);
    }
    int saved = errno;
    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = saved;
    return pid;
}

static int
start(const struct ctr_spawn *spawn, bool detached, pid_t *ret, struct ctr_error *err)
{
    int ends[2];
    int code = ctr_pipe(ends);
    if (code != 0) {
        return ctr_fail(err, code, "%s: cannot be started: %s", spawn->file, strerror(-code));
    }
    CTR_AUTO(fd) int from = ends[0];
    CTR_AUTO(fd) int report = ends[1];
    pid_t pid = fork_quietly(spawn, detached, report);
    if (pid < 0) {
        code = -errno;
        return ctr_fail(err, code, "%s: cannot be started: %s", spawn->file, strerror(-code));
    }
    (void) close(ctr_steal_fd(&report));
    struct failure failure;
    size_t n = 0;
    (void) ctr_read_all(from, &failure, sizeof failure, &n);
    if (n == sizeof failure) {
        (void) waitpid(pid, NULL, 0);
        return ctr_fail(err, -failure.code, "%s: cannot be started: %s: %s", spawn->file,
                        failure.step, strerror(failure.code));
    }
    *ret = pid;
    return 0;
}

struct ctr_child *
ctr_child_spawn(struct ctr_loop *loop, const struct ctr_spawn *spawn, bool detached,
                void (*exited)(void *arg, int32_t status, int32_t signal), void *arg,
                struct ctr_error *err)
{
    if (spawn->file == NULL || spawn->file[0] != '/' || spawn->argv == NULL ||
        spawn->n_fds > MAX_CHILD_FDS) {
        (void) ctr_fail(err, -EINVAL, "child needs an absolute path, argv and at most %d fds",
                        MAX_CHILD_FDS);
        return NULL;
    }
    struct ctr_child *child = calloc(1, sizeof *child);
    if (child == NULL) {
        (void) ctr_fail(err, -ENOMEM, "%s: out of memory", spawn->file);
        return NULL;
    }
    if (start(spawn, detached, &child->pid, err) != 0) {
        free(child);
        return NULL;
    }
    child->loop = loop;
    child->owned = true;
    child->exited = exited;
    child->arg = arg;
    child->next = loop->children;
    loop->children = child;
    return child;
}

static void
unlink_child(struct ctr_child *child)
{
    struct ctr_child **at = &child->loop->children;
    while (*at != NULL && *at != child) {
        at = &(*at)->next;
    }
    if (*at != NULL) {
        *at = child->next;
    }
}

/* Tells one ended child; false when there is none. The callback may do anything to the list. */
static bool
tell_one(struct ctr_loop *loop)
{
    for (struct ctr_child *child = loop->children; child != NULL; child = child->next) {
        if (!child->ended || child->told) {
            continue;
        }
        child->told = true;
        unlink_child(child);
        if (!child->owned) {
            free(child);
        } else if (child->exited != NULL) {
            int status = child->status;
            bool killed = WIFSIGNALED(status);
            child->exited(child->arg, killed ? 0 : WEXITSTATUS(status),
                          killed ? WTERMSIG(status) : 0);
        }
        return true;
    }
    return false;
}

void
ctr_loop_reap(struct ctr_loop *loop)
{
    for (struct ctr_child *child = loop->children; child != NULL; child = child->next) {
        if (!child->ended && waitpid(child->pid, &child->status, WNOHANG) == child->pid) {
            child->ended = true;
        }
    }
    while (tell_one(loop)) {
    }
}

void
ctr_loop_drop_children(struct ctr_loop *loop)
{
    while (loop->children != NULL) {
        struct ctr_child *child = loop->children;
        loop->children = child->next;
        free(child);
    }
}

int32_t
ctr_child_pid(const struct ctr_child *child)
{
    return child->pid;
}

int
ctr_child_kill(struct ctr_child *child, int32_t signal)
{
    /* Not reaped yet, so the number is still this child's. */
    if (child->ended) {
        return -ESRCH;
    }
    return kill(child->pid, signal) == 0 ? 0 : -errno;
}

void
ctr_child_release(struct ctr_child *child)
{
    if (child == NULL) {
        return;
    }
    if (child->told) {
        free(child);
    } else {
        child->owned = false;
    }
}

void
ctr_child_forget(struct ctr_child *child)
{
    if (child != NULL) {
        (void) ctr_child_kill(child, SIGKILL);
        ctr_child_release(child);
    }
}
