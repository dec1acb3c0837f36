/*
 * net-passt as a plugin: the switch of net-switch with passt behind it. See ctr-net-passt(7).
 */
#include "../net-switch/slots.h"

static const struct ctr_option options[] = {
    SW_OPTIONS,
    {
        .size = sizeof(struct ctr_option),
        .type = CTR_OPTION_PATH,
        .name = "binary",
        .help = "passt to run, absolute; unset: looked for in the standard folders",
    },
};

static const struct ctr_net_ops ops = SW_OPS(CTR_NET_SPAWNS);

CTR_PLUGIN(CTR_KIND_NET, "passt", CTR_VERSION,
           "joins the VMs of a network in user space, with a way out through passt", options,
           &ops);
