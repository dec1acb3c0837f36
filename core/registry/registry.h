/*
 * core/registry: the client of one registry (OCI distribution over libcurl), who we are for it (the profile's registry chain), and the
 * references that name what it has.
 *
 * A ctr_client is what all work with registries shares; a ctr_transfer is one operation of it, which can be cancelled; a ctr_remote is one
 * repository, at its registry and at the registry's mirrors, within an operation. Calls block. What comes from a registry is hostile: sizes, digests
 * and addresses are checked. A secret goes to the registry's own origin or to its token realm and nowhere else. Nothing here knows the image store.
 */
#ifndef CTR_CORE_REGISTRY_H
#define CTR_CORE_REGISTRY_H

#include "core/plugin/plugin.h"
#include <pthread.h>

#define CTR_MAX_DOCUMENT ((size_t) 4 << 20) /* manifests, indexes, configs, pages of lists */
#define CTR_MAX_ANSWER ((size_t) 1 << 20)   /* token and error bodies */

/* --- ref.c: what is named --- */

/* A parsed reference: docker.io/library/busybox:latest. All fields NUL-terminated. */
struct ctr_ref {
    char host[256];       /* host[:port] */
    char repository[256]; /* "library/busybox" */
    char tag[129];        /* "" if only a digest was given */
    char digest[72];      /* "" if none */
};
/* Grammar of distribution's reference, Docker Hub short names included; -EINVAL says what is wrong. */
int ctr_ref_parse(const char *text, struct ctr_ref *ret, struct ctr_error *err);
/* "docker.io/library/busybox:latest" (the store's key) or the short form that docker shows, "busybox:latest"; caller frees. */
char *ctr_ref_full(const struct ctr_ref *ref);
char *ctr_ref_short(const struct ctr_ref *ref);
/* The host that a reference would name, out of what people and clients write: "https://index.docker.io/v1/" is docker.io,
 * "HTTPS://Reg:5000/v2" is reg:5000. -EINVAL: no registry. */
int ctr_registry_host(const char *text, char ret[256], struct ctr_error *err);

/* --- chain.c: who we are --- */

/* The profile's registry chain. */
struct ctr_chain;
int ctr_chain_open(const struct ctr_conf *conf, struct ctr_chain **ret, struct ctr_error *err);
void ctr_chain_close(struct ctr_chain *chain); /* takes NULL */

/* --- client.c: what all work with registries shares --- */

struct ctr_http_limits {
    long connect_ms; /* until a connection stands */
    long stall_s;    /* below stall_rate bytes per second for so long: given up */
    long stall_rate;
    long total_s;      /* of one small request; blobs get more by their size */
    int tries;         /* of one document or blob */
    int backoff_ms;    /* before the second try, doubled each time */
    int retry_after_s; /* what Retry-After is clamped to */
};

struct token_cache;
struct ctr_client {
    const struct ctr_conf *conf; /* may be NULL */
    struct ctr_chain *chain;     /* may be NULL */
    struct ctr_http_limits limits;
    pthread_mutex_t mutex; /* innermost; never held while bytes move */
    struct token_cache *tokens;
};
/* conf and chain are the caller's and outlive it. */
int ctr_client_init(struct ctr_client *client, const struct ctr_conf *conf,
                    struct ctr_chain *chain, struct ctr_error *err);
void ctr_client_finish(struct ctr_client *client); /* after its last operation */

/* --- transfer.c: one operation --- */

/* Progress and cancelling of one operation. Callbacks may come from several threads, one at a time. */
struct ctr_progress {
    /* A step of `id` (12 digits of a digest, or ""): "Pulling fs layer", "Downloading", "Extracting", "Already exists", "Pull complete" …;
     * total 0: unknown. */
    void (*step)(void *arg, const char *id, const char *status, uint64_t current,
                 uint64_t total);
    bool (*cancelled)(void *arg); /* true: give up within a second with -ECANCELED */
    void *arg;
};

/* Its threads share it: progress, cancelling, and curl's handles with their connections. */
struct ctr_transfer {
    struct ctr_client *client;
    const struct ctr_progress *progress; /* may be NULL */
    pthread_mutex_t mutex;
    bool cancelled;
    /* curl's handles and sockets: connections are kept between requests, and a cancel shuts them. */
    void *curls[4];
    int sockets[32];
    size_t n_sockets;
    pthread_t watcher;
    pthread_cond_t watcher_stop;
    bool watched, watch_ends;
};
void ctr_transfer_init(struct ctr_transfer *transfer, struct ctr_client *client,
                       const struct ctr_progress *progress);
void ctr_transfer_finish(struct ctr_transfer *transfer);
/* True from the first time on that the caller or ctr_transfer_cancel said so. Any thread. */
bool ctr_transfer_cancelled(struct ctr_transfer *transfer);
void ctr_transfer_cancel(struct ctr_transfer *transfer);
int ctr_fail_cancelled(struct ctr_error *err); /* -ECANCELED with its message */
/* `digest` is shown by its first 12 digits; NULL or "" for none. */
void ctr_transfer_step(struct ctr_transfer *transfer, const char *digest, const char *status,
                       uint64_t current, uint64_t total);
/* Waits up to that long; returns early and true when cancelled. */
bool ctr_transfer_sleep(struct ctr_transfer *transfer, int64_t milliseconds);
/* A thread that asks for a cancel ten times a second and shuts the sockets then; ctr_transfer_finish ends it. */
int ctr_transfer_watch(struct ctr_transfer *transfer, struct ctr_error *err);

/* --- http.c: one request and its answer --- */

struct ctr_http_response {
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
struct ctr_http_body {
    const char *type;  /* Content-Type */
    const void *bytes; /* NULL: from fd */
    int fd;
    uint64_t offset, length;
    const char *range; /* Content-Range, NULL: none */
    /* How much of this body is on its way; may be NULL. */
    void (*sent)(void *arg, uint64_t bytes);
    void *arg;
};

struct secret;
struct ctr_http_call {
    const char *url;
    const char *method;               /* NULL: GET */
    const char *accept;               /* NULL: anything */
    const struct ctr_http_body *body; /* NULL: none */
    const struct secret *secret;      /* whole Authorization value for url's origin, or NULL */
    bool anonymous;                   /* no secret, and no link-local address from the start */
    uint64_t offset;                  /* > 0: ask for the bytes from there on */
    size_t max;                       /* bytes of body that go into response->body */
    long total_s;                     /* limit of the whole request */
    bool no_redirects;                /* a redirect is an answer like others */
    /* 200 and 206 answers go here, in pieces; begin comes once before the first. NULL: into the body. */
    int (*begin)(void *arg, const struct ctr_http_response *response, struct ctr_error *err);
    int (*sink)(void *arg, const void *bytes, size_t length, struct ctr_error *err);
    void *arg;
};
/* Frees and forgets. */
void ctr_http_response_clear(struct ctr_http_response *response);

/* --- remote.c: a repository, at its registry and at the registry's mirrors --- */

/* One address that the repository is asked at, with who we are there. */
struct ctr_endpoint {
    struct ctr_remote *remote;
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

struct ctr_remote {
    struct ctr_transfer *transfer;
    const struct ctr_ref *ref;
    const struct ctr_credential *credential; /* the caller's own for the registry, or NULL */
    bool push;                               /* "pull,push", else "pull" */
    bool offline;                            /* asks for an identity token too */
    struct ctr_endpoint
        endpoints[CTR_CONF_MAX_MIRRORS + 1]; /* mirrors first, the registry last */
    size_t n_endpoints;
};

/* What one is going to do; repositories of the same registry that blobs may be mounted from. */
struct ctr_remote_wish {
    const struct ctr_credential *credential;
    bool push;
    bool offline;
    const char *const *sources;
    size_t n_sources;
};

/* Nothing is asked yet. wish NULL: a pull with the chain's credentials. */
int ctr_remote_init(struct ctr_remote *remote, struct ctr_transfer *transfer,
                    const struct ctr_ref *ref, const struct ctr_remote_wish *wish,
                    struct ctr_error *err);
void ctr_remote_finish(struct ctr_remote *remote);
struct ctr_endpoint *ctr_remote_home(struct ctr_remote *remote); /* the registry itself */
/* What a mirror sent was wrong: none is asked any more. */
void ctr_remote_distrust(struct ctr_remote *remote);

struct ctr_remote_loop {
    int tries;  /* failed ones */
    int logins; /* answered 401s */
    bool renewed;
};
/* 0: the response holds the last word; 1: go again; else failed. Waits in between, and answers challenges. */
int ctr_remote_try(struct ctr_endpoint *endpoint, struct ctr_remote_loop *loop,
                   struct ctr_http_call *call, struct ctr_http_response *response,
                   struct ctr_error *err);
/* 1 after a pause: another try is left; 0: none; -ECANCELED. `retry_after` in seconds counts up to a limit. */
int ctr_remote_again(const struct ctr_endpoint *endpoint, struct ctr_remote_loop *loop,
                     int64_t retry_after);
/* remote_try until it has a last word. */
int ctr_remote_ask(struct ctr_endpoint *endpoint, struct ctr_http_call *call,
                   struct ctr_http_response *response, struct ctr_error *err);
/* "404 MANIFEST_UNKNOWN", the registry's code made printable. */
void ctr_remote_reason(const struct ctr_http_response *response, char ret[160]);
/* An answer that is none of those hoped for, in the registry's words; `what` was asked for. */
int
ctr_remote_fail(const struct ctr_endpoint *endpoint, const struct ctr_http_response *response,
                const char *what, struct ctr_error *err);

/* What the profile says of the registry there, or NULL. */
const struct ctr_conf_host *ctr_endpoint_settings(const struct ctr_endpoint *endpoint);
/* Where an answer to a request at `url` sends us on to, if the rules for redirects let it: *ret_url is the caller's to free, *ret_foreign tells whether it is at
 * another origin, which gets no credentials. */
int
ctr_endpoint_onward(const struct ctr_endpoint *endpoint, const char *url, const char *location,
                    char **ret_url, bool *ret_foreign, struct ctr_error *err);

/* --- remote-get.c: pulling --- */

/* What a tag or digest names, without its bytes: digest (72), Content-Type (160) and size, by HEAD. -ENOTSUP: the registry does not
 * tell the digest so. */
int ctr_remote_head(struct ctr_remote *remote, const char *name, char *ret_digest,
                    char *ret_type, uint64_t *ret_size, struct ctr_error *err);
/* A manifest by tag or digest: bytes (caller frees), Content-Type (160) and digest (72). */
int
ctr_remote_manifest(struct ctr_remote *remote, const char *name, char **ret, size_t *ret_length,
                    char *ret_type, char *ret_digest, struct ctr_error *err);
/* A blob's bytes from `offset` on. Each reaches the sink once and in order, however often a request is cut, tried again, or
 * answered from the blob's start; what the sink refuses ends it. Size and digest over all bytes are the caller's to check. */
struct ctr_remote_blob {
    const char *digest;
    const char
        *url; /* a foreign layer's: asked without credentials; NULL: the repository's blob */
    uint64_t size, offset;
    int (*sink)(void *arg, const void *bytes, size_t length, struct ctr_error *err);
    void *arg;
    bool
        mirrored; /* set: some of the bytes are a mirror's. If they turn out wrong, remote_distrust and begin anew */
};
int
ctr_remote_blob(struct ctr_remote *remote, struct ctr_remote_blob *blob, struct ctr_error *err);

/* --- remote-list.c --- */

/* All pages of a list at the registry, from `url` on: `items` is its array in each page's document, `accept` its type. Calls
 * each(arg, item). -ENOENT with its message: the registry has no such list. */
struct ctr_remote_list {
    const char *url, *accept, *items, *what;
    size_t max; /* of items; more are an error */
    bool quick; /* one try, a few seconds and pages */
    int (*each)(void *arg, const json_t *item, struct ctr_error *err);
    void *arg;
};
int ctr_remote_list(struct ctr_endpoint *endpoint, const struct ctr_remote_list *list,
                    struct ctr_error *err);

/* --- tags.c and login.c: what is asked of a registry without the store --- */

/* The registry's tag list of a reference's repository, all its pages: array of texts; new reference or NULL. */
json_t *ctr_registry_tags(struct ctr_client *client, const char *reference,
                          const struct ctr_progress *progress, struct ctr_error *err);
/* Asks the registry whether the credential is good (GET /v2/ with its challenge answered) and hands it to the first plugin of the chain that
 * stores. `secret` is wiped by its owner. An identity token that the registry gives in exchange is stored in place of the password. ret_plugin (64 bytes): the
 * instance that has it now; NULL: the registry is asked and nothing is stored. */
int ctr_registry_login(struct ctr_client *client, const char *host, const char *user,
                       const char *secret, char *ret_plugin, struct ctr_error *err);
/* Erases it from every instance that has it; -ENOENT if none has. */
int ctr_registry_logout(struct ctr_client *client, const char *host, struct ctr_error *err);
/* [{"instance","plugin","stores":B,"hosts":[{"host","user"}],"error":TEXT}] in the chain's order; with a host, also "answers":B, true for the
 * one instance that would be used for it. No secrets. New reference or NULL. */
json_t *ctr_registry_list(struct ctr_client *client, const char *host, struct ctr_error *err);

#endif
