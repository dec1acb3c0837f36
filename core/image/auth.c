/*
 * Who we are for a registry: challenges (RFC 7235), Basic, and the Bearer token exchange of distribution's token
 * authentication. Credentials come from the profile's chain, asked for only when a registry wants them.
 */
#include "core/image/remote.h"
#include <curl/curl.h>
#include <strings.h>

/* --- challenges --- */

struct challenge {
    bool bearer, basic;
    char realm[1024], service[512], scope[1024], error[64];
};

static void
challenge_set(struct challenge *challenge, const char *name, size_t n, const char *value)
{
    static const struct {
        const char *name;
        size_t offset, capacity;
    } known[] = {
        {"realm", offsetof(struct challenge, realm), sizeof challenge->realm},
        {"service", offsetof(struct challenge, service), sizeof challenge->service},
        {"scope", offsetof(struct challenge, scope), sizeof challenge->scope},
        {"error", offsetof(struct challenge, error), sizeof challenge->error},
    };
    for (size_t i = 0; i < CTR_LENGTH(known); i++) {
        if (strlen(known[i].name) == n && strncasecmp(name, known[i].name, n) == 0) {
            (void) snprintf((char *) challenge + known[i].offset, known[i].capacity, "%s",
                            value);
        }
    }
}

/* key=token or key="text"; returns what follows, NULL where it is none. */
static const char *
challenge_pair(const char *at, struct challenge *challenge)
{
    size_t n = strcspn(at, "= \t,\"");
    if (n == 0 || at[n] != '=') {
        return NULL;
    }
    const char *name = at;
    char value[1024];
    size_t length = 0;
    at += n + 1;
    bool quoted = *at == '"';
    at += quoted;
    while (*at != '\0' && (quoted ? *at != '"' : strchr(", \t", *at) == NULL)) {
        if (quoted && at[0] == '\\' && at[1] != '\0') {
            at++;
        }
        if (length + 1 == sizeof value) {
            return NULL;
        }
        value[length++] = *at++;
    }
    value[length] = '\0';
    challenge_set(challenge, name, n, value);
    return quoted && *at == '"' ? at + 1 : at;
}

/* Takes the first Bearer challenge, and whether there is a Basic one. */
static void
challenge_parse(const char *text, struct challenge *ret)
{
    CTR_AUTO(free) char *copy = strdup(text);
    char *rest = NULL;
    for (char *line = copy != NULL ? strtok_r(copy, "\n", &rest) : NULL; line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        size_t n = strcspn(line, " \t");
        ret->basic = ret->basic || (n == 5 && strncasecmp(line, "Basic", 5) == 0);
        if (n != 6 || strncasecmp(line, "Bearer", 6) != 0 || ret->bearer) {
            continue;
        }
        const char *at = line + n;
        while (at != NULL && *(at += strspn(at, " \t,")) != '\0') {
            at = challenge_pair(at, ret);
        }
        ret->bearer = ret->realm[0] != '\0';
    }
}

/* --- token cache: the Authorization that worked, by repository --- */

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

/* With images->mutex held: unlinks the key's and all expired tokens, and returns the key's if it is still good. */
static struct token_cache *
token_take(struct ctr_images *images, const char *key)
{
    struct token_cache *found = NULL;
    int64_t now = ctr_monotonic_ns();
    for (struct token_cache **at = &images->tokens; *at != NULL;) {
        struct token_cache *token = *at;
        bool mine = strcmp(token->key, key) == 0;
        if (!mine && token->until > now) {
            at = &token->next;
            continue;
        }
        *at = token->next;
        if (mine && token->until > now && found == NULL) {
            found = token;
        } else {
            token_free(token);
        }
    }
    return found;
}

static char *
token_key(const struct remote *remote)
{
    return ctr_printf("%s%s", remote->base, remote->ref->repository);
}

struct secret *
token_cache_get(struct ctr_images *images, const struct remote *remote)
{
    CTR_AUTO(free) char *key = token_key(remote);
    if (key == NULL) {
        return NULL;
    }
    (void) pthread_mutex_lock(&images->mutex);
    struct token_cache *token = token_take(images, key);
    struct secret *secret = token != NULL ? secret_copy(token->secret) : NULL;
    if (token != NULL) {
        token->next = images->tokens;
        images->tokens = token;
    }
    (void) pthread_mutex_unlock(&images->mutex);
    return secret;
}

void
token_cache_put(struct ctr_images *images, const struct remote *remote,
                const struct secret *secret, int64_t seconds)
{
    struct token_cache *token = calloc(1, sizeof *token);
    if (token == NULL) {
        return;
    }
    token->key = token_key(remote);
    token->secret = secret_copy(secret);
    token->until = ctr_monotonic_ns() + seconds * 1000000000;
    if (token->key == NULL || token->secret == NULL || seconds <= 0) {
        token_free(token);
        return;
    }
    (void) pthread_mutex_lock(&images->mutex);
    struct token_cache *old = token_take(images, token->key);
    token->next = images->tokens;
    images->tokens = token;
    (void) pthread_mutex_unlock(&images->mutex);
    if (old != NULL) {
        token_free(old);
    }
}

/* --- credentials --- */

struct login {
    uint32_t type; /* 0: none */
    struct secret *user, *secret;
    bool failed;
};

static void
login_take(void *arg, const struct ctr_credential *credential)
{
    struct login *login = arg;
    login->type = credential->type;
    login->user = secret_create(credential->user != NULL ? credential->user : "");
    login->secret = secret_create(credential->secret != NULL ? credential->secret : "");
    login->failed = login->user == NULL || login->secret == NULL;
}

static void
login_finish(struct login *login)
{
    secret_destroy(login->user);
    secret_destroy(login->secret);
}

/* A header value must not end the header. */
static bool
is_token_text(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (*p <= 0x20 || *p >= 0x7f) {
            return false;
        }
    }
    return text[0] != '\0';
}

static int
login_ask(struct remote *remote, struct login *login, struct ctr_error *err)
{
    struct ctr_registry_query query = {.size = sizeof query,
                                       .host = remote->host,
                                       .repository = remote->ref->repository,
                                       .actions = "pull"};
    struct ctr_chain *chain = remote->op->images->chain;
    int rc = chain_get(chain, remote->op, &query, login_take, login, err);
    if (rc == -ENOENT) {
        login->type = 0;
        return 0;
    }
    return rc == 0 && login->failed ? ctr_fail(err, -ENOMEM, "out of memory") : rc;
}

/* --- the token exchange --- */

/* The realm may get the credentials: https, or plain http where the registry itself is plain. */
static int
token_check_realm(const struct remote *remote, const char *realm, struct ctr_error *err)
{
    struct origin origin, home;
    int rc = origin_parse(realm, &origin, err);
    rc = rc < 0 ? rc : origin_parse(remote->base, &home, err);
    rc = rc < 0 ? rc : origin_check_plain(remote->op->images->conf, &origin, err);
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

static int
token_parse(struct remote *remote, const struct http_response *response, struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *answer = ctr_json_parse(response->body.data != NULL ? response->body.data : "",
                                    response->body.length, IMAGE_MAX_BODY, "token", err);
    if (answer == NULL) {
        return ctr_fail(err, -EBADMSG, "the token service's answer is not JSON");
    }
    const char *token = ctr_json_str(answer, "token", NULL);
    token = token != NULL ? token : ctr_json_str(answer, "access_token", "");
    if (!is_token_text(token) || strlen(token) > 65536) {
        return ctr_fail(err, -EBADMSG, "the token service's answer has no token in it");
    }
    struct secret *secret = secret_join("Bearer ", token);
    if (secret == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int64_t seconds = ctr_json_int(answer, "expires_in", 60);
    seconds = seconds < 0 ? 0 : seconds > 3600 ? 3600 : seconds;
    token_cache_put(remote->op->images, remote, secret, seconds - 5);
    secret_destroy(remote->secret);
    remote->secret = secret;
    return 0;
}

static int
token_request(struct remote *remote, const struct http_call *call, struct ctr_error *err)
{
    struct http_response response = {0};
    int rc = http_request(remote->op, call, &response, err);
    if (rc == 0 && response.status == 200) {
        rc = token_parse(remote, &response, err);
    } else if (rc == 0 && (response.status == 401 || response.status == 403)) {
        rc = ctr_fail(err, -EACCES,
                      "the token service refused the credentials (%ld); log in to %s anew",
                      response.status, remote->host);
    } else if (rc == 0) {
        rc = ctr_fail(err, -EIO, "the token service answered %ld", response.status);
    }
    if (response.body.data != NULL) {
        secret_wipe(response.body.data, response.body.length);
    }
    http_response_clear(&response);
    return rc;
}

static int
token_get(struct remote *remote, const struct challenge *challenge, const char *scope,
          const struct login *login, struct ctr_error *err)
{
    CTR_AUTO(buf) struct ctr_buf query = {0};
    struct secret *basic = NULL;
    bool refresh = login->type == CTR_CREDENTIAL_IDENTITY;
    if (login->type == CTR_CREDENTIAL_PASSWORD) {
        basic = secret_basic(secret_text(login->user), secret_text(login->secret));
        query.failed = basic == NULL;
    }
    if (refresh) {
        query_add(&query, "grant_type", "refresh_token");
        query_add(&query, "client_id", "ctr");
        query_add(&query, "refresh_token", secret_text(login->secret));
    }
    if (challenge->service[0] != '\0') {
        query_add(&query, "service", challenge->service);
    }
    query_add(&query, "scope", scope);
    bool mark = strchr(challenge->realm, '?') != NULL;
    CTR_AUTO(free)
    char *url = refresh ? strdup(challenge->realm)
                        : ctr_printf("%s%s%s", challenge->realm, mark ? "&" : "?",
                                     query.data != NULL ? query.data : "");
    int rc = 0;
    if (url == NULL || query.failed) {
        rc = ctr_fail(err, -ENOMEM, "out of memory");
    } else {
        struct http_call call = {.url = url,
                                 .accept = "application/json",
                                 .post = refresh ? query.data : NULL,
                                 .secret = basic,
                                 .max = IMAGE_MAX_BODY,
                                 .no_redirects = refresh,
                                 .total_s = remote->op->images->limits.total_s};
        rc = token_request(remote, &call, err);
    }
    if (query.data != NULL) {
        secret_wipe(query.data, query.length);
    }
    secret_destroy(basic);
    return rc;
}

/* --- */

static int
authenticate_bearer(struct remote *remote, const struct challenge *challenge,
                    const struct login *login, struct ctr_error *err)
{
    if (login->type == CTR_CREDENTIAL_BEARER) {
        struct secret *secret = is_token_text(secret_text(login->secret))
                                    ? secret_join("Bearer ", secret_text(login->secret))
                                    : NULL;
        if (secret == NULL) {
            return ctr_fail(err, -EINVAL,
                            "the bearer token for %s has characters that no header takes",
                            remote->host);
        }
        secret_destroy(remote->secret);
        remote->secret = secret;
        return 0;
    }
    char scope[400];
    (void) snprintf(scope, sizeof scope, "repository:%s:pull", remote->ref->repository);
    struct ctr_registry_query query = {.size = sizeof query,
                                       .host = remote->host,
                                       .repository = remote->ref->repository,
                                       .actions = "pull"};
    struct login own = {0};
    int rc = chain_token(remote->op->images->chain, remote->op, &query, challenge->realm,
                         challenge->service, scope, login_take, &own, err);
    if (rc == 0 && own.type == CTR_CREDENTIAL_BEARER && !own.failed) {
        rc = authenticate_bearer(remote, challenge, &own, err);
        login_finish(&own);
        return rc;
    }
    login_finish(&own);
    if (rc < 0 && rc != -ENOENT) {
        return rc;
    }
    rc = token_check_realm(remote, challenge->realm, err);
    return rc < 0 ? rc : token_get(remote, challenge, scope, login, err);
}

static int
authenticate_basic(struct remote *remote, const struct login *login, struct ctr_error *err)
{
    if (login->type != CTR_CREDENTIAL_PASSWORD) {
        return ctr_fail(err, -EACCES,
                        "the registry wants a login and there is none for %s; put one into the "
                        "auths of config.json (docker login %s does)",
                        remote->host, remote->host);
    }
    struct secret *secret = secret_basic(secret_text(login->user), secret_text(login->secret));
    if (secret == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    token_cache_put(remote->op->images, remote, secret, 300);
    secret_destroy(remote->secret);
    remote->secret = secret;
    return 0;
}

int
remote_authenticate(struct remote *remote, unsigned seen, const char *challenges,
                    struct ctr_error *err)
{
    (void) pthread_mutex_lock(&remote->mutex);
    int rc = 0;
    if (remote->generation == seen) {
        struct challenge challenge = {0};
        struct login login = {0};
        challenge_parse(challenges, &challenge);
        rc = login_ask(remote, &login, err);
        if (rc == 0 && challenge.bearer) {
            rc = authenticate_bearer(remote, &challenge, &login, err);
        } else if (rc == 0 && challenge.basic) {
            rc = authenticate_basic(remote, &login, err);
        } else if (rc == 0) {
            rc = ctr_fail(err, -EACCES,
                          "the registry wants a login in a way that ctr does not know");
        }
        login_finish(&login);
        remote->generation += rc == 0;
    }
    (void) pthread_mutex_unlock(&remote->mutex);
    return rc;
}
