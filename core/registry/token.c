/*
 * Bearer tokens: the exchange of distribution's token authentication and of its OAuth2 variant, and the tokens that we have,
 * by registry and scope. A credential goes to the realm that the registry names only where that is https, or plain http for a
 * registry that is itself plain.
 */
#include "core/registry/registry-priv.h"
#include <curl/curl.h>

#define TOKEN_MAX_SECONDS 3600
#define TOKEN_MARGIN 5 /* seconds before its end that a token is not used any more */

/* --- what we have --- */

struct token_cache {
    struct token_cache *next;
    char *key;
    struct secret *secret;
    int64_t until; /* monotonic */
};

static void
token_free(struct token_cache *token)
{
    secret_destroy(token->secret);
    free(token->key);
    free(token);
}

void
token_cache_destroy(struct token_cache *cache)
{
    while (cache != NULL) {
        struct token_cache *next = cache->next;
        token_free(cache);
        cache = next;
    }
}

/* With client->mutex held: unlinks all expired tokens and those that match. The one of the whole key is returned if it is
 * still good; the others are gone. */
static struct token_cache *
token_take(struct ctr_client *client, const char *key, bool is_prefix)
{
    struct token_cache *found = NULL;
    int64_t now = ctr_monotonic_ns();
    for (struct token_cache **at = &client->tokens; *at != NULL;) {
        struct token_cache *token = *at;
        bool mine = is_prefix ? ctr_starts_with(token->key, key) : strcmp(token->key, key) == 0;
        if (!mine && token->until > now) {
            at = &token->next;
            continue;
        }
        *at = token->next;
        if (mine && !is_prefix && token->until > now && found == NULL) {
            found = token;
        } else {
            token_free(token);
        }
    }
    return found;
}

static char *
token_key(const struct ctr_endpoint *endpoint)
{
    return ctr_printf("%s %s", endpoint->root, endpoint->scopes);
}

void
token_cache_get(struct ctr_endpoint *endpoint)
{
    struct ctr_client *client = endpoint->remote->transfer->client;
    CTR_AUTO(free) char *key = token_key(endpoint);
    if (key == NULL) {
        return;
    }
    (void) pthread_mutex_lock(&client->mutex);
    struct token_cache *token = token_take(client, key, false);
    if (token != NULL) {
        endpoint->secret = secret_copy(token->secret);
        endpoint->until = token->until;
        token->next = client->tokens;
        client->tokens = token;
    }
    (void) pthread_mutex_unlock(&client->mutex);
}

/* A caller's own credential must not serve the next caller. */
static void
token_cache_put(const struct ctr_endpoint *endpoint)
{
    struct ctr_client *client = endpoint->remote->transfer->client;
    struct token_cache *token =
        endpoint->remote->credential == NULL ? calloc(1, sizeof *token) : NULL;
    if (token == NULL) {
        return;
    }
    token->key = token_key(endpoint);
    token->secret = secret_copy(endpoint->secret);
    token->until = endpoint->until;
    if (token->key == NULL || token->secret == NULL) {
        token_free(token);
        return;
    }
    (void) pthread_mutex_lock(&client->mutex);
    struct token_cache *old = token_take(client, token->key, false);
    token->next = client->tokens;
    client->tokens = token;
    (void) pthread_mutex_unlock(&client->mutex);
    if (old != NULL) {
        token_free(old);
    }
}

void
token_cache_forget(struct ctr_client *client, const char *root)
{
    CTR_AUTO(free) char *prefix = ctr_printf("%s ", root);
    (void) pthread_mutex_lock(&client->mutex);
    if (prefix != NULL) {
        (void) token_take(client, prefix, true);
    }
    (void) pthread_mutex_unlock(&client->mutex);
}

void
token_use(struct ctr_endpoint *endpoint, struct secret *take_secret, int64_t seconds)
{
    secret_destroy(endpoint->secret);
    endpoint->secret = take_secret;
    endpoint->until = seconds > 0 ? ctr_monotonic_ns() + seconds * 1000000000 : 0;
    if (seconds > 0) {
        token_cache_put(endpoint);
    }
}

/* --- the exchange --- */

/* The realm may get the credentials: https, or plain http where the registry itself is plain. */
static int
token_check_realm(const struct ctr_endpoint *endpoint, const char *realm, struct ctr_error *err)
{
    struct origin origin, home;
    int rc = origin_parse(realm, &origin, err);
    rc = rc < 0 ? rc : origin_parse(endpoint->root, &home, err);
    rc = rc < 0 ? rc
                : origin_check_plain(endpoint->remote->transfer->client->conf, &origin, err);
    if (rc == 0 && strcmp(origin.scheme, "http") == 0 && strcmp(home.scheme, "https") == 0) {
        rc = ctr_fail(err, -EPERM, "plain http is refused for the tokens of an https registry");
    }
    return rc < 0 ? ctr_prefix(err, "token service %.200s", realm) : 0;
}

static void
query_add(struct ctr_buf *buf, const char *name, const char *value)
{
    char *escaped = curl_easy_escape(NULL, value, 0);
    if (escaped == NULL) {
        buf->failed = true;
        return;
    }
    ctr_buf_printf(buf, "%s%s=%s", buf->length > 0 ? "&" : "", name, escaped);
    secret_wipe(escaped, strlen(escaped));
    curl_free(escaped);
}

/* A token service's form: which of its two ways, and with what. */
struct token_ask {
    const struct challenge *challenge;
    const char *scopes; /* separated by spaces */
    const struct login *login;
    bool post; /* OAuth2's way */
};

static void
token_add_get(struct ctr_buf *query, const struct token_ask *ask)
{
    CTR_AUTO(free) char *copy = strdup(ask->scopes);
    char *rest = NULL;
    query->failed = query->failed || copy == NULL;
    for (char *scope = copy != NULL ? strtok_r(copy, " ", &rest) : NULL; scope != NULL;
         scope = strtok_r(NULL, " ", &rest)) {
        query_add(query, "scope", scope);
    }
}

static void
token_add_post(struct ctr_buf *query, const struct token_ask *ask)
{
    bool identity = ask->login->type == CTR_CREDENTIAL_IDENTITY;
    query_add(query, "grant_type", identity ? "refresh_token" : "password");
    if (identity) {
        query_add(query, "refresh_token", secret_text(ask->login->secret));
    } else {
        query_add(query, "username", secret_text(ask->login->user));
        query_add(query, "password", secret_text(ask->login->secret));
    }
    if (ask->scopes[0] != '\0') {
        query_add(query, "scope", ask->scopes);
    }
}

static void
token_form(struct ctr_buf *query, const struct ctr_endpoint *endpoint,
           const struct token_ask *ask)
{
    bool offline = endpoint->remote->offline;
    if (ask->post || offline) {
        query_add(query, "client_id", "ctr");
    }
    if (offline) {
        query_add(query, ask->post ? "access_type" : "offline_token",
                  ask->post ? "offline" : "true");
    }
    if (ask->challenge->service[0] != '\0') {
        query_add(query, "service", ask->challenge->service);
    }
    if (ask->post) {
        token_add_post(query, ask);
    } else {
        token_add_get(query, ask);
    }
}

/* Seconds that a token is good for: from its issue, where the service says when that was and our clocks agree. */
static int64_t
token_seconds(const json_t *answer)
{
    int64_t seconds = ctr_json_int(answer, "expires_in", 60);
    time_t issued = curl_getdate(ctr_json_str(answer, "issued_at", ""), NULL);
    int64_t age = issued > 0 ? time(NULL) - issued : 0;
    seconds = seconds < 0 ? 0 : seconds > TOKEN_MAX_SECONDS ? TOKEN_MAX_SECONDS : seconds;
    if (age > 0 && age < seconds) {
        seconds -= age;
    }
    return seconds > 2 * TOKEN_MARGIN ? seconds - TOKEN_MARGIN : seconds;
}

static int
token_parse(struct ctr_endpoint *endpoint, const struct ctr_http_response *response,
            struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *answer = ctr_json_parse(response->body.data != NULL ? response->body.data : "",
                                    response->body.length, CTR_MAX_ANSWER, "token", err);
    if (answer == NULL) {
        return ctr_fail(err, -EBADMSG, "the token service's answer is not JSON");
    }
    const char *token = ctr_json_str(answer, "token", "");
    token = token[0] != '\0' ? token : ctr_json_str(answer, "access_token", "");
    if (!is_token_text(token) || strlen(token) > 65536) {
        return ctr_fail(err, -EBADMSG, "the token service's answer has no token in it");
    }
    struct secret *secret = secret_join("Bearer ", token);
    if (secret == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    const char *identity = ctr_json_str(answer, "refresh_token", "");
    if (endpoint->remote->offline && is_token_text(identity) && strlen(identity) <= 65536) {
        secret_destroy(endpoint->identity);
        endpoint->identity = secret_create(identity);
    }
    token_use(endpoint, secret, token_seconds(answer));
    return 0;
}

/* 1: the service does not know this way. */
static int
token_request(struct ctr_endpoint *endpoint, const struct ctr_http_call *call,
              struct ctr_error *err)
{
    struct ctr_http_response response = {0};
    int rc = http_request(endpoint->remote->transfer, call, &response, err);
    if (rc == 0 && response.status == 200) {
        rc = token_parse(endpoint, &response, err);
    } else if (rc == 0 && (response.status == 401 || response.status == 403)) {
        rc = ctr_fail(err, -EACCES,
                      "the token service refused the credentials (%ld); check them and log in "
                      "anew: ctrctl login %s",
                      response.status, endpoint->host);
    } else if (rc == 0 && (response.status == 404 || response.status == 405)) {
        (void) ctr_fail(err, -EIO, "the token service answered %ld", response.status);
        rc = 1;
    } else if (rc == 0) {
        rc = ctr_fail(err, -EIO, "the token service answered %ld; try again later",
                      response.status);
    }
    if (response.body.data != NULL) {
        secret_wipe(response.body.data, response.body.length);
    }
    ctr_http_response_clear(&response);
    return rc;
}

static int
token_ask(struct ctr_endpoint *endpoint, const struct token_ask *ask, struct ctr_error *err)
{
    CTR_AUTO(buf) struct ctr_buf query = {0};
    const char *realm = ask->challenge->realm;
    struct secret *basic = NULL;
    token_form(&query, endpoint, ask);
    if (!ask->post && ask->login->type == CTR_CREDENTIAL_PASSWORD) {
        basic = secret_basic(secret_text(ask->login->user), secret_text(ask->login->secret));
        query.failed = query.failed || basic == NULL;
    }
    bool empty = query.length == 0;
    const char *joint = empty ? "" : strchr(realm, '?') != NULL ? "&" : "?";
    CTR_AUTO(free)
    char *url =
        ask->post ? strdup(realm) : ctr_printf("%s%s%s", realm, joint, empty ? "" : query.data);
    int rc = 0;
    if (url == NULL || query.failed) {
        rc = ctr_fail(err, -ENOMEM, "out of memory");
    } else {
        struct ctr_http_body form = {.type = "application/x-www-form-urlencoded",
                                     .bytes = query.data,
                                     .length = query.length};
        struct ctr_http_call call = {.url = url,
                                     .accept = "application/json",
                                     .method = ask->post ? "POST" : NULL,
                                     .body = ask->post ? &form : NULL,
                                     .secret = basic,
                                     .max = CTR_MAX_ANSWER,
                                     .no_redirects = ask->post,
                                     .total_s =
                                         endpoint->remote->transfer->client->limits.total_s};
        rc = token_request(endpoint, &call, err);
    }
    if (query.data != NULL) {
        secret_wipe(query.data, query.length);
    }
    secret_destroy(basic);
    return rc;
}

int
token_get(struct ctr_endpoint *endpoint, const struct challenge *challenge, const char *scopes,
          const struct login *login, struct ctr_error *err)
{
    int rc = token_check_realm(endpoint, challenge->realm, err);
    if (rc < 0) {
        return rc;
    }
    bool password = login->type == CTR_CREDENTIAL_PASSWORD;
    struct token_ask ask = {.challenge = challenge,
                            .scopes = scopes,
                            .login = login,
                            .post = login->type == CTR_CREDENTIAL_IDENTITY};
    rc = token_ask(endpoint, &ask, err);
    if (rc == 1 && password) {
        ask.post = true;
        rc = token_ask(endpoint, &ask, err);
    }
    return rc == 1 ? err->code : rc;
}
