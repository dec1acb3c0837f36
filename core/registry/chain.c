/*
 * The registry chain of a profile: plugin instances that are asked in order who we are for a registry, and that keep what `login` is told.
 */
#include "core/registry/chain.h"

/* --- opening and closing --- */

void
chain_link_free(struct chain_link *link)
{
    if (link->opened) {
        link->ops.close(link->self);
    }
    ctr_host_destroy(link->host);
    (void) pthread_cond_destroy(&link->changed);
    (void) pthread_mutex_destroy(&link->mutex);
    free(link->name);
    free(link);
}

static struct chain_link *
link_create(const char *name)
{
    struct chain_link *link = calloc(1, sizeof *link);
    if (link == NULL || (link->name = strdup(name)) == NULL) {
        free(link);
        return NULL;
    }
    (void) pthread_mutex_init(&link->mutex, NULL);
    (void) pthread_cond_init(&link->changed, NULL);
    link->limit_ms = CHAIN_LIMIT_MS;
    return link;
}

static int
link_host(const struct ctr_conf *conf, const struct ctr_conf_instance *instance,
          struct chain_link *link, struct ctr_error *err)
{
    struct ctr_options *options = NULL;
    CTR_AUTO(free)
    char *folder = ctr_printf("%s/registry/%s", conf->engine.data, instance->name);
    if (folder == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int rc = ctr_mkdirs(folder, 0700, err);
    rc = rc < 0 ? rc
                : ctr_options_create(conf, instance, link->plugin->options,
                                     link->plugin->n_options, &options, err);
    return rc < 0 ? rc
                  : ctr_host_create(NULL, options, link->plugin->name, link->name, folder,
                                    conf->engine.run, &link->host, err);
}

static int
link_open(const struct ctr_conf *conf, const struct ctr_conf_instance *instance,
          struct chain_link *link, struct ctr_error *err)
{
    int rc =
        ctr_plugin_find(conf, CTR_KIND_REGISTRY, instance->plugin, &link->plugin, NULL, err);
    if (rc < 0) {
        return rc;
    }
    (void) ctr_plugin_registry_ops(link->plugin, &link->ops);
    rc = link_host(conf, instance, link, err);
    if (rc < 0) {
        return rc;
    }
    struct chain_call *call = chain_call_create(link, CHAIN_OPEN, NULL, NULL, NULL);
    if (call == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    rc = chain_call_run(&call, NULL, err);
    chain_call_free(call);
    return rc;
}

int
ctr_chain_open(const struct ctr_conf *conf, struct ctr_chain **ret, struct ctr_error *err)
{
    struct ctr_chain *chain = calloc(1, sizeof *chain);
    if (chain == NULL ||
        (chain->links = calloc(conf->n_instances + 1, sizeof(*chain->links))) == NULL) {
        free(chain);
        return ctr_fail(err, -ENOMEM, "registry chain: out of memory");
    }
    for (size_t i = 0; i < conf->n_instances; i++) {
        const struct ctr_conf_instance *instance = &conf->instances[i];
        if (instance->kind != CTR_KIND_REGISTRY) {
            continue;
        }
        struct chain_link *link = link_create(instance->name);
        int rc = link == NULL ? ctr_fail(err, -ENOMEM, "out of memory") : 0;
        if (rc == 0) {
            chain->links[chain->n_links++] = link;
            rc = link_open(conf, instance, link, err);
        }
        if (rc < 0) {
            ctr_chain_close(chain);
            (void) ctr_prefix(err, "registry %s", instance->name);
            return rc;
        }
    }
    *ret = chain;
    return 0;
}

void
ctr_chain_close(struct ctr_chain *chain)
{
    if (chain == NULL) {
        return;
    }
    for (size_t i = 0; i < chain->n_links; i++) {
        struct chain_link *link = chain->links[i];
        (void) pthread_mutex_lock(&link->mutex);
        bool busy = link->busy;
        link->closed = true;
        (void) pthread_mutex_unlock(&link->mutex);
        if (!busy) {
            chain_link_free(link);
        }
    }
    free(chain->links);
    free(chain);
}

/* --- asking --- */

static void
hand_over(const struct chain_call *call,
          void (*answer)(void *arg, const struct ctr_credential *credential), void *arg)
{
    const struct ctr_credential credential = {.size = sizeof credential,
                                              .type = call->answer.type,
                                              .user = secret_text(call->answer.user),
                                              .secret = secret_text(call->answer.secret),
                                              .expires = call->answer.expires};
    answer(arg, &credential);
}

/* A call without texts of its own beyond host and credential. */
static int
call_link(struct chain_link *link, enum chain_verb verb, struct ctr_transfer *transfer,
          const char *host, const struct ctr_credential *credential, struct ctr_error *err)
{
    struct chain_call *call = chain_call_create(link, verb, host, NULL, credential);
    int rc = call == NULL ? ctr_fail(err, -ENOMEM, "out of memory")
                          : chain_call_run(&call, transfer, err);
    chain_call_free(call);
    return rc;
}

int
chain_get(struct ctr_chain *chain, struct ctr_transfer *transfer,
          const struct ctr_registry_query *query,
          void (*answer)(void *arg, const struct ctr_credential *credential), void *arg,
          struct ctr_error *err)
{
    for (size_t i = 0; chain != NULL && i < chain->n_links; i++) {
        struct chain_link *link = chain->links[i];
        struct chain_call *call = chain_call_create(link, CHAIN_GET, NULL, query, NULL);
        int rc = call == NULL ? ctr_fail(err, -ENOMEM, "out of memory")
                              : chain_call_run(&call, transfer, err);
        if (rc == 0) {
            hand_over(call, answer, arg);
        }
        chain_call_free(call);
        if (rc != -ENOENT) {
            return rc == 0 ? 0
                           : ctr_prefix(err, "credentials for %s from registry %s", query->host,
                                        link->name);
        }
    }
    return ctr_fail(err, -ENOENT, "no credentials for %s", query->host);
}

static struct chain_call *
token_call(struct chain_link *link, const struct ctr_registry_query *query, const char *realm,
           const char *service, const char *scope)
{
    struct chain_call *call = chain_call_create(link, CHAIN_TOKEN, NULL, query, NULL);
    if (call == NULL) {
        return NULL;
    }
    call->realm = strdup(realm);
    call->service = strdup(service);
    call->scope = strdup(scope);
    if (call->realm == NULL || call->service == NULL || call->scope == NULL) {
        chain_call_free(call);
        return NULL;
    }
    return call;
}

int
chain_token(struct ctr_chain *chain, struct ctr_transfer *transfer,
            const struct ctr_registry_query *query, const char *realm, const char *service,
            const char *scope,
            void (*answer)(void *arg, const struct ctr_credential *credential), void *arg,
            struct ctr_error *err)
{
    for (size_t i = 0; chain != NULL && i < chain->n_links; i++) {
        struct chain_link *link = chain->links[i];
        if (link->ops.token == NULL) {
            continue;
        }
        struct chain_call *call = token_call(link, query, realm, service, scope);
        int rc = call == NULL ? ctr_fail(err, -ENOMEM, "out of memory")
                              : chain_call_run(&call, transfer, err);
        if (rc == 0 && call->answer.type != CTR_CREDENTIAL_BEARER) {
            rc = ctr_fail(err, -EPROTO, "the plugin's token is not a bearer token");
        }
        if (rc == 0) {
            hand_over(call, answer, arg);
        }
        chain_call_free(call);
        if (rc != -ENOENT) {
            return rc == 0 ? 0
                           : ctr_prefix(err, "token for %s from registry %s", query->host,
                                        link->name);
        }
    }
    return ctr_fail(err, -ENOENT, "no token service of a plugin's own for %s", query->host);
}

/* --- keeping --- */

int
chain_store(struct ctr_chain *chain, struct ctr_transfer *transfer, const char *host,
            const struct ctr_credential *credential, char *ret_instance, struct ctr_error *err)
{
    const char *fault = chain_credential_fault(credential);
    if (fault != NULL) {
        return ctr_fail(err, -EINVAL, "the credential for %s is refused: %s", host, fault);
    }
    for (size_t i = 0; chain != NULL && i < chain->n_links; i++) {
        struct chain_link *link = chain->links[i];
        if (link->ops.store == NULL) {
            continue;
        }
        int rc = call_link(link, CHAIN_STORE, transfer, host, credential, err);
        if (rc == 0 && ret_instance != NULL) {
            (void) snprintf(ret_instance, 64, "%s", link->name);
        }
        if (rc != -ENOENT) {
            return rc == 0 ? 0
                           : ctr_prefix(err, "storing the credential for %s in registry %s",
                                        host, link->name);
        }
    }
    return ctr_fail(err, -ENOENT,
                    "no plugin of the profile's registry chain keeps credentials for %s; add "
                    "\"file\" to the chain in [registry]",
                    host);
}

int
chain_erase(struct ctr_chain *chain, struct ctr_transfer *transfer, const char *host,
            struct ctr_error *err)
{
    struct ctr_error one = CTR_ERROR_INIT;
    int result = -ENOENT;
    for (size_t i = 0; chain != NULL && i < chain->n_links; i++) {
        struct chain_link *link = chain->links[i];
        if (link->ops.erase == NULL) {
            continue;
        }
        int rc = call_link(link, CHAIN_ERASE, transfer, host, NULL, &one);
        if (rc < 0 && rc != -ENOENT) {
            result = rc;
            (void) ctr_fail(err, rc, "erasing the credential for %s from registry %s: %s", host,
                            link->name, one.msg);
        } else if (rc == 0 && result == -ENOENT) {
            result = 0;
        }
    }
    return result == -ENOENT ? ctr_fail(err, -ENOENT, "no credential for %s is kept", host)
                             : result;
}

/* --- listing --- */

/* {"instance","plugin","stores","hosts","error"} */
static json_t *
list_link(struct chain_link *link, struct ctr_transfer *transfer)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json)
    json_t *row = json_pack("{s:s, s:s, s:b}", "instance", link->name, "plugin",
                            link->plugin->name, "stores", link->ops.store != NULL);
    struct chain_call *call = chain_call_create(link, CHAIN_LIST, NULL, NULL, NULL);
    int rc = call == NULL ? ctr_fail(&err, -ENOMEM, "out of memory") : 0;
    if (rc == 0 && link->ops.list != NULL) {
        rc = chain_call_run(&call, transfer, &err);
    }
    if (row == NULL ||
        (rc == 0 ? json_object_set(row, "hosts", call->hosts)
                 : json_object_set_new(row, "hosts", json_array())) < 0 ||
        (rc < 0 && json_object_set_new(row, "error", json_string(err.msg)) < 0)) {
        json_decref(row);
        row = NULL;
    }
    chain_call_free(call);
    return ctr_steal(&row);
}

/* Whether the link answers for the host; true also where it fails, which ends the chain: then the row gets its error. */
static bool
link_answers(struct chain_link *link, struct ctr_transfer *transfer, const char *host,
             json_t *row)
{
    struct ctr_error err = CTR_ERROR_INIT;
    int rc = call_link(link, CHAIN_GET, transfer, host, NULL, &err);
    (void) json_object_set_new(row, "answers", json_boolean(rc == 0));
    if (rc < 0 && rc != -ENOENT) {
        (void) json_object_set_new(row, "error", json_string(err.msg));
    }
    return rc != -ENOENT;
}

json_t *
chain_list(struct ctr_chain *chain, struct ctr_transfer *transfer, const char *host,
           struct ctr_error *err)
{
    json_t *rows = json_array();
    bool answered = host == NULL;
    for (size_t i = 0; rows != NULL && chain != NULL && i < chain->n_links; i++) {
        json_t *row = list_link(chain->links[i], transfer);
        if (row == NULL || json_array_append_new(rows, row) < 0) {
            json_decref(rows);
            rows = NULL;
        } else if (!answered) {
            answered = link_answers(chain->links[i], transfer, host, row);
        } else if (host != NULL) {
            (void) json_object_set_new(row, "answers", json_false());
        }
    }
    if (rows == NULL) {
        (void) ctr_fail(err, -ENOMEM, "registry chain: out of memory");
    }
    return rows;
}
