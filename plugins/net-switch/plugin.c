/*
 * net-switch as a plugin: the switch with libslirp behind it.
 */
#include "slots.h"

static const struct ctr_option options[] = {SW_OPTIONS};
static const struct ctr_net_ops ops = SW_OPS(0);

CTR_PLUGIN(CTR_KIND_NET, "switch", CTR_VERSION,
           "joins the VMs of a network in user space, with a way out through libslirp", options,
           &ops);
