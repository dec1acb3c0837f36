/*
 * core/net inside: ctrd's half. A network is a record, its leases, and the ctr-net process (the peer) that carries its frames.
 *
 * nets->mutex guards the list of networks and their leases; network->mutex its peer, and is held over calls to it. Who
 * needs both takes network->mutex first. Networks are not removed while ctrd runs, so pointers to them stay.
 */
#ifndef CTR_NET_PRIV_H
#define CTR_NET_PRIV_H

#include "core/net/net.h"
#include <pthread.h>

#define CTR_NET_DEFAULT "default"
#define CTR_NET_NONE "none"
#define CTR_NET_CALL_MS 10000

struct ctr_lease {
    struct ctr_lease *next;
    char *container;
    uint32_t address;
};

struct ctr_network_entry {
    struct ctr_network_entry *next;
    char name[64];
    char id[65];
    uint32_t subnet, gateway; /* host byte order */
    int prefix, mtu;
    bool internal;
    int64_t created; /* ns */
    /* guarded by nets->mutex */
    struct ctr_lease *leases;
    uint8_t *used;   /* one bit an address */
    uint32_t cursor; /* offset after the address that was given last */
    /* guarded by mutex */
    pthread_mutex_t mutex;
    int peer;        /* connection to ctr-net, -1 if none */
    uint32_t kinds;  /* what its plugin offers */
    char plugin[33]; /* its name */
};

struct ctr_nets {
    struct ctr_store *store;
    const struct ctr_conf *conf;
    pthread_mutex_t mutex;
    struct ctr_network_entry *networks;
};

/* --- network.c: records --- */
/* Reads "10.88.0.0/16". */
int ctr_subnet_parse(const char *text, uint32_t *ret_subnet, int *ret_prefix,
                     struct ctr_error *err);
/* The network by name; makes "default" on first use. -ENOENT names it. */
int ctr_network_get(struct ctr_nets *nets, const char *name, struct ctr_network_entry **ret,
                    struct ctr_error *err);
int ctr_networks_load(struct ctr_nets *nets, struct ctr_error *err);
/* Forgets "default" if the profile gives it another subnet or mtu now and nobody has a lease; it is made anew on its next use. */
int ctr_network_refresh(struct ctr_nets *nets, struct ctr_error *err);
void ctr_network_free(struct ctr_network_entry *network);
static inline uint32_t
ctr_network_size(const struct ctr_network_entry *network)
{
    return UINT32_C(1) << (32 - network->prefix);
}

/* --- lease.c; nets->mutex is taken inside --- */
int ctr_leases_load(struct ctr_nets *nets, struct ctr_error *err);
/* The container's address, a new one if it has none yet. */
int ctr_lease_get(struct ctr_nets *nets, struct ctr_network_entry *network,
                  const char *container, uint32_t *ret, struct ctr_error *err);
/* 0 if it has none. */
uint32_t ctr_lease_find(struct ctr_nets *nets, const struct ctr_network_entry *network,
                        const char *container);
int ctr_lease_drop(struct ctr_nets *nets, struct ctr_network_entry *network,
                   const char *container, struct ctr_error *err);
void ctr_leases_free(struct ctr_network_entry *network);
/* "02:42:…" of an address. */
void ctr_mac_format(uint32_t address, char ret[18]);

/* --- peer.c; network->mutex is held by the caller --- */
/* Connects to the network's ctr-net. `start`: starts it if it does not run; else -ENOENT then. */
int ctr_peer_open(struct ctr_nets *nets, struct ctr_network_entry *network, bool start,
                  struct ctr_error *err);
/* One request; the reply's "ok" member as a new reference, or NULL. Steals the request. */
json_t *ctr_peer_call(struct ctr_network_entry *network, json_t *take_request, int *ret_fd,
                      struct ctr_error *err);
void ctr_peer_close(struct ctr_network_entry *network);
/* Ends ctr-net if it has no ports: 1 if it ended, 0 if not, or a negative code. */
int ctr_peer_stop(const struct ctr_nets *nets, struct ctr_network_entry *network,
                  struct ctr_error *err);
/* After a stop: closes, and removes the socket, which a ctr-net that gave up root cannot. */
void ctr_peer_forget(const struct ctr_nets *nets, struct ctr_network_entry *network);

/* --- spawn.c --- */
/* Starts ctr-net detached with a configuration; returns when it answers. */
int ctr_net_spawn(const json_t *config, struct ctr_error *err);

#endif
