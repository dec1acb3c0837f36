/*
 * The server: connections, their limits, requests collected and handed to a route, and the ways to answer.
 *
 * Limits: 240 connections; when more than 96 of them have sent no whole request, the longest idle one is ended for each
 * new one, so that idle or half-sent connections never keep others out. A request must have arrived whole within a minute.
 */
#include "core/api/api-priv.h"
#include <poll.h>
#include <sys/socket.h>

#define CONNECTIONS_MAX 240
#define IDLE_MAX 96
#define IDLE_SECONDS 60
#define REAP_MS 5000

struct ctr_api_conn {
    struct ctr_api_conn *next;
    struct ctr_api *api;
    int fd;
    int64_t since;
    bool refused, busy, upgraded;
};

/* --- connections --- */

/* Locked. MHD closes a socket only after it left the list: the number is still its own. */
static void
end_conn(struct ctr_api_conn *conn)
{
    (void) shutdown(conn->fd, SHUT_RDWR);
    conn->since = ctr_monotonic_ns();
}

static void
evict_idle(struct ctr_api *api)
{
    struct ctr_api_conn *oldest = NULL;
    for (struct ctr_api_conn *c = api->conns; c != NULL; c = c->next) {
        if (!c->busy && (oldest == NULL || c->since < oldest->since)) {
            oldest = c;
        }
    }
    if (api->n_idle > IDLE_MAX && oldest != NULL) {
        end_conn(oldest);
    }
}

static void
reap(void *arg)
{
    struct ctr_api *api = arg;
    pthread_mutex_lock(&api->lock);
    int64_t limit = ctr_monotonic_ns() - IDLE_SECONDS * 1000000000ll;
    for (struct ctr_api_conn *c = api->conns; c != NULL; c = c->next) {
        if (!c->busy && c->since < limit) {
            end_conn(c);
        }
    }
    if (api->conns != NULL) {
        ctr_timer_set(api->timer, REAP_MS);
    }
    pthread_mutex_unlock(&api->lock);
}

static void
arm_reaper(void *arg)
{
    struct ctr_api *api = arg;
    if (api->timer != NULL) {
        ctr_timer_set(api->timer, REAP_MS);
    }
}

static void
conn_busy(struct ctr_api_conn *conn, bool busy)
{
    if (conn == NULL || conn->busy == busy) {
        return;
    }
    pthread_mutex_lock(&conn->api->lock);
    conn->busy = busy;
    conn->api->n_idle += busy ? -1u : 1u;
    conn->since = ctr_monotonic_ns();
    pthread_mutex_unlock(&conn->api->lock);
}

static void
conn_begin(struct ctr_api *api, struct MHD_Connection *connection, void **context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct ctr_api_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL || info == NULL) {
        free(conn);
        return;
    }
    struct ctr_error err = CTR_ERROR_INIT;
    conn->api = api;
    conn->fd = info->connect_fd;
    conn->refused = ctr_unix_check_peer(conn->fd, &err) < 0;
    conn->since = ctr_monotonic_ns();
    if (conn->refused) {
        ctr_log(CTR_LEVEL_WARN, "client=refused error=\"%s\"", err.msg);
    }
    *context = conn;
    pthread_mutex_lock(&api->lock);
    bool first = api->conns == NULL;
    evict_idle(api);
    conn->next = api->conns;
    api->conns = conn;
    api->n_idle++;
    if (api->ending || conn->refused) {
        end_conn(conn);
    }
    pthread_mutex_unlock(&api->lock);
    if (first) {
        (void) ctr_loop_post(api->loop, arm_reaper, api);
    }
}

static void
conn_end(struct ctr_api *api, struct ctr_api_conn *conn)
{
    if (conn == NULL) {
        return;
    }
    pthread_mutex_lock(&api->lock);
    for (struct ctr_api_conn **at = &api->conns; *at != NULL; at = &(*at)->next) {
        if (*at == conn) {
            *at = conn->next;
            break;
        }
    }
    api->n_idle -= conn->busy ? 0 : 1;
    pthread_mutex_unlock(&api->lock);
    free(conn);
}

static void
on_connection(void *arg, struct MHD_Connection *connection, void **context,
              enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        conn_begin(arg, connection, context);
    } else {
        conn_end(arg, *context);
        *context = NULL;
    }
}

/* --- answering --- */

static int
queue(struct ctr_request *request, int status, const char *type, struct MHD_Response *response)
{
    if (response == NULL) {
        return -ENOMEM;
    }
    if (type != NULL) {
        (void) MHD_add_response_header(response, "Content-Type", type);
    }
    (void) MHD_add_response_header(response, "Api-Version", CTR_API_VERSION);
    (void) MHD_add_response_header(response, "Docker-Experimental", "false");
    (void) MHD_add_response_header(response, "Ostype", "linux");
    (void) MHD_add_response_header(response, "Server", "ctr/" CTR_VERSION " (linux)");
    enum MHD_Result rc = MHD_queue_response(request->connection, (unsigned) status, response);
    MHD_destroy_response(response);
    request->answered = rc == MHD_YES;
    return rc == MHD_YES ? 0 : -EIO;
}

static int
answer_bytes(struct ctr_request *request, int status, const char *type, char *take_text)
{
    struct MHD_Response *response =
        take_text == NULL ? NULL
                          : MHD_create_response_from_buffer(strlen(take_text), take_text,
                                                            MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(take_text);
    }
    return queue(request, status, type, response);
}

int
api_json(struct ctr_request *request, int status, json_t *take_json)
{
    char *text = take_json == NULL ? NULL : ctr_json_text(take_json);
    json_decref(take_json);
    char *line = text == NULL ? NULL : ctr_printf("%s\n", text);
    free(text);
    return answer_bytes(request, status, "application/json", line);
}

int
api_text(struct ctr_request *request, int status, const char *text)
{
    return answer_bytes(request, status, "text/plain; charset=utf-8", strdup(text));
}

int
api_empty(struct ctr_request *request, int status)
{
    return queue(
        request, status, NULL,
        MHD_create_response_from_buffer(0, (void *) (uintptr_t) "", MHD_RESPMEM_PERSISTENT));
}

struct stream {
    ssize_t (*next)(void *arg, char *bytes, size_t max);
    void (*done)(void *arg);
    void *arg;
};

static ssize_t
stream_next(void *cls, uint64_t position, char *bytes, size_t max)
{
    struct stream *stream = cls;
    ssize_t n = stream->next(stream->arg, bytes, max);
    return n > 0    ? n
           : n == 0 ? MHD_CONTENT_READER_END_OF_STREAM
                    : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void
stream_done(void *cls)
{
    struct stream *stream = cls;
    stream->done(stream->arg);
    free(stream);
}

int
api_stream(struct ctr_request *request, const char *type,
           ssize_t (*next)(void *arg, char *bytes, size_t max), void (*done)(void *arg),
           void *arg)
{
    struct stream *stream = calloc(1, sizeof *stream);
    struct MHD_Response *response = NULL;
    if (stream != NULL) {
        *stream = (struct stream){.next = next, .done = done, .arg = arg};
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 32 * 1024, stream_next,
                                                     stream, stream_done);
    }
    if (response == NULL) {
        free(stream);
        done(arg);
    }
    return queue(request, 200, type, response);
}

struct upgrade {
    struct ctr_request *request;
    void (*run)(void *arg, int socket, const char *extra, size_t n);
    void (*done)(void *arg);
    void *arg;
};

static void
on_upgrade(void *cls, struct MHD_Connection *connection, void *context, const char *extra,
           size_t n, MHD_socket socket, struct MHD_UpgradeResponseHandle *handle)
{
    struct upgrade *upgrade = cls;
    upgrade->run(upgrade->arg, socket, extra, n);
    upgrade->done(upgrade->arg);
    free(upgrade);
    (void) MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
}

bool
api_wants_upgrade(struct ctr_request *request)
{
    const char *value =
        MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Upgrade");
    return value != NULL && strcasecmp(value, "tcp") == 0;
}

int
api_upgrade(struct ctr_request *request, const char *type,
            void (*run)(void *arg, int socket, const char *extra, size_t n),
            void (*done)(void *arg), void *arg, struct ctr_error *err)
{
    struct upgrade *upgrade = calloc(1, sizeof *upgrade);
    struct MHD_Response *response = NULL;
    if (upgrade != NULL) {
        *upgrade = (struct upgrade){.request = request, .run = run, .done = done, .arg = arg};
        response = MHD_create_response_for_upgrade(on_upgrade, upgrade);
    }
    int rc = -ENOMEM;
    if (response != NULL) {
        (void) MHD_add_response_header(response, "Upgrade", "tcp");
        request->conn->upgraded = true;
        rc = queue(request, MHD_HTTP_SWITCHING_PROTOCOLS, type, response);
    }
    if (rc < 0) {
        free(upgrade);
        done(arg);
        return ctr_fail(err, rc, "the connection cannot be taken over");
    }
    return 0;
}

int
api_wait(int client, int fd, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = client, .events = 0}};
    int n;
    do {
        n = poll(fds, 2, timeout_ms);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return -errno;
    }
    if ((fds[1].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) {
        return -EPIPE;
    }
    return fds[0].revents != 0;
}

int
api_status(int code)
{
    switch (code) {
    case -ENOENT:
        return 404;
    case -EEXIST:
    case -EBUSY:
        return 409;
    case -EALREADY:
        return 304;
    case -EINVAL:
    case -ERANGE:
    case -E2BIG:
    case -ENOTSUP:
        return 400;
    case -EPERM:
    case -EACCES:
        return 403;
    case -EFBIG:
        return 413;
    default:
        return 500;
    }
}

static void
answer_error(struct ctr_request *request, int status, const struct ctr_error *err)
{
    if (status == 304) {
        (void) api_empty(request, status);
        return;
    }
    CTR_AUTO(free) char *message = ctr_printable(err->msg);
    json_t *json = json_pack("{s:s}", "message", message == NULL ? "out of memory" : message);
    if (json != NULL && request->exit != 0) {
        (void) json_object_set_new(json, "exit", json_integer(request->exit));
    }
    if (status >= 500) {
        ctr_log(CTR_LEVEL_ERROR, "method=%s path=%s status=%d error=\"%s\"", request->method,
                request->path, status, err->msg);
    }
    (void) api_json(request, status, json);
}

/* --- query --- */

const char *
api_query(struct ctr_request *request, const char *key)
{
    const char *value =
        MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, key);
    return value == NULL ? "" : value;
}

struct query_all {
    const char *key;
    json_t *values;
};

static enum MHD_Result
add_value(void *arg, enum MHD_ValueKind kind, const char *key, const char *value)
{
    struct query_all *all = arg;
    if (strcmp(key, all->key) == 0 && value != NULL && *value != '\0') {
        (void) json_array_append_new(all->values, json_string(value));
    }
    return MHD_YES;
}

json_t *
api_query_all(struct ctr_request *request, const char *key)
{
    struct query_all all = {key, json_array()};
    if (all.values != NULL) {
        (void) MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, add_value,
                                         &all);
    }
    return all.values;
}

const char *
api_header(struct ctr_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

bool
api_is_gone(void *request)
{
    struct pollfd fd = {.fd = ((struct ctr_request *) request)->client, .events = 0};
    return poll(&fd, 1, 0) > 0 && (fd.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

bool
api_query_bool(struct ctr_request *request, const char *key, bool def)
{
    const char *value = api_query(request, key);
    if (*value == '\0') {
        return def;
    }
    return strcmp(value, "0") != 0 && strcasecmp(value, "false") != 0 &&
           strcasecmp(value, "no") != 0 && strcasecmp(value, "none") != 0;
}

int
api_query_int(struct ctr_request *request, const char *key, int64_t min, int64_t max,
              int64_t def, int64_t *ret, struct ctr_error *err)
{
    const char *value = api_query(request, key);
    if (*value == '\0') {
        *ret = def;
        return 0;
    }
    if (ctr_parse_int(value, min, max, ret) < 0) {
        return ctr_fail(err, -EINVAL,
                        "parameter %s must be a number from %lld to %lld, not \"%.40s\"", key,
                        (long long) min, (long long) max, value);
    }
    return 0;
}

/* --- requests --- */

static const struct ctr_route *
find_route(struct ctr_request *request, struct ctr_error *err)
{
    bool path_known = false;
    const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
    for (const struct ctr_route *route = ctr_api_routes; route->method != NULL; route++) {
        if (!ctr_api_match(route->pattern, request->path, request->capture,
                           sizeof request->capture)) {
            continue;
        }
        path_known = true;
        if (strcmp(route->method, method) == 0) {
            return route;
        }
    }
    (void) ctr_fail(err, path_known ? -EPROTO : -ENOENT, "%s",
                    path_known ? "method not allowed" : "page not found");
    return NULL;
}

static void
begin_request(struct ctr_request *request, const char *url)
{
    struct ctr_error *err = &request->early;
    const char *path = url;
    request->head_seen = true;
    if (ctr_api_strip_version(url, &path, err) < 0) {
        request->early_status = 400;
    }
    request->path = strdup(path);
    if (request->path == NULL) {
        request->early_status = 500;
        return;
    }
    if (request->early_status == 0) {
        request->route = find_route(request, err);
    }
    if (request->early_status == 0 && request->route == NULL) {
        request->early_status = err->code == -ENOENT ? 404 : 405;
    }
    if (request->early_status == 0 && request->route->begin != NULL &&
        request->route->begin(request, err) < 0) {
        request->early_status = api_status(err->code);
    }
    if (request->job != NULL) {
        conn_busy(request->conn, true); /* archives may take their time */
        return;
    }
    const char *length = api_header(request, "Content-Length");
    int64_t n = 0;
    if (request->early_status == 0 && length != NULL &&
        (ctr_parse_int(length, 0, INT64_MAX, &n) < 0 || n > CTR_BODY_MAX)) {
        (void) ctr_fail(err, -EFBIG, "the request's body is larger than 16 MiB");
        request->early_status = 413;
    }
}

static enum MHD_Result
take_body(struct ctr_request *request, const char *bytes, size_t *n)
{
    if (request->job != NULL) {
        api_job_bytes(request, bytes, *n);
    } else if (request->early_status == 0 && request->raw.length + *n <= CTR_BODY_MAX) {
        ctr_buf_add(&request->raw, bytes, *n);
    } else {
        request->dropped += *n;
        if (request->early_status == 0) {
            (void) ctr_fail(&request->early, -EFBIG,
                            "the request's body is larger than 16 MiB");
            request->early_status = 413;
            ctr_buf_clear(&request->raw);
        }
    }
    *n = 0;
    /* A client that is not much over the cap is read to the end, so that it hears why. */
    return request->dropped > 4 * CTR_BODY_MAX ? MHD_NO : MHD_YES;
}

static int
parse_body(struct ctr_request *request, struct ctr_error *err)
{
    size_t blank = 0;
    while (blank < request->raw.length && strchr(" \t\r\n", request->raw.data[blank]) != NULL) {
        blank++;
    }
    if (request->raw.failed) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (blank == request->raw.length) {
        return 0;
    }
    request->body = ctr_json_parse(request->raw.data, request->raw.length, CTR_BODY_MAX,
                                   "request body", err);
    if (request->body == NULL) {
        err->code = -EINVAL;
        return err->code;
    }
    if (!json_is_object(request->body)) {
        return json_is_null(request->body)
                   ? 0
                   : ctr_fail(err, -EINVAL, "request body: a JSON object is expected");
    }
    return 0;
}

static enum MHD_Result
finish_request(struct ctr_request *request)
{
    struct ctr_error err = CTR_ERROR_INIT;
    conn_busy(request->conn, true);
    if (request->early_status != 0) {
        answer_error(request, request->early_status, &request->early);
    } else if (parse_body(request, &err) < 0 || request->route->handle(request, &err) < 0) {
        if (!request->answered) {
            answer_error(request, api_status(err.code), &err);
        }
    }
    if (request->raw.data != NULL) { /* a login's body is a secret */
        explicit_bzero(request->raw.data, request->raw.length);
    }
    ctr_buf_clear(&request->raw);
    return request->answered ? MHD_YES : MHD_NO;
}

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
           const char *version, const char *bytes, size_t *n, void **context)
{
    struct ctr_request *request = *context;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct ctr_api_conn *conn = info == NULL ? NULL : info->socket_context;
    if (conn == NULL || conn->refused || request == NULL) {
        return MHD_NO;
    }
    if (!request->head_seen) {
        request->connection = connection;
        request->conn = conn;
        request->client = conn->fd;
        request->method = method;
        begin_request(request, url);
        return MHD_YES;
    }
    if (*n > 0) {
        return take_body(request, bytes, n);
    }
    return request->answered ? MHD_YES : finish_request(request);
}

static void *
on_uri(void *arg, const char *uri, struct MHD_Connection *connection)
{
    struct ctr_api *api = arg;
    struct ctr_request *request = calloc(1, sizeof *request);
    if (request != NULL) {
        request->api = api;
        request->engine = api->engine;
        request->early = (struct ctr_error) CTR_ERROR_INIT;
    }
    return request;
}

static void
on_completed(void *arg, struct MHD_Connection *connection, void **context,
             enum MHD_RequestTerminationCode code)
{
    struct ctr_request *request = *context;
    if (request == NULL) {
        return;
    }
    *context = NULL;
    if (request->quit) {
        request->api->quit(request->api->quit_arg);
    }
    if (request->conn != NULL && !request->conn->upgraded) {
        conn_busy(request->conn, false);
    }
    api_job_drop(request->job);
    json_decref(request->body);
    ctr_buf_clear(&request->raw);
    free(request->path);
    free(request);
}

/* --- the server --- */

static void
no_log(void *arg, const char *format, va_list args)
{
    char line[256];
    (void) vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\n")] = '\0';
    ctr_log(CTR_LEVEL_DEBUG, "http=\"%s\"", line);
}

int
ctr_api_create(struct ctr_engine *engine, struct ctr_loop *loop, int take_listen_fd,
               void (*quit)(void *arg), void *arg, struct ctr_api **ret, struct ctr_error *err)
{
    struct ctr_api *api = calloc(1, sizeof *api);
    if (api == NULL) {
        (void) close(take_listen_fd);
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    api->engine = engine;
    api->loop = loop;
    api->quit = quit;
    api->quit_arg = arg;
    pthread_mutex_init(&api->lock, NULL);
    api->timer = ctr_timer_add(loop, REAP_MS, reap, api);
    api->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
            MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG | MHD_USE_ITC,
        0, NULL, NULL, on_request, api, MHD_OPTION_EXTERNAL_LOGGER, no_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, take_listen_fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned) CONNECTIONS_MAX, MHD_OPTION_THREAD_STACK_SIZE, (size_t) CTR_API_STACK,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, api, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, NULL, MHD_OPTION_URI_LOG_CALLBACK, on_uri, api,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) (64 * 1024), MHD_OPTION_END);
    if (api->daemon == NULL) {
        ctr_timer_remove(api->timer);
        free(api);
        (void) close(take_listen_fd);
        return ctr_fail(err, -EIO, "the HTTP server does not start");
    }
    *ret = api;
    return 0;
}

void
ctr_api_destroy(struct ctr_api *api)
{
    if (api == NULL) {
        return;
    }
    ctr_timer_remove(ctr_steal(&api->timer));
    pthread_mutex_lock(&api->lock);
    api->ending = true;
    for (struct ctr_api_conn *c = api->conns; c != NULL; c = c->next) {
        end_conn(c);
    }
    pthread_mutex_unlock(&api->lock);
    MHD_stop_daemon(api->daemon);
    pthread_mutex_destroy(&api->lock);
    free(api);
}
