/*
 * child.c: from clone to exec, in the new process. Whatever fails is told to ctr-init over the status socket as a struct fault.
 *
 * Order matters: into the root, then the terminal (from the container's own devpts), then nothing but the three descriptors is
 * left open, then user and working directory, then confinement, and the look for the program as the user who will run it.
 */
#include "process.h"
#include "root.h"
#include "users.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One message, with a descriptor if fd >= 0. */
static int
tell(int status, const void *bytes, size_t length, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = (void *) bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    return sendmsg(status, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static int
open_terminal(const struct spec *spec, int status, struct fault *fault)
{
    int master = root_open_terminal(fault);
    if (master < 0) {
        return -1;
    }
    struct winsize size = {.ws_row = spec->rows, .ws_col = spec->cols};
    int unlock = 0;
    int slave = -1;
    if (ioctl(master, TIOCSPTLCK, &unlock) == 0) {
        slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    }
    if (slave < 0 || ioctl(slave, TIOCSWINSZ, &size) < 0 || ioctl(slave, TIOCSCTTY, 0) < 0) {
        return fault_errno(fault, "EIO", "open a terminal");
    }
    if (tell(status, "t", 1, master) < 0 || dup2(slave, 0) < 0 || dup2(slave, 1) < 0 ||
        dup2(slave, 2) < 0) {
        return fault_errno(fault, "EIO", "hand over the terminal");
    }
    (void) close(master);
    (void) close(slave);
    return 0;
}

/* Makes 0, 1, 2 the process's own and closes all else but *status, which becomes 3. */
static int
set_stdio(const struct spec *spec, const int stdio[3], int *status, struct fault *fault)
{
    if (spec->tty && open_terminal(spec, *status, fault) < 0) {
        return -1;
    }
    for (int i = 0; i < 3 && !spec->tty; i++) {
        if (dup2(stdio[i], i) < 0) {
            return fault_errno(fault, "EIO", "set up standard input and output");
        }
    }
    if (*status != 3 && dup3(*status, 3, O_CLOEXEC) < 0) {
        return fault_errno(fault, "EIO", "set up standard input and output");
    }
    *status = 3;
    (void) syscall(SYS_close_range, 4u, ~0u, 0u);
    return 0;
}

/* The user must be able to open /dev/stdout again: pipes and terminals are given to it. */
static void
give_stdio(const struct user *user)
{
    for (int i = 0; i < 3; i++) {
        struct stat st;
        if (fstat(i, &st) == 0 && st.st_uid != user->uid &&
            (S_ISFIFO(st.st_mode) || isatty(i))) {
            (void) !fchown(i, user->uid, S_ISFIFO(st.st_mode) ? user->gid : st.st_gid);
        }
    }
}

/* mkdir -p inside the root, as docker makes a missing working directory. */
static int
make_cwd(const char *cwd, struct fault *fault)
{
    char path[PATH_MAX];
    if (cwd[0] != '/' || (size_t) snprintf(path, sizeof path, "%s", cwd) >= sizeof path) {
        return fault_set(fault, "EINVAL",
                         "the working directory %.200s is not absolute or too long", cwd);
    }
    for (char *slash = root_is_private ? path + 1 : NULL; slash != NULL;) {
        slash = strchr(slash, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
        if (mkdir(path, 0755) < 0 && errno != EEXIST && errno != EROFS) {
            return fault_errno(fault, "EINVAL", "mkdir %.200s", path);
        }
        if (slash != NULL) {
            *slash++ = '/';
        }
    }
    return 0;
}

static int
enter_cwd(const char *cwd, struct fault *fault)
{
    char path[PATH_MAX];
    if (chdir(cwd) < 0) {
        return fault_errno(fault, "EINVAL",
                           "chdir to cwd (\"%.200s\") set in config.json failed", cwd);
    }
    if (getcwd(path, sizeof path) == NULL || path[0] != '/') {
        return fault_set(fault, "EINVAL", "the working directory %.200s is outside of the root",
                         cwd);
    }
    return 0;
}

/* --- the program --- */

static const char *
get_env(const char **env, const char *name)
{
    size_t n = strlen(name);
    for (; *env != NULL; env++) {
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=') {
            return *env + n + 1;
        }
    }
    return NULL;
}

/* 0 if it is a file that somebody may execute, else an errno. */
static int
executable(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        return errno;
    }
    if (S_ISDIR(st.st_mode)) {
        return EISDIR;
    }
    return (st.st_mode & 0111) == 0 ? EACCES : 0;
}

static const char *
code_of(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
        return "ENOENT";
    case EISDIR:
        return "EISDIR";
    case ENOEXEC:
        return "ENOEXEC";
    case EACCES:
    case EPERM:
        return "EACCES";
    default:
        return "EINVAL";
    }
}

static int
find_program(const struct spec *spec, char path[PATH_MAX], struct fault *fault)
{
    const char *name = spec->args[0];
    if (strchr(name, '/') != NULL) {
        int number = executable(name);
        if (number == 0 && (size_t) snprintf(path, PATH_MAX, "%s", name) < PATH_MAX) {
            return 0;
        }
        if (number == EACCES || number == EISDIR) {
            /* execve says EACCES of a folder; docker clients before 23 make 126 of those words alone */
            return fault_set(fault, code_of(number), "exec: \"%.200s\": %s%s", name,
                             number == EISDIR ? "is a directory: " : "", fault_reason(EACCES));
        }
        number = number == 0 ? ENAMETOOLONG : number;
        return fault_set(fault, code_of(number), "exec: \"%.200s\": stat %.200s: %s", name,
                         name, fault_reason(number));
    }
    const char *search = get_env(spec->env, "PATH");
    if (search == NULL) {
        search = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    }
    while (*name != '\0' && search != NULL) {
        size_t n = strcspn(search, ":");
        int length = snprintf(path, PATH_MAX, "%.*s/%s", n == 0 ? 1 : (int) n,
                              n == 0 ? "." : search, name);
        if (length > 0 && length < PATH_MAX && executable(path) == 0) {
            return 0;
        }
        search = search[n] == ':' ? search + n + 1 : NULL;
    }
    return fault_set(fault, "ENOENT", "exec: \"%.200s\": executable file not found in $PATH",
                     name);
}

/* The environment with HOME, if the description has none. */
static const char **
with_home(const struct spec *spec, const struct user *user)
{
    static char home[sizeof user->home + 5];
    const char *given = get_env(spec->env, "HOME");
    if (given != NULL && *given != '\0') {
        return spec->env;
    }
    size_t n = 0;
    while (spec->env[n] != NULL) {
        n++;
    }
    const char **env = calloc(n + 2, sizeof *env);
    if (env == NULL) {
        return spec->env;
    }
    (void) snprintf(home, sizeof home, "HOME=%s", user->home);
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (strncmp(spec->env[i], "HOME=", 5) != 0) {
            env[count++] = spec->env[i];
        }
    }
    env[count] = home;
    return env;
}

static int
run(const struct spec *spec, const int stdio[3], int *status, struct fault *fault)
{
    static struct user user;
    char path[PATH_MAX];
    if (root_enter(spec, fault) < 0 || set_stdio(spec, stdio, status, fault) < 0 ||
        user_resolve(spec->user, &user, fault) < 0 || make_cwd(spec->cwd, fault) < 0) {
        return -1;
    }
    give_stdio(&user);
    const char **env = with_home(spec, &user);
    (void) umask(022);
    if (root_confine(&user, fault) < 0 || enter_cwd(spec->cwd, fault) < 0 ||
        find_program(spec, path, fault) < 0) {
        return -1;
    }
    (void) execve(path, (char *const *) spec->args, (char *const *) env);
    int number = errno;
    return fault_set(fault, code_of(number), "exec %.300s: %s", path,
                     number == ENOEXEC ? "exec format error" : fault_reason(number));
}

void
child_main(const struct spec *spec, const int stdio[3], int status)
{
    struct fault fault = {.code = "EIO"};
    sigset_t none;
    (void) sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);
    (void) signal(SIGPIPE, SIG_DFL);
    (void) prctl(PR_SET_DUMPABLE, 0);
    (void) setsid();
    (void) run(spec, stdio, &status, &fault);
    (void) tell(status, &fault, sizeof fault, -1);
    _exit(127);
}
