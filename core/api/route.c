/*
 * Which path means what. One table; the first pattern that fits path and method wins.
 */
#include "core/api/api-priv.h"

const struct ctr_route ctr_api_routes[] = {
    {"GET", "/_ping", api_ping, false},
    {"GET", "/version", api_version, false},
    {"GET", "/info", api_info, false},
    {"GET", "/events", api_events, false},
    {"GET", "/containers/json", api_containers, false},
    {"POST", "/containers/create", api_create, false},
    {"GET", "/containers/*/json", api_inspect, false},
    {"GET", "/containers/*/logs", api_logs, false},
    {"POST", "/containers/*/start", api_start, false},
    {"POST", "/containers/*/stop", api_stop, false},
    {"POST", "/containers/*/kill", api_kill, false},
    {"POST", "/containers/*/restart", api_restart, false},
    {"POST", "/containers/*/wait", api_container_wait, false},
    {"POST", "/containers/*/attach", api_attach, false},
    {"POST", "/containers/*/resize", api_resize, false},
    {"POST", "/containers/*/rename", api_rename, false},
    {"POST", "/containers/*/exec", api_exec_create, false},
    {"DELETE", "/containers/*", api_remove, false},
    {"POST", "/exec/*/start", api_exec_start, false},
    {"POST", "/exec/*/resize", api_exec_resize, false},
    {"GET", "/exec/*/json", api_exec_inspect, false},
    {"GET", "/images/json", api_images, false},
    {"POST", "/images/create", api_pull, false},
    {"POST", "/images/load", api_load, true},
    {"GET", "/images/**/json", api_image, false},
    {"POST", "/images/**/tag", api_image_tag, false},
    {"DELETE", "/images/**", api_image_remove, false},
    {"GET", "/networks", api_networks, false},
    {"GET", "/networks/*", api_network, false},
    {"GET", "/volumes", api_volumes, false},
    {"GET", "/ctr/v1/info", api_ctr_info, false},
    {"GET", "/ctr/v1/plugins", api_ctr_plugins, false},
    {"GET", "/ctr/v1/profile", api_ctr_profile, false},
    {"GET", "/ctr/v1/containers/*", api_ctr_container, false},
    {"GET", "/ctr/v1/containers/*/stats", api_ctr_stats, false},
    {"POST", "/ctr/v1/images/load", api_ctr_load_path, false},
    {"POST", "/ctr/v1/system/stop", api_ctr_stop, false},
    {NULL, NULL, NULL, false},
};

int
ctr_api_strip_version(const char *path, const char **ret, struct ctr_error *err)
{
    if (path[0] != '/' || path[1] != 'v' || path[2] < '0' || path[2] > '9') {
        *ret = path;
        return 0;
    }
    const char *end = strchr(path + 1, '/');
    size_t length = end == NULL ? strlen(path + 2) : (size_t) (end - path - 2);
    char version[16];
    if (end == NULL || length >= sizeof version) {
        return ctr_fail(err, -EINVAL, "the path has no proper version: use /v" CTR_API_VERSION);
    }
    memcpy(version, path + 2, length);
    version[length] = '\0';
    char *dot = strchr(version, '.');
    int64_t minor, major;
    if (dot == NULL) {
        return ctr_fail(err, -EINVAL, "the path has no proper version: use /v" CTR_API_VERSION);
    }
    *dot = '\0';
    if (ctr_parse_int(version, 0, 999, &major) < 0 ||
        ctr_parse_int(dot + 1, 0, 999, &minor) < 0) {
        return ctr_fail(err, -EINVAL, "the path has no proper version: use /v" CTR_API_VERSION);
    }
    if (major > 1 || (major == 1 && minor > CTR_API_MINOR)) {
        return ctr_fail(err, -EINVAL,
                        "client version %d.%d is too new. Maximum supported API version is %s",
                        (int) major, (int) minor, CTR_API_VERSION);
    }
    if (major < 1 || minor < CTR_API_MINOR_MIN) {
        return ctr_fail(
            err, -EINVAL,
            "client version %d.%d is too old. Minimum supported API version is 1.%d",
            (int) major, (int) minor, CTR_API_MINOR_MIN);
    }
    *ret = end;
    return 0;
}

bool
ctr_api_match(const char *pattern, const char *path, char *capture, size_t size)
{
    const char *star = strchr(pattern, '*');
    if (star == NULL) {
        return strcmp(pattern, path) == 0;
    }
    size_t before = (size_t) (star - pattern);
    bool many = star[1] == '*';
    const char *tail = star + (many ? 2 : 1);
    size_t after = strlen(tail), length = strlen(path);
    if (length <= before + after || strncmp(pattern, path, before) != 0 ||
        strcmp(path + length - after, tail) != 0) {
        return false;
    }
    size_t middle = length - before - after;
    if (middle >= size || (!many && memchr(path + before, '/', middle) != NULL)) {
        return false;
    }
    memcpy(capture, path + before, middle);
    capture[middle] = '\0';
    return true;
}
