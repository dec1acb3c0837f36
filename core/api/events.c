/*
 * GET /events: what happens from now on, a JSON object a line, until the client goes.
 */
#include "core/api/api-priv.h"

struct events {
    struct ctr_waiter *waiter;
    int client;
    struct ctr_buf line;
    json_t *filters;
};

static bool
is_network(const json_t *event)
{
    return strcmp(ctr_json_str(event, "type", ""), "network") == 0;
}

/* The object itself, by name, ID or the beginning of one. */
static bool
is_object(const json_t *event, const char *value)
{
    return strcmp(ctr_json_str(event, "name", ""), value) == 0 ||
           ctr_starts_with(ctr_json_str(event, "id", ""), value);
}

static bool
fits_one(const char *filter, const char *value, const json_t *event)
{
    if (strcmp(filter, "type") == 0) {
        return strcmp(ctr_json_str(event, "type", ""), value) == 0;
    }
    if (strcmp(filter, "event") == 0) {
        return strcmp(ctr_json_str(event, "action", ""), value) == 0;
    }
    if (strcmp(filter, "network") == 0) {
        return is_network(event) && is_object(event, value);
    }
    return is_network(event)
               ? ctr_starts_with(
                     ctr_json_str(json_object_get(event, "attributes"), "container", ""), value)
               : is_object(event, value);
}

static ssize_t
events_next(void *arg, char *bytes, size_t max)
{
    struct events *events = arg;
    while (events->line.length == 0) {
        bool end;
        CTR_AUTO(json) json_t *event = ctr_waiter_event(events->waiter, &end);
        if (event != NULL && ctr_docker_filters_match(events->filters, event, fits_one)) {
            CTR_AUTO(json) json_t *json = docker_event(event);
            CTR_AUTO(free) char *line = ctr_json_text(json);
            ctr_buf_printf(&events->line, "%s\n", line == NULL ? "" : line);
        } else if (event == NULL && end) {
            return 0;
        } else if (event == NULL &&
                   api_wait(events->client, ctr_waiter_fd(events->waiter), -1) < 0) {
            return -EPIPE;
        }
    }
    size_t n = events->line.length < max ? events->line.length : max;
    memcpy(bytes, events->line.data, n);
    ctr_buf_consume(&events->line, n);
    return (ssize_t) n;
}

static void
events_done(void *arg)
{
    struct events *events = arg;
    ctr_waiter_end(events->waiter);
    json_decref(events->filters);
    ctr_buf_clear(&events->line);
    free(events);
}

int
api_events(struct ctr_request *request, struct ctr_error *err)
{
    static const char *const known[] = {"type", "event", "container", "network", NULL};
    struct events *events = calloc(1, sizeof *events);
    if (events == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    events->client = request->client;
    if (ctr_docker_filters_parse(api_query(request, "filters"), known, &events->filters, err) <
            0 ||
        ctr_engine_events(request->engine, &events->waiter, err) < 0) {
        events_done(events);
        return err->code;
    }
    return api_stream(request, "application/json", events_next, events_done, events);
}
