/*
 * session.h: the foreground of run, start -a, attach, exec and logs: a stream from the daemon, this terminal, and signals.
 */
#ifndef CTR_CMD_SESSION_H
#define CTR_CMD_SESSION_H

#include "core/cmd/http.h"

/* --- frames.c: Docker's stream framing { stream, 0, 0, 0, length u32 big-endian } payload --- */

struct ctl_frames {
    bool framed; /* else all is standard output */
    uint8_t header[8];
    size_t have;   /* of the header */
    uint32_t left; /* of the payload */
    int fd;        /* of the payload: 1 or 2 */
};
/* The next piece of payload in bytes[*at..end): 1 with *ret and *ret_length (at most max), and *at moved behind it; 0: all is used
 * up; -EBADMSG: not a frame. */
int ctl_frames_next(struct ctl_frames *frames, const char *bytes, size_t *at, size_t end,
                    size_t max, const char **ret, size_t *ret_length);

/* --- tty.c --- */

/* Raw mode on standard input; put back by ctl_tty_restore and at exit. */
void ctl_tty_raw(void);
void ctl_tty_hide(void); /* what is typed is not shown; put back in the same ways */
void ctl_tty_restore(void);
/* Rows and columns of the terminal, false if there is none. */
bool ctl_tty_size(int *ret_rows, int *ret_cols);
/* Catches the signals that are passed on, SIGWINCH and SIGPIPE: their numbers come out of the returned descriptor, a byte each. */
int ctl_signals_catch(struct ctr_error *err);
void ctl_signals_release(void); /* their default effects again */
/* Ends this process by the signal, as if it had never been caught. */
void ctl_signals_die(int signal) __attribute__((noreturn));

/* A sequence of detach keys: "ctrl-p,ctrl-q". */
struct ctl_keys {
    char bytes[8];
    size_t length, matched;
};
int ctl_keys_parse(const char *text, struct ctl_keys *ret, struct ctr_error *err);
/* Passes n bytes through into out (of at least n + 8 bytes), holding back the start of a sequence. Returns how many; *ret_detach: it is complete. */
size_t ctl_keys_filter(struct ctl_keys *keys, const char *bytes, size_t n, char *out,
                       bool *ret_detach);

/* --- session.c --- */

enum { CTL_PIECE = 64 * 1024 };

enum ctl_end { CTL_END_EXIT, CTL_END_DETACHED, CTL_END_OUTPUT_CLOSED, CTL_END_SIGNAL };

struct ctl_session {
    struct ctl *ctl;
    char id[80];         /* of the container or exec */
    const char *object;  /* "containers" or "exec": where resize goes */
    bool tty, use_stdin; /* stdin is passed on */
    bool proxy;          /* signals are passed on; else one that ends us ends the session */
    struct ctl_keys keys;
    struct ctl_http attach, wait, start; /* wait, start: fd -1 if not part of it */

    /* Results. */
    enum ctl_end end;
    int status;        /* the process's, or the number of the signal */
    bool started;      /* start was answered with yes */
    char trouble[512]; /* the daemon's word on the exit, "" if none */

    /* Inside. */
    int signals;
    struct ctl_frames frames;
    char out[CTL_PIECE];
    size_t out_at, out_end;
    const char *piece;
    size_t piece_left;
    char in[CTL_PIECE + 16];
    size_t in_at, in_end;
    bool stdin_open, attach_open, exited;
    uint8_t pending[16];
    size_t n_pending;
    int interrupts;
    int64_t quiet_since; /* the process has ended: when output last came */
};

/* Attaches: the upgrade request and its answer. */
int ctl_session_attach(struct ctl_session *session, const char *path, const json_t *body,
                       struct ctr_error *err);
/* Asks to be told of the exit; returns when the daemon has the question. condition: "next-exit", "removed", "not-running". */
int ctl_session_wait(struct ctl_session *session, const char *condition, struct ctr_error *err);
/* Streams until the end. A negative code: start failed, or the connection was lost. */
int ctl_session_run(struct ctl_session *session, struct ctr_error *err);
void ctl_session_destroy(struct ctl_session *session); /* takes NULL */
struct ctl_session *
ctl_session_create(struct ctl *ctl, const char *object, const char *id, struct ctr_error *err);
/* Docker's way to tell from a failed start whether the program was not found (127), could not be run (126), or else (125). */
int ctl_start_status(const char *message);
/* How an ended session shows in the exit status; prints what is to be said. */
int ctl_session_status(const struct ctl_session *session, const char *name);

#endif
