/*
 * registry-env: one login from environment variables, for build machines. The profile names the host and the variables; what they hold is read
 * once, when ctrd starts, and given for that host alone.
 */
#include <ctr/registry.h>
#include <errno.h>
#include <stdlib.h>

struct env {
    char *host; /* lower case */
    uint32_t type;
    char *user, *secret; /* secret NULL: its variable was not set */
};

static const struct ctr_option options[] = {
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_STRING,
     .name = "host",
     .help = "the registry's host[:port]; Docker Hub is docker.io"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_STRING,
     .name = "user",
     .help = "name of the variable that holds the user's name"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_STRING,
     .name = "secret",
     .help = "name of the variable that holds the password or token"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_CHOICE,
     .name = "type",
     .def = "password",
     .choices = "password|identity|bearer",
     .help = "what the secret is"},
};

static void
env_close(void *self)
{
    struct env *env = self;
    if (env != NULL) {
        if (env->secret != NULL) {
            ctr_wipe(env->secret, strlen(env->secret));
        }
        free(env->secret);
        free(env->user);
        free(env->host);
        free(env);
    }
}

/* A copy in lower case; NULL: out of memory. */
static char *
env_lower(const char *text)
{
    char *copy = strdup(text);
    for (char *p = copy; p != NULL && *p != '\0'; p++) {
        *p = (char) (*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
    }
    return copy;
}

static bool
env_is_name(const char *name)
{
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    return n > 0 && name[n] == '\0' && (name[0] < '0' || name[0] > '9');
}

/* A secret written where its variable's name belongs must not get into the message. */
static int
env_check_name(const struct ctr_host *host, const char *option, struct ctr_error *err)
{
    const char *name = host->option_string(host, option);
    return name != NULL && env_is_name(name)
               ? 0
               : ctr_fail(err, -EINVAL,
                          "%s: must be the name of an environment variable, like GHCR_%s "
                          "(not what it holds)",
                          option, strcmp(option, "user") == 0 ? "USER" : "TOKEN");
}

static int
env_check_options(const struct ctr_host *host, bool password, struct ctr_error *err)
{
    const char *name = host->option_string(host, "host");
    size_t n =
        name != NULL
            ? strspn(name,
                     "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]")
            : 0;
    if (n == 0 || n > 255 || name[n] != '\0') {
        return ctr_fail(
            err, -EINVAL,
            "host: must be the registry's host[:port], like ghcr.io, without scheme "
            "and path");
    }
    int rc = env_check_name(host, "secret", err);
    return rc == 0 && password ? env_check_name(host, "user", err) : rc;
}

/* A copy of what a variable holds; NULL with 0: it is not set or empty. */
static int
env_read(const struct ctr_host *host, const char *option, char **ret, struct ctr_error *err)
{
    const char *name = host->option_string(host, option);
    const char *value = getenv(name);
    if (value == NULL || value[0] == '\0') {
        char text[400];
        (void) snprintf(
            text, sizeof text,
            "%.200s is not set in ctrd's environment: no login from it; set it, and "
            "run `ctrctl system stop`",
            name);
        host->log(host, CTR_LOG_WARN, text);
        return 0;
    }
    *ret = strdup(value);
    return *ret != NULL ? 0 : ctr_fail(err, -ENOMEM, "out of memory");
}

static int
env_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    const char *type = host->option_string(host, "type");
    bool password = strcmp(type, "password") == 0;
    int rc = env_check_options(host, password, err);
    if (rc < 0) {
        return rc;
    }
    struct env *env = calloc(1, sizeof *env);
    if (env == NULL || (env->host = env_lower(host->option_string(host, "host"))) == NULL) {
        env_close(env);
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    env->type = password                        ? CTR_CREDENTIAL_PASSWORD
                : strcmp(type, "identity") == 0 ? CTR_CREDENTIAL_IDENTITY
                                                : CTR_CREDENTIAL_BEARER;
    rc = env_read(host, "secret", &env->secret, err);
    if (rc == 0 && password) {
        rc = env_read(host, "user", &env->user, err);
    }
    if (rc < 0) {
        env_close(env);
        return rc;
    }
    *ret_self = env;
    return 0;
}

static bool
env_holds(const struct env *env)
{
    return env->secret != NULL && (env->type != CTR_CREDENTIAL_PASSWORD || env->user != NULL);
}

static int
env_get(void *self, const struct ctr_registry_query *query,
        void (*answer)(void *arg, const struct ctr_credential *credential), void *arg,
        struct ctr_error *err)
{
    const struct env *env = self;
    if (!env_holds(env) || strcmp(query->host, env->host) != 0) {
        return ctr_fail(err, -ENOENT, "no credentials for %s", query->host);
    }
    const struct ctr_credential credential = {.size = sizeof credential,
                                              .type = env->type,
                                              .user = env->user != NULL ? env->user : "",
                                              .secret = env->secret};
    answer(arg, &credential);
    return 0;
}

static int
env_list(void *self, void (*each)(void *arg, const char *host, const char *user), void *arg,
         struct ctr_error *err)
{
    const struct env *env = self;
    if (env_holds(env)) {
        each(arg, env->host, env->user != NULL ? env->user : "");
    }
    return 0;
}

static const struct ctr_registry_ops ops = {
    .size = sizeof ops, .open = env_open, .close = env_close, .get = env_get, .list = env_list};

CTR_PLUGIN(CTR_KIND_REGISTRY, "env", CTR_VERSION, "one login from environment variables",
           options, &ops);
