/*
 * Logging in and out: a credential is asked about at the registry and handed to the profile's chain. Only what the registry
 * let pass is kept; where it gives an identity token in exchange, that is kept in place of the password.
 */
#include "core/image/remote.h"

/* "https://index.docker.io/v1/", "registry.example.com" … to the host that a reference would name. */
static int
login_host(const char *text, struct ctr_ref *ret, struct ctr_error *err)
{
    static const char *const hub[] = {"index.docker.io", "registry-1.docker.io", "docker.io",
                                      "registry.hub.docker.com"};
    const char *colons = strstr(text, "://");
    const char *at = colons != NULL ? colons + 3 : text;
    size_t n = strcspn(at, "/");
    static const char *const rests[] = {"", "/", "/v1", "/v1/", "/v2", "/v2/"};
    char host[256], probe[300];
    struct ctr_error ignored = CTR_ERROR_INIT;
    bool known = false;
    for (size_t i = 0; i < CTR_LENGTH(rests); i++) {
        known = known || strcmp(at + n, rests[i]) == 0;
    }
    if (n == 0 || n >= sizeof host || !known) {
        return ctr_fail(err, -EINVAL, "\"%.200s\" is no registry: write HOST or HOST:PORT",
                        text);
    }
    for (size_t i = 0; i <= n; i++) {
        host[i] = (char) (at[i] >= 'A' && at[i] <= 'Z' ? at[i] + 'a' - 'A' : at[i]);
    }
    host[n] = '\0';
    for (size_t i = 0; i < CTR_LENGTH(hub); i++) {
        if (strcmp(host, hub[i]) == 0) {
            (void) snprintf(host, sizeof host, "docker.io");
        }
    }
    (void) snprintf(probe, sizeof probe, "%s/x/y", host);
    if (ctr_ref_parse(probe, ret, &ignored) < 0 || strcmp(ret->host, host) != 0) {
        return ctr_fail(err, -EINVAL, "\"%.200s\" is no registry: write HOST or HOST:PORT",
                        text);
    }
    ret->repository[0] = '\0';
    return 0;
}

/* GET /v2/, with its challenge answered. */
static int
login_ask(struct remote *remote, struct ctr_error *err)
{
    struct endpoint *home = remote_home(remote);
    struct http_call call = {.url = home->root,
                             .max = IMAGE_MAX_BODY,
                             .total_s = remote->op->images->limits.total_s};
    struct http_response response = {0};
    int rc = remote_ask(home, &call, &response, err);
    if (rc == 0 && (response.status == 401 || response.status == 403)) {
        rc = ctr_fail(err, -EACCES, "the registry refuses this user name or password (%ld)",
                      response.status);
    } else if (rc == 0 && response.status == 404) {
        rc = ctr_fail(err, -ENOENT,
                      "no registry answers there (404 for /v2/); check the address");
    } else if (rc == 0 && response.status != 200) {
        rc = remote_fail(home, &response, "a login", err);
    }
    http_response_clear(&response);
    return rc == -EACCES && remote->credential->type == CTR_CREDENTIAL_PASSWORD
               ? ctr_fail(err, -EACCES, "the registry refuses this user name or password")
               : rc;
}

static int
login_store(struct remote *remote, char *ret_plugin, struct ctr_error *err)
{
    struct endpoint *home = remote_home(remote);
    struct ctr_images *images = remote->op->images;
    struct ctr_credential credential = *remote->credential;
    if (home->identity != NULL) {
        credential.type = CTR_CREDENTIAL_IDENTITY;
        credential.user = "";
        credential.secret = secret_text(home->identity);
    }
    int rc = chain_store(images->chain, remote->op, home->host, &credential, ret_plugin, err);
    if (rc == -ENOENT) {
        return ctr_fail(
            err, rc,
            "the login is good, but no plugin of the profile's registry chain keeps "
            "logins; add one, as chain = file in [registry]");
    }
    token_cache_forget(images, home->root);
    return rc;
}

static int
login_run(struct image_op *op, const struct ctr_ref *ref,
          const struct ctr_credential *credential, char *ret_plugin, struct ctr_error *err)
{
    struct remote remote;
    struct remote_wish wish = {.credential = credential, .offline = true};
    int rc = op_watch(op, err);
    rc = rc < 0 ? rc : remote_init(&remote, op, ref, &wish, err);
    if (rc < 0) {
        return rc;
    }
    rc = login_ask(&remote, err);
    if (rc == 0 && ret_plugin != NULL) {
        rc = login_store(&remote, ret_plugin, err);
    }
    remote_finish(&remote);
    return rc;
}

int
ctr_registry_login(struct ctr_images *images, const char *host, const char *user,
                   const char *secret, char *ret_plugin, struct ctr_error *err)
{
    struct ctr_error inner = CTR_ERROR_INIT;
    struct ctr_ref ref;
    struct image_op op;
    bool identity = user == NULL || user[0] == '\0' || strcmp(user, "<token>") == 0;
    struct ctr_credential credential = {.size = sizeof credential,
                                        .type = identity ? CTR_CREDENTIAL_IDENTITY
                                                         : CTR_CREDENTIAL_PASSWORD,
                                        .user = identity ? "" : user,
                                        .secret = secret};
    int rc = login_host(host, &ref, &inner);
    rc = rc < 0 ? rc : op_init(&op, images, NULL, &inner);
    if (rc == 0) {
        rc = login_run(&op, &ref, &credential, ret_plugin, &inner);
        op_finish(&op);
    }
    return rc < 0 ? ctr_fail(err, rc, "login at %.200s: %s", host, inner.msg) : 0;
}

int
ctr_registry_logout(struct ctr_images *images, const char *host, struct ctr_error *err)
{
    struct ctr_error inner = CTR_ERROR_INIT;
    struct ctr_ref ref;
    struct image_op op;
    struct remote remote;
    int rc = login_host(host, &ref, &inner);
    rc = rc < 0 ? rc : op_init(&op, images, NULL, &inner);
    if (rc == 0) {
        rc = remote_init(&remote, &op, &ref, NULL, &inner);
        if (rc == 0) {
            token_cache_forget(images, remote_home(&remote)->root);
            rc = chain_erase(images->chain, &op, ref.host, &inner);
            remote_finish(&remote);
        }
        op_finish(&op);
    }
    if (rc == -ENOENT) {
        return ctr_fail(err, rc, "logout at %.200s: no plugin keeps a login for it", host);
    }
    return rc < 0 ? ctr_fail(err, rc, "logout at %.200s: %s", host, inner.msg) : 0;
}

json_t *
ctr_registry_list(struct ctr_images *images, const char *host, struct ctr_error *err)
{
    struct ctr_ref ref;
    struct image_op op;
    bool one = host != NULL && host[0] != '\0';
    if ((one && login_host(host, &ref, err) < 0) || op_init(&op, images, NULL, err) < 0) {
        return NULL;
    }
    json_t *rows = chain_list(images->chain, &op, one ? ref.host : NULL, err);
    op_finish(&op);
    return rows;
}
