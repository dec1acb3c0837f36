/*
 * Processes: the environment that ours get, and telling one from a later one with the same number: by the kernel's start time, and by pidfd where
 * there is one.
 */
#include "core/base/base.h"
#include <signal.h>
#ifdef __APPLE__
#include <crt_externs.h>
#include <libproc.h>
#define environ (*_NSGetEnviron())
#else
#include <sys/syscall.h>
extern char **environ;
#endif

const char **
ctr_child_environment(void)
{
    static const char *const names[] = {
        "PATH=",        "HOME=",    "LANG=",         "TMPDIR=",        "XDG_RUNTIME_DIR=",
        "CTR_DATA=",    "CTR_RUN=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS=",
        "TSAN_OPTIONS="};
    size_t total = 0, n = 0;
    while (environ[total] != NULL) {
        total++;
    }
    const char **list = calloc(total + 1, sizeof *list);
    for (size_t i = 0; i < total && list != NULL; i++) {
        for (size_t k = 0; k < CTR_LENGTH(names); k++) {
            if (ctr_starts_with(environ[i], names[k])) {
                list[n++] = environ[i];
                break;
            }
        }
    }
    return list;
}

#ifdef __APPLE__
uint64_t
ctr_process_start_time(pid_t pid)
{
    struct proc_bsdinfo info;
    int n = pid > 0 ? proc_pidinfo(pid, PROC_PIDTBSDINFO, 0, &info, sizeof info) : 0;
    return n == (int) sizeof info
               ? info.pbi_start_tvsec * UINT64_C(1000000) + info.pbi_start_tvusec
               : 0;
}
#else
uint64_t
ctr_process_start_time(pid_t pid)
{
    char path[48];
    CTR_AUTO(free) char *text = NULL;
    (void) snprintf(path, sizeof path, "/proc/%d/stat", (int) pid);
    if (pid <= 0 || ctr_read_file(path, 4096, &text, NULL, NULL) != 0) {
        return 0;
    }
    /* Field 2 is the name in brackets and may hold anything; field 22 is the start time. */
    const char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    return at == NULL ? 0 : strtoull(at + 1, NULL, 10);
}
#endif

static int
open_pidfd(pid_t pid)
{
#ifdef SYS_pidfd_open
    return (int) syscall(SYS_pidfd_open, pid, 0);
#else
    errno = ENOSYS;
    return -1;
#endif
}

static int
send_signal(int pidfd, pid_t pid, int signal)
{
#ifdef SYS_pidfd_send_signal
    if (pidfd >= 0) {
        return (int) syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
    }
#endif
    return kill(pid, signal);
}

int
ctr_process_signal(pid_t pid, uint64_t start_time, int signal)
{
    if (pid <= 0 || start_time == 0) {
        return -ESRCH;
    }
    /* The pidfd holds whoever has the number now; only then is it certain that the start time is that process's. */
    CTR_AUTO(fd) int pidfd = open_pidfd(pid);
    if (pidfd < 0 && errno != ENOSYS) {
        return -errno;
    }
    if (ctr_process_start_time(pid) != start_time) {
        return -ESRCH;
    }
    return send_signal(pidfd, pid, signal) == 0 ? 0 : -errno;
}
