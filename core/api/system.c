/*
 * The engine itself: _ping, version, info, events, networks, and what is ours under /ctr/v1.
 */
#include "core/api/api-priv.h"
#include <sys/utsname.h>

int
api_ping(struct ctr_request *request, struct ctr_error *err)
{
    return api_text(request, 200, "OK");
}

int
api_version(struct ctr_request *request, struct ctr_error *err)
{
    struct utsname host;
    if (uname(&host) < 0) {
        return ctr_fail(err, -errno, "uname: %s", strerror(errno));
    }
    const char *arch = strcmp(host.machine, "x86_64") == 0    ? "amd64"
                       : strcmp(host.machine, "aarch64") == 0 ? "arm64"
                                                              : host.machine;
    return api_json(
        request, 200,
        json_pack("{s:{s:s},s:[{s:s,s:s,s:{s:s,s:s,s:s,s:s}}],s:s,s:s,s:s,s:s,s:s,s:s}",
                  "Platform", "Name", "ctr", "Components", "Name", "Engine", "Version",
                  CTR_VERSION, "Details", "ApiVersion", CTR_API_VERSION, "MinAPIVersion",
                  "1.24", "Os", "linux", "Arch", arch, "Version", CTR_VERSION, "ApiVersion",
                  CTR_API_VERSION, "MinAPIVersion", "1.24", "Os", "linux", "Arch", arch,
                  "KernelVersion", host.release));
}

int
api_info(struct ctr_request *request, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *info = ctr_engine_info(request->engine, err);
    return info == NULL ? err->code : api_json(request, 200, docker_info(info));
}

/* --- events --- */

struct events {
    struct ctr_waiter *waiter;
    int client;
    struct ctr_buf line;
    json_t *filters;
};

static bool
event_fits(const struct events *events, const json_t *event)
{
    static const char *const keys[][2] = {{"type", "type"}, {"event", "action"}};
    for (size_t i = 0; i < CTR_LENGTH(keys); i++) {
        json_t *wanted = json_object_get(events->filters, keys[i][0]), *value;
        size_t k;
        bool fits = json_array_size(wanted) == 0;
        json_array_foreach(wanted, k, value)
        {
            fits |= strcmp(json_string_value(value), ctr_json_str(event, keys[i][1], "")) == 0;
        }
        if (!fits) {
            return false;
        }
    }
    json_t *names = json_object_get(events->filters, "container"), *name;
    size_t k;
    bool fits = json_array_size(names) == 0;
    json_array_foreach(names, k, name)
    {
        fits |= strcmp(json_string_value(name), ctr_json_str(event, "name", "")) == 0 ||
                ctr_starts_with(ctr_json_str(event, "id", ""), json_string_value(name));
    }
    return fits;
}

static ssize_t
events_next(void *arg, char *bytes, size_t max)
{
    struct events *events = arg;
    while (events->line.length == 0) {
        bool end;
        CTR_AUTO(json) json_t *event = ctr_waiter_event(events->waiter, &end);
        if (event != NULL && event_fits(events, event)) {
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
    static const char *const known[] = {"type", "event", "container", NULL};
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

/* --- networks --- */

int
api_networks(struct ctr_request *request, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *networks = ctr_engine_network_list(request->engine, err);
    if (networks == NULL) {
        return err->code;
    }
    json_t *list = json_array(), *network;
    size_t i;
    json_array_foreach(networks, i, network)
    {
        (void) json_array_append_new(list, docker_network(network));
    }
    return api_json(request, 200, list);
}

int
api_network(struct ctr_request *request, struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *network = ctr_engine_network_inspect(request->engine, request->capture, err);
    if (network == NULL) {
        return err->code;
    }
    return api_json(request, 200, docker_network(network));
}

int
api_volumes(struct ctr_request *request, struct ctr_error *err)
{
    return api_json(request, 200, json_pack("{s:[],s:[]}", "Volumes", "Warnings"));
}

/* --- /ctr/v1 --- */

int
api_ctr_info(struct ctr_request *request, struct ctr_error *err)
{
    json_t *info = ctr_engine_info(request->engine, err);
    return info == NULL ? err->code : api_json(request, 200, info);
}

int
api_ctr_plugins(struct ctr_request *request, struct ctr_error *err)
{
    json_t *plugins = ctr_engine_plugins(request->engine, err);
    return plugins == NULL ? err->code : api_json(request, 200, plugins);
}

int
api_ctr_profile(struct ctr_request *request, struct ctr_error *err)
{
    json_t *profile = ctr_engine_profile(request->engine, err);
    return profile == NULL ? err->code : api_json(request, 200, profile);
}

int
api_ctr_container(struct ctr_request *request, struct ctr_error *err)
{
    json_t *json = ctr_engine_container_inspect(request->engine, request->capture, err);
    return json == NULL ? err->code : api_json(request, 200, json);
}

int
api_ctr_stats(struct ctr_request *request, struct ctr_error *err)
{
    json_t *json = ctr_engine_container_stats(request->engine, request->capture, err);
    return json == NULL ? err->code : api_json(request, 200, json);
}

int
api_ctr_stop(struct ctr_request *request, struct ctr_error *err)
{
    if (api_query_bool(request, "all", false) &&
        ctr_engine_stop_all(request->engine, err) < 0) {
        return err->code;
    }
    request->quit = true;
    return api_empty(request, 204);
}
