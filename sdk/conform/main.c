/*
 * ctr-conform: loads the plugin, checks its descriptor, then runs the checks of its kind.
 */
#include "sdk/conform/conform.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

int
conform_check(struct conform *kit, int ok, const char *format, ...)
{
    va_list args;
    printf("%s ", ok ? "ok  " : "FAIL");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    if (ok) {
        kit->passed++;
    } else {
        kit->failed++;
    }
    return ok;
}

static int
name_is_good(const char *name)
{
    if (name == NULL || name[0] < 'a' || name[0] > 'z' || strlen(name) > 32) {
        return 0;
    }
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(name);
}

static void
check_options(struct conform *kit)
{
    const struct ctr_plugin *plugin = kit->plugin;
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        const struct ctr_option *option = &plugin->options[i];
        conform_check(kit, option->size == sizeof *option, "option %u has its size set", i);
        if (!conform_check(kit, option->name != NULL && option->name[0] != '\0',
                           "option %u has a name", i)) {
            continue;
        }
        conform_check(kit,
                      option->type >= CTR_OPTION_STRING && option->type <= CTR_OPTION_CHOICE,
                      "option %s has a known type", option->name);
        conform_check(kit, option->help != NULL && option->help[0] != '\0',
                      "option %s has help", option->name);
        conform_check(kit, (option->type == CTR_OPTION_CHOICE) == (option->choices != NULL),
                      "option %s has choices just if it is one", option->name);
    }
}

static int
check_descriptor(struct conform *kit)
{
    const struct ctr_plugin *plugin = kit->plugin;
    int good = conform_check(kit, plugin->magic == CTR_PLUGIN_MAGIC, "magic");
    good &= conform_check(kit, plugin->abi_major == CTR_ABI_MAJOR, "ABI major is %d",
                          CTR_ABI_MAJOR);
    good &=
        conform_check(kit, plugin->size >= offsetof(struct ctr_plugin, ops) + sizeof(void *),
                      "descriptor's size");
    good &= conform_check(
        kit, plugin->kind >= CTR_KIND_REGISTRY && plugin->kind <= CTR_KIND_VMM, "kind");
    good &= conform_check(kit, plugin->ops != NULL, "ops table");
    if (good) {
        conform_check(kit, name_is_good(plugin->name), "name is [a-z][a-z0-9-]{0,31}");
        conform_check(kit, plugin->version != NULL && plugin->help != NULL, "version and help");
        check_options(kit);
    }
    return good;
}

static const struct ctr_plugin *
load(const char *path)
{
    char *absolute = realpath(path, NULL);
    if (absolute == NULL) {
        fprintf(stderr, "ctr-conform: %s: no such file; build the plugin first\n", path);
        return NULL;
    }
    void *object = dlopen(absolute, RTLD_NOW | RTLD_LOCAL);
    free(absolute);
    if (object == NULL) {
        fprintf(stderr, "ctr-conform: %s\n", dlerror());
        return NULL;
    }
    const struct ctr_plugin *plugin = dlsym(object, "ctr_plugin");
    if (plugin == NULL) {
        fprintf(stderr,
                "ctr-conform: %s exports no `ctr_plugin`; define it with CTR_PLUGIN() of "
                "<ctr/plugin.h>\n",
                path);
    }
    return plugin;
}

int
main(int argc, char **argv)
{
    if (argc < 2 || argc > 3 || argv[1][0] == '-') {
        fprintf(stderr, "usage: ctr-conform PLUGIN.so [FILE.ini]\n");
        return 2;
    }
    char work[] = "/tmp/ctr-conform.XXXXXX";
    struct conform kit = {
        .plugin = load(argv[1]), .ini = argc == 3 ? argv[2] : NULL, .work = mkdtemp(work)};
    if (kit.plugin == NULL || kit.work == NULL) {
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (check_descriptor(&kit)) {
        void (*const kinds[])(struct conform *) = {
            [CTR_KIND_REGISTRY] = conform_registry,
            [CTR_KIND_STORAGE] = conform_storage,
            [CTR_KIND_NET] = conform_net,
            [CTR_KIND_VMM] = conform_vmm,
        };
        kinds[kit.plugin->kind](&kit);
    }
    printf("%d passed, %d failed (what the plugin left is in %s)\n", kit.passed, kit.failed,
           kit.work);
    return kit.failed == 0 ? 0 : 1;
}
