/*
 * FOLDER/sandbox.json: all that ctr-sandbox needs to know for one run of a container (core/sandbox/sandbox.h).
 *
 * Written anew for every start. Descriptor numbers in it are those that start.c hands over: 3 control, then the network ports,
 * then the clients that attached before the start, last the lock that shows as long as a sandbox lives.
 */
#include "core/engine/engine-priv.h"
#include <fcntl.h>
#include <sys/stat.h>

/* What every guest's kernel is told: nothing to print, a panic ends the machine; and no self-tests, tracing, certificates, audit and security
 * modules, which nothing in a guest uses and which cost a fifth of a boot with a distribution's kernel under emulation. */
#define KERNEL_ARGS                                                                            \
    "quiet panic=-1 cryptomgr.notests random.trust_cpu=on audit=0 lsm=capability "             \
    "initcall_blacklist=init_kprobe_trace,load_system_certificate_list,crypto_kdf108_init"

static int
guest_file(struct ctr_engine *engine, const char *configured, const char *arch,
           const char *what, char **ret, struct ctr_error *err)
{
    CTR_AUTO(free) char *prefix = NULL;
    CTR_AUTO(free) char *path = NULL;
    if (*configured != '\0') {
        path = strdup(configured);
    } else {
        /* bin/ and share/ are neighbours, whoever asks. */
        path = ctr_printf("%s/../share/ctr/guest/%s/%s", engine->bin, arch, what);
    }
    if (path == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    prefix = realpath(path, NULL);
    if (prefix == NULL || access(prefix, R_OK) < 0) {
        return ctr_fail(err, -EIO,
                        "guest %s for %s not readable at %s (%s): `make kernel-fetch` brings "
                        "it, or set `%s` in [engine] of %s",
                        what, arch, path, strerror(errno),
                        strcmp(what, "vmlinux") == 0 ? "kernel" : what, engine->conf->file);
    }
    *ret = ctr_steal(&prefix);
    return 0;
}

int
ctr_machine_kernel(struct ctr_engine *engine, const char *arch, const json_t *spec,
                   char **ret_kernel, char **ret_initramfs, struct ctr_error *err)
{
    const char *kernel = ctr_json_str(spec, "kernel", "");
    struct stat st;
    if (*kernel != '\0') {
        if (*kernel != '/' || stat(kernel, &st) < 0 || !S_ISREG(st.st_mode) ||
            access(kernel, R_OK) < 0) {
            return ctr_fail(err, -EINVAL,
                            "kernel %s: not a readable file with an absolute path", kernel);
        }
        *ret_kernel = strdup(kernel);
        if (*ret_kernel == NULL) {
            return ctr_fail(err, -ENOMEM, "out of memory");
        }
    } else if (guest_file(engine, engine->conf->engine.kernel, arch, "vmlinux", ret_kernel,
                          err) < 0) {
        return err->code;
    }
    return guest_file(engine, engine->conf->engine.initramfs, arch, "initramfs", ret_initramfs,
                      err);
}

static json_t *
machine_json(struct ctr_engine *engine, struct ctr_launch *launch, struct ctr_error *err)
{
    struct ctr_container *c = launch->container;
    CTR_AUTO(free) char *kernel = NULL;
    CTR_AUTO(free) char *initramfs = NULL;
    if (ctr_machine_kernel(engine, c->arch, c->spec, &kernel, &initramfs, err) < 0) {
        return NULL;
    }
    CTR_AUTO(free)
    char *cmdline =
        ctr_printf("%s%s%s", KERNEL_ARGS, *engine->conf->engine.kernel_args ? " " : "",
                   engine->conf->engine.kernel_args);
    return json_pack("{s:s,s:I,s:I,s:s,s:s,s:s,s:O}", "arch", c->arch, "cpus",
                     (json_int_t) ctr_json_int(c->spec, "cpus", 1), "memory",
                     (json_int_t) ctr_json_int(c->spec, "memory", 0), "kernel", kernel,
                     "initramfs", initramfs, "cmdline", cmdline == NULL ? "" : cmdline, "disks",
                     launch->disks);
}

static json_t *
boot_json(const struct ctr_launch *launch)
{
    struct ctr_container *c = launch->container;
    CTR_AUTO(json) json_t *env = ctr_spec_env(c->spec, c->tty, NULL);
    CTR_AUTO(json) json_t *disks = json_array();
    size_t i;
    json_t *disk;
    json_array_foreach(launch->disks, i, disk)
    {
        (void) json_array_append_new(
            disks, json_pack("{s:s,s:s,s:s,s:b}", "role", ctr_json_str(disk, "role", "root"),
                             "fstype", ctr_json_str(disk, "fstype", "ext4"), "options",
                             ctr_json_str(disk, "options", ""), "read_only",
                             ctr_json_bool(disk, "read_only", false)));
    }
    json_t *tmpfs = json_object_get(c->spec, "tmpfs");
    CTR_AUTO(json)
    json_t *process = json_pack("{s:O,s:O,s:s,s:s,s:b,s:I,s:I}", "args", c->args, "env", env,
                                "cwd", ctr_json_str(c->spec, "working_dir", "/"), "user",
                                ctr_json_str(c->spec, "user", ""), "tty", c->tty, "rows",
                                (json_int_t) ctr_json_int(c->spec, "rows", 24), "cols",
                                (json_int_t) ctr_json_int(c->spec, "cols", 80));
    int64_t shm = ctr_json_int(c->spec, "shm_size", 0);
    return json_pack("{s:s,s:s,s:O,s:b,s:I,s:o,s:O,s:O}", "container", c->id, "hostname",
                     ctr_json_str(c->spec, "hostname", ""), "disks", disks, "read_only",
                     ctr_json_bool(c->spec, "read_only", false), "shm_size",
                     (json_int_t) (shm > 0 ? shm : 64 * 1024 * 1024), "tmpfs",
                     tmpfs == NULL ? json_array() : json_incref(tmpfs), "network",
                     launch->network, "process", process);
}

/* In the order in which start.c hands the descriptors over. */
static json_t *
ports_json(const struct ctr_launch *launch, int *next)
{
    json_t *ports = json_array();
    for (size_t i = 0; i < launch->n_ports; i++) {
        const struct ctr_attachment *port = &launch->ports[i];
        json_t *json = json_pack("{s:i,s:s,s:i,s:s}", "kind", port->kind, "mac", port->hardware,
                                 "mtu", port->mtu, "native", port->native);
        if (port->fd >= 0) {
            (void) json_object_set_new(json, "fd", json_integer((*next)++));
        }
        if (port->keep >= 0) {
            (void) json_object_set_new(json, "keep", json_integer((*next)++));
        }
        (void) json_array_append_new(ports, json);
    }
    return ports;
}

static json_t *
attach_json(const struct ctr_launch *launch, int *next)
{
    json_t *attach = json_array();
    for (size_t i = 0; i < launch->n_pending; i++) {
        const struct ctr_pending *pending = &launch->pending[i];
        (void) json_array_append_new(attach, json_pack("{s:i,s:b,s:b,s:b}", "fd", (*next)++,
                                                       "stdin", pending->in, "stdout",
                                                       pending->out, "stderr", pending->err));
    }
    return attach;
}

static json_t *
vmm_json(struct ctr_engine *engine, struct ctr_error *err)
{
    const struct ctr_conf_instance *vmm = ctr_conf_instance(engine->conf, CTR_KIND_VMM, NULL);
    if (vmm == NULL) {
        (void) ctr_fail(err, -EIO, "%s: no [vmm] section with plugin = NAME",
                        engine->conf->file);
        return NULL;
    }
    const char *path = ctr_engine_plugin_path(engine, CTR_KIND_VMM, vmm->plugin, err);
    if (path == NULL) {
        return NULL;
    }
    return json_pack("{s:s,s:s,s:o}", "plugin", path, "instance", vmm->name, "options",
                     ctr_conf_instance_json(vmm));
}

/* Not fsynced: a file that a power cut tears belongs to a machine that the cut ended. */
static int
write_plain(const char *path, const json_t *json, struct ctr_error *err)
{
    CTR_AUTO(free) char *text = ctr_json_text(json);
    CTR_AUTO(fd)
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (text == NULL || fd < 0) {
        return ctr_fail(err, -errno, "%s: %s", path, strerror(errno));
    }
    int rc = ctr_write_all(fd, text, strlen(text));
    return rc < 0 ? ctr_fail(err, rc, "%s: %s", path, strerror(-rc)) : 0;
}

int
ctr_machine_write(struct ctr_engine *engine, struct ctr_launch *launch, struct ctr_error *err)
{
    struct ctr_container *c = launch->container;
    const struct ctr_conf_engine *conf = &engine->conf->engine;
    CTR_AUTO(json) json_t *vmm = vmm_json(engine, err);
    CTR_AUTO(json) json_t *machine = vmm == NULL ? NULL : machine_json(engine, launch, err);
    if (machine == NULL) {
        return err->code != 0 ? err->code : ctr_fail(err, -ENOMEM, "out of memory");
    }
    int next = 4;
    CTR_AUTO(json) json_t *ports = ports_json(launch, &next);
    CTR_AUTO(json) json_t *attach = attach_json(launch, &next);
    CTR_AUTO(json) json_t *boot = boot_json(launch);
    CTR_AUTO(free) char *socket = ctr_container_socket(c);
    CTR_AUTO(free) char *log = ctr_printf("%s/container.log", c->folder);
    CTR_AUTO(free) char *path = ctr_printf("%s/sandbox.json", c->folder);
    int64_t timeout = ctr_json_int(c->spec, "stop_timeout", 10);
    if (ports == NULL || attach == NULL || boot == NULL || socket == NULL || log == NULL ||
        path == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    CTR_AUTO(json)
    json_t *json =
        json_pack("{s:s,s:O,s:O,s:O,s:O,s:b,s:b,s:O,s:s,s:s,s:s,s:I,s:I,s:I,s:i,s:I,s:b,s:I}",
                  "id", c->id, "vmm", vmm, "machine", machine, "ports", ports, "boot", boot,
                  "open_stdin", ctr_json_bool(c->spec, "open_stdin", false), "stdin_once",
                  ctr_json_bool(c->spec, "stdin_once", false), "attach", attach, "socket",
                  socket, "run_dir", conf->run, "log", log, "log_size",
                  (json_int_t) conf->log_size, "console_size", (json_int_t) conf->console_size,
                  "boot_timeout", (json_int_t) conf->boot_timeout, "stop_signal",
                  ctr_signal_number(ctr_json_str(c->spec, "stop_signal", "TERM")),
                  "stop_timeout", (json_int_t) (timeout < 0 ? 0 : timeout), "ephemeral",
                  c->auto_remove, "spare_ports", (json_int_t) launch->spare_ports);
    if (json == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    return write_plain(path, json, err);
}
