/*
 * One blob to a repository (distribution-spec, "Push"): skipped where the registry has it, mounted where another of its
 * repositories has it, else sent, in one request or in chunks. A chunked upload that breaks asks how far it got and goes on.
 *
 * The registry names the address of an upload. Where that is another origin, it gets the bytes but no credentials, and the
 * rules for redirects hold.
 */
#include "core/image/image-priv.h"

#define CHUNK_DEFAULT ((uint64_t) 16 << 20) /* where the registry takes no whole blob */
#define CHUNK_LEAST ((uint64_t) 64 << 10)
#define SHOW_EVERY ((uint64_t) 512 << 10)

struct upload {
    struct image_op *op;
    struct ctr_endpoint *endpoint;
    const char *digest;
    uint64_t size;
    int fd;
    char *url;       /* where it goes on */
    bool anonymous;  /* at another origin */
    uint64_t offset; /* bytes that the registry has */
    uint64_t chunk;  /* 0: whole */
    uint64_t least;  /* the smallest chunk that the registry takes */
    uint64_t shown;
    struct ctr_remote_loop loop;
};

/* --- answers --- */

static int
upload_fail(const struct upload *upload, const struct ctr_http_response *response,
            struct ctr_error *err)
{
    char reason[160];
    ctr_remote_reason(response, reason);
    switch (response->status) {
    case 400:
        return ctr_fail(
            err, -EBADMSG,
            "the registry refuses blob %s (%s); compare it with ctrctl image verify",
            upload->digest, reason);
    case 404:
        return ctr_fail(err, -ENOENT,
                        "the registry takes nothing for the repository %s (%s); it may have to "
                        "be created there first",
                        upload->endpoint->repository, reason);
    case 405:
        return ctr_fail(err, -EOPNOTSUPP, "the registry takes no pushes (%s)", reason);
    case 413:
        return ctr_fail(err, -EFBIG,
                        "the registry takes no request of this size (%s); set a smaller "
                        "upload_chunk in [registry.host \"%s\"]",
                        reason, upload->endpoint->host);
    default:
        break;
    }
    char what[96];
    (void) snprintf(what, sizeof what, "blob %s", upload->digest);
    return ctr_remote_fail(upload->endpoint, response, what, err);
}

/* Where the upload goes on: what the registry says in an answer to a request at `url`. */
static int
upload_move(struct upload *upload, const char *url, const struct ctr_http_response *response,
            struct ctr_error *err)
{
    if (response->location[0] == '\0') {
        return ctr_fail(err, -EBADMSG, "the registry does not say where the upload goes on");
    }
    char *next = NULL;
    int rc = ctr_endpoint_onward(upload->endpoint, url, response->location, &next,
                                 &upload->anonymous, err);
    if (rc < 0) {
        return ctr_prefix(err, "where the upload goes on");
    }
    free(upload->url);
    upload->url = next;
    return 0;
}

/* The blob is there: under the right name? */
static int
upload_done(const struct upload *upload, const struct ctr_http_response *response,
            struct ctr_error *err)
{
    if (ctr_is_digest(response->digest) && strcmp(response->digest, upload->digest) != 0) {
        return ctr_fail(err, -EBADMSG, "blob %s: the registry calls it %s", upload->digest,
                        response->digest);
    }
    return 0;
}

/* What to try after a request of this size was too large. */
static uint64_t
upload_smaller(uint64_t length)
{
    return length / 2 > CHUNK_LEAST ? length / 2 : CHUNK_LEAST;
}

static void
upload_sent(void *arg, uint64_t bytes)
{
    struct upload *upload = arg;
    uint64_t now = upload->offset + bytes;
    if (now < upload->shown || now - upload->shown >= SHOW_EVERY || now == upload->size) {
        upload->shown = now;
        ctr_transfer_step(&upload->op->transfer, upload->digest, "Pushing", now, upload->size);
    }
}

/* --- requests --- */

/* 1: the registry has it; 0: not. */
static int
upload_is_there(const struct upload *upload, struct ctr_error *err)
{
    struct ctr_endpoint *endpoint = upload->endpoint;
    CTR_AUTO(free)
    char *url =
        ctr_printf("%s%s/blobs/%s", endpoint->root, endpoint->repository, upload->digest);
    if (url == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    struct ctr_http_call call = {.url = url,
                                 .method = "HEAD",
                                 .no_redirects = true,
                                 .total_s = endpoint->remote->transfer->client->limits.total_s};
    struct ctr_http_response response = {0};
    int rc = ctr_remote_ask(endpoint, &call, &response, err);
    if (rc == 0 && (response.status == 404 || response.status == 405)) {
        rc = 0;
    } else if (rc == 0 && (response.status == 200 || response.status / 100 == 3)) {
        bool same = response.status != 200 || response.length < 0 ||
                    (uint64_t) response.length == upload->size;
        rc = same ? 1
                  : ctr_fail(err, -EBADMSG,
                             "blob %s: the registry has %lld bytes of it, not %llu",
                             upload->digest, (long long) response.length,
                             (unsigned long long) upload->size);
    } else if (rc == 0) {
        rc = upload_fail(upload, &response, err);
    }
    ctr_http_response_clear(&response);
    return rc;
}

/* Opens an upload, or has the blob mounted from `source` (NULL: not asked). 1: it is mounted. */
static int
upload_open(struct upload *upload, const char *source, struct ctr_error *err)
{
    struct ctr_endpoint *endpoint = upload->endpoint;
    CTR_AUTO(free)
    char *url =
        ctr_printf("%s%s/blobs/uploads/%s%s%s%s", endpoint->root, endpoint->repository,
                   source != NULL ? "?mount=" : "", source != NULL ? upload->digest : "",
                   source != NULL ? "&from=" : "", source != NULL ? source : "");
    if (url == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    struct ctr_http_body nothing = {.type = "application/octet-stream", .bytes = ""};
    struct ctr_http_call call = {.url = url,
                                 .method = "POST",
                                 .body = &nothing,
                                 .total_s = endpoint->remote->transfer->client->limits.total_s};
    struct ctr_http_response response = {0};
    int rc = ctr_remote_ask(endpoint, &call, &response, err);
    if (rc == 0 && response.status == 201 && source != NULL) {
        rc = upload_done(upload, &response, err);
        rc = rc < 0 ? rc : 1;
    } else if (rc == 0 && response.status == 202) {
        upload->offset = upload->shown = 0;
        upload->least = response.chunk_min > 0 ? (uint64_t) response.chunk_min : 0;
        rc = upload_move(upload, url, &response, err);
    } else if (rc == 0) {
        rc = upload_fail(upload, &response, err);
    }
    ctr_http_response_clear(&response);
    return rc;
}

/* One try of a request to where the upload goes on: as remote_try, but a challenge is answered and the same asked again: what
 * was refused has changed nothing there. */
static int
upload_try(struct upload *upload, const char *method, const char *url,
           const struct ctr_http_body *body, struct ctr_http_response *response,
           struct ctr_error *err)
{
    long seconds = upload->endpoint->remote->transfer->client->limits.total_s * 5;
    struct ctr_http_call call = {.url = url,
                                 .method = method,
                                 .body = body,
                                 .anonymous = upload->anonymous,
                                 .max = CTR_MAX_ANSWER,
                                 .total_s = seconds +
                                            (long) ((body != NULL ? body->length : 0) >> 14)};
    int rc = 0;
    do {
        rc = ctr_remote_try(upload->endpoint, &upload->loop, &call, response, err);
    } while (rc == 1 && response->status == 401);
    return rc;
}

/* The request that ends an upload, with the bytes in `body`. 1: begin anew. */
static int
upload_end(struct upload *upload, const struct ctr_http_body *body, struct ctr_error *err)
{
    bool mark = strchr(upload->url, '?') != NULL;
    CTR_AUTO(free)
    char *url = ctr_printf("%s%sdigest=%s", upload->url, mark ? "&" : "?", upload->digest);
    if (url == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    struct ctr_http_response response = {0};
    int rc = upload_try(upload, "PUT", url, body, &response, err);
    if (rc == 0 && (response.status == 201 || response.status == 204)) {
        rc = upload_done(upload, &response, err);
    } else if (rc == 0 && response.status == 413 && body->length > CHUNK_LEAST) {
        upload->chunk =
            body->length > CHUNK_DEFAULT ? CHUNK_DEFAULT : upload_smaller(body->length);
        rc = 1;
    } else if (rc == 0 && response.status == 404) {
        rc = ctr_remote_again(upload->endpoint, &upload->loop, 0); /* the registry forgot it */
        rc = rc == 0 ? upload_fail(upload, &response, err) : rc;
    } else if (rc == 0) {
        rc = upload_fail(upload, &response, err);
    }
    ctr_http_response_clear(&response);
    return rc;
}

/* --- chunks --- */

/* How far did it get? 1: begin anew. */
static int
upload_ask_offset(struct upload *upload, struct ctr_error *err)
{
    struct ctr_http_response response = {0};
    int rc = 1;
    while (rc == 1) {
        rc = upload_try(upload, "GET", upload->url, NULL, &response, err);
    }
    if (rc == 0 && response.status == 404) {
        rc = 1;
    } else if (rc == 0 &&
               (response.status == 204 || response.status == 202 || response.status == 200)) {
        /* "0-0" is what some say of nothing; a single byte too much is refused and costs a try. */
        int64_t last = response.upload_last;
        upload->offset = last > 0 ? (uint64_t) last + 1 : 0;
        if (upload->offset > upload->size) {
            rc = ctr_fail(err, -EBADMSG, "blob %s: the registry says it has %llu bytes of %llu",
                          upload->digest, (unsigned long long) upload->offset,
                          (unsigned long long) upload->size);
        } else if (response.location[0] != '\0') {
            rc = upload_move(upload, upload->url, &response, err);
        }
    } else if (rc == 0) {
        rc = upload_fail(upload, &response, err);
    }
    ctr_http_response_clear(&response);
    return rc;
}

/* A chunk was taken: how much of it? */
static int
upload_take_chunk(struct upload *upload, uint64_t length,
                  const struct ctr_http_response *response, struct ctr_error *err)
{
    uint64_t want = upload->offset + length;
    uint64_t have = response->upload_last >= 0 ? (uint64_t) response->upload_last + 1 : want;
    if (have <= upload->offset || have > want) {
        return ctr_fail(err, -EBADMSG,
                        "blob %s: the registry says it has %llu bytes after %llu were sent",
                        upload->digest, (unsigned long long) have, (unsigned long long) want);
    }
    int rc = upload_move(upload, upload->url, response, err);
    upload->offset = have;
    upload->loop = (struct ctr_remote_loop){0};
    return rc;
}

/* 0: on with the next; 1: begin anew. */
static int
upload_chunk(struct upload *upload, struct ctr_error *err)
{
    uint64_t chunk = upload->chunk > upload->least ? upload->chunk : upload->least;
    uint64_t left = upload->size - upload->offset;
    char range[48];
    struct ctr_http_body body = {.type = "application/octet-stream",
                                 .fd = upload->fd,
                                 .offset = upload->offset,
                                 .length = left < chunk ? left : chunk,
                                 .range = range,
                                 .sent = upload_sent,
                                 .arg = upload};
    (void) snprintf(range, sizeof range, "%llu-%llu", (unsigned long long) body.offset,
                    (unsigned long long) (body.offset + body.length - 1));
    struct ctr_http_response response = {0};
    int rc = upload_try(upload, "PATCH", upload->url, &body, &response, err);
    long status = rc == 0 ? response.status : 0;
    if (status == 202 || status == 201 || status == 204) {
        rc = upload_take_chunk(upload, body.length, &response, err);
    } else if (status == 413 && body.length > CHUNK_LEAST &&
               upload_smaller(body.length) >= upload->least) {
        upload->chunk = upload_smaller(body.length);
        rc = upload_ask_offset(upload, err);
    } else if (status == 416 || status == 404) {
        rc = ctr_remote_again(upload->endpoint, &upload->loop, 0);
        rc = rc == 0 ? upload_fail(upload, &response, err) : rc;
        rc = rc == 1 ? upload_ask_offset(upload, err) : rc;
    } else if (status != 0) {
        rc = upload_fail(upload, &response, err);
    } else if (rc == 1) {
        rc = upload_ask_offset(upload, err);
    }
    ctr_http_response_clear(&response);
    return rc;
}

/* The open upload, to its end. 1: begin anew. */
static int
upload_send(struct upload *upload, struct ctr_error *err)
{
    struct ctr_http_body whole = {.type = "application/octet-stream",
                                  .fd = upload->fd,
                                  .length = upload->size,
                                  .sent = upload_sent,
                                  .arg = upload};
    struct ctr_http_body nothing = {.type = "application/octet-stream", .bytes = ""};
    if (upload->chunk == 0 || upload->size <= upload->chunk) {
        return upload_end(upload, &whole, err);
    }
    int rc = 0;
    while (rc == 0 && upload->offset < upload->size) {
        rc = upload_chunk(upload, err);
    }
    return rc == 0 ? upload_end(upload, &nothing, err) : rc;
}

/* --- --- */

/* 1: it had to be begun anew. Where only the answer was lost, the blob is there by then. */
static int
upload_again(struct upload *upload, struct ctr_error *err)
{
    int rc = 1;
    for (int begun = 0; rc == 1; begun++) {
        if (begun > 2 * upload->endpoint->remote->transfer->client->limits.tries) {
            return ctr_fail(err, -EIO, "blob %s: given up, the registry forgets its uploads",
                            upload->digest);
        }
        if (begun > 0) {
            rc = upload_is_there(upload, err);
            if (rc != 0) {
                return rc < 0 ? rc : 0;
            }
            rc = upload_open(upload, NULL, err);
        }
        rc = rc == 0 || begun == 0 ? upload_send(upload, err) : rc;
    }
    return rc;
}

static int
upload_run(struct upload *upload, struct ctr_error *err)
{
    struct image_op *op = upload->op;
    char source[256];
    int rc = upload_is_there(upload, err);
    if (rc != 0) {
        if (rc == 1) {
            ctr_transfer_step(&op->transfer, upload->digest, "Layer already exists", 0, 0);
        }
        return rc < 0 ? rc : 0;
    }
    bool mount =
        sources_find(op->images, upload->digest, upload->endpoint->remote->ref, source);
    rc = upload_open(upload, mount ? source : NULL, err);
    if (rc == -EACCES && mount) {
        rc = upload_open(upload, NULL, err); /* we may not read there */
    }
    if (rc == 1) {
        CTR_AUTO(free) char *status = ctr_printf("Mounted from %s", source);
        ctr_transfer_step(&op->transfer, upload->digest, status != NULL ? status : "Mounted", 0,
                          0);
        return 0;
    }
    rc = rc < 0 ? rc : upload_again(upload, err);
    if (rc == 0) {
        ctr_transfer_step(&op->transfer, upload->digest, "Pushed", 0, 0);
    }
    return rc;
}

int
push_blob(struct image_op *op, struct ctr_remote *remote, const char *digest, uint64_t size,
          struct ctr_error *err)
{
    struct upload upload = {.op = op,
                            .endpoint = ctr_remote_home(remote),
                            .digest = digest,
                            .size = size,
                            .fd = -1};
    uint64_t have = 0;
    int rc = ctr_blob_open(op->images->store, digest, &upload.fd, &have, err);
    if (rc == 0) {
        const struct ctr_conf_host *settings = ctr_endpoint_settings(upload.endpoint);
        upload.chunk = settings != NULL ? settings->upload_chunk : 0;
        rc = upload_run(&upload, err);
        (void) close(upload.fd);
    }
    free(upload.url);
    return rc == -ECANCELED ? ctr_fail_cancelled(err) : rc;
}
