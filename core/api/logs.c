/*
 * A container's log as Docker streams it: raw for a terminal, else in frames { stream 1|2, 0, 0, 0, length u32 big-endian }.
 *
 * With timestamps every line begins with its time; a line may be split over records, so each stream remembers whether it is at
 * a line's begin.
 */
#include "core/api/api-priv.h"
#include <poll.h>

struct logs {
    struct ctr_log_reader *reader;
    struct ctr_waiter *waiter;
    int client;
    bool tty, follow, timestamps, out, err, ended;
    bool mid_line[3];
    int64_t since, until;
    struct ctr_buf pending;
};

static void
put_frame(struct logs *logs, int stream, const char *prefix, const char *bytes, size_t n)
{
    size_t length = strlen(prefix) + n;
    uint8_t head[8] = {(uint8_t) stream,
                       0,
                       0,
                       0,
                       (uint8_t) (length >> 24),
                       (uint8_t) (length >> 16),
                       (uint8_t) (length >> 8),
                       (uint8_t) length};
    if (!logs->tty) {
        ctr_buf_add(&logs->pending, head, sizeof head);
    }
    ctr_buf_puts(&logs->pending, prefix);
    ctr_buf_add(&logs->pending, bytes, n);
}

static void
put_record(struct logs *logs, const struct ctr_log_record *record)
{
    char time[48] = "";
    bool wanted = record->stream == 2 ? logs->err : logs->out || logs->tty;
    if (!wanted || record->time_ns < logs->since ||
        (logs->until > 0 && record->time_ns > logs->until)) {
        return;
    }
    if (!logs->timestamps) {
        put_frame(logs, record->stream, "", record->bytes, record->length);
        return;
    }
    char formatted[40];
    (void) snprintf(time, sizeof time, "%s ", ctr_format_time(record->time_ns, formatted));
    bool *mid_line = &logs->mid_line[record->stream == 2 ? 2 : 1];
    for (size_t at = 0; at < record->length;) {
        const char *end = memchr(record->bytes + at, '\n', record->length - at);
        size_t n = end == NULL ? record->length - at : (size_t) (end - record->bytes) + 1 - at;
        put_frame(logs, record->stream, *mid_line ? "" : time, record->bytes + at, n);
        *mid_line = end == NULL;
        at += n;
    }
}

/* Waits for more: 1 look again, 0 the end, or a negative code. */
static int
wait_for_more(struct logs *logs)
{
    int code;
    const char *error;
    int rc = ctr_waiter_check(logs->waiter, &code, &error);
    if (rc < 0 || logs->ended) {
        return 0;
    }
    if (rc > 0) {
        logs->ended = true; /* once more: what was written until the end */
        return 1;
    }
    int notify = ctr_log_fd(logs->reader);
    if (notify < 0) {
        rc = api_wait(logs->client, ctr_waiter_fd(logs->waiter), 100);
        return rc < 0 ? rc : 1;
    }
    struct pollfd fds[3] = {{.fd = notify, .events = POLLIN},
                            {.fd = ctr_waiter_fd(logs->waiter), .events = POLLIN},
                            {.fd = logs->client, .events = 0}};
    while (poll(fds, 3, -1) < 0) {
        if (errno != EINTR) {
            return -errno;
        }
    }
    return (fds[2].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0 ? -EPIPE : 1;
}

static ssize_t
logs_next(void *arg, char *bytes, size_t max)
{
    struct logs *logs = arg;
    while (logs->pending.length == 0) {
        struct ctr_log_record record;
        struct ctr_error err = CTR_ERROR_INIT;
        int rc = ctr_log_next(logs->reader, &record, &err);
        if (rc < 0) {
            ctr_log(CTR_LEVEL_WARN, "log error=\"%s\"", err.msg);
            return rc;
        }
        if (rc > 0) {
            put_record(logs, &record);
            continue;
        }
        rc = logs->follow ? wait_for_more(logs) : 0;
        if (rc <= 0) {
            return rc;
        }
    }
    if (logs->pending.failed) {
        return -ENOMEM;
    }
    size_t n = logs->pending.length < max ? logs->pending.length : max;
    memcpy(bytes, logs->pending.data, n);
    ctr_buf_consume(&logs->pending, n);
    return (ssize_t) n;
}

static void
logs_done(void *arg)
{
    struct logs *logs = arg;
    ctr_log_close(logs->reader);
    ctr_waiter_end(logs->waiter);
    ctr_buf_clear(&logs->pending);
    free(logs);
}

/* "seconds", "seconds.nanoseconds" or RFC 3339. */
static int
parse_moment(struct ctr_request *request, const char *key, int64_t *ret, struct ctr_error *err)
{
    const char *text = api_query(request, key);
    char seconds[24];
    size_t length = strcspn(text, ".");
    int64_t whole, part = 0;
    if (*text == '\0' || strcmp(text, "0") == 0) {
        return 0;
    }
    if (text[length] == '.' && length < sizeof seconds && strlen(text + length + 1) == 9 &&
        strspn(text, "0123456789.") == strlen(text)) {
        memcpy(seconds, text, length);
        seconds[length] = '\0';
        if (ctr_parse_int(seconds, 0, INT32_MAX * 4ll, &whole) == 0 &&
            ctr_parse_int(text + length + 1, 0, 999999999, &part) == 0) {
            *ret = whole * 1000000000 + part;
            return 0;
        }
    }
    return ctr_parse_time(text, ret) < 0
               ? ctr_fail(err, -EINVAL, "parameter %s is no time: \"%.60s\"", key, text)
               : 0;
}

int
api_logs(struct ctr_request *request, struct ctr_error *err)
{
    const char *tail_text = api_query(request, "tail");
    int64_t tail = -1;
    bool all = *tail_text == '\0' || strcmp(tail_text, "all") == 0;
    if (!all && api_query_int(request, "tail", -1, INT32_MAX, -1, &tail, err) < 0) {
        return err->code;
    }
    struct logs *logs = calloc(1, sizeof *logs);
    if (logs == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    logs->client = request->client;
    logs->follow = api_query_bool(request, "follow", false);
    logs->timestamps = api_query_bool(request, "timestamps", false);
    logs->out = api_query_bool(request, "stdout", false);
    logs->err = api_query_bool(request, "stderr", false);
    int rc = 0;
    if (!logs->out && !logs->err) {
        rc = ctr_fail(err, -EINVAL,
                      "Bad parameters: you must choose at least one stream (stdout, stderr)");
    }
    rc = rc < 0 ? rc : parse_moment(request, "since", &logs->since, err);
    rc = rc < 0 ? rc : parse_moment(request, "until", &logs->until, err);
    rc = rc < 0 ? rc
                : ctr_engine_container_logs(request->engine, request->capture, tail,
                                            &logs->reader, &logs->waiter, &logs->tty, err);
    if (rc < 0) {
        logs_done(logs);
        return rc;
    }
    return api_stream(request,
                      logs->tty ? "application/vnd.docker.raw-stream"
                                : "application/vnd.docker.multiplexed-stream",
                      logs_next, logs_done, logs);
}
