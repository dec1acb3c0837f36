/*
 * core/loop: the event loop (libuv) of ctrd, ctr-sandbox and ctr-net. Alone includes uv.h.
 *
 * All calls on the loop's thread, except ctr_loop_post. Callbacks never run inside the call that registered them.
 */
#ifndef CTR_LOOP_H
#define CTR_LOOP_H

#include "core/base/base.h"
#include <ctr/plugin.h>

struct ctr_loop;

/* Also makes the process ignore SIGPIPE. */
int ctr_loop_create(struct ctr_loop **ret, struct ctr_error *err);
/* Takes NULL. Closes what is left, waits for work that runs (its `done` is called), drops posts; children live on. Child records that
 * were not forgotten or released are gone with it. */
void ctr_loop_destroy(struct ctr_loop *loop);
void ctr_loop_run(struct ctr_loop *loop); /* until ctr_loop_stop */
void ctr_loop_stop(struct ctr_loop *loop);
/* Runs fn(arg) on the loop's thread soon. Any thread. 0 or -ENOMEM. */
int ctr_loop_post(struct ctr_loop *loop, void (*fn)(void *arg), void *arg);

/* The handles of <ctr/plugin.h>: the same structs serve the core and, through ctr_host, plugins. A watched fd becomes non-blocking;
 * an error or hang-up of the fd is reported as the events that were asked for. NULL on failure, with errno. */
struct ctr_watch *ctr_watch_add(struct ctr_loop *loop, int fd, uint32_t events,
                                void (*cb)(void *arg, uint32_t events), void *arg);
void ctr_watch_set(struct ctr_watch *watch, uint32_t events);
void ctr_watch_remove(struct ctr_watch *watch);
struct ctr_timer *
ctr_timer_add(struct ctr_loop *loop, uint64_t ms, void (*cb)(void *arg), void *arg);
void ctr_timer_set(struct ctr_timer *timer, uint64_t ms);
void ctr_timer_remove(struct ctr_timer *timer);
/* detached: a session of its own, which outlives this process and its terminal; flags: enum ctr_spawn_flags. The
 * record stays valid after exited() until forget or release; both may be called inside it. Descriptors 0 to 2 are /dev/null
 * unless given. */
struct ctr_child *
ctr_child_spawn(struct ctr_loop *loop, const struct ctr_spawn *spawn, bool detached,
                void (*exited)(void *arg, int32_t status, int32_t signal), void *arg,
                struct ctr_error *err);
int32_t ctr_child_pid(const struct ctr_child *child);
int ctr_child_kill(struct ctr_child *child, int32_t signal);
void
ctr_child_forget(struct ctr_child *child); /* no callback any more; kills it if it still runs */
void ctr_child_release(
    struct ctr_child *child); /* no callback any more; lets it live (it is still reaped) */
/* Calls cb(arg, signal) on the loop's thread for SIGINT, SIGTERM, SIGHUP. */
int ctr_signal_watch(struct ctr_loop *loop, int signal, void (*cb)(void *arg, int signal),
                     void *arg, struct ctr_error *err);
int ctr_loop_work(struct ctr_loop *loop, void (*work)(void *arg), void (*done)(void *arg),
                  void *arg);

#endif
