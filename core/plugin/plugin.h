/*
 * core/plugin: finds, checks and loads plugins (libltdl), and gives them their host services.
 *
 * Only absolute paths from the profile's plugin folders. Every path component is checked for owner and mode before the
 * file is opened. All loads happen on the main thread before the loop runs; nothing is unloaded.
 */
#ifndef CTR_CORE_PLUGIN_H
#define CTR_CORE_PLUGIN_H

#include "core/conf/conf.h"
#include "core/loop/loop.h"
#include <ctr/net.h>
#include <ctr/plugin.h>
#include <ctr/registry.h>
#include <ctr/storage.h>
#include <ctr/vmm.h>

/* Loads one file and checks magic, ABI, size, kind (0: any), name, ops' size and required slots. The object lives for ever. */
int ctr_plugin_load(const char *path, uint32_t kind, const struct ctr_plugin **ret,
                    struct ctr_error *err);

/* Looks through the profile's folders for KIND-NAME.so ("storage-ext4.so", "vmm-qemu.so") and loads it. ret_path (may be NULL): caller
 * frees. An unknown name lists what there is. */
int ctr_plugin_find(const struct ctr_conf *conf, uint32_t kind, const char *name,
                    const struct ctr_plugin **ret, char **ret_path, struct ctr_error *err);

/* What `plugin ls` shows: loads everything in the folders and writes a JSON array of {path, kind, name, version, help, abi, options: [{name,
 * type, default, choices, min, max, help}], hidden_by, error} to stdout (hidden_by: the path of one with the same name found earlier; error: why it was refused). Run in a process of its own (`ctrd --describe-plugins`), so that ctrd
 * keeps no plugin of vmm and net in its memory. */
int ctr_plugin_describe_all(const struct ctr_conf *conf, struct ctr_error *err);
const char *
ctr_kind_name(uint32_t kind); /* "registry", "storage", "net", "vmm"; NULL if unknown */

/* Frozen copies of the public tables: slots beyond the plugin's size are NULL. */
const struct ctr_storage_ops *
ctr_plugin_storage_ops(const struct ctr_plugin *plugin, struct ctr_storage_ops *copy);
const struct ctr_registry_ops *
ctr_plugin_registry_ops(const struct ctr_plugin *plugin, struct ctr_registry_ops *copy);
const struct ctr_net_ops *
ctr_plugin_net_ops(const struct ctr_plugin *plugin, struct ctr_net_ops *copy);
const struct ctr_vmm_ops *
ctr_plugin_vmm_ops(const struct ctr_plugin *plugin, struct ctr_vmm_ops *copy);

/* Whether the plugin was built for ABI 1.2 or later: it knows IPv6, given descriptors, isolation and rules. */
bool ctr_plugin_net_is_12(const struct ctr_plugin *plugin);
/* Refuses, by the plugin's name, a network that asks for what the plugin lacks; kinds: what its port_kinds() said. */
int
ctr_plugin_net_check(const struct ctr_plugin *plugin, const struct ctr_net_ops *ops,
                     uint32_t kinds, const struct ctr_network *network, struct ctr_error *err);

/* Host services for one instance. loop NULL: has_loop is 0. Takes ownership of options. state_dir may be NULL. */
int ctr_host_create(struct ctr_loop *loop, struct ctr_options *take_options, const char *plugin,
                    const char *instance, const char *state_dir, const char *run_dir,
                    struct ctr_host **ret, struct ctr_error *err);
void ctr_host_destroy(struct ctr_host *host); /* takes NULL */

#endif
