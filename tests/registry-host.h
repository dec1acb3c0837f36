/*
 * A registry plugin of the build folder, opened with options of the core's own, for unit tests. Header only, so that each user stays one source file.
 */
#ifndef CTR_TESTS_REGISTRY_HOST_H
#define CTR_TESTS_REGISTRY_HOST_H

#include "core/plugin/plugin.h"
#include <sys/stat.h>

struct registry {
    char dir[64]; /* scratch */
    struct ctr_registry_ops ops;
    struct ctr_host *host;
    void *self;
    struct ctr_error err;
    int answers;
    char answer[20000]; /* "type user secret" of the last answer */
    struct ctr_buf listed;
};

/* options: {"name": "text"}, stolen. 0, or a negative code with its reason in err. */
static inline int
registry_open(struct registry *r, const char *plugin_name, json_t *options)
{
    const char *build = getenv("CTR_TEST_BUILD");
    const struct ctr_plugin *plugin = NULL;
    struct ctr_options *checked = NULL;
    char path[512];
    r->err = (struct ctr_error) CTR_ERROR_INIT;
    (void) snprintf(path, sizeof path, "%s/lib/ctr/plugins/registry-%s.so",
                    build != NULL ? build : "build", plugin_name);
    int rc = ctr_plugin_load(path, CTR_KIND_REGISTRY, &plugin, &r->err);
    if (rc == 0) {
        (void) ctr_plugin_registry_ops(plugin, &r->ops);
        rc = ctr_options_from_json(options, plugin->options, plugin->n_options, &checked,
                                   &r->err);
    }
    json_decref(options);
    rc = rc < 0 ? rc
                : ctr_host_create(NULL, checked, plugin_name, plugin_name, r->dir, r->dir,
                                  &r->host, &r->err);
    return rc < 0 ? rc : r->ops.open(r->host, &r->self, &r->err);
}

static inline void
registry_close(struct registry *r)
{
    if (r->self != NULL) {
        r->ops.close(r->self);
    }
    ctr_host_destroy(r->host);
    ctr_buf_clear(&r->listed);
    r->self = NULL;
    r->host = NULL;
}

/* A zeroed one with its scratch folder; NULL on failure. */
static inline struct registry *
registry_create(void)
{
    struct registry *r = calloc(1, sizeof *r);
    if (r != NULL) {
        (void) snprintf(r->dir, sizeof r->dir, "/tmp/ctr-test-registry.XXXXXX");
        if (mkdtemp(r->dir) != NULL) {
            return r;
        }
    }
    free(r);
    return NULL;
}

static inline void
registry_destroy(struct registry *r)
{
    registry_close(r);
    (void) ctr_remove_tree(r->dir, &r->err);
    free(r);
}

static inline void
registry_on_answer(void *arg, const struct ctr_credential *credential)
{
    struct registry *r = arg;
    r->answers++;
    (void) snprintf(r->answer, sizeof r->answer, "%u %s %s", credential->type, credential->user,
                    credential->secret);
}

static inline int
registry_get(struct registry *r, const char *host, const char *repository)
{
    const struct ctr_registry_query query = {
        .size = sizeof query, .host = host, .repository = repository, .actions = "pull"};
    r->answer[0] = '\0';
    r->answers = 0;
    r->err = (struct ctr_error) CTR_ERROR_INIT;
    return r->ops.get(r->self, &query, registry_on_answer, r, &r->err);
}

static inline int
registry_store(struct registry *r, const char *host, uint32_t type, const char *user,
               const char *secret)
{
    const struct ctr_credential credential = {
        .size = sizeof credential, .type = type, .user = user, .secret = secret};
    r->err = (struct ctr_error) CTR_ERROR_INIT;
    return r->ops.store(r->self, host, &credential, &r->err);
}

static inline void
registry_on_listed(void *arg, const char *host, const char *user)
{
    ctr_buf_printf(arg, "%s=%s;", host, user);
}

/* "host=user;…", borrowed; NULL: it failed. */
static inline const char *
registry_list(struct registry *r)
{
    ctr_buf_clear(&r->listed);
    ctr_buf_puts(&r->listed, "");
    r->err = (struct ctr_error) CTR_ERROR_INIT;
    int rc = r->ops.list(r->self, registry_on_listed, &r->listed, &r->err);
    return rc < 0 ? NULL : r->listed.data != NULL ? r->listed.data : "";
}

#endif
