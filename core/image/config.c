/*
 * Image configs from outside (image-spec/config.md): form, platform, diff_ids and the ChainIDs made of them. What the
 * values mean is the guest's business; here only their types are held to the specification.
 */
#include "core/image/image-priv.h"

static bool
config_is_texts(const json_t *value)
{
    size_t i = 0;
    json_t *text = NULL;
    if (value == NULL || json_is_null(value)) {
        return true;
    }
    json_array_foreach(value, i, text)
    {
        if (!json_is_string(text)) {
            return false;
        }
    }
    return json_is_array(value);
}

static int
config_check_process(const json_t *config, struct ctr_error *err)
{
    const json_t *process = json_object_get(config, "config");
    if (process == NULL || json_is_null(process)) {
        return 0;
    }
    if (!json_is_object(process)) {
        return ctr_fail(err, -EBADMSG, "its \"config\" is no object");
    }
    static const char *const lists[] = {"Env", "Entrypoint", "Cmd"};
    static const char *const texts[] = {"User", "WorkingDir", "StopSignal"};
    static const char *const objects[] = {"Volumes", "ExposedPorts", "Labels"};
    for (size_t i = 0; i < CTR_LENGTH(lists); i++) {
        if (!config_is_texts(json_object_get(process, lists[i]))) {
            return ctr_fail(err, -EBADMSG, "its \"%s\" is no list of texts", lists[i]);
        }
        const json_t *text = json_object_get(process, texts[i]);
        if (text != NULL && !json_is_null(text) && !json_is_string(text)) {
            return ctr_fail(err, -EBADMSG, "its \"%s\" is no text", texts[i]);
        }
        const json_t *object = json_object_get(process, objects[i]);
        if (object != NULL && !json_is_null(object) && !json_is_object(object)) {
            return ctr_fail(err, -EBADMSG, "its \"%s\" is no object", objects[i]);
        }
    }
    return 0;
}

static int
config_check_layers(const json_t *config, const json_t *manifest, struct ctr_error *err)
{
    const json_t *rootfs = json_object_get(config, "rootfs");
    const json_t *diff_ids = json_object_get(rootfs, "diff_ids");
    size_t n_layers = json_array_size(json_object_get(manifest, "layers"));
    if (strcmp(ctr_json_str(rootfs, "type", "layers"), "layers") != 0) {
        return ctr_fail(err, -EBADMSG, "its root filesystem is not made of layers");
    }
    if (json_array_size(diff_ids) != n_layers) {
        return ctr_fail(err, -EBADMSG, "it has %zu diff_ids for %zu layers",
                        json_array_size(diff_ids), n_layers);
    }
    size_t i = 0;
    json_t *diff_id = NULL;
    json_array_foreach(diff_ids, i, diff_id)
    {
        if (!json_is_string(diff_id) || !ctr_is_digest(json_string_value(diff_id))) {
            return ctr_fail(err, -EBADMSG, "diff_id %zu is no sha256 digest", i + 1);
        }
    }
    return 0;
}

int
config_check(const char *bytes, size_t length, const json_t *manifest, json_t **ret,
             struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *config = ctr_json_parse(bytes, length, CTR_MAX_DOCUMENT, "image config", err);
    if (config == NULL) {
        return err != NULL && err->code < 0 ? err->code : -EBADMSG;
    }
    int rc = 0;
    const char *os = ctr_json_str(config, "os", "");
    const char *arch = ctr_json_str(config, "architecture", "");
    const json_t *variant = json_object_get(config, "variant");
    if (!json_is_object(config)) {
        rc = ctr_fail(err, -EBADMSG, "it is no JSON object");
    } else if (os[0] == '\0' || arch[0] == '\0' || strlen(os) > 15 || strlen(arch) > 15) {
        rc = ctr_fail(err, -EBADMSG, "it does not say for which os and architecture it is");
    } else if (variant != NULL && !json_is_null(variant) &&
               (!json_is_string(variant) || json_string_length(variant) > 15)) {
        rc = ctr_fail(err, -EBADMSG, "its variant is no short text");
    }
    rc = rc < 0 ? rc : config_check_layers(config, manifest, err);
    rc = rc < 0 ? rc : config_check_process(config, err);
    if (rc < 0) {
        (void) ctr_prefix(err, "image config");
        return rc;
    }
    *ret = ctr_steal(&config);
    return 0;
}

void
config_platform(const json_t *config, struct ctr_platform *ret)
{
    (void) snprintf(ret->os, sizeof ret->os, "%.15s", ctr_json_str(config, "os", ""));
    (void) snprintf(ret->arch, sizeof ret->arch, "%.15s",
                    ctr_json_str(config, "architecture", ""));
    (void) snprintf(ret->variant, sizeof ret->variant, "%.15s",
                    ctr_json_str(config, "variant", ""));
}

const char *
config_diff_id(const json_t *config, size_t i)
{
    const json_t *diff_ids = json_object_get(json_object_get(config, "rootfs"), "diff_ids");
    return json_string_value(json_array_get(diff_ids, i));
}

json_t *
config_chains(const json_t *config)
{
    struct ctr_sha256 *sha = ctr_sha256_create();
    json_t *chains = json_array();
    char chain[72] = "";
    bool ok = sha != NULL && chains != NULL;
    const char *diff_id = NULL;
    for (size_t i = 0; ok && (diff_id = config_diff_id(config, i)) != NULL; i++) {
        if (i == 0) {
            (void) snprintf(chain, sizeof chain, "%s", diff_id);
        } else {
            ctr_sha256_add(sha, chain, strlen(chain));
            ctr_sha256_add(sha, " ", 1);
            ctr_sha256_add(sha, diff_id, strlen(diff_id));
            ctr_sha256_finish(sha, chain);
        }
        ok = json_array_append_new(chains, json_string(chain)) == 0;
    }
    ctr_sha256_destroy(sha);
    if (!ok) {
        json_decref(chains);
        return NULL;
    }
    return chains;
}
