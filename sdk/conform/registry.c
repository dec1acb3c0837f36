/*
 * Checks of registry plugins: unknown hosts, hostile host names, and, where store exists, a round trip.
 */
#include "sdk/conform/conform.h"
#include <errno.h>

struct answer {
    int calls;
    uint32_t type;
    char user[64], secret[64];
};

static void
on_answer(void *arg, const struct ctr_credential *credential)
{
    struct answer *answer = arg;
    answer->calls++;
    answer->type = credential->type;
    snprintf(answer->user, sizeof answer->user, "%s", credential->user);
    snprintf(answer->secret, sizeof answer->secret, "%s", credential->secret);
}

static struct ctr_error err;

static int
get(const struct ctr_registry_ops *ops, void *self, const char *host, struct answer *answer)
{
    const struct ctr_registry_query query = {
        .size = sizeof query, .host = host, .repository = "conform/test", .actions = "pull"};
    memset(answer, 0, sizeof *answer);
    return ops->get(self, &query, on_answer, answer, &err);
}

static void
round_trip(struct conform *kit, const struct ctr_registry_ops *ops, void *self)
{
    struct answer answer;
    const struct ctr_credential credential = {.size = sizeof credential,
                                              .type = CTR_CREDENTIAL_PASSWORD,
                                              .user = "conform",
                                              .secret = "s3cr3t:with colon"};
    conform_check(kit, ops->store(self, "conform.example:5000", &credential, &err) == 0,
                  "store: %s", err.msg);
    conform_check(kit,
                  get(ops, self, "conform.example:5000", &answer) == 0 && answer.calls == 1,
                  "get after store: %s", err.msg);
    conform_check(kit,
                  strcmp(answer.user, credential.user) == 0 &&
                      strcmp(answer.secret, credential.secret) == 0,
                  "it is what was stored");
    conform_check(kit,
                  get(ops, self, "conform.example", &answer) == -ENOENT && answer.calls == 0,
                  "another port is another origin");
    if (ops->erase != NULL) {
        conform_check(kit, ops->erase(self, "conform.example:5000", &err) == 0, "erase: %s",
                      err.msg);
        conform_check(kit, get(ops, self, "conform.example:5000", &answer) == -ENOENT,
                      "get after erase says ENOENT");
    }
}

void
conform_registry(struct conform *kit)
{
    struct ctr_registry_ops ops = {0};
    const struct ctr_registry_ops *given = kit->plugin->ops;
    memcpy(&ops, given, given->size < sizeof ops ? given->size : sizeof ops);
    void *self = NULL;
    struct answer answer;
    struct ctr_host *host = conform_host_create(kit, "one", 0);
    if (host == NULL ||
        !conform_check(kit, ops.open(host, &self, &err) == 0, "open: %s", err.msg)) {
        return;
    }
    static const char *const hosts[] = {"nobody-knows.example", "nobody-knows.example:444",
                                        "[::1]:5000",           "../../etc/passwd",
                                        "a\r\nb.example",       ""};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        int result = get(&ops, self, hosts[i], &answer);
        conform_check(kit, result < 0 && answer.calls == 0,
                      "get of unknown host %zu: no answer (%d)", i, result);
    }
    if (ops.store != NULL) {
        round_trip(kit, &ops, self);
    }
    ops.close(self);
    ops.close(NULL);
    conform_host_destroy(host);
}
