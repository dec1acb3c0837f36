/*
 * registry-site: a site's own way to registry tokens, as one command of the site's: a script that asks a token service, a vault, a smart card. Copy this
 * folder and change the command, or put your own calls in place of site_ask().
 *
 *     COMMAND get   HOST REPOSITORY ACTIONS                        prints {"user": "…", "password": "…"}
 *     COMMAND token HOST REPOSITORY ACTIONS REALM SERVICE SCOPE    prints {"token": "…", "expires_in": SECONDS}
 *
 * {} says that there is none: the profile's next plugin is asked. A status other than 0 ends the pull with an error.
 */
#include <ctr/command.h>
#include <ctr/registry.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <time.h>

#define OUTPUT_MAX 65536

static const struct ctr_option options[] = {
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_PATH,
     .name = "command",
     .help = "absolute path of the program that is asked"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_STRING,
     .name = "hosts",
     .help = "the registries that it is asked about, HOST[:PORT], separated by spaces"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_INT,
     .name = "timeout",
     .def = "20",
     .min = 1,
     .max = 29,
     .help = "seconds after which it is killed"},
};

/* The host's options are all the state that this plugin has: the host is its `self`. */
static int
site_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    const char *command = host->option_string(host, "command");
    const char *hosts = host->option_string(host, "hosts");
    if (command == NULL || command[0] != '/' || hosts == NULL) {
        return ctr_fail(err, -EINVAL, "set command (an absolute path) and hosts");
    }
    *ret_self = (void *) (uintptr_t) host;
    return 0;
}

static void
site_close(void *self)
{
}

/* The asked host is one of the list, letter by letter. */
static bool
site_serves(const struct ctr_host *host, const char *asked)
{
    const char *at = host->option_string(host, "hosts");
    while (*(at += strspn(at, " ")) != '\0') {
        size_t n = strcspn(at, " ");
        if (n == strlen(asked) && memcmp(at, asked, n) == 0) {
            return true;
        }
        at += n;
    }
    return false;
}

/* Runs the command. Its answer, a new reference, or NULL with an error that tells nothing of what it printed. */
static json_t *
site_ask(const struct ctr_host *host, const char *const *argv, struct ctr_error *err)
{
    static const char *const names[] = {"HOME", "PATH", "USER", "XDG_RUNTIME_DIR", NULL};
    const char **envp = ctr_command_environment(names, NULL);
    const struct ctr_command command = {.size = sizeof command,
                                        .limit_ms =
                                            (uint32_t) host->option_int(host, "timeout") * 1000,
                                        .argv = argv,
                                        .envp = envp,
                                        .output_max = OUTPUT_MAX};
    struct ctr_command_result result = {0};
    int rc = ctr_command_run(&command, &result, err);
    free(envp);
    if (rc != 0) {
        return NULL;
    }
    json_t *answer = result.status == 0 ? json_loadb(result.output, result.length,
                                                     JSON_REJECT_DUPLICATES, NULL)
                                        : NULL;
    if (result.status != 0) {
        (void) ctr_fail(err, -EIO, "%s %s ended with status %d; run it by hand to see why",
                        argv[0], argv[1], (int) result.status);
    } else if (answer == NULL) {
        (void) ctr_fail(err, -EBADMSG, "%s %s printed no JSON object", argv[0], argv[1]);
    }
    ctr_command_finish(&result);
    return answer;
}

/* Hands on what the command said: its texts are borrowed, wiped, and gone with it. */
static int
site_answer(json_t *said, uint32_t type,
            void (*answer)(void *arg, const struct ctr_credential *credential), void *arg,
            struct ctr_error *err)
{
    bool token = type == CTR_CREDENTIAL_BEARER;
    const char *user = json_string_value(json_object_get(said, "user"));
    const char *secret = json_string_value(json_object_get(said, token ? "token" : "password"));
    json_int_t seconds = json_integer_value(json_object_get(said, "expires_in"));
    struct ctr_credential credential = {.size = sizeof credential,
                                        .type = type,
                                        .user = token || user == NULL ? "" : user,
                                        .secret = secret};
    if (secret == NULL || (!token && user == NULL)) {
        json_decref(said);
        return ctr_fail(err, -ENOENT, "the command has none");
    }
    if (seconds > 0 && seconds < 86400) {
        credential.expires = (uint64_t) time(NULL) + (uint64_t) seconds;
    }
    answer(arg, &credential);
    ctr_wipe((void *) (uintptr_t) secret, strlen(secret));
    json_decref(said);
    return 0;
}

static int
site_get(void *self, const struct ctr_registry_query *query,
         void (*answer)(void *arg, const struct ctr_credential *credential), void *arg,
         struct ctr_error *err)
{
    const struct ctr_host *host = self;
    const char *const argv[] = {host->option_string(host, "command"),
                                "get",
                                query->host,
                                query->repository,
                                query->actions,
                                NULL};
    if (!site_serves(host, query->host)) {
        return ctr_fail(err, -ENOENT, "%s is not one of this site's hosts", query->host);
    }
    json_t *said = site_ask(host, argv, err);
    return said != NULL ? site_answer(said, CTR_CREDENTIAL_PASSWORD, answer, arg, err)
                        : err->code;
}

/* The registry chose realm, service and scope: a command must not send the site's secrets there. */
static int
site_token(void *self, const struct ctr_registry_query *query, const char *realm,
           const char *service, const char *scope,
           void (*answer)(void *arg, const struct ctr_credential *credential), void *arg,
           struct ctr_error *err)
{
    const struct ctr_host *host = self;
    const char *const argv[] = {host->option_string(host, "command"),
                                "token",
                                query->host,
                                query->repository,
                                query->actions,
                                realm,
                                service,
                                scope,
                                NULL};
    if (!site_serves(host, query->host)) {
        return ctr_fail(err, -ENOENT, "%s is not one of this site's hosts", query->host);
    }
    json_t *said = site_ask(host, argv, err);
    return said != NULL ? site_answer(said, CTR_CREDENTIAL_BEARER, answer, arg, err)
                        : err->code;
}

static const struct ctr_registry_ops ops = {.size = sizeof ops,
                                            .open = site_open,
                                            .close = site_close,
                                            .get = site_get,
                                            .token = site_token};

CTR_PLUGIN(CTR_KIND_REGISTRY, "site", "1.0", "a site's own token service, asked by a command",
           options, &ops);
