/*
 * ctr/plugin.h: what every plugin exports, and the services that the host gives to it.
 *
 * A plugin is one shared object that exports one const object named `ctr_plugin`, made by CTR_PLUGIN().
 * The major ABI number must match; a plugin with a lower or higher minor number loads. Every struct
 * begins with its size; fields are only ever appended; the host copies the smaller of the two sizes into a
 * zeroed struct and then tests for NULL. A plugin calls nothing of ctr but what it gets in `struct ctr_host`
 * (and the static SDK library), so that it links with -Wl,-z,defs.
 *
 * Threads: the kind's header says for each slot on which thread it is called. `storage` and `registry`
 * slots are called on a worker thread and may block, one call at a time per instance. `vmm` and `net` slots
 * are called on the loop's thread and must not block longer than a second.
 */
#ifndef CTR_PLUGIN_H
#define CTR_PLUGIN_H

#include <ctr/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CTR_PLUGIN_MAGIC 0x4354524cU /* "CTRL" */
#define CTR_ABI_MAJOR 1
#define CTR_ABI_MINOR 2

enum ctr_kind {
    CTR_KIND_REGISTRY = 1,
    CTR_KIND_STORAGE = 2,
    CTR_KIND_NET = 3,
    CTR_KIND_VMM = 4,
};

enum ctr_option_type {
    CTR_OPTION_STRING = 1, /* any text */
    CTR_OPTION_PATH = 2,   /* text; a leading ~/ becomes the user's home */
    CTR_OPTION_INT = 3,    /* decimal, between min and max */
    CTR_OPTION_BOOL = 4,   /* true|false|yes|no|on|off|1|0 */
    CTR_OPTION_SIZE = 5,   /* bytes, with an optional suffix K, M, G, T (powers of 1024) */
    CTR_OPTION_CHOICE = 6, /* one of `choices`, separated by '|' */
};

/* One key that the plugin takes in its profile section. The table is const and lives as long as the plugin. */
struct ctr_option {
    uint32_t size; /* sizeof(struct ctr_option) */
    int32_t type;  /* enum ctr_option_type */
    const char *name;
    const char *def;     /* default as it would be written, or NULL: absent unless given */
    const char *choices; /* for CTR_OPTION_CHOICE, else NULL */
    int64_t min, max;    /* for INT and SIZE; both 0: no limits */
    const char *help;    /* one line */
};

struct ctr_plugin {
    uint32_t magic; /* CTR_PLUGIN_MAGIC */
    uint16_t abi_major, abi_minor;
    uint32_t size;    /* sizeof(struct ctr_plugin) */
    uint32_t kind;    /* enum ctr_kind */
    const char *name; /* as the profile names it, [a-z][a-z0-9-]{0,31} */
    const char *version;
    const char *help; /* one line */
    const struct ctr_option *options;
    uint32_t n_options;
    uint32_t reserved;
    const void *ops; /* struct ctr_<kind>_ops, beginning with its size */
};

#define CTR_EXPORT __attribute__((visibility("default")))

/* Defines the exported object. Use: CTR_PLUGIN(CTR_KIND_STORAGE, "mem", "1.0", "help", options, &ops); */
#define CTR_PLUGIN(kind_, name_, version_, help_, options_, ops_)                              \
    CTR_EXPORT const struct ctr_plugin ctr_plugin = {                                          \
        .magic = CTR_PLUGIN_MAGIC,                                                             \
        .abi_major = CTR_ABI_MAJOR,                                                            \
        .abi_minor = CTR_ABI_MINOR,                                                            \
        .size = sizeof(struct ctr_plugin),                                                     \
        .kind = (kind_),                                                                       \
        .name = (name_),                                                                       \
        .version = (version_),                                                                 \
        .help = (help_),                                                                       \
        .options = (options_),                                                                 \
        .n_options = sizeof(options_) / sizeof((options_)[0]),                                 \
        .ops = (ops_),                                                                         \
    }

enum ctr_log_level {
    CTR_LOG_ERROR = 1, /* someone must act */
    CTR_LOG_WARN = 2,
    CTR_LOG_INFO = 3,
    CTR_LOG_DEBUG = 4,
};

enum ctr_watch_events {
    CTR_READABLE = 1,
    CTR_WRITABLE = 2,
};

enum ctr_spawn_flags {
    CTR_SPAWN_DIE_WITH_PARENT =
        1, /* SIGKILL when the host process ends, where the system can (Linux) */
    CTR_SPAWN_NO_NEW_PRIVS = 2, /* the child never gains privileges by execve (Linux) */
};

/* A child process to start. All memory is the plugin's and need only live during the call. */
struct ctr_spawn {
    uint32_t size; /* sizeof(struct ctr_spawn) */
    uint32_t n_fds;
    const char *file;        /* absolute path */
    const char *const *argv; /* NULL-terminated, argv[0] included */
    const char *const *envp; /* NULL-terminated; NULL: an empty environment */
    const int32_t *
        fds; /* fds[i] becomes descriptor i of the child; -1: /dev/null. All others are closed. */
    uint32_t uid,
        gid; /* 0: keep those of the host process; else supplementary groups are dropped too */
    uint32_t flags; /* set of enum ctr_spawn_flags */
    uint32_t reserved;
};

struct ctr_watch;
struct ctr_timer;
struct ctr_child;

/*
 * The host's services. Valid from open() until close() returned. `log` and the option getters may be called from
 * any thread; all others only on the loop's thread and only where `has_loop` is true (vmm and net plugins).
 * Callbacks run on the loop's thread, never inside the call that registered them.
 */
struct ctr_host {
    uint32_t size;     /* sizeof(struct ctr_host) */
    uint32_t has_loop; /* 1 where the loop's services exist */
    void *ctx;         /* the host's own */

    /* Writes one line to the host's log; never credentials. */
    void (*log)(const struct ctr_host *host, int32_t level, const char *message);

    /* The instance's options, parsed and checked against the plugin's table. An option without a value and
     * without a default is NULL, 0 or false. Strings live until close(). A name not in the table is NULL, 0, false. */
    const char *(*option_string)(const struct ctr_host *host, const char *name);
    int64_t (*option_int)(const struct ctr_host *host, const char *name); /* INT and SIZE */
    bool (*option_bool)(const struct ctr_host *host, const char *name);

    const char *instance; /* the profile's name of this instance, e.g. "default", "fast" */
    const char *
        state_dir; /* absolute; a folder of this instance's own on disk, exists, 0700; NULL for vmm and net */
    const char *run_dir; /* absolute; a folder for sockets, exists, 0700 */

    /* Calls cb(arg, events) while fd is ready. NULL on failure (errno). The fd stays the plugin's. */
    struct ctr_watch *(*watch_add)(const struct ctr_host *host, int32_t fd, uint32_t events,
                                   void (*cb)(void *arg, uint32_t events), void *arg);
    void (*watch_set)(struct ctr_watch *watch, uint32_t events); /* 0: paused */
    void (*watch_remove)(struct ctr_watch *watch); /* before the fd is closed; takes NULL */

    /* Calls cb(arg) once after `ms` milliseconds; the timer stays until removed. */
    struct ctr_timer *(*timer_add)(const struct ctr_host *host, uint64_t ms,
                                   void (*cb)(void *arg), void *arg);
    void (*timer_set)(struct ctr_timer *timer, uint64_t ms); /* arms it again */
    void (*timer_remove)(struct ctr_timer *timer);           /* takes NULL */

    /* Starts a child; exited(arg, status, signal) is called once when it ended. NULL on failure, see err. */
    struct ctr_child *(*spawn)(const struct ctr_host *host, const struct ctr_spawn *spawn,
                               void (*exited)(void *arg, int32_t status, int32_t signal),
                               void *arg, struct ctr_error *err);
    int32_t (*child_pid)(const struct ctr_child *child);
    int (*child_kill)(struct ctr_child *child,
                      int32_t signal); /* 0, or -ESRCH once it has ended */
    void (*child_forget)(
        struct ctr_child *child); /* no callback any more; kills it if it runs; takes NULL */

    /* Runs work(arg) on the pool, then done(arg) on the loop's thread. 0 or a negative code. */
    int (*work)(const struct ctr_host *host, void (*work)(void *arg), void (*done)(void *arg),
                void *arg);
};

#endif
