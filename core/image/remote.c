/*
 * A repository at a registry: manifests and blobs (distribution-spec, "Pulling"). Tries again what may go away, at most
 * limits.tries times with growing pauses, goes on where a cut download ended, and checks digest and size of what came.
 */
#include "core/image/remote.h"

/* --- opening --- */

/* https, unless the host is this machine or the profile says plain_http; a CA in the profile means https in any case. */
static const char *
remote_scheme(const struct ctr_images *images, const char *host)
{
    const struct ctr_conf_host *settings =
        images->conf != NULL ? ctr_conf_host(images->conf, host) : NULL;
    if (settings != NULL && settings->plain_http) {
        return "http";
    }
    bool has_ca = settings != NULL && settings->ca[0] != '\0';
    return origin_is_loopback(host) && !has_ca ? "http" : "https";
}

int
remote_init(struct remote *remote, struct image_op *op, const struct ctr_ref *ref,
            struct ctr_error *err)
{
    memset(remote, 0, sizeof *remote);
    remote->op = op;
    remote->ref = ref;
    bool hub = strcmp(ref->host, "docker.io") == 0;
    const char *host = hub ? "registry-1.docker.io" : ref->host;
    (void) snprintf(remote->host, sizeof remote->host, "%s", ref->host);
    (void) snprintf(remote->base, sizeof remote->base, "%s://%s/v2/",
                    remote_scheme(op->images, ref->host), host);
    (void) pthread_mutex_init(&remote->mutex, NULL);
    remote->secret = token_cache_get(op->images, remote);
    remote->generation = 1;
    return 0;
}

void
remote_finish(struct remote *remote)
{
    secret_destroy(remote->secret);
    (void) pthread_mutex_destroy(&remote->mutex);
}

/* --- failures in the registry's own words --- */

/* "404 MANIFEST_UNKNOWN" from {"errors": [{"code", "message"}]}. */
static void
remote_reason(const struct http_response *response, char ret[160])
{
    struct ctr_error ignored = CTR_ERROR_INIT;
    CTR_AUTO(json)
    json_t *body = response->body.length > 0
                       ? ctr_json_parse(response->body.data, response->body.length,
                                        IMAGE_MAX_BODY, "error", &ignored)
                       : NULL;
    const json_t *first = json_array_get(json_object_get(body, "errors"), 0);
    CTR_AUTO(free) char *code = ctr_printable(ctr_json_str(first, "code", ""));
    (void) snprintf(ret, 160, "%ld%s%.100s", response->status,
                    code != NULL && code[0] != '\0' ? " " : "", code != NULL ? code : "");
}

static int
remote_fail(const struct remote *remote, const struct http_response *response, const char *what,
            struct ctr_error *err)
{
    char reason[160];
    remote_reason(response, reason);
    const char *host = remote->ref->host, *repository = remote->ref->repository;
    switch (response->status) {
    case 401:
    case 403:
        return ctr_fail(
            err, -EACCES,
            "access denied (%s): the repository does not exist or needs a login; check the "
            "name, or log in to %s",
            reason, host);
    case 404:
        if (ctr_starts_with(what, "blob")) {
            return ctr_fail(err, -ENOENT,
                            "the registry has lost %s of this image (%s); push it again", what,
                            reason);
        }
        return ctr_fail(
            err, -ENOENT,
            "the registry has no such repository or tag (%s); check the name, or list tags "
            "with skopeo list-tags docker://%s/%s",
            reason, host, repository);
    case 429:
        return ctr_fail(err, -EBUSY,
                        "the registry limits the rate of pulls (%s); wait, or log in to %s",
                        reason, host);
    default:
        return ctr_fail(err, -EIO, "the registry answered %s for %s; try again later", reason,
                        what);
    }
}

/* --- one try --- */

struct remote_loop {
    int tries;  /* failed ones */
    int logins; /* answered 401s */
    bool renewed;
};

static bool
status_may_go_away(long status)
{
    return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 ||
           status == 504;
}

/* 1: go again. Waits in between; the registry's wish counts up to a limit. */
static int
remote_again(struct remote *remote, struct remote_loop *loop, int64_t retry_after)
{
    const struct http_limits *limits = &remote->op->images->limits;
    if (++loop->tries >= limits->tries) {
        return 0;
    }
    int64_t wait = (int64_t) limits->backoff_ms << (loop->tries - 1);
    if (retry_after > limits->retry_after_s) {
        retry_after = limits->retry_after_s;
    }
    if (retry_after * 1000 > wait) {
        wait = retry_after * 1000;
    }
    return op_sleep(remote->op, wait) ? -ECANCELED : 1;
}

/* A 401: one new login for each request. More, up to a limit, only where the refused secret was good for another thread's
 * request or may just have been: a token that is used up is no login that is refused. */
static int
remote_login(struct remote *remote, struct remote_loop *loop, unsigned seen,
             const struct http_response *response, struct ctr_error *err)
{
    (void) pthread_mutex_lock(&remote->mutex);
    bool refused = loop->renewed && remote->worked < seen && remote->in_flight == 0;
    loop->renewed = loop->renewed || remote->generation == seen;
    (void) pthread_mutex_unlock(&remote->mutex);
    if (refused || ++loop->logins > remote->op->images->limits.tries) {
        return remote_fail(remote, response, "a login", err);
    }
    int rc = remote_authenticate(remote, seen, response->challenges, err);
    return rc < 0 ? rc : 1;
}

/* 0: the response holds the last word; 1: go again; else failed. */
static int
remote_try(struct remote *remote, struct remote_loop *loop, struct http_call *call,
           struct http_response *response, struct ctr_error *err)
{
    (void) pthread_mutex_lock(&remote->mutex);
    unsigned seen = remote->generation;
    struct secret *secret = call->anonymous ? NULL : secret_copy(remote->secret);
    remote->in_flight++;
    (void) pthread_mutex_unlock(&remote->mutex);
    call->secret = secret;
    int rc = http_request(remote->op, call, response, err);
    call->secret = NULL;
    secret_destroy(secret);
    (void) pthread_mutex_lock(&remote->mutex);
    remote->in_flight--;
    if (rc == 0 && response->status != 401 && remote->worked < seen) {
        remote->worked = seen;
    }
    (void) pthread_mutex_unlock(&remote->mutex);
    if (rc == 0 && response->status == 401 && !call->anonymous) {
        return remote_login(remote, loop, seen, response, err);
    }
    bool again = rc < 0 ? response->retry : status_may_go_away(response->status);
    if (!again) {
        return rc;
    }
    int more = remote_again(remote, loop, response->retry_after);
    if (more == -ECANCELED) {
        return op_fail_cancelled(err);
    }
    if (more == 0 && rc < 0) {
        return ctr_prefix(err, "given up after %d tries", loop->tries);
    }
    return more;
}

/* --- manifests --- */

static int
remote_take_manifest(struct remote *remote, const char *name, struct http_response *response,
                     char *ret_type, char *ret_digest, struct ctr_error *err)
{
    if (response->status != 200) {
        return remote_fail(remote, response, "the manifest", err);
    }
    struct ctr_sha256 *sha = ctr_sha256_create();
    if (sha == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    ctr_sha256_add(sha, response->body.data, response->body.length);
    ctr_sha256_finish(sha, ret_digest);
    ctr_sha256_destroy(sha);
    if (ctr_is_digest(name) && strcmp(name, ret_digest) != 0) {
        return ctr_fail(err, -EBADMSG, "manifest %s: the bytes received hash to %s", name,
                        ret_digest);
    }
    if (ctr_is_digest(response->digest) && strcmp(response->digest, ret_digest) != 0) {
        return ctr_fail(err, -EBADMSG,
                        "the registry announced manifest %s, but its bytes hash to %s",
                        response->digest, ret_digest);
    }
    (void) snprintf(ret_type, 160, "%s", response->content_type);
    return 0;
}

int
remote_manifest(struct remote *remote, const char *name, char **ret, size_t *ret_length,
                char *ret_type, char *ret_digest, struct ctr_error *err)
{
    CTR_AUTO(free)
    char *url = ctr_printf("%s%s/manifests/%s", remote->base, remote->ref->repository, name);
    if (url == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    struct http_call call = {.url = url,
                             .accept = MEDIA_ACCEPT,
                             .max = IMAGE_MAX_DOCUMENT,
                             .total_s = remote->op->images->limits.total_s};
    struct http_response response = {0};
    struct remote_loop loop = {0};
    int rc = 1;
    while (rc == 1) {
        rc = remote_try(remote, &loop, &call, &response, err);
    }
    if (rc == 0) {
        rc = remote_take_manifest(remote, name, &response, ret_type, ret_digest, err);
    }
    if (rc == 0) {
        *ret_length = response.body.length;
        *ret = ctr_buf_take(&response.body);
        rc = *ret == NULL ? ctr_fail(err, -EBADMSG, "the registry sent an empty manifest") : 0;
    }
    http_response_clear(&response);
    return rc;
}

/* --- blobs --- */

struct blob_fetch {
    struct remote *remote;
    const struct remote_blob *blob;
    uint64_t offset; /* of the next byte that the sink gets */
    uint64_t skip;   /* bytes of this answer that the sink has had */
    bool no_range;   /* the registry refused one */
};

/* The answer's head: does it carry the bytes that are missing? */
static int
blob_begin(void *arg, const struct http_response *response, struct ctr_error *err)
{
    struct blob_fetch *fetch = arg;
    if (response->status == 206 && response->range_start != (int64_t) fetch->offset) {
        return ctr_fail(err, -EBADMSG,
                        "blob %s: the registry sent another range than asked for",
                        fetch->blob->digest);
    }
    uint64_t from = response->status == 206 ? fetch->offset : 0;
    fetch->skip = fetch->offset - from;
    if (response->length >= 0 && (uint64_t) response->length != fetch->blob->size - from) {
        return ctr_fail(err, -EBADMSG, "blob %s: the registry sends %lld bytes instead of %llu",
                        fetch->blob->digest, (long long) response->length,
                        (unsigned long long) (fetch->blob->size - from));
    }
    return 0;
}

static int
blob_sink(void *arg, const void *bytes, size_t length, struct ctr_error *err)
{
    struct blob_fetch *fetch = arg;
    size_t had = fetch->skip < length ? (size_t) fetch->skip : length;
    fetch->skip -= had;
    length -= had;
    if (length == 0) {
        return 0;
    }
    int rc = fetch->blob->sink(fetch->blob->arg, (const char *) bytes + had, length, err);
    fetch->offset += rc < 0 ? 0 : length;
    return rc;
}

/* The answer of a whole try: 0 done, 1 again. */
static int
blob_answer(struct blob_fetch *fetch, struct remote_loop *loop,
            const struct http_response *response, struct ctr_error *err)
{
    const struct remote_blob *blob = fetch->blob;
    if (response->status == 416 && fetch->offset > 0 && !fetch->no_range) {
        fetch->no_range = true;
        return remote_again(fetch->remote, loop, 0);
    }
    if (response->status != 200 && response->status != 206) {
        char what[96];
        (void) snprintf(what, sizeof what, "blob %s", blob->digest);
        return remote_fail(fetch->remote, response, what, err);
    }
    if (fetch->offset == blob->size) {
        return 0;
    }
    int more = remote_again(fetch->remote, loop, 0);
    if (more != 0) {
        return more;
    }
    return ctr_fail(err, -EIO, "blob %s ended after %llu of %llu bytes, %d times; try again",
                    blob->digest, (unsigned long long) fetch->offset,
                    (unsigned long long) blob->size, loop->tries);
}

int
remote_blob(struct remote *remote, const struct remote_blob *blob, struct ctr_error *err)
{
    struct blob_fetch fetch = {.remote = remote, .blob = blob, .offset = blob->offset};
    CTR_AUTO(free)
    char *url =
        blob->url != NULL
            ? strdup(blob->url)
            : ctr_printf("%s%s/blobs/%s", remote->base, remote->ref->repository, blob->digest);
    if (url == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    struct http_response response = {0};
    struct remote_loop loop = {0};
    int rc = fetch.offset < blob->size ? 1 : 0;
    while (rc == 1) {
        struct http_call call = {.url = url,
                                 .anonymous = blob->url != NULL,
                                 .offset = fetch.no_range ? 0 : fetch.offset,
                                 .begin = blob_begin,
                                 .sink = blob_sink,
                                 .arg = &fetch,
                                 .total_s = remote->op->images->limits.total_s * 5 +
                                            (long) (blob->size >> 14)};
        rc = remote_try(remote, &loop, &call, &response, err);
        if (rc == 0) {
            rc = blob_answer(&fetch, &loop, &response, err);
        }
    }
    http_response_clear(&response);
    return rc == -ECANCELED ? op_fail_cancelled(err) : rc;
}
