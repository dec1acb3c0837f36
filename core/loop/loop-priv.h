/*
 * core/loop, inside: what the loop, its handles and its children share.
 */
#ifndef CTR_LOOP_PRIV_H
#define CTR_LOOP_PRIV_H

#include "core/loop/loop.h"
#include <uv.h>

struct ctr_post {
    struct ctr_post *next;
    void (*fn)(void *arg);
    void *arg;
};

struct ctr_loop {
    uv_loop_t uv;
    uv_async_t wake; /* keeps the loop alive and runs the posts */
    uv_signal_t child_signal;
    uv_mutex_t mutex; /* guards posts */
    struct ctr_post *posts, **posts_end;
    struct ctr_child *children; /* not yet reaped, or ended and not yet told */
};

/* Reaps and tells; called on SIGCHLD. */
void ctr_loop_reap(struct ctr_loop *loop);
/* Frees the records of all children; what still runs lives on. */
void ctr_loop_drop_children(struct ctr_loop *loop);
/* For uv_close: frees the handle's memory, which `data` points to. */
void ctr_loop_free_handle(uv_handle_t *handle);

#endif
