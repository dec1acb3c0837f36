/*
 * What the plugins are and can do, asked of child processes: vmm and net plugins never enter this process's memory.
 *
 * `ctrd --describe-plugins` tells the option tables of all plugins once at the start, and every section of the profile is
 * checked against them. `ctrd --describe-vmm ARCH` opens the profile's VMM and tells what it can do; it is asked when first
 * needed, and again after a failure, so that a missing monitor can be installed without a restart.
 */
#include "core/engine/engine-priv.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#define DESCRIBE_MAX (4u * 1024 * 1024)
#define DESCRIBE_SECONDS 60

/* Reads until the end or the deadline. */
static int
read_output(int fd, struct ctr_buf *out, int64_t deadline)
{
    char chunk[8192];
    for (;;) {
        int64_t left = (deadline - ctr_monotonic_ns()) / 1000000;
        struct pollfd poller = {.fd = fd, .events = POLLIN};
        if (left <= 0 || poll(&poller, 1, (int) left) == 0) {
            return -ETIMEDOUT;
        }
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n == 0 ? 0 : -errno;
        }
        ctr_buf_add(out, chunk, (size_t) n);
        if (out->failed || out->length > DESCRIBE_MAX) {
            return -EFBIG;
        }
    }
}

static int
spawn_self(struct ctr_engine *engine, const char *option, const char *value, pid_t *ret_pid,
           int *ret_fd, struct ctr_error *err)
{
    CTR_AUTO(free) char *program = ctr_printf("%s/ctrd", engine->bin);
    CTR_AUTO(free) const char **envp = ctr_child_environment();
    int fds[2];
    if (program == NULL || envp == NULL || pipe2(fds, O_CLOEXEC) < 0) {
        return ctr_fail(err, -errno, "pipe: %s", strerror(errno));
    }
    const char *argv[] = {program, "--profile", engine->conf->file, option, value, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int rc = posix_spawn(ret_pid, program, &actions, &attributes, (char *const *) argv,
                         (char *const *) envp);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    (void) close(fds[1]);
    if (rc != 0) {
        (void) close(fds[0]);
        return ctr_fail(err, -rc, "cannot run %s: %s", program, strerror(rc));
    }
    *ret_fd = fds[0];
    return 0;
}

/* Runs this program with one option and parses what it prints. */
static json_t *
ask_self(struct ctr_engine *engine, const char *option, const char *value,
         struct ctr_error *err)
{
    CTR_AUTO(fd) int fd = -1;
    CTR_AUTO(buf) struct ctr_buf out = {0};
    pid_t pid;
    if (spawn_self(engine, option, value, &pid, &fd, err) < 0) {
        return NULL;
    }
    int rc = read_output(fd, &out, ctr_monotonic_ns() + DESCRIBE_SECONDS * 1000000000ll);
    if (rc < 0) {
        (void) kill(pid, SIGKILL); /* our child, not yet waited for: the pid is its own */
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (rc < 0) {
        (void) ctr_fail(err, rc, "ctrd %s: %s", option,
                        rc == -ETIMEDOUT ? "a plugin does not return" : strerror(-rc));
        return NULL;
    }
    if (out.length == 0) {
        (void) ctr_fail(err, -EIO,
                        "ctrd %s ended with status %d and without a word: a plugin crashed it; "
                        "run it by hand to see",
                        option,
                        WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        return NULL;
    }
    return ctr_json_parse(out.data, out.length, DESCRIBE_MAX, option, err);
}

/* --- options --- */

static int
option_type(const json_t *json)
{
    static const char *const names[] = {"", "string", "path", "int", "bool", "size", "choice"};
    for (size_t i = 1; json_is_string(json) && i < CTR_LENGTH(names); i++) {
        if (strcmp(names[i], json_string_value(json)) == 0) {
            return (int) i;
        }
    }
    return json_is_integer(json) ? (int) json_integer_value(json) : CTR_OPTION_STRING;
}

static void
option_from_json(const json_t *json, struct ctr_option *ret)
{
    *ret = (struct ctr_option){
        .size = sizeof *ret,
        .type = option_type(json_object_get(json, "type")),
        .name = ctr_json_str(json, "name", ""),
        .def = ctr_json_str(json, "default", NULL),
        .choices = ctr_json_str(json, "choices", NULL),
        .min = ctr_json_int(json, "min", 0),
        .max = ctr_json_int(json, "max", 0),
        .help = ctr_json_str(json, "help", ""),
    };
}

static json_t *
find_plugin(struct ctr_engine *engine, int kind, const char *name)
{
    size_t i;
    json_t *plugin, *broken = NULL;
    json_array_foreach(engine->plugins, i, plugin)
    {
        if (strcmp(ctr_json_str(plugin, "kind", ""), ctr_kind_name((uint32_t) kind)) != 0 ||
            strcmp(ctr_json_str(plugin, "name", ""), name) != 0) {
            continue;
        }
        if (*ctr_json_str(plugin, "error", "") == '\0') {
            return plugin;
        }
        broken = plugin;
    }
    return broken;
}

static int
check_section(struct ctr_engine *engine, const struct ctr_conf_instance *instance,
              struct ctr_error *err)
{
    json_t *plugin = find_plugin(engine, instance->kind, instance->plugin);
    if (ctr_engine_plugin_path(engine, instance->kind, instance->plugin, err) == NULL) {
        if (instance->line > 0) {
            return ctr_prefix(err, "%s:%d", engine->conf->file, instance->line);
        }
        return err->code;
    }
    json_t *options = json_object_get(plugin, "options");
    size_t n = json_array_size(options);
    CTR_AUTO(free) struct ctr_option *table = calloc(n + 1, sizeof *table);
    if (table == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        option_from_json(json_array_get(options, i), &table[i]);
    }
    struct ctr_options *checked = NULL;
    int rc = ctr_options_create(engine->conf, instance, table, n, &checked, err);
    ctr_options_destroy(checked);
    return rc;
}

int
ctr_engine_plugins_load(struct ctr_engine *engine, struct ctr_error *err)
{
    engine->plugins = ask_self(engine, "--describe-plugins", NULL, err);
    if (engine->plugins == NULL) {
        return err->code;
    }
    const char *refused =
        ctr_json_str(json_object_get(engine->plugins, "error"), "message", NULL);
    if (refused != NULL) {
        return ctr_fail(err, -EINVAL, "%s", refused);
    }
    for (size_t i = 0; i < engine->conf->n_instances; i++) {
        if (check_section(engine, &engine->conf->instances[i], err) < 0) {
            return err->code;
        }
    }
    return 0;
}

const char *
ctr_engine_plugin_path(struct ctr_engine *engine, int kind, const char *name,
                       struct ctr_error *err)
{
    json_t *plugin = find_plugin(engine, kind, name);
    const char *path = ctr_json_str(plugin, "path", NULL);
    const char *error = ctr_json_str(plugin, "error", "");
    if (path != NULL && *error == '\0') {
        return path;
    }
    if (*error != '\0') {
        (void) ctr_fail(err, -EIO, "plugin %s-%s: %s", ctr_kind_name((uint32_t) kind), name,
                        error);
        return NULL;
    }
    CTR_AUTO(buf) struct ctr_buf there = {0};
    size_t i;
    json_array_foreach(engine->plugins, i, plugin)
    {
        if (strcmp(ctr_json_str(plugin, "kind", ""), ctr_kind_name((uint32_t) kind)) == 0) {
            ctr_buf_printf(&there, "%s%s", there.length > 0 ? ", " : "",
                           ctr_json_str(plugin, "name", "?"));
        }
    }
    (void) ctr_fail(err, -EIO, "there is no %s plugin named %s in the plugin folders (%s%s)",
                    ctr_kind_name((uint32_t) kind), name,
                    there.length > 0 ? "there is: " : "none",
                    there.length > 0 ? there.data : "");
    return NULL;
}

/* --- the VMM's abilities --- */

const json_t *
ctr_engine_probe(struct ctr_engine *engine, const char *arch, struct ctr_error *err)
{
    pthread_mutex_lock(&engine->probe_lock);
    struct ctr_probe *probe = NULL;
    for (size_t i = 0; i < CTR_LENGTH(engine->probes) && probe == NULL; i++) {
        if (engine->probes[i].arch[0] == '\0' || strcmp(engine->probes[i].arch, arch) == 0) {
            probe = &engine->probes[i];
        }
    }
    if (probe == NULL) {
        (void) ctr_fail(err, -ENOTSUP, "guests of %s: too many architectures", arch);
    } else if (probe->info == NULL) {
        CTR_AUTO(json) json_t *info = ask_self(engine, "--describe-vmm", arch, err);
        const char *error = ctr_json_str(json_object_get(info, "error"), "message", NULL);
        if (error != NULL) {
            (void) ctr_fail(err, -EIO, "%s", error);
        } else if (info != NULL) {
            (void) snprintf(probe->arch, sizeof probe->arch, "%s", arch);
            probe->info = ctr_steal(&info);
        }
    }
    const json_t *found = probe == NULL ? NULL : probe->info;
    pthread_mutex_unlock(&engine->probe_lock);
    return found;
}

static int
describe_vmm(const struct ctr_conf *conf, const char *arch, struct ctr_loop *loop,
             struct ctr_error *err)
{
    const struct ctr_conf_instance *instance = ctr_conf_instance(conf, CTR_KIND_VMM, NULL);
    if (instance == NULL) {
        return ctr_fail(err, -ENOENT, "%s: no [vmm] section with plugin = NAME", conf->file);
    }
    const struct ctr_plugin *plugin;
    struct ctr_options *options = NULL;
    struct ctr_host *host = NULL;
    struct ctr_vmm_ops ops;
    void *self = NULL;
    if (ctr_plugin_find(conf, CTR_KIND_VMM, instance->plugin, &plugin, NULL, err) < 0 ||
        ctr_options_create(conf, instance, plugin->options, plugin->n_options, &options, err) <
            0 ||
        ctr_host_create(loop, options, plugin->name, instance->name, NULL, conf->engine.run,
                        &host, err) < 0) {
        return err->code;
    }
    struct ctr_vmm_info info = {.size = sizeof info};
    (void) ctr_plugin_vmm_ops(plugin, &ops);
    int rc = ops.open(host, &self, err);
    if (rc == 0) {
        rc = ops.info(self, arch, &info, err);
        ops.close(self);
    }
    if (rc == 0) {
        CTR_AUTO(json)
        json_t *json = json_pack(
            "{s:I,s:I,s:I,s:I,s:s,s:s,s:b}", "caps", (json_int_t) info.caps, "port_kinds",
            (json_int_t) info.port_kinds, "max_cpus", (json_int_t) info.max_cpus, "max_disks",
            (json_int_t) info.max_disks, "accel", info.accel, "version", info.version,
            "hardware", (info.caps & CTR_VMM_HARDWARE) != 0);
        CTR_AUTO(free) char *text = json == NULL ? NULL : ctr_json_text(json);
        printf("%s\n", text == NULL ? "{}" : text);
    }
    ctr_host_destroy(host);
    return rc < 0 ? ctr_prefix(err, "vmm %s", instance->plugin) : 0;
}

int
ctr_engine_describe_vmm(const struct ctr_conf *conf, const char *arch)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_loop *loop = NULL;
    if (ctr_loop_create(&loop, &err) < 0 || describe_vmm(conf, arch, loop, &err) < 0) {
        CTR_AUTO(free) char *message = ctr_printable(err.msg);
        CTR_AUTO(json)
        json_t *json = json_pack("{s:{s:s}}", "error", "message",
                                 message == NULL ? "out of memory" : message);
        CTR_AUTO(free) char *text = ctr_json_text(json);
        printf("%s\n", text == NULL ? "{}" : text);
    }
    ctr_loop_destroy(loop);
    return err.code == 0 ? 0 : 1;
}
