/*
 * Plugins that the loader must refuse, and two that it must take. Each file here becomes one .so in BUILD/tests/plugins-broken; the
 * slots do nothing.
 */
#ifndef CTR_BROKEN_H
#define CTR_BROKEN_H

#include <ctr/storage.h>
#include <errno.h>

/* A file overrides what it breaks. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Winitializer-overrides"
#else
#pragma GCC diagnostic ignored "-Woverride-init"
#endif

static int
broken_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    (void) host;
    (void) ret_self;
    return ctr_fail(err, -ENOTSUP, "this plugin is for the loader's tests alone");
}
static void
broken_close(void *self)
{
    (void) self;
}
static int
broken_prepare(void *self, const char *key, const char *parent,
               const struct ctr_storage_limits *limits, struct ctr_error *err)
{
    (void) self, (void) key, (void) parent, (void) limits;
    return ctr_fail(err, -ENOTSUP, "prepare");
}
static int
broken_apply(void *self, const char *key, int32_t tar_fd, struct ctr_error *err)
{
    (void) self, (void) key, (void) tar_fd;
    return ctr_fail(err, -ENOTSUP, "apply");
}
static int
broken_commit(void *self, const char *key, const char *chain_id, struct ctr_error *err)
{
    (void) self, (void) key, (void) chain_id;
    return ctr_fail(err, -ENOTSUP, "commit");
}
static int
broken_clone(void *self, const char *key, const char *chain_id, uint64_t bytes,
             struct ctr_error *err)
{
    (void) self, (void) key, (void) chain_id, (void) bytes;
    return ctr_fail(err, -ENOTSUP, "clone");
}
static int
broken_disks(void *self, const char *key, void (*each)(void *arg, const struct ctr_disk *disk),
             void *arg, struct ctr_error *err)
{
    (void) self, (void) key, (void) each, (void) arg;
    return ctr_fail(err, -ENOTSUP, "disks");
}
static int
broken_remove(void *self, const char *name, struct ctr_error *err)
{
    (void) self, (void) name;
    return ctr_fail(err, -ENOTSUP, "remove");
}
static int
broken_usage(void *self, const char *name, struct ctr_storage_usage *ret, struct ctr_error *err)
{
    (void) self, (void) name, (void) ret;
    return ctr_fail(err, -ENOTSUP, "usage");
}

#define BROKEN_OPS                                                                             \
    .open = broken_open, .close = broken_close, .prepare = broken_prepare,                     \
    .apply = broken_apply, .commit = broken_commit, .clone = broken_clone,                     \
    .disks = broken_disks, .remove = broken_remove, .usage = broken_usage

__attribute__((unused)) static const struct ctr_storage_ops broken_ops = {
    .size = sizeof broken_ops, BROKEN_OPS};
__attribute__((unused)) static const struct ctr_option broken_options[] = {
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_SIZE,
     .name = "room",
     .def = "1M",
     .min = 1024,
     .max = 1 << 30,
     .help = "how much room there is"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_CHOICE,
     .name = "mode",
     .choices = "slow|fast",
     .help = "how it works"},
};

#define BROKEN(...)                                                                            \
    CTR_EXPORT extern const struct ctr_plugin ctr_plugin;                                      \
    const struct ctr_plugin ctr_plugin = {.magic = CTR_PLUGIN_MAGIC,                           \
                                          .abi_major = CTR_ABI_MAJOR,                          \
                                          .abi_minor = CTR_ABI_MINOR,                          \
                                          .size = sizeof(struct ctr_plugin),                   \
                                          .kind = CTR_KIND_STORAGE,                            \
                                          .version = "1.0",                                    \
                                          .help = "for the loader's tests",                    \
                                          .options = broken_options,                           \
                                          .n_options = 2,                                      \
                                          .ops = &broken_ops,                                  \
                                          __VA_ARGS__}

#endif
