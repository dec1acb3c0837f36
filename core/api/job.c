/*
 * Long work beside its connection: see job.h.
 */
#include "core/api/job.h"
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <poll.h>
#include <sys/socket.h>

#define TELL_EVERY_NS 100000000ll

void
job_line(struct ctr_api_job *job, json_t *take_json)
{
    CTR_AUTO(free) char *text = take_json == NULL ? NULL : ctr_json_text(take_json);
    CTR_AUTO(free) char *line = text == NULL ? NULL : ctr_printf("%s\r\n", text);
    json_decref(take_json);
    size_t at = 0, length = line == NULL ? 0 : strlen(line);
    while (at < length && !atomic_load(&job->gone)) {
        ssize_t n = send(job->lines[1], line + at, length - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            atomic_store(&job->gone, true);
        }
        at += n > 0 ? (size_t) n : 0;
    }
}

static bool
is_soon(struct ctr_api_job *job, const char *id, const char *status)
{
    uint32_t hash = 2166136261u;
    for (const char *p = id; *p != '\0'; p++) {
        hash = (hash ^ (uint8_t) *p) * 16777619u;
    }
    for (const char *p = status; *p != '\0'; p++) {
        hash = (hash ^ (uint8_t) *p) * 16777619u;
    }
    int64_t now = ctr_monotonic_ns();
    size_t slot = hash % CTR_LENGTH(job->told);
    if (job->told[slot].hash == hash && now - job->told[slot].at < TELL_EVERY_NS) {
        return true;
    }
    job->told[slot].hash = hash;
    job->told[slot].at = now;
    return false;
}

static void
on_step(void *arg, const char *id, const char *status, uint64_t current, uint64_t total)
{
    struct ctr_api_job *job = arg;
    bool counting = total > 0 && current < total;
    if (strcmp(status, "Downloading") == 0 || strcmp(status, "Pull complete") == 0) {
        job->changed = true;
    }
    if (counting && is_soon(job, id, status)) {
        return;
    }
    json_t *line = json_pack("{s:s}", "status", status);
    if (total > 0) {
        (void) json_object_set_new(line, "progressDetail",
                                   json_pack("{s:I,s:I}", "current", (json_int_t) current,
                                             "total", (json_int_t) total));
    }
    if (*id != '\0') {
        (void) json_object_set_new(line, "id", json_string(id));
    }
    job_line(job, line);
}

static bool
is_cancelled(void *arg)
{
    struct ctr_api_job *job = arg;
    if (!atomic_load(&job->gone)) {
        struct pollfd fd = {.fd = job->lines[1], .events = 0};
        if (poll(&fd, 1, 0) > 0 && (fd.revents & (POLLHUP | POLLERR)) != 0) {
            atomic_store(&job->gone, true);
        }
    }
    return atomic_load(&job->gone);
}

struct ctr_api_job *
job_create(struct ctr_request *request,
           int (*work)(struct ctr_api_job *job, struct ctr_error *err), const char *reference,
           const char *platform, struct ctr_error *err)
{
    struct ctr_api_job *job = calloc(1, sizeof *job);
    char *one = strdup(reference), *two = strdup(platform);
    if (job == NULL || one == NULL || two == NULL) {
        free(job);
        free(one);
        free(two);
        (void) ctr_fail(err, -ENOMEM, "out of memory");
        return NULL;
    }
    job->reference = one;
    job->platform = two;
    job->engine = request->engine;
    job->client = request->client;
    job->work = work;
    job->lines[0] = job->lines[1] = job->input[0] = job->input[1] = -1;
    job->err = (struct ctr_error) CTR_ERROR_INIT;
    job->progress =
        (struct ctr_progress){.step = on_step, .cancelled = is_cancelled, .arg = job};
    return job;
}

static void *
job_main(void *arg)
{
    struct ctr_api_job *job = arg;
    if (job->work(job, &job->err) < 0 && job->err.code == 0) {
        (void) ctr_fail(&job->err, -EIO, "the work failed");
    }
    ctr_auto_fd(&job->input[0]);
    job->input[0] = -1;
    (void) shutdown(job->lines[1], SHUT_WR);
#ifdef __GLIBC__
    (void) malloc_trim(0); /* what layers took goes back to the system */
#endif
    return NULL;
}

static int
job_start(struct ctr_api_job *job, struct ctr_error *err)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, job->lines) < 0) {
        job->lines[0] = job->lines[1] = -1;
        return ctr_fail(err, -errno, "socket pair: %s", strerror(errno));
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, CTR_API_STACK);
    int rc = pthread_create(&job->thread, &attributes, job_main, job);
    pthread_attr_destroy(&attributes);
    job->running = rc == 0;
    return rc == 0 ? 0 : ctr_fail(err, -rc, "thread: %s", strerror(rc));
}

static void
job_join(struct ctr_api_job *job)
{
    if (job->running) {
        pthread_join(job->thread, NULL);
        job->running = false;
    }
}

void
api_job_drop(struct ctr_api_job *job)
{
    if (job == NULL) {
        return;
    }
    atomic_store(&job->gone, true);
    if (job->lines[0] >= 0) {
        (void) shutdown(job->lines[0], SHUT_RDWR);
    }
    ctr_auto_fd(&job->input[1]);
    job_join(job);
    ctr_auto_fd(&job->input[0]);
    ctr_auto_fd(&job->lines[0]);
    ctr_auto_fd(&job->lines[1]);
    free(job->reference);
    free(job->platform);
    free(job->path);
    json_decref(job->options);
    ctr_docker_auth_finish(&job->auth);
    free(job);
}

static ssize_t
job_next(void *arg, char *bytes, size_t max)
{
    struct ctr_api_job *job = arg;
    if (!job->running) {
        return 0; /* the last line was told */
    }
    if (api_wait(job->client, job->lines[0], -1) < 0) {
        return -EPIPE;
    }
    ssize_t n = recv(job->lines[0], bytes, max, 0);
    if (n > 0) {
        return n;
    }
    job_join(job);
    if (job->err.code == 0) {
        return 0;
    }
    if (job->raw) {
        ctr_log(CTR_LEVEL_ERROR, "archive=\"broken off\" error=\"%s\"", job->err.msg);
        return -EIO;
    }
    CTR_AUTO(free) char *message = ctr_printable(job->err.msg);
    CTR_AUTO(json)
    json_t *json =
        json_pack("{s:{s:s},s:s}", "errorDetail", "message", message == NULL ? "" : message,
                  "error", message == NULL ? "" : message);
    CTR_AUTO(free) char *text = ctr_json_text(json);
    int length = snprintf(bytes, max, "%s\r\n", text == NULL ? "{}" : text);
    return length < 0 || (size_t) length >= max ? -EIO : length;
}

static void
job_done(void *arg)
{
    api_job_drop(arg);
}

/* Answers the request from the job, which it takes. */
static int
job_answer(struct ctr_request *request, struct ctr_api_job *take_job, struct ctr_error *err)
{
    char first;
    if (api_wait(request->client, take_job->lines[0], -1) >= 0 &&
        recv(take_job->lines[0], &first, 1, MSG_PEEK) <= 0) {
        job_join(take_job);
        if (take_job->err.code != 0) { /* nothing was said before it failed: a status */
            *err = take_job->err;
            api_job_drop(take_job);
            return err->code;
        }
    }
    return api_stream(request, take_job->raw ? "application/x-tar" : "application/json",
                      job_next, job_done, take_job);
}

int
job_run(struct ctr_request *request, struct ctr_api_job *take_job, struct ctr_error *err)
{
    if (take_job == NULL) {
        return err->code;
    }
    if (job_start(take_job, err) < 0) {
        api_job_drop(take_job);
        return err->code;
    }
    return job_answer(request, take_job, err);
}

/* --- a body that is streamed into the work --- */

int
job_begin_body(struct ctr_request *request, struct ctr_api_job *take_job, struct ctr_error *err)
{
    if (take_job == NULL) {
        return err->code;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, take_job->input) < 0) {
        take_job->input[0] = take_job->input[1] = -1;
        (void) ctr_fail(err, -errno, "socket pair: %s", strerror(errno));
    } else if (job_start(take_job, err) == 0) {
        request->job = take_job;
        return 0;
    }
    api_job_drop(take_job);
    return err->code;
}

void
api_job_bytes(struct ctr_request *request, const char *bytes, size_t n)
{
    struct ctr_api_job *job = request->job;
    while (n > 0 && job->input[1] >= 0) {
        ssize_t sent = send(job->input[1], bytes, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) { /* the work has failed already: the rest is dropped */
            (void) close(ctr_steal_fd(&job->input[1]));
            return;
        }
        bytes += sent;
        n -= (size_t) sent;
    }
}

int
job_answer_body(struct ctr_request *request, struct ctr_error *err)
{
    struct ctr_api_job *job = ctr_steal(&request->job);
    if (job->input[1] >= 0) {
        (void) close(ctr_steal_fd(&job->input[1]));
    }
    return job_answer(request, job, err);
}
