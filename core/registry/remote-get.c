/*
 * Pulling from a repository (distribution-spec, "Pull"): manifests and blobs, from its mirrors in their order and at last from the
 * registry itself. A cut download goes on where it ended, also at the next address; digests are checked wherever bytes come from.
 */
#include "core/registry/registry-priv.h"

#define MANIFEST_TYPES                                                                         \
    "application/vnd.oci.image.index.v1+json, "                                                \
    "application/vnd.docker.distribution.manifest.list.v2+json, "                              \
    "application/vnd.oci.image.manifest.v1+json, "                                             \
    "application/vnd.docker.distribution.manifest.v2+json"

/* The address to ask after `at` (NULL: the first) failed; NULL: there is none left, and err stands. */
static struct ctr_endpoint *
remote_next(struct ctr_remote *remote, struct ctr_endpoint *at, int rc,
            const struct ctr_error *err)
{
    if (at == ctr_remote_home(remote) || rc == -ECANCELED || rc == -ENOMEM || rc == -ENOSPC) {
        return NULL;
    }
    if (at != NULL) {
        CTR_AUTO(free) char *why = ctr_printable(err->msg);
        ctr_log(CTR_LEVEL_WARN, "event=mirror-failed mirror=%s error=\"%s\"", at->host,
                why != NULL ? why : "");
        if (rc != -ENOENT) {
            endpoint_put_down(at);
        }
    }
    struct ctr_endpoint *next = at != NULL ? at + 1 : remote->endpoints;
    while (next != ctr_remote_home(remote) && endpoint_is_down(next)) {
        next++;
    }
    return next;
}

static char *
remote_url(const struct ctr_endpoint *endpoint, const char *kind, const char *name)
{
    return ctr_printf("%s%s/%s/%s", endpoint->root, endpoint->repository, kind, name);
}

/* --- manifests --- */

static int
manifest_take(const struct ctr_endpoint *endpoint, const char *name,
              struct ctr_http_response *response, char *ret_type, char *ret_digest,
              struct ctr_error *err)
{
    if (response->status != 200) {
        return ctr_remote_fail(endpoint, response, "the manifest", err);
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

static int
manifest_get(struct ctr_endpoint *endpoint, const char *name,
             struct ctr_http_response *response, char *ret_type, char *ret_digest,
             struct ctr_error *err)
{
    CTR_AUTO(free) char *url = remote_url(endpoint, "manifests", name);
    if (url == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    struct ctr_http_call call = {.url = url,
                                 .accept = MANIFEST_TYPES,
                                 .max = CTR_MAX_DOCUMENT,
                                 .total_s = endpoint->remote->transfer->client->limits.total_s};
    int rc = ctr_remote_ask(endpoint, &call, response, err);
    rc = rc < 0 ? rc : manifest_take(endpoint, name, response, ret_type, ret_digest, err);
    if (rc == 0 && response->body.length == 0) {
        rc = ctr_fail(err, -EBADMSG, "the registry sent an empty manifest");
    }
    return rc;
}

int
ctr_remote_manifest(struct ctr_remote *remote, const char *name, char **ret, size_t *ret_length,
                    char *ret_type, char *ret_digest, struct ctr_error *err)
{
    struct ctr_http_response response = {0};
    struct ctr_endpoint *at = NULL;
    int rc = -EIO;
    while (rc < 0 && (at = remote_next(remote, at, rc, err)) != NULL) {
        rc = manifest_get(at, name, &response, ret_type, ret_digest, err);
    }
    if (rc == 0) {
        *ret_length = response.body.length;
        *ret = ctr_buf_take(&response.body);
        rc = *ret == NULL ? ctr_fail(err, -ENOMEM, "out of memory") : 0;
    }
    ctr_http_response_clear(&response);
    return rc;
}

static int
head_take(struct ctr_endpoint *endpoint, const char *name, struct ctr_http_response *response,
          struct ctr_error *err)
{
    CTR_AUTO(free) char *url = remote_url(endpoint, "manifests", name);
    if (url == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    struct ctr_http_call call = {.url = url,
                                 .method = "HEAD",
                                 .accept = MANIFEST_TYPES,
                                 .total_s = endpoint->remote->transfer->client->limits.total_s};
    int rc = ctr_remote_ask(endpoint, &call, response, err);
    bool unknown =
        response->status == 400 || response->status == 405 || response->status == 501;
    if (rc == 0 && response->status != 200 && !unknown) {
        return ctr_remote_fail(endpoint, response, "the manifest", err);
    }
    if (rc == 0 && (unknown || !ctr_is_digest(response->digest) || response->length < 0)) {
        return ctr_fail(err, -ENOTSUP, "the registry does not tell a manifest's digest");
    }
    return rc;
}

int
ctr_remote_head(struct ctr_remote *remote, const char *name, char *ret_digest, char *ret_type,
                uint64_t *ret_size, struct ctr_error *err)
{
    struct ctr_http_response response = {0};
    struct ctr_endpoint *at = NULL;
    int rc = -EIO;
    while (rc < 0 && (at = remote_next(remote, at, rc, err)) != NULL) {
        rc = head_take(at, name, &response, err);
    }
    if (rc == 0) {
        memcpy(ret_digest, response.digest, 72);
        (void) snprintf(ret_type, 160, "%s", response.content_type);
        *ret_size = (uint64_t) response.length;
    }
    ctr_http_response_clear(&response);
    return rc;
}

/* --- blobs --- */

struct blob_fetch {
    struct ctr_endpoint *endpoint;
    const struct ctr_remote_blob *blob;
    uint64_t offset; /* of the next byte that the sink gets */
    uint64_t skip;   /* bytes of this answer that the sink has had */
    bool no_range;   /* the registry refused one */
    bool refused;    /* by the sink: another address would be too */
};

/* The answer's head: does it carry the bytes that are missing? */
static int
blob_begin(void *arg, const struct ctr_http_response *response, struct ctr_error *err)
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
    fetch->refused = rc < 0;
    return rc;
}

/* The answer of a whole try: 0 done, 1 again. */
static int
blob_answer(struct blob_fetch *fetch, struct ctr_remote_loop *loop,
            const struct ctr_http_response *response, struct ctr_error *err)
{
    const struct ctr_remote_blob *blob = fetch->blob;
    if (response->status == 416 && fetch->offset > 0 && !fetch->no_range) {
        fetch->no_range = true;
        return ctr_remote_again(fetch->endpoint, loop, 0);
    }
    if (response->status != 200 && response->status != 206) {
        char what[96];
        (void) snprintf(what, sizeof what, "blob %s", blob->digest);
        return ctr_remote_fail(fetch->endpoint, response, what, err);
    }
    if (fetch->offset == blob->size) {
        return 0;
    }
    int more = ctr_remote_again(fetch->endpoint, loop, 0);
    if (more != 0) {
        return more;
    }
    return ctr_fail(err, -EIO, "blob %s ended after %llu of %llu bytes, %d times; try again",
                    blob->digest, (unsigned long long) fetch->offset,
                    (unsigned long long) blob->size, loop->tries);
}

/* From one address, from fetch->offset on. */
static int
blob_get(struct blob_fetch *fetch, struct ctr_error *err)
{
    struct ctr_endpoint *endpoint = fetch->endpoint;
    const struct ctr_remote_blob *blob = fetch->blob;
    CTR_AUTO(free)
    char *url =
        blob->url != NULL ? strdup(blob->url) : remote_url(endpoint, "blobs", blob->digest);
    if (url == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    struct ctr_http_response response = {0};
    struct ctr_remote_loop loop = {0};
    int rc = fetch->offset < blob->size ? 1 : 0;
    while (rc == 1) {
        struct ctr_http_call call = {
            .url = url,
            .anonymous = blob->url != NULL,
            .offset = fetch->no_range ? 0 : fetch->offset,
            .begin = blob_begin,
            .sink = blob_sink,
            .arg = fetch,
            .total_s = endpoint->remote->transfer->client->limits.total_s * 5 +
                       (long) (blob->size >> 14)};
        rc = ctr_remote_try(endpoint, &loop, &call, &response, err);
        if (rc == 0) {
            rc = blob_answer(fetch, &loop, &response, err);
        }
    }
    ctr_http_response_clear(&response);
    return rc == -ECANCELED ? ctr_fail_cancelled(err) : rc;
}

int
ctr_remote_blob(struct ctr_remote *remote, struct ctr_remote_blob *blob, struct ctr_error *err)
{
    struct blob_fetch fetch = {.blob = blob, .offset = blob->offset};
    struct ctr_endpoint *at = NULL;
    uint64_t from = blob->offset;
    int rc = -EIO;
    if (blob->url != NULL) {
        fetch.endpoint = ctr_remote_home(remote);
        return blob_get(&fetch, err);
    }
    while (rc < 0 && !fetch.refused && (at = remote_next(remote, at, rc, err)) != NULL) {
        fetch.endpoint = at;
        fetch.no_range = false;
        rc = blob_get(&fetch, err);
        blob->mirrored =
            blob->mirrored || (at->mirror && (fetch.refused || fetch.offset > from));
    }
    return rc;
}
