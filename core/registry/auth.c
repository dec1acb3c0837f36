/*
 * Who we are for a registry: Basic, Bearer, or a token of a plugin's own. Credentials come from the caller for this one
 * operation, or else from the profile's chain, and are asked for only when a registry wants them.
 */
#include "core/registry/registry-priv.h"

/* --- credentials --- */

static void
login_take(void *arg, const struct ctr_credential *credential)
{
    struct login *login = arg;
    login->type = credential->type;
    login->expires = credential->expires;
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

bool
is_token_text(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (*p <= 0x20 || *p >= 0x7f) {
            return false;
        }
    }
    return text[0] != '\0';
}

static struct ctr_registry_query
login_query(const struct ctr_endpoint *endpoint)
{
    return (struct ctr_registry_query){.size = sizeof(struct ctr_registry_query),
                                       .host = endpoint->host,
                                       .repository = endpoint->repository,
                                       .actions =
                                           endpoint->remote->push ? "pull,push" : "pull"};
}

static int
login_ask(struct ctr_endpoint *endpoint, struct login *login, struct ctr_error *err)
{
    const struct ctr_remote *remote = endpoint->remote;
    int rc = 0;
    if (remote->credential != NULL && !endpoint->mirror) {
        login_take(login, remote->credential);
    } else {
        struct ctr_registry_query query = login_query(endpoint);
        rc = chain_get(remote->transfer->client->chain, remote->transfer, &query, login_take,
                       login, err);
    }
    if (rc == -ENOENT) {
        login->type = 0;
        return 0;
    }
    return rc == 0 && login->failed ? ctr_fail(err, -ENOMEM, "out of memory") : rc;
}

/* --- the ways --- */

static int
authenticate_ready(struct ctr_endpoint *endpoint, const struct login *login,
                   struct ctr_error *err)
{
    struct secret *secret = is_token_text(secret_text(login->secret))
                                ? secret_join("Bearer ", secret_text(login->secret))
                                : NULL;
    if (secret == NULL) {
        return ctr_fail(err, -EINVAL,
                        "the bearer token for %s has characters that no header takes",
                        endpoint->host);
    }
    int64_t left = login->expires > 0 ? (int64_t) login->expires - time(NULL) : 0;
    token_use(endpoint, secret, left > 3600 ? 3600 : left);
    return 0;
}

/* Ours, and what the registry asks for beyond it; caller frees. */
static char *
authenticate_scopes(const struct ctr_endpoint *endpoint, const struct challenge *challenge)
{
    CTR_AUTO(buf) struct ctr_buf scopes = {0};
    CTR_AUTO(free) char *copy = strdup(challenge->scope);
    char *rest = NULL;
    ctr_buf_printf(&scopes, "%s", endpoint->scopes);
    for (char *scope = copy != NULL ? strtok_r(copy, " ", &rest) : NULL; scope != NULL;
         scope = strtok_r(NULL, " ", &rest)) {
        if (!scopes.failed && strstr(scopes.data, scope) == NULL) {
            ctr_buf_printf(&scopes, "%s%s", scopes.length > 0 ? " " : "", scope);
        }
    }
    return copy != NULL && !scopes.failed ? ctr_buf_take(&scopes) : NULL;
}

/* A plugin's own token service; -ENOENT: none. */
static int
authenticate_plugin(struct ctr_endpoint *endpoint, const struct challenge *challenge,
                    const char *scopes, struct ctr_error *err)
{
    struct ctr_registry_query query = login_query(endpoint);
    struct login own = {0};
    if (endpoint->remote->credential != NULL) {
        return -ENOENT;
    }
    int rc = chain_token(endpoint->remote->transfer->client->chain, endpoint->remote->transfer,
                         &query, challenge->realm, challenge->service, scopes, login_take, &own,
                         err);
    if (rc == 0) {
        rc = own.type == CTR_CREDENTIAL_BEARER && !own.failed
                 ? authenticate_ready(endpoint, &own, err)
                 : -ENOENT;
    }
    login_finish(&own);
    return rc;
}

static int
authenticate_bearer(struct ctr_endpoint *endpoint, const struct challenge *challenge,
                    const struct login *login, struct ctr_error *err)
{
    if (login->type == CTR_CREDENTIAL_BEARER) {
        return authenticate_ready(endpoint, login, err);
    }
    CTR_AUTO(free) char *scopes = authenticate_scopes(endpoint, challenge);
    if (scopes == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int rc = authenticate_plugin(endpoint, challenge, scopes, err);
    if (rc != -ENOENT) {
        return rc;
    }
    rc = token_get(endpoint, challenge, scopes, login, err);
    char *more = strchr(scopes, ' ');
    if (rc == -EACCES && more != NULL) {
        /* What goes beyond the repository (where a blob may be mounted from) can be done without. */
        *more = '\0';
        rc = token_get(endpoint, challenge, scopes, login, err);
    }
    return rc;
}

static int
authenticate_basic(struct ctr_endpoint *endpoint, const struct login *login,
                   struct ctr_error *err)
{
    if (login->type != CTR_CREDENTIAL_PASSWORD) {
        return ctr_fail(err, -EACCES,
                        "the registry wants a login and there is none for %s; log in with "
                        "ctrctl login %s",
                        endpoint->host, endpoint->host);
    }
    struct secret *secret = secret_basic(secret_text(login->user), secret_text(login->secret));
    if (secret == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    token_use(endpoint, secret, 300);
    return 0;
}

int
remote_authenticate(struct ctr_endpoint *endpoint, unsigned seen, const char *challenges,
                    struct ctr_error *err)
{
    (void) pthread_mutex_lock(&endpoint->mutex);
    int rc = 0;
    if (endpoint->generation == seen) {
        struct challenge challenge;
        struct login login = {0};
        challenge_parse(challenges, &challenge);
        rc = login_ask(endpoint, &login, err);
        if (rc == 0 && challenge.bearer) {
            rc = authenticate_bearer(endpoint, &challenge, &login, err);
        } else if (rc == 0 && challenge.basic) {
            rc = authenticate_basic(endpoint, &login, err);
        } else if (rc == 0) {
            rc = ctr_fail(err, -EACCES,
                          "the registry wants a login in a way that ctr does not know");
        }
        login_finish(&login);
        endpoint->generation += rc == 0;
    }
    (void) pthread_mutex_unlock(&endpoint->mutex);
    return rc;
}
