/*
 * http.c: see http.h. RFC 9112, what a client needs of it: status line, fields, Content-Length, chunked bodies, bodies to the end of the
 * connection, 101. Whatever is malformed ends the request with an error.
 */
#include "core/cmd/http.h"
#include <poll.h>
#include <sys/socket.h>

void
ctl_http_close(struct ctl_http *http)
{
    if (http->fd >= 0) {
        (void) close(http->fd);
    }
    ctr_buf_clear(&http->in);
    *http = (struct ctl_http) CTL_HTTP_INIT;
}

static void
add_escaped(struct ctr_buf *buf, const char *text)
{
    for (const unsigned char *p = (const unsigned char *) text; *p != '\0'; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || strchr("-._~/:@", *p) != NULL;
        if (plain) {
            ctr_buf_add(buf, p, 1);
        } else {
            ctr_buf_printf(buf, "%%%02X", *p);
        }
    }
}

char *
ctl_url(const char *format, ...)
{
    struct ctr_buf buf = {0};
    va_list args;
    va_start(args, format);
    while (*format != '\0') {
        size_t plain = strcspn(format, "%");
        ctr_buf_add(&buf, format, plain);
        format += plain;
        if (*format == '%') {
            if (format[1] == 's') {
                add_escaped(&buf, va_arg(args, const char *));
            } else {
                ctr_buf_printf(&buf, "%d", va_arg(args, int));
            }
            format += 2;
        }
    }
    va_end(args);
    return ctr_buf_take(&buf);
}

/* Writes all, never raising SIGPIPE; waits where the socket is full. */
static int
send_all(int fd, const void *bytes, size_t length, struct ctr_error *err)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t n = send(fd, at, length, MSG_NOSIGNAL);
        if (n >= 0) {
            at += n;
            length -= (size_t) n;
        } else if (errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            (void) poll(&wait, 1, -1);
        } else if (errno != EINTR) {
            return ctr_fail(err, -errno,
                            "the daemon closed the connection (%s); see 'ctrctl "
                            "system logs'",
                            strerror(errno));
        }
    }
    return 0;
}

int
ctl_http_send_on(struct ctl_http *http, const char *method, const char *path, enum ctl_send how,
                 const json_t *body, struct ctr_error *err)
{
    CTR_AUTO(free) char *text = body != NULL ? ctr_json_text(body) : NULL;
    if (body != NULL && text == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    CTR_AUTO(buf) struct ctr_buf request = {0};
    ctr_buf_printf(&request, "%s %s HTTP/1.1\r\nHost: ctr\r\nUser-Agent: ctrctl/%s\r\n", method,
                   path, CTL_VERSION);
    if (how == CTL_SEND_UPGRADE) {
        ctr_buf_puts(&request, "Connection: Upgrade\r\nUpgrade: tcp\r\n");
    } else {
        ctr_buf_puts(&request, "Connection: close\r\n");
    }
    if (how == CTL_SEND_CHUNKED) {
        ctr_buf_puts(&request,
                     "Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n");
    } else {
        if (text != NULL) {
            ctr_buf_puts(&request, "Content-Type: application/json\r\n");
        }
        ctr_buf_printf(&request, "Content-Length: %zu\r\n\r\n%s",
                       text != NULL ? strlen(text) : 0, text != NULL ? text : "");
    }
    if (request.failed) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    return send_all(http->fd, request.data, request.length, err);
}

int
ctl_http_send(struct ctl *ctl, struct ctl_http *http, const char *method, const char *path,
              enum ctl_send how, const json_t *body, struct ctr_error *err)
{
    if (path == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    ctl_http_close(http);
    http->fd = ctl_connect(ctl, true, err);
    if (http->fd < 0) {
        http->fd = -1;
        return err->code;
    }
    return ctl_http_send_on(http, method, path, how, body, err);
}

int
ctl_http_chunk(struct ctl_http *http, const void *bytes, size_t n, struct ctr_error *err)
{
    char size[24];
    int length = snprintf(size, sizeof size, n > 0 ? "%zx\r\n" : "0\r\n\r\n", n);
    int rc = send_all(http->fd, size, (size_t) length, err);
    if (rc == 0 && n > 0) {
        rc = send_all(http->fd, bytes, n, err);
        rc = rc == 0 ? send_all(http->fd, "\r\n", 2, err) : rc;
    }
    return rc;
}

/* Receives more into http->in: 1, 0 at the end, or a negative code. */
static int
receive(struct ctl_http *http, int timeout_ms, struct ctr_error *err)
{
    char bytes[16384];
    for (;;) {
        struct pollfd wait[2] = {{.fd = http->fd, .events = POLLIN},
                                 {.fd = http->wake, .events = POLLIN}};
        int ready = poll(wait, 2, timeout_ms);
        if (ready > 0 && wait[1].revents != 0) {
            return ctr_fail(err, -EINTR, "interrupted");
        }
        if (ready == 0) {
            return ctr_fail(err, -ETIMEDOUT,
                            "the daemon does not answer; see 'ctrctl system "
                            "logs'");
        }
        ssize_t n = ready > 0 ? recv(http->fd, bytes, sizeof bytes, MSG_DONTWAIT) : -1;
        if (n >= 0) {
            ctr_buf_add(&http->in, bytes, (size_t) n);
            return http->in.failed ? ctr_fail(err, -ENOMEM, "out of memory") : n > 0;
        }
        if (errno != EINTR && errno != EAGAIN) {
            return ctr_fail(err, -errno,
                            "the daemon closed the connection (%s); see 'ctrctl "
                            "system logs'",
                            strerror(errno));
        }
    }
}

/* A line without its CR LF, cut off http->in; caller frees. NULL with err. */
static char *
take_line(struct ctl_http *http, int timeout_ms, struct ctr_error *err)
{
    for (;;) {
        const char *end =
            http->in.length > 0 ? memchr(http->in.data, '\n', http->in.length) : NULL;
        size_t length = end != NULL ? (size_t) (end - http->in.data) : http->in.length;
        if (length > CTL_HEAD_MAX) {
            ctr_fail(err, -EBADMSG, "the daemon's answer has too long a line");
            return NULL;
        }
        if (end != NULL) {
            size_t cut = length > 0 && end[-1] == '\r' ? length - 1 : length;
            char *line = strndup(http->in.data, cut);
            ctr_buf_consume(&http->in, length + 1);
            if (line == NULL) {
                ctr_fail(err, -ENOMEM, "out of memory");
            }
            return line;
        }
        int rc = receive(http, timeout_ms, err);
        if (rc == 0) {
            rc = ctr_fail(err, -ECONNRESET,
                          "the daemon closed the connection without an "
                          "answer; see 'ctrctl system logs'");
        }
        if (rc < 0) {
            return NULL;
        }
    }
}

static int
read_field(struct ctl_http *http, const char *line, struct ctr_error *err)
{
    size_t name = strcspn(line, ":");
    const char *value = line + name + (line[name] == ':');
    value += strspn(value, " \t");
    if (name == strlen("content-length") && strncasecmp(line, "content-length", name) == 0) {
        int64_t length;
        if (ctr_parse_int(value, 0, INT64_MAX, &length) < 0) {
            return ctr_fail(err, -EBADMSG, "the daemon's answer has a bad Content-Length");
        }
        if (http->body == CTL_BODY_END) {
            http->body = length > 0 ? CTL_BODY_LENGTH : CTL_BODY_NONE;
            http->left = (uint64_t) length;
        }
    } else if (name == strlen("transfer-encoding") &&
               strncasecmp(line, "transfer-encoding", name) == 0) {
        if (strcasecmp(value, "chunked") != 0) {
            return ctr_fail(err, -EBADMSG,
                            "the daemon's answer has an unknown Transfer-Encoding");
        }
        http->body = CTL_BODY_CHUNKED;
        http->left = 0;
    } else if (name == strlen("content-type") && strncasecmp(line, "content-type", name) == 0) {
        (void) snprintf(http->type, sizeof http->type, "%s", value);
        http->type[strcspn(http->type, "; ")] = '\0';
    }
    return 0;
}

static int
read_fields(struct ctl_http *http, int timeout_ms, struct ctr_error *err)
{
    for (int fields = 0;; fields++) {
        CTR_AUTO(free) char *line = take_line(http, timeout_ms, err);
        if (line == NULL) {
            return err->code;
        }
        if (line[0] == '\0') {
            return 0;
        }
        int rc = fields < 100 ? read_field(http, line, err)
                              : ctr_fail(err, -EBADMSG,
                                         "the daemon's answer has too many "
                                         "header fields");
        if (rc < 0) {
            return rc;
        }
    }
}

/* One head, be it interim or final. Only the wait for its first line can be woken up. */
static int
read_head(struct ctl_http *http, int timeout_ms, struct ctr_error *err)
{
    CTR_AUTO(free) char *first = take_line(http, timeout_ms, err);
    if (first == NULL) {
        return err->code;
    }
    int64_t status = 0;
    char number[4] = "";
    if (ctr_starts_with(first, "HTTP/1.") && strlen(first) >= 12) {
        memcpy(number, first + 9, 3);
    }
    if (ctr_parse_int(number, 100, 599, &status) < 0) {
        return ctr_fail(err, -EBADMSG, "what listens there does not speak HTTP; is it ctrd?");
    }
    http->status = (int) status;
    http->body = CTL_BODY_END;
    http->type[0] = '\0';
    int wake = http->wake;
    http->wake = -1;
    int rc = read_fields(http, timeout_ms, err);
    http->wake = wake;
    return rc;
}

/* The error that a reply of status 400 and more stands for. */
static int
reply_error(struct ctl_http *http, struct ctr_error *err)
{
    static const struct {
        int status, code;
    } codes[] = {{400, -EINVAL}, {401, -EACCES}, {403, -EPERM},
                 {404, -ENOENT}, {409, -EEXIST}, {501, -ENOSYS}};
    int code = -EIO;
    for (size_t i = 0; i < CTR_LENGTH(codes); i++) {
        code = codes[i].status == http->status ? codes[i].code : code;
    }
    struct ctr_error none = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *body = ctl_http_json(http, 10000, &none);
    const char *message = ctr_json_str(body, "message", NULL);
    if (message == NULL) {
        return ctr_fail(err, code,
                        "the daemon answers with status %d and no reason; see "
                        "'ctrctl system logs'",
                        http->status);
    }
    return ctr_fail(err, code, "%s", message);
}

int
ctl_http_head(struct ctl_http *http, int timeout_ms, struct ctr_error *err)
{
    do {
        int rc = read_head(http, timeout_ms, err);
        if (rc < 0) {
            return rc;
        }
    } while (http->status >= 100 && http->status < 200 && http->status != 101);
    if (http->status == 101) {
        http->upgraded = true;
        http->body = CTL_BODY_END;
    } else if (http->status == 204 || http->status == 304) {
        http->body = CTL_BODY_NONE;
    }
    return http->status >= 400 ? reply_error(http, err) : 0;
}

/* The next chunk's size line; at the last chunk also the trailer. */
static int
next_chunk(struct ctl_http *http, int timeout_ms, struct ctr_error *err)
{
    if (http->in_chunks) {
        CTR_AUTO(free) char *end = take_line(http, timeout_ms, err);
        if (end == NULL || end[0] != '\0') {
            return end == NULL ? err->code : ctr_fail(err, -EBADMSG, "bad chunk");
        }
        http->in_chunks = false;
    }
    CTR_AUTO(free) char *line = take_line(http, timeout_ms, err);
    if (line == NULL) {
        return err->code;
    }
    size_t digits = strspn(line, "0123456789abcdefABCDEF");
    if (digits == 0 || digits > 15 || (line[digits] != '\0' && line[digits] != ';')) {
        return ctr_fail(err, -EBADMSG, "the daemon's answer has a bad chunk size");
    }
    http->left = strtoull(line, NULL, 16);
    http->in_chunks = true;
    if (http->left == 0) {
        http->done = true;
    }
    return 0;
}

ssize_t
ctl_http_read(struct ctl_http *http, void *bytes, size_t n, int timeout_ms,
              struct ctr_error *err)
{
    if (http->done || http->body == CTL_BODY_NONE) {
        return 0;
    }
    if (http->body == CTL_BODY_CHUNKED && http->left == 0) {
        int rc = next_chunk(http, timeout_ms, err);
        if (rc < 0 || http->done) {
            return rc;
        }
    }
    if (http->in.length == 0) {
        int rc = receive(http, timeout_ms, err);
        if (rc < 0) {
            return rc;
        }
        if (rc == 0) {
            http->done = true;
            return http->body == CTL_BODY_END ? 0
                                              : ctr_fail(err, -ECONNRESET,
                                                         "the daemon broke off its answer; see "
                                                         "'ctrctl system logs'");
        }
    }
    size_t take = http->in.length < n ? http->in.length : n;
    if (http->body != CTL_BODY_END && http->left < take) {
        take = (size_t) http->left;
    }
    memcpy(bytes, http->in.data, take);
    ctr_buf_consume(&http->in, take);
    if (http->body != CTL_BODY_END) {
        http->left -= take;
        http->done = http->body == CTL_BODY_LENGTH && http->left == 0;
    }
    return (ssize_t) take;
}

json_t *
ctl_http_json(struct ctl_http *http, int timeout_ms, struct ctr_error *err)
{
    CTR_AUTO(buf) struct ctr_buf text = {0};
    char bytes[16384];
    for (;;) {
        ssize_t n = ctl_http_read(http, bytes, sizeof bytes, timeout_ms, err);
        if (n < 0) {
            return NULL;
        }
        if (n == 0) {
            break;
        }
        ctr_buf_add(&text, bytes, (size_t) n);
        if (text.failed || text.length > CTL_JSON_MAX) {
            ctr_fail(err, text.failed ? -ENOMEM : -EFBIG, "the daemon's answer is too long");
            return NULL;
        }
    }
    if (text.length == 0) {
        return json_null();
    }
    return ctr_json_parse(text.data, text.length, CTL_JSON_MAX, "the daemon's answer", err);
}

int
ctl_http_line(struct ctl_http *http, struct ctr_buf *line, int timeout_ms, json_t **ret,
              struct ctr_error *err)
{
    for (;;) {
        size_t skip = line->length > 0 ? strspn(line->data, " \r\n") : 0;
        ctr_buf_consume(line, skip);
        const char *end = line->length > 0 ? memchr(line->data, '\n', line->length) : NULL;
        if (end != NULL) {
            size_t length = (size_t) (end - line->data);
            *ret = ctr_json_parse(line->data, length, CTL_LINE_MAX, "the daemon's answer", err);
            ctr_buf_consume(line, length + 1);
            return *ret != NULL ? 1 : err->code;
        }
        char bytes[4096];
        ssize_t n = ctl_http_read(http, bytes, sizeof bytes, timeout_ms, err);
        if (n < 0) {
            return (int) n;
        }
        if (n == 0 && line->length == 0) {
            return 0;
        }
        ctr_buf_add(line, n > 0 ? bytes : "\n", n > 0 ? (size_t) n : 1);
        if (line->failed || line->length > CTL_LINE_MAX) {
            return ctr_fail(err, -EFBIG, "the daemon's answer has too long a line");
        }
    }
}

int
ctl_call(struct ctl *ctl, const char *method, const char *path, const json_t *body,
         json_t **ret, struct ctr_error *err)
{
    CTR_AUTO(http) struct ctl_http http = CTL_HTTP_INIT;
    int rc = ctl_http_send(ctl, &http, method, path, CTL_SEND_JSON, body, err);
    if (rc == 0) {
        rc = ctl_http_head(&http, -1, err);
    }
    if (rc < 0 || ret == NULL) {
        return rc;
    }
    json_t *reply = ctl_http_json(&http, -1, err);
    if (reply == NULL) {
        return err->code;
    }
    *ret = reply;
    return 0;
}
