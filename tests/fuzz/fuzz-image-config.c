/* Image configs from a registry or an archive: checked, and what was let pass used as pull, create and history do. */
#include "core/image/image-priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* Every diff_id is a name that a snapshot is kept by. */
static void
use_config(const json_t *config, size_t n_layers)
{
    struct ctr_platform platform;
    config_platform(config, &platform);
    free(platform_text(&platform));
    json_t *chains = config_chains(config);
    if (json_array_size(chains) != n_layers) {
        abort();
    }
    for (size_t i = 0; i < n_layers; i++) {
        if (!ctr_is_digest(config_diff_id(config, i)) ||
            !ctr_is_digest(json_string_value(json_array_get(chains, i)))) {
            abort();
        }
    }
    json_decref(chains);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    for (size_t n = 0; n < 3; n++) {
        json_t *manifest = json_pack("{s:[]}", "layers"), *config = NULL;
        struct ctr_error err = CTR_ERROR_INIT;
        for (size_t i = 0; i < n; i++) {
            (void) json_array_append_new(json_object_get(manifest, "layers"), json_object());
        }
        int rc = config_check((const char *) bytes, length, manifest, &config, &err);
        if ((rc < 0) != (err.code < 0)) {
            abort();
        }
        if (rc == 0) {
            use_config(config, n);
        }
        json_decref(config);
        json_decref(manifest);
    }
    return 0;
}
