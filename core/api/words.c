/*
 * The engine's descriptions in Docker's words. Only what is true is said: members that Docker has and ctr knows nothing of are left out.
 */
#include "core/api/api-priv.h"

static void
set(json_t *object, const char *key, json_t *take_value)
{
    (void) json_object_set_new(object, key, take_value);
}

static json_t *
text(const json_t *from, const char *key)
{
    return json_string(ctr_json_str(from, key, ""));
}

static json_t *
copy_or(const json_t *from, const char *key, json_t *take_def)
{
    json_t *value = json_object_get(from, key);
    if (value == NULL || json_is_null(value)) {
        return take_def;
    }
    json_decref(take_def);
    return json_incref(value);
}

static json_t *
number(const json_t *from, const char *key)
{
    return json_integer(ctr_json_int(from, key, 0));
}

static json_t *
flag(const json_t *from, const char *key)
{
    return json_boolean(ctr_json_bool(from, key, false));
}

static json_t *
when(const json_t *from, const char *key)
{
    char time[40];
    return json_string(ctr_format_time(ctr_json_int(from, key, 0), time));
}

static bool
is_state(const json_t *c, const char *state)
{
    return strcmp(ctr_json_str(c, "state", ""), state) == 0;
}

/* --- containers --- */

static json_t *
state_json(const json_t *c)
{
    json_t *state = json_object();
    set(state, "Status", text(c, "state"));
    set(state, "Running", json_boolean(is_state(c, "running")));
    set(state, "Paused", json_false());
    set(state, "Restarting", json_false());
    set(state, "OOMKilled", json_boolean(strcmp(ctr_json_str(c, "reason", ""), "oom") == 0));
    set(state, "Dead", json_false());
    set(state, "Pid", number(c, "pid"));
    set(state, "ExitCode", number(c, "exit_code"));
    set(state, "Error", text(c, "error"));
    set(state, "StartedAt", when(c, "started_at"));
    set(state, "FinishedAt", when(c, "finished_at"));
    return state;
}

static json_t *
host_config(const json_t *spec)
{
    json_t *host = json_object(), *tmpfs = json_object(), *mount;
    size_t i;
    json_array_foreach(json_object_get(spec, "tmpfs"), i, mount)
    {
        set(tmpfs, ctr_json_str(mount, "path", ""), text(mount, "options"));
    }
    set(host, "NetworkMode", text(spec, "network"));
    set(host, "PortBindings", docker_port_map(json_object_get(spec, "publish"), true));
    set(host, "Dns", copy_or(spec, "dns", json_array()));
    set(host, "DnsSearch", copy_or(spec, "dns_search", json_array()));
    set(host, "DnsOptions", copy_or(spec, "dns_options", json_array()));
    set(host, "ExtraHosts", copy_or(spec, "extra_hosts", json_array()));
    set(host, "AutoRemove", flag(spec, "auto_remove"));
    set(host, "ReadonlyRootfs", flag(spec, "read_only"));
    set(host, "PublishAllPorts", flag(spec, "publish_all"));
    set(host, "Memory", number(spec, "memory"));
    set(host, "NanoCpus", json_integer(ctr_json_int(spec, "cpus", 0) * 1000000000ll));
    set(host, "ShmSize", number(spec, "shm_size"));
    set(host, "Tmpfs", tmpfs);
    set(host, "RestartPolicy", json_pack("{s:s,s:i}", "Name", "no", "MaximumRetryCount", 0));
    set(host, "LogConfig", json_pack("{s:s,s:{}}", "Type", "json-file", "Config"));
    set(host, "Privileged", json_false());
    return host;
}

static json_t *
config_json(const json_t *c, const json_t *spec)
{
    json_t *config = json_object(), *exposed = json_object(), *port;
    size_t i;
    json_array_foreach(json_object_get(spec, "expose"), i, port)
    {
        set(exposed, json_string_value(port), json_object());
    }
    set(config, "Hostname", text(spec, "hostname"));
    set(config, "User", text(spec, "user"));
    set(config, "AttachStdin", flag(spec, "attach_stdin"));
    set(config, "AttachStdout", flag(spec, "attach_stdout"));
    set(config, "AttachStderr", flag(spec, "attach_stderr"));
    set(config, "ExposedPorts", exposed);
    set(config, "Tty", flag(spec, "tty"));
    set(config, "OpenStdin", flag(spec, "open_stdin"));
    set(config, "StdinOnce", flag(spec, "stdin_once"));
    set(config, "Env", copy_or(spec, "env", json_array()));
    set(config, "Cmd", copy_or(spec, "cmd", copy_or(c, "args", json_array())));
    set(config, "Entrypoint", copy_or(spec, "entrypoint", json_null()));
    set(config, "Image", text(spec, "image"));
    set(config, "WorkingDir", text(spec, "working_dir"));
    set(config, "Labels", copy_or(spec, "labels", json_object()));
    set(config, "StopSignal", text(spec, "stop_signal"));
    if (json_object_get(spec, "stop_timeout") != NULL) {
        set(config, "StopTimeout", number(spec, "stop_timeout"));
    }
    return config;
}

json_t *
docker_container(const json_t *c)
{
    const json_t *spec = json_object_get(c, "spec");
    const json_t *args = json_object_get(c, "args");
    json_t *rest = json_array(), *json = json_object();
    CTR_AUTO(free) char *name = ctr_printf("/%s", ctr_json_str(c, "name", ""));
    const char *path = json_string_value(json_array_get(args, 0));
    for (size_t i = 1; i < json_array_size(args); i++) {
        (void) json_array_append(rest, json_array_get(args, i));
    }
    set(json, "Id", text(c, "id"));
    set(json, "Created", when(c, "created_at"));
    set(json, "Path", json_string(path == NULL ? "" : path));
    set(json, "Args", rest);
    set(json, "State", state_json(c));
    set(json, "Image", text(json_object_get(c, "image"), "id"));
    set(json, "Name", json_string(name == NULL ? "" : name));
    set(json, "RestartCount", json_integer(0));
    set(json, "Driver",
        json_string(*ctr_json_str(spec, "storage", "") == '\0'
                        ? "default"
                        : ctr_json_str(spec, "storage", "")));
    set(json, "Platform", json_string("linux"));
    set(json, "HostConfig", host_config(spec));
    set(json, "Mounts", json_array());
    set(json, "Config", config_json(c, spec));
    set(json, "NetworkSettings", docker_network_settings(c));
    set(json, "Ctr",
        json_pack("{s:s,s:s,s:s,s:b,s:s,s:s}", "Reason", ctr_json_str(c, "reason", ""), "Vmm",
                  ctr_json_str(c, "vmm", ""), "Accel", ctr_json_str(c, "accel", ""), "Hardware",
                  ctr_json_bool(c, "hardware", false), "Arch", ctr_json_str(c, "arch", ""),
                  "Folder", ctr_json_str(c, "folder", "")));
    return json;
}

static void
status_text(const json_t *c, char *ret, size_t size)
{
    char duration[32];
    int64_t now = ctr_now_ns();
    if (is_state(c, "running")) {
        int64_t up = (now - ctr_json_int(c, "started_at", now)) / 1000000000;
        (void) snprintf(ret, size, "Up %s", ctr_format_duration(up < 0 ? 0 : up, duration));
    } else if (is_state(c, "exited")) {
        int64_t ago = (now - ctr_json_int(c, "finished_at", now)) / 1000000000;
        (void) snprintf(ret, size, "Exited (%d) %s ago", (int) ctr_json_int(c, "exit_code", 0),
                        ctr_format_duration(ago < 0 ? 0 : ago, duration));
    } else {
        (void) snprintf(ret, size, "Created");
    }
}

static char *
command_text(const json_t *args)
{
    struct ctr_buf buf = {0};
    size_t i;
    json_t *item;
    json_array_foreach(args, i, item)
    {
        const char *word = json_string_value(item);
        const char *quote = strchr(word, ' ') != NULL && i > 0 ? "'" : "";
        ctr_buf_printf(&buf, "%s%s%s%s", i > 0 ? " " : "", quote, word, quote);
    }
    return ctr_buf_take(&buf);
}

json_t *
docker_summary(const json_t *c)
{
    const json_t *spec = json_object_get(c, "spec");
    json_t *json = json_object();
    char status[80];
    status_text(c, status, sizeof status);
    CTR_AUTO(free) char *name = ctr_printf("/%s", ctr_json_str(c, "name", ""));
    CTR_AUTO(free) char *command = command_text(json_object_get(c, "args"));
    set(json, "Id", text(c, "id"));
    set(json, "Names", json_pack("[s]", name == NULL ? "" : name));
    set(json, "Image", text(spec, "image"));
    set(json, "ImageID", text(json_object_get(c, "image"), "id"));
    set(json, "Command", json_string(command == NULL ? "" : command));
    set(json, "Created", json_integer(ctr_json_int(c, "created_at", 0) / 1000000000));
    set(json, "Ports", docker_port_list(c));
    set(json, "Labels", copy_or(spec, "labels", json_object()));
    set(json, "State", text(c, "state"));
    set(json, "Status", json_string(status));
    set(json, "HostConfig", json_pack("{s:o}", "NetworkMode", text(spec, "network")));
    set(json, "NetworkSettings", json_pack("{s:o}", "Networks", docker_networks_of(c)));
    set(json, "Mounts", json_array());
    return json;
}

/* --- images --- */

/* "busybox" of "busybox:latest" or "host:5000/x@sha256:…", with the digest behind it. */
static json_t *
digests_of(const json_t *image)
{
    json_t *list = json_array(), *reference;
    size_t i;
    json_array_foreach(json_object_get(image, "references"), i, reference)
    {
        const char *name = json_string_value(reference);
        size_t length = strcspn(name, "@");
        for (size_t k = length; k > 0 && name[k - 1] != '/'; k--) {
            length = name[k - 1] == ':' ? k - 1 : length;
        }
        CTR_AUTO(free)
        char *full =
            ctr_printf("%.*s@%s", (int) length, name, ctr_json_str(image, "digest", ""));
        (void) json_array_append_new(list, json_string(full == NULL ? "" : full));
    }
    return list;
}

static json_t *
tags_of(const json_t *image)
{
    json_t *list = json_array(), *reference;
    size_t i;
    json_array_foreach(json_object_get(image, "references"), i, reference)
    {
        if (strchr(json_string_value(reference), '@') == NULL) {
            (void) json_array_append(list, reference);
        }
    }
    return list;
}

json_t *
docker_image_summary(const json_t *image)
{
    json_t *json = json_object();
    int64_t created = 0;
    (void) ctr_parse_time(ctr_json_str(image, "created", ""), &created);
    set(json, "Id", text(image, "id"));
    set(json, "ParentId", json_string(""));
    set(json, "RepoTags", tags_of(image));
    set(json, "RepoDigests", digests_of(image));
    set(json, "Created", json_integer(created / 1000000000));
    set(json, "Size", number(image, "size"));
    set(json, "SharedSize", json_integer(-1));
    set(json, "Labels", copy_or(json_object_get(image, "config"), "Labels", json_object()));
    set(json, "Containers", number(image, "containers"));
    return json;
}

json_t *
docker_image(const json_t *image)
{
    json_t *json = json_object();
    set(json, "Id", text(image, "id"));
    set(json, "RepoTags", tags_of(image));
    set(json, "RepoDigests", digests_of(image));
    if (*ctr_json_str(image, "created", "") != '\0') {
        set(json, "Created", text(image, "created"));
    }
    set(json, "Author", text(image, "author"));
    set(json, "Architecture", text(image, "arch"));
    set(json, "Variant", text(image, "variant"));
    set(json, "Os", text(image, "os"));
    set(json, "Size", number(image, "size"));
    set(json, "Config", copy_or(image, "config", json_object()));
    set(json, "RootFS",
        json_pack("{s:s,s:o}", "Type", "layers", "Layers",
                  copy_or(image, "layers", json_array())));
    return json;
}

/* --- the rest --- */

json_t *
docker_info(const json_t *info)
{
    const json_t *vmm = json_object_get(info, "vmm");
    const char *arch = ctr_json_str(info, "arch", "");
    json_t *json = json_object();
    set(json, "Name", text(info, "profile"));
    set(json, "Containers", number(info, "containers"));
    set(json, "ContainersRunning", number(info, "running"));
    set(json, "ContainersPaused", json_integer(0));
    set(json, "ContainersStopped",
        json_integer(ctr_json_int(info, "stopped", 0) + ctr_json_int(info, "created", 0)));
    set(json, "Images", number(info, "images"));
    set(json, "Driver", text(info, "storage"));
    set(json, "LoggingDriver", json_string("json-file"));
    set(json, "OSType", json_string("linux"));
    set(json, "OperatingSystem", json_string("ctr"));
    set(json, "Architecture",
        json_string(strcmp(arch, "amd64") == 0   ? "x86_64"
                    : strcmp(arch, "arm64") == 0 ? "aarch64"
                                                 : arch));
    set(json, "NCPU", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    set(json, "MemTotal",
        json_integer((json_int_t) sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE)));
    set(json, "DockerRootDir", text(info, "data"));
    set(json, "ServerVersion", text(info, "version"));
    set(json, "Isolation",
        json_string(ctr_json_bool(vmm, "hardware", false) ? "vm" : "emulated"));
    set(json, "Warnings", copy_or(info, "warnings", json_array()));
    char time[40];
    set(json, "SystemTime", json_string(ctr_format_time(ctr_now_ns(), time)));
    return json;
}

/* What Docker's clients show of an event: of containers name, image and exit code, of networks what core/net tells. */
static json_t *
event_attributes(const json_t *event)
{
    json_t *attributes = json_object();
    char code[16];
    (void) json_object_update(attributes, json_object_get(event, "attributes"));
    if (strcmp(ctr_json_str(event, "type", ""), "network") == 0) {
        return attributes;
    }
    (void) snprintf(code, sizeof code, "%d", (int) ctr_json_int(event, "exit_code", 0));
    set(attributes, "name", text(event, "name"));
    set(attributes, "image", text(event, "image"));
    if (strcmp(ctr_json_str(event, "action", ""), "die") == 0) {
        set(attributes, "exitCode", json_string(code));
    }
    return attributes;
}

json_t *
docker_event(const json_t *event)
{
    int64_t time = ctr_json_int(event, "time", 0);
    json_t *json = json_object();
    if (strcmp(ctr_json_str(event, "type", ""), "network") != 0) {
        set(json, "status", text(event, "action"));
        set(json, "id", text(event, "id"));
        set(json, "from", text(event, "image"));
    }
    set(json, "Type", text(event, "type"));
    set(json, "Action", text(event, "action"));
    set(json, "Actor",
        json_pack("{s:o,s:o}", "ID", text(event, "id"), "Attributes", event_attributes(event)));
    set(json, "scope", json_string("local"));
    set(json, "time", json_integer(time / 1000000000));
    set(json, "timeNano", json_integer(time));
    return json;
}
