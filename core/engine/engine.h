/*
 * core/engine: containers, images and networks of one profile, in words of our own. core/api puts them into Docker's.
 *
 * Every call may come from any thread and may block, except where it says "loop's thread". One mutex guards the tables; what takes
 * long (pull, unpack, clone, spawn) runs outside of it with the container marked busy. References to containers are a name,
 * an ID or a unique prefix of one.
 *
 * Result codes, which the API turns into status codes: -ENOENT no such container, image, exec or network; -EEXIST or -EBUSY a
 * conflict; -EINVAL the request is wrong; -EALREADY nothing to do; -ECANCELED the client gave up; all else: our or the host's trouble.
 */
#ifndef CTR_ENGINE_H
#define CTR_ENGINE_H

#include "core/image/image.h"
#include "core/net/net.h"
#include "core/sandbox/sandbox.h"

struct ctr_engine;

/* Loop's thread, before it runs. Opens the store (-EBUSY: another ctrd has this data root), storage instances and the registry
 * chain, and finds running sandboxes again. `bin` is the folder of ctrd, ctr-sandbox and ctr-net. */
int ctr_engine_create(struct ctr_loop *loop, const struct ctr_conf *conf, const char *bin,
                      struct ctr_engine **ret, struct ctr_error *err);
/* Ends waits: they return at once from now on. Any thread, idempotent. */
void ctr_engine_quit(struct ctr_engine *engine);
/* Loop's thread, after it ran and all other threads are done. Containers live on. Takes NULL. */
void ctr_engine_destroy(struct ctr_engine *engine);

/* Prints what the profile's VMM can do for guests of `arch` as one JSON line (ctrd --describe-vmm); returns the exit status. */
int ctr_engine_describe_vmm(const struct ctr_conf *conf, const char *arch);

/* --- containers --- */

/* Makes a container. `spec` (borrowed):
 *   {"image":TEXT,"platform":TEXT,"entrypoint":[…]|null,"cmd":[…]|null,"env":["K=V"],"working_dir","user","hostname",
 *    "labels":{K:V},"tty":B,"open_stdin":B,"stdin_once":B,"attach":[in,out,err],"stop_signal":TEXT,"stop_timeout":SECONDS,
 *    "memory":BYTES,"cpus":N,"network":NAME,"endpoints":[{"network","ip","ip6","mac","aliases":[…],"mtu"}],"dns":[…],"dns_search":[…],"dns_options":[…],
 *    "extra_hosts":["name:ip"],"publish":[{proto,host_address,host_port,port}],"publish_all":B,
 *    "expose":["80/tcp"],"tmpfs":[{path,options}],"read_only":B,"shm_size":BYTES,"auto_remove":B,"rows":N,"cols":N,
 *    "storage":NAME,"kernel":PATH}
 * "network" is what the user named first ("default", "none", NAME), "endpoints" all networks to join at creation, that one among them (absent: it alone).
 * Absent members have Docker's defaults. On failure nothing is left. ret_warnings: new reference, an array of sentences. */
int ctr_engine_container_create(struct ctr_engine *engine, const char *name, const json_t *spec,
                                char ret_id[65], json_t **ret_warnings, struct ctr_error *err);
/* 0 when the process runs. -EALREADY if it ran already. ret_exit (may be NULL): 125, 126 or 127 when the guest could not
 * run the program. */
int ctr_engine_container_start(struct ctr_engine *engine, const char *ref, int *ret_exit,
                               struct ctr_error *err);
/* signal 0: the container's stop signal. timeout in seconds; CTR_TIMEOUT_DEFAULT: the container's. Returns when it has ended. */
#define CTR_TIMEOUT_DEFAULT INT64_MIN
int ctr_engine_container_stop(struct ctr_engine *engine, const char *ref, int signal,
                              int64_t timeout, struct ctr_error *err);
int ctr_engine_container_kill(struct ctr_engine *engine, const char *ref, int signal,
                              struct ctr_error *err);
int ctr_engine_container_restart(struct ctr_engine *engine, const char *ref, int signal,
                                 int64_t timeout, struct ctr_error *err);
int ctr_engine_container_remove(struct ctr_engine *engine, const char *ref, bool force,
                                struct ctr_error *err);
int ctr_engine_container_rename(struct ctr_engine *engine, const char *ref, const char *name,
                                struct ctr_error *err);
int ctr_engine_container_resize(struct ctr_engine *engine, const char *ref, int rows, int cols,
                                struct ctr_error *err);
/* {"id","name","spec":{as merged with the image},"args":[…],"image":{"reference","id","digest","chain_id"},"state":"created|running|exited",
 *  "busy":TEXT,"created_at":NS,"started_at":NS,"finished_at":NS,"exit_code":N,"reason":TEXT,"error":TEXT,"pid":N,
 *  "endpoints":[…as ctr_nets_endpoints],"published":[…while it is up], "vmm":TEXT,"accel":TEXT,"hardware":B,"folder":PATH}; new reference. */
json_t *
ctr_engine_container_inspect(struct ctr_engine *engine, const char *ref, struct ctr_error *err);
/* The same for all, newest first. */
json_t *ctr_engine_container_list(struct ctr_engine *engine, bool all, struct ctr_error *err);
/* {"memory_host","memory_guest","cpu_ns",…} as the sandbox tells, and "networks" as ctr_nets_stats; new reference. */
json_t *
ctr_engine_container_stats(struct ctr_engine *engine, const char *ref, struct ctr_error *err);

/* A raw stream to the container's process as core/sandbox/sandbox.h says. Before the start it waits for it, so that no byte
 * is lost. The caller owns *ret_fd. */
int ctr_engine_container_attach(struct ctr_engine *engine, const char *ref, bool in, bool out,
                                bool errors, int *ret_fd, bool *ret_tty, struct ctr_error *err);

/* --- waiting: for a container, its log, or events --- */

enum ctr_wait_condition {
    CTR_WAIT_NOT_RUNNING,
    CTR_WAIT_NEXT_EXIT,
    CTR_WAIT_REMOVED,
};
struct ctr_waiter;
int ctr_engine_wait_begin(struct ctr_engine *engine, const char *ref,
                          enum ctr_wait_condition condition, struct ctr_waiter **ret,
                          struct ctr_error *err);
/* Readable when something has changed; stays so until the next check. */
int ctr_waiter_fd(const struct ctr_waiter *waiter);
/* 1: the condition holds: code and error (valid as long as the waiter) are set; 0: not yet; -ECANCELED: the engine quits. */
int ctr_waiter_check(struct ctr_waiter *waiter, int *ret_code, const char **ret_error);
/* Its log, open for reading, `tail` as in ctr_log_open. ret_waiter's condition holds when no more can come. */
int
ctr_engine_container_logs(struct ctr_engine *engine, const char *ref, int64_t tail,
                          struct ctr_log_reader **ret_reader, struct ctr_waiter **ret_waiter,
                          bool *ret_tty, struct ctr_error *err);
/* Events from now on: {"type","action","id","name","image","exit_code","attributes":{K:TEXT},"time":NS}. Type "network": connect, disconnect (attributes container, name, type) and
 * refuse (container, proto, address, port, host, count: what the rules of --egress deny held back), lost and restored (its ctr-net). */
int
ctr_engine_events(struct ctr_engine *engine, struct ctr_waiter **ret, struct ctr_error *err);
/* The next event (new reference) or NULL: none yet, wait for the fd. *ret_end: the engine quits. */
json_t *ctr_waiter_event(struct ctr_waiter *waiter, bool *ret_end);
void ctr_waiter_end(struct ctr_waiter *waiter); /* takes NULL */

/* --- exec --- */

/* spec: {"args":[…],"env":[…],"working_dir","user","tty":B,"in":B,"out":B,"err":B}. The container must run. */
int ctr_engine_exec_create(struct ctr_engine *engine, const char *ref, const json_t *spec,
                           char ret_id[65], struct ctr_error *err);
/* Runs it. ret_fd: the raw stream, caller owns; -1 when detached. */
int ctr_engine_exec_start(struct ctr_engine *engine, const char *id, bool detach, int rows,
                          int cols, int *ret_fd, bool *ret_tty, struct ctr_error *err);
/* Waits, a few seconds at most, for the end of an exec whose stream has ended. */
void ctr_engine_exec_settle(struct ctr_engine *engine, const char *id);
int ctr_engine_exec_resize(struct ctr_engine *engine, const char *id, int rows, int cols,
                           struct ctr_error *err);
/* {"id","container","spec","running":B,"exit_code":N or absent,"pid":N}; new reference. */
json_t *
ctr_engine_exec_inspect(struct ctr_engine *engine, const char *id, struct ctr_error *err);

/* --- images: core/image with the engine's platform, storages and containers filled in --- */

/* pull->storage NULL: the default instance, unless all platforms are wanted. */
int ctr_engine_pull(struct ctr_engine *engine, const struct ctr_pull *pull,
                    const struct ctr_progress *progress, char ret_digest[72],
                    struct ctr_error *err);
/* The image calls of core/image/image.h that need nothing but the images are made on these. */
struct ctr_images *ctr_engine_images(struct ctr_engine *engine);
json_t *ctr_engine_image_verify(struct ctr_engine *engine, const char *ref, bool heal,
                                const struct ctr_progress *progress, struct ctr_error *err);
int ctr_engine_image_prune(struct ctr_engine *engine, const struct ctr_prune *prune,
                           json_t **ret, struct ctr_error *err);
/* ctr_images_usage's object, "containers":N in each image, and "containers":[{"id","name","state","bytes"}]. */
json_t *ctr_engine_usage(struct ctr_engine *engine, struct ctr_error *err);
/* Removes all containers that have ended and fit the filters; {"containers":[ids],"bytes":N}. */
int ctr_engine_container_prune(struct ctr_engine *engine, const json_t *filters, json_t **ret,
                               struct ctr_error *err);
int ctr_engine_load_fd(struct ctr_engine *engine, int fd, const struct ctr_progress *progress,
                       void (*loaded)(void *arg, const char *reference), void *arg,
                       struct ctr_error *err);
int ctr_engine_load_path(struct ctr_engine *engine, const char *path,
                         const struct ctr_progress *progress,
                         void (*loaded)(void *arg, const char *reference), void *arg,
                         struct ctr_error *err);
/* [{"id","digest","references":[…],"size","created":TEXT,"arch","os","variant","labels":{},"config":{…},"layers":[diff ids],"containers":N}] */
json_t *ctr_engine_image_list(struct ctr_engine *engine, struct ctr_error *err);
json_t *ctr_engine_image_inspect(struct ctr_engine *engine, const char *ref,
                                 const char *platform, struct ctr_error *err);
int ctr_engine_image_tag(struct ctr_engine *engine, const char *from, const char *to,
                         struct ctr_error *err);
/* *ret: [{"Untagged"|"Deleted": TEXT}], new reference. */
int ctr_engine_image_remove(struct ctr_engine *engine, const char *ref, bool force,
                            json_t **ret, struct ctr_error *err);

/* --- networks, and the engine itself --- */

json_t *ctr_engine_network_list(struct ctr_engine *engine, struct ctr_error *err);
json_t *ctr_engine_network_inspect(struct ctr_engine *engine, const char *network,
                                   struct ctr_error *err);
/* As ctr_nets_add. */
int ctr_engine_network_create(struct ctr_engine *engine, const json_t *request, char ret_id[65],
                              struct ctr_error *err);
/* -EBUSY names a container, also one that does not run. */
int ctr_engine_network_remove(struct ctr_engine *engine, const char *network,
                              struct ctr_error *err);
/* A container joins or leaves a network, whether it runs or not; `endpoint` as ctr_nets_join. A running one has its new interface and names when this returns 0;
 * without a spare port left: -EBUSY, "restart it". Without the endpoint: -ENOENT, on that network already: -EEXIST. `force`: also of a container that is gone. */
int ctr_engine_network_connect(struct ctr_engine *engine, const char *network, const char *ref,
                               const json_t *endpoint, struct ctr_error *err);
int ctr_engine_network_disconnect(struct ctr_engine *engine, const char *network,
                                  const char *ref, bool force, struct ctr_error *err);
/* Removes networks that no container is on and that fit the filters (docker's label and until); {"networks":[names]}. */
int ctr_engine_network_prune(struct ctr_engine *engine, const json_t *filters, json_t **ret,
                             struct ctr_error *err);
/* As ctr_nets_capture; container NULL: all. */
int ctr_engine_network_capture(struct ctr_engine *engine, const char *network, const char *ref,
                               int64_t count, int *ret_fd, struct ctr_error *err);
/* {"profile","file","data","run","version","arch","id","containers","running","stopped","images","storage","storages":[…],"net","registry":[…],
 *  "vmm":{"plugin","accel","hardware","version","error"},"kernel","warnings":[…]} */
json_t *ctr_engine_info(struct ctr_engine *engine, struct ctr_error *err);
/* What the plugin folders hold, each with "used": [instances]. */
json_t *ctr_engine_plugins(struct ctr_engine *engine, struct ctr_error *err);
/* The profile's values as they are in force. */
json_t *ctr_engine_profile(struct ctr_engine *engine, struct ctr_error *err);
/* Stops all containers and the networks' processes (ctrctl system stop --all). */
int ctr_engine_stop_all(struct ctr_engine *engine, struct ctr_error *err);

#endif
