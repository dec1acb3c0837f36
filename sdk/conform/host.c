/*
 * The kit's host: options from an INI file, and a small poll loop with watches, timers, children and "work" that runs at once.
 * Everything that a plugin registers is in one list, so that what it forgets to take back is seen.
 */
#include "sdk/conform/conform.h"
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_HANDLES = 256, MAX_VALUES = 64 };

struct handle {
    enum { FREE = 0, WATCH, TIMER, CHILD, DONE } type;
    struct loop *loop;
    int fd;
    uint32_t events;
    int64_t due_ms;
    pid_t pid;
    void (*watch_cb)(void *, uint32_t);
    void (*plain_cb)(void *);
    void (*child_cb)(void *, int32_t, int32_t);
    void *arg;
};

struct loop {
    struct ctr_host host;
    struct conform *kit;
    struct handle handles[MAX_HANDLES];
    char names[MAX_VALUES][64], values[MAX_VALUES][1024];
    int n_values;
    char state_dir[256], run_dir[256], instance[32];
};

static int64_t
now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* --- options --- */

static int
on_value(void *user, const char *section, const char *name, const char *value)
{
    struct loop *loop = user;
    if (strcmp(section, "options") != 0 || loop->n_values == MAX_VALUES) {
        return 1;
    }
    snprintf(loop->names[loop->n_values], sizeof loop->names[0], "%s", name);
    snprintf(loop->values[loop->n_values], sizeof loop->values[0], "%s", value);
    loop->n_values++;
    return 1;
}

struct setting {
    const char *name;
    char *ret;
};

static int
on_setting(void *user, const char *section, const char *name, const char *value)
{
    struct setting *setting = user;
    if (strcmp(section, "conform") == 0 && strcmp(name, setting->name) == 0) {
        snprintf(setting->ret, 1024, "%s", value);
    }
    return 1;
}

const char *
conform_setting(const struct conform *kit, const char *name, const char *def, char *ret)
{
    struct setting setting = {.name = name, .ret = ret};
    snprintf(ret, 1024, "%s", def);
    if (kit->ini != NULL) {
        (void) ini_parse(kit->ini, on_setting, &setting);
    }
    return ret;
}

static const struct ctr_option *
find_option(const struct loop *loop, const char *name)
{
    const struct ctr_plugin *plugin = loop->kit->plugin;
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        if (strcmp(plugin->options[i].name, name) == 0) {
            return &plugin->options[i];
        }
    }
    return NULL;
}

static const char *
option_string(const struct ctr_host *host, const char *name)
{
    const struct loop *loop = host->ctx;
    const struct ctr_option *option = find_option(loop, name);
    for (int i = loop->n_values - 1; option != NULL && i >= 0; i--) {
        if (strcmp(loop->names[i], name) == 0) {
            return loop->values[i];
        }
    }
    return option != NULL ? option->def : NULL;
}

static int64_t
option_int(const struct ctr_host *host, const char *name)
{
    const char *text = option_string(host, name);
    if (text == NULL) {
        return 0;
    }
    char *end;
    int64_t value = strtoll(text, &end, 10);
    static const char units[] = "KMGT";
    const char *unit = *end != '\0' ? strchr(units, *end & ~0x20) : NULL;
    return unit != NULL ? value << (10 * (unit - units + 1)) : value;
}

static bool
option_bool(const struct ctr_host *host, const char *name)
{
    const char *text = option_string(host, name);
    return text != NULL && (strcmp(text, "true") == 0 || strcmp(text, "yes") == 0 ||
                            strcmp(text, "on") == 0 || strcmp(text, "1") == 0);
}

static void
host_log(const struct ctr_host *host, int32_t level, const char *message)
{
    struct conform *kit = ((const struct loop *) host->ctx)->kit;
    printf("     log %d: %s\n", level, message);
    kit->leaks += kit->secret != NULL && strstr(message, kit->secret) != NULL;
}

/* --- loop --- */

static struct handle *
handle_new(const struct ctr_host *host, int type, void *arg)
{
    struct loop *loop = host->ctx;
    for (int i = 0; i < MAX_HANDLES; i++) {
        if (loop->handles[i].type == FREE) {
            loop->handles[i] =
                (struct handle){.type = (unsigned) type, .loop = loop, .fd = -1, .arg = arg};
            return &loop->handles[i];
        }
    }
    errno = ENOMEM;
    return NULL;
}

static void
handle_free(void *handle)
{
    if (handle != NULL) {
        ((struct handle *) handle)->type = FREE;
    }
}

static struct ctr_watch *
watch_add(const struct ctr_host *host, int32_t fd, uint32_t events,
          void (*cb)(void *arg, uint32_t events), void *arg)
{
    struct handle *handle = handle_new(host, WATCH, arg);
    if (handle != NULL) {
        handle->fd = fd;
        handle->events = events;
        handle->watch_cb = cb;
    }
    return (struct ctr_watch *) handle;
}

static void
watch_set(struct ctr_watch *watch, uint32_t events)
{
    ((struct handle *) watch)->events = events;
}

static void
watch_remove(struct ctr_watch *watch)
{
    handle_free(watch);
}

static struct ctr_timer *
timer_add(const struct ctr_host *host, uint64_t ms, void (*cb)(void *arg), void *arg)
{
    struct handle *handle = handle_new(host, TIMER, arg);
    if (handle != NULL) {
        handle->due_ms = now_ms() + (int64_t) ms;
        handle->plain_cb = cb;
    }
    return (struct ctr_timer *) handle;
}

static void
timer_set(struct ctr_timer *timer, uint64_t ms)
{
    ((struct handle *) timer)->due_ms = now_ms() + (int64_t) ms;
}

static void
timer_remove(struct ctr_timer *timer)
{
    handle_free(timer);
}

static _Noreturn void
child_exec(const struct ctr_spawn *spawn)
{
    int high[64];
    if (spawn->n_fds > 64) {
        _exit(126);
    }
    for (uint32_t i = 0; i < spawn->n_fds; i++) {
        int fd = spawn->fds[i] >= 0 ? spawn->fds[i] : open("/dev/null", O_RDWR | O_CLOEXEC);
        high[i] = fcntl(fd, F_DUPFD_CLOEXEC, 128);
    }
    for (uint32_t i = 0; i < spawn->n_fds; i++) {
        dup2(high[i], (int) i);
    }
    static char *const empty[] = {NULL};
    execve(spawn->file, (char *const *) spawn->argv,
           spawn->envp != NULL ? (char *const *) spawn->envp : empty);
    _exit(127);
}

static struct ctr_child *
host_spawn(const struct ctr_host *host, const struct ctr_spawn *spawn,
           void (*exited)(void *arg, int32_t status, int32_t signal), void *arg,
           struct ctr_error *err)
{
    struct handle *handle = handle_new(host, CHILD, arg);
    if (handle == NULL) {
        ctr_fail(err, -ENOMEM, "too many handles");
        return NULL;
    }
    handle->child_cb = exited;
    handle->pid = fork();
    if (handle->pid == 0) {
        child_exec(spawn);
    }
    if (handle->pid < 0) {
        handle_free(handle);
        ctr_fail(err, -errno, "fork: %s", strerror(errno));
        return NULL;
    }
    return (struct ctr_child *) handle;
}

static int32_t
child_pid(const struct ctr_child *child)
{
    return ((const struct handle *) child)->pid;
}

static int
child_kill(struct ctr_child *child, int32_t signal)
{
    return kill(((struct handle *) child)->pid, signal) == 0 ? 0 : -errno;
}

static void
child_forget(struct ctr_child *child)
{
    struct handle *handle = (struct handle *) child;
    if (handle != NULL && handle->type == CHILD) {
        kill(handle->pid, SIGKILL);
        waitpid(handle->pid, NULL, 0);
    }
    handle_free(handle);
}

static int
host_work(const struct ctr_host *host, void (*work)(void *arg), void (*done)(void *arg),
          void *arg)
{
    struct handle *handle = handle_new(host, DONE, arg);
    if (handle == NULL) {
        return -ENOMEM;
    }
    handle->plain_cb = done;
    work(arg);
    return 0;
}

static void
handle_run(struct handle *handle, uint32_t ready)
{
    int status;
    void *arg = handle->arg;
    switch (handle->type) {
    case WATCH:
        if (ready != 0) {
            handle->watch_cb(arg, ready);
        }
        break;
    case TIMER:
        if (handle->due_ms <= now_ms()) {
            handle->due_ms = INT64_MAX;
            handle->plain_cb(arg);
        }
        break;
    case DONE:
        handle_free(handle);
        handle->plain_cb(arg);
        break;
    case CHILD:
        if (waitpid(handle->pid, &status, WNOHANG) == handle->pid) {
            handle->type = FREE;
            handle->child_cb(arg, WIFEXITED(status) ? WEXITSTATUS(status) : 0,
                             WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        }
        break;
    case FREE:
        break;
    }
}

static void
loop_turn(struct loop *loop)
{
    struct pollfd fds[MAX_HANDLES];
    for (int i = 0; i < MAX_HANDLES; i++) {
        const struct handle *handle = &loop->handles[i];
        int used = handle->type == WATCH && handle->events != 0;
        fds[i] = (struct pollfd){.fd = used ? handle->fd : -1};
        fds[i].events = (short) ((handle->events & CTR_READABLE ? POLLIN : 0) |
                                 (handle->events & CTR_WRITABLE ? POLLOUT : 0));
    }
    poll(fds, MAX_HANDLES, 5);
    for (int i = 0; i < MAX_HANDLES; i++) {
        uint32_t ready = (fds[i].revents & (POLLIN | POLLHUP | POLLERR) ? CTR_READABLE : 0) |
                         (fds[i].revents & (POLLOUT | POLLERR) ? CTR_WRITABLE : 0);
        handle_run(&loop->handles[i], ready & loop->handles[i].events);
    }
}

int
conform_host_run(struct ctr_host *host, int (*done)(void *arg), void *arg, int ms)
{
    int64_t end = now_ms() + ms;
    while (!done(arg)) {
        if (now_ms() >= end) {
            return 0;
        }
        loop_turn(host->ctx);
    }
    return 1;
}

struct ctr_host *
conform_host_create(struct conform *kit, const char *slot, int has_loop)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) {
        return NULL;
    }
    loop->kit = kit;
    snprintf(loop->state_dir, sizeof loop->state_dir, "%s/%s-state", kit->work, slot);
    snprintf(loop->run_dir, sizeof loop->run_dir, "%s/%s-run", kit->work, slot);
    snprintf(loop->instance, sizeof loop->instance, "%s", slot);
    if ((mkdir(loop->state_dir, 0700) != 0 && errno != EEXIST) ||
        (mkdir(loop->run_dir, 0700) != 0 && errno != EEXIST) ||
        (kit->ini != NULL && ini_parse(kit->ini, on_value, loop) != 0)) {
        fprintf(stderr, "ctr-conform: %s or %s cannot be used\n", kit->work, kit->ini);
        free(loop);
        return NULL;
    }
    loop->host = (struct ctr_host){
        .size = sizeof loop->host,
        .has_loop = (uint32_t) has_loop,
        .ctx = loop,
        .log = host_log,
        .option_string = option_string,
        .option_int = option_int,
        .option_bool = option_bool,
        .instance = loop->instance,
        .state_dir = loop->state_dir,
        .run_dir = loop->run_dir,
        .watch_add = watch_add,
        .watch_set = watch_set,
        .watch_remove = watch_remove,
        .timer_add = timer_add,
        .timer_set = timer_set,
        .timer_remove = timer_remove,
        .spawn = host_spawn,
        .child_pid = child_pid,
        .child_kill = child_kill,
        .child_forget = child_forget,
        .work = host_work,
    };
    return &loop->host;
}

void
conform_host_destroy(struct ctr_host *host)
{
    if (host == NULL) {
        return;
    }
    struct loop *loop = host->ctx;
    int left = 0;
    for (int i = 0; i < MAX_HANDLES; i++) {
        left += loop->handles[i].type != FREE;
    }
    conform_check(loop->kit, left == 0,
                  "%s: close() took back all watches, timers and children (%d left)",
                  loop->instance, left);
    free(loop);
}
