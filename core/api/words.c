/*
 * The engine's descriptions in Docker's words. Only what is true is said: members that Docker has and ctr knows nothing of are left out.
 */
#include "core/api/api-priv.h"

void
docker_set(json_t *object, const char *key, json_t *take_value)
{
    (void) json_object_set_new(object, key, take_value);
}

json_t *
docker_text(const json_t *from, const char *key)
{
    return json_string(ctr_json_str(from, key, ""));
}

json_t *
docker_copy(const json_t *from, const char *key, json_t *take_def)
{
    json_t *value = json_object_get(from, key);
    if (value == NULL || json_is_null(value)) {
        return take_def;
    }
    json_decref(take_def);
    return json_incref(value);
}

json_t *
docker_number(const json_t *from, const char *key)
{
    return json_integer(ctr_json_int(from, key, 0));
}

json_t *
docker_flag(const json_t *from, const char *key)
{
    return json_boolean(ctr_json_bool(from, key, false));
}

json_t *
docker_time(const json_t *from, const char *key)
{
    char time[40];
    return json_string(ctr_format_time(ctr_json_int(from, key, 0), time));
}

bool
docker_is_state(const json_t *container, const char *state)
{
    return strcmp(ctr_json_str(container, "state", ""), state) == 0;
}

/* --- containers --- */

static json_t *
state_json(const json_t *c)
{
    json_t *state = json_object();
    docker_set(state, "Status", docker_text(c, "state"));
    docker_set(state, "Running", json_boolean(docker_is_state(c, "running")));
    docker_set(state, "Paused", json_false());
    docker_set(state, "Restarting", json_false());
    docker_set(state, "OOMKilled",
               json_boolean(strcmp(ctr_json_str(c, "reason", ""), "oom") == 0));
    docker_set(state, "Dead", json_false());
    docker_set(state, "Pid", docker_number(c, "pid"));
    docker_set(state, "ExitCode", docker_number(c, "exit_code"));
    docker_set(state, "Error", docker_text(c, "error"));
    docker_set(state, "StartedAt", docker_time(c, "started_at"));
    docker_set(state, "FinishedAt", docker_time(c, "finished_at"));
    return state;
}

static json_t *
host_config(const json_t *spec)
{
    json_t *host = json_object(), *tmpfs = json_object(), *mount;
    size_t i;
    json_array_foreach(json_object_get(spec, "tmpfs"), i, mount)
    {
        docker_set(tmpfs, ctr_json_str(mount, "path", ""), docker_text(mount, "options"));
    }
    docker_set(host, "NetworkMode", docker_text(spec, "network"));
    docker_set(host, "PortBindings", docker_port_map(json_object_get(spec, "publish"), true));
    docker_set(host, "Dns", docker_copy(spec, "dns", json_array()));
    docker_set(host, "DnsSearch", docker_copy(spec, "dns_search", json_array()));
    docker_set(host, "DnsOptions", docker_copy(spec, "dns_options", json_array()));
    docker_set(host, "ExtraHosts", docker_copy(spec, "extra_hosts", json_array()));
    docker_set(host, "AutoRemove", docker_flag(spec, "auto_remove"));
    docker_set(host, "ReadonlyRootfs", docker_flag(spec, "read_only"));
    docker_set(host, "PublishAllPorts", docker_flag(spec, "publish_all"));
    docker_set(host, "Memory", docker_number(spec, "memory"));
    docker_set(host, "NanoCpus", json_integer(ctr_json_int(spec, "cpus", 0) * 1000000000ll));
    docker_set(host, "ShmSize", docker_number(spec, "shm_size"));
    docker_set(host, "Tmpfs", tmpfs);
    docker_set(host, "RestartPolicy",
               json_pack("{s:s,s:i}", "Name", "no", "MaximumRetryCount", 0));
    docker_set(host, "LogConfig", json_pack("{s:s,s:{}}", "Type", "json-file", "Config"));
    docker_set(host, "Privileged", json_false());
    return host;
}

static json_t *
config_json(const json_t *c, const json_t *spec)
{
    json_t *config = json_object(), *exposed = json_object(), *port;
    size_t i;
    json_array_foreach(json_object_get(spec, "expose"), i, port)
    {
        docker_set(exposed, json_string_value(port), json_object());
    }
    docker_set(config, "Hostname", docker_text(spec, "hostname"));
    docker_set(config, "User", docker_text(spec, "user"));
    docker_set(config, "AttachStdin", docker_flag(spec, "attach_stdin"));
    docker_set(config, "AttachStdout", docker_flag(spec, "attach_stdout"));
    docker_set(config, "AttachStderr", docker_flag(spec, "attach_stderr"));
    docker_set(config, "ExposedPorts", exposed);
    docker_set(config, "Tty", docker_flag(spec, "tty"));
    docker_set(config, "OpenStdin", docker_flag(spec, "open_stdin"));
    docker_set(config, "StdinOnce", docker_flag(spec, "stdin_once"));
    docker_set(config, "Env", docker_copy(spec, "env", json_array()));
    docker_set(config, "Cmd", docker_copy(spec, "cmd", docker_copy(c, "args", json_array())));
    docker_set(config, "Entrypoint", docker_copy(spec, "entrypoint", json_null()));
    docker_set(config, "Image", docker_text(spec, "image"));
    docker_set(config, "WorkingDir", docker_text(spec, "working_dir"));
    docker_set(config, "Labels", docker_copy(spec, "labels", json_object()));
    docker_set(config, "StopSignal", docker_text(spec, "stop_signal"));
    if (json_object_get(spec, "stop_timeout") != NULL) {
        docker_set(config, "StopTimeout", docker_number(spec, "stop_timeout"));
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
    docker_set(json, "Id", docker_text(c, "id"));
    docker_set(json, "Created", docker_time(c, "created_at"));
    docker_set(json, "Path", json_string(path == NULL ? "" : path));
    docker_set(json, "Args", rest);
    docker_set(json, "State", state_json(c));
    docker_set(json, "Image", docker_text(json_object_get(c, "image"), "id"));
    docker_set(json, "Name", json_string(name == NULL ? "" : name));
    docker_set(json, "RestartCount", json_integer(0));
    docker_set(json, "Driver",
               json_string(*ctr_json_str(spec, "storage", "") == '\0'
                               ? "default"
                               : ctr_json_str(spec, "storage", "")));
    docker_set(json, "Platform", json_string("linux"));
    docker_set(json, "HostConfig", host_config(spec));
    docker_set(json, "Mounts", json_array());
    docker_set(json, "Config", config_json(c, spec));
    docker_set(json, "NetworkSettings", docker_network_settings(c));
    docker_set(json, "Ctr",
               json_pack("{s:s,s:s,s:s,s:b,s:s,s:s}", "Reason", ctr_json_str(c, "reason", ""),
                         "Vmm", ctr_json_str(c, "vmm", ""), "Accel",
                         ctr_json_str(c, "accel", ""), "Hardware",
                         ctr_json_bool(c, "hardware", false), "Arch",
                         ctr_json_str(c, "arch", ""), "Folder", ctr_json_str(c, "folder", "")));
    return json;
}

static void
status_text(const json_t *c, char *ret, size_t size)
{
    char duration[32];
    int64_t now = ctr_now_ns();
    if (docker_is_state(c, "running")) {
        int64_t up = (now - ctr_json_int(c, "started_at", now)) / 1000000000;
        (void) snprintf(ret, size, "Up %s", ctr_format_duration(up < 0 ? 0 : up, duration));
    } else if (docker_is_state(c, "exited")) {
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
    docker_set(json, "Id", docker_text(c, "id"));
    docker_set(json, "Names", json_pack("[s]", name == NULL ? "" : name));
    docker_set(json, "Image", docker_text(spec, "image"));
    docker_set(json, "ImageID", docker_text(json_object_get(c, "image"), "id"));
    docker_set(json, "Command", json_string(command == NULL ? "" : command));
    docker_set(json, "Created", json_integer(ctr_json_int(c, "created_at", 0) / 1000000000));
    docker_set(json, "Ports", docker_port_list(c));
    docker_set(json, "Labels", docker_copy(spec, "labels", json_object()));
    docker_set(json, "State", docker_text(c, "state"));
    docker_set(json, "Status", json_string(status));
    docker_set(json, "HostConfig",
               json_pack("{s:o}", "NetworkMode", docker_text(spec, "network")));
    docker_set(json, "NetworkSettings", json_pack("{s:o}", "Networks", docker_networks_of(c)));
    docker_set(json, "Mounts", json_array());
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
    docker_set(json, "Id", docker_text(image, "id"));
    docker_set(json, "ParentId", json_string(""));
    docker_set(json, "RepoTags", tags_of(image));
    docker_set(json, "RepoDigests", digests_of(image));
    docker_set(json, "Created", json_integer(created / 1000000000));
    docker_set(json, "Size", docker_number(image, "size"));
    docker_set(json, "SharedSize", json_integer(-1));
    docker_set(json, "Labels",
               docker_copy(json_object_get(image, "config"), "Labels", json_object()));
    docker_set(json, "Containers", docker_number(image, "containers"));
    return json;
}

json_t *
docker_image(const json_t *image)
{
    json_t *json = json_object();
    docker_set(json, "Id", docker_text(image, "id"));
    docker_set(json, "RepoTags", tags_of(image));
    docker_set(json, "RepoDigests", digests_of(image));
    if (*ctr_json_str(image, "created", "") != '\0') {
        docker_set(json, "Created", docker_text(image, "created"));
    }
    docker_set(json, "Author", docker_text(image, "author"));
    docker_set(json, "Architecture", docker_text(image, "arch"));
    docker_set(json, "Variant", docker_text(image, "variant"));
    docker_set(json, "Os", docker_text(image, "os"));
    docker_set(json, "Size", docker_number(image, "size"));
    docker_set(json, "Config", docker_copy(image, "config", json_object()));
    docker_set(json, "RootFS",
               json_pack("{s:s,s:o}", "Type", "layers", "Layers",
                         docker_copy(image, "layers", json_array())));
    return json;
}

/* --- the rest --- */

json_t *
docker_info(const json_t *info)
{
    const json_t *vmm = json_object_get(info, "vmm");
    const char *arch = ctr_json_str(info, "arch", "");
    json_t *json = json_object();
    docker_set(json, "Name", docker_text(info, "profile"));
    docker_set(json, "Containers", docker_number(info, "containers"));
    docker_set(json, "ContainersRunning", docker_number(info, "running"));
    docker_set(json, "ContainersPaused", json_integer(0));
    docker_set(
        json, "ContainersStopped",
        json_integer(ctr_json_int(info, "stopped", 0) + ctr_json_int(info, "created", 0)));
    docker_set(json, "Images", docker_number(info, "images"));
    docker_set(json, "Driver", docker_text(info, "storage"));
    docker_set(json, "LoggingDriver", json_string("json-file"));
    docker_set(json, "OSType", json_string("linux"));
    docker_set(json, "OperatingSystem", json_string("ctr"));
    docker_set(json, "Architecture",
               json_string(strcmp(arch, "amd64") == 0   ? "x86_64"
                           : strcmp(arch, "arm64") == 0 ? "aarch64"
                                                        : arch));
    docker_set(json, "NCPU", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    docker_set(json, "MemTotal",
               json_integer((json_int_t) sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE)));
    docker_set(json, "DockerRootDir", docker_text(info, "data"));
    docker_set(json, "ServerVersion", docker_text(info, "version"));
    docker_set(json, "Isolation",
               json_string(ctr_json_bool(vmm, "hardware", false) ? "vm" : "emulated"));
    docker_set(json, "Warnings", docker_copy(info, "warnings", json_array()));
    char time[40];
    docker_set(json, "SystemTime", json_string(ctr_format_time(ctr_now_ns(), time)));
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
    docker_set(attributes, "name", docker_text(event, "name"));
    docker_set(attributes, "image", docker_text(event, "image"));
    if (strcmp(ctr_json_str(event, "action", ""), "die") == 0) {
        docker_set(attributes, "exitCode", json_string(code));
    }
    return attributes;
}

json_t *
docker_event(const json_t *event)
{
    int64_t time = ctr_json_int(event, "time", 0);
    json_t *json = json_object();
    if (strcmp(ctr_json_str(event, "type", ""), "network") != 0) {
        docker_set(json, "status", docker_text(event, "action"));
        docker_set(json, "id", docker_text(event, "id"));
        docker_set(json, "from", docker_text(event, "image"));
    }
    docker_set(json, "Type", docker_text(event, "type"));
    docker_set(json, "Action", docker_text(event, "action"));
    docker_set(json, "Actor",
               json_pack("{s:o,s:o}", "ID", docker_text(event, "id"), "Attributes",
                         event_attributes(event)));
    docker_set(json, "scope", json_string("local"));
    docker_set(json, "time", json_integer(time / 1000000000));
    docker_set(json, "timeNano", json_integer(time));
    return json;
}
