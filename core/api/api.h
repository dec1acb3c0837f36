/*
 * core/api: the HTTP server on the engine's unix socket (libmicrohttpd): Docker's words under /v1.NN, ours under /ctr/v1.
 *
 * A thread per connection with a small stack; a cap on connections, on bodies and on the time that a request may take to
 * arrive; the peer must be this user or root.
 */
#ifndef CTR_API_H
#define CTR_API_H

#include "core/engine/engine.h"

struct ctr_api;

/* Serves a listening socket (taken in every case). `quit` is called on a connection's thread when a client asks for the
 * daemon's end. Loop's thread. */
int
ctr_api_create(struct ctr_engine *engine, struct ctr_loop *loop, int take_listen_fd,
               void (*quit)(void *arg), void *arg, struct ctr_api **ret, struct ctr_error *err);
/* Ends all connections and waits for their threads; call ctr_engine_quit before. Takes NULL. */
void ctr_api_destroy(struct ctr_api *api);

/* --- parsers of what clients send; the fuzz target's entries --- */

/* Splits a request's path: the version prefix is checked and taken off. 0 with *ret pointing into path, or -EINVAL (too new, too old). */
int ctr_api_strip_version(const char *path, const char **ret, struct ctr_error *err);
/* Whether path has the form of pattern: "*" stands for one component, "**" for one or more; the last of both is copied into
 * capture (of `size`). */
bool ctr_api_match(const char *pattern, const char *path, char *capture, size_t size);
/* Docker's create document into the engine's spec (new reference). -EINVAL names what is not supported. */
int ctr_docker_create_parse(const json_t *body, const char *platform, json_t **ret_spec,
                            struct ctr_error *err);
int ctr_docker_exec_parse(const json_t *body, json_t **ret_spec, struct ctr_error *err);
/* Docker's document of a new network into that of ctr_nets_add (new reference). */
int ctr_docker_network_parse(const json_t *body, json_t **ret, struct ctr_error *err);
/* The "filters" parameter, {"status":["running"]} or {"status":{"running":true}}, into the former (new reference). */
int ctr_docker_filters_parse(const char *text, const char *const *known, json_t **ret,
                             struct ctr_error *err);
/* Whether a container as the engine describes it passes the filters. */
bool ctr_docker_filters_pass(const json_t *filters, const json_t *container);
/* The same rule for any object: of each filter's values one must fit, of labels all. fits_one tells of one value. */
bool ctr_docker_filters_match(const json_t *filters, const json_t *object,
                              bool (*fits_one)(const char *filter, const char *value,
                                               const json_t *object));

/* What Docker's X-Registry-Auth header holds, for one request. */
struct ctr_docker_auth {
    char *user, *secret; /* secret NULL: it holds none */
    struct ctr_credential credential;
};
/* base64 (either alphabet) of {"username","password","identitytoken","registrytoken","serveraddress"}, at most 64 KiB; NULL or "": none. -EINVAL if
 * serveraddress is not `host`. The secret is never in err. End with ctr_docker_auth_finish, which wipes. */
int ctr_docker_auth_parse(const char *header, const char *host, struct ctr_docker_auth *ret,
                          struct ctr_error *err);
void ctr_docker_auth_finish(struct ctr_docker_auth *auth);

#endif
