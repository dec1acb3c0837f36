/*
 * Checks of registry plugins: unknown and hostile hosts; where store exists, round trips of what it must keep; two instances at once; and for the host
 * that [conform] names, that it and no other is answered. No secret gets into a log or an error.
 */
#include "sdk/conform/conform.h"
#include <errno.h>
#include <stdlib.h>

#define HOST "conform.example:5000"
#define SECRET "s3cr3t-of-conform"

struct answer {
    int calls, bad;
    uint32_t type;
    char user[1025], secret[16385];
};

struct listed {
    const char *host;
    int found, secrets;
    char user[128];
};

static struct ctr_error err;

/* --- what a plugin says --- */

static int
is_clean(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if ((unsigned char) *p < 0x20 || *p == 0x7f) {
            return 0;
        }
    }
    return 1;
}

static void
on_answer(void *arg, const struct ctr_credential *credential)
{
    struct answer *answer = arg;
    answer->calls++;
    answer->bad = credential == NULL || credential->size < sizeof *credential ||
                  credential->type < CTR_CREDENTIAL_PASSWORD ||
                  credential->type > CTR_CREDENTIAL_BEARER || credential->user == NULL ||
                  credential->secret == NULL || !is_clean(credential->user) ||
                  !is_clean(credential->secret) ||
                  strlen(credential->secret) >= sizeof answer->secret ||
                  strlen(credential->user) >= sizeof answer->user;
    if (!answer->bad) {
        answer->type = credential->type;
        snprintf(answer->user, sizeof answer->user, "%s", credential->user);
        snprintf(answer->secret, sizeof answer->secret, "%s", credential->secret);
    }
}

static void
on_listed(void *arg, const char *host, const char *user)
{
    struct listed *listed = arg;
    listed->secrets += host == NULL || user == NULL || strstr(user, SECRET) != NULL ||
                       strstr(host, SECRET) != NULL;
    if (host != NULL && strcmp(host, listed->host) == 0) {
        listed->found++;
        snprintf(listed->user, sizeof listed->user, "%s", user);
    }
}

static int
get(const struct ctr_registry_ops *ops, void *self, const char *host, struct answer *answer)
{
    const struct ctr_registry_query query = {
        .size = sizeof query, .host = host, .repository = "conform/test", .actions = "pull"};
    memset(answer, 0, sizeof *answer);
    err = (struct ctr_error) CTR_ERROR_INIT;
    return ops->get(self, &query, on_answer, answer, &err);
}

static int
error_is_clean(const struct conform *kit)
{
    return is_clean(err.msg) && strstr(err.msg, SECRET) == NULL &&
           (kit->secret == NULL || strstr(err.msg, kit->secret) == NULL);
}

/* --- hosts that nobody knows, and texts that are no hosts --- */

static void
strange_hosts(struct conform *kit, const struct ctr_registry_ops *ops, void *self)
{
    static const char *const hosts[] = {"nobody-knows.example",
                                        "nobody-knows.example:444",
                                        "[::1]:5000",
                                        "../../etc/passwd",
                                        "a\r\nb.example",
                                        "a.example\nhost=b.example",
                                        "-v",
                                        "%s%n%s%n.example",
                                        "user@a.example",
                                        "a.example/path",
                                        "*",
                                        ""};
    struct answer answer;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        int result = get(ops, self, hosts[i], &answer);
        conform_check(kit, result < 0 && answer.calls == 0 && error_is_clean(kit),
                      "get of strange host %zu: no answer (%d)", i, result);
    }
    char large[5000];
    memset(large, 'a', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    conform_check(kit, get(ops, self, large, &answer) < 0 && answer.calls == 0,
                  "get of a host of 5000 letters: no answer");
    const struct ctr_credential credential = {.size = sizeof credential,
                                              .type = CTR_CREDENTIAL_PASSWORD,
                                              .user = "conform",
                                              .secret = SECRET};
    for (size_t i = 3; i < 7 && ops->store != NULL; i++) {
        int result = ops->store(self, hosts[i], &credential, &err);
        conform_check(kit, result < 0 && error_is_clean(kit),
                      "store for strange host %zu is refused (%d)", i, result);
    }
    for (size_t i = 0; i < 7 && ops->erase != NULL; i++) {
        int result = ops->erase(self, hosts[i], &err);
        conform_check(kit, result < 0 && error_is_clean(kit),
                      "erase of strange host %zu is refused (%d)", i, result);
    }
}

/* --- round trips --- */

static int
round_trip(struct conform *kit, const struct ctr_registry_ops *ops, void *self,
           const struct ctr_credential *credential, const char *what)
{
    struct answer *answer = calloc(1, sizeof *answer);
    int result = ops->store(self, HOST, credential, &err);
    if (answer == NULL || result == -ENOENT) {
        free(answer);
        return result;
    }
    int rc = result == 0 ? get(ops, self, HOST, answer) : result;
    conform_check(kit, rc == 0 && answer->calls == 1 && !answer->bad,
                  "%s: store, then get answers once (%s)", what, rc == 0 ? "" : err.msg);
    conform_check(kit,
                  answer->type == credential->type &&
                      strcmp(answer->user, credential->user) == 0 &&
                      strcmp(answer->secret, credential->secret) == 0,
                  "%s: it is what was stored", what);
    free(answer);
    return 0;
}

static void
list_it(struct conform *kit, const struct ctr_registry_ops *ops, void *self, int wanted)
{
    struct listed listed = {.host = HOST};
    if (ops->list == NULL) {
        return;
    }
    int result = ops->list(self, on_listed, &listed, &err);
    conform_check(kit, result == 0 && listed.secrets == 0, "list: no secrets (%d)", result);
    conform_check(
        kit, listed.found == wanted && (wanted == 0 || strcmp(listed.user, "conform") == 0),
        "list: the host is in it %d times (wanted %d)", listed.found, wanted);
}

/* Through a second instance, and after the plugin was closed and opened. */
static void
others_see_it(struct conform *kit, const struct ctr_registry_ops *ops)
{
    struct answer *answer = calloc(1, sizeof *answer);
    void *self = NULL;
    struct ctr_host *host = conform_host_create(kit, "one", 0);
    if (answer != NULL && host != NULL &&
        conform_check(kit, ops->open(host, &self, &err) == 0, "open again: %s", err.msg)) {
        conform_check(kit,
                      get(ops, self, HOST, answer) == 0 && strcmp(answer->secret, SECRET) == 0,
                      "another instance has it, too");
        ops->close(self);
    }
    conform_host_destroy(host);
    free(answer);
}

static void
forget_it(struct conform *kit, const struct ctr_registry_ops *ops, void *self)
{
    struct answer answer;
    conform_check(kit, ops->erase(self, HOST, &err) == 0, "erase: %s", err.msg);
    conform_check(kit, get(ops, self, HOST, &answer) == -ENOENT && answer.calls == 0,
                  "get after erase says ENOENT");
    conform_check(kit, ops->erase(self, HOST, &err) == -ENOENT, "a second erase says ENOENT");
    list_it(kit, ops, self, 0);
}

static void
storing(struct conform *kit, const struct ctr_registry_ops *ops, void *self)
{
    struct answer answer;
    struct ctr_credential credential = {.size = sizeof credential,
                                        .type = CTR_CREDENTIAL_PASSWORD,
                                        .user = "conform",
                                        .secret = "it's \"$(id)\" \\ `a` \xc3\xa9: %s;&|<> "};
    if (round_trip(kit, ops, self, &credential, "odd characters") == -ENOENT) {
        printf("     store: keeps none for this host; no round trips\n");
        return;
    }
    char *large = malloc(4001);
    if (large != NULL) {
        memset(large, 'x', 4000);
        large[4000] = '\0';
        credential.secret = large;
        (void) round_trip(kit, ops, self, &credential, "4000 letters");
        free(large);
    }
    credential = (struct ctr_credential){.size = sizeof credential,
                                         .type = CTR_CREDENTIAL_IDENTITY,
                                         .user = "",
                                         .secret = "token.of-conform_1"};
    (void) round_trip(kit, ops, self, &credential, "identity token in place of a password");
    credential.type = CTR_CREDENTIAL_PASSWORD;
    credential.user = "conform";
    credential.secret = SECRET;
    (void) round_trip(kit, ops, self, &credential, "password in place of a token");
    static const char *const near[] = {"conform.example", "conform.example:500",
                                       "conform.example:50000", "x.conform.example:5000",
                                       "conform.example:5000.example"};
    for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
        conform_check(kit, get(ops, self, near[i], &answer) == -ENOENT && answer.calls == 0,
                      "%s is another origin", near[i]);
    }
    list_it(kit, ops, self, 1);
    others_see_it(kit, ops);
    if (ops->erase != NULL) {
        forget_it(kit, ops, self);
    }
}

/* --- the host that [conform] names --- */

static void
known_token(struct conform *kit, const struct ctr_registry_ops *ops, void *self,
            const char *host)
{
    char realm[1024], service[1024], scope[1024];
    const struct ctr_registry_query query = {
        .size = sizeof query, .host = host, .repository = "conform/test", .actions = "pull"};
    struct answer *answer = calloc(1, sizeof *answer);
    if (answer == NULL) {
        return;
    }
    int result =
        ops->token(self, &query, conform_setting(kit, "realm", "https://t.example/", realm),
                   conform_setting(kit, "service", "conform", service),
                   conform_setting(kit, "scope", "repository:conform/test:pull", scope),
                   on_answer, answer, &err);
    conform_check(kit, result == 0 || (result == -ENOENT && answer->calls == 0),
                  "token for %s: %s", host, result == 0 ? "given" : err.msg);
    conform_check(kit,
                  result != 0 || (answer->calls == 1 && !answer->bad &&
                                  answer->type == CTR_CREDENTIAL_BEARER),
                  "its token is a bearer token, given once");
    free(answer);
}

static void
known_host(struct conform *kit, const struct ctr_registry_ops *ops, void *self)
{
    char host[1024], user[1024], secret[1024], near[1100];
    struct answer *answer = calloc(1, sizeof *answer);
    if (answer == NULL || conform_setting(kit, "host", "", host)[0] == '\0') {
        free(answer);
        return;
    }
    if (conform_setting(kit, "secret", "", secret)[0] != '\0') {
        int result = get(ops, self, host, answer);
        conform_check(kit, result == 0 && answer->calls == 1 && !answer->bad,
                      "get of %s answers once: %s", host, err.msg);
        conform_check(kit, strcmp(answer->secret, secret) == 0, "its secret is the right one");
        conform_check(kit, strcmp(answer->user, conform_setting(kit, "user", "", user)) == 0,
                      "its user is the right one");
    }
    if (ops->token != NULL) {
        known_token(kit, ops, self, host);
    }
    static const char *const patterns[] = {"%s.evil.example", "x%s", "x.%s", "%s:444", "%s0"};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        const char *at = strstr(patterns[i], "%s");
        snprintf(near, sizeof near, "%.*s%s%s", (int) (at - patterns[i]), patterns[i], host,
                 at + 2);
        conform_check(kit, get(ops, self, near, answer) == -ENOENT && answer->calls == 0,
                      "%s is another origin", near);
    }
    free(answer);
}

void
conform_registry(struct conform *kit)
{
    struct ctr_registry_ops ops = {0};
    const struct ctr_registry_ops *given = kit->plugin->ops;
    memcpy(&ops, given, given->size < sizeof ops ? given->size : sizeof ops);
    void *self = NULL, *second = NULL;
    struct ctr_host *host = conform_host_create(kit, "one", 0);
    struct ctr_host *other = conform_host_create(kit, "two", 0);
    char secret[1024];
    kit->secret = conform_setting(kit, "secret", SECRET, secret);
    if (host != NULL && other != NULL &&
        conform_check(kit, ops.open(host, &self, &err) == 0, "open: %s", err.msg) &&
        conform_check(kit, ops.open(other, &second, &err) == 0, "open a second: %s", err.msg)) {
        strange_hosts(kit, &ops, self);
        if (ops.store != NULL) {
            storing(kit, &ops, self);
        }
        known_host(kit, &ops, self);
        ops.close(self);
        known_host(kit, &ops, second);
        ops.close(second);
        ops.close(NULL);
        conform_check(kit, kit->leaks == 0, "no secret in the log");
    }
    kit->secret = NULL;
    conform_host_destroy(other);
    conform_host_destroy(host);
}
