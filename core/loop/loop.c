/*
 * The loop itself: running, stopping, posts from other threads, the work pool.
 *
 * Every libuv handle's `data` points to the memory that holds it, so that destroying the loop can close and free whatever
 * its owners left behind.
 */
#include "core/loop/loop-priv.h"
#include <signal.h>

void
ctr_loop_free_handle(uv_handle_t *handle)
{
    free(handle->data);
}

static void
on_wake(uv_async_t *wake)
{
    struct ctr_loop *loop = wake->loop->data;
    uv_mutex_lock(&loop->mutex);
    struct ctr_post *post = loop->posts;
    loop->posts = NULL;
    loop->posts_end = &loop->posts;
    uv_mutex_unlock(&loop->mutex);
    while (post != NULL) {
        struct ctr_post *next = post->next;
        void (*fn)(void *arg) = post->fn;
        void *arg = post->arg;
        free(post);
        fn(arg);
        post = next;
    }
}

static void
on_child_signal(uv_signal_t *handle, int signal)
{
    ctr_loop_reap(handle->loop->data);
}

/* The two handles that every loop has. They are part of struct ctr_loop: nothing to free. */
static int
init_handles(struct ctr_loop *loop)
{
    int code = uv_async_init(&loop->uv, &loop->wake, on_wake);
    if (code == 0) {
        code = uv_signal_init(&loop->uv, &loop->child_signal);
    }
    if (code == 0) {
        code = uv_signal_start(&loop->child_signal, on_child_signal, SIGCHLD);
    }
    loop->wake.data = NULL;
    loop->child_signal.data = NULL;
    return code;
}

int
ctr_loop_create(struct ctr_loop **ret, struct ctr_error *err)
{
    struct ctr_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) {
        return ctr_fail(err, -ENOMEM, "event loop: out of memory");
    }
    loop->posts_end = &loop->posts;
    int code = uv_mutex_init(&loop->mutex);
    if (code != 0) {
        goto fail_mutex;
    }
    code = uv_loop_init(&loop->uv);
    if (code != 0) {
        goto fail_loop;
    }
    loop->uv.data = loop;
    code = init_handles(loop);
    if (code != 0) {
        ctr_loop_destroy(loop);
        return ctr_fail(err, code, "event loop: %s", uv_strerror(code));
    }
    (void) signal(SIGPIPE, SIG_IGN);
    *ret = loop;
    return 0;

fail_loop:
    uv_mutex_destroy(&loop->mutex);
fail_mutex:
    free(loop);
    return ctr_fail(err, code, "event loop: %s", uv_strerror(code));
}

static void
close_handle(uv_handle_t *handle, void *arg)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, ctr_loop_free_handle);
    }
}

void
ctr_loop_destroy(struct ctr_loop *loop)
{
    if (loop == NULL) {
        return;
    }
    uv_walk(&loop->uv, close_handle, NULL);
    while (uv_loop_close(&loop->uv) == UV_EBUSY) {
        (void) uv_run(&loop->uv, UV_RUN_ONCE);
        uv_walk(&loop->uv, close_handle, NULL);
    }
    ctr_loop_drop_children(loop);
    while (loop->posts != NULL) {
        struct ctr_post *next = loop->posts->next;
        free(loop->posts);
        loop->posts = next;
    }
    uv_mutex_destroy(&loop->mutex);
    free(loop);
}

void
ctr_loop_run(struct ctr_loop *loop)
{
    (void) uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void
ctr_loop_stop(struct ctr_loop *loop)
{
    uv_stop(&loop->uv);
}

int
ctr_loop_post(struct ctr_loop *loop, void (*fn)(void *arg), void *arg)
{
    struct ctr_post *post = malloc(sizeof *post);
    if (post == NULL) {
        return -ENOMEM;
    }
    *post = (struct ctr_post){.fn = fn, .arg = arg};
    uv_mutex_lock(&loop->mutex);
    *loop->posts_end = post;
    loop->posts_end = &post->next;
    uv_mutex_unlock(&loop->mutex);
    (void) uv_async_send(&loop->wake);
    return 0;
}

struct work {
    uv_work_t request;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

static void
on_work(uv_work_t *request)
{
    struct work *work = request->data;
    work->work(work->arg);
}

static void
on_done(uv_work_t *request, int status)
{
    struct work *work = request->data;
    void (*done)(void *arg) = work->done;
    void *arg = work->arg;
    free(work);
    if (done != NULL) {
        done(arg);
    }
}

int
ctr_loop_work(struct ctr_loop *loop, void (*work)(void *arg), void (*done)(void *arg),
              void *arg)
{
    struct work *job = malloc(sizeof *job);
    if (job == NULL) {
        return -ENOMEM;
    }
    *job = (struct work){.work = work, .done = done, .arg = arg};
    job->request.data = job;
    int code = uv_queue_work(&loop->uv, &job->request, on_work, on_done);
    if (code != 0) {
        free(job);
    }
    return code;
}
