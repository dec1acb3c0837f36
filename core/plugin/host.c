/*
 * The host services that a plugin instance gets: struct ctr_host over core/loop, and frozen copies of the ops tables.
 */
#include "core/plugin/plugin-priv.h"

/* The public table comes first: a plugin's `host` is also the address of this. */
struct host {
    struct ctr_host public;
    struct ctr_loop *loop;
    struct ctr_options *options;
    char *plugin, *instance, *state_dir, *run_dir;
};

static const struct host *
of(const struct ctr_host *host)
{
    return host->ctx;
}

static void
host_log(const struct ctr_host *host, int32_t level, const char *message)
{
    const struct host *self = of(host);
    int known = level < CTR_LOG_ERROR   ? CTR_LEVEL_ERROR
                : level > CTR_LOG_DEBUG ? CTR_LEVEL_DEBUG
                                        : level;
    ctr_log(known, "plugin %s, instance %s: %s", self->plugin, self->instance, message);
}

static const char *
host_option_string(const struct ctr_host *host, const char *name)
{
    return ctr_options_string(of(host)->options, name);
}

static int64_t
host_option_int(const struct ctr_host *host, const char *name)
{
    return ctr_options_int(of(host)->options, name);
}

static bool
host_option_bool(const struct ctr_host *host, const char *name)
{
    return ctr_options_bool(of(host)->options, name);
}

static struct ctr_watch *
host_watch_add(const struct ctr_host *host, int32_t fd, uint32_t events,
               void (*cb)(void *arg, uint32_t events), void *arg)
{
    return ctr_watch_add(of(host)->loop, fd, events, cb, arg);
}

static struct ctr_timer *
host_timer_add(const struct ctr_host *host, uint64_t ms, void (*cb)(void *arg), void *arg)
{
    return ctr_timer_add(of(host)->loop, ms, cb, arg);
}

static struct ctr_child *
host_spawn(const struct ctr_host *host, const struct ctr_spawn *spawn,
           void (*exited)(void *arg, int32_t status, int32_t signal), void *arg,
           struct ctr_error *err)
{
    struct ctr_spawn copy = {0};
    memcpy(&copy, spawn, spawn->size < sizeof copy ? spawn->size : sizeof copy);
    return ctr_child_spawn(of(host)->loop, &copy, false, exited, arg, err);
}

static int
host_work(const struct ctr_host *host, void (*work)(void *arg), void (*done)(void *arg),
          void *arg)
{
    return ctr_loop_work(of(host)->loop, work, done, arg);
}

static void
give_loop(struct ctr_host *host)
{
    host->has_loop = 1;
    host->watch_add = host_watch_add;
    host->watch_set = ctr_watch_set;
    host->watch_remove = ctr_watch_remove;
    host->timer_add = host_timer_add;
    host->timer_set = ctr_timer_set;
    host->timer_remove = ctr_timer_remove;
    host->spawn = host_spawn;
    host->child_pid = ctr_child_pid;
    host->child_kill = ctr_child_kill;
    host->child_forget = ctr_child_forget;
    host->work = host_work;
}

void
ctr_host_destroy(struct ctr_host *host)
{
    if (host == NULL) {
        return;
    }
    struct host *self = host->ctx;
    ctr_options_destroy(self->options);
    free(self->plugin);
    free(self->instance);
    free(self->state_dir);
    free(self->run_dir);
    free(self);
}

static bool
copy_texts(struct host *self, const char *plugin, const char *instance, const char *state_dir,
           const char *run_dir)
{
    self->plugin = strdup(plugin);
    self->instance = strdup(instance);
    self->state_dir = state_dir == NULL ? NULL : strdup(state_dir);
    self->run_dir = run_dir == NULL ? NULL : strdup(run_dir);
    return self->plugin != NULL && self->instance != NULL &&
           (state_dir == NULL || self->state_dir != NULL) &&
           (run_dir == NULL || self->run_dir != NULL);
}

int
ctr_host_create(struct ctr_loop *loop, struct ctr_options *take_options, const char *plugin,
                const char *instance, const char *state_dir, const char *run_dir,
                struct ctr_host **ret, struct ctr_error *err)
{
    struct host *self = calloc(1, sizeof *self);
    if (self == NULL) {
        ctr_options_destroy(take_options);
        return ctr_fail(err, -ENOMEM, "plugin %s: out of memory", plugin);
    }
    self->public.ctx = self;
    self->loop = loop;
    self->options = take_options;
    int code = copy_texts(self, plugin, instance, state_dir, run_dir)
                   ? 0
                   : ctr_fail(err, -ENOMEM, "plugin %s: out of memory", plugin);
    if (code == 0 && state_dir != NULL) {
        code = ctr_mkdirs(state_dir, 0700, err);
    }
    if (code == 0 && run_dir != NULL) {
        code = ctr_mkdirs(run_dir, 0700, err);
    }
    if (code != 0) {
        ctr_host_destroy(&self->public);
        return code;
    }
    self->public.size = sizeof self->public;
    self->public.log = host_log;
    self->public.option_string = host_option_string;
    self->public.option_int = host_option_int;
    self->public.option_bool = host_option_bool;
    self->public.instance = self->instance;
    self->public.state_dir = self->state_dir;
    self->public.run_dir = self->run_dir;
    if (loop != NULL) {
        give_loop(&self->public);
    }
    *ret = &self->public;
    return 0;
}

/* Copies the smaller of the two sizes into the zeroed copy. */
static void
freeze(const void *ops, void *copy, size_t size)
{
    uint32_t theirs, ours = (uint32_t) size;
    memcpy(&theirs, ops, sizeof theirs);
    memset(copy, 0, size);
    memcpy(copy, ops, theirs < size ? theirs : size);
    if (theirs > ours) {
        memcpy(copy, &ours, sizeof ours);
    }
}

const struct ctr_storage_ops *
ctr_plugin_storage_ops(const struct ctr_plugin *plugin, struct ctr_storage_ops *copy)
{
    freeze(plugin->ops, copy, sizeof *copy);
    return copy;
}

const struct ctr_registry_ops *
ctr_plugin_registry_ops(const struct ctr_plugin *plugin, struct ctr_registry_ops *copy)
{
    freeze(plugin->ops, copy, sizeof *copy);
    return copy;
}

const struct ctr_net_ops *
ctr_plugin_net_ops(const struct ctr_plugin *plugin, struct ctr_net_ops *copy)
{
    freeze(plugin->ops, copy, sizeof *copy);
    return copy;
}

const struct ctr_vmm_ops *
ctr_plugin_vmm_ops(const struct ctr_plugin *plugin, struct ctr_vmm_ops *copy)
{
    freeze(plugin->ops, copy, sizeof *copy);
    return copy;
}
