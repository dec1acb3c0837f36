/*
 * One call to a registry plugin, on a thread of its own. Plugins may block, and a bad one for ever: its caller waits for a stated time, or until
 * the user gives up, and then leaves it alone. Until such a call returns its instance takes no other.
 *
 * What a plugin answers is copied and checked inside its callback, and handed on only after it returned 0 with just one answer.
 */
#include "core/registry/chain.h"

#define CHAIN_SECRET_MAX ((size_t) 16 << 10)
#define CHAIN_USER_MAX ((size_t) 1024)
#define CHAIN_HOSTS_MAX 4096

/* --- credentials --- */

/* No control characters; a token also no spaces and nothing beyond ASCII. */
static bool
text_is_sendable(const char *text, bool token)
{
    for (const unsigned char *p = (const unsigned char *) text; *p != '\0'; p++) {
        if (*p < 0x20 || *p == 0x7f || (token && (*p == ' ' || *p > 0x7f))) {
            return false;
        }
    }
    return true;
}

const char *
chain_credential_fault(const struct ctr_credential *credential)
{
    if (credential == NULL || credential->size < offsetof(struct ctr_credential, expires)) {
        return "its size is wrong";
    }
    bool password = credential->type == CTR_CREDENTIAL_PASSWORD;
    const char *user = credential->user != NULL ? credential->user : "";
    const char *secret = credential->secret;
    if (!password && credential->type != CTR_CREDENTIAL_IDENTITY &&
        credential->type != CTR_CREDENTIAL_BEARER) {
        return "its type is unknown";
    }
    if (secret == NULL || (secret[0] == '\0' && !password)) {
        return "it has no secret";
    }
    if (strnlen(secret, CHAIN_SECRET_MAX + 1) > CHAIN_SECRET_MAX ||
        strnlen(user, CHAIN_USER_MAX + 1) > CHAIN_USER_MAX) {
        return "it is longer than 16 KiB, or its user than 1 KiB";
    }
    if (password && (user[0] == '\0' || strchr(user, ':') != NULL)) {
        return "its user is empty or has a colon in it";
    }
    if (!text_is_sendable(user, false) || !text_is_sendable(secret, !password)) {
        return "it has characters that no header takes";
    }
    return NULL;
}

static bool
credential_copy(struct chain_credential *ret, const struct ctr_credential *credential)
{
    ret->type = credential->type;
    ret->user = secret_create(credential->user != NULL ? credential->user : "");
    ret->secret = secret_create(credential->secret);
    ret->expires = credential->size >= sizeof *credential ? credential->expires : 0;
    return ret->user != NULL && ret->secret != NULL;
}

static void
credential_finish(struct chain_credential *credential)
{
    secret_destroy(credential->user);
    secret_destroy(credential->secret);
    memset(credential, 0, sizeof *credential);
}

/* --- the call's texts --- */

void
chain_call_free(struct chain_call *call)
{
    if (call != NULL) {
        free(call->host);
        free(call->repository);
        free(call->actions);
        free(call->realm);
        free(call->service);
        free(call->scope);
        credential_finish(&call->given);
        credential_finish(&call->answer);
        json_decref(call->hosts);
        free(call);
    }
}

struct chain_call *
chain_call_create(struct chain_link *link, enum chain_verb verb, const char *host,
                  const struct ctr_registry_query *query,
                  const struct ctr_credential *credential)
{
    struct chain_call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        return NULL;
    }
    call->link = link;
    call->verb = verb;
    call->err.size = sizeof call->err;
    call->host = strdup(query != NULL ? query->host : host != NULL ? host : "");
    call->repository = strdup(query != NULL ? query->repository : "");
    call->actions = strdup(query != NULL ? query->actions : "pull");
    call->hosts = json_array();
    bool ok = call->host != NULL && call->repository != NULL && call->actions != NULL &&
              call->hosts != NULL;
    if (ok && credential != NULL) {
        ok = credential_copy(&call->given, credential);
    }
    if (!ok) {
        chain_call_free(call);
        return NULL;
    }
    return call;
}

/* --- on the call's thread --- */

static void
call_answer(void *arg, const struct ctr_credential *credential)
{
    struct chain_call *call = arg;
    call->answers++;
    if (call->answers > 1) {
        call->answer_fault = "it answered more than once";
        return;
    }
    call->answer_fault = chain_credential_fault(credential);
    if (call->answer_fault == NULL && !credential_copy(&call->answer, credential)) {
        call->answer_fault = "out of memory";
    }
}

static void
call_each(void *arg, const char *host, const char *user)
{
    struct chain_call *call = arg;
    if (host == NULL || json_array_size(call->hosts) >= CHAIN_HOSTS_MAX) {
        return;
    }
    CTR_AUTO(free) char *host_shown = ctr_printable(host);
    CTR_AUTO(free) char *user_shown = ctr_printable(user != NULL ? user : "");
    if (host_shown != NULL && user_shown != NULL) {
        (void) json_array_append_new(
            call->hosts, json_pack("{s:s, s:s}", "host", host_shown, "user", user_shown));
    }
}

static int
call_plugin(struct chain_call *call)
{
    struct chain_link *link = call->link;
    const struct ctr_registry_ops *ops = &link->ops;
    struct ctr_error *err = &call->err;
    const struct ctr_registry_query query = {.size = sizeof query,
                                             .host = call->host,
                                             .repository = call->repository,
                                             .actions = call->actions};
    switch (call->verb) {
    case CHAIN_OPEN:
        return ops->open(link->host, &link->self, err);
    case CHAIN_GET:
        return ops->get(link->self, &query, call_answer, call, err);
    case CHAIN_TOKEN:
        return ops->token(link->self, &query, call->realm, call->service, call->scope,
                          call_answer, call, err);
    case CHAIN_STORE: {
        const struct ctr_credential credential = {.size = sizeof credential,
                                                  .type = call->given.type,
                                                  .user = secret_text(call->given.user),
                                                  .secret = secret_text(call->given.secret),
                                                  .expires = call->given.expires};
        return ops->store(link->self, call->host, &credential, err);
    }
    case CHAIN_ERASE:
        return ops->erase(link->self, call->host, err);
    case CHAIN_LIST:
        return ops->list(link->self, call_each, call, err);
    }
    return -EINVAL;
}

/* What the plugin said becomes a result that the core can stand on. */
static void
call_judge(struct chain_call *call)
{
    struct ctr_error *err = &call->err;
    bool asked = call->verb == CHAIN_GET || call->verb == CHAIN_TOKEN;
    if (call->rc > 0) {
        call->rc =
            ctr_fail(err, -EPROTO, "the plugin returned %d instead of 0 or an error", call->rc);
    } else if (call->rc < 0 && (err->code == 0 || err->msg[0] == '\0')) {
        (void) ctr_fail(err, call->rc, "%s", strerror(-call->rc));
    } else if (call->rc == 0 && asked && call->answers == 0) {
        call->rc = ctr_fail(err, -EPROTO, "the plugin returned 0 and gave no credential");
    } else if (call->rc == 0 && asked && call->answer_fault != NULL) {
        call->rc =
            ctr_fail(err, -EPROTO, "the plugin's answer is refused: %s", call->answer_fault);
    }
    if (call->rc < 0) {
        err->msg[sizeof err->msg - 1] = '\0';
        credential_finish(&call->answer);
    }
}

static void *
call_thread(void *arg)
{
    struct chain_call *call = arg;
    struct chain_link *link = call->link;
    call->rc = call_plugin(call);
    call_judge(call);
    (void) pthread_mutex_lock(&link->mutex);
    if (call->verb == CHAIN_OPEN) {
        link->opened = call->rc == 0;
    }
    link->busy = false;
    call->done = true;
    bool call_is_mine = call->left, link_is_mine = link->closed;
    (void) pthread_cond_broadcast(&link->changed);
    (void) pthread_mutex_unlock(&link->mutex);
    if (call_is_mine) {
        chain_call_free(call);
    }
    if (link_is_mine) {
        chain_link_free(link);
    }
    return NULL;
}

/* --- on the caller's --- */

/* With the link's mutex held: waits a tenth of a second at most. */
static void
link_wait(struct chain_link *link)
{
    struct timespec until;
    (void) clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 100000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void) pthread_cond_timedwait(&link->changed, &link->mutex, &until);
}

static int
link_late(const struct chain_link *link, struct ctr_error *err)
{
    return ctr_fail(err, -ETIMEDOUT,
                    "the plugin has not returned within %d ms; it is asked again once it has",
                    (int) link->limit_ms);
}

static bool
is_cancelled(struct ctr_transfer *transfer)
{
    return transfer != NULL && ctr_transfer_cancelled(transfer);
}

/* With the mutex held: waits until no call is under way. */
static int
link_take_turn(struct chain_link *link, struct ctr_transfer *transfer, struct ctr_error *err)
{
    int64_t limit = ctr_monotonic_ns() + link->limit_ms * 1000000;
    while (link->busy) {
        int64_t now = ctr_monotonic_ns();
        if (now > link->busy_till || now > limit) {
            return link_late(link, err);
        }
        if (is_cancelled(transfer)) {
            return ctr_fail_cancelled(err);
        }
        link_wait(link);
    }
    return 0;
}

/* With the mutex held. */
static int
call_start(struct chain_call *call, struct ctr_error *err)
{
    struct chain_link *link = call->link;
    pthread_attr_t attributes;
    pthread_t thread;
    link->busy_till = ctr_monotonic_ns() + link->limit_ms * 1000000;
    (void) pthread_attr_init(&attributes);
    (void) pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int code = pthread_create(&thread, &attributes, call_thread, call);
    (void) pthread_attr_destroy(&attributes);
    if (code != 0) {
        return ctr_fail(err, -code, "cannot start a thread for the call: %s", strerror(code));
    }
    link->busy = true;
    return 0;
}

int
chain_call_run(struct chain_call **call, struct ctr_transfer *transfer, struct ctr_error *err)
{
    struct chain_call *mine = *call;
    struct chain_link *link = mine->link;
    (void) pthread_mutex_lock(&link->mutex);
    int rc = link_take_turn(link, transfer, err);
    rc = rc < 0 ? rc : call_start(mine, err);
    while (rc == 0 && !mine->done) {
        link_wait(link);
        if (mine->done) {
            break;
        }
        if (ctr_monotonic_ns() > link->busy_till) {
            rc = link_late(link, err);
        } else if (is_cancelled(transfer)) {
            rc = ctr_fail_cancelled(err);
        }
        if (rc < 0) {
            mine->left = true;
            *call = NULL;
        }
    }
    (void) pthread_mutex_unlock(&link->mutex);
    if (rc == 0 && mine->rc < 0) {
        rc = ctr_fail(err, mine->rc, "%s", mine->err.msg);
    }
    return rc;
}
