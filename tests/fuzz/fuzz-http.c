/*
 * Everything that the API parses of a request: the path, Docker's documents, filters, X-Registry-Auth; and the words that come of an accepted
 * document. Input: a path, a line feed, a body.
 */
#include "core/api/api-priv.h"
#include "core/engine/engine-priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
fuzz_path(const char *path)
{
    char capture[1024];
    const char *rest = path;
    struct ctr_error err = CTR_ERROR_INIT;
    if (ctr_api_strip_version(path, &rest, &err) < 0) {
        return;
    }
    for (const struct ctr_route *route = ctr_api_routes; route->method != NULL; route++) {
        (void) ctr_api_match(route->pattern, rest, capture, sizeof capture);
    }
}

/* The header with a client's credentials. */
static void
fuzz_auth(const char *text)
{
    struct ctr_docker_auth auth;
    struct ctr_error err = CTR_ERROR_INIT;
    if (ctr_docker_auth_parse(text, "reg:5000", &auth, &err) == 0) {
        ctr_docker_auth_finish(&auth);
    }
}

/* An accepted document goes on to the merge and back into Docker's words. */
static void
fuzz_create(const json_t *body)
{
    static const struct ctr_conf_engine defaults = {.cpus = 1, .memory = 256 << 20};
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *spec = NULL;
    CTR_AUTO(json) json_t *merged = NULL;
    CTR_AUTO(json) json_t *args = NULL;
    if (ctr_docker_create_parse(body, "linux/amd64", &spec, &err) < 0) {
        return;
    }
    /* The same bytes serve as a hostile image's config. */
    if (ctr_spec_merge(spec, body, "0123456789abcdef", &defaults, &merged, &args, &err) < 0) {
        return;
    }
    json_decref(ctr_spec_env(merged, true, NULL));
    CTR_AUTO(json) json_t *c = json_pack("{s:O,s:O}", "spec", merged, "args", args);
    json_decref(docker_container(c));
    json_decref(docker_summary(c));
}

/* A document of a new network, or of an endpoint; what is taken can be told again. */
static void
fuzz_network(const json_t *body)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *request = NULL;
    CTR_AUTO(json) json_t *endpoint = json_object();
    if (ctr_docker_network_parse(body, &request, &err) == 0) {
        json_decref(docker_network(request, NULL));
    }
    (void) ctr_docker_endpoint_parse(body, endpoint, &err);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const known[] = {"status", "label", "name", "ancestor", NULL};
    const uint8_t *end = size == 0 ? NULL : memchr(data, '\n', size);
    size_t length = end == NULL ? size : (size_t) (end - data);
    CTR_AUTO(free) char *path = strndup((const char *) data, length);
    if (path == NULL) {
        return 0;
    }
    struct ctr_error err = CTR_ERROR_INIT;
    fuzz_path(path);
    fuzz_auth(path);
    CTR_AUTO(json) json_t *filters = NULL;
    if (ctr_docker_filters_parse(path, known, &filters, &err) == 0) {
        CTR_AUTO(json) json_t *none = json_object();
        (void) ctr_docker_filters_pass(filters, none);
    }
    if (end == NULL) {
        return 0;
    }
    CTR_AUTO(json)
    json_t *body = ctr_json_parse(end + 1, size - length - 1, CTR_BODY_MAX, "body", &err);
    if (body != NULL) {
        CTR_AUTO(json) json_t *exec = NULL;
        fuzz_create(body);
        fuzz_network(body);
        (void) ctr_docker_exec_parse(body, &exec, &err);
    }
    return 0;
}
