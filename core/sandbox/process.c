/*
 * A process in the guest: the container's own or an exec. Owns its guest streams and its clients.
 *
 * Output goes to the log (container's process only) and to all clients; its window is given back when the last of them is
 * done with it. The exit is told when the guest said it and all output streams have ended.
 */
#include "core/sandbox/sandbox-priv.h"

static void
give_back(struct ctr_process_stream *stream)
{
    uint64_t least = stream->total;
    for (const struct ctr_client *c = stream->process->clients; c != NULL;
         c = ctr_client_next(c)) {
        if (ctr_client_wants(c, stream->which) && ctr_client_done(c, stream->which) < least) {
            least = ctr_client_done(c, stream->which);
        }
    }
    if (least > stream->given && stream->stream != NULL) {
        uint64_t n = least - stream->given;
        stream->given = least;
        ctr_stream_taken(stream->stream, (size_t) n);
    }
}

void
ctr_process_progress(struct ctr_process *process)
{
    give_back(&process->out);
    give_back(&process->err);
}

static void
on_data(void *arg, const void *bytes, size_t length)
{
    struct ctr_process_stream *stream = arg;
    struct ctr_process *process = stream->process;
    if (process->is_init) {
        ctr_log_write(&process->sandbox->log, stream->which, bytes, length);
    }
    stream->total += length;
    struct ctr_client *next;
    for (struct ctr_client *c = process->clients; c != NULL; c = next) {
        next = ctr_client_next(c);
        if (ctr_client_wants(c, stream->which)) {
            ctr_client_push(c, stream->which, bytes, length);
        }
    }
    give_back(stream);
}

static void
for_each_client(struct ctr_process *process, void (*call)(struct ctr_client *client))
{
    struct ctr_client *next;
    for (struct ctr_client *c = process->clients; c != NULL; c = next) {
        next = ctr_client_next(c);
        call(c); /* may free c, and no other */
    }
}

static void
on_end(void *arg, bool reset)
{
    struct ctr_process_stream *stream = arg;
    struct ctr_process *process = stream->process;
    (void) reset;
    stream->ended = true;
    if (process->tty) {
        process->in.ended = true;
        for_each_client(process, ctr_client_writable);
    }
    ctr_sandbox_sweep(process->sandbox);
}

static void
on_writable(void *arg)
{
    struct ctr_process_stream *stream = arg;
    for_each_client(stream->process, ctr_client_writable);
}

/* The process closed its stdin: what is still to come is thrown away. */
static void
on_in_end(void *arg, bool reset)
{
    struct ctr_process_stream *stream = arg;
    if (reset) {
        stream->ended = true;
        for_each_client(stream->process, ctr_client_writable);
    }
}

/* A guest that writes to stdin's stream is not heard. */
static void
on_in_data(void *arg, const void *bytes, size_t length)
{
    struct ctr_process_stream *stream = arg;
    (void) bytes;
    if (stream->stream != NULL) {
        ctr_stream_taken(stream->stream, length);
    }
}

static const struct ctr_stream_events out_events = {
    .data = on_data, .end = on_end, .writable = on_writable};
static const struct ctr_stream_events in_events = {
    .data = on_in_data, .end = on_in_end, .writable = on_writable};

static int
open_stream(struct ctr_process *process, struct ctr_process_stream *stream, int which,
            const struct ctr_stream_events *events, json_t *streams, const char *key)
{
    stream->which = which;
    stream->ended = false;
    stream->stream = ctr_stream_open(process->sandbox->guest, events, stream);
    if (stream->stream == NULL) {
        stream->ended = true;
        return -EMFILE;
    }
    return json_object_set_new(streams, key, json_integer(ctr_stream_id(stream->stream)));
}

static int
open_streams(struct ctr_process *process, const struct ctr_spec_attach *wants, json_t *streams)
{
    (void) json_object_set_new(streams, "in", json_integer(0));
    (void) json_object_set_new(streams, "out", json_integer(0));
    (void) json_object_set_new(streams, "err", json_integer(0));
    if (process->tty) {
        int code = open_stream(process, &process->out, 1, &out_events, streams, "out");
        if (code == 0) {
            process->in.stream = process->out.stream; /* one stream both ways */
            process->in.ended = !wants->in;
            code = json_object_set(streams, "in", json_object_get(streams, "out"));
        }
        return code;
    }
    int code = wants->in ? open_stream(process, &process->in, 0, &in_events, streams, "in") : 0;
    if (code == 0 && wants->out) {
        code = open_stream(process, &process->out, 1, &out_events, streams, "out");
    }
    if (code == 0 && wants->err) {
        code = open_stream(process, &process->err, 2, &out_events, streams, "err");
    }
    return code;
}

int
ctr_process_create(struct ctr_sandbox *sandbox, const char *id, json_t *json,
                   const struct ctr_spec_attach *wants, bool stdin_once,
                   struct ctr_process **ret, struct ctr_error *err)
{
    struct ctr_process *process = calloc(1, sizeof *process);
    if (process == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    (void) snprintf(process->id, sizeof process->id, "%s", id);
    process->sandbox = sandbox;
    process->is_init = sandbox->init == NULL;
    process->tty = ctr_json_bool(json, "tty", false);
    /* A terminal has no end of its own: a client that detaches from it leaves it open for the next. */
    process->stdin_once = stdin_once && !process->tty;
    process->in.process = process->out.process = process->err.process = process;
    process->out.ended = process->err.ended = true;
    json_t *streams = json_object();
    int code = json_object_set_new(json, "streams", streams) < 0
                   ? -ENOMEM
                   : open_streams(process, wants, streams);
    if (code < 0) {
        ctr_process_destroy(process);
        return ctr_fail(err, code == -EMFILE ? -EMFILE : -ENOMEM,
                        "process %s: no stream is left to the guest (at most %d)", id,
                        CTR_STREAMS_MAX);
    }
    if (process->is_init) {
        sandbox->init = process;
    } else {
        process->next = sandbox->execs;
        sandbox->execs = process;
        sandbox->n_execs++;
    }
    *ret = process;
    return 0;
}

struct ctr_process *
ctr_process_find(struct ctr_sandbox *sandbox, const char *id)
{
    if (id[0] == '\0' || strcmp(id, "init") == 0) {
        return sandbox->init;
    }
    for (struct ctr_process *p = sandbox->execs; p != NULL; p = p->next) {
        if (!p->doomed && strcmp(p->id, id) == 0) {
            return p;
        }
    }
    return NULL;
}

static void
close_streams(struct ctr_process *process)
{
    if (process->in.stream != process->out.stream) {
        ctr_stream_close(process->in.stream);
    }
    ctr_stream_close(process->out.stream);
    ctr_stream_close(process->err.stream);
    process->in.stream = process->out.stream = process->err.stream = NULL;
}

void
ctr_process_destroy(struct ctr_process *process)
{
    if (process == NULL) {
        return;
    }
    struct ctr_sandbox *sandbox = process->sandbox;
    process->doomed = true;
    while (process->clients != NULL) {
        ctr_client_destroy(process->clients);
    }
    close_streams(process);
    for (struct ctr_process **p = &sandbox->execs; *p != NULL; p = &(*p)->next) {
        if (*p == process) {
            *p = process->next;
            sandbox->n_execs--;
            break;
        }
    }
    sandbox->init = sandbox->init == process ? NULL : sandbox->init;
    free(process);
}

bool
ctr_process_drained(const struct ctr_process *process)
{
    for (const struct ctr_client *c = process->clients; c != NULL; c = ctr_client_next(c)) {
        if (!ctr_client_idle(c)) {
            return false;
        }
    }
    return true;
}

void
ctr_process_end_clients(struct ctr_process *process)
{
    for_each_client(process, ctr_client_end);
}

static void
tell_exec_exit(struct ctr_process *process)
{
    struct ctr_sandbox *sandbox = process->sandbox;
    CTR_AUTO(json)
    json_t *event = json_pack("{s:s, s:s, s:i}", "event", "exec-exit", "exec", process->id,
                              "code", process->code);
    if (event == NULL) {
        return;
    }
    if (json_array_size(sandbox->history) >= CTR_EXEC_HISTORY) {
        (void) json_array_remove(sandbox->history, 0);
    }
    (void) json_array_append(sandbox->history, event);
    ctr_server_tell(sandbox, event);
}

static void
settle_exec(struct ctr_process *process)
{
    if (process->exited && process->out.ended && process->err.ended && !process->told &&
        process->waiting == NULL) {
        process->told = true;
        tell_exec_exit(process);
        ctr_process_end_clients(process);
    }
    if (process->told && process->clients == NULL) {
        process->doomed = true;
    }
}

static void
sweep(void *arg)
{
    struct ctr_sandbox *sandbox = arg;
    sandbox->sweep_posted = false;
    struct ctr_process *next;
    for (struct ctr_process *p = sandbox->execs; p != NULL; p = next) {
        next = p->next;
        settle_exec(p);
        if (p->doomed) {
            ctr_process_destroy(p);
        }
    }
    ctr_sandbox_settle(sandbox);
}

void
ctr_sandbox_sweep(struct ctr_sandbox *sandbox)
{
    if (!sandbox->sweep_posted && ctr_loop_post(sandbox->loop, sweep, sandbox) == 0) {
        sandbox->sweep_posted = true;
    }
}

void
ctr_process_exited(struct ctr_process *process, int code, bool oom)
{
    if (process->exited) {
        return;
    }
    process->exited = true;
    process->code = code;
    process->oom = oom;
    ctr_sandbox_sweep(process->sandbox);
}

void
ctr_process_cut(struct ctr_process *process)
{
    /* The streams belong to the guest object and end with it. */
    process->in.stream = process->out.stream = process->err.stream = NULL;
    process->in.ended = process->out.ended = process->err.ended = true;
    for_each_client(process, ctr_client_writable);
    if (!process->is_init) {
        ctr_process_exited(process, 137, false);
    }
    ctr_sandbox_sweep(process->sandbox);
}
