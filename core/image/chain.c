/*
 * The registry chain of a profile: plugins that are asked in order who we are for a registry. Calls of one instance are kept
 * one at a time; what it answers stays inside the call.
 */
#include "core/image/image-priv.h"

struct chain_link {
    char *name;
    const struct ctr_plugin *plugin;
    struct ctr_registry_ops ops;
    struct ctr_host *host;
    void *self;
    bool opened;
    pthread_mutex_t mutex;
};

struct ctr_chain {
    struct chain_link *links;
    size_t n_links;
};

static int
chain_open_link(const struct ctr_conf *conf, const struct ctr_conf_instance *instance,
                struct chain_link *link, struct ctr_error *err)
{
    (void) pthread_mutex_init(&link->mutex, NULL);
    link->name = strdup(instance->name);
    if (link->name == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int rc =
        ctr_plugin_find(conf, CTR_KIND_REGISTRY, instance->plugin, &link->plugin, NULL, err);
    if (rc < 0) {
        return rc;
    }
    (void) ctr_plugin_registry_ops(link->plugin, &link->ops);
    CTR_AUTO(free)
    char *folder = ctr_printf("%s/registry/%s", conf->engine.data, instance->name);
    if (folder == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    rc = ctr_mkdirs(folder, 0700, err);
    struct ctr_options *options = NULL;
    if (rc == 0) {
        rc = ctr_options_create(conf, instance, link->plugin->options, link->plugin->n_options,
                                &options, err);
    }
    if (rc == 0) {
        rc = ctr_host_create(NULL, options, link->plugin->name, link->name, folder,
                             conf->engine.run, &link->host, err);
    }
    if (rc == 0) {
        rc = link->ops.open(link->host, &link->self, err);
        link->opened = rc == 0;
    }
    return rc;
}

int
ctr_chain_open(const struct ctr_conf *conf, struct ctr_chain **ret, struct ctr_error *err)
{
    struct ctr_chain *chain = calloc(1, sizeof *chain);
    if (chain == NULL ||
        (chain->links = calloc(conf->n_instances + 1, sizeof *chain->links)) == NULL) {
        free(chain);
        return ctr_fail(err, -ENOMEM, "registry chain: out of memory");
    }
    for (size_t i = 0; i < conf->n_instances; i++) {
        const struct ctr_conf_instance *instance = &conf->instances[i];
        if (instance->kind != CTR_KIND_REGISTRY) {
            continue;
        }
        int rc = chain_open_link(conf, instance, &chain->links[chain->n_links++], err);
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
        struct chain_link *link = &chain->links[i];
        if (link->opened) {
            link->ops.close(link->self);
        }
        ctr_host_destroy(link->host);
        (void) pthread_mutex_destroy(&link->mutex);
        free(link->name);
    }
    free(chain->links);
    free(chain);
}

int
chain_get(struct ctr_chain *chain, const struct ctr_registry_query *query,
          void (*answer)(void *arg, const struct ctr_credential *credential), void *arg,
          struct ctr_error *err)
{
    for (size_t i = 0; chain != NULL && i < chain->n_links; i++) {
        struct chain_link *link = &chain->links[i];
        (void) pthread_mutex_lock(&link->mutex);
        int rc = link->ops.get(link->self, query, answer, arg, err);
        (void) pthread_mutex_unlock(&link->mutex);
        if (rc == 0) {
            return 0;
        }
        if (rc != -ENOENT) {
            return ctr_prefix(err, "credentials for %s from %s", query->host, link->name);
        }
    }
    return ctr_fail(err, -ENOENT, "no credentials for %s", query->host);
}

int
chain_token(struct ctr_chain *chain, const struct ctr_registry_query *query, const char *realm,
            const char *service, const char *scope,
            void (*answer)(void *arg, const struct ctr_credential *credential), void *arg,
            struct ctr_error *err)
{
    for (size_t i = 0; chain != NULL && i < chain->n_links; i++) {
        struct chain_link *link = &chain->links[i];
        if (link->ops.token == NULL) {
            continue;
        }
        (void) pthread_mutex_lock(&link->mutex);
        int rc = link->ops.token(link->self, query, realm, service, scope, answer, arg, err);
        (void) pthread_mutex_unlock(&link->mutex);
        if (rc == 0) {
            return 0;
        }
        if (rc != -ENOENT) {
            return ctr_prefix(err, "token for %s from %s", query->host, link->name);
        }
    }
    return ctr_fail(err, -ENOENT, "no token service of a plugin's own for %s", query->host);
}
