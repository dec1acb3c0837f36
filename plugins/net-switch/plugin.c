/*
 * net-switch as a plugin: the switch with libslirp behind it.
 */
#include "switch-priv.h"

static const struct ctr_option options[] = {SW_OPTIONS};

CTR_PLUGIN(CTR_KIND_NET, "switch", CTR_VERSION,
           "joins the VMs of a network in user space, with a way out through libslirp", options,
           &sw_ops);
