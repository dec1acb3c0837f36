/*
 * session.c: one poll(2) loop between a hijacked connection, this process's standard streams, the signals, and the answers to `start` and `wait`.
 *
 * Memory is two pieces of 64 KiB: input is read only when the last one was sent, the connection only when the last one was written. Standard
 * output is written in pieces that a ready pipe takes without blocking, so that a stalled reader never stalls standard input.
 */
#include "core/cmd/session.h"
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

enum { CTL_QUICK_MS = 5000, CTL_DRAIN_MS = 10000 };

enum { AT_SIGNAL, AT_STREAM, AT_OUT, AT_IN, AT_WAIT, AT_START, N_AT };

struct ctl_session *
ctl_session_create(struct ctl *ctl, const char *object, const char *id, struct ctr_error *err)
{
    struct ctl_session *session = calloc(1, sizeof *session);
    if (session == NULL) {
        ctr_fail(err, -ENOMEM, "out of memory");
        return NULL;
    }
    session->ctl = ctl;
    session->object = object;
    session->attach.fd = session->wait.fd = session->start.fd = -1;
    (void) snprintf(session->id, sizeof session->id, "%s", id);
    session->signals = ctl_signals_catch(err);
    if (session->signals < 0) {
        free(session);
        return NULL;
    }
    return session;
}

void
ctl_session_destroy(struct ctl_session *session)
{
    if (session == NULL) {
        return;
    }
    ctl_tty_restore();
    ctl_signals_release();
    ctl_http_close(&session->attach);
    ctl_http_close(&session->wait);
    ctl_http_close(&session->start);
    free(session);
}

int
ctl_session_attach(struct ctl_session *session, const char *path, const json_t *body,
                   struct ctr_error *err)
{
    int rc = ctl_http_send(session->ctl, &session->attach, "POST", path, CTL_SEND_UPGRADE, body,
                           err);
    if (rc == 0) {
        rc = ctl_http_head(&session->attach, -1, err);
    }
    if (rc == 0 && !session->attach.upgraded && session->attach.status != 200) {
        rc = ctr_fail(err, -EPROTO, "the daemon does not hand out the stream (status %d)",
                      session->attach.status);
    }
    return rc;
}

int
ctl_session_wait(struct ctl_session *session, const char *condition, struct ctr_error *err)
{
    CTR_AUTO(free)
    char *path = ctl_url(CTL_API "/containers/%s/wait?condition=%s", session->id, condition);
    int rc =
        ctl_http_send(session->ctl, &session->wait, "POST", path, CTL_SEND_JSON, NULL, err);
    return rc == 0 ? ctl_http_head(&session->wait, -1, err) : rc;
}

/* A request whose answer is not worth waiting for long. Failures are not told: the container may be gone. */
static void
quick_call(struct ctl_session *session, const char *path)
{
    struct ctr_error none = CTR_ERROR_INIT;
    CTR_AUTO(http) struct ctl_http http = CTL_HTTP_INIT;
    http.fd = path != NULL ? ctl_connect(session->ctl, false, &none) : -1;
    if (http.fd >= 0 &&
        ctl_http_send_on(&http, "POST", path, CTL_SEND_JSON, NULL, &none) == 0) {
        (void) ctl_http_head(&http, CTL_QUICK_MS, &none);
    }
}

static void
resize(struct ctl_session *session)
{
    int rows, cols;
    if (session->tty && ctl_tty_size(&rows, &cols)) {
        CTR_AUTO(free)
        char *path = ctl_url(CTL_API "/%s/%s/resize?h=%d&w=%d", session->object, session->id,
                             rows, cols);
        quick_call(session, path);
    }
}

static void
pass_signal(struct ctl_session *session, int number)
{
    const char *name = ctr_signal_name(number);
    CTR_AUTO(free)
    char *path = ctl_url(CTL_API "/containers/%s/kill?signal=SIG%s", session->id,
                         name != NULL ? name : "TERM");
    quick_call(session, path);
}

/* From the process's first byte or the start's answer on, whichever comes first, the terminal is the process's. */
static void
take_terminal(const struct ctl_session *session)
{
    if (session->tty && session->use_stdin) {
        ctl_tty_raw();
    }
}

static void
on_started(struct ctl_session *session)
{
    session->started = true;
    take_terminal(session);
    resize(session);
    for (size_t i = 0; i < session->n_pending; i++) {
        pass_signal(session, session->pending[i]);
    }
    session->n_pending = 0;
}

/* true: the session ends. While the machine boots there is no process that could ignore an interrupt: it ends the start. */
static bool
on_signal(struct ctl_session *session, uint8_t number)
{
    if (number == SIGWINCH) {
        if (session->started) {
            resize(session);
        }
        return false;
    }
    bool ends = number == SIGINT || number == SIGTERM || number == SIGHUP || number == SIGQUIT;
    session->interrupts += number == SIGINT || number == SIGTERM;
    bool enough = session->interrupts >= 3 && isatty(2);
    if (!session->proxy || enough || (ends && !session->started)) {
        session->end = CTL_END_SIGNAL;
        session->status = number;
        return true;
    }
    if (session->started) {
        pass_signal(session, number);
    } else if (session->n_pending < sizeof session->pending) {
        session->pending[session->n_pending++] = number;
    }
    return false;
}

static bool
on_signals(struct ctl_session *session)
{
    uint8_t numbers[32];
    ssize_t n = read(session->signals, numbers, sizeof numbers);
    for (ssize_t i = 0; i < n; i++) {
        if (on_signal(session, numbers[i])) {
            return true;
        }
    }
    return false;
}

/* Reads more of the stream into the empty out buffer. */
static void
read_stream(struct ctl_session *session)
{
    struct ctr_buf *early = &session->attach.in;
    ssize_t n;
    if (early->length > 0) {
        n = (ssize_t) (early->length < sizeof session->out ? early->length
                                                           : sizeof session->out);
        memcpy(session->out, early->data, (size_t) n);
        ctr_buf_consume(early, (size_t) n);
    } else {
        n = recv(session->attach.fd, session->out, sizeof session->out, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
    }
    if (n <= 0) {
        session->attach_open = false;
        session->stdin_open = false;
        return;
    }
    take_terminal(session);
    session->out_at = 0;
    session->out_end = (size_t) n;
}

/* Makes the next piece to write, if there is none. */
static int
next_piece(struct ctl_session *session, struct ctr_error *err)
{
    if (session->piece_left > 0) {
        return 0;
    }
    size_t max = session->stdin_open ? PIPE_BUF : CTL_PIECE;
    int rc = ctl_frames_next(&session->frames, session->out, &session->out_at, session->out_end,
                             max, &session->piece, &session->piece_left);
    return rc >= 0 ? 0
                   : ctr_fail(err, rc,
                              "the daemon's stream has a bad frame; see 'ctrctl "
                              "system logs'");
}

/* true: nobody reads our output any more, or it cannot be written. */
static bool
write_piece(struct ctl_session *session, struct ctr_error *err)
{
    ssize_t n = write(session->frames.fd, session->piece, session->piece_left);
    if (n >= 0) {
        session->piece += n;
        session->piece_left -= (size_t) n;
        session->quiet_since = ctr_monotonic_ns();
        return false;
    }
    if (errno == EINTR || errno == EAGAIN) {
        return false;
    }
    session->end = CTL_END_OUTPUT_CLOSED;
    session->status = 128 + SIGPIPE;
    if (errno != EPIPE) {
        (void) ctr_fail(err, -errno, "standard %s: %s; the output is not complete",
                        session->frames.fd == 2 ? "error" : "output", strerror(errno));
    }
    return true;
}

/* true: the detach keys were typed. */
static bool
read_stdin(struct ctl_session *session)
{
    char bytes[CTL_PIECE];
    ssize_t n = read(0, bytes, sizeof bytes);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
        return false;
    }
    bool detach = false;
    session->in_at = 0;
    session->in_end = 0;
    if (n <= 0) {
        session->stdin_open = false;
        (void) shutdown(session->attach.fd, SHUT_WR);
    } else if (session->tty) {
        session->in_end =
            ctl_keys_filter(&session->keys, bytes, (size_t) n, session->in, &detach);
    } else {
        memcpy(session->in, bytes, (size_t) n);
        session->in_end = (size_t) n;
    }
    if (detach) {
        session->end = CTL_END_DETACHED;
    }
    return detach;
}

static void
send_stdin(struct ctl_session *session)
{
    ssize_t n = send(session->attach.fd, session->in + session->in_at,
                     session->in_end - session->in_at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
        session->in_at += (size_t) n;
    } else if (errno != EAGAIN && errno != EINTR) {
        session->stdin_open = false; /* the process no longer reads: no error */
        session->in_at = session->in_end;
    }
}

static int
on_start_answer(struct ctl_session *session, struct ctr_error *err)
{
    int rc = ctl_http_head(&session->start, CTL_QUICK_MS, err);
    ctl_http_close(&session->start);
    if (rc == 0 && !session->started) {
        on_started(session);
    }
    return rc;
}

static int
on_wait_answer(struct ctl_session *session, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *answer = ctl_http_json(&session->wait, CTL_QUICK_MS, err);
    ctl_http_close(&session->wait);
    if (!json_is_object(answer)) {
        return ctr_fail(err, -ECONNRESET,
                        "lost the daemon, the container may still run; see "
                        "'ctrctl ps' and 'ctrctl system logs'");
    }
    session->status = (int) ctr_json_int(answer, "StatusCode", 125);
    const char *message = ctr_json_str(json_object_get(answer, "Error"), "Message", "");
    (void) snprintf(session->trouble, sizeof session->trouble, "%s", message);
    session->exited = true;
    session->quiet_since = ctr_monotonic_ns();
    return 0;
}

static void
fill(struct ctl_session *session, struct pollfd fds[N_AT])
{
    for (int i = 0; i < N_AT; i++) {
        fds[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    }
    bool in_full = session->in_at < session->in_end;
    bool out_full = session->piece_left > 0;
    fds[AT_SIGNAL].fd = session->signals;
    if (session->attach_open && (!out_full || in_full)) {
        fds[AT_STREAM].fd = session->attach.fd;
        fds[AT_STREAM].events = (short) ((out_full ? 0 : POLLIN) | (in_full ? POLLOUT : 0));
    }
    if (out_full) {
        fds[AT_OUT].fd = session->frames.fd;
        fds[AT_OUT].events = POLLOUT;
    }
    if (session->stdin_open && !in_full) {
        fds[AT_IN].fd = 0;
    }
    fds[AT_WAIT].fd = session->wait.fd;
    fds[AT_START].fd = session->start.fd;
}

/* All that is ready moves on. 0, 1: the session ends, or a negative code. */
static int
step(struct ctl_session *session, const struct pollfd fds[N_AT], struct ctr_error *err)
{
    if (fds[AT_SIGNAL].revents != 0 && on_signals(session)) {
        return 1;
    }
    if (fds[AT_OUT].revents != 0 && write_piece(session, err)) {
        return err->code < 0 ? err->code : 1;
    }
    if ((fds[AT_STREAM].revents & POLLOUT) != 0) {
        send_stdin(session);
    }
    if ((fds[AT_STREAM].revents & (POLLIN | POLLHUP | POLLERR)) != 0 &&
        session->piece_left == 0 && session->out_at == session->out_end) {
        read_stream(session);
        session->quiet_since = ctr_monotonic_ns();
    }
    if (fds[AT_IN].revents != 0 && session->stdin_open && read_stdin(session)) {
        return 1;
    }
    int rc = 0;
    if (fds[AT_START].revents != 0) {
        rc = on_start_answer(session, err);
    }
    if (rc == 0 && fds[AT_WAIT].revents != 0) {
        rc = on_wait_answer(session, err);
    }
    return rc;
}

/* Nothing more is to come. */
static bool
is_over(const struct ctl_session *session, bool has_wait)
{
    if (session->start.fd >= 0 || session->piece_left > 0 || (has_wait && !session->exited)) {
        return false;
    }
    int64_t quiet = ctr_monotonic_ns() - session->quiet_since;
    return !session->attach_open || (has_wait && quiet > (int64_t) CTL_DRAIN_MS * 1000000);
}

int
ctl_session_run(struct ctl_session *session, struct ctr_error *err)
{
    bool has_wait = session->wait.fd >= 0;
    session->frames.framed = !session->tty;
    session->attach_open = session->attach.fd >= 0;
    session->stdin_open = session->use_stdin && session->attach_open;
    if (session->start.fd < 0) {
        on_started(session);
    }
    for (;;) {
        if (session->attach_open && session->attach.in.length > 0 &&
            session->out_at == session->out_end && session->piece_left == 0) {
            read_stream(session);
        }
        int rc = next_piece(session, err);
        if (rc < 0 || is_over(session, has_wait)) {
            return rc;
        }
        struct pollfd fds[N_AT];
        fill(session, fds);
        int ready = poll(fds, N_AT, session->exited ? CTL_DRAIN_MS : -1);
        rc = ready > 0 ? step(session, fds, err) : 0;
        if (rc != 0) {
            return rc < 0 ? rc : 0;
        }
    }
}

int
ctl_session_status(const struct ctl_session *session, const char *name)
{
    switch (session->end) {
    case CTL_END_DETACHED:
        ctl_tty_restore();
        fprintf(stderr, "\nctrctl: detached from %s; 'ctrctl attach %s' comes back\n", name,
                name);
        return 0;
    case CTL_END_SIGNAL:
        ctl_tty_restore();
        if (session->proxy) {
            ctl_complain("%s goes on; 'ctrctl kill %s' ends it", name, name);
        }
        return 128 + session->status;
    default:
        if (session->trouble[0] != '\0') {
            ctl_tty_restore();
            ctl_complain("%s: %s", name, session->trouble);
        }
        return session->status;
    }
}
