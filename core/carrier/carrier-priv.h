/*
 * core/carrier inside. server.c and connection.c speak the protocol of carrier.h, carrier.c and its neighbours answer the requests; services.c
 * is what the plugin may call; policy.c, refusals.c and capture.c know nothing of the others.
 */
#ifndef CTR_CARRIER_PRIV_H
#define CTR_CARRIER_PRIV_H

#include "core/carrier/carrier.h"
#include <string.h>
#include <sys/uio.h>

/* --- policy.c: what may go out of a network with `--egress deny` --- */

struct ctr_policy;
/* `allow` makes a rule in the plugin. The list's addresses become rules at once. */
int ctr_policy_create(const json_t *list,
                      int (*allow)(void *arg, const struct ctr_net_rule *rule,
                                   struct ctr_error *err),
                      void *arg, struct ctr_policy **ret, struct ctr_error *err);
void ctr_policy_destroy(struct ctr_policy *policy); /* takes NULL */
/* May anybody ask the outside for this name (lower case, no dot at its end)? */
bool ctr_policy_may_ask(const struct ctr_policy *policy, const char *name);
/* The name leads to these addresses for `ttl` seconds: rules for them, if the list has the name. */
void ctr_policy_resolved(struct ctr_policy *policy, const char *name,
                         const struct ctr_address *addresses, size_t n, uint32_t ttl,
                         int64_t now_ns);
/* The name that an address was last resolved from; "" if it is not known (any more). */
const char *ctr_policy_name(const struct ctr_policy *policy, const struct ctr_address *address);

/* --- refusals.c: what was refused, the last 64 of it, and telling so a few times a second --- */

struct ctr_refusals;
int ctr_refusals_create(struct ctr_loop *loop, void (*tell)(void *arg, const json_t *event),
                        void *arg, struct ctr_refusals **ret, struct ctr_error *err);
void ctr_refusals_destroy(struct ctr_refusals *refusals); /* takes NULL */
/* proto: "tcp", "udp", "icmp", "icmpv6", a number, or "dns" for a name that may not be asked for. */
void ctr_refusals_add(struct ctr_refusals *refusals, const char *container, const char *proto,
                      const struct ctr_address *address, uint16_t port, const char *name);
json_t *ctr_refusals_list(const struct ctr_refusals *refusals); /* the last one last; new */

/* --- capture.c: pcap files into connections --- */

struct ctr_capture;
struct ctr_captures {
    struct ctr_capture *first;
    size_t n;
    /* As ctr_net_ops.capture; not NULL once one begins. */
    int (*plugin)(void *self, const char *id, uint32_t on, struct ctr_error *err);
    void *self;
};
/* Where a capture goes. */
struct ctr_sink {
    void *arg;
    /* All of it or nothing; nonzero: the reader is slow, or gone. */
    int (*write)(void *arg, const struct iovec *parts, int n_parts);
    /* No more will come; what was written may still be on its way. The capture is freed later. */
    void (*end)(void *arg);
};
/* id "": all ports. count 0: until the reader goes. -EMFILE: there are 8 of them. */
int
ctr_capture_begin(struct ctr_captures *captures, const char *id, int64_t count,
                  const struct ctr_sink *sink, struct ctr_capture **ret, struct ctr_error *err);
/* The file's header; to be written before the loop goes on. */
int ctr_capture_head(struct ctr_capture *capture);
/* The plugin is told to end with the last of an id. Not within a frame. Takes NULL. */
void ctr_capture_free(struct ctr_capture *capture);
/* As ctr_net_services.frame; the time is now. */
void ctr_captures_frame(struct ctr_captures *captures, const char *id, const void *bytes,
                        size_t length, int64_t now_ns);
/* The port is gone: its captures end. */
void ctr_captures_gone(struct ctr_captures *captures, const char *id);
json_t *ctr_captures_list(const struct ctr_captures *captures); /* [{id,frames,lost}]; new */

/* --- carrier.c: the plugin with its network --- */

struct ctr_carrier {
    const struct ctr_plugin *plugin;
    struct ctr_net_ops ops;
    struct ctr_host *host;
    void *self;
    json_t *config; /* the network's texts are in it */
    struct ctr_network network;
    struct ctr_net_services services;
    uint32_t kinds;
    json_t *ports; /* {ID: {mac, address, address6, kind, host, published: [...]}} */
    struct ctr_dns *dns;
    struct ctr_policy *policy; /* NULL: all may go out */
    struct ctr_refusals *refusals;
    struct ctr_captures captures;
};

/* A request, and the descriptors that go with it and with its answer; -1: none. Whoever uses one takes it out. */
struct ctr_exchange {
    const json_t *request;
    int fd, ret_fd;
};

/* Loads the plugin that the configuration names and makes its network; tell: something happened. finish takes what is half-made. */
int ctr_carrier_init(struct ctr_carrier *carrier, struct ctr_loop *loop, json_t *config,
                     void (*tell)(void *arg, const json_t *event), void *tell_arg,
                     struct ctr_error *err);
void ctr_carrier_finish(struct ctr_carrier *carrier);
/* One request but "stop", "events" and "capture": the value of "ok" as a new reference, or NULL. */
json_t *ctr_carrier_handle(struct ctr_carrier *carrier, struct ctr_exchange *exchange,
                           struct ctr_error *err);

/* The request "capture". */
struct ctr_capture *ctr_carrier_capture(struct ctr_carrier *carrier, const json_t *request,
                                        const struct ctr_sink *sink, struct ctr_error *err);

/* config.c: the network's description; its texts are borrowed from config. */
int ctr_carrier_network(const json_t *config, struct ctr_network *ret, struct ctr_error *err);
/* services.c: what the plugin and the resolver call. */
void ctr_carrier_services(struct ctr_carrier *carrier);
struct ctr_dns_hooks ctr_carrier_dns_hooks(struct ctr_carrier *carrier);

/* ports.c and publish.c: requests. */
typedef json_t *ctr_carrier_handler(struct ctr_carrier *carrier, struct ctr_exchange *exchange,
                                    struct ctr_error *err);
ctr_carrier_handler ctr_carrier_attach, ctr_carrier_detach, ctr_carrier_ports,
    ctr_carrier_stats, ctr_carrier_publish, ctr_carrier_unpublish;
/* The request's "id" where it has the form of one, else NULL with err. */
const char *ctr_carrier_id(const json_t *request, struct ctr_error *err);
/* "" or absent: family 0. */
int ctr_carrier_address(const json_t *object, const char *key, struct ctr_address *ret,
                        struct ctr_error *err);
int
ctr_carrier_ipv4(const json_t *object, const char *key, uint32_t *ret, struct ctr_error *err);

/* --- connection.c --- */

struct ctr_server;
/* Takes the descriptor; a connection that cannot be served is closed. */
void ctr_connection_add(struct ctr_server *server, int take_fd);
void ctr_connections_close(struct ctr_server *server);
/* One event as a line to each connection that listens; a slow one misses it. */
void ctr_connections_tell(void *server, const json_t *event);

/* --- server.c --- */

struct ctr_connection;
struct ctr_server {
    struct ctr_loop *loop;
    struct ctr_carrier carrier;
    char *path;
    int fd;
    struct ctr_watch *watch;
    struct ctr_connection *connections;
    size_t n_connections;
    bool stopping;
};
void ctr_server_stop(struct ctr_server *server);

/* --- lower.c, filter.c: what ctr-net gives up once it has begun --- */

/* Gives up new privileges, and root with all but the right to bind low ports and, for taps, to manage the network. */
int ctr_net_lower(bool taps, struct ctr_error *err);
/* Refuses the system calls that neither ctr-net nor what a plugin starts has a use for; spawn false: execve too. */
int ctr_net_filter(bool spawn, struct ctr_error *err);

#endif
