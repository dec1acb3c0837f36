/*
 * core/conf: what profiles say, and how each mistake in one is told.
 */
#include "core/conf/conf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
/* after the headers that it needs */
#include "tests/unit/fail-alloc.h"
#include <cmocka.h>

#define BASE "[vmm]\nplugin = v\n[storage]\nplugin = s\n[net]\nplugin = n\n"

static int
parse_n(const char *text, size_t length, struct ctr_conf **ret, struct ctr_error *err)
{
    return ctr_conf_parse("test", "/etc/ctr/test.ini", text, length, ret, err);
}

static struct ctr_conf *
parse(const char *text)
{
    struct ctr_conf *conf = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    if (parse_n(text, strlen(text), &conf, &err) != 0) {
        fail_msg("%s", err.msg);
    }
    return conf;
}

static void
test_defaults(void **state)
{
    (void) setenv("HOME", "/home/someone", 1);
    (void) setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    struct ctr_conf *conf = parse(BASE);
    const struct ctr_conf_engine *engine = &conf->engine;
    bool root = geteuid() == 0;
    assert_string_equal(engine->data,
                        root ? "/var/lib/ctr-test" : "/home/someone/.local/share/ctr-test");
    assert_string_equal(engine->run, root ? "/run/ctr/test" : "/run/user/7/ctr/test");
    assert_string_equal(engine->plugins, "");
    assert_string_equal(engine->kernel, "");
    assert_string_equal(engine->platform, "");
    assert_string_equal(engine->subnet, "10.88.0.0/16");
    assert_int_equal(engine->cpus, 1);
    assert_int_equal(engine->memory, 256 << 20);
    assert_int_equal(engine->disk, UINT64_C(64) << 30);
    assert_false(engine->disk_set);
    assert_int_equal(engine->log_size, 64 << 20);
    assert_int_equal(engine->console_size, 256 << 10);
    assert_int_equal(engine->max_image, UINT64_C(64) << 30);
    assert_int_equal(engine->boot_timeout, 120);
    assert_int_equal(engine->mtu, 65520);
    assert_int_equal(conf->n_instances, 3); /* the chain is empty */
    ctr_conf_destroy(conf);
    struct ctr_error err = CTR_ERROR_INIT;
    assert_int_equal(ctr_conf_parse("default", "/x.ini", BASE, strlen(BASE), &conf, &err), 0);
    assert_string_equal(conf->engine.data,
                        root ? "/var/lib/ctr" : "/home/someone/.local/share/ctr");
    ctr_conf_destroy(conf);
    ctr_conf_destroy(NULL);
}

static void
test_values(void **state)
{
    (void) setenv("HOME", "/home/someone", 1);
    struct ctr_conf *conf = parse("\xef\xbb\xbf# a byte order mark may come first\r\n"
                                  "[engine] ; a comment\r\n"
                                  "  data = ~/x\r\n"
                                  "\tkernel = boot/vmlinux\n"
                                  "plugins=/a:b::~/c\n"
                                  "memory = 1g ; inline\n"
                                  "cpus=4\n"
                                  "kernel_args = quiet a=b;c\n"
                                  "platform = linux/arm64\n"
                                  "dns = 9.9.9.9\n" BASE);
    assert_string_equal(conf->engine.data, "/home/someone/x");
    assert_string_equal(conf->engine.kernel, "/etc/ctr/boot/vmlinux");
    assert_string_equal(conf->engine.plugins, "/a:/etc/ctr/b:/home/someone/c");
    assert_int_equal(conf->engine.memory, 1 << 30);
    assert_int_equal(conf->engine.cpus, 4);
    assert_string_equal(conf->engine.kernel_args, "quiet a=b;c");
    ctr_conf_destroy(conf);
}

static const char *
pair(const struct ctr_conf_instance *instance, const char *key)
{
    for (size_t i = 0; i < instance->n_pairs; i++) {
        if (strcmp(instance->pairs[i].key, key) == 0) {
            return instance->pairs[i].value;
        }
    }
    return NULL;
}

static void
test_instances(void **state)
{
    struct ctr_conf *conf = parse("[vmm]\nplugin = qq\n[vmm.qq]\naccel = auto\n"
                                  "[storage]\nplugin = ee\n"
                                  "[storage.fast]\npath = /srv\nplugin = xx\nmode = 2\n"
                                  "[storage.xx]\nmode = 1\n"
                                  "[net]\nplugin = ss\n"
                                  "[registry]\nchain = file, site ,helper\n"
                                  "[registry.site]\nplugin = example\nendpoint = https://x\n"
                                  "[registry.file]\nx = y\n");
    const struct ctr_conf_instance *one = ctr_conf_instance(conf, CTR_KIND_VMM, NULL);
    assert_string_equal(one->plugin, "qq");
    assert_string_equal(pair(one, "accel"), "auto");
    assert_ptr_equal(one, ctr_conf_instance(conf, CTR_KIND_VMM, "qq"));
    assert_string_equal(ctr_conf_instance(conf, CTR_KIND_STORAGE, "default")->plugin, "ee");
    one = ctr_conf_instance(conf, CTR_KIND_STORAGE, "fast");
    assert_string_equal(one->plugin, "xx");
    assert_int_equal(one->n_pairs, 2);
    assert_int_equal(one->line, 7);
    assert_string_equal(pair(one, "path"), "/srv");
    assert_string_equal(pair(one, "mode"), "2");
    assert_int_equal(one->pairs[1].line, 10);
    one = ctr_conf_instance(conf, CTR_KIND_STORAGE, "xx");
    assert_string_equal(pair(one, "mode"), "1");
    assert_null(ctr_conf_instance(conf, CTR_KIND_STORAGE, "nothing"));
    assert_null(ctr_conf_instance(conf, CTR_KIND_NET, "fast"));
    const char *chain[3];
    size_t n = 0;
    for (size_t i = 0; i < conf->n_instances; i++) {
        if (conf->instances[i].kind == CTR_KIND_REGISTRY) {
            chain[n++] = conf->instances[i].plugin;
        }
    }
    assert_int_equal(n, 3);
    assert_string_equal(chain[0], "file");
    assert_string_equal(chain[1], "example");
    assert_string_equal(chain[2], "helper");
    CTR_AUTO(json)
    json_t *json = ctr_conf_instance_json(ctr_conf_instance(conf, CTR_KIND_REGISTRY, "site"));
    assert_string_equal(ctr_json_str(json, "endpoint", ""), "https://x");
    ctr_conf_destroy(conf);
}

static void
test_hosts(void **state)
{
    struct ctr_conf *conf =
        parse(BASE "[registry.host \"registry.example.com:5000\"]\nca = pem/x.pem\n"
                   "[registry.host "
                   "\"123456789012.dkr.ecr.ap-southeast-2.a-long-cloud-name.example.com\"]\n"
                   "plain_http = yes\n");
    const struct ctr_conf_host *host = ctr_conf_host(conf, "registry.example.com:5000");
    assert_string_equal(host->ca, "/etc/ctr/pem/x.pem");
    assert_false(host->plain_http);
    host = ctr_conf_host(conf,
                         "123456789012.dkr.ecr.ap-southeast-2.a-long-cloud-name.example.com");
    assert_true(host->plain_http);
    assert_string_equal(host->ca, "");
    assert_null(ctr_conf_host(conf, "registry.example.com"));
    ctr_conf_destroy(conf);
    conf =
        parse(BASE "[registry.host \"x.example\"]\nclient_cert = c.pem\nclient_key = ~/k.pem\n"
                   "mirrors = m.example, http://n.example:5000  o.example/a/b\n"
                   "proxy = http://p.example:3128\nupload_chunk = 5M\n");
    host = ctr_conf_host(conf, "x.example");
    assert_string_equal(host->client_cert, "/etc/ctr/c.pem");
    assert_int_equal(host->client_key[0], '/');
    assert_int_equal(host->n_mirrors, 3);
    assert_string_equal(host->mirrors[0], "m.example");
    assert_string_equal(host->mirrors[1], "http://n.example:5000");
    assert_string_equal(host->mirrors[2], "o.example/a/b");
    assert_string_equal(host->proxy, "http://p.example:3128");
    assert_int_equal(host->upload_chunk, 5 << 20);
    ctr_conf_destroy(conf);
}

/* A mistake, and the line and words that its error must have. */
struct mistake {
    const char *text;
    int line;
    const char *words;
};

static const struct mistake mistakes[] = {
    {"[engine]\nmemroy = 1G\n", 2,
     "unknown key \"memroy\" in [engine]: did you mean \"memory\"?"},
    {"[engine]\nzzzzzz = 1G\n", 2, "ctr.conf(5)"},
    {"[engine]\nplugin = x\n", 2, "it belongs in [vmm], [storage] or [net]"},
    {"[engine]\nchain = x\n", 2, "it belongs in [registry]"},
    {"[vmm]\nplugin = x\nmemory = 1G\n", 3, "it belongs in [engine]"},
    {"[vmm]\naccel = kvm\n", 2, "a plugin's options go into [vmm.PLUGIN]"},
    {BASE "[registry]\nplugin = x\n", 8, "it belongs in [vmm]"},
    {"[vmm]\nchain = x\n", 2, "it belongs in [registry]"},
    {"[engin]\n", 1, "unknown section [engin]: did you mean [engine]?"},
    {"[storag.fast]\nplugin = x\n", 1, "did you mean [storage.fast]?"},
    {"[zebra]\n", 1, "unknown section [zebra]: there are [engine]"},
    {"[engine.x]\n", 1, "unknown section [engine.x]"},
    {"[vmm]\n\n[engine]\n[vmm]\n", 4, "section [vmm] is there already, on line 1"},
    {"[engine]\ncpus = 1\n\ncpus = 2\n", 4, "\"cpus\" is given already on line 2"},
    {"[engine]\ncpus = many\n", 2, "cpus: \"many\" is not a whole number"},
    {"[engine]\ncpus = 0\n", 2, "cpus: 0 is out of range, it must be from 1 to 256"},
    {"[engine]\nmemory = 1M\n", 2, "memory: 1M is out of range, it must be from 32M to 16T"},
    {"[engine]\nmemory = lots\n", 2, "memory: \"lots\" is not a size"},
    {"[engine]\nmemory = 99999999999999999999\n", 2, "out of range"},
    {"[engine]\nmemory =\n", 2, "memory: no value"},
    {"[engine]\ndata =\n", 2, "data: no value"},
    {"[engine]\ndata = \"/x\"\n", 2, "value of \"data\" is in quotes"},
    {"[engine]\nplatform = windows\n", 2, "platform: \"windows\" must be linux/amd64"},
    {"[engine]\nsubnet = 10.0.0.1/8\n", 2, "no bits set behind the prefix"},
    {"[engine]\nsubnet = 10.0.0.0\n", 2, "prefix from 8 to 29"},
    {"[engine]\nsubnet = 10.0.0.0/30\n", 2, "prefix from 8 to 29"},
    {"[engine]\ndns = one.example\n", 2, "must be an IPv4 address"},
    {"[engine]\nwhat is this\n", 2, "neither a [section] nor `key = value`"},
    {"[engine]\n= 5\n", 2, "value without a key"},
    {"cpus = 1\n", 1, "text before the first section"},
    {"[engine\n", 1, "without its closing bracket"},
    {"[]\n", 1, "section without a name"},
    {"[engine] cpus = 1\n", 1, "text behind [engine]"},
    {"[engine]\ncpus = \xff\n", 2, "not UTF-8"},
    {"[engine]\ncpus = 1\033[2J\n", 2, "control character 0x1b in column 9"},
    {"[vmm]\nplugin = ../evil\n", 2, "\"../evil\" is not a plugin's name"},
    {"[storage.a/b]\nplugin = x\n", 0, "names no vmm plugin"},
    {BASE "[storage.a/b]\nplugin = x\n", 7, "\"a/b\" cannot be an instance's name"},
    {BASE "[storage.default]\nplugin = x\n", 7, "the default one is [storage]"},
    {BASE "[storage.Fast]\npath = x\n", 7, "needs a line `plugin = NAME`"},
    {BASE "[registry.site]\nplugin = x\n", 7, "[registry.site] is not in the chain"},
    {BASE "[registry]\nchain = a, b, a\n", 8, "chain: \"a\" is there twice"},
    {BASE "[registry]\nchain = a b\n", 8, "chain: \"a b\" is not a name"},
    {BASE "[registry]\nchain = a,,b\n", 8, "chain: \"\" is not a name"},
    {BASE "[registry.host]\nca = /x\n", 7, "write [registry.host \"HOST\"]"},
    {BASE "[registry.host x.example]\nca = /x\n", 7, "write [registry.host \"HOST\"]"},
    {BASE "[registry.host \"https://x.example\"]\n", 7, "without https://"},
    {BASE "[registry.host \"x.example:0\"]\n", 7, "write [registry.host \"HOST\"]"},
    {BASE "[registry.host \"x.example\"]\nca_file = /x\n", 8, "unknown key \"ca_file\""},
    {BASE "[registry.host \"x.example\"]\nplain_http = maybe\n", 8, "neither true nor false"},
    {BASE "[registry.host \"a\"]\n[registry.host  \"a\"]\n", 8, "has a section already"},
    {BASE "[registry.host \"a\"]\nmirrors = ftp://m\n", 8, "no address of a mirror"},
    {BASE "[registry.host \"a\"]\nmirrors = m/../x\n", 8, "no address of a mirror"},
    {BASE "[registry.host \"a\"]\nmirrors = u:p@m\n", 8, "no address of a mirror"},
    {BASE "[registry.host \"a\"]\nmirrors = 1,2,3,4,5,6,7,8,9\n", 8, "mirrors: more than 8"},
    {BASE "[registry.host \"a\"]\nupload_chunk = 1K\n", 8, "out of range"},
    {BASE "mirrors = m\n", 7, "it belongs in [registry.host"},
};

static void
expect_mistake(const char *text, size_t length, int line, const char *words)
{
    struct ctr_conf *conf = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    char place[64] = "/etc/ctr/test.ini: ";
    if (line != 0) {
        (void) snprintf(place, sizeof place, "/etc/ctr/test.ini:%d: ", line);
    }
    assert_true(parse_n(text, length, &conf, &err) < 0);
    assert_null(conf);
    if (!ctr_starts_with(err.msg, place) || strstr(err.msg, words) == NULL) {
        fail_msg("expected \"%s…%s\", got \"%s\"", place, words, err.msg);
    }
}

static void
test_mistakes(void **state)
{
    for (size_t i = 0; i < CTR_LENGTH(mistakes); i++) {
        expect_mistake(mistakes[i].text, strlen(mistakes[i].text), mistakes[i].line,
                       mistakes[i].words);
    }
    static const char nul[] = "[engine]\ncpus = 1\0\n";
    expect_mistake(nul, sizeof nul - 1, 2, "holds a NUL byte");
}

/* Whatever inih's own limit is: a line is read whole or refused, never cut. */
static void
test_long_lines(void **state)
{
    size_t whole = 0, refused = 0;
    for (size_t n = 1; n < 2000; n += 7) {
        struct ctr_conf *conf = NULL;
        struct ctr_error err = CTR_ERROR_INIT;
        CTR_AUTO(buf) struct ctr_buf text = {0};
        ctr_buf_puts(&text, BASE "[engine]\nkernel_args = ");
        for (size_t i = 0; i < n; i++) {
            ctr_buf_puts(&text, "k");
        }
        int code = parse_n(text.data, text.length, &conf, &err);
        if (code == 0) {
            assert_int_equal(strlen(conf->engine.kernel_args), n);
            whole++;
        } else {
            assert_int_equal(code, -E2BIG);
            assert_non_null(strstr(err.msg, "test.ini:8: line of "));
            refused++;
        }
        ctr_conf_destroy(conf);
    }
    assert_true(whole > 10);
    assert_true(refused > 0 || whole > 200);
}

static void
test_long_names_and_comments(void **state)
{
    struct ctr_buf text = {0};
    ctr_buf_puts(&text, BASE "# ");
    for (int i = 0; i < 500; i++) {
        ctr_buf_puts(&text, "comment ");
    }
    ctr_buf_puts(&text, "\n[engine]\ncpus = 2\n");
    struct ctr_conf *conf = parse(text.data);
    assert_int_equal(conf->engine.cpus, 2);
    ctr_conf_destroy(conf);
    ctr_buf_clear(&text);
    /* a known key with a long tail is not that key */
    expect_mistake(BASE
                   "[engine]\ncpusssssssssssssssssssssssssssssssssssssssssssssssssssss = 2\n",
                   strlen(BASE) + 68, 8, "unknown key");
}

/* --- options of plugins --- */

static const struct ctr_option table[] = {
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_STRING,
     .name = "accel",
     .def = "auto"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_INT,
     .name = "level",
     .def = "3",
     .min = 1,
     .max = 9},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_BOOL,
     .name = "discard",
     .def = "on"},
    {.size = sizeof(struct ctr_option), .type = CTR_OPTION_SIZE, .name = "room"},
    {.size = sizeof(struct ctr_option), .type = CTR_OPTION_PATH, .name = "file"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_CHOICE,
     .name = "mode",
     .choices = "slow|fast",
     .def = "slow"},
};

static int
make_options(const char *pairs, struct ctr_options **ret, struct ctr_error *err)
{
    CTR_AUTO(free) char *text = ctr_printf(BASE "[vmm.v]\n%s", pairs);
    struct ctr_conf *conf = parse(text);
    int code = ctr_options_create(conf, ctr_conf_instance(conf, CTR_KIND_VMM, NULL), table,
                                  CTR_LENGTH(table), ret, err);
    ctr_conf_destroy(conf);
    return code;
}

static void
test_options(void **state)
{
    struct ctr_options *options = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    (void) setenv("HOME", "/home/someone", 1);
    assert_int_equal(make_options("", &options, &err), 0);
    assert_string_equal(ctr_options_string(options, "accel"), "auto");
    assert_int_equal(ctr_options_int(options, "level"), 3);
    assert_true(ctr_options_bool(options, "discard"));
    assert_int_equal(ctr_options_int(options, "room"), 0);
    assert_null(ctr_options_string(options, "file"));
    assert_null(ctr_options_string(options, "nothing"));
    assert_string_equal(ctr_options_string(options, "mode"), "slow");
    ctr_options_destroy(options);
    assert_int_equal(
        make_options("level = 9\ndiscard = No\nroom = 2k\nfile = ~/f\nmode = fast\n", &options,
                     &err),
        0);
    assert_int_equal(ctr_options_int(options, "level"), 9);
    assert_false(ctr_options_bool(options, "discard"));
    assert_int_equal(ctr_options_int(options, "room"), 2048);
    assert_string_equal(ctr_options_string(options, "file"), "/home/someone/f");
    assert_string_equal(ctr_options_string(options, "mode"), "fast");
    ctr_options_destroy(options);
    ctr_options_destroy(NULL);
}

static void
test_option_mistakes(void **state)
{
    static const struct mistake cases[] = {
        {"level = 10\n", 8, "level: 10 is out of range, it must be from 1 to 9"},
        {"\nacel = x\n", 9, "unknown key \"acel\" in [vmm.v]: did you mean \"accel\"?"},
        {"memory = 1G\n", 8, "it belongs in [engine]"},
        {"mode = medium\n", 8, "mode: \"medium\" is none of slow|fast"},
        {"mode = slow|fast\n", 8, "is none of"},
        {"discard = 2\n", 8, "discard: \"2\" is neither true nor false"},
        {"room = 1.5G\n", 8, "is not a size"},
        {"file =\n", 8, "file: no value"},
    };
    for (size_t i = 0; i < CTR_LENGTH(cases); i++) {
        struct ctr_options *options = NULL;
        struct ctr_error err = CTR_ERROR_INIT;
        char place[64];
        (void) snprintf(place, sizeof place, "/etc/ctr/test.ini:%d: ", cases[i].line);
        assert_true(make_options(cases[i].text, &options, &err) < 0);
        if (!ctr_starts_with(err.msg, place) || strstr(err.msg, cases[i].words) == NULL) {
            fail_msg("expected \"%s…%s\", got \"%s\"", place, cases[i].words, err.msg);
        }
    }
}

static void
test_options_from_json(void **state)
{
    struct ctr_options *options = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *good = json_pack("{ss ss}", "level", "4", "mode", "fast");
    CTR_AUTO(json) json_t *unknown = json_pack("{ss}", "lvel", "4");
    CTR_AUTO(json) json_t *number = json_pack("{si}", "level", 4);
    CTR_AUTO(json) json_t *range = json_pack("{ss}", "level", "40");
    assert_int_equal(ctr_options_from_json(good, table, CTR_LENGTH(table), &options, &err), 0);
    assert_int_equal(ctr_options_int(options, "level"), 4);
    assert_string_equal(ctr_options_string(options, "accel"), "auto");
    ctr_options_destroy(options);
    json_t *bad[] = {unknown, number, range};
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        assert_true(ctr_options_from_json(bad[i], table, CTR_LENGTH(table), &options, &err) <
                    0);
    }
    assert_int_equal(ctr_options_from_json(NULL, NULL, 0, &options, &err), 0);
    ctr_options_destroy(options);
}

/* --- files --- */

static void
write_profile(const char *path, const char *text)
{
    assert_int_equal(ctr_write_file(path, text, strlen(text), NULL), 0);
}

static void
test_load(void **state)
{
    char dir[] = "/tmp/ctr-test-conf-XXXXXX";
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_conf *conf = NULL;
    assert_non_null(mkdtemp(dir));
    CTR_AUTO(free) char *folder = ctr_printf("%s/ctr", dir);
    CTR_AUTO(free) char *path = ctr_printf("%s/ctr/mine.ini", dir);
    assert_int_equal(ctr_mkdirs(folder, 0700, &err), 0);
    write_profile(path, BASE "[engine]\ndata = rel\n");
    (void) setenv("XDG_CONFIG_HOME", dir, 1);
    assert_int_equal(ctr_conf_load("mine", &conf, &err), 0);
    CTR_AUTO(free) char *data = ctr_printf("%s/ctr/rel", dir);
    assert_string_equal(conf->name, "mine");
    assert_string_equal(conf->file, path);
    assert_string_equal(conf->engine.data, data);
    ctr_conf_destroy(conf);
    (void) setenv("CTR_PROFILE", path, 1);
    (void) setenv("CTR_DATA", "/elsewhere/data", 1);
    (void) setenv("CTR_RUN", "/elsewhere/run", 1);
    assert_int_equal(ctr_conf_load(NULL, &conf, &err), 0);
    assert_string_equal(conf->name, "mine");
    assert_string_equal(conf->engine.data, "/elsewhere/data");
    assert_string_equal(conf->engine.run, "/elsewhere/run");
    ctr_conf_destroy(conf);
    assert_int_equal(ctr_conf_load("min", &conf, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "no profile \"min\""));
    assert_non_null(strstr(err.msg, "mine"));
    assert_int_equal(ctr_conf_load("a b", &conf, &err), -EINVAL);
    assert_int_equal(ctr_conf_load("/nonexistent/x.ini", &conf, &err), -ENOENT);
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(ctr_conf_load(path, &conf, &err), -EPERM);
    assert_non_null(strstr(err.msg, "chmod o-w"));
    (void) unsetenv("CTR_PROFILE");
    (void) unsetenv("CTR_DATA");
    (void) unsetenv("CTR_RUN");
    assert_int_equal(ctr_remove_tree(dir, &err), 0);
}

static char *
read_source(const char *path)
{
    const char *root = getenv("CTR_TEST_ROOT");
    CTR_AUTO(free) char *full = ctr_printf("%s/%s", root == NULL ? "." : root, path);
    char *text = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    if (ctr_read_file(full, 1 << 20, &text, NULL, &err) != 0) {
        fail_msg("%s", err.msg);
    }
    return text;
}

static void
test_the_profiles_that_come_with_ctr(void **state)
{
    static const char *const names[] = {"default", "lab", "macos"};
    for (size_t i = 0; i < CTR_LENGTH(names); i++) {
        CTR_AUTO(free) char *path = ctr_printf("conf/%s.ini", names[i]);
        CTR_AUTO(free) char *text = read_source(path);
        struct ctr_conf *conf = parse(text);
        assert_true(conf->n_instances >= 4);
        ctr_conf_destroy(conf);
        /* what is commented out ("#key = value", no blank) holds, too, once it is taken in */
        for (char *at = text; (at = strstr(at, "\n#")) != NULL; at++) {
            if (at[2] == '[' || (at[2] >= 'a' && at[2] <= 'z')) {
                at[1] = ' ';
            }
        }
        ctr_conf_destroy(parse(text));
    }
}

/* --- the man page --- */

struct page {
    char *text; /* one section of it */
    size_t keys;
};

static void
check_key(void *arg, const char *key, const char *type, const char *def, const char *help)
{
    struct page *page = arg;
    bool has = *def != '\0';
    CTR_AUTO(free)
    char *item = ctr_printf("\n.It Ic %s Pq %s%s%s\n", key, type, has ? ", default " : "", def);
    if (strstr(page->text, item) == NULL) {
        fail_msg("man/ctr.conf.5 lacks the line%s", item);
    }
    page->keys++;
}

static void
check_section(const char *heading,
              void (*each_key)(void (*each)(void *arg, const char *key, const char *type,
                                            const char *def, const char *help),
                               void *arg))
{
    CTR_AUTO(free) char *text = read_source("man/ctr.conf.5");
    char *begin = strstr(text, heading);
    assert_non_null(begin);
    const char *const ends[] = {"\n.Ss ", "\n.Sh "};
    for (size_t i = 0; i < CTR_LENGTH(ends); i++) {
        char *end = strstr(begin + 1, ends[i]);
        if (end != NULL) {
            *end = '\0';
        }
    }
    struct page page = {.text = begin};
    each_key(check_key, &page);
    size_t items = 0;
    for (const char *at = begin; (at = strstr(at, "\n.It Ic ")) != NULL; at++) {
        items++;
    }
    assert_int_equal(items, page.keys);
}

static void
test_the_man_page_lists_the_keys(void **state)
{
    check_section("\n.Ss [engine]\n", ctr_conf_each_key);
    check_section("\n.Ss [registry.host \\(dqHOST\\(dq]\n", ctr_conf_each_host_key);
}

/* --- memory --- */

static void
test_every_allocation_may_fail(void **state)
{
#if FAIL_ALLOC_WORKS
    static const char text[] = "[engine]\nplugins = /a:~/b\ndata = x\nmemory = 1G\n" BASE
                               "[vmm.v]\na = b\n[storage.fast]\nplugin = x\nc = d\n"
                               "[registry]\nchain = file, site\n[registry.site]\nplugin = y\n"
                               "[registry.host \"x.example\"]\nca = /x\nplain_http = no\n"
                               "mirrors = m.example n.example\nproxy = p\n";
    long n = 0;
    int code;
    if (!fail_alloc_works()) {
        skip();
    }
    for (;; n++) {
        struct ctr_conf *conf = NULL;
        struct ctr_error err = CTR_ERROR_INIT;
        long before = fail_alloc_live;
        fail_alloc_after(n);
        code = parse_n(text, sizeof text - 1, &conf, &err);
        bool hit = fail_alloc_hit();
        ctr_conf_destroy(conf);
        assert_int_equal(fail_alloc_live, before);
        if (!hit) {
            break;
        }
        if (code != -ENOMEM) {
            fail_msg("allocation %ld: code %d, %s", n, code, err.msg);
        }
    }
    assert_int_equal(code, 0);
    assert_true(n > 50);
#else
    skip();
#endif
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_instances),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_long_names_and_comments),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_option_mistakes),
        cmocka_unit_test(test_options_from_json),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_the_profiles_that_come_with_ctr),
        cmocka_unit_test(test_the_man_page_lists_the_keys),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
