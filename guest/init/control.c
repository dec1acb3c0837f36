/*
 * control.c: messages on stream 1. A message that cannot be framed ends the channel; one that cannot be understood is answered with
 * EINVAL. What does not fit into the host's window waits in `pending`.
 */
#include "control.h"
#include "process.h"
#include "root.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct stream *control;
static struct buf message, pending;
static bool booted;

/* --- out --- */

static void
send_pending(struct stream *stream)
{
    size_t room;
    while (pending.length > 0 && (room = stream_room(stream)) > 0) {
        size_t n = pending.length < room ? pending.length : room;
        uint8_t *place = stream_reserve(stream, n);
        if (place == NULL) {
            return;
        }
        memcpy(place, buf_front(&pending), n);
        buf_consume(&pending, n);
        stream_commit(stream, n);
    }
}

/* Takes the reference. */
static void
send_message(json_t *json)
{
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (text == NULL || control == NULL) {
        free(text);
        return;
    }
    size_t n = strlen(text);
    uint8_t length[4] = {(uint8_t) (n >> 24), (uint8_t) (n >> 16), (uint8_t) (n >> 8),
                         (uint8_t) n};
    if (buf_add(&pending, length, 4) == 0) {
        (void) buf_add(&pending, text, n);
    }
    free(text);
    send_pending(control);
}

static void
answer(json_int_t id, json_t *take_ok)
{
    send_message(json_pack("{s:I, s:o}", "id", id, "ok", take_ok));
}

/* Messages quote what came from outside: what is no UTF-8 is told without. */
static void
answer_fault(json_int_t id, const struct fault *fault)
{
    json_t *text = json_string(fault->message);
    if (text == NULL) {
        text = json_string("failed; the reason is no valid UTF-8 text");
    }
    send_message(json_pack("{s:I, s:{s:s, s:o}}", "id", id, "error", "code", fault->code,
                           "message", text));
}

void
control_answer_pid(json_int_t request, int pid, const struct fault *fault)
{
    if (fault != NULL) {
        answer_fault(request, fault);
    } else {
        answer(request, json_pack("{s:i}", "pid", pid));
    }
}

void
control_exited(const char *id, int code, int signal, bool oom)
{
    send_message(json_pack("{s:s, s:s, s:i, s:i, s:b}", "event", "exit", "process_id", id,
                           "code", code, "signal", signal, "oom", oom));
}

/* --- in --- */

static int
op_boot(json_int_t id, const json_t *request, struct fault *fault)
{
    if (booted) {
        return fault_set(fault, "EBUSY", "this machine has booted already");
    }
    if (json_integer_value(json_object_get(request, "protocol")) != CTR_PROTOCOL_VERSION) {
        return fault_set(fault, "EINVAL", "the guest speaks protocol version %d only",
                         CTR_PROTOCOL_VERSION);
    }
    booted = true;
    if (root_boot(request, fault) < 0) {
        return -1;
    }
    return process_start("init", json_object_get(request, "process"), id, fault);
}

static int
op_exec(json_int_t id, const json_t *request, struct fault *fault)
{
    const char *process = json_string_value(json_object_get(request, "process_id"));
    if (process == NULL || strcmp(process, "init") == 0) {
        return fault_set(fault, "EINVAL", "exec needs a process_id of its own");
    }
    if (!process_runs("init")) {
        return fault_set(fault, "ESRCH", "the container's first process does not run");
    }
    return process_start(process, json_object_get(request, "process"), id, fault);
}

static int
op_signal(json_int_t id, const json_t *request, struct fault *fault)
{
    const char *process = json_string_value(json_object_get(request, "process_id"));
    json_int_t number = json_integer_value(json_object_get(request, "signal"));
    if (process == NULL || number < 1 || number > 64) {
        return fault_set(fault, "EINVAL",
                         "signal needs a process_id and a number from 1 to 64");
    }
    if (process_signal(process, (int) number, fault) < 0) {
        return -1;
    }
    answer(id, json_object());
    return 0;
}

static int
op_resize(json_int_t id, const json_t *request, struct fault *fault)
{
    const char *process = json_string_value(json_object_get(request, "process_id"));
    json_int_t rows = json_integer_value(json_object_get(request, "rows"));
    json_int_t cols = json_integer_value(json_object_get(request, "cols"));
    if (process == NULL || rows < 0 || rows > 65535 || cols < 0 || cols > 65535) {
        return fault_set(fault, "EINVAL", "resize needs a process_id, rows and cols");
    }
    if (process_resize(process, (unsigned) rows, (unsigned) cols, fault) < 0) {
        return -1;
    }
    answer(id, json_object());
    return 0;
}

static int
op_poweroff(json_int_t id, const json_t *request, struct fault *fault)
{
    answer(id, json_object());
    control_power_off();
    return 0;
}

static int
op_sync(json_int_t id, const json_t *request, struct fault *fault)
{
    sync();
    answer(id, json_object());
    return 0;
}

static int
op_network(json_int_t id, const json_t *request, struct fault *fault)
{
    const json_t *network = json_object_get(request, "network");
    if (!json_is_object(network)) {
        return fault_set(fault, "EINVAL", "network needs a \"network\"");
    }
    if (!process_runs("init")) {
        return fault_set(fault, "ESRCH", "the container's first process does not run");
    }
    if (root_network(network, fault) < 0) {
        return -1;
    }
    answer(id, json_object());
    return 0;
}

static int
op_ping(json_int_t id, const json_t *request, struct fault *fault)
{
    answer(id, json_object());
    return 0;
}

static void
dispatch(const json_t *request)
{
    static const struct {
        const char *name;
        int (*run)(json_int_t id, const json_t *request, struct fault *fault);
    } ops[] = {
        {"boot", op_boot},     {"exec", op_exec},         {"signal", op_signal},
        {"resize", op_resize}, {"poweroff", op_poweroff}, {"sync", op_sync},
        {"ping", op_ping},     {"network", op_network},
    };
    struct fault fault = {.code = "EIO"};
    json_int_t id = json_integer_value(json_object_get(request, "id"));
    const char *name = json_string_value(json_object_get(request, "op"));
    for (size_t i = 0; name != NULL && i < sizeof ops / sizeof *ops; i++) {
        if (strcmp(ops[i].name, name) == 0) {
            if (ops[i].run(id, request, &fault) < 0) {
                answer_fault(id, &fault);
            }
            return;
        }
    }
    (void) fault_set(&fault, "EINVAL", "unknown request %.64s", name == NULL ? "(none)" : name);
    answer_fault(id, &fault);
}

/* Handles the whole messages in `message`; false if its length can't be. */
static bool
take_messages(void)
{
    while (message.length >= 4) {
        const uint8_t *bytes = buf_front(&message);
        size_t n = (size_t) bytes[0] << 24 | (size_t) bytes[1] << 16 | (size_t) bytes[2] << 8 |
                   bytes[3];
        if (n == 0 || n > CTR_CONTROL_MAX) {
            return false;
        }
        if (message.length - 4 < n) {
            break;
        }
        json_t *request = json_loadb((const char *) bytes + 4, n, JSON_REJECT_DUPLICATES, NULL);
        buf_consume(&message, 4 + n);
        if (json_is_object(request)) {
            dispatch(request);
        } else {
            struct fault fault;
            (void) fault_set(&fault, "EINVAL", "a control message is no JSON object");
            answer_fault(0, &fault);
        }
        json_decref(request);
    }
    return true;
}

static void
readable(struct stream *stream)
{
    if (stream->in.length > 0) {
        int result = buf_add(&message, buf_front(&stream->in), stream->in.length);
        stream_take(stream, stream->in.length);
        if (result < 0 || !take_messages()) {
            note("a control message is malformed");
            control = NULL;
            mux_release(stream);
            control_power_off();
            return;
        }
    }
    if (stream->remote_fin || stream->reset) {
        control = NULL;
        mux_release(stream);
        control_power_off();
    }
}

void
control_open(struct stream *stream)
{
    static int owner;
    if (control != NULL || stream->id != CTR_CONTROL_STREAM) {
        return;
    }
    control = stream;
    stream->owner = &owner;
    stream->readable = readable;
    stream->writable = send_pending;
    send_message(json_pack("{s:s, s:i, s:s}", "event", "hello", "protocol",
                           CTR_PROTOCOL_VERSION, "version", CTR_VERSION));
}

void
control_finish(void)
{
    control = NULL;
    booted = false;
    buf_free(&message);
    buf_free(&pending);
}
