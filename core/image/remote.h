/*
 * core/image, inside: one repository at one registry, over libcurl's easy interface, one handle per calling thread.
 *
 * Three layers: http.c makes one request and follows its redirects by hand; auth.c turns challenges into an Authorization
 * header; remote.c tries again, resumes, and checks what came. A secret goes to the registry's own origin or to its token
 * realm and nowhere else.
 */
#ifndef CTR_IMAGE_REMOTE_H
#define CTR_IMAGE_REMOTE_H

#include "core/image/image-priv.h"

/* --- origin.c: what may be asked, and who is who --- */

struct origin {
    char scheme[8];
    char host[256]; /* without brackets */
    char port[8];
};
/* Splits a URL; only http and https, no user and password in it. */
int origin_parse(const char *url, struct origin *ret, struct ctr_error *err);
bool origin_same(const struct origin *a, const struct origin *b);
/* 127.0.0.0/8, ::1 or localhost, as written; `host` may carry brackets and a port. */
bool origin_is_loopback(const char *host);
/* http needs a loopback host or the profile's plain_http. */
int origin_check_plain(const struct ctr_conf *conf, const struct origin *origin,
                       struct ctr_error *err);
const struct ctr_conf_host *
origin_settings(const struct ctr_conf *conf, const struct origin *origin);
/* Resolves `location` against `base`; caller frees. NULL with err: not a URL. */
char *origin_resolve(const char *base, const char *location, struct ctr_error *err);

/* --- http.c --- */

struct http_response {
    long status;
    char content_type[160]; /* without parameters */
    char location[4096];
    char challenges[4096]; /* all WWW-Authenticate headers, one a line */
    char digest[80];       /* Docker-Content-Digest */
    int64_t length;        /* Content-Length of this answer, -1: unknown */
    int64_t range_start;   /* of Content-Range, -1: none */
    int64_t retry_after;   /* seconds, -1: none or nonsense */
    struct ctr_buf body;   /* where there is no sink, and of errors */
    bool retry;            /* a failure that may go away */
};

struct http_call {
    const char *url;
    const char *accept;          /* NULL: anything */
    const char *post;            /* form body, wiped by its owner; NULL: GET */
    const struct secret *secret; /* whole Authorization value for url's origin, or NULL */
    bool anonymous;              /* no secret, and no link-local address from the start */
    uint64_t offset;             /* > 0: ask for the bytes from there on */
    size_t max;                  /* bytes of body that go into response->body */
    long total_s;                /* limit of the whole request */
    bool no_redirects;           /* a redirect is an answer like others */
    /* 200 and 206 answers go here, in pieces; begin comes once before the first. NULL: into the body. */
    int (*begin)(void *arg, const struct http_response *response, struct ctr_error *err);
    int (*sink)(void *arg, const void *bytes, size_t length, struct ctr_error *err);
    void *arg;
};

/* 0 with an HTTP status, whatever it is; a negative code where there was no whole answer. response_clear in every case. */
int http_request(struct image_op *op, const struct http_call *call,
                 struct http_response *response, struct ctr_error *err);
void http_response_clear(struct http_response *response);

/* --- auth.c --- */

struct remote {
    struct image_op *op;
    const struct ctr_ref *ref;
    char base[320]; /* "https://host/v2/" */
    char host[256]; /* whose credentials: ref's, "docker.io" for Docker Hub */
    pthread_mutex_t mutex;
    struct secret *secret; /* Authorization, or NULL */
    unsigned generation;   /* counts authentications */
    unsigned worked;       /* the newest generation whose secret was let pass */
    unsigned in_flight;    /* requests under way */
};

struct token_cache;
void token_cache_destroy(struct token_cache *cache); /* takes NULL */
/* The Authorization that worked last for the repository, if it has not expired; new object or NULL. */
struct secret *token_cache_get(struct ctr_images *images, const struct remote *remote);
void token_cache_put(struct ctr_images *images, const struct remote *remote,
                     const struct secret *secret, int64_t seconds);

/* Answers a 401: gets credentials and a token. `seen` is the generation whose secret was refused: if another thread has
 * renewed it meanwhile, that one is used. */
int remote_authenticate(struct remote *remote, unsigned seen, const char *challenges,
                        struct ctr_error *err);

/* --- remote.c --- */

int remote_init(struct remote *remote, struct image_op *op, const struct ctr_ref *ref,
                struct ctr_error *err);
void remote_finish(struct remote *remote);
/* A manifest by tag or digest: bytes (caller frees), Content-Type (160) and digest (72). */
int remote_manifest(struct remote *remote, const char *name, char **ret, size_t *ret_length,
                    char *ret_type, char *ret_digest, struct ctr_error *err);
/* A blob's bytes from `offset` on. Each reaches the sink once and in order, however often a request is cut, tried again, or
 * answered from the blob's start; what the sink refuses ends it. Size and digest over all bytes are the caller's to check. */
struct remote_blob {
    const char *digest;
    const char *url; /* a foreign layer's: asked without credentials; NULL: the repository's blob */
    uint64_t size, offset;
    int (*sink)(void *arg, const void *bytes, size_t length, struct ctr_error *err);
    void *arg;
};
int remote_blob(struct remote *remote, const struct remote_blob *blob, struct ctr_error *err);

/* --- fetch.c --- */

/* Brings a blob into the store unless it is there: waits for another operation that has it in hand, goes on where a cut
 * download ended, checks digest and size. */
int fetch_blob(struct remote *remote, const char *digest, int64_t size, struct ctr_error *err);

#endif
