/*
 * http.h: ctrctl's own small HTTP/1.1 client over the daemon's unix socket.
 *
 * One request a connection. Heads, JSON bodies and lines are bounded; bodies come by length, in chunks or to the end; an upgrade leaves the
 * raw stream. Nothing here reads beyond what it was asked for, but for `in`, which holds what came with the head.
 */
#ifndef CTR_CMD_HTTP_H
#define CTR_CMD_HTTP_H

#include "core/cmd/cmd.h"

enum { CTL_HEAD_MAX = 64 * 1024, CTL_JSON_MAX = 64 * 1024 * 1024, CTL_LINE_MAX = 1024 * 1024 };
enum ctl_body { CTL_BODY_NONE, CTL_BODY_LENGTH, CTL_BODY_CHUNKED, CTL_BODY_END };

struct ctl_http {
    int fd;   /* -1 when closed */
    int wake; /* when this is readable, waiting ends with -EINTR and can be resumed; -1: none */
    struct ctr_buf in; /* received and not yet handed out */
    int status;
    char type[80]; /* Content-Type without parameters, lower case */
    enum ctl_body body;
    uint64_t left;  /* bytes to come of the body or of this chunk */
    bool in_chunks; /* a chunk's end is still to be read */
    bool upgraded, done;
};
#define CTL_HTTP_INIT                                                                          \
    {                                                                                          \
        .fd = -1, .wake = -1                                                                   \
    }
void ctl_http_close(struct ctl_http *http);
static inline void
ctr_auto_http(struct ctl_http *http)
{
    ctl_http_close(http);
}

/* How a request ends on the wire. */
enum ctl_send { CTL_SEND_JSON, CTL_SEND_UPGRADE, CTL_SEND_CHUNKED };

/* A path made of a format whose every %s is percent-escaped ("%d" works too). Caller frees; NULL: out of memory. */
char *ctl_url(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Connects (starting the daemon if need be) and sends a request. body may be NULL. */
int ctl_http_send(struct ctl *ctl, struct ctl_http *http, const char *method, const char *path,
                  enum ctl_send how, const json_t *body, struct ctr_error *err);
/* The same over a connection that exists. */
int ctl_http_send_on(struct ctl_http *http, const char *method, const char *path,
                     enum ctl_send how, const json_t *body, struct ctr_error *err);
/* Reads the reply's head. A status of 400 and more becomes an error with the daemon's message: -ENOENT for 404, -EEXIST for 409.
 * timeout_ms -1: none. */
int ctl_http_head(struct ctl_http *http, int timeout_ms, struct ctr_error *err);
/* Up to n bytes of the body: their number, 0 at its end, or a negative code. Blocks. */
ssize_t ctl_http_read(struct ctl_http *http, void *bytes, size_t n, int timeout_ms,
                      struct ctr_error *err);
/* The whole body as JSON; new reference or NULL. An empty body is JSON null. */
json_t *ctl_http_json(struct ctl_http *http, int timeout_ms, struct ctr_error *err);
/* The next line of a body of JSON lines: 1 and a new reference, 0 at the end, or a negative code; after -ETIMEDOUT and -EINTR it can be called
 * again. `line` keeps what is half read. */
int ctl_http_line(struct ctl_http *http, struct ctr_buf *line, int timeout_ms, json_t **ret,
                  struct ctr_error *err);
/* More of a chunked request body; n 0 ends it. */
int ctl_http_chunk(struct ctl_http *http, const void *bytes, size_t n, struct ctr_error *err);

/* Request and reply in one. ret (may be NULL) takes a new reference. No time limit: the daemon decides, and Ctrl-C works. */
int ctl_call(struct ctl *ctl, const char *method, const char *path, const json_t *body,
             json_t **ret, struct ctr_error *err);

/* --- lifecycle.c --- */

/* Runs one(ctl, name) for each operand, and with `echo` prints the name where it worked; returns the exit status. */
int ctl_each(struct ctl *ctl,
             int (*one)(struct ctl *ctl, const char *name, struct ctr_error *err), bool echo);

#endif
