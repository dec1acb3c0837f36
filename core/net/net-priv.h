/*
 * core/net inside: ctrd's half. A network is a record, the endpoints on it, and the ctr-net process (the peer) that carries its frames.
 *
 * Locks. nets->mutex guards the lists (networks, endpoints, containers that are up) and is never held over a call to a ctr-net or to hooks; it may be
 * held over a write to the store, so that a claim and what is known of it here are one. network->mutex serializes all calls to that network's ctr-net,
 * zones among them: each is made from the lists after it was taken, so that an older one never overtakes a newer. Who needs both takes network->mutex
 * first; nobody holds two network->mutexes. Hooks are called with none held. A network is kept by references (get, of, hold; release). Pointers to
 * endpoints and to containers are good only while nets->mutex is held. Calls for one container come one at a time.
 */
#ifndef CTR_NET_PRIV_H
#define CTR_NET_PRIV_H

#include "core/net/net.h"
#include <pthread.h>

#define CTR_NET_DEFAULT "default"
#define CTR_NET_NONE "none"
#define CTR_NET_CALL_MS 10000
#define CTR_NET_NO_MEMORY "networks: out of memory"

struct ctr_subnet {
    struct ctr_address address; /* family 0: none */
    int prefix;
};

struct ctr_network_entry {
    struct ctr_network_entry *next;
    /* as in its record */
    char name[64];
    char id[65];
    char driver[65];          /* "": the profile's own */
    uint32_t subnet, gateway; /* host byte order; 0 for "none" */
    int prefix;
    struct ctr_subnet subnet6;
    struct ctr_address gateway6;
    int mtu;
    bool internal, isolated, deny;
    json_t *labels, *options, *allow;
    int64_t created; /* ns */
    /* guarded by nets->mutex */
    unsigned refs;
    bool ready; /* it can be found: neither half-made nor half-removed */
    uint8_t *used,
        *taken6;     /* a bit per address; and per address whose IPv6 counterpart is taken */
    uint32_t cursor; /* offset after the address that was given last */
    bool watched;    /* its keeper runs */
    bool damaged;    /* ports are missing in its ctr-net */
    int events;      /* the keeper's connection, -1 if none */
    /* guarded by mutex */
    pthread_mutex_t mutex;
    int peer;        /* connection to ctr-net, -1 if none */
    uint32_t kinds;  /* what its plugin offers */
    char plugin[33]; /* its name */
};

/* A container on a network. */
struct ctr_endpoint {
    struct ctr_endpoint *next; /* in the order of joining */
    struct ctr_network_entry *network;
    char *container, *name;
    json_t *aliases;
    uint32_t address; /* 0 on "none" */
    struct ctr_address address6;
    bool own6; /* it was asked for, and is claimed by a record of its own */
    char mac[18], hardware[18];
    int mtu; /* 0: the network's */
    int64_t order;
    json_t *published; /* real host ports, in use or in use last */
    uint32_t kind;     /* of its port while it has one, else 0 */
    int out_mtu;       /* that the port's plugin asks for, 0: none */
};

/* A container that is up. */
struct ctr_up {
    struct ctr_up *next;
    char *container, *name, *hostname;
    uint32_t vmm_kinds;
    json_t *publish, *extra_hosts, *dns, *dns_search, *dns_options;
};

struct ctr_routes {
    struct ctr_subnet *list;
    size_t n;
};

struct ctr_nets {
    struct ctr_store *store;
    const struct ctr_conf *conf;
    struct ctr_nets_hooks hooks;
    bool watching; /* hooks were given */
    int (*routes)(struct ctr_routes *ret,
                  struct ctr_error *err); /* the host's; tests have their own */
    pthread_mutex_t mutex;
    struct ctr_network_entry *networks;
    struct ctr_endpoint *endpoints;
    struct ctr_up *ups;
    int64_t order; /* of the endpoint that comes next */
    /* keepers */
    bool quit;
    unsigned keepers;
    pthread_cond_t changed;
};

/* Networks with a reference each. */
struct ctr_network_list {
    struct ctr_network_entry **list;
    size_t n;
};

/* --- nets.c --- */
static inline void
ctr_nets_lock(struct ctr_nets *nets)
{
    (void) pthread_mutex_lock(&nets->mutex);
}
static inline void
ctr_nets_unlock(struct ctr_nets *nets)
{
    (void) pthread_mutex_unlock(&nets->mutex);
}
/* The network by name, ID or prefix, with a reference; makes "default" on first use. -ENOENT names it. */
int ctr_network_get(struct ctr_nets *nets, const char *ref, struct ctr_network_entry **ret,
                    struct ctr_error *err);
void ctr_network_release(struct ctr_nets *nets, struct ctr_network_entry *network);
/* Adds a reference to the list; nets->mutex is held. */
int ctr_network_list_add(struct ctr_network_list *list, struct ctr_network_entry *network,
                         struct ctr_error *err);
void ctr_network_list_free(struct ctr_nets *nets, struct ctr_network_list *list);
/* The networks that a container has endpoints on, in the order of joining. */
int ctr_networks_of(struct ctr_nets *nets, const char *container, struct ctr_network_list *ret,
                    struct ctr_error *err);
/* Tells hooks->event; no lock is held. Attributes are the caller's object, which is taken; NULL: none. */
void ctr_nets_tell(struct ctr_nets *nets, const char *action,
                   const struct ctr_network_entry *network, const char *container,
                   json_t *take_attributes);

/* --- network.c: entries, records and what others see --- */
/* From a request of ctr_nets_add or a record, without a subnet if it names none. */
int ctr_network_parse(const char *name, const json_t *object, struct ctr_network_entry **ret,
                      struct ctr_error *err);
/* Once the subnets are known: gateways, and which addresses are never given. `object` as before. */
int ctr_network_settle(struct ctr_network_entry *network, const json_t *object,
                       struct ctr_error *err);
json_t *ctr_network_record(const struct ctr_network_entry *network);
int ctr_networks_load(struct ctr_nets *nets, struct ctr_error *err);
void ctr_network_free(struct ctr_network_entry *network);
/* The plugin or instance that carries it now. */
const char *
ctr_network_driver(const struct ctr_nets *nets, const struct ctr_network_entry *network);
static inline uint32_t
ctr_network_size(const struct ctr_network_entry *network)
{
    return network->prefix == 0 ? 0 : UINT32_C(1) << (32 - network->prefix);
}
/* The address that leads to the host. */
static inline uint32_t
ctr_network_host(const struct ctr_network_entry *network)
{
    return network->subnet + ctr_network_size(network) - 2;
}
static inline bool
ctr_network_is_none(const struct ctr_network_entry *network)
{
    return network->prefix == 0;
}

/* --- add.c --- */
/* Makes the profile's own network; found already: nothing to do. */
int ctr_network_default(struct ctr_nets *nets, struct ctr_error *err);
/* Forgets "default" if the profile describes it in another way now and no container is on it; it is made anew on its next use. */
int ctr_network_refresh(struct ctr_nets *nets, struct ctr_error *err);

/* --- pool.c; nets->mutex is held --- */
/* Fills in the subnets that an entry lacks, and checks those it has against other networks. `ipv6`: it gets one of that, too. */
int ctr_subnets_choose(struct ctr_nets *nets, struct ctr_network_entry *network, bool ipv6,
                       const struct ctr_routes *routes, struct ctr_error *err);
/* "10.88.0.0/16", "fd00::/64"; family 4 or 6. */
int ctr_subnet_parse(const char *text, uint32_t family, struct ctr_subnet *ret,
                     struct ctr_error *err);
const char *ctr_subnet_format(const struct ctr_subnet *subnet, char ret[64]);
struct ctr_subnet ctr_network_subnet(const struct ctr_network_entry *network);
/* The address of a subnet at that offset. */
struct ctr_address ctr_subnet_at(const struct ctr_subnet *subnet, uint32_t offset);
/* Its offset; UINT32_MAX if it is not within the first 2^32-1 addresses of the subnet. */
uint32_t ctr_subnet_offset(const struct ctr_subnet *subnet, const struct ctr_address *address);
struct ctr_address ctr_address_of_ipv4(uint32_t address);

/* --- routes.c --- */
/* All routes of the host but the default ones. */
int ctr_routes_read(struct ctr_routes *ret, struct ctr_error *err);
void ctr_routes_free(struct ctr_routes *routes);

/* --- lease.c; nets->mutex is held --- */
/* Marks addresses that are in use. */
void ctr_lease_mark(struct ctr_network_entry *network, uint32_t address, bool on);
void
ctr_lease_mark6(struct ctr_network_entry *network, const struct ctr_address *address, bool on);
/* Claims the endpoint's addresses and writes its record; one that is 0 is chosen. On failure nothing is claimed. */
int
ctr_lease_claim(struct ctr_nets *nets, struct ctr_endpoint *endpoint, struct ctr_error *err);
int ctr_lease_drop(struct ctr_nets *nets, const struct ctr_endpoint *endpoint,
                   struct ctr_error *err);
/* Writes the record anew: name, hardware or published ports have changed. */
int ctr_lease_update(struct ctr_nets *nets, const struct ctr_endpoint *endpoint,
                     struct ctr_error *err);
int ctr_leases_load(struct ctr_nets *nets, struct ctr_error *err);
/* "02:42:…" of an address. */
void ctr_mac_format(uint32_t address, char ret[18]);

/* --- endpoint.c; nets->mutex is held --- */
struct ctr_endpoint *
ctr_endpoint_find(const struct ctr_nets *nets, const struct ctr_network_entry *network,
                  const char *container);
/* The first of a container if after is NULL, else the next one; NULL at the end. */
struct ctr_endpoint *ctr_endpoint_next(const struct ctr_nets *nets,
                                       const struct ctr_endpoint *after, const char *container);
/* The one with the default route among those that are up; NULL if none has a way out. */
struct ctr_endpoint *ctr_endpoint_gateway(const struct ctr_nets *nets, const char *container);
struct ctr_endpoint *
ctr_endpoint_create(struct ctr_network_entry *network, const char *container, const char *name);
/* Into the list, by its order. */
void ctr_endpoint_insert(struct ctr_nets *nets, struct ctr_endpoint *endpoint);
void ctr_endpoint_unlink(struct ctr_nets *nets, struct ctr_endpoint *endpoint);
void ctr_endpoint_free(struct ctr_endpoint *endpoint); /* takes NULL */
/* --- wish.c --- */
/* Sets what is asked for. */
int ctr_endpoint_wish(struct ctr_endpoint *endpoint, const json_t *wish, struct ctr_error *err);

json_t *ctr_endpoint_record(const struct ctr_endpoint *endpoint);
/* What inspect shows of it among a network's containers. */
json_t *ctr_endpoint_brief(const struct ctr_endpoint *endpoint);

/* --- up.c; nets->mutex is held --- */
struct ctr_up *ctr_up_find(const struct ctr_nets *nets, const char *container);
void ctr_up_free(struct ctr_up *up); /* takes NULL */
/* From now on the container counts as up; nets->mutex is not held. */
int ctr_up_begin(struct ctr_nets *nets, const struct ctr_nets_wants *wants, bool boot,
                 struct ctr_error *err);

/* --- port.c; network->mutex is held and its peer open --- */
/* Makes the port that a container has at boot: of the best kind in common; *ret gets it. A plugin that connects nothing makes none: *ret_made false. */
int
ctr_port_make(struct ctr_nets *nets, struct ctr_network_entry *network, const char *container,
              struct ctr_attachment *ret, bool *ret_made, struct ctr_error *err);
/* Makes one over a descriptor that exists (borrowed). -EEXIST: it is there. */
int ctr_port_restore(struct ctr_nets *nets, struct ctr_network_entry *network,
                     const char *container, uint32_t kind, int fd, struct ctr_error *err);
/* Takes it away, if it is there. */
int ctr_port_drop(struct ctr_nets *nets, struct ctr_network_entry *network,
                  const char *container, struct ctr_error *err);
/* The kind that a boot port gets; 0 if there is none in common. */
uint32_t ctr_port_kind(uint32_t network_kinds, uint32_t vmm_kinds);

/* --- expose.c: published ports --- */
/* Publishes `wishes` on the network with the default route, all or none: *ret (may be NULL; new reference) is what is published now. */
int ctr_expose(struct ctr_nets *nets, const char *container, const json_t *wishes, json_t **ret,
               struct ctr_error *err);
/* Publishes again what a container had on this network and what is not among `have`. network->mutex is held. */
int ctr_expose_again(struct ctr_nets *nets, struct ctr_network_entry *network,
                     const char *container, const json_t *have, struct ctr_error *err);

/* --- zone.c --- */
/* The networks whose containers may know this one's names. */
int ctr_zones_concerned(struct ctr_nets *nets, const char *container,
                        struct ctr_network_list *ret, struct ctr_error *err);
/* Tells them the names as they are now. One that cannot be told is an error if the container is on it, else it is logged. */
int ctr_zones_push(struct ctr_nets *nets, const struct ctr_network_list *networks,
                   const char *container, struct ctr_error *err);
/* Both for one container. */
int ctr_zones_tell(struct ctr_nets *nets, const char *container, struct ctr_error *err);
/* Tells one; network->mutex is held and its peer open. */
int
ctr_zone_push(struct ctr_nets *nets, struct ctr_network_entry *network, struct ctr_error *err);
/* "name:10.0.0.1": 0 with both; *ret_address "" for host-gateway. */
int ctr_extra_host_split(const char *text, char ret_name[256], const char **ret_address);

/* --- resolv.c --- */
/* {"search":[…],"options":[…]} of the host's file; new reference, empty lists where nothing can be read. */
json_t *ctr_resolv_read(const char *path);

/* --- config.c --- */
/* The plugin that carries a network, with its options (a reference): an instance of the profile, or a plugin by its name. */
struct ctr_network_carrier {
    const char *plugin, *instance;
    json_t *options;
};
int ctr_network_carrier(const struct ctr_nets *nets, const struct ctr_network_entry *network,
                        struct ctr_network_carrier *ret, struct ctr_error *err);
json_t *ctr_peer_config(const struct ctr_nets *nets, const struct ctr_network_entry *network,
                        const char *socket, struct ctr_error *err);

/* --- peer.c; network->mutex is held by the caller --- */
/* Connects to the network's ctr-net. `start`: starts it if it does not run; else -ENOENT then. *ret_started (may be NULL): it was started. */
int ctr_peer_open(struct ctr_nets *nets, struct ctr_network_entry *network, bool start,
                  bool *ret_started, struct ctr_error *err);
/* One request; the reply's "ok" member as a new reference, or NULL. Steals the request; fd (borrowed, -1: none) goes with it. */
json_t *ctr_peer_call(struct ctr_network_entry *network, json_t *take_request, int fd,
                      int *ret_fd, struct ctr_error *err);
void ctr_peer_close(struct ctr_network_entry *network);
/* {ID: {…}} of its ports; new reference or NULL. */
json_t *ctr_peer_ports(struct ctr_network_entry *network, struct ctr_error *err);
/* Ends ctr-net if it has no ports, or `force`: 1 if it ended, 0 if not, or a negative code. */
int ctr_peer_stop(const struct ctr_nets *nets, struct ctr_network_entry *network, bool force,
                  struct ctr_error *err);
/* A connection of its own, on which `take_request` was answered with ok; fd or a negative code. Needs no lock. */
int ctr_peer_stream(const struct ctr_nets *nets, const struct ctr_network_entry *network,
                    json_t *take_request, struct ctr_error *err);
bool ctr_peer_is_there(const struct ctr_nets *nets, const struct ctr_network_entry *network);

/* --- tidy.c --- */
/* Ends ctr-nets of networks that there are no more. */
void ctr_peers_tidy(const struct ctr_nets *nets);

/* --- keeper.c --- */
/* From now on its ctr-net is started again whenever it ends and containers are up. */
void ctr_keeper_watch(struct ctr_nets *nets, struct ctr_network_entry *network);
/* --- restore.c --- */
/* Brings back what ctr-net lacks; no lock is held. *ret_started: it had to be started. */
int ctr_network_restore(struct ctr_nets *nets, struct ctr_network_entry *network,
                        bool *ret_started, struct ctr_error *err);
/* Waits for all keepers' ends. */
void ctr_keepers_stop(struct ctr_nets *nets);

/* --- spawn.c --- */
/* Starts ctr-net detached with a configuration; returns when it answers. */
int ctr_net_spawn(const json_t *config, struct ctr_error *err);

#endif
