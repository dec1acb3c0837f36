/*
 * core/carrier's parts by themselves: the grammar of --allow, the egress policy, refusals, captures.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "core/carrier/carrier-priv.h"
#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static struct ctr_error err;

static struct ctr_address
address_of(const char *text)
{
    struct ctr_address address;
    assert_int_equal(ctr_address_parse(text, &address), 0);
    return address;
}

/* --- the grammar of --allow --- */

static void
allow_grammar(void **state)
{
    static const struct {
        const char *text, *host, *address;
        bool below;
        int prefix, port;
    } good[] = {
        {"api.example.com:443", "api.example.com", "", false, 0, 443},
        {"API.Example.com.", "api.example.com", "", false, 0, 0},
        {"*.example.com:1", "example.com", "", true, 0, 1},
        {"registry", "registry", "", false, 0, 0},
        {"_dmarc.x-1.de", "_dmarc.x-1.de", "", false, 0, 0},
        {"10.0.0.0/8", "", "10.0.0.0", false, 8, 0},
        {"10.1.2.3/8:80", "", "10.0.0.0", false, 8, 80},
        {"10.1.2.3:65535", "", "10.1.2.3", false, 32, 65535},
        {"0.0.0.0/0", "", "0.0.0.0", false, 0, 0},
        {"2001:db8::1/32", "", "2001:db8::", false, 32, 0},
        {"[2001:db8::/32]:443", "", "2001:db8::", false, 32, 443},
        {"[2001:db8::1]", "", "2001:db8::1", false, 128, 0},
    };
    static const char *const bad[] = {"",
                                      ":",
                                      ":80",
                                      "a:",
                                      "a:0",
                                      "a:65536",
                                      "a:b",
                                      "a b",
                                      "a..b",
                                      ".a",
                                      "-a",
                                      "a-.b",
                                      "*",
                                      "*.",
                                      "*a.b",
                                      "a.*.b",
                                      "10.0.0",
                                      "10.0.0.0/33",
                                      "10.0.0.256",
                                      "10.0.0.0/8/8",
                                      "[10.0.0.0/8]:80",
                                      "[::1",
                                      "::1]",
                                      "[::1]80",
                                      "[a]:80",
                                      "::g",
                                      "fd00::/129",
                                      "[]:80",
                                      "a/8",
                                      "\xc3\xa4.de",
                                      "a:80:80"};
    for (size_t i = 0; i < CTR_LENGTH(good); i++) {
        struct ctr_allow allow;
        char text[CTR_ADDRESS_TEXT];
        if (ctr_allow_parse(good[i].text, &allow, &err) != 0) {
            fail_msg("%s", err.msg);
        }
        assert_string_equal(allow.host, good[i].host);
        assert_string_equal(ctr_address_format(&allow.address, text), good[i].address);
        assert_int_equal(allow.below, good[i].below);
        assert_int_equal(allow.prefix, good[i].prefix);
        assert_int_equal(allow.port, good[i].port);
    }
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        struct ctr_allow allow;
        if (ctr_allow_parse(bad[i], &allow, &err) != -EINVAL) {
            fail_msg("\"%s\" was taken", bad[i]);
        }
    }
}

/* --- policy --- */

struct rules {
    struct ctr_net_rule list[8192];
    size_t n;
};

static int
on_allow(void *arg, const struct ctr_net_rule *rule, struct ctr_error *e)
{
    struct rules *rules = arg;
    assert_in_range(rules->n, 0, CTR_LENGTH(rules->list) - 1);
    rules->list[rules->n++] = *rule;
    return 0;
}

static void
policy_rules(void **state)
{
    struct rules rules = {.n = 0};
    struct ctr_policy *policy;
    CTR_AUTO(json)
    json_t *list = json_pack("[s, s, s, s]", "10.1.0.0/16:443", "[2001:db8::/32]:53",
                             "api.example.com:443", "*.example.org");
    assert_int_equal(ctr_policy_create(list, on_allow, &rules, &policy, &err), 0);
    assert_int_equal(rules.n, 2);
    assert_int_equal(rules.list[0].prefix, 16);
    assert_int_equal(rules.list[0].port, 443);
    assert_int_equal(rules.list[0].seconds, 0);
    assert_int_equal(rules.list[1].address.family, 6);
    assert_true(ctr_policy_may_ask(policy, "api.example.com"));
    assert_true(ctr_policy_may_ask(policy, "a.b.example.org"));
    assert_false(ctr_policy_may_ask(policy, "example.org"));
    assert_false(ctr_policy_may_ask(policy, "badexample.org"));
    assert_false(ctr_policy_may_ask(policy, "x.api.example.com"));
    assert_false(ctr_policy_may_ask(policy, ""));
    /* An answer lives at least 10 seconds; addresses that stay closed are no rules. */
    const struct ctr_address answer[] = {
        address_of("192.0.2.1"), address_of("127.0.0.1"),        address_of("169.254.169.254"),
        address_of("fe80::1"),   address_of("::ffff:127.0.0.1"), address_of("2001:db8:1::1")};
    ctr_policy_resolved(policy, "api.example.com", answer, CTR_LENGTH(answer), 0, SECOND);
    assert_int_equal(rules.n, 4);
    assert_int_equal(rules.list[2].prefix, 32);
    assert_int_equal(rules.list[2].port, 443);
    assert_int_equal(rules.list[2].seconds, 10);
    assert_int_equal(rules.list[3].prefix, 128);
    ctr_policy_resolved(policy, "a.example.org", answer, 1, 300, SECOND);
    assert_int_equal(rules.list[4].port, 0);
    assert_int_equal(rules.list[4].seconds, 300);
    ctr_policy_resolved(policy, "elsewhere.example", answer, 1, 300, SECOND);
    assert_int_equal(rules.n, 5);
    assert_string_equal(ctr_policy_name(policy, &answer[0]), "elsewhere.example");
    struct ctr_address unknown = address_of("192.0.2.77");
    assert_string_equal(ctr_policy_name(policy, &unknown), "");
    ctr_policy_destroy(policy);
}

static void
policy_refuses(void **state)
{
    static const char *const bad[] = {"127.0.0.1:80", "169.254.169.254", "[fe80::1]:1",
                                      "::1",          "224.0.0.0/4",     "nonsense/"};
    struct rules rules = {.n = 0};
    struct ctr_policy *policy = NULL;
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        CTR_AUTO(json) json_t *list = json_pack("[s]", bad[i]);
        assert_int_equal(ctr_policy_create(list, on_allow, &rules, &policy, &err), -EINVAL);
        assert_non_null(strstr(err.msg, bad[i]));
    }
    CTR_AUTO(json) json_t *number = json_pack("[i]", 7);
    assert_int_equal(ctr_policy_create(number, on_allow, &rules, &policy, &err), -EINVAL);
    assert_null(policy);
    assert_int_equal(rules.n, 0);
}

static struct ctr_address
made_up(uint32_t n)
{
    return (struct ctr_address){
        .family = 4,
        .bytes = {198, (uint8_t) (18 + (n >> 16)), (uint8_t) (n >> 8), (uint8_t) n}};
}

/* Whoever owns the zone answers with new addresses for ever. */
static void
policy_is_bounded(void **state)
{
    static struct rules rules;
    struct ctr_policy *policy;
    CTR_AUTO(json)
    json_t *list =
        json_pack("[s, s, s, s, s]", "*.a.de", "*.b.de", "*.c.de", "*.d.de", "*.e.de");
    static const char *const names[] = {"x.a.de", "x.b.de", "x.c.de", "x.d.de", "x.e.de"};
    rules.n = 0;
    assert_int_equal(ctr_policy_create(list, on_allow, &rules, &policy, &err), 0);
    for (size_t name = 0; name < CTR_LENGTH(names); name++) {
        for (uint32_t i = 0; i < 1030; i++) {
            struct ctr_address address = made_up(i);
            ctr_policy_resolved(policy, names[name], &address, 1, 60, SECOND);
        }
    }
    assert_int_equal(rules.n, 4096);
    struct ctr_address known = made_up(5), later = made_up(5000);
    ctr_policy_resolved(policy, names[0], &known, 1, 60, SECOND); /* prolonged all the same */
    assert_int_equal(rules.n, 4097);
    ctr_policy_resolved(policy, names[0], &later, 1, 60, 60 * SECOND);
    assert_int_equal(rules.n, 4097);
    ctr_policy_resolved(policy, names[0], &later, 1, 60,
                        62 * SECOND); /* the others have died */
    assert_int_equal(rules.n, 4098);
    ctr_policy_destroy(policy);
}

/* --- refusals --- */

struct told {
    struct ctr_loop *loop;
    int n;
    json_t *last;
};

static void
on_told(void *arg, const json_t *event)
{
    struct told *told = arg;
    told->n++;
    json_decref(told->last);
    told->last = json_deep_copy(event);
}

static void
stop_loop(void *arg)
{
    ctr_loop_stop(arg);
}

static void
run_loop(struct ctr_loop *loop, uint64_t ms)
{
    struct ctr_timer *timer = ctr_timer_add(loop, ms, stop_loop, loop);
    ctr_loop_run(loop);
    ctr_timer_remove(timer);
}

static size_t
kept_of(const json_t *list, const char *container)
{
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        n += strcmp(ctr_json_str(json_array_get(list, i), "container", ""), container) == 0;
    }
    return n;
}

static void
refusals_are_few(void **state)
{
    struct told told = {0};
    struct ctr_refusals *refusals;
    const struct ctr_address web = address_of("192.0.2.1");
    assert_int_equal(ctr_loop_create(&told.loop, &err), 0);
    assert_int_equal(ctr_refusals_create(told.loop, on_told, &told, &refusals, &err), 0);
    for (int i = 0; i < 1000; i++) {
        ctr_refusals_add(refusals, "calm", "tcp", &web, 443, "api.example.com");
    }
    for (uint32_t i = 0; i < 10000; i++) { /* a guest that tries everything */
        struct ctr_address address = made_up(i);
        ctr_refusals_add(refusals, "rude", "udp", &address, 53, "");
    }
    CTR_AUTO(json) json_t *list = ctr_refusals_list(refusals);
    assert_int_equal(kept_of(list, "rude"), 16);
    assert_int_equal(kept_of(list, "calm"), 1);
    const json_t *calm = json_array_get(list, 0);
    assert_int_equal(ctr_json_int(calm, "count", 0), 1000);
    assert_string_equal(ctr_json_str(calm, "name", ""), "api.example.com");
    assert_string_equal(ctr_json_str(calm, "address", ""), "192.0.2.1");
    for (int i = 0; i < 100; i++) { /* many guests */
        char id[16];
        (void) snprintf(id, sizeof id, "c%d", i);
        ctr_refusals_add(refusals, id, "dns", &(struct ctr_address){0}, 53, "x.de");
    }
    CTR_AUTO(json) json_t *full = ctr_refusals_list(refusals);
    assert_int_equal(json_array_size(full), 64);
    assert_int_equal(kept_of(full, "c99"), 1);
    run_loop(told.loop, 900);
    assert_in_range(told.n, 1, 4);
    assert_string_equal(ctr_json_str(told.last, "event", ""), "refused");
    json_decref(told.last);
    ctr_refusals_destroy(refusals);
    ctr_loop_destroy(told.loop);
}

/* --- captures --- */

struct target {
    struct ctr_buf bytes;
    bool full, ended;
    char calls[256]; /* of the plugin's slot */
};

static int
target_write(void *arg, const struct iovec *parts, int n_parts)
{
    struct target *target = arg;
    for (int i = 0; i < n_parts && !target->full; i++) {
        ctr_buf_add(&target->bytes, parts[i].iov_base, parts[i].iov_len);
    }
    return target->full ? -ENOBUFS : 0;
}

static void
target_end(void *arg)
{
    ((struct target *) arg)->ended = true;
}

static int
plugin_capture(void *self, const char *id, uint32_t on, struct ctr_error *e)
{
    struct target *target = self;
    size_t n = strlen(target->calls);
    (void) snprintf(target->calls + n, sizeof target->calls - n, "%s%s ", on ? "+" : "-",
                    id == NULL ? "all" : id);
    return id != NULL && strcmp(id, "bad") == 0 ? ctr_fail(e, -EIO, "bad") : 0;
}

static uint32_t
u32_at(const struct target *target, size_t at)
{
    uint32_t value;
    assert_true(at + sizeof value <= target->bytes.length);
    memcpy(&value, target->bytes.data + at, sizeof value);
    return value;
}

static void
capture_files(void **state)
{
    struct target target = {0};
    struct ctr_captures captures = {.plugin = plugin_capture, .self = &target};
    const struct ctr_sink sink = {&target, target_write, target_end};
    struct ctr_capture *c;
    assert_int_equal(ctr_capture_begin(&captures, "a", 2, &sink, &c, &err), 0);
    assert_int_equal(ctr_capture_head(c), 0);
    assert_int_equal(target.bytes.length, 24);
    assert_int_equal(u32_at(&target, 0), 0xa1b23c4d);
    assert_int_equal(u32_at(&target, 16), 262144);
    assert_int_equal(u32_at(&target, 20), 1);
    ctr_captures_frame(&captures, "b", "other", 5, 0);
    assert_int_equal(target.bytes.length, 24);
    ctr_captures_frame(&captures, "a", "hello", 5, 7 * SECOND + 42);
    assert_int_equal(target.bytes.length, 24 + 16 + 5);
    assert_int_equal(u32_at(&target, 24), 7);
    assert_int_equal(u32_at(&target, 28), 42);
    assert_int_equal(u32_at(&target, 32), 5);
    assert_int_equal(u32_at(&target, 36), 5);
    assert_memory_equal(target.bytes.data + 40, "hello", 5);
    /* One that the reader has no room for is lost as a whole, and does not count. */
    target.full = true;
    ctr_captures_frame(&captures, "a", "lost", 4, 0);
    target.full = false;
    assert_int_equal(target.bytes.length, 45);
    CTR_AUTO(json) json_t *list = ctr_captures_list(&captures);
    assert_int_equal(ctr_json_int(json_array_get(list, 0), "lost", 0), 1);
    size_t large = 300000;
    CTR_AUTO(free) char *frame = calloc(1, large);
    ctr_captures_frame(&captures, "a", frame, large, 0);
    assert_int_equal(u32_at(&target, 45 + 8), 262144);
    assert_int_equal(u32_at(&target, 45 + 12), 300000);
    assert_true(target.ended);
    ctr_captures_frame(&captures, "a", "x", 1, 0);
    assert_int_equal(target.bytes.length, 45 + 16 + 262144);
    ctr_capture_free(c);
    assert_string_equal(target.calls, "+a -a ");
    ctr_buf_clear(&target.bytes);
}

static void
captures_at_once(void **state)
{
    struct target target = {0};
    struct ctr_captures captures = {.plugin = plugin_capture, .self = &target};
    const struct ctr_sink sink = {&target, target_write, target_end};
    struct ctr_capture *c[9];
    assert_int_equal(ctr_capture_begin(&captures, "bad", 0, &sink, &c[0], &err), -EIO);
    assert_int_equal(captures.n, 0);
    target.calls[0] = '\0';
    for (int i = 0; i < 8; i++) {
        assert_int_equal(ctr_capture_begin(&captures,
                                           i < 2   ? ""
                                           : i < 4 ? "a"
                                                   : "b",
                                           0, &sink, &c[i], &err),
                         0);
    }
    assert_int_equal(ctr_capture_begin(&captures, "", 0, &sink, &c[8], &err), -EMFILE);
    assert_string_equal(target.calls, "+all +a +b ");
    ctr_captures_frame(&captures, "a", "x", 1, 0);
    assert_int_equal(target.bytes.length, 4 * 17);
    target.calls[0] = '\0';
    ctr_captures_gone(&captures, "b"); /* the plugin knows it */
    assert_true(target.ended);
    for (int i = 0; i < 8; i++) {
        ctr_capture_free(c[i]);
    }
    assert_string_equal(target.calls, "-all -a ");
    assert_int_equal(captures.n, 0);
    ctr_capture_free(NULL);
    ctr_buf_clear(&target.bytes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allow_grammar),    cmocka_unit_test(policy_rules),
        cmocka_unit_test(policy_refuses),   cmocka_unit_test(policy_is_bounded),
        cmocka_unit_test(refusals_are_few), cmocka_unit_test(capture_files),
        cmocka_unit_test(captures_at_once),
    };
    return cmocka_run_group_tests_name("egress", tests, NULL, NULL);
}
