/* The registry chain: its order, answers that are refused, calls that do not return, and what it keeps and lists. */
#include "core/registry/chain.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static char dir[64];
static struct ctr_conf *conf;
static struct ctr_chain *chain;
static struct ctr_error err;
static char answer[256];
static int answers;

static int
setup(void **state)
{
    (void) snprintf(dir, sizeof dir, "/tmp/ctr-test-chain.XXXXXX");
    err = (struct ctr_error) CTR_ERROR_INIT;
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static void
close_chain(void)
{
    ctr_chain_close(chain);
    ctr_conf_destroy(conf);
    chain = NULL;
    conf = NULL;
}

static int
teardown(void **state)
{
    close_chain();
    return ctr_remove_tree(dir, &err);
}

/* instances: the profile's text from [registry] on. */
static int
open_chain(const char *instances)
{
    const char *build = getenv("CTR_TEST_BUILD");
    close_chain();
    CTR_AUTO(free)
    char *text =
        ctr_printf("[engine]\ndata = %s/data\nrun = %s/run\nplugins = %s/tests/plugins\n"
                   "[vmm]\nplugin = fake\n[net]\nplugin = none\n[storage]\nplugin = mem\n%s",
                   dir, dir, build != NULL ? build : "build", instances);
    int rc = ctr_conf_parse("test", "test.ini", text, strlen(text), &conf, &err);
    return rc < 0 ? rc : ctr_chain_open(conf, &chain, &err);
}

static void
on_answer(void *arg, const struct ctr_credential *credential)
{
    answers++;
    (void) snprintf(answer, sizeof answer, "%u %s %s", credential->type, credential->user,
                    credential->secret);
}

static int
get(const char *host, struct ctr_transfer *transfer)
{
    const struct ctr_registry_query query = {
        .size = sizeof query, .host = host, .repository = "a/b", .actions = "pull"};
    answers = 0;
    answer[0] = '\0';
    return chain_get(chain, transfer, &query, on_answer, NULL, &err);
}

static int
token(const char *host)
{
    const struct ctr_registry_query query = {
        .size = sizeof query, .host = host, .repository = "a/b", .actions = "pull"};
    answers = 0;
    return chain_token(chain, NULL, &query, "https://t.example", "s", "repository:a/b:pull",
                       on_answer, NULL, &err);
}

static void
test_order(void **state)
{
    assert_int_equal(open_chain("[registry]\nchain = b, a, ab\n[registry.a]\nplugin = odd\n"
                                "[registry.ab]\nplugin = odd\n[registry.b]\nplugin = odd\n"),
                     0);
    assert_int_equal(get("abc.example", NULL), 0);
    assert_string_equal(answer, "1 odd a");
    assert_int_equal(get("b.example", NULL), 0);
    assert_string_equal(answer, "1 odd b");
    assert_int_equal(get("c.example", NULL), -ENOENT);
    assert_int_equal(answers, 0);
    assert_int_equal(open_chain(""), 0);
    assert_int_equal(get("a.example", NULL), -ENOENT);
    assert_int_equal(token("a.example"), -ENOENT);
}

/* Answers that cannot stand in a header, and plugins that break their contract: an error that names the instance; the next is not asked. */
static void
test_odd_answers(void **state)
{
    static const char *const odd[] = {
        "size",       "type",  "null",     "nothing",          "colon",
        "control",    "huge",  "twice",    "zero-without",     "positive",
        "bad-bearer", "fails", "wordless", "answers-and-fails"};
    for (size_t i = 0; i < CTR_LENGTH(odd); i++) {
        CTR_AUTO(free)
        char *text =
            ctr_printf("[registry]\nchain = a, b\n[registry.a]\nplugin = odd\nhow = %s\n"
                       "[registry.b]\nplugin = odd\n",
                       odd[i]);
        assert_int_equal(open_chain(text), 0);
        int rc = get("a.example", NULL);
        if (rc >= 0 || rc == -ENOENT || answers != 0) {
            fail_msg("%s: %d, %d answers", odd[i], rc, answers);
        }
        assert_non_null(strstr(err.msg, "credentials for a.example from registry a: "));
        assert_null(strstr(err.msg, "X-Evil"));
        assert_int_equal(get("b.example", NULL), 0);
    }
}

static void
test_tokens(void **state)
{
    assert_int_equal(open_chain("[registry]\nchain = a, b\n[registry.a]\nplugin = odd\n"
                                "[registry.b]\nplugin = odd\nhow = bearer\n"),
                     0);
    assert_int_equal(token("a.example"), -EPROTO); /* a password is no token */
    assert_int_equal(answers, 0);
    assert_int_equal(token("b.example"), 0);
    assert_string_equal(answer, "3 odd b");
    assert_int_equal(token("c.example"), -ENOENT);
}

/* A call that does not return costs its time once, then its instance is left alone until it has returned. */
static void
test_blocking(void **state)
{
    assert_int_equal(
        open_chain("[registry]\nchain = a\n[registry.a]\nplugin = odd\nblock_ms = 600\n"), 0);
    chain->links[0]->limit_ms = 100;
    assert_int_equal(get("a.example", NULL), -ETIMEDOUT);
    assert_non_null(strstr(err.msg, "from registry a: the plugin has not returned"));
    assert_int_equal(get("a.example", NULL), -ETIMEDOUT);
    chain->links[0]->limit_ms = 30000;
    int rc = -ETIMEDOUT;
    for (int i = 0; i < 100 && rc == -ETIMEDOUT; i++) {
        (void) usleep(50000);
        rc = get("a.example", NULL);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(answers, 1);
    /* Closed while a call is under way: the call's thread ends it. */
    chain->links[0]->limit_ms = 100;
    assert_int_equal(get("a.example", NULL), -ETIMEDOUT);
    close_chain();
    (void) usleep(900000);
}

static bool
on_cancelled(void *arg)
{
    return true;
}

static void
test_cancel(void **state)
{
    struct ctr_client client = {.chain = chain};
    const struct ctr_progress progress = {.cancelled = on_cancelled};
    struct ctr_transfer transfer;
    assert_int_equal(
        open_chain("[registry]\nchain = a\n[registry.a]\nplugin = odd\nblock_ms = 600\n"), 0);
    ctr_transfer_init(&transfer, &client, &progress);
    assert_int_equal(get("a.example", &transfer), -ECANCELED);
    ctr_transfer_finish(&transfer);
    /* The next one waits for its turn. */
    assert_int_equal(get("a.example", NULL), 0);
}

struct caller {
    pthread_t thread;
    int code, answers;
};

static void
count_answer(void *arg, const struct ctr_credential *credential)
{
    ((struct caller *) arg)->answers++;
}

static void *
get_once(void *arg)
{
    const struct ctr_registry_query query = {
        .size = sizeof query, .host = "a.example", .repository = "a/b", .actions = "pull"};
    struct caller *caller = arg;
    struct ctr_error mine = CTR_ERROR_INIT;
    caller->code = chain_get(chain, NULL, &query, count_answer, caller, &mine);
    return NULL;
}

static void
test_many_callers(void **state)
{
    struct caller callers[16] = {0};
    assert_int_equal(
        open_chain("[registry]\nchain = a\n[registry.a]\nplugin = odd\nblock_ms = 5\n"), 0);
    for (int i = 0; i < 16; i++) {
        assert_int_equal(pthread_create(&callers[i].thread, NULL, get_once, &callers[i]), 0);
    }
    for (int i = 0; i < 16; i++) {
        assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
        assert_int_equal(callers[i].code, 0);
        assert_int_equal(callers[i].answers, 1);
    }
}

static void
test_open_fails(void **state)
{
    assert_int_equal(
        open_chain("[registry]\nchain = a\n[registry.a]\nplugin = odd\nhow = open-fails\n"),
        -EIO);
    assert_non_null(strstr(err.msg, "registry a: odd on order"));
}

/* --- keeping --- */

static const char keepers[] =
    "[registry]\nchain = a, b, c\n[registry.a]\nplugin = odd\nhow = keeps-none\n"
    "[registry.b]\nplugin = odd\n[registry.c]\nplugin = odd\n";

static void
test_store_and_erase(void **state)
{
    char instance[64] = "";
    struct ctr_credential credential = {
        .size = sizeof credential, .type = CTR_CREDENTIAL_PASSWORD, .user = "u", .secret = "p"};
    assert_int_equal(open_chain(keepers), 0);
    assert_int_equal(chain_store(chain, NULL, "h.example", &credential, instance, &err), 0);
    assert_string_equal(instance, "b");
    assert_int_equal(chain_erase(chain, NULL, "h.example", &err), 0);
    assert_int_equal(chain_erase(chain, NULL, "h.example", &err), -ENOENT);
    credential.secret = "a\nb";
    assert_int_equal(chain_store(chain, NULL, "h.example", &credential, instance, &err),
                     -EINVAL);
    credential.secret = "p";
    assert_int_equal(
        open_chain("[registry]\nchain = a\n[registry.a]\nplugin = odd\nhow = keeps-none\n"), 0);
    assert_int_equal(chain_store(chain, NULL, "h.example", &credential, NULL, &err), -ENOENT);
    assert_int_equal(
        open_chain("[registry]\nchain = a, b\n[registry.a]\nplugin = odd\nhow = store-fails\n"
                   "[registry.b]\nplugin = odd\n"),
        0);
    assert_int_equal(chain_store(chain, NULL, "h.example", &credential, NULL, &err), -EIO);
    assert_non_null(strstr(err.msg, "in registry a"));
    assert_int_equal(chain_erase(chain, NULL, "h.example", &err), -EIO);
}

static void
test_list(void **state)
{
    const struct ctr_credential credential = {
        .size = sizeof credential, .type = CTR_CREDENTIAL_PASSWORD, .user = "u", .secret = "p"};
    assert_int_equal(open_chain(keepers), 0);
    assert_int_equal(chain_store(chain, NULL, "h.example", &credential, NULL, &err), 0);
    CTR_AUTO(json) json_t *rows = chain_list(chain, NULL, "b.example", &err);
    CTR_AUTO(free) char *text = json_dumps(rows, JSON_COMPACT | JSON_SORT_KEYS);
    assert_null(strchr(text, '\x1b'));
    assert_int_equal(json_array_size(rows), 3);
    json_t *b = json_array_get(rows, 1);
    assert_string_equal(ctr_json_str(b, "instance", ""), "b");
    assert_string_equal(ctr_json_str(b, "plugin", ""), "odd");
    assert_true(ctr_json_bool(b, "stores", false));
    assert_true(ctr_json_bool(b, "answers", false));
    assert_int_equal(json_array_size(json_object_get(b, "hosts")), 1);
    assert_false(ctr_json_bool(json_array_get(rows, 0), "answers", true));
    assert_false(ctr_json_bool(json_array_get(rows, 2), "answers", true));
    assert_int_equal(
        open_chain("[registry]\nchain = a, b\n[registry.a]\nplugin = odd\nhow = fails\n"
                   "[registry.b]\nplugin = odd\nhow = null\n"),
        0);
    CTR_AUTO(json) json_t *failing = chain_list(chain, NULL, "a.example", &err);
    assert_string_equal(ctr_json_str(json_array_get(failing, 0), "error", ""), "odd on order");
    assert_false(ctr_json_bool(json_array_get(failing, 0), "answers", true));
    assert_false(ctr_json_bool(json_array_get(failing, 1), "answers", true));
    assert_int_equal(json_array_size(json_object_get(json_array_get(failing, 1), "hosts")), 0);
    CTR_AUTO(json) json_t *all = chain_list(chain, NULL, NULL, &err);
    assert_null(json_object_get(json_array_get(all, 0), "answers"));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_order),      TEST(test_odd_answers),     TEST(test_tokens),
        TEST(test_blocking),   TEST(test_cancel),          TEST(test_many_callers),
        TEST(test_open_fails), TEST(test_store_and_erase), TEST(test_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
