/*
 * A small QMP client on one socket: greeting, capabilities, events, and one command at a time that waits for its answer for at
 * most a second. A guest that broke into QEMU may send anything here: lines are bounded, JSON is parsed by jansson, and
 * nothing that is not understood has an effect.
 */
#include "qemu-priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES (256 * 1024)
#define CALL_MS 1000

static int64_t
now_ms(void)
{
    struct timespec now;
    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int
send_command(struct qmp *qmp, const char *command, json_t *take_arguments, int64_t id)
{
    json_t *message = json_pack("{s:s, s:I, s:o*}", "execute", command, "id", (json_int_t) id,
                                "arguments", take_arguments);
    char *text = message == NULL ? NULL : json_dumps(message, JSON_COMPACT);
    json_decref(message);
    if (text == NULL) {
        return -ENOMEM;
    }
    size_t length = strlen(text);
    text[length] = '\n'; /* in place of the NUL */
    ssize_t n = send(qmp->fd, text, length + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    free(text);
    return n == (ssize_t) length + 1 ? 0 : -EIO;
}

static void
on_greeting(struct qmp *qmp, const json_t *greeting)
{
    const json_t *version = json_object_get(json_object_get(greeting, "version"), "qemu");
    (void) snprintf(qmp->version, sizeof qmp->version, "qemu %d.%d.%d",
                    (int) json_integer_value(json_object_get(version, "major")),
                    (int) json_integer_value(json_object_get(version, "minor")),
                    (int) json_integer_value(json_object_get(version, "micro")));
    qmp->broken = send_command(qmp, "qmp_capabilities", NULL, 0) < 0;
    qmp->ready = true; /* commands may follow at once */
    qmp->event(qmp->arg, "greeting", NULL);
}

static void
on_line(struct qmp *qmp, const char *line, size_t length)
{
    json_t *message = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
    const char *event = json_string_value(json_object_get(message, "event"));
    const json_t *greeting = json_object_get(message, "QMP");
    const json_t *id = json_object_get(message, "id");
    if (greeting != NULL && !qmp->ready) {
        on_greeting(qmp, greeting);
    } else if (event != NULL) {
        qmp->event(qmp->arg, event, json_object_get(message, "data"));
    } else if (qmp->awaited != 0 && json_integer_value(id) == qmp->awaited) {
        json_decref(qmp->reply);
        qmp->reply = json_incref(message);
        qmp->awaited = 0;
    }
    json_decref(message);
}

/* Reads one block and acts on whole lines. False: nothing there, or the end. */
static bool
pump(struct qmp *qmp)
{
    ssize_t n =
        recv(qmp->fd, qmp->buffer + qmp->length, LINE_MAX_BYTES - qmp->length, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) {
        return true;
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return false;
    }
    if (n <= 0) {
        qmp->broken = true;
        return false;
    }
    qmp->length += (size_t) n;
    char *from = qmp->buffer, *end;
    while ((end = memchr(from, '\n', qmp->length - (size_t) (from - qmp->buffer))) != NULL) {
        on_line(qmp, from, (size_t) (end - from));
        from = end + 1;
    }
    qmp->length -= (size_t) (from - qmp->buffer);
    memmove(qmp->buffer, from, qmp->length);
    qmp->broken = qmp->broken || qmp->length == LINE_MAX_BYTES;
    return !qmp->broken;
}

static void
on_readable(void *arg, uint32_t events)
{
    struct qmp *qmp = arg;
    (void) events;
    (void) pump(qmp);
    if (qmp->broken && qmp->watch != NULL) {
        qmp->host->watch_set(qmp->watch, 0);
    }
}

int
qmp_start(struct qmp *qmp, const struct ctr_host *host, int take_fd,
          void (*event)(void *arg, const char *name, const json_t *data), void *arg,
          struct ctr_error *err)
{
    *qmp = (struct qmp){.host = host, .fd = take_fd, .event = event, .arg = arg};
    qmp->buffer = malloc(LINE_MAX_BYTES);
    qmp->watch = host->watch_add(host, take_fd, CTR_READABLE, on_readable, qmp);
    return qmp->buffer == NULL || qmp->watch == NULL
               ? ctr_fail(err, -ENOMEM, "QMP: out of memory")
               : 0;
}

/* Handles what comes until *done or the deadline. */
static bool
wait_until(struct qmp *qmp, bool (*done)(const struct qmp *qmp), int64_t deadline)
{
    while (!done(qmp)) {
        int64_t left = deadline - now_ms();
        struct pollfd poll_fd = {.fd = qmp->fd, .events = POLLIN};
        if (qmp->broken || left <= 0) {
            return false;
        }
        if (poll(&poll_fd, 1, (int) left) > 0) {
            (void) pump(qmp);
        }
    }
    return true;
}

static bool
is_ready(const struct qmp *qmp)
{
    return qmp->ready;
}

static bool
is_answered(const struct qmp *qmp)
{
    return qmp->awaited == 0;
}

int
qmp_call(struct qmp *qmp, const char *command, json_t *take_arguments, struct ctr_error *err)
{
    int64_t deadline = now_ms() + CALL_MS;
    if (!wait_until(qmp, is_ready, deadline)) {
        json_decref(take_arguments);
        return ctr_fail(err, -EAGAIN, "%s: QEMU is not ready yet, try again", command);
    }
    qmp->awaited = ++qmp->last_id;
    int code = send_command(qmp, command, take_arguments, qmp->awaited);
    if (code < 0 || !wait_until(qmp, is_answered, deadline)) {
        qmp->awaited = 0;
        return ctr_fail(err, qmp->broken ? -EPIPE : -ETIMEDOUT, "%s: QEMU %s", command,
                        qmp->broken ? "is gone" : "did not answer within a second");
    }
    json_t *reply = qmp->reply;
    qmp->reply = NULL;
    const json_t *error = json_object_get(reply, "error");
    const char *text = json_string_value(json_object_get(error, "desc"));
    code = error == NULL ? 0
                         : ctr_fail(err, -EIO, "%s: QEMU says: %.200s", command,
                                    text == NULL ? "?" : text);
    json_decref(reply);
    return code;
}

void
qmp_drain(struct qmp *qmp)
{
    while (qmp->fd >= 0 && !qmp->broken && pump(qmp)) {
    }
}

void
qmp_finish(struct qmp *qmp)
{
    if (qmp->host == NULL) {
        return;
    }
    qmp->host->watch_remove(qmp->watch);
    (void) close(qmp->fd);
    free(qmp->buffer);
    json_decref(qmp->reply);
    *qmp = (struct qmp){.fd = -1};
}
