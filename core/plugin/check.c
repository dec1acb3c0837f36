/*
 * What a plugin's object must be before anything of it is used. A refusal is one line: the file, the reason, the remedy.
 *
 * The order matters: magic first, then the ABI's number, then the size; only then may further fields be read.
 */
#include "core/plugin/plugin-priv.h"

static const char *const kind_names[] = {NULL, "registry", "storage", "net", "vmm"};

const char *
ctr_kind_name(uint32_t kind)
{
    return kind < CTR_LENGTH(kind_names) ? kind_names[kind] : NULL;
}

uint32_t
ctr_kind_by_name(const char *word, size_t n)
{
    for (uint32_t kind = 1; kind < CTR_LENGTH(kind_names); kind++) {
        if (strlen(kind_names[kind]) == n && memcmp(kind_names[kind], word, n) == 0) {
            return kind;
        }
    }
    return 0;
}

uint32_t
ctr_plugin_file_kind(const char *file, const char **ret_name, size_t *ret_length)
{
    const char *dash = strchr(file, '-');
    size_t n = strlen(file);
    if (dash == NULL || !ctr_ends_with(file, ".so") || n <= (size_t) (dash - file) + 4) {
        return 0;
    }
    *ret_name = dash + 1;
    *ret_length = n - (size_t) (dash + 1 - file) - 3;
    return ctr_kind_by_name(file, (size_t) (dash - file));
}

int
ctr_plugin_check_file_name(const struct ctr_plugin *plugin, const char *path,
                           struct ctr_error *err)
{
    const char *slash = strrchr(path, '/'), *file = slash == NULL ? path : slash + 1, *name;
    size_t n;
    uint32_t kind = ctr_plugin_file_kind(file, &name, &n);
    if (kind == plugin->kind && strlen(plugin->name) == n &&
        memcmp(plugin->name, name, n) == 0) {
        return 0;
    }
    return ctr_fail(
        err, -EINVAL, "plugin %s refused: it holds \"%s\" of kind %s: call it %s-%s.so", path,
        plugin->name, ctr_kind_name(plugin->kind), ctr_kind_name(plugin->kind), plugin->name);
}

const struct ctr_option *
ctr_plugin_option(const struct ctr_plugin *plugin, uint32_t i)
{
    const char *table = (const char *) plugin->options;
    return (const struct ctr_option *) (const void *) (table +
                                                       (size_t) i * plugin->options->size);
}

/* Slots that a kind requires, by their place in its ops struct. */
#define SLOT(kind, name)                                                                       \
    {                                                                                          \
        offsetof(struct ctr_##kind##_ops, name), #name                                         \
    }
struct slot {
    size_t offset;
    const char *name;
};

static const struct slot storage_slots[] = {
    SLOT(storage, open),  SLOT(storage, close),  SLOT(storage, clone),
    SLOT(storage, disks), SLOT(storage, remove), SLOT(storage, usage),
};
/* A storage plugin has either these or those: who gives layer_apply keeps layers by themselves. */
static const struct slot storage_image_slots[] = {
    SLOT(storage, prepare),
    SLOT(storage, apply),
    SLOT(storage, commit),
};
static const struct slot storage_layer_slots[] = {
    SLOT(storage, layer_apply),
    SLOT(storage, layer_commit),
    SLOT(storage, layer_remove),
    SLOT(storage, chain),
};
static const struct slot registry_slots[] = {
    SLOT(registry, open),
    SLOT(registry, close),
    SLOT(registry, get),
};
/* attach and detach are required unless port_kinds() is 0, which is known only after open. */
static const struct slot net_slots[] = {
    SLOT(net, open),
    SLOT(net, close),
    SLOT(net, port_kinds),
    SLOT(net, create),
};
static const struct slot vmm_slots[] = {
    SLOT(vmm, open),    SLOT(vmm, close), SLOT(vmm, info), SLOT(vmm, create),
    SLOT(vmm, channel), SLOT(vmm, start), SLOT(vmm, kill), SLOT(vmm, destroy),
};

static const struct {
    const struct slot *slots;
    size_t n;
} required[] = {
    {NULL, 0},
    {registry_slots, CTR_LENGTH(registry_slots)},
    {storage_slots, CTR_LENGTH(storage_slots)},
    {net_slots, CTR_LENGTH(net_slots)},
    {vmm_slots, CTR_LENGTH(vmm_slots)},
};

static bool
slot_is_null(const void *ops, size_t offset)
{
    void (*slot)(void);
    memcpy(&slot, (const char *) ops + offset, sizeof slot);
    return slot == NULL;
}

static bool
slot_is_beyond(const void *ops, size_t offset)
{
    uint32_t size;
    memcpy(&size, ops, sizeof size);
    return size < offset + sizeof(void (*)(void));
}

static int
check_slots(const struct ctr_plugin *plugin, const struct slot *slots, size_t n,
            const char *path, struct ctr_error *err)
{
    for (size_t i = 0; i < n; i++) {
        bool beyond = slot_is_beyond(plugin->ops, slots[i].offset);
        if (beyond || slot_is_null(plugin->ops, slots[i].offset)) {
            return ctr_fail(err, -EINVAL,
                            "plugin %s refused: its slot %s is %s, but <ctr/%s.h> requires it: "
                            "fill it in",
                            path, slots[i].name,
                            beyond ? "beyond the size that its ops table states" : "NULL",
                            ctr_kind_name(plugin->kind));
        }
    }
    return 0;
}

static int
check_ops(const struct ctr_plugin *plugin, const char *path, struct ctr_error *err)
{
    if (plugin->ops == NULL) {
        return ctr_fail(
            err, -EINVAL,
            "plugin %s refused: its ops table is NULL: give CTR_PLUGIN() the address "
            "of a struct ctr_%s_ops",
            path, ctr_kind_name(plugin->kind));
    }
    int code =
        check_slots(plugin, required[plugin->kind].slots, required[plugin->kind].n, path, err);
    if (code != 0 || plugin->kind != CTR_KIND_STORAGE) {
        return code;
    }
    size_t layers = offsetof(struct ctr_storage_ops, layer_apply);
    return slot_is_beyond(plugin->ops, layers) || slot_is_null(plugin->ops, layers)
               ? check_slots(plugin, storage_image_slots, CTR_LENGTH(storage_image_slots), path,
                             err)
               : check_slots(plugin, storage_layer_slots, CTR_LENGTH(storage_layer_slots), path,
                             err);
}

static int
check_options(const struct ctr_plugin *plugin, const char *path, struct ctr_error *err)
{
    if (plugin->n_options == 0) {
        return 0;
    }
    if (plugin->options == NULL || plugin->options->size < sizeof(struct ctr_option) ||
        plugin->options->size > 4096 || plugin->n_options > 1000) {
        return ctr_fail(err, -EINVAL,
                        "plugin %s refused: its option table is malformed: set .size of each "
                        "entry to sizeof(struct ctr_option)",
                        path);
    }
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        const struct ctr_option *option = ctr_plugin_option(plugin, i);
        bool choice = option->type == CTR_OPTION_CHOICE;
        if (option->size != plugin->options->size || option->name == NULL ||
            option->help == NULL || (choice && option->choices == NULL)) {
            return ctr_fail(err, -EINVAL,
                            "plugin %s refused: entry %u of its option table lacks its size, "
                            "name, help or choices: fill them in",
                            path, (unsigned) i);
        }
    }
    return 0;
}

static bool
is_plugin_name(const char *name)
{
    if (name == NULL || name[0] < 'a' || name[0] > 'z') {
        return false;
    }
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return name[n] == '\0' && n <= 32;
}

/* Magic, ABI and size: until they are right, nothing else may be read. */
static int
check_abi(const struct ctr_plugin *plugin, const char *path, struct ctr_error *err)
{
    if (plugin->magic != CTR_PLUGIN_MAGIC) {
        return ctr_fail(err, -EINVAL,
                        "plugin %s refused: its magic is %08x, not %08x: build it with "
                        "CTR_PLUGIN() of <ctr/plugin.h>",
                        path, plugin->magic, CTR_PLUGIN_MAGIC);
    }
    if (plugin->abi_major != CTR_ABI_MAJOR) {
        return ctr_fail(
            err, -EINVAL,
            "plugin %s refused: it was built for ABI %u.%u, this program has %d.%d: "
            "rebuild it with the installed headers",
            path, plugin->abi_major, plugin->abi_minor, CTR_ABI_MAJOR, CTR_ABI_MINOR);
    }
    if (plugin->size < offsetof(struct ctr_plugin, ops) + sizeof plugin->ops) {
        return ctr_fail(err, -EINVAL,
                        "plugin %s refused: its description has %u bytes, at least %zu are "
                        "needed: rebuild it with the installed headers",
                        path, plugin->size,
                        offsetof(struct ctr_plugin, ops) + sizeof plugin->ops);
    }
    return 0;
}

int
ctr_plugin_check(const struct ctr_plugin *plugin, const char *path, uint32_t kind,
                 struct ctr_error *err)
{
    int code = check_abi(plugin, path, err);
    if (code != 0) {
        return code;
    }
    if (ctr_kind_name(plugin->kind) == NULL) {
        return ctr_fail(err, -EINVAL,
                        "plugin %s refused: its kind %u is unknown: it is for a later version",
                        path, plugin->kind);
    }
    if (kind != 0 && plugin->kind != kind) {
        return ctr_fail(
            err, -EINVAL,
            "plugin %s refused: it is of kind %s, a %s plugin is needed: correct the "
            "profile",
            path, ctr_kind_name(plugin->kind), ctr_kind_name(kind));
    }
    if (!is_plugin_name(plugin->name) || plugin->version == NULL || plugin->help == NULL) {
        return ctr_fail(
            err, -EINVAL,
            "plugin %s refused: its name, version or help is missing or malformed: a "
            "name is [a-z][a-z0-9-]{0,31}",
            path);
    }
    code = check_options(plugin, path, err);
    return code != 0 ? code : check_ops(plugin, path, err);
}
