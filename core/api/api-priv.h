/*
 * core/api, inside: a request, its answer, and the handlers.
 *
 * A handler runs on its connection's thread and may block. It answers once through one of the api_… functions and returns 0,
 * or returns a negative code with err, which becomes the status: see api_status.
 */
#ifndef CTR_API_PRIV_H
#define CTR_API_PRIV_H

#include "core/api/api.h"
#include <microhttpd.h>
#include <pthread.h>

#define CTR_API_VERSION "1.43"
#define CTR_API_MINOR 43
#define CTR_API_MINOR_MIN 24
#define CTR_BODY_MAX (16u * 1024 * 1024)
#define CTR_API_STACK (512u * 1024)

struct ctr_api_conn;

struct ctr_api {
    struct ctr_engine *engine;
    struct ctr_loop *loop;
    struct MHD_Daemon *daemon;
    struct ctr_timer *timer;
    void (*quit)(void *arg);
    void *quit_arg;
    pthread_mutex_t lock; /* conns */
    struct ctr_api_conn *conns;
    unsigned n_idle;
    bool ending;
};

struct ctr_api_job;

struct ctr_request {
    struct ctr_api *api;
    struct ctr_engine *engine;
    struct MHD_Connection *connection;
    struct ctr_api_conn *conn;
    const struct ctr_route *route;
    const char *method;
    char *path;         /* without the version */
    char capture[1024]; /* what the route's star stands for */
    struct ctr_buf raw;
    size_t dropped; /* bytes behind the cap */
    json_t *body;   /* NULL: none was sent */
    int client;     /* the socket, to see whether the client is gone */
    bool head_seen, answered;
    bool quit;        /* the daemon ends when the answer is out */
    int early_status; /* decided before the body came */
    struct ctr_error early;
    struct ctr_api_job *job; /* a body that is streamed */
    int exit;                /* extra member of an error: the program's exit status, 0: none */
};

struct ctr_route {
    const char *method, *pattern;
    int (*handle)(struct ctr_request *request, struct ctr_error *err);
    /* NULL; or called before the body comes: if it sets request->job, the body goes to that as it comes, however long it is. */
    int (*begin)(struct ctr_request *request, struct ctr_error *err);
};
extern const struct ctr_route ctr_api_routes[];

/* --- http.c --- */
const char *api_query(struct ctr_request *request, const char *key);
/* All values of a parameter that may come several times: an array of texts, new reference; NULL: out of memory. */
json_t *api_query_all(struct ctr_request *request, const char *key);
const char *api_header(struct ctr_request *request, const char *name); /* NULL: none */
/* For struct ctr_progress: true when the client is gone. */
bool api_is_gone(void *request);
bool api_query_bool(struct ctr_request *request, const char *key, bool def);
int api_query_int(struct ctr_request *request, const char *key, int64_t min, int64_t max,
                  int64_t def, int64_t *ret, struct ctr_error *err);
int api_status(int code);
int api_json(struct ctr_request *request, int status, json_t *take_json);
int api_text(struct ctr_request *request, int status, const char *text);
int api_empty(struct ctr_request *request, int status);
/* The body comes from next(arg, …) until it returns 0 (end) or a negative code; it may block and must watch the client.
 * done(arg) is called once. */
int api_stream(struct ctr_request *request, const char *type,
               ssize_t (*next)(void *arg, char *bytes, size_t max), void (*done)(void *arg),
               void *arg);
/* 101: run(arg, socket, extra, n) owns the connection until it returns; extra: bytes that came behind the request. done(arg) is
 * called once, also when the upgrade does not happen. */
int api_upgrade(struct ctr_request *request, const char *type,
                void (*run)(void *arg, int socket, const char *extra, size_t n),
                void (*done)(void *arg), void *arg, struct ctr_error *err);
bool api_wants_upgrade(struct ctr_request *request);
/* Waits until `fd` is readable (1), the client is gone (-EPIPE) or milliseconds are over (0; -1: none). */
int api_wait(int client, int fd, int timeout_ms);

/* --- hijack.c --- */
/* Carries bytes both ways between a client and a sandbox's raw stream until it is over; closes neither. */
void api_splice(int client, int stream, const char *extra, size_t n);
void
api_splice_finish(int client); /* the client sees the end; what it still sends is dropped */

/* --- networking.c: how a container is connected, into the engine's spec --- */
/* Docker's EndpointSettings (NULL and null are empty) into "ip", "ip6", "mac", "aliases" and "mtu" of an endpoint. */
int ctr_docker_endpoint_parse(const json_t *settings, json_t *endpoint, struct ctr_error *err);
int ctr_docker_networks_parse(json_t *spec, const json_t *body, const json_t *host,
                              struct ctr_error *err);
int ctr_docker_names_parse(json_t *spec, const json_t *host, struct ctr_error *err);
int ctr_docker_ports_parse(json_t *spec, const json_t *body, const json_t *host,
                           struct ctr_error *err);

/* --- words.c: the engine's JSON in Docker's words; new references --- */
json_t *docker_container(const json_t *container);
json_t *docker_summary(const json_t *container);
json_t *docker_image(const json_t *image);
json_t *docker_image_summary(const json_t *image);
json_t *docker_info(const json_t *info);
json_t *docker_event(const json_t *event);
/* The parts that all such descriptions are made of. "from" may be NULL: the member's value is then empty, 0, false or the default. */
void docker_set(json_t *object, const char *key, json_t *take_value);
json_t *docker_text(const json_t *from, const char *key);
json_t *docker_number(const json_t *from, const char *key);
json_t *docker_flag(const json_t *from, const char *key);
json_t *docker_time(const json_t *from, const char *key); /* of nanoseconds */
json_t *docker_copy(const json_t *from, const char *key, json_t *take_def);
bool docker_is_state(const json_t *container, const char *state);

/* --- network-words.c: networks in Docker's words; new references --- */
/* usual: the default network, which has what the profile says. */
json_t *docker_network(const json_t *network, const json_t *usual);
json_t *docker_network_settings(const json_t *container);
json_t *docker_networks_of(const json_t *container); /* {NAME: EndpointSettings} */
/* {"80/tcp":[{"HostIp","HostPort"}]} of a list of published ports, as asked for or as they are. */
json_t *docker_port_map(const json_t *published, bool asked);
json_t *docker_port_list(const json_t *container);

/* --- handlers --- */
int api_ping(struct ctr_request *request, struct ctr_error *err);
int api_version(struct ctr_request *request, struct ctr_error *err);
int api_info(struct ctr_request *request, struct ctr_error *err);
int api_events(struct ctr_request *request, struct ctr_error *err);
int api_networks(struct ctr_request *request, struct ctr_error *err);
int api_network(struct ctr_request *request, struct ctr_error *err);
int api_network_create(struct ctr_request *request, struct ctr_error *err);
int api_network_remove(struct ctr_request *request, struct ctr_error *err);
int api_network_connect(struct ctr_request *request, struct ctr_error *err);
int api_network_disconnect(struct ctr_request *request, struct ctr_error *err);
int api_ctr_capture(struct ctr_request *request, struct ctr_error *err);
int api_volumes(struct ctr_request *request, struct ctr_error *err);
int api_ctr_info(struct ctr_request *request, struct ctr_error *err);
int api_ctr_plugins(struct ctr_request *request, struct ctr_error *err);
int api_ctr_profile(struct ctr_request *request, struct ctr_error *err);
int api_ctr_container(struct ctr_request *request, struct ctr_error *err);
int api_ctr_stats(struct ctr_request *request, struct ctr_error *err);
int api_ctr_stop(struct ctr_request *request, struct ctr_error *err);

int api_containers(struct ctr_request *request, struct ctr_error *err);
int api_create(struct ctr_request *request, struct ctr_error *err);
int api_inspect(struct ctr_request *request, struct ctr_error *err);
int api_start(struct ctr_request *request, struct ctr_error *err);
int api_stop(struct ctr_request *request, struct ctr_error *err);
int api_kill(struct ctr_request *request, struct ctr_error *err);
int api_restart(struct ctr_request *request, struct ctr_error *err);
int api_rename(struct ctr_request *request, struct ctr_error *err);
int api_resize(struct ctr_request *request, struct ctr_error *err);
int api_remove(struct ctr_request *request, struct ctr_error *err);
int api_container_wait(struct ctr_request *request, struct ctr_error *err);
int api_attach(struct ctr_request *request, struct ctr_error *err);
int api_logs(struct ctr_request *request, struct ctr_error *err);
int api_exec_create(struct ctr_request *request, struct ctr_error *err);
int api_exec_start(struct ctr_request *request, struct ctr_error *err);
int api_exec_resize(struct ctr_request *request, struct ctr_error *err);
int api_exec_inspect(struct ctr_request *request, struct ctr_error *err);

/* Puts an error of looking for request->capture into Docker's words: its client then pulls. */
int api_missing_image(struct ctr_request *request, struct ctr_error *err);
int api_images(struct ctr_request *request, struct ctr_error *err);
int api_image(struct ctr_request *request, struct ctr_error *err);
int api_image_tag(struct ctr_request *request, struct ctr_error *err);
int api_image_remove(struct ctr_request *request, struct ctr_error *err);
int api_image_create(struct ctr_request *request, struct ctr_error *err);
int api_image_create_begin(struct ctr_request *request, struct ctr_error *err);
int api_ctr_pull(struct ctr_request *request, struct ctr_error *err);
int api_load(struct ctr_request *request, struct ctr_error *err);
int api_load_begin(struct ctr_request *request, struct ctr_error *err);
int api_ctr_load_path(struct ctr_request *request, struct ctr_error *err);
int api_push(struct ctr_request *request, struct ctr_error *err);
int api_auth(struct ctr_request *request, struct ctr_error *err);
int api_ctr_registry(struct ctr_request *request, struct ctr_error *err);
int api_ctr_login(struct ctr_request *request, struct ctr_error *err);
int api_ctr_logout(struct ctr_request *request, struct ctr_error *err);
int api_ctr_tags(struct ctr_request *request, struct ctr_error *err);
int api_images_get(struct ctr_request *request, struct ctr_error *err);
int api_image_get(struct ctr_request *request, struct ctr_error *err);
int api_ctr_save(struct ctr_request *request, struct ctr_error *err);
int api_image_history(struct ctr_request *request, struct ctr_error *err);
int api_ctr_tree(struct ctr_request *request, struct ctr_error *err);
int api_ctr_verify(struct ctr_request *request, struct ctr_error *err);
int api_images_prune(struct ctr_request *request, struct ctr_error *err);
int api_df(struct ctr_request *request, struct ctr_error *err);
int api_ctr_df(struct ctr_request *request, struct ctr_error *err);
int api_containers_prune(struct ctr_request *request, struct ctr_error *err);
int api_networks_prune(struct ctr_request *request, struct ctr_error *err);
int api_volumes_prune(struct ctr_request *request, struct ctr_error *err);
int api_build_prune(struct ctr_request *request, struct ctr_error *err);

/* --- job.c --- */
/* More of a body that goes to request->job. */
void api_job_bytes(struct ctr_request *request, const char *bytes, size_t n);
void api_job_drop(struct ctr_api_job *job); /* cancels, waits, frees; takes NULL */

/* --- auth.c --- */
/* Overwrites a text member that is a secret; the object is to be dropped. */
void ctr_api_wipe(json_t *object, const char *key);

#endif
