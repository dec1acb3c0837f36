/*
 * Registries: who answers for them, logins, and their tag lists.
 */
#include "core/api/api-priv.h"

static struct ctr_client *
client_of(const struct ctr_request *request)
{
    return ctr_images_client(ctr_engine_images(request->engine));
}

/* Docker's word for no registry in particular. */
static const char *
host_or_hub(const char *host)
{
    return *host != '\0' ? host : "docker.io";
}

int
api_ctr_registry(struct ctr_request *request, struct ctr_error *err)
{
    json_t *list = ctr_registry_list(client_of(request), api_query(request, "host"), err);
    return list == NULL ? err->code : api_json(request, 200, list);
}

/* ret_plugin NULL: the registry is asked and nothing is stored. Wipes the secret. */
static int
login(struct ctr_request *request, const char *host_key, const char *user_key,
      const char *secret_key, char *ret_plugin, struct ctr_error *err)
{
    const char *host = host_or_hub(ctr_json_str(request->body, host_key, ""));
    const char *user = ctr_json_str(request->body, user_key, "");
    const char *secret = ctr_json_str(request->body, secret_key, "");
    int rc = *user == '\0' || *secret == '\0'
                 ? ctr_fail(err, -EINVAL, "a login needs a user name and a password")
                 : ctr_registry_login(client_of(request), host, user, secret, ret_plugin, err);
    ctr_api_wipe(request->body, secret_key);
    return rc;
}

int
api_ctr_login(struct ctr_request *request, struct ctr_error *err)
{
    char plugin[64];
    return login(request, "host", "user", "secret", plugin, err) < 0
               ? err->code
               : api_json(request, 200, json_pack("{s:s}", "instance", plugin));
}

/* docker login: the client itself keeps what is good. */
int
api_auth(struct ctr_request *request, struct ctr_error *err)
{
    return login(request, "serveraddress", "username", "password", NULL, err) < 0
               ? err->code
               : api_json(
                     request, 200,
                     json_pack("{s:s,s:s}", "Status", "Login Succeeded", "IdentityToken", ""));
}

int
api_ctr_logout(struct ctr_request *request, struct ctr_error *err)
{
    return ctr_registry_logout(client_of(request), host_or_hub(api_query(request, "host")),
                               err) < 0
               ? err->code
               : api_empty(request, 204);
}

int
api_ctr_tags(struct ctr_request *request, struct ctr_error *err)
{
    struct ctr_progress progress = {.cancelled = api_is_gone, .arg = request};
    json_t *tags =
        ctr_registry_tags(client_of(request), api_query(request, "reference"), &progress, err);
    return tags == NULL ? err->code : api_json(request, 200, tags);
}
