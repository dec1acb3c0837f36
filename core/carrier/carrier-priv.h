/*
 * core/carrier inside: carrier.c drives the net plugin, server.c speaks the protocol of carrier.h.
 */
#ifndef CTR_CARRIER_PRIV_H
#define CTR_CARRIER_PRIV_H

#include "core/carrier/carrier.h"

/* The loaded plugin with its network, and what is known of its ports. */
struct ctr_carrier {
    struct ctr_net_ops ops;
    struct ctr_host *host;
    void *self;
    char name[64];   /* of the network */
    char plugin[33]; /* as the profile calls it */
    uint32_t kinds;
    json_t *ports; /* {ID: {mac, address, kind, published: [...]}} */
};

/* Loads the plugin that the configuration names and makes its network. finish takes what is half-made. */
int ctr_carrier_init(struct ctr_carrier *carrier, struct ctr_loop *loop, const json_t *config,
                     struct ctr_error *err);
void ctr_carrier_finish(struct ctr_carrier *carrier);
/* One request but "stop": the value of "ok" as a new reference, or NULL. *ret_fd is -1 or a descriptor for the caller to send and close. */
json_t *ctr_carrier_handle(struct ctr_carrier *carrier, const json_t *request, int *ret_fd,
                           struct ctr_error *err);

/* Gives up what ctr-net does not need: new privileges, and root with all but the right to bind low ports. */
int ctr_net_lower(struct ctr_error *err);

#endif
