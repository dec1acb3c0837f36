/*
 * registry-helper: credentials kept by a docker-credential-* program: a keyring, a password store, a cloud's own login.
 *
 * For each question docker's config.json and the options tell which helper serves the host; it is run once for each call, and nothing is kept.
 */
#include "helper-priv.h"
#include <ctr/command.h>
#include <errno.h>
#include <stdlib.h>

static const struct ctr_option options[] = {
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_STRING,
     .name = "helper",
     .help = "NAME of docker-credential-NAME, for all hosts without one in credHelpers"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_PATH,
     .name = "config",
     .help = "file with credHelpers and credsStore (default: docker's config.json)"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_STRING,
     .name = "path",
     .def = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin",
     .help = "folders that hold helpers, and the helper's PATH"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_STRING,
     .name = "environment",
     .def = "HOME USER LANG DBUS_SESSION_BUS_ADDRESS XDG_RUNTIME_DIR GNUPGHOME",
     .help = "variables that a helper gets"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_INT,
     .name = "timeout",
     .def = "20",
     .min = 1,
     .max = 29,
     .help = "seconds after which a helper is killed"},
};

static void
helper_close(void *self)
{
    struct helper *helper = self;
    if (helper != NULL) {
        free(helper->config);
        free(helper);
    }
}

static int
helper_check_options(const struct ctr_host *host, const char *name, const char *config,
                     struct ctr_error *err)
{
    if (name != NULL && !choose_name_is_good(name)) {
        return ctr_fail(err, -EINVAL,
                        "helper: \"%.80s\" is not the NAME of a docker-credential-NAME: "
                        "lower-case letters, digits and - . _",
                        name);
    }
    if (config != NULL && config[0] != '/') {
        return ctr_fail(err, -EINVAL, "config: %s is not an absolute path", config);
    }
    return program_check_path(host->option_string(host, "path"), err);
}

static int
helper_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    const char *name = host->option_string(host, "helper");
    const char *config = host->option_string(host, "config");
    name = name != NULL && name[0] != '\0' ? name : NULL;
    config = config != NULL && config[0] != '\0' ? config : NULL;
    int rc = helper_check_options(host, name, config, err);
    if (rc < 0) {
        return rc;
    }
    struct helper *helper = calloc(1, sizeof *helper);
    bool failed = helper == NULL;
    if (helper != NULL) {
        helper->host = host;
        helper->everywhere = name;
        helper->config_given = config != NULL;
        helper->config = config != NULL ? strdup(config) : config_docker_place(&failed);
        failed = failed || (config != NULL && helper->config == NULL);
    }
    if (failed) {
        helper_close(helper);
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    *ret_self = helper;
    return 0;
}

/* docker's own config.json may name a helper that is not on this machine, with docker gone say: then it knows nothing. */
static int
helper_missing(struct helper *helper, int rc, struct ctr_error *err)
{
    if (rc != -ENOEXEC || helper->config_given || helper->everywhere != NULL) {
        return rc;
    }
    if (!helper->warned) {
        helper->warned = true;
        char text[700];
        (void) snprintf(text, sizeof text,
                        "%.400s names a helper that is not installed; it is passed over",
                        helper->config);
        helper->host->log(helper->host, CTR_LOG_WARN, text);
    }
    return ctr_fail(err, -ENOENT, "the helper is not installed");
}

/* The host's helper, asked one thing. */
static int
helper_ask(struct helper *helper, const char *host, const char *verb, const char *input,
           struct ctr_command_result *ret, struct ctr_error *err)
{
    char name[HELPER_NAME_MAX + 1];
    if (!config_host_is_good(host)) {
        return ctr_fail(err, -EINVAL, "\"%.100s\" is not a registry's host[:port]", host);
    }
    int rc = choose_for_host(helper, host, name, err);
    return rc < 0 ? rc
                  : helper_missing(helper,
                                   program_run(helper->host, name, verb, input, ret, err), err);
}

static int
helper_get(void *self, const struct ctr_registry_query *query,
           void (*answer)(void *arg, const struct ctr_credential *credential), void *arg,
           struct ctr_error *err)
{
    struct ctr_command_result result = {0};
    struct ctr_credential credential;
    json_t *document = NULL;
    const char *server = config_docker_key(query->host);
    int rc = helper_ask(self, query->host, "get", server, &result, err);
    if (rc < 0) {
        return rc;
    }
    rc = protocol_answer(result.output, result.length, server, &document, &credential, err);
    if (rc == 0) {
        answer(arg, &credential);
        config_release(document);
    }
    ctr_command_finish(&result);
    return rc < 0 && rc != -ENOENT
               ? ctr_prefix(err, "the credential helper for %s", query->host)
               : rc;
}

static int
helper_store(void *self, const char *host, const struct ctr_credential *credential,
             struct ctr_error *err)
{
    struct ctr_command_result result = {0};
    if (credential->type == CTR_CREDENTIAL_BEARER) {
        return ctr_fail(err, -ENOENT, "helpers keep no bearer tokens");
    }
    char *input = protocol_store(config_docker_key(host), credential);
    if (input == NULL) {
        return ctr_fail(err, -EINVAL, "the credential is not UTF-8, which JSON cannot hold");
    }
    int rc = helper_ask(self, host, "store", input, &result, err);
    ctr_wipe(input, strlen(input));
    free(input);
    ctr_command_finish(&result);
    return rc;
}

/* Most helpers say nothing about erasing what they do not have, so they are asked first. */
static int
helper_erase(void *self, const char *host, struct ctr_error *err)
{
    struct ctr_command_result result = {0};
    const char *server = config_docker_key(host);
    int rc = helper_ask(self, host, "get", server, &result, err);
    ctr_command_finish(&result);
    if (rc == 0) {
        rc = helper_ask(self, host, "erase", server, &result, err);
        ctr_command_finish(&result);
    }
    return rc;
}

static int
helper_list(void *self, void (*each)(void *arg, const char *host, const char *user), void *arg,
            struct ctr_error *err)
{
    struct helper *helper = self;
    struct ctr_command_result result = {0};
    char name[HELPER_NAME_MAX + 1];
    int rc = choose_list(helper, name, each, arg, err);
    if (rc == 0) {
        rc = helper_missing(helper, program_run(helper->host, name, "list", "", &result, err),
                            err);
    }
    if (rc == 0) {
        rc = protocol_list(result.output, result.length, each, arg, err);
        rc = rc < 0 ? ctr_prefix(err, "docker-credential-%s", name) : 0;
        ctr_command_finish(&result);
    }
    return rc == -ENOENT ? 0 : rc;
}

static const struct ctr_registry_ops ops = {
    .size = sizeof ops,
    .open = helper_open,
    .close = helper_close,
    .get = helper_get,
    .store = helper_store,
    .erase = helper_erase,
    .list = helper_list,
};

CTR_PLUGIN(CTR_KIND_REGISTRY, "helper", CTR_VERSION,
           "logins kept by docker-credential-* programs", options, &ops);
