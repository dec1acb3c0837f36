/*
 * One layer through a pipe into a plugin. A thread decompresses and checks it and writes into the pipe; the caller's thread
 * lets the plugin read from the other end. What the plugin made counts only when all agree: the blob, the diff_id, and the plugin
 * that it has read everything.
 */
#include "core/image/flow.h"
#include <fcntl.h>
#include <signal.h>

#define FLOW_PIPE (1 << 20)

struct flow {
    struct tail_reader *reader;
    const struct layer_source *source;
    int fd; /* write end */
    int rc;
    struct ctr_error err;
};

static int
flow_sink(void *arg, const void *bytes, size_t length, struct ctr_error *err)
{
    const struct flow *flow = arg;
    int rc = ctr_write_all(flow->fd, bytes, length);
    return rc < 0 ? ctr_fail(err, rc, "storage: %s", strerror(-rc)) : 0;
}

static void *
flow_thread(void *arg)
{
    struct flow *flow = arg;
    flow->rc = layer_follow(flow->reader, flow->source, flow_sink, flow, "Extracting", NULL,
                            &flow->err);
    (void) close(flow->fd);
    return NULL;
}

/* The thread has all signals blocked: a plugin that stops reading gives EPIPE, not SIGPIPE. */
static int
flow_start(struct flow *flow, int *ret_fd, pthread_t *ret_thread, struct ctr_error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return ctr_fail(err, -errno, "pipe: %s", strerror(errno));
    }
#ifdef F_SETPIPE_SZ
    (void) fcntl(ends[1], F_SETPIPE_SZ, FLOW_PIPE);
#endif
    flow->fd = ends[1];
    sigset_t all, before;
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(ret_thread, NULL, flow_thread, flow);
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        (void) close(ends[0]);
        (void) close(ends[1]);
        return ctr_fail(err, -code, "start a thread: %s", strerror(code));
    }
    *ret_fd = ends[0];
    return 0;
}

/* Is anything left to read? Waits for the writer's next bytes or its end. */
static bool
flow_has_more(int fd)
{
    char byte;
    size_t n = 0;
    return ctr_read_all(fd, &byte, 1, &n) == 0 && n > 0;
}

/* Which of the two ends is to blame? */
static int
flow_result(const struct flow *flow, int taken, bool more, const char *plugin,
            struct ctr_error *err)
{
    if (flow->rc < 0 && flow->rc != -EPIPE) {
        return ctr_fail(err, flow->rc, "%s", flow->err.msg);
    }
    if (taken < 0) {
        return ctr_prefix(err, "layer %.19s", flow->source->digest);
    }
    if (flow->rc == -EPIPE || more) {
        return ctr_fail(err, -EPROTO, "storage plugin %s did not read layer %.19s to its end",
                        plugin, flow->source->digest);
    }
    return 0;
}

int
flow_run(struct tail_reader *reader, const struct layer_source *source,
         int (*take)(void *arg, int fd, struct ctr_error *err), void *arg, const char *plugin,
         struct ctr_error *err)
{
    struct flow flow = {.reader = reader, .source = source, .err = CTR_ERROR_INIT};
    pthread_t thread;
    int fd = -1;
    ctr_transfer_step(&reader->op->transfer, source->digest, "Extracting", 0, source->size);
    int rc = flow_start(&flow, &fd, &thread, err);
    if (rc < 0) {
        return rc;
    }
    int taken = take(arg, fd, err);
    bool more = taken == 0 && flow_has_more(fd);
    (void) close(fd);
    if (taken < 0) {
        tail_stop(reader);
    }
    (void) pthread_join(thread, NULL);
    rc = flow_result(&flow, taken, more, plugin, err);
    if (rc == 0 || rc == -EBADMSG) {
        /* Good or bad, it says something only of the right bytes. */
        struct ctr_error inner = CTR_ERROR_INIT;
        int settled = tail_settle(reader, &inner);
        rc = settled < 0 ? ctr_fail(err, settled, "%s", inner.msg) : rc;
    }
    return rc;
}
