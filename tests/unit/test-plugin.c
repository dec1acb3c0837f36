/*
 * core/plugin: what the loader takes, what it refuses and how it says so, and the host services.
 */
#include "core/plugin/plugin.h"
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
/* after the headers that it needs */
#include <cmocka.h>

static char scratch[] = "/tmp/ctr-test-plugin-XXXXXX";

static int
make_scratch(void **state)
{
    return mkdtemp(scratch) == NULL;
}

static int
remove_scratch(void **state)
{
    return ctr_remove_tree(scratch, NULL);
}

/* Where the plugins of tests/plugins/broken are built. */
static const char *
broken_dir(void)
{
    static char path[4096];
    const char *build = getenv("CTR_TEST_BUILD");
    (void) snprintf(path, sizeof path, "%s/tests/plugins-broken",
                    build == NULL ? "build" : build);
    if (access(path, F_OK) != 0) {
        fail_msg("%s: not there: set CTR_TEST_BUILD to the build folder", path);
    }
    return path;
}

/* Copies one of them into a folder of ours, under another name perhaps. Caller frees. */
static char *
copy_plugin(const char *name, const char *as)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *from = ctr_printf("%s/storage-%s.so", broken_dir(), name);
    CTR_AUTO(free) char *dir = ctr_printf("%s/plugins", scratch);
    char *to = ctr_printf("%s/%s", dir, as);
    assert_int_equal(ctr_mkdirs(dir, 0755, &err), 0);
    (void) unlink(to); /* it may be loaded: a new file, not new bytes under its mapping */
    CTR_AUTO(free) char *bytes = NULL;
    size_t length = 0;
    assert_int_equal(ctr_read_file(from, 16 << 20, &bytes, &length, &err), 0);
    CTR_AUTO(fd) int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    assert_true(out >= 0);
    assert_int_equal(ctr_write_all(out, bytes, length), 0);
    return to;
}

static struct ctr_conf *
conf_with(const char *plugins)
{
    struct ctr_conf *conf = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free)
    char *text = ctr_printf("[engine]\nplugins = %s\n[vmm]\nplugin = v\n[storage]\nplugin = s\n"
                            "[net]\nplugin = n\n",
                            plugins);
    if (ctr_conf_parse("test", "/x/test.ini", text, strlen(text), &conf, &err) != 0) {
        fail_msg("%s", err.msg);
    }
    return conf;
}

static void
test_refusals(void **state)
{
    static const struct {
        const char *name, *words;
    } cases[] = {
        {"abi", "it was built for ABI 2.2, this program has 1.2: rebuild it"},
        {"magic", "its magic is 12345678"},
        {"size", "its description has 24 bytes"},
        {"kind", "its kind 77 is unknown"},
        {"nullops", "its ops table is NULL"},
        {"nullslot", "its slot clone is NULL"},
        {"shortops", "its slot usage is beyond the size"},
        {"halflayers", "its slot layer_commit is NULL"},
        {"nullname", "its name, version or help is missing"},
        {"option", "its option table is malformed"},
        {"noobject", "it exports no object `ctr_plugin`"},
        {"nosymbol", "undefined symbol: ctr_nobody_has_this"},
    };
    for (size_t i = 0; i < CTR_LENGTH(cases); i++) {
        const struct ctr_plugin *plugin = NULL;
        struct ctr_error err = CTR_ERROR_INIT;
        CTR_AUTO(free)
        char *path = ctr_printf("%s/storage-%s.so", broken_dir(), cases[i].name);
        CTR_AUTO(free) char *begin = ctr_printf("plugin %s refused: ", path);
        assert_true(ctr_plugin_load(path, CTR_KIND_STORAGE, &plugin, &err) < 0);
        assert_null(plugin);
        if (!ctr_starts_with(err.msg, begin) || strstr(err.msg, cases[i].words) == NULL) {
            fail_msg("expected \"%s…%s\", got \"%s\"", begin, cases[i].words, err.msg);
        }
    }
}

static void
expect_refusal(const char *path, uint32_t kind, const char *words)
{
    const struct ctr_plugin *plugin = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    assert_true(ctr_plugin_load(path, kind, &plugin, &err) < 0);
    if (strstr(err.msg, words) == NULL) {
        fail_msg("expected \"%s\", got \"%s\"", words, err.msg);
    }
}

static void
test_files_that_others_can_change(void **state)
{
    CTR_AUTO(free) char *path = copy_plugin("good", "storage-good.so");
    CTR_AUTO(free) char *dir = ctr_parent_dir(path);
    CTR_AUTO(free) char *link = ctr_printf("%s/link.so", scratch);
    const struct ctr_plugin *plugin = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    assert_int_equal(chmod(path, 0777), 0);
    expect_refusal(path, 0, "can be written by others");
    assert_int_equal(chmod(path, 0775), 0);
    expect_refusal(path, 0, "can be written by others");
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(chmod(dir, 0777), 0);
    expect_refusal(path, 0, "can be written by others");
    assert_int_equal(symlink(path, link), 0);
    expect_refusal(link, 0, "can be written by others");
    assert_int_equal(chmod(dir, 0755), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 12345, 0), 0);
        expect_refusal(path, 0, "belongs to user 12345");
        assert_int_equal(chown(path, 0, 0), 0);
    }
    expect_refusal("storage-good.so", 0, "not an absolute path");
    expect_refusal("tests/../storage-good.so", 0, "not an absolute path");
    expect_refusal(dir, 0, "not a regular file");
    expect_refusal("/nonexistent/storage-x.so", 0, "No such file or directory");
    expect_refusal(path, CTR_KIND_VMM, "it is of kind storage, a vmm plugin is needed");
    assert_int_equal(ctr_plugin_load(path, CTR_KIND_STORAGE, &plugin, &err), 0);
    assert_string_equal(plugin->name, "good");
}

static void
test_a_text_file_is_no_plugin(void **state)
{
    CTR_AUTO(free) char *path = ctr_printf("%s/text.so", scratch);
    assert_int_equal(ctr_write_file(path, "hello", 5, NULL), 0);
    expect_refusal(path, 0, "it cannot be loaded");
}

static void
test_a_later_minor_version_loads(void **state)
{
    const struct ctr_plugin *plugin = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *path = ctr_printf("%s/storage-newer.so", broken_dir());
    assert_int_equal(ctr_plugin_load(path, CTR_KIND_STORAGE, &plugin, &err), 0);
    /* its option entries are larger than ours */
    struct ctr_options *options = NULL;
    CTR_AUTO(json) json_t *given = json_pack("{ss}", "second", "22");
    assert_int_equal(
        ctr_options_from_json(given, plugin->options, plugin->n_options, &options, &err), 0);
    assert_int_equal(ctr_options_int(options, "first"), 1);
    assert_int_equal(ctr_options_int(options, "second"), 22);
    ctr_options_destroy(options);
    /* and its ops are cut to what we know */
    struct {
        struct ctr_storage_ops ops;
        uint64_t guard;
    } copy = {.guard = 42};
    assert_ptr_equal(ctr_plugin_storage_ops(plugin, &copy.ops), &copy.ops);
    assert_int_equal(copy.ops.size, sizeof copy.ops);
    assert_non_null(copy.ops.clone);
    assert_null(copy.ops.list);
    assert_int_equal(copy.guard, 42);
}

static void
test_slots_behind_a_plugins_size_are_null(void **state)
{
    struct ctr_vmm_ops old = {.size = offsetof(struct ctr_vmm_ops, pause)};
    memset((char *) &old + old.size, 0x55, sizeof old - old.size);
    struct ctr_plugin plugin = {.ops = &old};
    struct ctr_vmm_ops copy;
    memset(&copy, 0x77, sizeof copy);
    (void) ctr_plugin_vmm_ops(&plugin, &copy);
    assert_int_equal(copy.size, old.size);
    assert_null(copy.pause);
    assert_null(copy.stats);
}

static void
test_find(void **state)
{
    const struct ctr_plugin *plugin = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *path = NULL;
    CTR_AUTO(free) char *list = ctr_printf("/nonexistent:%s", broken_dir());
    struct ctr_conf *conf = conf_with(list);
    assert_int_equal(ctr_plugin_find(conf, CTR_KIND_STORAGE, "good", &plugin, &path, &err), 0);
    assert_string_equal(plugin->name, "good");
    assert_true(ctr_ends_with(path, "/tests/plugins-broken/storage-good.so"));
    assert_int_equal(ctr_plugin_find(conf, CTR_KIND_STORAGE, "goood", &plugin, NULL, &err),
                     -ENOENT);
    assert_non_null(strstr(err.msg, "no storage plugin \"goood\""));
    assert_non_null(strstr(err.msg, "did you mean \"good\"?"));
    assert_non_null(strstr(err.msg, "/lib/ctr/plugins"));
    assert_int_equal(ctr_plugin_find(conf, CTR_KIND_VMM, "good", &plugin, NULL, &err), -ENOENT);
    assert_int_equal(ctr_plugin_find(conf, CTR_KIND_STORAGE, "../good", &plugin, NULL, &err),
                     -ENOENT);
    assert_int_equal(ctr_plugin_find(conf, CTR_KIND_STORAGE, "misnamed", &plugin, NULL, &err),
                     -EINVAL);
    assert_non_null(strstr(err.msg, "call it storage-other.so"));
    assert_int_equal(ctr_plugin_find(conf, CTR_KIND_STORAGE, "abi", &plugin, NULL, &err),
                     -EINVAL);
    ctr_conf_destroy(conf);
}

/* A refused file hides no good one further on: what the profile names first is what it gets, or an error. */
static void
test_a_refused_plugin_is_not_skipped(void **state)
{
    const struct ctr_plugin *plugin = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *path = copy_plugin("good", "storage-good.so");
    CTR_AUTO(free) char *dir = ctr_parent_dir(path);
    CTR_AUTO(free) char *list = ctr_printf("%s:%s", dir, broken_dir());
    assert_int_equal(chmod(path, 0777), 0);
    struct ctr_conf *conf = conf_with(list);
    assert_int_equal(ctr_plugin_find(conf, CTR_KIND_STORAGE, "good", &plugin, NULL, &err),
                     -EPERM);
    assert_int_equal(chmod(path, 0755), 0);
    ctr_conf_destroy(conf);
}

/* Runs describe_all in another process, as ctrd does, and parses its output. */
static json_t *
describe(const struct ctr_conf *conf)
{
    int out[2];
    size_t n;
    static char text[65536];
    assert_int_equal(ctr_pipe(out), 0);
    (void) fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        (void) dup2(out[1], STDOUT_FILENO);
        _exit(ctr_plugin_describe_all(conf, NULL) == 0 ? 0 : 1);
    }
    (void) close(out[1]);
    assert_int_equal(ctr_read_all(out[0], text, sizeof text, &n), 0);
    (void) close(out[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    json_t *json = ctr_json_parse(text, n, sizeof text, "plugins", NULL);
    assert_non_null(json);
    return json;
}

static const json_t *
entry(const json_t *all, const char *path_end)
{
    size_t i;
    json_t *object;
    json_array_foreach((json_t *) (uintptr_t) all, i, object)
    {
        if (ctr_ends_with(ctr_json_str(object, "path", ""), path_end)) {
            return object;
        }
    }
    fail_msg("%s is not in the list", path_end);
    return NULL;
}

static void
test_describe(void **state)
{
    CTR_AUTO(free) char *path = copy_plugin("good", "storage-good.so");
    CTR_AUTO(free) char *dir = ctr_parent_dir(path);
    CTR_AUTO(free) char *other = copy_plugin("good", "wrong.so");
    CTR_AUTO(free) char *list = ctr_printf("%s:%s:/nonexistent", broken_dir(), dir);
    struct ctr_conf *conf = conf_with(list);
    CTR_AUTO(json) json_t *all = describe(conf);
    const json_t *good = entry(all, "plugins-broken/storage-good.so");
    assert_string_equal(ctr_json_str(good, "kind", ""), "storage");
    assert_string_equal(ctr_json_str(good, "name", ""), "good");
    assert_string_equal(ctr_json_str(good, "version", ""), "1.0");
    assert_string_equal(ctr_json_str(good, "abi", ""), "1.2");
    assert_null(json_object_get(good, "error"));
    assert_null(json_object_get(good, "hidden_by"));
    const json_t *options = json_object_get(good, "options");
    assert_int_equal(json_array_size(options), 2);
    assert_string_equal(ctr_json_str(json_array_get(options, 0), "type", ""), "size");
    assert_string_equal(ctr_json_str(json_array_get(options, 0), "default", ""), "1M");
    assert_int_equal(ctr_json_int(json_array_get(options, 0), "min", 0), 1024);
    assert_string_equal(ctr_json_str(json_array_get(options, 1), "choices", ""), "slow|fast");
    const json_t *hidden = entry(all, path);
    assert_string_equal(ctr_json_str(hidden, "hidden_by", ""), ctr_json_str(good, "path", ""));
    const json_t *abi = entry(all, "storage-abi.so");
    assert_string_equal(ctr_json_str(abi, "kind", ""), "storage");
    assert_string_equal(ctr_json_str(abi, "name", ""), "abi");
    assert_non_null(strstr(ctr_json_str(abi, "error", ""), "ABI 2.2"));
    assert_non_null(
        strstr(ctr_json_str(entry(all, other), "error", ""), "call it storage-good.so"));
    ctr_conf_destroy(conf);
}

/* --- the host services --- */

static struct ctr_options *
make_options(void)
{
    static const struct ctr_option table[] = {{.size = sizeof(struct ctr_option),
                                               .type = CTR_OPTION_INT,
                                               .name = "level",
                                               .def = "7"}};
    struct ctr_options *options = NULL;
    assert_int_equal(ctr_options_from_json(NULL, table, 1, &options, NULL), 0);
    return options;
}

static void
test_host_without_a_loop(void **state)
{
    struct ctr_host *host = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *dir = ctr_printf("%s/state/fast", scratch);
    struct stat st;
    assert_int_equal(
        ctr_host_create(NULL, make_options(), "mem", "fast", dir, scratch, &host, &err), 0);
    assert_int_equal(host->size, sizeof *host);
    assert_int_equal(host->has_loop, 0);
    assert_int_equal(host->option_int(host, "level"), 7);
    assert_int_equal(host->option_int(host, "nothing"), 0);
    assert_null(host->option_string(host, "nothing"));
    assert_string_equal(host->instance, "fast");
    assert_string_equal(host->state_dir, dir);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    ctr_host_destroy(host);
    ctr_host_destroy(NULL);
    CTR_AUTO(free) char *blocked = ctr_printf("%s/file/state", scratch);
    CTR_AUTO(free) char *file = ctr_printf("%s/file", scratch);
    assert_int_equal(ctr_write_file(file, "x", 1, &err), 0);
    assert_true(ctr_host_create(NULL, make_options(), "mem", "x", blocked, NULL, &host, &err) <
                0);
}

struct story {
    struct ctr_loop *loop;
    const struct ctr_host *host;
    struct ctr_timer *timer;
    struct ctr_child *child;
    char log[64];
};

static void
add(struct story *story, const char *word)
{
    size_t n = strlen(story->log);
    (void) snprintf(story->log + n, sizeof story->log - n, "%s ", word);
}

static void
on_child(void *arg, int32_t status, int32_t signal)
{
    struct story *story = arg;
    assert_int_equal(status, 3);
    add(story, "child");
    story->host->child_forget(story->child);
    ctr_loop_stop(story->loop);
}

static void
on_worked(void *arg)
{
    struct story *story = arg;
    struct ctr_error err = CTR_ERROR_INIT;
    const char *const argv[] = {"sh", "-c", "exit 3", NULL};
    /* a plugin that was built before the last fields were added */
    struct ctr_spawn spawn = {.size = offsetof(struct ctr_spawn, flags),
                              .file = "/bin/sh",
                              .argv = argv,
                              .flags = 0xffffffff};
    add(story, "done");
    story->child = story->host->spawn(story->host, &spawn, on_child, story, &err);
    assert_non_null(story->child);
}

static void
do_work(void *arg)
{
    add(arg, "work");
}

static void
on_timer(void *arg)
{
    struct story *story = arg;
    add(story, "timer");
    story->host->timer_remove(story->timer);
    assert_int_equal(story->host->work(story->host, do_work, on_worked, story), 0);
}

static void
test_host_with_a_loop(void **state)
{
    struct story story = {0};
    struct ctr_host *host = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    assert_int_equal(ctr_loop_create(&story.loop, &err), 0);
    assert_int_equal(
        ctr_host_create(story.loop, NULL, "fake", "default", NULL, NULL, &host, &err), 0);
    assert_int_equal(host->has_loop, 1);
    assert_null(host->state_dir);
    story.host = host;
    story.timer = host->timer_add(host, 1, on_timer, &story);
    ctr_loop_run(story.loop);
    assert_string_equal(story.log, "timer work done child ");
    ctr_host_destroy(host);
    ctr_loop_destroy(story.loop);
}

static void
test_kind_names(void **state)
{
    assert_string_equal(ctr_kind_name(CTR_KIND_VMM), "vmm");
    assert_string_equal(ctr_kind_name(CTR_KIND_REGISTRY), "registry");
    assert_null(ctr_kind_name(0));
    assert_null(ctr_kind_name(5));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_files_that_others_can_change),
        cmocka_unit_test(test_a_text_file_is_no_plugin),
        cmocka_unit_test(test_a_later_minor_version_loads),
        cmocka_unit_test(test_slots_behind_a_plugins_size_are_null),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_a_refused_plugin_is_not_skipped),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_host_without_a_loop),
        cmocka_unit_test(test_host_with_a_loop),
        cmocka_unit_test(test_kind_names),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
