/*
 * core/image, inside: a repository at a registry and its mirrors, over libcurl's easy interface, one handle per calling thread.
 *
 * Three layers: http.c makes one request and follows its redirects by hand; auth.c and token.c turn challenges into an
 * Authorization header; remote.c tries again, remote-get.c and push.c resume and check what came. A secret goes to the registry's own origin or to its token
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
#define ORIGIN_HUB "registry-1.docker.io" /* where docker.io's images are */
/* Splits a URL; only http and https, no user and password in it. */
int origin_parse(const char *url, struct origin *ret, struct ctr_error *err);
bool origin_same(const struct origin *a, const struct origin *b);
/* 127.0.0.0/8, ::1 or localhost, as written; `host` may carry brackets and a port. */
bool origin_is_loopback(const char *host);
/* 169.254.0.0/16 and fe80::/10, also in IPv4-mapped form: cloud machines' own secrets are served there. */
struct sockaddr;
bool origin_address_is_link_local(const struct sockaddr *address);
bool origin_is_link_local(const char *host); /* as written */
/* http needs a loopback host or the profile's plain_http. */
int origin_check_plain(const struct ctr_conf *conf, const struct origin *origin,
                       struct ctr_error *err);
const struct ctr_conf_host *
origin_settings(const struct ctr_conf *conf, const struct origin *origin);
/* Resolves `location` against `base`; caller frees. NULL with err: not a URL. */
char *origin_resolve(const char *base, const char *location, struct ctr_error *err);

/* --- header.c: values of headers --- */

/* Seconds, or a date; -1: neither. */
int64_t header_retry_after(const char *value);
/* Content-Range, "bytes 5-9/10": 5; -1: nonsense. */
int64_t header_content_range(const char *value);
/* An upload's Range, "0-1023": its last byte, 1023; -1: nonsense. */
int64_t header_upload_range(const char *value);
/* The address of the link with rel="next" in a Link header; ret is left where there is none. */
void header_link_next(const char *value, char *ret, size_t capacity);
struct http_response;
/* One header line into the response; what makes no sense is left out. */
void header_take(struct http_response *response, const char *line, size_t length);

/* --- challenge.c --- */

struct challenge {
    bool bearer, basic;
    char realm[1024], service[512], scope[1024]; /* of the first Bearer challenge */
};
/* WWW-Authenticate headers, one a line. */
void challenge_parse(const char *text, struct challenge *ret);

/* --- http.c --- */

struct http_response {
    long status;
    char content_type[160]; /* without parameters */
    char location[4096];
    char next[2048];               /* where the next page of a list is, "" */
    char challenges[4096];         /* all WWW-Authenticate headers, one a line */
    char digest[80];               /* Docker-Content-Digest */
    int64_t length;                /* Content-Length of this answer, -1: unknown */
    int64_t range_start;           /* of Content-Range, -1: none */
    int64_t upload_last;           /* last byte of an upload that is there, -1: none */
    int64_t chunk_min;             /* smallest chunk that is taken, -1: any */
    int64_t retry_after;           /* seconds, -1: none or nonsense */
    int64_t rate_limit, rate_left; /* requests in all and left, -1: not told */
    struct ctr_buf body;           /* where there is no sink, and of errors */
    bool retry;                    /* a failure that may go away */
};

/* What goes up: from memory, or from a file at an offset. */
struct http_body {
    const char *type;  /* Content-Type */
    const void *bytes; /* NULL: from fd */
    int fd;
    uint64_t offset, length;
    const char *range; /* Content-Range, NULL: none */
    /* How much of this body is on its way; may be NULL. */
    void (*sent)(void *arg, uint64_t bytes);
    void *arg;
};

struct http_call {
    const char *url;
    const char *method;           /* NULL: GET */
    const char *accept;           /* NULL: anything */
    const struct http_body *body; /* NULL: none */
    const struct secret *secret;  /* whole Authorization value for url's origin, or NULL */
    bool anonymous;               /* no secret, and no link-local address from the start */
    uint64_t offset;              /* > 0: ask for the bytes from there on */
    size_t max;                   /* bytes of body that go into response->body */
    long total_s;                 /* limit of the whole request */
    bool no_redirects;            /* a redirect is an answer like others */
    /* 200 and 206 answers go here, in pieces; begin comes once before the first. NULL: into the body. */
    int (*begin)(void *arg, const struct http_response *response, struct ctr_error *err);
    int (*sink)(void *arg, const void *bytes, size_t length, struct ctr_error *err);
    void *arg;
};

/* 0 with an HTTP status, whatever it is; a negative code where there was no whole answer. response_clear in every case. */
int http_request(struct image_op *op, const struct http_call *call,
                 struct http_response *response, struct ctr_error *err);
void http_response_clear(struct http_response *response);
/* May a registry at `from` send us on to `to`? Not from https to plain http, not to plain http where that is not allowed, not to a
 * literal link-local address. */
int http_check_onward(const struct ctr_conf *conf, const struct origin *from,
                      const struct origin *to, struct ctr_error *err);

/* --- remote.c: a repository, at its registry and at the registry's mirrors --- */

/* One address that the repository is asked at, with who we are there. */
struct endpoint {
    struct remote *remote;
    bool mirror;
    char root[320]; /* "https://host/v2/" */
    char host
        [256]; /* whose credentials: the reference's, a mirror's own, "docker.io" for Docker Hub */
    char repository[512]; /* there */
    char *scopes;         /* what a token must be good for, separated by spaces */
    pthread_mutex_t mutex;
    bool down;               /* a mirror that failed: asked no more */
    struct secret *secret;   /* Authorization, or NULL */
    int64_t until;           /* monotonic; when that ends, 0: not known */
    char *challenges;        /* that it answered */
    struct secret *identity; /* an identity token that came with it, where one was asked for */
    unsigned generation;     /* counts authentications */
    unsigned worked;         /* the newest generation whose secret was let pass */
    unsigned in_flight;      /* requests under way */
};

struct remote {
    struct image_op *op;
    const struct ctr_ref *ref;
    const struct ctr_credential *credential; /* the caller's own for the registry, or NULL */
    bool push;                               /* "pull,push", else "pull" */
    bool offline;                            /* asks for an identity token too */
    struct endpoint endpoints[CTR_CONF_MAX_MIRRORS + 1]; /* mirrors first, the registry last */
    size_t n_endpoints;
};

/* What one is going to do; repositories of the same registry that blobs may be mounted from. */
struct remote_wish {
    const struct ctr_credential *credential;
    bool push;
    bool offline;
    const char *const *sources;
    size_t n_sources;
};

/* wish NULL: a pull with the chain's credentials. */
int remote_init(struct remote *remote, struct image_op *op, const struct ctr_ref *ref,
                const struct remote_wish *wish, struct ctr_error *err);
void remote_finish(struct remote *remote);
struct endpoint *remote_home(struct remote *remote); /* the registry itself */
/* A mirror is not asked again. */
void endpoint_put_down(struct endpoint *endpoint);
bool endpoint_is_down(struct endpoint *endpoint);
/* What a mirror sent was wrong: none is asked any more. */
void remote_distrust(struct remote *remote);

struct remote_loop {
    int tries;  /* failed ones */
    int logins; /* answered 401s */
    bool renewed;
};
/* 0: the response holds the last word; 1: go again; else failed. Waits in between, and answers challenges. */
int remote_try(struct endpoint *endpoint, struct remote_loop *loop, struct http_call *call,
               struct http_response *response, struct ctr_error *err);
/* 1 after a pause: another try is left; 0: none; -ECANCELED. `retry_after` in seconds counts up to a limit. */
int
remote_again(const struct endpoint *endpoint, struct remote_loop *loop, int64_t retry_after);
/* remote_try until it has a last word. */
int remote_ask(struct endpoint *endpoint, struct http_call *call,
               struct http_response *response, struct ctr_error *err);
/* "404 MANIFEST_UNKNOWN", the registry's code made printable. */
void remote_reason(const struct http_response *response, char ret[160]);
/* An answer that is none of those hoped for, in the registry's words; `what` was asked for. */
int remote_fail(const struct endpoint *endpoint, const struct http_response *response,
                const char *what, struct ctr_error *err);

/* --- auth.c and token.c: who we are there --- */

struct login {
    uint32_t type;    /* 0: none */
    uint64_t expires; /* seconds since the epoch, 0: not known */
    struct secret *user, *secret;
    bool failed;
};

/* Can it stand in a header? */
bool is_token_text(const char *text);
/* Answers a 401: gets credentials and a token. `seen` is the generation whose secret was refused: if another thread has
 * renewed it meanwhile, that one is used. */
int remote_authenticate(struct endpoint *endpoint, unsigned seen, const char *challenges,
                        struct ctr_error *err);

struct token_cache;
void token_cache_destroy(struct token_cache *cache); /* takes NULL */
/* The Authorization that worked last for this, if it has not expired, into the endpoint. */
void token_cache_get(struct endpoint *endpoint);
/* Drops all of the registry's: it has another login now. */
void token_cache_forget(struct ctr_images *images, const char *root);
/* With the endpoint's mutex held: it is used, and kept for later where its time is known. */
void token_use(struct endpoint *endpoint, struct secret *take_secret, int64_t seconds);
/* The exchange of distribution's token authentication. */
int token_get(struct endpoint *endpoint, const struct challenge *challenge, const char *scopes,
              const struct login *login, struct ctr_error *err);

/* --- remote-get.c: pulling --- */

/* What a tag or digest names, without its bytes: digest (72), Content-Type (160) and size, by HEAD. -ENOTSUP: the registry does not
 * tell the digest so. */
int remote_head(struct remote *remote, const char *name, char *ret_digest, char *ret_type,
                uint64_t *ret_size, struct ctr_error *err);
/* A manifest by tag or digest: bytes (caller frees), Content-Type (160) and digest (72). */
int remote_manifest(struct remote *remote, const char *name, char **ret, size_t *ret_length,
                    char *ret_type, char *ret_digest, struct ctr_error *err);
/* A blob's bytes from `offset` on. Each reaches the sink once and in order, however often a request is cut, tried again, or
 * answered from the blob's start; what the sink refuses ends it. Size and digest over all bytes are the caller's to check. */
struct remote_blob {
    const char *digest;
    const char
        *url; /* a foreign layer's: asked without credentials; NULL: the repository's blob */
    uint64_t size, offset;
    int (*sink)(void *arg, const void *bytes, size_t length, struct ctr_error *err);
    void *arg;
    bool
        mirrored; /* set: some of the bytes are a mirror's. If they turn out wrong, remote_distrust and begin anew */
};
int remote_blob(struct remote *remote, struct remote_blob *blob, struct ctr_error *err);

/* --- sources.c: which repositories have a blob --- */

/* Remembers that the repository has the manifest's layers. */
void sources_note(struct ctr_images *images, const json_t *manifest, const struct ctr_ref *ref);
/* Another repository of the same registry that has the blob, by its name; false: none is known. */
bool sources_find(struct ctr_images *images, const char *digest, const struct ctr_ref *ref,
                  char ret[256]);

/* --- push-blob.c --- */

/* Sees to it that the repository has the blob, which is whole in the store: its steps go to the operation's progress. */
int push_blob(struct remote *remote, const char *digest, uint64_t size, struct ctr_error *err);

/* --- remote-list.c --- */

/* All pages of a list at the registry, from `url` on: `items` is its array in each page's document, `accept` its type. Calls
 * each(arg, item). -ENOENT with its message: the registry has no such list. */
struct remote_list {
    const char *url, *accept, *items, *what;
    size_t max; /* of items; more are an error */
    bool quick; /* one try, a few seconds and pages */
    int (*each)(void *arg, const json_t *item, struct ctr_error *err);
    void *arg;
};
int
remote_list(struct endpoint *endpoint, const struct remote_list *list, struct ctr_error *err);

/* --- referrers.c --- */

/* Asks the registry what refers to a manifest, and records the answer. Never fails: it is not what was pulled. */
void referrers_record(struct remote *remote, const char *digest);

#endif
