/*
 * Making a container: image, name, record, disk, address; and renaming.
 *
 * The record is first written in phase "creating": what a kill then leaves behind is known and taken away at the next start.
 * Only when the disk is durable the record says "ready" and the create call reports success.
 */
#include "core/engine/engine-priv.h"

static const char emulated[] = "Containers run under emulation (no hardware virtualization on "
                               "this host): this VM is not a "
                               "security boundary.";

/* A name for it, claimed by being in the table. Locked. */
static int
take_name(struct ctr_container *container, const char *name, struct ctr_error *err)
{
    char other[65];
    if (name != NULL && *name != '\0') {
        name += *name == '/';
        if (!ctr_is_name(name)) {
            return ctr_fail(
                err, -EINVAL,
                "Invalid container name (%.130s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are "
                "allowed, 128 characters at most",
                name);
        }
        if (ctr_container_name_taken(container->engine, name, other)) {
            return ctr_fail(
                err, -EEXIST,
                "Conflict. The container name \"/%s\" is already in use by container "
                "\"%s\". You have to remove (or rename) that container to be able to "
                "reuse that name.",
                name, other);
        }
        container->name = strdup(name);
    }
    for (int i = 0; i < 20 && container->name == NULL; i++) {
        container->name = ctr_random_name();
        if (container->name != NULL &&
            ctr_container_name_taken(container->engine, container->name, other)) {
            free(ctr_steal(&container->name));
        }
    }
    if (container->name == NULL) {
        container->name = strdup(container->id);
    }
    return container->name == NULL ? ctr_fail(err, -ENOMEM, "out of memory") : 0;
}

/* The container in the table, not ready, busy; held. */
static int
enter(struct ctr_engine *engine, const char *name, struct ctr_container **ret,
      struct ctr_error *err)
{
    char id[65];
    if (ctr_random_id(id) < 0) {
        return ctr_fail(err, -EIO, "no random numbers");
    }
    struct ctr_container *container = ctr_container_new(engine, id);
    if (container == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    ctr_engine_lock(engine);
    ctr_container_hold(container);
    container->busy = "create";
    int rc = engine->n_containers >= CTR_CONTAINERS_MAX
                 ? ctr_fail(err, -ENOSPC, "there are %d containers already: remove some",
                            CTR_CONTAINERS_MAX)
                 : take_name(container, name, err);
    if (rc == 0) {
        ctr_container_insert(container);
    } else {
        ctr_container_release(container);
    }
    ctr_engine_unlock(engine);
    if (rc == 0) {
        *ret = container;
    }
    return rc;
}

static int
check_kernel(struct ctr_engine *engine, const char *arch, const json_t *spec,
             struct ctr_error *err)
{
    CTR_AUTO(free) char *kernel = NULL;
    CTR_AUTO(free) char *initramfs = NULL;
    return ctr_machine_kernel(engine, arch, spec, &kernel, &initramfs, err);
}

/* What does not depend on the image: before anything is made. */
static int
check_host(struct ctr_engine *engine, const char *arch, const json_t *spec,
           const json_t **ret_probe, struct ctr_error *err)
{
    const char *storage = ctr_json_str(spec, "storage", "");
    if (ctr_engine_storage(engine, storage) == NULL) {
        return ctr_fail(err, -EINVAL,
                        "%s has no storage instance \"%s\": add a section [storage.%s]",
                        engine->conf->file, storage, storage);
    }
    const struct ctr_conf_instance *vmm = ctr_conf_instance(engine->conf, CTR_KIND_VMM, NULL);
    if (vmm == NULL) {
        return ctr_fail(err, -EIO, "%s: no [vmm] section with plugin = NAME",
                        engine->conf->file);
    }
    *ret_probe = ctr_engine_probe(engine, arch, err);
    if (*ret_probe == NULL || check_kernel(engine, arch, spec, err) < 0) {
        return err->code == -EINVAL ? err->code : ctr_engine_internal(err);
    }
    int64_t cpus = ctr_json_int(spec, "cpus", 1);
    int64_t most = ctr_json_int(*ret_probe, "max_cpus", 0);
    if (most > 0 && cpus > most) {
        return ctr_fail(err, -EINVAL, "%lld cpus asked for, the machine can have %lld",
                        (long long) cpus, (long long) most);
    }
    return 0;
}

static int
check_network(const json_t *spec, struct ctr_error *err)
{
    return strcmp(ctr_json_str(spec, "network", ""), "none") == 0 &&
                   json_array_size(json_object_get(spec, "publish")) > 0
               ? ctr_fail(err, -EINVAL, "ports cannot be published without a network")
               : 0;
}

/* Record, addresses, unpacked image, folder and disk. */
static int
make_parts(struct ctr_container *container, const struct ctr_image *image,
           struct ctr_error *err)
{
    struct ctr_engine *engine = container->engine;
    struct ctr_storage *storage =
        ctr_engine_storage(engine, ctr_json_str(container->spec, "storage", ""));
    if (image->chain_id[0] == '\0') {
        return ctr_fail(err, -EINVAL, "image %s has no layers: there is nothing to run",
                        ctr_json_str(container->image, "reference", ""));
    }
    if (ctr_container_save(container, "creating", err) < 0 ||
        ctr_mkdirs(container->folder, 0700, err) < 0) {
        return ctr_engine_internal(err);
    }
    if (ctr_container_join(container, err) < 0) {
        return err->code;
    }
    if (ctr_image_unpack(engine->images, image, storage, NULL, err) < 0) {
        (void) ctr_engine_internal(err);
        return ctr_prefix(err, "unpack into storage %s", ctr_storage_name(storage));
    }
    const struct ctr_conf_engine *conf = &engine->conf->engine;
    if (ctr_storage_clone(storage, container->id, image->chain_id,
                          conf->disk_set ? conf->disk : 0, err) < 0) {
        (void) ctr_engine_internal(err);
        return ctr_prefix(err, "disk in storage %s", ctr_storage_name(storage));
    }
    if (ctr_container_save(container, "ready", err) < 0) {
        return ctr_engine_internal(err);
    }
    return 0;
}

static int
fill(struct ctr_container *container, const json_t *request, const struct ctr_image *image,
     struct ctr_error *err)
{
    json_t *spec = NULL, *args = NULL;
    if (ctr_spec_merge(request, image->config, container->id, &container->engine->conf->engine,
                       &spec, &args, err) < 0) {
        return err->code;
    }
    json_t *described =
        json_pack("{s:s,s:s,s:s,s:s}", "reference", ctr_json_str(request, "image", ""), "id",
                  image->id, "digest", image->digest, "chain_id", image->chain_id);
    char *arch = strdup(image->platform.arch);
    ctr_engine_lock(container->engine);
    container->spec = spec;
    container->args = args;
    container->image = described;
    container->arch = arch;
    container->tty = ctr_json_bool(spec, "tty", false);
    container->auto_remove = ctr_json_bool(spec, "auto_remove", false);
    ctr_engine_unlock(container->engine);
    return described == NULL || arch == NULL ? ctr_fail(err, -ENOMEM, "out of memory") : 0;
}

static json_t *
warnings_of(struct ctr_engine *engine, const json_t *probe)
{
    json_t *warnings = json_array();
    ctr_engine_lock(engine);
    if (!ctr_json_bool(probe, "hardware", false) && !engine->warned) {
        engine->warned = true;
        (void) json_array_append_new(warnings, json_string(emulated));
    }
    ctr_engine_unlock(engine);
    return warnings;
}

static int
create_from(struct ctr_container *container, const json_t *request,
            const struct ctr_image *image, const json_t **ret_probe, struct ctr_error *err)
{
    struct ctr_engine *engine = container->engine;
    if (fill(container, request, image, err) < 0 ||
        check_host(engine, image->platform.arch, container->spec, ret_probe, err) < 0 ||
        check_network(container->spec, err) < 0 || make_parts(container, image, err) < 0) {
        return err->code;
    }
    return 0;
}

int
ctr_engine_container_create(struct ctr_engine *engine, const char *name, const json_t *spec,
                            char ret_id[65], json_t **ret_warnings, struct ctr_error *err)
{
    struct ctr_container *container = NULL;
    if (enter(engine, name, &container, err) < 0) {
        return err->code;
    }
    const char *platform = ctr_json_str(spec, "platform", "");
    struct ctr_image image = {0};
    const json_t *probe = NULL;
    int rc = ctr_image_resolve(engine->images, ctr_json_str(spec, "image", ""),
                               *platform == '\0' ? engine->conf->engine.platform : platform,
                               &image, err);
    if (rc == 0) {
        rc = create_from(container, spec, &image, &probe, err);
        ctr_image_finish(&image);
    }
    if (rc < 0 && container->spec != NULL) {
        struct ctr_error left = CTR_ERROR_INIT;
        ctr_container_dispose(engine, container->id); /* known by its record until then */
        if (ctr_record_remove(engine->store, "container", container->id, &left) < 0) {
            ctr_log(CTR_LEVEL_ERROR, "container=%.12s error=\"%s\"", container->id, left.msg);
        }
    }
    ctr_engine_lock(engine);
    if (rc < 0) {
        ctr_container_drop(container);
    } else {
        container->ready = true;
        memcpy(ret_id, container->id, 65);
        ctr_container_event(container, "create");
    }
    ctr_container_idle(container);
    ctr_container_release(container);
    ctr_engine_unlock(engine);
    if (rc == 0) {
        *ret_warnings = warnings_of(engine, probe);
    }
    return rc;
}

/* Record and names on the networks; on failure both are as they were. */
static int
save_name(struct ctr_container *container, const char *old, struct ctr_error *err)
{
    struct ctr_nets *nets = container->engine->nets;
    pthread_mutex_lock(&container->net_lock);
    int rc = ctr_nets_rename(nets, container->id, container->name, err);
    rc = rc < 0 ? ctr_engine_internal(err) : ctr_container_save(container, "ready", err);
    if (rc < 0) {
        struct ctr_error left = CTR_ERROR_INIT;
        (void) ctr_nets_rename(nets, container->id, old, &left);
    }
    pthread_mutex_unlock(&container->net_lock);
    return rc;
}

int
ctr_engine_container_rename(struct ctr_engine *engine, const char *ref, const char *name,
                            struct ctr_error *err)
{
    char other[65];
    if (name[*name == '/'] == '\0' || !ctr_is_name(name + (*name == '/'))) {
        return ctr_fail(err, -EINVAL, "Invalid container name (%.130s)", name);
    }
    name += *name == '/';
    ctr_engine_lock(engine);
    struct ctr_container *container = ctr_container_claim(engine, ref, "rename", err);
    if (container == NULL) {
        ctr_engine_unlock(engine);
        return err->code;
    }
    char *old = container->name, *fresh = strdup(name);
    int rc = 0;
    if (ctr_container_name_taken(engine, name, other)) {
        rc = ctr_fail(
            err, -EEXIST,
            "Conflict. The container name \"/%s\" is already in use by container \"%s\".", name,
            other);
    } else if (fresh == NULL) {
        rc = ctr_fail(err, -ENOMEM, "out of memory");
    } else {
        container->name = ctr_steal(&fresh);
        ctr_engine_unlock(engine);
        rc = save_name(container, old, err);
        ctr_engine_lock(engine);
        fresh = rc < 0 ? container->name : old;
        container->name = rc < 0 ? old : container->name;
    }
    free(fresh);
    if (rc == 0) {
        ctr_container_event(container, "rename");
    }
    ctr_container_idle(container);
    ctr_container_release(container);
    ctr_engine_unlock(engine);
    return rc;
}
