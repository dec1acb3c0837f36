/*
 * Which path means what. One table; the first pattern that fits path and method wins.
 */
#include "core/api/api-priv.h"

const struct ctr_route ctr_api_routes[] = {
    {"GET", "/_ping", api_ping, NULL},
    {"GET", "/version", api_version, NULL},
    {"GET", "/info", api_info, NULL},
    {"GET", "/events", api_events, NULL},
    {"GET", "/containers/json", api_containers, NULL},
    {"POST", "/containers/create", api_create, NULL},
    {"POST", "/containers/prune", api_containers_prune, NULL},
    {"GET", "/containers/*/json", api_inspect, NULL},
    {"GET", "/containers/*/logs", api_logs, NULL},
    {"POST", "/containers/*/start", api_start, NULL},
    {"POST", "/containers/*/stop", api_stop, NULL},
    {"POST", "/containers/*/kill", api_kill, NULL},
    {"POST", "/containers/*/restart", api_restart, NULL},
    {"POST", "/containers/*/wait", api_container_wait, NULL},
    {"POST", "/containers/*/attach", api_attach, NULL},
    {"POST", "/containers/*/resize", api_resize, NULL},
    {"POST", "/containers/*/rename", api_rename, NULL},
    {"POST", "/containers/*/exec", api_exec_create, NULL},
    {"DELETE", "/containers/*", api_remove, NULL},
    {"POST", "/exec/*/start", api_exec_start, NULL},
    {"POST", "/exec/*/resize", api_exec_resize, NULL},
    {"GET", "/exec/*/json", api_exec_inspect, NULL},
    {"GET", "/images/json", api_images, NULL},
    {"POST", "/images/create", api_image_create, api_image_create_begin},
    {"POST", "/images/load", api_load, api_load_begin},
    {"POST", "/images/prune", api_images_prune, NULL},
    {"GET", "/images/get", api_images_get, NULL},
    {"GET", "/images/**/get", api_image_get, NULL},
    {"GET", "/images/**/json", api_image, NULL},
    {"GET", "/images/**/history", api_image_history, NULL},
    {"POST", "/images/**/push", api_push, NULL},
    {"POST", "/images/**/tag", api_image_tag, NULL},
    {"DELETE", "/images/**", api_image_remove, NULL},
    {"POST", "/auth", api_auth, NULL},
    {"GET", "/system/df", api_df, NULL},
    {"POST", "/networks/prune", api_networks_prune, NULL},
    {"POST", "/volumes/prune", api_volumes_prune, NULL},
    {"POST", "/build/prune", api_build_prune, NULL},
    {"GET", "/networks", api_networks, NULL},
    {"POST", "/networks/create", api_network_create, NULL},
    {"GET", "/networks/*", api_network, NULL},
    {"DELETE", "/networks/*", api_network_remove, NULL},
    {"POST", "/networks/*/connect", api_network_connect, NULL},
    {"POST", "/networks/*/disconnect", api_network_disconnect, NULL},
    {"GET", "/volumes", api_volumes, NULL},
    {"GET", "/ctr/v1/info", api_ctr_info, NULL},
    {"GET", "/ctr/v1/plugins", api_ctr_plugins, NULL},
    {"GET", "/ctr/v1/profile", api_ctr_profile, NULL},
    {"GET", "/ctr/v1/containers/*", api_ctr_container, NULL},
    {"GET", "/ctr/v1/containers/*/stats", api_ctr_stats, NULL},
    {"POST", "/ctr/v1/networks/*/capture", api_ctr_capture, NULL},
    {"POST", "/ctr/v1/images/load", api_ctr_load_path, NULL},
    {"POST", "/ctr/v1/images/pull", api_ctr_pull, NULL},
    {"GET", "/ctr/v1/images/save", api_ctr_save, NULL},
    {"GET", "/ctr/v1/images/tree", api_ctr_tree, NULL},
    {"POST", "/ctr/v1/images/verify", api_ctr_verify, NULL},
    {"GET", "/ctr/v1/registry", api_ctr_registry, NULL},
    {"GET", "/ctr/v1/registry/tags", api_ctr_tags, NULL},
    {"POST", "/ctr/v1/registry/login", api_ctr_login, NULL},
    {"DELETE", "/ctr/v1/registry/login", api_ctr_logout, NULL},
    {"GET", "/ctr/v1/system/df", api_ctr_df, NULL},
    {"POST", "/ctr/v1/system/stop", api_ctr_stop, NULL},
    {NULL, NULL, NULL, NULL},
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
