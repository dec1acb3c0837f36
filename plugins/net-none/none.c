/*
 * net-none: a network that connects nothing. It offers no kind of port, so that the core never attaches one.
 */
#include <ctr/net.h>
#include <errno.h>

static int here;

static int
none_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    *ret_self = &here; /* there is nothing to remember, but NULL means no instance */
    return 0;
}

static void
none_close(void *self)
{
}

static uint32_t
none_port_kinds(void *self)
{
    return 0;
}

static int
none_create(void *self, const struct ctr_network *network, struct ctr_error *err)
{
    return 0;
}

static const struct ctr_net_ops ops = {
    .size = sizeof ops,
    .open = none_open,
    .close = none_close,
    .port_kinds = none_port_kinds,
    .create = none_create,
};

CTR_EXPORT const struct ctr_plugin ctr_plugin = {
    .magic = CTR_PLUGIN_MAGIC,
    .abi_major = CTR_ABI_MAJOR,
    .abi_minor = CTR_ABI_MINOR,
    .size = sizeof ctr_plugin,
    .kind = CTR_KIND_NET,
    .name = "none",
    .version = CTR_VERSION,
    .help = "connects nothing: containers have the loopback interface alone",
    .ops = &ops,
};
