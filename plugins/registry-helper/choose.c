/*
 * Which helper serves a host: docker's credHelpers, then the option `helper`, then docker's credsStore. The file is read at each question.
 *
 * A key of credHelpers is one origin: "gcr.io" says nothing of eu.gcr.io, gcr.io.example or gcr.io:444.
 */
#include "helper-priv.h"
#include <errno.h>

bool
choose_name_is_good(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-");
    return n > 0 && n <= HELPER_NAME_MAX && name[n] == '\0' && strchr("._-", name[0]) == NULL;
}

static int
take_name(const json_t *value, const char *member, char ret[HELPER_NAME_MAX + 1],
          struct ctr_error *err)
{
    const char *name = json_string_value(value);
    if (name == NULL || !choose_name_is_good(name)) {
        return ctr_fail(err, -EINVAL,
                        "%s names the helper \"%.80s\"; a name is like \"pass\": lower-case "
                        "letters, digits and - . _",
                        member, name != NULL ? name : "(no text)");
    }
    (void) snprintf(ret, HELPER_NAME_MAX + 1, "%s", name);
    return 0;
}

/* docker's file, new reference in *ret; NULL: there is none and need not be one. */
static int
open_config(const struct helper *helper, json_t **ret, struct ctr_error *err)
{
    struct config_text text = {0};
    *ret = NULL;
    int rc = helper->config != NULL ? config_read(helper->config, &text, err) : -ENOENT;
    if (rc == -ENOENT) {
        return helper->config_given
                   ? ctr_fail(err, -EINVAL, "%s does not exist", helper->config)
                   : 0;
    }
    if (rc == 0) {
        *ret = config_parse(text.bytes, text.length, err);
        rc = *ret != NULL ? 0 : ctr_prefix(err, "%s", helper->config);
        config_text_finish(&text);
    }
    return rc;
}

static int
open_helpers(const struct helper *helper, json_t **ret_document, json_t **ret_helpers,
             struct ctr_error *err)
{
    bool bad = false;
    int rc = open_config(helper, ret_document, err);
    *ret_helpers = rc == 0 ? config_object(*ret_document, "credHelpers", &bad) : NULL;
    if (bad) {
        config_release(*ret_document);
        return ctr_fail(err, -EBADMSG,
                        "%s: \"credHelpers\" is not an object of at most %d names",
                        helper->config, CONFIG_MAX_ENTRIES);
    }
    return rc;
}

/* Whichever serves all hosts. */
static int
choose_rest(const struct helper *helper, const json_t *document, char ret[HELPER_NAME_MAX + 1],
            struct ctr_error *err)
{
    const json_t *store = json_object_get(document, "credsStore");
    if (helper->everywhere != NULL) {
        (void) snprintf(ret, HELPER_NAME_MAX + 1, "%s", helper->everywhere);
        return 0;
    }
    if (store == NULL || json_is_null(store) ||
        (json_is_string(store) && json_string_length(store) == 0)) {
        return ctr_fail(err, -ENOENT, "no credential helper is configured");
    }
    return take_name(store, "credsStore", ret, err);
}

int
choose_for_host(const struct helper *helper, const char *host, char ret[HELPER_NAME_MAX + 1],
                struct ctr_error *err)
{
    json_t *document = NULL, *helpers = NULL, *value = NULL;
    const char *key = NULL;
    int rc = open_helpers(helper, &document, &helpers, err);
    if (rc < 0) {
        return rc;
    }
    bool found = false;
    json_object_foreach(helpers, key, value)
    {
        if (!found && config_key_is_host(key, host)) {
            found = true;
            rc = json_string_length(value) == 0 && json_is_string(value)
                     ? ctr_fail(err, -ENOENT, "credHelpers names no helper for %s", host)
                     : take_name(value, "credHelpers", ret, err);
        }
    }
    if (!found) {
        rc = choose_rest(helper, document, ret, err);
    }
    config_release(document);
    return rc < 0 && rc != -ENOENT && helper->config != NULL
               ? ctr_prefix(err, "%s", helper->config)
               : rc;
}

int
choose_list(const struct helper *helper, char ret[HELPER_NAME_MAX + 1],
            void (*each)(void *arg, const char *host, const char *user), void *arg,
            struct ctr_error *err)
{
    json_t *document = NULL, *helpers = NULL, *value = NULL;
    const char *key = NULL;
    int rc = open_helpers(helper, &document, &helpers, err);
    if (rc < 0) {
        return rc;
    }
    json_object_foreach(helpers, key, value)
    {
        char host[256], path[256];
        if (json_string_length(value) > 0 && config_key_split(key, host, path)) {
            each(arg, config_host_alias(host), "");
        }
    }
    rc = choose_rest(helper, document, ret, err);
    config_release(document);
    return rc;
}
