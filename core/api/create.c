/*
 * Docker's documents for create and exec into the engine's spec; how a container is connected is in networking.c.
 *
 * What Docker has and ctr lacks is refused where it would change what the container is, and passed over where it holds the value
 * that means nothing (null, false, 0, "", [], {}, and a few named ones). Parsers of foreign bytes: no member is trusted to
 * have the right type.
 */
#include "core/api/api-priv.h"

#define CPU 1000000000ll

/* Members of HostConfig that are handled below. */
static const char *const handled[] = {
    "Annotations",
    "AutoRemove",
    "ConsoleSize",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "LogConfig",
    "Memory",
    "MemorySwap",
    "NanoCpus",
    "NetworkMode",
    "PortBindings",
    "PublishAllPorts",
    "ReadonlyRootfs",
    "RestartPolicy",
    "ShmSize",
    "Tmpfs",
    "Init",
    "MemorySwappiness",
    "IpcMode",
    "CgroupnsMode",
    "Isolation",
    "Runtime",
    "ContainerIDFile",
    "CgroupParent",
    "MemoryReservation",
    "VolumeDriver",
    "CpuShares",
    "BlkioWeight",
    NULL,
};

/* What to do instead, for those that people ask for. */
static const char *const hints[][2] = {
    {"Binds",
     "folders of the host cannot be mounted: copy files into an image, or use --tmpfs"},
    {"Mounts", "mounts are not supported: use --tmpfs for scratch space"},
    {"VolumesFrom", "volumes are not supported"},
    {"Privileged",
     "every container is root of its own VM already, and gets no more of the host"},
    {"CapAdd", "capabilities cannot be added: a container has the OCI default set"},
    {"CapDrop", "capabilities cannot be dropped: a container has the OCI default set"},
    {"Devices", "devices of the host cannot be passed into a VM"},
    {"DeviceRequests", "devices of the host cannot be passed into a VM"},
    {"PidMode", "a container shares no processes with the host or others"},
    {"UTSMode", "a container shares no host name with the host"},
    {"UsernsMode", "a container has a kernel of its own"},
    {"CpuQuota", "use --cpus"},
    {"CpusetCpus", "use --cpus"},
    {"Links", "containers of one network reach each other by name and alias without it"},
    {"Sysctls", "sysctls cannot be set"},
    {"Ulimits", "limits cannot be set"},
    {"SecurityOpt", "the default seccomp filter applies"},
};

static bool
is_nothing(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_NULL:
    case JSON_FALSE:
        return true;
    case JSON_INTEGER:
        return json_integer_value(value) == 0;
    case JSON_REAL:
        return json_real_value(value) == 0;
    case JSON_STRING:
        return json_string_length(value) == 0;
    case JSON_ARRAY:
        return json_array_size(value) == 0;
    case JSON_OBJECT:
        return json_object_size(value) == 0;
    default:
        return false;
    }
}

static int
refuse(const char *key, struct ctr_error *err)
{
    for (size_t i = 0; i < CTR_LENGTH(hints); i++) {
        if (strcmp(hints[i][0], key) == 0) {
            return ctr_fail(err, -EINVAL, "HostConfig.%s: %s", key, hints[i][1]);
        }
    }
    return ctr_fail(err, -EINVAL, "HostConfig.%.80s is not supported", key);
}

static bool
is_listed(const char *key, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (strcmp(*list, key) == 0) {
            return true;
        }
    }
    return false;
}

/* A text member that may only hold one of the harmless values. */
static int
only(const json_t *host, const char *key, const char *const *harmless, struct ctr_error *err)
{
    const json_t *value = json_object_get(host, key);
    if (value == NULL || is_nothing(value) ||
        (json_is_string(value) && is_listed(json_string_value(value), harmless))) {
        return 0;
    }
    return refuse(key, err);
}

static int
check_host(json_t *host, struct ctr_error *err)
{
    static const char *const ipc[] = {"private", "shareable", "none", NULL};
    static const char *const cgroup[] = {"private", NULL};
    static const char *const isolation[] = {"default", NULL};
    static const char *const none[] = {NULL};
    const char *key;
    json_t *value;
    json_object_foreach(host, key, value)
    {
        if (!is_listed(key, handled) && !is_nothing(value)) {
            return refuse(key, err);
        }
    }
    if (only(host, "IpcMode", ipc, err) < 0 || only(host, "CgroupnsMode", cgroup, err) < 0 ||
        only(host, "Isolation", isolation, err) < 0 || only(host, "Runtime", none, err) < 0 ||
        only(host, "VolumeDriver", none, err) < 0) {
        return err->code;
    }
    const char *restart = ctr_json_str(json_object_get(host, "RestartPolicy"), "Name", "");
    if (*restart != '\0' && strcmp(restart, "no") != 0) {
        return ctr_fail(
            err, -EINVAL,
            "HostConfig.RestartPolicy: containers are not restarted by themselves; use "
            "\"no\"");
    }
    const char *log = ctr_json_str(json_object_get(host, "LogConfig"), "Type", "");
    if (*log != '\0' && strcmp(log, "json-file") != 0 && strcmp(log, "local") != 0) {
        return ctr_fail(err, -EINVAL,
                        "HostConfig.LogConfig: there is one kind of log, leave it out");
    }
    int64_t swap = ctr_json_int(host, "MemorySwap", 0);
    if (swap > 0 && swap != ctr_json_int(host, "Memory", 0)) {
        return ctr_fail(err, -EINVAL,
                        "HostConfig.MemorySwap: a container has no swap; use -m alone");
    }
    return 0;
}

/* --- the parts --- */

/* A list of strings, or one string for a list of one. */
static int
copy_list(json_t *spec, const char *to, const json_t *from, const char *key,
          struct ctr_error *err)
{
    json_t *value = json_object_get(from, key);
    if (value == NULL || json_is_null(value)) {
        return 0;
    }
    if (json_is_string(value)) {
        return json_object_set_new(spec, to, json_pack("[O]", value));
    }
    size_t i;
    json_t *item;
    json_array_foreach(value, i, item)
    {
        if (!json_is_string(item)) {
            return ctr_fail(err, -EINVAL, "%s must be a list of strings", key);
        }
    }
    if (!json_is_array(value)) {
        return ctr_fail(err, -EINVAL, "%s must be a list of strings", key);
    }
    return json_object_set(spec, to, value);
}

static int
copy_text(json_t *spec, const char *to, const json_t *from, const char *key,
          struct ctr_error *err)
{
    json_t *value = json_object_get(from, key);
    if (value == NULL || json_is_null(value)) {
        return 0;
    }
    return json_is_string(value) ? json_object_set(spec, to, value)
                                 : ctr_fail(err, -EINVAL, "%s must be a text", key);
}

static int
copy_flag(json_t *spec, const char *to, const json_t *from, const char *key,
          struct ctr_error *err)
{
    json_t *value = json_object_get(from, key);
    if (value == NULL || json_is_null(value)) {
        return json_object_set_new(spec, to, json_false());
    }
    return json_is_boolean(value) ? json_object_set(spec, to, value)
                                  : ctr_fail(err, -EINVAL, "%s must be true or false", key);
}

static int
copy_number(json_t *spec, const char *to, const json_t *from, const char *key, int64_t min,
            int64_t max, struct ctr_error *err)
{
    const json_t *value = json_object_get(from, key);
    if (value == NULL || json_is_null(value)) {
        return 0;
    }
    int64_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < min || number > max) {
        return ctr_fail(err, -EINVAL, "%s must be a number from %lld to %lld", key,
                        (long long) min, (long long) max);
    }
    return json_object_set_new(spec, to, json_integer(number));
}

static int
parse_tmpfs(json_t *spec, json_t *host, struct ctr_error *err)
{
    json_t *list = json_array(), *options;
    const char *path;
    (void) json_object_set_new(spec, "tmpfs", list);
    json_object_foreach(json_object_get(host, "Tmpfs"), path, options)
    {
        if (path[0] != '/' || !json_is_string(options)) {
            return ctr_fail(err, -EINVAL,
                            "Tmpfs: %.200s: an absolute path with options is expected", path);
        }
        (void) json_array_append_new(list,
                                     json_pack("{s:s,s:O}", "path", path, "options", options));
    }
    return 0;
}

static int
parse_own(json_t *spec, const json_t *body, const json_t *host, struct ctr_error *err)
{
    static const char *const keys[][3] = {{"Kernel", "ctr.kernel", "kernel"},
                                          {"Storage", "ctr.storage", "storage"}};
    const json_t *own = json_object_get(body, "Ctr");
    const json_t *notes = json_object_get(host, "Annotations");
    for (size_t i = 0; i < CTR_LENGTH(keys); i++) {
        const char *text = ctr_json_str(own, keys[i][0], ctr_json_str(notes, keys[i][1], ""));
        if (*text != '\0' && json_object_set_new(spec, keys[i][2], json_string(text)) < 0) {
            return ctr_fail(err, -ENOMEM, "out of memory");
        }
    }
    return 0;
}

static int
parse_host(json_t *spec, const json_t *body, json_t *host, struct ctr_error *err)
{
    const int64_t tib = 1ll << 40;
    if (copy_number(spec, "memory", host, "Memory", 0, 64 * tib, err) < 0 ||
        copy_number(spec, "shm_size", host, "ShmSize", 0, 64 * tib, err) < 0 ||
        copy_number(spec, "cpus", host, "NanoCpus", 0, 1024 * CPU, err) < 0 ||
        copy_flag(spec, "auto_remove", host, "AutoRemove", err) < 0 ||
        copy_flag(spec, "read_only", host, "ReadonlyRootfs", err) < 0 ||
        copy_flag(spec, "publish_all", host, "PublishAllPorts", err) < 0 ||
        ctr_docker_ports_parse(spec, body, host, err) < 0 ||
        ctr_docker_names_parse(spec, host, err) < 0 || parse_tmpfs(spec, host, err) < 0 ||
        ctr_docker_networks_parse(spec, body, host, err) < 0 ||
        parse_own(spec, body, host, err) < 0) {
        return err->code;
    }
    int64_t nano = ctr_json_int(spec, "cpus", 0);
    (void) json_object_set_new(spec, "cpus", json_integer((nano + CPU - 1) / CPU));
    const json_t *size = json_object_get(host, "ConsoleSize");
    int64_t rows = json_integer_value(json_array_get(size, 0));
    int64_t cols = json_integer_value(json_array_get(size, 1));
    if (rows > 0 && rows < 65536 && cols > 0 && cols < 65536) {
        (void) json_object_set_new(spec, "rows", json_integer(rows));
        (void) json_object_set_new(spec, "cols", json_integer(cols));
    }
    return 0;
}

static int
parse_config(json_t *spec, const json_t *body, struct ctr_error *err)
{
    static const char *const texts[][2] = {{"image", "Image"},
                                           {"hostname", "Hostname"},
                                           {"user", "User"},
                                           {"working_dir", "WorkingDir"},
                                           {"stop_signal", "StopSignal"}};
    static const char *const flags[][2] = {{"tty", "Tty"},
                                           {"open_stdin", "OpenStdin"},
                                           {"stdin_once", "StdinOnce"},
                                           {"attach_stdin", "AttachStdin"},
                                           {"attach_stdout", "AttachStdout"},
                                           {"attach_stderr", "AttachStderr"}};
    static const char *const lists[][2] = {
        {"entrypoint", "Entrypoint"}, {"cmd", "Cmd"}, {"env", "Env"}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < CTR_LENGTH(texts); i++) {
        rc = copy_text(spec, texts[i][0], body, texts[i][1], err);
    }
    for (size_t i = 0; rc == 0 && i < CTR_LENGTH(flags); i++) {
        rc = copy_flag(spec, flags[i][0], body, flags[i][1], err);
    }
    for (size_t i = 0; rc == 0 && i < CTR_LENGTH(lists); i++) {
        rc = copy_list(spec, lists[i][0], body, lists[i][1], err);
    }
    rc = rc < 0 ? rc
                : copy_number(spec, "stop_timeout", body, "StopTimeout", -1, INT32_MAX, err);
    if (rc < 0) {
        return err->code != 0 ? err->code : ctr_fail(err, -ENOMEM, "out of memory");
    }
    json_t *labels = json_object_get(body, "Labels");
    if (labels != NULL && !json_is_null(labels)) {
        (void) json_object_set(spec, "labels", labels);
    }
    if (*ctr_json_str(spec, "image", "") == '\0') {
        return ctr_fail(err, -EINVAL, "Image is missing");
    }
    return 0;
}

static int
check_config(const json_t *body, struct ctr_error *err)
{
    const json_t *test = json_object_get(json_object_get(body, "Healthcheck"), "Test");
    const char *kind = json_string_value(json_array_get(test, 0));
    if (json_object_size(json_object_get(body, "Volumes")) > 0) {
        return ctr_fail(err, -EINVAL,
                        "Volumes are not supported: use --tmpfs for scratch space");
    }
    if (json_array_size(test) > 0 && (kind == NULL || strcmp(kind, "NONE") != 0)) {
        return ctr_fail(err, -EINVAL, "Healthcheck is not supported");
    }
    if (*ctr_json_str(body, "Domainname", "") != '\0') {
        return ctr_fail(err, -EINVAL, "Domainname is not supported: use a hostname with dots");
    }
    return 0;
}

int
ctr_docker_create_parse(const json_t *body, const char *platform, json_t **ret_spec,
                        struct ctr_error *err)
{
    if (!json_is_object(body)) {
        return ctr_fail(err, -EINVAL, "the request needs a JSON object as its body");
    }
    json_t *host = json_object_get(body, "HostConfig");
    if (host != NULL && !json_is_null(host) && !json_is_object(host)) {
        return ctr_fail(err, -EINVAL, "HostConfig must be an object");
    }
    CTR_AUTO(json) json_t *spec = json_object();
    if (spec == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (parse_config(spec, body, err) < 0 || check_config(body, err) < 0 ||
        check_host(host, err) < 0 || parse_host(spec, body, host, err) < 0) {
        return err->code;
    }
    if (platform != NULL && *platform != '\0' &&
        json_object_set_new(spec, "platform", json_string(platform)) < 0) {
        return ctr_fail(err, -EINVAL, "platform is not a text");
    }
    *ret_spec = ctr_steal(&spec);
    return 0;
}

int
ctr_docker_exec_parse(const json_t *body, json_t **ret_spec, struct ctr_error *err)
{
    static const char *const flags[][2] = {{"tty", "Tty"},
                                           {"in", "AttachStdin"},
                                           {"out", "AttachStdout"},
                                           {"err", "AttachStderr"}};
    if (!json_is_object(body)) {
        return ctr_fail(err, -EINVAL, "the request needs a JSON object as its body");
    }
    CTR_AUTO(json) json_t *spec = json_object();
    int rc = spec == NULL ? -ENOMEM : 0;
    for (size_t i = 0; rc == 0 && i < CTR_LENGTH(flags); i++) {
        rc = copy_flag(spec, flags[i][0], body, flags[i][1], err);
    }
    rc = rc < 0 ? rc : copy_list(spec, "args", body, "Cmd", err);
    rc = rc < 0 ? rc : copy_list(spec, "env", body, "Env", err);
    rc = rc < 0 ? rc : copy_text(spec, "user", body, "User", err);
    rc = rc < 0 ? rc : copy_text(spec, "working_dir", body, "WorkingDir", err);
    if (rc < 0) {
        return err->code != 0 ? err->code : ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (ctr_json_bool(body, "Privileged", false)) {
        return ctr_fail(err, -EINVAL, "Privileged is not supported");
    }
    *ret_spec = ctr_steal(&spec);
    return 0;
}
