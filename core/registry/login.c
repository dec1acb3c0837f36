/*
 * Logging in and out: a credential is asked about at the registry and handed to the profile's chain. Only what the registry
 * let pass is kept; where it gives an identity token in exchange, that is kept in place of the password.
 */
#include "core/registry/registry-priv.h"

/* GET /v2/, with its challenge answered. */
static int
login_ask(struct ctr_remote *remote, struct ctr_error *err)
{
    struct ctr_endpoint *home = ctr_remote_home(remote);
    struct ctr_http_call call = {.url = home->root,
                                 .max = CTR_MAX_ANSWER,
                                 .total_s = remote->transfer->client->limits.total_s};
    struct ctr_http_response response = {0};
    int rc = ctr_remote_ask(home, &call, &response, err);
    if (rc == 0 && (response.status == 401 || response.status == 403)) {
        rc = ctr_fail(err, -EACCES, "the registry refuses this user name or password (%ld)",
                      response.status);
    } else if (rc == 0 && response.status == 404) {
        rc = ctr_fail(err, -ENOENT,
                      "no registry answers there (404 for /v2/); check the address");
    } else if (rc == 0 && response.status != 200) {
        rc = ctr_remote_fail(home, &response, "a login", err);
    }
    ctr_http_response_clear(&response);
    return rc == -EACCES && remote->credential->type == CTR_CREDENTIAL_PASSWORD
               ? ctr_fail(err, -EACCES, "the registry refuses this user name or password")
               : rc;
}

static int
login_store(struct ctr_remote *remote, char *ret_plugin, struct ctr_error *err)
{
    struct ctr_endpoint *home = ctr_remote_home(remote);
    struct ctr_client *client = remote->transfer->client;
    struct ctr_credential credential = *remote->credential;
    if (home->identity != NULL) {
        credential.type = CTR_CREDENTIAL_IDENTITY;
        credential.user = "";
        credential.secret = secret_text(home->identity);
    }
    int rc =
        chain_store(client->chain, remote->transfer, home->host, &credential, ret_plugin, err);
    if (rc == -ENOENT) {
        return ctr_fail(
            err, rc,
            "the login is good, but no plugin of the profile's registry chain keeps "
            "logins; add one, as chain = file in [registry]");
    }
    token_cache_forget(client, home->root);
    return rc;
}

static int
login_run(struct ctr_transfer *transfer, const struct ctr_ref *ref,
          const struct ctr_credential *credential, char *ret_plugin, struct ctr_error *err)
{
    struct ctr_remote remote;
    struct ctr_remote_wish wish = {.credential = credential, .offline = true};
    int rc = ctr_transfer_watch(transfer, err);
    rc = rc < 0 ? rc : ctr_remote_init(&remote, transfer, ref, &wish, err);
    if (rc < 0) {
        return rc;
    }
    rc = login_ask(&remote, err);
    if (rc == 0 && ret_plugin != NULL) {
        rc = login_store(&remote, ret_plugin, err);
    }
    ctr_remote_finish(&remote);
    return rc;
}

int
ctr_registry_login(struct ctr_client *client, const char *host, const char *user,
                   const char *secret, char *ret_plugin, struct ctr_error *err)
{
    struct ctr_error inner = CTR_ERROR_INIT;
    struct ctr_ref ref = {.host = ""};
    struct ctr_transfer transfer;
    bool identity = user == NULL || user[0] == '\0' || strcmp(user, "<token>") == 0;
    struct ctr_credential credential = {.size = sizeof credential,
                                        .type = identity ? CTR_CREDENTIAL_IDENTITY
                                                         : CTR_CREDENTIAL_PASSWORD,
                                        .user = identity ? "" : user,
                                        .secret = secret};
    int rc = ctr_registry_host(host, ref.host, err);
    if (rc < 0) {
        return rc;
    }
    ctr_transfer_init(&transfer, client, NULL);
    rc = login_run(&transfer, &ref, &credential, ret_plugin, &inner);
    ctr_transfer_finish(&transfer);
    return rc < 0 ? ctr_fail(err, rc, "login at %s: %s", ref.host, inner.msg) : 0;
}

int
ctr_registry_logout(struct ctr_client *client, const char *host, struct ctr_error *err)
{
    struct ctr_error inner = CTR_ERROR_INIT;
    struct ctr_ref ref = {.host = ""};
    struct ctr_transfer transfer;
    struct ctr_remote remote;
    int rc = ctr_registry_host(host, ref.host, err);
    if (rc < 0) {
        return rc;
    }
    ctr_transfer_init(&transfer, client, NULL);
    rc = ctr_remote_init(&remote, &transfer, &ref, NULL, &inner);
    if (rc == 0) {
        token_cache_forget(client, ctr_remote_home(&remote)->root);
        rc = chain_erase(client->chain, &transfer, ref.host, &inner);
        ctr_remote_finish(&remote);
    }
    ctr_transfer_finish(&transfer);
    if (rc == -ENOENT) {
        return ctr_fail(err, rc, "logout at %s: no plugin keeps a login for it", ref.host);
    }
    return rc < 0 ? ctr_fail(err, rc, "logout at %s: %s", ref.host, inner.msg) : 0;
}

json_t *
ctr_registry_list(struct ctr_client *client, const char *host, struct ctr_error *err)
{
    char known[256];
    struct ctr_transfer transfer;
    bool one = host != NULL && host[0] != '\0';
    if (one && ctr_registry_host(host, known, err) < 0) {
        return NULL;
    }
    ctr_transfer_init(&transfer, client, NULL);
    json_t *rows = chain_list(client->chain, &transfer, one ? known : NULL, err);
    ctr_transfer_finish(&transfer);
    return rows;
}
