/*
 * Networks: Docker's calls, and the capture of what goes through one.
 */
#include "core/api/api-priv.h"

static bool
is_default(const json_t *network)
{
    return strcmp(ctr_json_str(network, "name", ""), "default") == 0;
}

static bool
is_builtin(const json_t *network)
{
    return is_default(network) || strcmp(ctr_json_str(network, "name", ""), "none") == 0;
}

/* --- list, inspect --- */

static bool
is_yes(const char *text)
{
    return strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
}

static bool
fits_one(const char *filter, const char *value, const json_t *network)
{
    if (strcmp(filter, "name") == 0) {
        return strstr(ctr_json_str(network, "name", ""), value) != NULL ||
               (is_default(network) && strcmp(value, "bridge") == 0);
    }
    if (strcmp(filter, "id") == 0) {
        return ctr_starts_with(ctr_json_str(network, "id", ""), value);
    }
    if (strcmp(filter, "driver") == 0) {
        return strcmp(ctr_json_str(network, "driver", ""), value) == 0 ||
               (strcmp(value, "bridge") == 0 && ctr_json_bool(network, "usual", false));
    }
    if (strcmp(filter, "label") == 0) {
        return ctr_json_has(json_object_get(network, "labels"), value);
    }
    if (strcmp(filter, "scope") == 0) {
        return strcmp(value, "local") == 0;
    }
    if (strcmp(filter, "type") == 0) {
        return is_builtin(network) == (strcmp(value, "builtin") == 0);
    }
    bool used = json_object_size(json_object_get(network, "containers")) > 0;
    return is_yes(value) == (!used && !is_builtin(network));
}

static int
check_filters(const json_t *filters, struct ctr_error *err)
{
    const char *type = json_string_value(json_array_get(json_object_get(filters, "type"), 0));
    return type == NULL || strcmp(type, "custom") == 0 || strcmp(type, "builtin") == 0
               ? 0
               : ctr_fail(err, -EINVAL, "invalid filter 'type=%.40s': custom or builtin", type);
}

int
api_networks(struct ctr_request *request, struct ctr_error *err)
{
    static const char *const known[] = {"name",  "id",   "driver",   "label",
                                        "scope", "type", "dangling", NULL};
    CTR_AUTO(json) json_t *filters = NULL;
    if (ctr_docker_filters_parse(api_query(request, "filters"), known, &filters, err) < 0 ||
        check_filters(filters, err) < 0) {
        return err->code;
    }
    CTR_AUTO(json) json_t *networks = ctr_engine_network_list(request->engine, err);
    if (networks == NULL) {
        return err->code;
    }
    const json_t *usual = NULL;
    json_t *list = json_array(), *network;
    size_t i;
    json_array_foreach(networks, i, network)
    {
        usual = is_default(network) ? network : usual;
    }
    json_array_foreach(networks, i, network)
    {
        bool same = strcmp(ctr_json_str(network, "driver", ""),
                           ctr_json_str(usual, "driver", "?")) == 0;
        (void) json_object_set_new(network, "usual", json_boolean(same));
        if (ctr_docker_filters_match(filters, network, fits_one)) {
            (void) json_array_append_new(list, docker_network(network, usual));
        }
    }
    return api_json(request, 200, list);
}

int
api_network(struct ctr_request *request, struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *network = ctr_engine_network_inspect(request->engine, request->capture, err);
    CTR_AUTO(json)
    json_t *usual =
        network == NULL ? NULL : ctr_engine_network_inspect(request->engine, "default", err);
    return usual == NULL ? err->code : api_json(request, 200, docker_network(network, usual));
}

/* --- create, remove, prune --- */

int
api_network_create(struct ctr_request *request, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *wish = NULL;
    char id[65];
    if (!json_is_object(request->body)) {
        return ctr_fail(err, -EINVAL, "the request needs a JSON object as its body");
    }
    if (ctr_docker_network_parse(request->body, &wish, err) < 0 ||
        ctr_engine_network_create(request->engine, wish, id, err) < 0) {
        return err->code;
    }
    return api_json(request, 201, json_pack("{s:s,s:s}", "Id", id, "Warning", ""));
}

/* Docker says 403, not 409, of a network that is in use. */
static int
forbid(int code, struct ctr_error *err)
{
    if (code == -EBUSY || code == -EEXIST) {
        err->code = -EPERM;
    }
    return err->code;
}

int
api_network_remove(struct ctr_request *request, struct ctr_error *err)
{
    int rc = ctr_engine_network_remove(request->engine, request->capture, err);
    return rc < 0 ? forbid(rc, err) : api_empty(request, 204);
}

int
api_networks_prune(struct ctr_request *request, struct ctr_error *err)
{
    static const char *const known[] = {"until", "label", "label!", NULL};
    CTR_AUTO(json) json_t *filters = NULL;
    CTR_AUTO(json) json_t *pruned = NULL;
    if (ctr_docker_filters_parse(api_query(request, "filters"), known, &filters, err) < 0 ||
        ctr_engine_network_prune(request->engine, filters, &pruned, err) < 0) {
        return err->code;
    }
    return api_json(request, 200,
                    json_pack("{s:O}", "NetworksDeleted", json_object_get(pruned, "networks")));
}

/* --- connect, disconnect --- */

static int
container_of(const json_t *body, const char **ret, struct ctr_error *err)
{
    *ret = ctr_json_str(body, "Container", "");
    return **ret != '\0' ? 0 : ctr_fail(err, -EINVAL, "Container is missing: name one");
}

int
api_network_connect(struct ctr_request *request, struct ctr_error *err)
{
    const char *container;
    CTR_AUTO(json) json_t *endpoint = json_object();
    if (container_of(request->body, &container, err) < 0 ||
        ctr_docker_endpoint_parse(json_object_get(request->body, "EndpointConfig"), endpoint,
                                  err) < 0) {
        return err->code;
    }
    int rc =
        ctr_engine_network_connect(request->engine, request->capture, container, endpoint, err);
    return rc < 0 ? forbid(rc, err) : api_empty(request, 200);
}

int
api_network_disconnect(struct ctr_request *request, struct ctr_error *err)
{
    const char *container;
    if (container_of(request->body, &container, err) < 0) {
        return err->code;
    }
    int rc = ctr_engine_network_disconnect(request->engine, request->capture, container,
                                           ctr_json_bool(request->body, "Force", false), err);
    return rc < 0 ? forbid(rc, err) : api_empty(request, 200);
}

/* --- capture --- */

struct capture {
    int fd;
    int client;
};

static ssize_t
capture_next(void *arg, char *bytes, size_t max)
{
    const struct capture *capture = arg;
    for (;;) {
        int rc = api_wait(capture->client, capture->fd, -1);
        ssize_t n = rc < 0 ? -1 : read(capture->fd, bytes, max);
        if (rc < 0) {
            return -EPIPE;
        }
        if (n >= 0 || (errno != EINTR && errno != EAGAIN)) {
            return n < 0 ? -EIO : n;
        }
    }
}

static void
capture_done(void *arg)
{
    struct capture *capture = arg;
    ctr_auto_fd(&capture->fd);
    free(capture);
}

int
api_ctr_capture(struct ctr_request *request, struct ctr_error *err)
{
    const char *container = api_query(request, "container");
    int64_t count;
    if (api_query_int(request, "count", 0, INT64_MAX, 0, &count, err) < 0) {
        return err->code;
    }
    struct capture *capture = calloc(1, sizeof *capture);
    if (capture == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    *capture = (struct capture){.fd = -1, .client = request->client};
    if (ctr_engine_network_capture(request->engine, request->capture,
                                   *container == '\0' ? NULL : container, count, &capture->fd,
                                   err) < 0) {
        capture_done(capture);
        return err->code;
    }
    return api_stream(request, "application/vnd.tcpdump.pcap", capture_next, capture_done,
                      capture);
}
