/*
 * core/registry, inside: what its files share. See registry.h for what callers may rely on.
 *
 * Three layers: http.c makes one request and follows its redirects by hand; auth.c and token.c turn challenges into an Authorization header, with
 * credentials from chain.c; remote.c tries again, remote-get.c resumes and checks what came.
 */
#ifndef CTR_REGISTRY_PRIV_H
#define CTR_REGISTRY_PRIV_H

#include "core/registry/registry.h"

/* --- secret.c: text that cannot be printed by mistake and is wiped when freed --- */

struct secret;
struct secret *secret_create(const char *text);                    /* NULL: out of memory */
struct secret *secret_join(const char *prefix, const char *text);  /* prefix and text */
struct secret *secret_basic(const char *user, const char *secret); /* "Basic <base64>" */
struct secret *secret_copy(const struct secret *secret);           /* NULL gives NULL */
const char *secret_text(const struct secret *secret);
void secret_destroy(struct secret *secret); /* takes NULL */
void secret_wipe(void *bytes, size_t length);

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
struct ctr_http_response;
/* One header line into the response; what makes no sense is left out. */
void header_take(struct ctr_http_response *response, const char *line, size_t length);

/* --- challenge.c --- */

struct challenge {
    bool bearer, basic;
    char realm[1024], service[512], scope[1024]; /* of the first Bearer challenge */
};
/* WWW-Authenticate headers, one a line. */
void challenge_parse(const char *text, struct challenge *ret);

/* --- transfer.c --- */

void *transfer_take_curl(struct ctr_transfer *transfer);
void transfer_give_curl(struct ctr_transfer *transfer, void *curl, bool keep);
bool transfer_track_socket(struct ctr_transfer *transfer,
                           int fd); /* false: closed again, cancelled */
void transfer_untrack_socket(struct ctr_transfer *transfer, int fd);

/* --- http.c --- */

/* 0 with an HTTP status, whatever it is; a negative code where there was no whole answer. response_clear in every case. */
int http_request(struct ctr_transfer *transfer, const struct ctr_http_call *call,
                 struct ctr_http_response *response, struct ctr_error *err);
/* May a registry at `from` send us on to `to`? Not from https to plain http, not to plain http where that is not allowed, not to a
 * literal link-local address. */
int http_check_onward(const struct ctr_conf *conf, const struct origin *from,
                      const struct origin *to, struct ctr_error *err);

/* --- remote.c --- */

/* A mirror is not asked again. */
void endpoint_put_down(struct ctr_endpoint *endpoint);
bool endpoint_is_down(struct ctr_endpoint *endpoint);

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
int remote_authenticate(struct ctr_endpoint *endpoint, unsigned seen, const char *challenges,
                        struct ctr_error *err);

struct token_cache;
void token_cache_destroy(struct token_cache *cache); /* takes NULL */
/* The Authorization that worked last for this, if it has not expired, into the endpoint. */
void token_cache_get(struct ctr_endpoint *endpoint);
/* Drops all of the registry's: it has another login now. */
void token_cache_forget(struct ctr_client *client, const char *root);
/* With the endpoint's mutex held: it is used, and kept for later where its time is known. */
void token_use(struct ctr_endpoint *endpoint, struct secret *take_secret, int64_t seconds);
/* The exchange of distribution's token authentication. */
int token_get(struct ctr_endpoint *endpoint, const struct challenge *challenge,
              const char *scopes, const struct login *login, struct ctr_error *err);

/* --- chain.c --- */

/* The chain's plugins are asked in order. Each call has 30 seconds; `transfer` (may be NULL) ends it at once when cancelled. What a plugin answers was
 * checked: it can stand in a header. An error names the instance. */

/* -ENOENT: none knows the host. answer() is called once, on this thread. */
int chain_get(struct ctr_chain *chain, struct ctr_transfer *transfer,
              const struct ctr_registry_query *query,
              void (*answer)(void *arg, const struct ctr_credential *credential), void *arg,
              struct ctr_error *err);
/* The first plugin with a token service of its own that knows the host; -ENOENT: none. */
int chain_token(struct ctr_chain *chain, struct ctr_transfer *transfer,
                const struct ctr_registry_query *query, const char *realm, const char *service,
                const char *scope,
                void (*answer)(void *arg, const struct ctr_credential *credential), void *arg,
                struct ctr_error *err);
/* The first plugin that keeps credentials keeps this one durably; ret_instance[64] (may be NULL) is its name. -ENOENT: no plugin of the
 * chain does. -EINVAL: the credential cannot be sent. */
int
chain_store(struct ctr_chain *chain, struct ctr_transfer *transfer, const char *host,
            const struct ctr_credential *credential, char *ret_instance, struct ctr_error *err);
/* Erases from every instance that has it; -ENOENT: none has. One that fails does not keep the others from it. */
int chain_erase(struct ctr_chain *chain, struct ctr_transfer *transfer, const char *host,
                struct ctr_error *err);
/* What ctr_registry_list gives; host may be NULL. New reference or NULL. */
json_t *chain_list(struct ctr_chain *chain, struct ctr_transfer *transfer, const char *host,
                   struct ctr_error *err);

#endif
