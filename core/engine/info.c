/*
 * What the engine says of itself: info, plugins, the profile in force.
 */
#include "core/engine/engine-priv.h"

static void
count_states(struct ctr_engine *engine, int ret[3])
{
    ctr_engine_lock(engine);
    for (struct ctr_container *c = engine->containers; c != NULL; c = c->next) {
        ret[c->state] += c->ready;
    }
    ctr_engine_unlock(engine);
}

static json_t *
instances_of(struct ctr_engine *engine, int kind)
{
    json_t *list = json_array();
    for (size_t i = 0; i < engine->conf->n_instances; i++) {
        const struct ctr_conf_instance *instance = &engine->conf->instances[i];
        if (instance->kind == kind) {
            (void) json_array_append_new(list, json_pack("{s:s,s:s}", "name", instance->name,
                                                         "plugin", instance->plugin));
        }
    }
    return list;
}

static const char *
default_plugin(struct ctr_engine *engine, int kind)
{
    const struct ctr_conf_instance *instance = ctr_conf_instance(engine->conf, kind, NULL);
    return instance == NULL ? "" : instance->plugin;
}

static json_t *
vmm_info(struct ctr_engine *engine, json_t *warnings)
{
    struct ctr_error err = CTR_ERROR_INIT;
    const json_t *probe = ctr_engine_probe(engine, engine->platform.arch, &err);
    const char *plugin = default_plugin(engine, CTR_KIND_VMM);
    if (probe == NULL) {
        (void) json_array_append_new(warnings, json_string(err.msg));
        return json_pack("{s:s,s:s,s:s,s:b,s:s}", "plugin", plugin, "accel", "", "version", "",
                         "hardware", 0, "error", err.msg);
    }
    bool hardware = ctr_json_bool(probe, "hardware", false);
    if (!hardware) {
        (void) json_array_append_new(
            warnings,
            json_string("Containers run under emulation: they are not a security boundary"));
    }
    return json_pack("{s:s,s:s,s:s,s:b,s:s}", "plugin", plugin, "accel",
                     ctr_json_str(probe, "accel", ""), "version",
                     ctr_json_str(probe, "version", ""), "hardware", hardware, "error", "");
}

json_t *
ctr_engine_info(struct ctr_engine *engine, struct ctr_error *err)
{
    const struct ctr_conf *conf = engine->conf;
    int states[3] = {0};
    count_states(engine, states);
    CTR_AUTO(json) json_t *images = ctr_engine_image_list(engine, err);
    if (images == NULL) {
        return NULL;
    }
    json_t *warnings = json_array();
    json_t *vmm = vmm_info(engine, warnings);
    CTR_AUTO(free) char *kernel = NULL;
    CTR_AUTO(free) char *initramfs = NULL;
    struct ctr_error why = CTR_ERROR_INIT;
    if (ctr_machine_kernel(engine, engine->platform.arch, NULL, &kernel, &initramfs, &why) <
        0) {
        CTR_AUTO(free) char *text = ctr_printable(why.msg);
        (void) json_array_append_new(warnings, json_string(text == NULL ? "" : text));
    }
    json_t *info = json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:i,s:I,s:s,s:o,s:s,s:o,s:o,s:s,s:o}", "profile",
        conf->name, "file", conf->file, "data", conf->engine.data, "run", conf->engine.run,
        "version", CTR_VERSION, "arch", engine->platform.arch, "containers",
        states[0] + states[1] + states[2], "running", states[CTR_STATE_RUNNING], "stopped",
        states[CTR_STATE_EXITED], "created", states[CTR_STATE_CREATED], "images",
        (json_int_t) json_array_size(images), "storage",
        default_plugin(engine, CTR_KIND_STORAGE), "storages",
        instances_of(engine, CTR_KIND_STORAGE), "net", default_plugin(engine, CTR_KIND_NET),
        "registry", instances_of(engine, CTR_KIND_REGISTRY), "vmm", vmm, "kernel",
        kernel == NULL ? "" : kernel, "warnings", warnings);
    if (info == NULL) {
        (void) ctr_fail(err, -ENOMEM, "out of memory");
    }
    return info;
}

json_t *
ctr_engine_plugins(struct ctr_engine *engine, struct ctr_error *err)
{
    json_t *list = json_deep_copy(engine->plugins);
    size_t i;
    json_t *plugin;
    if (list == NULL) {
        (void) ctr_fail(err, -ENOMEM, "out of memory");
        return NULL;
    }
    json_array_foreach(list, i, plugin)
    {
        json_t *used = json_array();
        for (size_t k = 0; k < engine->conf->n_instances; k++) {
            const struct ctr_conf_instance *instance = &engine->conf->instances[k];
            if (strcmp(instance->plugin, ctr_json_str(plugin, "name", "")) == 0 &&
                strcmp(ctr_json_str(plugin, "kind", ""),
                       ctr_kind_name((uint32_t) instance->kind)) == 0) {
                (void) json_array_append_new(used, json_string(instance->name));
            }
        }
        (void) json_object_set_new(plugin, "used", used);
    }
    return list;
}

json_t *
ctr_engine_profile(struct ctr_engine *engine, struct ctr_error *err)
{
    const struct ctr_conf *conf = engine->conf;
    const struct ctr_conf_engine *e = &conf->engine;
    json_t *instances = json_array();
    for (size_t i = 0; i < conf->n_instances; i++) {
        const struct ctr_conf_instance *instance = &conf->instances[i];
        (void) json_array_append_new(instances,
                                     json_pack("{s:s,s:s,s:s,s:o}", "kind",
                                               ctr_kind_name((uint32_t) instance->kind), "name",
                                               instance->name, "plugin", instance->plugin,
                                               "options", ctr_conf_instance_json(instance)));
    }
    json_t *profile = json_pack(
        "{s:s,s:s,s:{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:I,s:s},s:o}",
        "name", conf->name, "file", conf->file, "engine", "data", e->data, "run", e->run,
        "plugins", e->plugins, "kernel", e->kernel, "initramfs", e->initramfs, "kernel_args",
        e->kernel_args, "platform", e->platform, "cpus", (json_int_t) e->cpus, "memory",
        (json_int_t) e->memory, "disk", (json_int_t) e->disk, "log_size",
        (json_int_t) e->log_size, "console_size", (json_int_t) e->console_size, "max_image",
        (json_int_t) e->max_image, "boot_timeout", (json_int_t) e->boot_timeout, "subnet",
        e->subnet, "mtu", (json_int_t) e->mtu, "dns", e->dns, "instances", instances);
    if (profile == NULL) {
        (void) ctr_fail(err, -ENOMEM, "out of memory");
    }
    return profile;
}
