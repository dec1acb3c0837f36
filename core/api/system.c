/*
 * The engine itself: _ping, version, info, and what is ours under /ctr/v1.
 */
#include "core/api/api-priv.h"
#include <sys/utsname.h>

int
api_ping(struct ctr_request *request, struct ctr_error *err)
{
    return api_text(request, 200, "OK");
}

int
api_version(struct ctr_request *request, struct ctr_error *err)
{
    struct utsname host;
    if (uname(&host) < 0) {
        return ctr_fail(err, -errno, "uname: %s", strerror(errno));
    }
    const char *arch = strcmp(host.machine, "x86_64") == 0    ? "amd64"
                       : strcmp(host.machine, "aarch64") == 0 ? "arm64"
                                                              : host.machine;
    return api_json(
        request, 200,
        json_pack("{s:{s:s},s:[{s:s,s:s,s:{s:s,s:s,s:s,s:s}}],s:s,s:s,s:s,s:s,s:s,s:s}",
                  "Platform", "Name", "ctr", "Components", "Name", "Engine", "Version",
                  CTR_VERSION, "Details", "ApiVersion", CTR_API_VERSION, "MinAPIVersion",
                  "1.24", "Os", "linux", "Arch", arch, "Version", CTR_VERSION, "ApiVersion",
                  CTR_API_VERSION, "MinAPIVersion", "1.24", "Os", "linux", "Arch", arch,
                  "KernelVersion", host.release));
}

int
api_info(struct ctr_request *request, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *info = ctr_engine_info(request->engine, err);
    return info == NULL ? err->code : api_json(request, 200, docker_info(info));
}

int
api_volumes(struct ctr_request *request, struct ctr_error *err)
{
    return api_json(request, 200, json_pack("{s:[],s:[]}", "Volumes", "Warnings"));
}

/* --- /ctr/v1 --- */

int
api_ctr_info(struct ctr_request *request, struct ctr_error *err)
{
    json_t *info = ctr_engine_info(request->engine, err);
    return info == NULL ? err->code : api_json(request, 200, info);
}

int
api_ctr_plugins(struct ctr_request *request, struct ctr_error *err)
{
    json_t *plugins = ctr_engine_plugins(request->engine, err);
    return plugins == NULL ? err->code : api_json(request, 200, plugins);
}

int
api_ctr_profile(struct ctr_request *request, struct ctr_error *err)
{
    json_t *profile = ctr_engine_profile(request->engine, err);
    return profile == NULL ? err->code : api_json(request, 200, profile);
}

int
api_ctr_container(struct ctr_request *request, struct ctr_error *err)
{
    json_t *json = ctr_engine_container_inspect(request->engine, request->capture, err);
    return json == NULL ? err->code : api_json(request, 200, json);
}

int
api_ctr_stats(struct ctr_request *request, struct ctr_error *err)
{
    json_t *json = ctr_engine_container_stats(request->engine, request->capture, err);
    return json == NULL ? err->code : api_json(request, 200, json);
}

int
api_ctr_stop(struct ctr_request *request, struct ctr_error *err)
{
    if (api_query_bool(request, "all", false) &&
        ctr_engine_stop_all(request->engine, err) < 0) {
        return err->code;
    }
    request->quit = true;
    return api_empty(request, 204);
}
