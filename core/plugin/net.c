/*
 * What net plugins of different ages can do, so that a network which asks for more is refused by the plugin's name and never half-made.
 */
#include "core/plugin/plugin-priv.h"

bool
ctr_plugin_net_is_12(const struct ctr_plugin *plugin)
{
    return plugin->abi_minor >= 2;
}

int
ctr_plugin_net_check(const struct ctr_plugin *plugin, const struct ctr_net_ops *ops,
                     uint32_t kinds, const struct ctr_network *network, struct ctr_error *err)
{
    if (kinds != 0 && (ops->attach == NULL || ops->detach == NULL)) {
        return ctr_fail(err, -ENOSYS, "network plugin %s offers ports but can't attach one",
                        plugin->name);
    }
    const char *lacks = network->subnet6.family != 0 ? "IPv6"
                        : network->isolated != 0     ? "isolated networks"
                                                     : NULL;
    if (lacks != NULL && !ctr_plugin_net_is_12(plugin)) {
        return ctr_fail(err, -EOPNOTSUPP,
                        "network plugin %s was built for ABI %u.%u, which knows no %s: rebuild "
                        "it with the installed headers, or use another driver",
                        plugin->name, plugin->abi_major, plugin->abi_minor, lacks);
    }
    if (network->egress_deny != 0 && ops->allow == NULL) {
        return ctr_fail(err, -EOPNOTSUPP,
                        "network plugin %s cannot limit what goes out: leave out --egress "
                        "deny, or use another driver",
                        plugin->name);
    }
    return 0;
}
