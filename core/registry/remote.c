/*
 * A repository at its registry, and at the registry's mirrors: where they are, and a request with its further tries. What may go away is
 * tried again, at most limits.tries times with growing pauses; a challenge is answered once for each secret.
 */
#include "core/registry/registry-priv.h"

#define MIRROR_TRIES 2 /* of a mirror, before the next is asked */

/* --- opening --- */

/* https, unless the host is this machine or the profile says plain_http; a CA in the profile means https in any case. */
static const char *
remote_scheme(const struct ctr_client *client, const char *host)
{
    const struct ctr_conf_host *settings =
        client->conf != NULL ? ctr_conf_host(client->conf, host) : NULL;
    if (settings != NULL && settings->plain_http) {
        return "http";
    }
    bool has_tls =
        settings != NULL && (settings->ca[0] != '\0' || settings->client_cert[0] != '\0');
    return origin_is_loopback(host) && !has_tls ? "http" : "https";
}

static int
endpoint_init(struct ctr_endpoint *endpoint, struct ctr_remote *remote, const char *scheme,
              const char *host, const struct ctr_remote_wish *wish, struct ctr_error *err)
{
    bool hub = strcmp(host, "docker.io") == 0;
    endpoint->remote = remote;
    (void) snprintf(endpoint->host, sizeof endpoint->host, "%s", host);
    (void) snprintf(endpoint->root, sizeof endpoint->root, "%s://%s/v2/", scheme,
                    hub ? ORIGIN_HUB : host);
    CTR_AUTO(buf) struct ctr_buf scopes = {0};
    if (endpoint->repository[0] != '\0') {
        ctr_buf_printf(&scopes, "repository:%s:%s", endpoint->repository,
                       remote->push ? "pull,push" : "pull");
    }
    for (size_t i = 0; wish != NULL && i < wish->n_sources; i++) {
        ctr_buf_printf(&scopes, " repository:%s:pull", wish->sources[i]);
    }
    endpoint->scopes = ctr_buf_take(&scopes);
    if (endpoint->scopes == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    (void) pthread_mutex_init(&endpoint->mutex, NULL);
    endpoint->generation = 1;
    if (remote->credential == NULL || endpoint->mirror) {
        token_cache_get(endpoint);
    }
    remote->n_endpoints++;
    return 0;
}

/* "[SCHEME://]HOST[:PORT][/PATH]"; the path stands before the repository's name. */
static int
remote_add_mirror(struct ctr_remote *remote, const char *text, struct ctr_error *err)
{
    struct ctr_endpoint *endpoint = &remote->endpoints[remote->n_endpoints];
    const char *colons = strstr(text, "://");
    const char *at = colons != NULL ? colons + 3 : text;
    const char *slash = at + strcspn(at, "/");
    char host[256];
    (void) snprintf(host, sizeof host, "%.*s", (int) (slash - at), at);
    (void) snprintf(endpoint->repository, sizeof endpoint->repository, "%.255s%s%s",
                    *slash == '/' ? slash + 1 : "",
                    slash[0] != '\0' && slash[1] != '\0' ? "/" : "", remote->ref->repository);
    endpoint->mirror = true;
    const char *scheme = colons == NULL ? remote_scheme(remote->transfer->client, host)
                         : ctr_starts_with(text, "http://") ? "http"
                                                            : "https";
    return endpoint_init(endpoint, remote, scheme, host, NULL, err);
}

int
ctr_remote_init(struct ctr_remote *remote, struct ctr_transfer *transfer,
                const struct ctr_ref *ref, const struct ctr_remote_wish *wish,
                struct ctr_error *err)
{
    memset(remote, 0, sizeof *remote);
    remote->transfer = transfer;
    remote->ref = ref;
    remote->credential = wish != NULL ? wish->credential : NULL;
    remote->push = wish != NULL && wish->push;
    remote->offline = wish != NULL && wish->offline;
    const struct ctr_conf_host *settings =
        transfer->client->conf != NULL ? ctr_conf_host(transfer->client->conf, ref->host)
                                       : NULL;
    int rc = 0;
    for (size_t i = 0; rc == 0 && settings != NULL && !remote->push && !remote->offline &&
                       i < settings->n_mirrors;
         i++) {
        rc = remote_add_mirror(remote, settings->mirrors[i], err);
    }
    if (rc == 0) {
        struct ctr_endpoint *home = &remote->endpoints[remote->n_endpoints];
        (void) snprintf(home->repository, sizeof home->repository, "%s", ref->repository);
        rc = endpoint_init(home, remote, remote_scheme(transfer->client, ref->host), ref->host,
                           wish, err);
    }
    if (rc < 0) {
        ctr_remote_finish(remote);
    }
    return rc;
}

void
ctr_remote_finish(struct ctr_remote *remote)
{
    for (size_t i = 0; i < remote->n_endpoints; i++) {
        struct ctr_endpoint *endpoint = &remote->endpoints[i];
        secret_destroy(endpoint->secret);
        secret_destroy(endpoint->identity);
        free(endpoint->challenges);
        free(endpoint->scopes);
        (void) pthread_mutex_destroy(&endpoint->mutex);
    }
    remote->n_endpoints = 0;
}

struct ctr_endpoint *
ctr_remote_home(struct ctr_remote *remote)
{
    return &remote->endpoints[remote->n_endpoints - 1];
}

void
endpoint_put_down(struct ctr_endpoint *endpoint)
{
    (void) pthread_mutex_lock(&endpoint->mutex);
    endpoint->down = true;
    (void) pthread_mutex_unlock(&endpoint->mutex);
}

bool
endpoint_is_down(struct ctr_endpoint *endpoint)
{
    (void) pthread_mutex_lock(&endpoint->mutex);
    bool down = endpoint->down;
    (void) pthread_mutex_unlock(&endpoint->mutex);
    return down;
}

void
ctr_remote_distrust(struct ctr_remote *remote)
{
    for (size_t i = 0; i + 1 < remote->n_endpoints; i++) {
        endpoint_put_down(&remote->endpoints[i]);
    }
}

/* --- where it may go on --- */

const struct ctr_conf_host *
ctr_endpoint_settings(const struct ctr_endpoint *endpoint)
{
    struct origin origin;
    struct ctr_error ignored = CTR_ERROR_INIT;
    return origin_parse(endpoint->root, &origin, &ignored) == 0
               ? origin_settings(endpoint->remote->transfer->client->conf, &origin)
               : NULL;
}

int
ctr_endpoint_onward(const struct ctr_endpoint *endpoint, const char *url, const char *location,
                    char **ret_url, bool *ret_foreign, struct ctr_error *err)
{
    struct origin home, to;
    CTR_AUTO(free) char *next = origin_resolve(url, location, err);
    int rc = next != NULL ? origin_parse(next, &to, err) : err->code;
    rc = rc < 0 ? rc : origin_parse(endpoint->root, &home, err);
    rc = rc < 0 ? rc
                : http_check_onward(endpoint->remote->transfer->client->conf, &home, &to, err);
    if (rc == 0) {
        *ret_foreign = !origin_same(&home, &to);
        *ret_url = ctr_steal(&next);
    }
    return rc;
}

/* --- failures in the registry's own words --- */

/* From {"errors": [{"code", "message"}]}. */
void
ctr_remote_reason(const struct ctr_http_response *response, char ret[160])
{
    struct ctr_error ignored = CTR_ERROR_INIT;
    CTR_AUTO(json)
    json_t *body = response->body.length > 0
                       ? ctr_json_parse(response->body.data, response->body.length,
                                        CTR_MAX_ANSWER, "error", &ignored)
                       : NULL;
    const json_t *first = json_array_get(json_object_get(body, "errors"), 0);
    CTR_AUTO(free) char *code = ctr_printable(ctr_json_str(first, "code", ""));
    (void) snprintf(ret, 160, "%ld%s%.100s", response->status,
                    code != NULL && code[0] != '\0' ? " " : "", code != NULL ? code : "");
}

static int
remote_fail_rate(const struct ctr_http_response *response, const char *reason, const char *host,
                 struct ctr_error *err)
{
    char left[96] = "", wait[64] = "wait";
    if (response->rate_left >= 0 && response->rate_limit > 0) {
        (void) snprintf(left, sizeof left, ", %lld of %lld requests left",
                        (long long) response->rate_left, (long long) response->rate_limit);
    } else if (response->rate_left >= 0) {
        (void) snprintf(left, sizeof left, ", %lld requests left",
                        (long long) response->rate_left);
    }
    if (response->retry_after > 0) {
        (void) snprintf(wait, sizeof wait, "wait %lld seconds",
                        (long long) response->retry_after);
    }
    return ctr_fail(err, -EBUSY,
                    "the registry limits the rate of requests (%s%s); %s, or log in: ctrctl "
                    "login %s",
                    reason, left, wait, host);
}

int
ctr_remote_fail(const struct ctr_endpoint *endpoint, const struct ctr_http_response *response,
                const char *what, struct ctr_error *err)
{
    char reason[160];
    ctr_remote_reason(response, reason);
    const char *host = endpoint->host, *repository = endpoint->repository;
    switch (response->status) {
    case 401:
    case 403:
        return ctr_fail(
            err, -EACCES, "access denied (%s): %s; check the name, or log in: ctrctl login %s",
            reason,
            endpoint->remote->push ? "the login may not push to this repository"
                                   : "the repository does not exist or needs a login",
            host);
    case 404:
        if (ctr_starts_with(what, "blob")) {
            return ctr_fail(err, -ENOENT,
                            "the registry has lost %s of this image (%s); push it again", what,
                            reason);
        }
        return ctr_fail(err, -ENOENT,
                        "the registry has no such repository or tag (%s); check the name, or "
                        "list tags: ctrctl search-tags %s/%s",
                        reason, host, repository);
    case 407:
        return ctr_fail(err, -EACCES,
                        "the proxy for %s wants another login (%s); check the user name and "
                        "password in https_proxy and http_proxy, or in proxy of "
                        "[registry.host \"%s\"]",
                        host, reason, host);
    case 429:
        return remote_fail_rate(response, reason, host, err);
    default:
        return ctr_fail(err, -EIO, "the registry answered %s for %s; try again later", reason,
                        what);
    }
}

/* --- one try --- */

static bool
status_may_go_away(long status)
{
    return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 ||
           status == 504;
}

int
ctr_remote_again(const struct ctr_endpoint *endpoint, struct ctr_remote_loop *loop,
                 int64_t retry_after)
{
    struct ctr_transfer *transfer = endpoint->remote->transfer;
    const struct ctr_http_limits *limits = &transfer->client->limits;
    if (++loop->tries >= (endpoint->mirror ? MIRROR_TRIES : limits->tries)) {
        return 0;
    }
    int64_t wait = (int64_t) limits->backoff_ms << (loop->tries - 1);
    if (retry_after > limits->retry_after_s) {
        retry_after = limits->retry_after_s;
    }
    if (retry_after * 1000 > wait) {
        wait = retry_after * 1000;
    }
    return ctr_transfer_sleep(transfer, wait) ? -ECANCELED : 1;
}

/* A 401: one new login for each request. More, up to a limit, only where the refused secret was good for another thread's
 * request or may just have been: a token that is used up is no login that is refused. */
static int
remote_login(struct ctr_endpoint *endpoint, struct ctr_remote_loop *loop, unsigned seen,
             const struct ctr_http_response *response, struct ctr_error *err)
{
    (void) pthread_mutex_lock(&endpoint->mutex);
    free(endpoint->challenges);
    endpoint->challenges = strdup(response->challenges);
    bool refused = loop->renewed && endpoint->worked < seen && endpoint->in_flight == 0;
    loop->renewed = loop->renewed || endpoint->generation == seen;
    (void) pthread_mutex_unlock(&endpoint->mutex);
    if (refused || ++loop->logins > endpoint->remote->transfer->client->limits.tries) {
        return ctr_remote_fail(endpoint, response, "a login", err);
    }
    int rc = remote_authenticate(endpoint, seen, response->challenges, err);
    return rc < 0 ? rc : 1;
}

/* A secret whose time is up is renewed before the registry has to ask, so that an upload is not begun in vain. */
static int
remote_renew(struct ctr_endpoint *endpoint, struct ctr_error *err)
{
    CTR_AUTO(free) char *challenges = NULL;
    (void) pthread_mutex_lock(&endpoint->mutex);
    unsigned seen = endpoint->generation;
    if (endpoint->until > 0 && endpoint->until <= ctr_monotonic_ns()) {
        secret_destroy(ctr_steal(&endpoint->secret));
        endpoint->until = 0;
        challenges = endpoint->challenges != NULL ? strdup(endpoint->challenges) : NULL;
    }
    (void) pthread_mutex_unlock(&endpoint->mutex);
    return challenges != NULL ? remote_authenticate(endpoint, seen, challenges, err) : 0;
}

int
ctr_remote_try(struct ctr_endpoint *endpoint, struct ctr_remote_loop *loop,
               struct ctr_http_call *call, struct ctr_http_response *response,
               struct ctr_error *err)
{
    int rc = call->anonymous ? 0 : remote_renew(endpoint, err);
    if (rc < 0) {
        return rc;
    }
    (void) pthread_mutex_lock(&endpoint->mutex);
    unsigned seen = endpoint->generation;
    struct secret *secret = call->anonymous ? NULL : secret_copy(endpoint->secret);
    endpoint->in_flight++;
    (void) pthread_mutex_unlock(&endpoint->mutex);
    call->secret = secret;
    rc = http_request(endpoint->remote->transfer, call, response, err);
    call->secret = NULL;
    secret_destroy(secret);
    (void) pthread_mutex_lock(&endpoint->mutex);
    endpoint->in_flight--;
    if (rc == 0 && response->status != 401 && endpoint->worked < seen) {
        endpoint->worked = seen;
    }
    (void) pthread_mutex_unlock(&endpoint->mutex);
    if (rc == 0 && response->status == 401 && !call->anonymous) {
        return remote_login(endpoint, loop, seen, response, err);
    }
    bool again = rc < 0 ? response->retry : status_may_go_away(response->status);
    if (!again) {
        return rc;
    }
    int more = ctr_remote_again(endpoint, loop, response->retry_after);
    if (more == -ECANCELED) {
        return ctr_fail_cancelled(err);
    }
    if (more == 0 && rc < 0) {
        return ctr_prefix(err, "given up after %d tries", loop->tries);
    }
    return more;
}

int
ctr_remote_ask(struct ctr_endpoint *endpoint, struct ctr_http_call *call,
               struct ctr_http_response *response, struct ctr_error *err)
{
    struct ctr_remote_loop loop = {0};
    int rc = 1;
    while (rc == 1) {
        rc = ctr_remote_try(endpoint, &loop, call, response, err);
    }
    return rc;
}
