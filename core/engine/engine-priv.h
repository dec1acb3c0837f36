/*
 * core/engine, inside: the tables and who may touch what.
 *
 * `lock` guards every field that is not set once in ctr_engine_create. A container is in the table from its create call on and
 * is freed when it is out of the table and nobody holds it (refs). `busy` names the one operation that runs on it outside of
 * the lock. A link is the control connection to its sandbox and belongs to the loop's thread; `live` tells the others that a
 * sandbox process may exist. Lock order: net_lock of a container, engine lock, then nothing (the store, ctr_nets and others have
 * locks of their own, and are called outside of ours).
 */
#ifndef CTR_ENGINE_PRIV_H
#define CTR_ENGINE_PRIV_H

#include "core/engine/engine.h"
#include <pthread.h>

#define CTR_EVENTS_KEPT 256
#define CTR_EXECS_MAX 1024
#define CTR_PENDING_MAX 16 /* the sandbox's limit too */
#define CTR_CONTAINERS_MAX 4096
#define CTR_LINE_MAX (1024u * 1024) /* one line from a sandbox */

enum ctr_state { CTR_STATE_CREATED, CTR_STATE_RUNNING, CTR_STATE_EXITED };

/* A client that attached before the start. */
struct ctr_pending {
    int fd;
    bool in, out, err;
};

struct ctr_link;

struct ctr_container {
    struct ctr_engine *engine;
    struct ctr_container *next;
    int refs;
    char id[65];
    char *name;
    char *folder;  /* DATA/containers/ID */
    json_t *spec;  /* merged; frozen after create, as are the next three */
    json_t *args;  /* entrypoint and command */
    json_t *image; /* {"reference","id","digest","chain_id"} */
    char *arch;    /* the machine's */
    bool tty, auto_remove;

    const char *busy; /* NULL, or what is done with it: "create", "start", "remove", … */
    bool ready;       /* create is over: listed and found */
    bool removed;     /* out of the table */
    bool forgotten;   /* its record is gone for good; under record_lock */
    enum ctr_state state;
    int64_t created_at, started_at, finished_at;
    int exit_code;
    char reason[24];
    char error[512];
    unsigned exits; /* ends seen, for waiting on the next one */
    char vmm[64], accel[24];
    bool hardware;

    bool live;      /* a sandbox process may exist */
    bool ended;     /* this run's end is recorded */
    bool networked; /* its network ports must be given back when the sandbox is gone */
    bool queued;    /* waits for the janitor */
    struct ctr_container *queue_next;
    int start_result; /* while starting: 1 not known yet, 0 runs, else a negative code */
    int start_exit;
    pid_t pid; /* the sandbox's, with its start time; 0: not known */
    uint64_t pid_start;
    struct ctr_link *link;
    struct ctr_pending *pending;
    size_t n_pending;
    pthread_mutex_t net_lock; /* around each call of ctr_nets for it: they come one at a time */
};

struct ctr_exec {
    struct ctr_exec *next;
    char id[65], container[65];
    json_t *spec;
    bool started, exited;
    int exit_code, pid;
    bool tty;
};

enum ctr_waiter_kind { CTR_WAITER_CONTAINER, CTR_WAITER_LOGS, CTR_WAITER_EVENTS };

struct ctr_waiter {
    struct ctr_engine *engine;
    struct ctr_waiter *next;
    enum ctr_waiter_kind kind;
    struct ctr_container *container; /* held; NULL for events */
    enum ctr_wait_condition condition;
    unsigned exits;
    uint64_t cursor; /* next event */
    int fds[2];      /* [0] for the reader, [1] is written */
    char error[512];
};

/* What a VMM told about guests of one architecture. */
struct ctr_probe {
    char arch[16];
    json_t *info; /* NULL: not asked yet, or it failed */
};

struct ctr_engine {
    const struct ctr_conf *conf;
    struct ctr_loop *loop;
    char *bin, *prefix;
    struct ctr_store *store;
    struct ctr_chain *chain;
    struct ctr_images *images;
    struct ctr_nets *nets;
    struct ctr_storage **storages;
    size_t n_storages;
    struct ctr_platform platform;
    json_t *plugins; /* the descriptors, as --describe-plugins printed them */
    pthread_t loop_thread;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct ctr_container *containers;
    size_t n_containers;
    struct ctr_exec *execs;
    size_t n_execs;
    struct ctr_waiter *waiters;
    json_t *events[CTR_EVENTS_KEPT];
    uint64_t n_events;
    struct ctr_container *queue; /* for the janitor, held */
    pthread_t janitor, mender;
    bool has_janitor, has_mender;
    bool quit, warned;

    pthread_mutex_t probe_lock;
    pthread_mutex_t
        record_lock; /* around what is written into a container's record; taken before `lock` */
    struct ctr_probe probes[4];
};

/* --- engine.c --- */
void ctr_engine_lock(struct ctr_engine *engine);
void ctr_engine_unlock(struct ctr_engine *engine);
/* Wakes all who wait for a change. Locked. */
void ctr_engine_changed(struct ctr_engine *engine);
/* Waits for a change, at most until `deadline` (ctr_monotonic_ns). Locked. False: the time is over or the engine quits. */
bool ctr_engine_wait(struct ctr_engine *engine, int64_t deadline);
/* Runs fn(arg) on the loop's thread and waits for it; must not be called with the lock held. */
int ctr_engine_on_loop(struct ctr_engine *engine, void (*fn)(void *arg), void *arg,
                       struct ctr_error *err);
/* Makes any code that the API would misread (-ENOENT, -EEXIST, …) one that says "our trouble". */
int ctr_engine_internal(struct ctr_error *err);

/* --- plugins.c --- */
int ctr_engine_plugins_load(struct ctr_engine *engine, struct ctr_error *err);
/* The path of a plugin's file, borrowed; NULL with err. */
const char *ctr_engine_plugin_path(struct ctr_engine *engine, int kind, const char *name,
                                   struct ctr_error *err);
/* What the VMM can do: {"caps","port_kinds","max_cpus","max_disks","accel","version","hardware"}; borrowed, lives as long as the
 * engine. Asked once in a process of its own, again after a failure. */
const json_t *
ctr_engine_probe(struct ctr_engine *engine, const char *arch, struct ctr_error *err);

/* --- table.c --- */
struct ctr_container *ctr_container_new(struct ctr_engine *engine, const char *id);
/* Locked: the container that `ref` means, held; NULL with -ENOENT or -EINVAL (ambiguous). */
struct ctr_container *
ctr_container_find(struct ctr_engine *engine, const char *ref, struct ctr_error *err);
/* Not locked: the ID of the container that `ref` means. */
int ctr_container_id(struct ctr_engine *engine, const char *ref, char ret_id[65],
                     struct ctr_error *err);
void ctr_container_hold(struct ctr_container *container);    /* locked */
void ctr_container_release(struct ctr_container *container); /* locked; takes NULL */
void ctr_container_insert(struct ctr_container *container);  /* locked */
void ctr_container_drop(struct ctr_container *container);    /* locked: out of the table */
/* Locked: finds it and marks it busy once no other operation runs; -ENOENT if it vanished meanwhile. Held; end with
 * ctr_container_idle and release. */
struct ctr_container *ctr_container_claim(struct ctr_engine *engine, const char *ref,
                                          const char *what, struct ctr_error *err);
/* Locked. The operation is over: a container with --rm whose run ended meanwhile is removed now. */
void ctr_container_idle(struct ctr_container *container);
/* Locked: ends what clients attached before a start that will not come. */
void ctr_container_close_pending(struct ctr_container *container);
/* Locked: waits until nobody is left of an earlier run. */
int ctr_container_wait_gone(struct ctr_container *container, struct ctr_error *err);
/* Locked: start with the claim held, for restart. */
int ctr_container_start_claimed(struct ctr_container *container, int *ret_exit,
                                struct ctr_error *err);
bool ctr_container_name_taken(struct ctr_engine *engine, const char *name, char ret_id[65]);
/* The record, and writing it (not locked: it takes the lock while it copies). phase: "creating" or "ready". */
int
ctr_container_save(struct ctr_container *container, const char *phase, struct ctr_error *err);
struct ctr_container *
ctr_container_from_record(struct ctr_engine *engine, const char *id, const json_t *record);
json_t *ctr_container_json(struct ctr_container *container); /* locked */
const char *ctr_state_name(enum ctr_state state);
/* Copies a text from outside: no control characters, cut at a whole character. */
void ctr_text_copy(char *to, size_t size, const char *from);
struct ctr_storage *ctr_engine_storage(struct ctr_engine *engine, const char *name);
/* "/run/…/s/ID.sock" cut to fit a socket address; caller frees. */
char *ctr_container_socket(struct ctr_container *container);

/* --- prune.c --- */
/* What a container's disk takes on the host; `container` is ctr_container_json's. 0 if that is not known. Not locked. */
uint64_t ctr_container_bytes(struct ctr_engine *engine, const json_t *container);

/* --- merge.c --- */
/* Docker's rules of merging an image's config into a request. Both new references. */
int ctr_spec_merge(const json_t *request, const json_t *image_config, const char *id,
                   const struct ctr_conf_engine *defaults, json_t **ret_spec, json_t **ret_args,
                   struct ctr_error *err);
/* The environment of a process: defaults, then the container's, then `extra`. New reference. */
json_t *ctr_spec_env(const json_t *spec, bool tty, const json_t *extra);

/* --- stop.c --- */
/* Disk, addresses and folder of a container that has no record (any more). What fails is logged and left to the next start. Not
 * locked. */
void ctr_container_dispose(struct ctr_engine *engine, const char *id);
/* Removes a container that was claimed with "remove". Not locked. */
int ctr_container_finish_remove(struct ctr_container *container, struct ctr_error *err);

/* --- janitor.c: what follows the end of a sandbox --- */
int ctr_janitor_start(struct ctr_engine *engine, struct ctr_error *err);
void ctr_janitor_stop(struct ctr_engine *engine);
/* Queues it: the port goes back, the record is written, --rm removes. Locked, any thread. */
void ctr_container_after_end(struct ctr_container *container);

/* --- machine.c --- */
struct ctr_launch {
    struct ctr_container *container;
    json_t *disks;
    json_t *network; /* the guest's */
    struct ctr_attachment *ports;
    size_t n_ports;
    int64_t spare_ports;
    int control, log_fd, lock_fd; /* the daemon's end of fd 3 */
    int sandbox_control;          /* the sandbox's end */
    struct ctr_pending *pending;
    size_t n_pending;
};
/* Writes FOLDER/sandbox.json for a launch. */
int
ctr_machine_write(struct ctr_engine *engine, struct ctr_launch *launch, struct ctr_error *err);
/* The machine's kernel and initramfs exist: 0 or an error that says what to do. Callers free. */
int ctr_machine_kernel(struct ctr_engine *engine, const char *arch, const json_t *spec,
                       char **ret_kernel, char **ret_initramfs, struct ctr_error *err);

/* --- link.c: loop's thread --- */
int ctr_link_create(struct ctr_container *container, int take_fd, struct ctr_error *err);
void ctr_link_destroy(struct ctr_link *link); /* not locked; takes NULL */
/* Whether a sandbox of this container lives: it holds the lock on FOLDER/lock. Any thread. */
bool ctr_sandbox_is_alive(const struct ctr_container *container);
/* Finds the sandboxes of a data root again, at the daemon's start. */
int ctr_link_adopt(struct ctr_container *container, struct ctr_error *err);
/* Locked: records the end of the present run. */
void ctr_container_set_exit(struct ctr_container *container, int code, const char *reason,
                            const char *error, int64_t finished_at);
/* A connection to a running container's sandbox that has sent `request` and got {"ok":…} (new reference in ret_ok, may be NULL); the
 * caller owns the fd. Not locked. */
int ctr_sandbox_call(struct ctr_container *container, const json_t *request, json_t **ret_ok,
                     struct ctr_error *err);
/* The same, when the answer brings a descriptor, which the caller owns; the connection is closed. */
int ctr_sandbox_take(struct ctr_container *container, const json_t *request, int *ret_fd,
                     struct ctr_error *err);
/* The same, for what only has to be done. */
int ctr_sandbox_do(struct ctr_container *container, const json_t *request, json_t **ret_ok,
                   struct ctr_error *err);
/* Ends a sandbox process by its identity, with its group. */
void ctr_sandbox_kill(pid_t pid, uint64_t start_time);

/* --- endpoint.c: a container's networks; not locked --- */
/* Joins all networks of its spec; on failure it may be on some. */
int ctr_container_join(struct ctr_container *container, struct ctr_error *err);
/* A container of an older data root gets its endpoint. */
int ctr_container_migrate(struct ctr_container *container, struct ctr_error *err);
/* Ports for a start, and what the guest is told. */
int ctr_container_net_up(struct ctr_launch *launch, struct ctr_error *err);
/* Found running: as it was. */
int ctr_container_net_adopt(struct ctr_container *container, struct ctr_error *err);
int ctr_container_net_down(struct ctr_container *container, struct ctr_error *err);
/* Adds "endpoints" and "published" to what ctr_container_json gave. */
int ctr_container_add_endpoints(struct ctr_engine *engine, json_t *container,
                                struct ctr_error *err);

/* --- connect.c; not locked --- */
bool ctr_container_runs(struct ctr_container *container);
/* The end of a claim: idle, released. */
void ctr_container_let_go(struct ctr_container *container);
/* A running machine's ports as its sandbox tells them; new reference. */
json_t *ctr_sandbox_ports(struct ctr_container *container, struct ctr_error *err);
/* The guest sets up its network as it is now. */
int ctr_guest_tell(struct ctr_container *container, struct ctr_error *err);
/* Gives a claimed container that runs an interface for an endpoint, one of ctr_nets_endpoints; if that fails the endpoint is gone. One that ended
 * meanwhile keeps it, like one that does not run. */
int ctr_endpoint_attach(struct ctr_container *container, const json_t *endpoint,
                        struct ctr_error *err);

/* --- mend.c --- */
/* Finishes or undoes what the daemon's end interrupted, for all that run; on a thread of its own. */
int ctr_mender_start(struct ctr_engine *engine, struct ctr_error *err);
void ctr_mender_stop(struct ctr_engine *engine);

/* --- networks.c --- */
struct ctr_nets_hooks ctr_engine_net_hooks(struct ctr_engine *engine);

/* --- events.c --- */
/* Locked. Takes the event, which may be NULL. */
void ctr_engine_tell(struct ctr_engine *engine, json_t *take_event);
/* Locked. */
void ctr_engine_event(struct ctr_engine *engine, const char *type, const char *action,
                      const char *id, const char *name, const char *image, int exit_code);
void ctr_container_event(struct ctr_container *container, const char *action);

#endif
