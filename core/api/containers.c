/*
 * Containers: list, create, inspect and the verbs. Streams (attach, logs, wait, exec) are in stream.c and exec.c.
 */
#include "core/api/api-priv.h"

int
api_containers(struct ctr_request *request, struct ctr_error *err)
{
    static const char *const known[] = {"id",       "name",    "status", "label",
                                        "ancestor", "network", "exited", NULL};
    CTR_AUTO(json) json_t *filters = NULL;
    int64_t limit;
    if (ctr_docker_filters_parse(api_query(request, "filters"), known, &filters, err) < 0 ||
        api_query_int(request, "limit", -1, INT32_MAX, -1, &limit, err) < 0) {
        return err->code;
    }
    bool all = api_query_bool(request, "all", false) || limit > 0 ||
               json_object_get(filters, "status") != NULL ||
               json_object_get(filters, "exited") != NULL;
    CTR_AUTO(json) json_t *containers = ctr_engine_container_list(request->engine, all, err);
    if (containers == NULL) {
        return err->code;
    }
    json_t *list = json_array(), *container;
    size_t i;
    json_array_foreach(containers, i, container)
    {
        bool full = limit > 0 && json_array_size(list) >= (size_t) limit;
        if (!full && ctr_docker_filters_pass(filters, container)) {
            (void) json_array_append_new(list, docker_summary(container));
        }
    }
    return api_json(request, 200, list);
}

int
api_create(struct ctr_request *request, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *spec = NULL;
    CTR_AUTO(json) json_t *warnings = NULL;
    char id[65];
    if (ctr_docker_create_parse(request->body, api_query(request, "platform"), &spec, err) <
            0 ||
        ctr_engine_container_create(request->engine, api_query(request, "name"), spec, id,
                                    &warnings, err) < 0) {
        return err->code;
    }
    return api_json(request, 201, json_pack("{s:s,s:O}", "Id", id, "Warnings", warnings));
}

int
api_inspect(struct ctr_request *request, struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *container = ctr_engine_container_inspect(request->engine, request->capture, err);
    return container == NULL ? err->code : api_json(request, 200, docker_container(container));
}

int
api_start(struct ctr_request *request, struct ctr_error *err)
{
    if (ctr_engine_container_start(request->engine, request->capture, &request->exit, err) <
        0) {
        return err->code;
    }
    return api_empty(request, 204);
}

/* Parameters "t" and "signal". */
static int
stop_parameters(struct ctr_request *request, int *ret_signal, int64_t *ret_timeout,
                struct ctr_error *err)
{
    const char *signal = api_query(request, "signal");
    *ret_signal = *signal == '\0' ? 0 : ctr_signal_number(signal);
    if (*ret_signal < 0) {
        return ctr_fail(err, -EINVAL, "Invalid signal: %.80s", signal);
    }
    return api_query_int(request, "t", -1, INT32_MAX, CTR_TIMEOUT_DEFAULT, ret_timeout, err);
}

int
api_stop(struct ctr_request *request, struct ctr_error *err)
{
    int signal;
    int64_t timeout;
    if (stop_parameters(request, &signal, &timeout, err) < 0 ||
        ctr_engine_container_stop(request->engine, request->capture, signal, timeout, err) <
            0) {
        return err->code;
    }
    return api_empty(request, 204);
}

int
api_restart(struct ctr_request *request, struct ctr_error *err)
{
    int signal;
    int64_t timeout;
    if (stop_parameters(request, &signal, &timeout, err) < 0 ||
        ctr_engine_container_restart(request->engine, request->capture, signal, timeout, err) <
            0) {
        return err->code;
    }
    return api_empty(request, 204);
}

int
api_kill(struct ctr_request *request, struct ctr_error *err)
{
    const char *name = api_query(request, "signal");
    int signal = ctr_signal_number(*name == '\0' ? "KILL" : name);
    if (signal <= 0) {
        return ctr_fail(err, -EINVAL, "Invalid signal: %.80s", name);
    }
    if (ctr_engine_container_kill(request->engine, request->capture, signal, err) < 0) {
        return err->code;
    }
    return api_empty(request, 204);
}

int
api_rename(struct ctr_request *request, struct ctr_error *err)
{
    if (ctr_engine_container_rename(request->engine, request->capture,
                                    api_query(request, "name"), err) < 0) {
        return err->code;
    }
    return api_empty(request, 204);
}

int
api_resize(struct ctr_request *request, struct ctr_error *err)
{
    int64_t rows, cols;
    if (api_query_int(request, "h", 0, 65535, 0, &rows, err) < 0 ||
        api_query_int(request, "w", 0, 65535, 0, &cols, err) < 0 ||
        ctr_engine_container_resize(request->engine, request->capture, (int) rows, (int) cols,
                                    err) < 0) {
        return err->code;
    }
    return api_empty(request, 200);
}

int
api_remove(struct ctr_request *request, struct ctr_error *err)
{
    if (ctr_engine_container_remove(request->engine, request->capture,
                                    api_query_bool(request, "force", false), err) < 0) {
        return err->code;
    }
    return api_empty(request, 204);
}

/* --- wait --- */

struct waiting {
    struct ctr_waiter *waiter;
    int client;
    char *line; /* the answer, once it is known */
    size_t sent;
};

static ssize_t
waiting_next(void *arg, char *bytes, size_t max)
{
    struct waiting *waiting = arg;
    while (waiting->line == NULL) {
        int code = 0;
        const char *error = "";
        int rc = ctr_waiter_check(waiting->waiter, &code, &error);
        if (rc > 0) {
            CTR_AUTO(json) json_t *json = json_pack("{s:i}", "StatusCode", code);
            if (*error != '\0') {
                (void) json_object_set_new(json, "Error", json_pack("{s:s}", "Message", error));
            }
            CTR_AUTO(free) char *text = ctr_json_text(json);
            waiting->line = ctr_printf("%s\n", text == NULL ? "{}" : text);
            if (waiting->line == NULL) {
                return -ENOMEM;
            }
        } else if (rc < 0 ||
                   api_wait(waiting->client, ctr_waiter_fd(waiting->waiter), -1) < 0) {
            return -EPIPE;
        }
    }
    size_t left = strlen(waiting->line + waiting->sent), n = left < max ? left : max;
    memcpy(bytes, waiting->line + waiting->sent, n);
    waiting->sent += n;
    return (ssize_t) n;
}

static void
waiting_done(void *arg)
{
    struct waiting *waiting = arg;
    ctr_waiter_end(waiting->waiter);
    free(waiting->line);
    free(waiting);
}

int
api_container_wait(struct ctr_request *request, struct ctr_error *err)
{
    const char *name = api_query(request, "condition");
    enum ctr_wait_condition condition = CTR_WAIT_NOT_RUNNING;
    if (strcmp(name, "next-exit") == 0) {
        condition = CTR_WAIT_NEXT_EXIT;
    } else if (strcmp(name, "removed") == 0) {
        condition = CTR_WAIT_REMOVED;
    } else if (*name != '\0' && strcmp(name, "not-running") != 0) {
        return ctr_fail(err, -EINVAL,
                        "invalid condition: \"%.40s\": use not-running, next-exit or removed",
                        name);
    }
    struct waiting *waiting = calloc(1, sizeof *waiting);
    if (waiting == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    waiting->client = request->client;
    if (ctr_engine_wait_begin(request->engine, request->capture, condition, &waiting->waiter,
                              err) < 0) {
        waiting_done(waiting);
        return err->code;
    }
    return api_stream(request, "application/json", waiting_next, waiting_done, waiting);
}
