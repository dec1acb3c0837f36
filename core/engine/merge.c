/*
 * What a container shall be: the image's config merged with the request by Docker's rules, and checked.
 *
 * Entrypoint and command: the image's command is used only with the image's entrypoint, unless the request names both. The
 * request's environment and labels win over the image's. Everything from the image touches only the guest: texts are checked
 * for what would be ambiguous there (empty variable names, NULs are no JSON strings of ours), and the image's volumes, health
 * check and ports bring nothing to the host.
 */
#include "core/engine/engine-priv.h"

/* With less, a distribution's kernel does not reach its first process. */
#define MEMORY_MIN_MIB 96

#define ENV_MAX 4096
#define LABELS_MAX 4096
#define PATH_DEFAULT "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static bool
is_argv(const json_t *json)
{
    if (json == NULL || json_is_null(json)) {
        return true;
    }
    size_t i;
    json_t *item;
    json_array_foreach(json, i, item)
    {
        if (!json_is_string(item)) {
            return false;
        }
    }
    return json_is_array(json);
}

static size_t
count(const json_t *json)
{
    return json_is_array(json) ? json_array_size(json) : 0;
}

/* Entrypoint and command into one argument list. */
static json_t *
merge_args(const json_t *request, const json_t *config, struct ctr_error *err)
{
    const json_t *entrypoint = json_object_get(request, "entrypoint");
    const json_t *cmd = json_object_get(request, "cmd");
    const json_t *image_entrypoint = json_object_get(config, "Entrypoint");
    const json_t *image_cmd = json_object_get(config, "Cmd");
    if (!is_argv(entrypoint) || !is_argv(cmd)) {
        (void) ctr_fail(err, -EINVAL, "Entrypoint and Cmd must be lists of strings");
        return NULL;
    }
    if (!is_argv(image_entrypoint) || !is_argv(image_cmd)) {
        (void) ctr_fail(err, -EINVAL, "the image's Entrypoint or Cmd is not a list of strings");
        return NULL;
    }
    if (count(entrypoint) == 0) {
        if (count(cmd) == 0) {
            cmd = image_cmd;
        }
        if (entrypoint == NULL || json_is_null(entrypoint)) {
            entrypoint = image_entrypoint;
        }
    }
    json_t *args = json_array();
    bool cleared =
        count(entrypoint) == 1 && *json_string_value(json_array_get(entrypoint, 0)) == '\0';
    if (args != NULL && count(entrypoint) > 0 && !cleared) {
        (void) json_array_extend(args, (json_t *) entrypoint);
    }
    if (args != NULL && count(cmd) > 0) {
        (void) json_array_extend(args, (json_t *) cmd);
    }
    if (json_array_size(args) == 0 || *json_string_value(json_array_get(args, 0)) == '\0') {
        json_decref(args);
        (void) ctr_fail(err, -EINVAL,
                        "no command specified: the image has none, name one behind the image");
        return NULL;
    }
    return args;
}

static size_t
key_length(const char *variable)
{
    return strcspn(variable, "=");
}

/* Sets "K=V" in a list, or takes K out where there is no "=". */
static int
env_set(json_t *env, const char *variable)
{
    size_t length = key_length(variable), i;
    json_t *item;
    json_array_foreach(env, i, item)
    {
        const char *text = json_string_value(item);
        if (key_length(text) == length && strncmp(text, variable, length) == 0) {
            return variable[length] == '=' ? json_array_set_new(env, i, json_string(variable))
                                           : json_array_remove(env, i);
        }
    }
    return variable[length] == '=' ? json_array_append_new(env, json_string(variable)) : 0;
}

static int
env_check(const json_t *list, const char *whose, struct ctr_error *err)
{
    size_t i;
    json_t *item;
    if (!is_argv(list) || count(list) > ENV_MAX) {
        return ctr_fail(err, -EINVAL, "%s Env is not a list of at most %d strings", whose,
                        ENV_MAX);
    }
    json_array_foreach(list, i, item)
    {
        if (key_length(json_string_value(item)) == 0) {
            return ctr_fail(err, -EINVAL, "%s environment has a variable without a name: %.80s",
                            whose, json_string_value(item));
        }
    }
    return 0;
}

static json_t *
merge_env(const json_t *request, const json_t *config, struct ctr_error *err)
{
    const json_t *mine = json_object_get(request, "env");
    const json_t *image = json_object_get(config, "Env");
    if (env_check(mine, "the request's", err) < 0 || env_check(image, "the image's", err) < 0) {
        return NULL;
    }
    json_t *env = json_array();
    size_t i, k;
    json_t *item, *other;
    if (env != NULL && image != NULL) {
        json_array_foreach(image, i, item)
        {
            size_t length = key_length(json_string_value(item));
            bool mine_wins = false;
            json_array_foreach(mine, k, other)
            {
                mine_wins |=
                    key_length(json_string_value(other)) == length &&
                    strncmp(json_string_value(item), json_string_value(other), length) == 0;
            }
            if (!mine_wins && json_string_value(item)[length] == '=') {
                (void) json_array_append(env, item);
            }
        }
    }
    if (env == NULL || (count(mine) > 0 && json_array_extend(env, (json_t *) mine) < 0)) {
        json_decref(env);
        (void) ctr_fail(err, -ENOMEM, "out of memory");
        return NULL;
    }
    return env;
}

json_t *
ctr_spec_env(const json_t *spec, bool tty, const json_t *extra)
{
    json_t *env = json_array();
    CTR_AUTO(free)
    char *hostname = ctr_printf("HOSTNAME=%s", ctr_json_str(spec, "hostname", ""));
    if (env == NULL || hostname == NULL || env_set(env, PATH_DEFAULT) < 0 ||
        env_set(env, hostname) < 0 || (tty && env_set(env, "TERM=xterm") < 0)) {
        json_decref(env);
        return NULL;
    }
    const json_t *lists[] = {json_object_get(spec, "env"), extra};
    for (size_t n = 0; n < CTR_LENGTH(lists); n++) {
        size_t i;
        json_t *item;
        json_array_foreach(lists[n], i, item)
        {
            if (env_set(env, json_string_value(item)) < 0) {
                json_decref(env);
                return NULL;
            }
        }
    }
    return env;
}

/* A text of the request, else of the image, else def. */
static int
merge_text(json_t *spec, const char *key, const json_t *config, const char *image_key,
           const char *def)
{
    const char *text = ctr_json_str(spec, key, "");
    if (*text == '\0') {
        text = ctr_json_str(config, image_key, "");
    }
    json_t *value = json_string(*text == '\0' ? def : text);
    return json_object_set_new(spec, key, value);
}

static int
merge_labels(json_t *spec, const json_t *config, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *labels = json_object();
    const json_t *lists[] = {json_object_get(config, "Labels"),
                             json_object_get(spec, "labels")};
    for (size_t n = 0; n < CTR_LENGTH(lists); n++) {
        const char *key;
        json_t *value;
        if (lists[n] == NULL || json_is_null(lists[n])) {
            continue;
        }
        if (!json_is_object(lists[n]) || json_object_size(lists[n]) > LABELS_MAX) {
            return ctr_fail(err, -EINVAL, "Labels must be an object of at most %d texts",
                            LABELS_MAX);
        }
        json_object_foreach((json_t *) lists[n], key, value)
        {
            if (!json_is_string(value)) {
                return ctr_fail(err, -EINVAL, "label %.80s is not a text", key);
            }
            (void) json_object_set(labels, key, value);
        }
    }
    if (labels == NULL || json_object_set(spec, "labels", labels) < 0) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    return 0;
}

static int
check_hostname(const char *name, struct ctr_error *err)
{
    size_t length = strlen(name);
    bool good = length > 0 && length <= 63 && name[0] != '-' && name[0] != '.';
    for (const char *p = name; *p != '\0' && good; p++) {
        good = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
               (*p >= '0' && *p <= '9') || *p == '-' || *p == '.' || *p == '_';
    }
    return good ? 0
                : ctr_fail(err, -EINVAL,
                           "invalid hostname \"%.80s\": 1 to 63 letters, digits, '-', '.', '_'",
                           name);
}

/* Adds the ports of one EXPOSE, "80/tcp" or "8000-8010", but for those that are published by name. */
static int
publish_exposed(json_t *publish, const char *exposed, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *ports = ctr_publish_parse(exposed, err);
    if (ports == NULL) {
        err->code = -EINVAL;
        return ctr_prefix(err, "exposed port");
    }
    size_t i, k;
    json_t *port, *item;
    json_array_foreach(ports, i, port)
    {
        bool known = false;
        json_array_foreach(publish, k, item)
        {
            known |=
                ctr_json_int(item, "port", 0) == ctr_json_int(port, "port", 0) &&
                strcmp(ctr_json_str(item, "proto", ""), ctr_json_str(port, "proto", "")) == 0;
        }
        if (!known && json_array_append(publish, port) < 0) {
            return ctr_fail(err, -ENOMEM, "out of memory");
        }
    }
    return 0;
}

/* Ports of the image and the request's "expose" get a host port each with -P. */
static int
publish_all(json_t *spec, const json_t *config, struct ctr_error *err)
{
    if (!ctr_json_bool(spec, "publish_all", false)) {
        return 0;
    }
    CTR_AUTO(json) json_t *publish = json_deep_copy(json_object_get(spec, "publish"));
    if (!json_is_array(publish)) {
        json_decref(publish);
        publish = json_array();
    }
    size_t i;
    json_t *item;
    const char *key;
    int code = 0;
    json_array_foreach(json_object_get(spec, "expose"), i, item)
    {
        code = code < 0 ? code : publish_exposed(publish, json_string_value(item), err);
    }
    json_object_foreach(json_object_get(config, "ExposedPorts"), key, item)
    {
        code = code < 0 ? code : publish_exposed(publish, key, err);
    }
    if (code < 0) {
        return code;
    }
    return json_object_set(spec, "publish", publish) < 0
               ? ctr_fail(err, -ENOMEM, "out of memory")
               : 0;
}

static int
merge_machine(json_t *spec, const struct ctr_conf_engine *defaults, struct ctr_error *err)
{
    const int64_t mib = 1024 * 1024;
    int64_t memory = ctr_json_int(spec, "memory", 0), cpus = ctr_json_int(spec, "cpus", 0);
    if (memory == 0) {
        memory = (int64_t) defaults->memory;
    } else if (memory < MEMORY_MIN_MIB * mib) {
        return ctr_fail(
            err, -EINVAL,
            "a VM needs %d MiB of memory at least, its kernel has a part of it; ask for "
            "--memory %dm or more",
            MEMORY_MIN_MIB, MEMORY_MIN_MIB);
    }
    if (cpus == 0) {
        cpus = defaults->cpus;
    }
    if (cpus < 1 || cpus > 1024 || memory > (INT64_MAX - mib)) {
        return ctr_fail(err, -EINVAL, "memory or cpus are out of range");
    }
    memory = (memory + mib - 1) / mib * mib;
    (void) json_object_set_new(spec, "memory", json_integer(memory));
    return json_object_set_new(spec, "cpus", json_integer(cpus)) < 0
               ? ctr_fail(err, -ENOMEM, "out of memory")
               : 0;
}

/* The networks to join: "network" alone, unless there is a list, which it must be on. */
static int
merge_endpoints(json_t *spec, struct ctr_error *err)
{
    const char *network = ctr_json_str(spec, "network", "default");
    json_t *list = json_object_get(spec, "endpoints"), *endpoint;
    size_t i;
    bool named = false;
    if (json_array_size(list) == 0) {
        return json_object_set_new(spec, "endpoints",
                                   json_pack("[{s:s}]", "network", network)) < 0
                   ? ctr_fail(err, -ENOMEM, "out of memory")
                   : 0;
    }
    json_array_foreach(list, i, endpoint)
    {
        const char *name = ctr_json_str(endpoint, "network", "");
        if (*name == '\0') {
            return ctr_fail(err, -EINVAL, "an endpoint names no network");
        }
        named |= strcmp(name, network) == 0;
    }
    return named ? 0
                 : ctr_fail(err, -EINVAL,
                            "network %.64s is not among the container's endpoints", network);
}

int
ctr_spec_merge(const json_t *request, const json_t *image_config, const char *id,
               const struct ctr_conf_engine *defaults, json_t **ret_spec, json_t **ret_args,
               struct ctr_error *err)
{
    const json_t *config = json_object_get(image_config, "config");
    CTR_AUTO(json) json_t *args = merge_args(request, config, err);
    CTR_AUTO(json) json_t *env = args == NULL ? NULL : merge_env(request, config, err);
    CTR_AUTO(json) json_t *spec = env == NULL ? NULL : json_deep_copy(request);
    if (spec == NULL) {
        return err->code != 0 ? err->code : ctr_fail(err, -ENOMEM, "out of memory");
    }
    char hostname[13];
    (void) snprintf(hostname, sizeof hostname, "%.12s", id);
    if (json_object_set(spec, "env", env) < 0 ||
        merge_text(spec, "working_dir", config, "WorkingDir", "/") < 0 ||
        merge_text(spec, "user", config, "User", "") < 0 ||
        merge_text(spec, "stop_signal", config, "StopSignal", "SIGTERM") < 0 ||
        merge_text(spec, "hostname", NULL, "", hostname) < 0 ||
        merge_text(spec, "network", NULL, "", "default") < 0) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (merge_labels(spec, config, err) < 0 || publish_all(spec, config, err) < 0 ||
        merge_endpoints(spec, err) < 0 || merge_machine(spec, defaults, err) < 0 ||
        check_hostname(ctr_json_str(spec, "hostname", ""), err) < 0) {
        return err->code;
    }
    if (ctr_signal_number(ctr_json_str(spec, "stop_signal", "")) < 0) {
        return ctr_fail(err, -EINVAL, "Invalid signal: %.80s",
                        ctr_json_str(spec, "stop_signal", ""));
    }
    if (ctr_json_str(spec, "working_dir", "")[0] != '/') {
        return ctr_fail(
            err, -EINVAL,
            "the working directory '%.200s' is invalid, it needs to be an absolute path",
            ctr_json_str(spec, "working_dir", ""));
    }
    *ret_spec = ctr_steal(&spec);
    *ret_args = ctr_steal(&args);
    return 0;
}
