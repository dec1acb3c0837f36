/* Indexes, manifests and configs: what is taken, and what is refused with which words. */
#include "core/image/image-priv.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HEX_63 "cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define D(digit) "sha256:" digit HEX_63
#define DESCRIPTOR(type, digest, size)                                                         \
    "{\"mediaType\":\"" type "\",\"digest\":\"" digest "\",\"size\":" size "}"
#define CONFIG "\"config\":" DESCRIPTOR(MEDIA_OCI_CONFIG, D("0"), "9")
#define DOCKER_CONFIG                                                                          \
    "\"config\":" DESCRIPTOR("application/vnd.docker.container.image.v1+json", D("0"), "9")
#define DOCKER "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define V2 "{\"schemaVersion\":2,"
#define ZEROS_64 "0000000000000000000000000000000000000000000000000000000000000000"

static const struct {
    const char *text, *media_type;
    const char *why; /* part of the refusal; NULL: taken */
} documents[] = {
    {V2 CONFIG ",\"layers\":[]}", NULL, NULL},
    {V2 CONFIG ",\"layers\":[]}", MEDIA_OCI_MANIFEST, NULL},
    {V2 CONFIG ",\"layers\":[]}", DOCKER, NULL},
    {V2 "\"mediaType\":\"" DOCKER "\"," DOCKER_CONFIG ",\"layers\":["
        "" DESCRIPTOR(
            "application/vnd.docker.image.rootfs.diff.tar.gzip", D("1"),
            "9") ","
                 "" DESCRIPTOR(
                     "application/vnd.docker.image.rootfs.diff.tar.zstd", D("2"),
                     "9") ","
                          "" DESCRIPTOR(
                              "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                              D("3"), "9") "]}",
     DOCKER, NULL},
    {V2 CONFIG ",\"layers\":["
               "" DESCRIPTOR("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
                             D("1"), "9") "]}",
     NULL, NULL},
    /* The same layer twice is no contradiction, with two sizes it is. */
    {V2 CONFIG ",\"layers\":[" DESCRIPTOR(MEDIA_OCI_TAR, D("1"),
                                          "9") ","
                                               "" DESCRIPTOR(MEDIA_OCI_TAR, D("1"), "9") "]}",
     NULL, NULL},
    {V2 CONFIG ",\"layers\":[" DESCRIPTOR(MEDIA_OCI_TAR, D("1"),
                                          "9") ","
                                               "" DESCRIPTOR(MEDIA_OCI_TAR, D("1"), "8") "]}",
     NULL, "two sizes"},
    {V2 "\"manifests\":[" DESCRIPTOR(MEDIA_OCI_MANIFEST, D("1"),
                                     "9") ","
                                          "" DESCRIPTOR(MEDIA_OCI_INDEX, D("1"), "9") "]}",
     NULL, "two sizes or types"},
    {V2 "\"manifests\":[]}", MEDIA_OCI_INDEX, NULL},
    {V2 "\"mediaType\":\"" DOCKER_LIST "\",\"manifests\":[]}", NULL, NULL},
    {V2 "\"mediaType\":\"" DOCKER_LIST "\",\"manifests\":[]}", MEDIA_OCI_INDEX, "announced"},
    {V2 "\"manifests\":[]," CONFIG "}", NULL, "ambiguous"},
    {V2 "\"manifests\":[],\"layers\":[]}", NULL, "ambiguous"},
    {V2 CONFIG ",\"layers\":[],\"fsLayers\":[]}", NULL, "fsLayers"},
    {V2 CONFIG ",\"layers\":[],\"history\":[]}", NULL, "history"},
    {V2 CONFIG ",\"layers\":[],\"layers\":[]}", NULL, "duplicate"},
    {"{\"schemaVersion\":1}", NULL, "schema 1"},
    {"{\"schemaVersion\":3}", NULL, "schemaVersion"},
    /* OCI 1.1 */
    {V2 "\"artifactType\":\"a/b\",\"subject\":" DESCRIPTOR(MEDIA_OCI_MANIFEST, D("5"),
                                                           "9") "," CONFIG ",\"layers\":[]}",
     NULL, NULL},
    {V2 "\"subject\":{}," CONFIG ",\"layers\":[]}", NULL, "subject"},
    {V2 "\"artifactType\":7," CONFIG ",\"layers\":[]}", NULL, "artifactType"},
    {V2 "\"artifactType\":\"application/x-sbom\",\"config\":" DESCRIPTOR(
         "application/vnd.oci.empty.v1+json",
         "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
         "2") ",\"layers\":[]}",
     NULL, "artifact of type application/x-sbom"},
    {V2 "\"config\":" DESCRIPTOR("application/vnd.cncf.helm.config.v1+json", D("1"),
                                 "2") ",\"layers\":[]}",
     NULL, "artifact of type application/vnd.cncf.helm"},
    {V2 CONFIG ",\"layers\":[" DESCRIPTOR("application/vnd.in-toto+json", D("1"), "9") "]}",
     NULL, "no layer that ctr can unpack"},
    {V2 CONFIG ",\"layers\":[" DESCRIPTOR(MEDIA_OCI_TAR "+gzip+encrypted", D("1"), "9") "]}",
     NULL, "decrypt"},
    /* digests and sizes */
    {V2 CONFIG ",\"layers\":[" DESCRIPTOR(MEDIA_OCI_TAR, "sha512:" ZEROS_64 ZEROS_64, "9") "]}",
     NULL, "sha512, which ctr does not compute"},
    {V2 CONFIG ",\"layers\":[" DESCRIPTOR(MEDIA_OCI_TAR, "sha512:00", "9") "]}", NULL,
     "64 lower-case hex"},
    {V2 CONFIG ",\"layers\":[" DESCRIPTOR(MEDIA_OCI_TAR, D("A"), "9") "]}", NULL, "64 lower"},
    {V2 CONFIG ",\"layers\":[" DESCRIPTOR(MEDIA_OCI_TAR, D("1") "0", "9") "]}", NULL,
     "64 lower"},
    {V2 CONFIG ",\"layers\":[" DESCRIPTOR(MEDIA_OCI_TAR, "sha256:../../x", "9") "]}", NULL,
     "64 lower"},
    {V2 CONFIG ",\"layers\":[" DESCRIPTOR(MEDIA_OCI_TAR, "md5:" ZEROS_64, "9") "]}", NULL,
     "64 lower"},
    {V2 CONFIG ",\"layers\":[" DESCRIPTOR(MEDIA_OCI_TAR, D("1"), "0") "]}", NULL, "size"},
    {V2 CONFIG ",\"layers\":[" DESCRIPTOR(MEDIA_OCI_TAR, D("1"), "-1") "]}", NULL, "size"},
    {V2 CONFIG ",\"layers\":[" DESCRIPTOR(MEDIA_OCI_TAR, D("1"), "9.0") "]}", NULL, "size"},
    {V2 CONFIG ",\"layers\":[" DESCRIPTOR(MEDIA_OCI_TAR, D("1"), "9223372036854775807") "]}",
     NULL, "size"},
    {V2 CONFIG ",\"layers\":[" DESCRIPTOR(MEDIA_OCI_TAR, D("1"), "9223372036854775808") "]}",
     NULL, "JSON"},
    {V2 "\"config\":" DESCRIPTOR(MEDIA_OCI_CONFIG, D("0"), "4194305") ",\"layers\":[]}", NULL,
     "4 MiB"},
};

static void
test_documents(void **state)
{
    for (size_t i = 0; i < CTR_LENGTH(documents); i++) {
        struct ctr_error err = CTR_ERROR_INIT;
        json_t *document = NULL;
        int rc = ctr_manifest_check(documents[i].text, strlen(documents[i].text),
                                    documents[i].media_type, &document, &err);
        if ((rc < 0) != (documents[i].why != NULL) ||
            (rc < 0 && strstr(err.msg, documents[i].why) == NULL)) {
            fail_msg("%s: %d %s", documents[i].text, rc, rc < 0 ? err.msg : "taken");
        }
        json_decref(document);
    }
}

#define CONFIG_OF(rest)                                                                        \
    "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\","            \
    "\"diff_ids\":[\"" D("1") "\"]}" rest "}"

static const struct {
    const char *text, *why;
} configs[] = {
    {CONFIG_OF(""), NULL},
    {CONFIG_OF(",\"config\":null,\"variant\":null"), NULL},
    {CONFIG_OF(",\"variant\":\"v8\",\"config\":{\"Env\":null,\"Cmd\":[\"a\"],\"User\":\"0\","
               "\"Labels\":{\"a\":\"b\"},\"Volumes\":{\"/x\":{}}}"),
     NULL},
    {CONFIG_OF(",\"variant\":8"), "variant"},
    {CONFIG_OF(",\"variant\":\"sixteen letters.\""), "variant"},
    {CONFIG_OF(",\"config\":[]"), "no object"},
    {CONFIG_OF(",\"config\":{\"Env\":\"A=1\"}"), "Env"},
    {CONFIG_OF(",\"config\":{\"Entrypoint\":[1]}"), "Entrypoint"},
    {CONFIG_OF(",\"config\":{\"User\":0}"), "User"},
    {CONFIG_OF(",\"config\":{\"Labels\":[]}"), "Labels"},
    {CONFIG_OF(",\"os\":\"windows\""), "duplicate"},
    {"[]", "no JSON object"},
    {"{\"os\":\"linux\"}", "architecture"},
    {"{\"os\":\"linux\",\"architecture\":\"amd64\"}", "0 diff_ids for 1 layers"},
    {"{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"tree\",\"diff_ids\":["
     "]}}",
     "not made of layers"},
    {"{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"diff_ids\":[\"x\"]}}",
     "diff_id 1"},
};

static void
test_configs(void **state)
{
    json_t *manifest = json_pack("{s:[{}]}", "layers");
    for (size_t i = 0; i < CTR_LENGTH(configs); i++) {
        struct ctr_error err = CTR_ERROR_INIT;
        json_t *config = NULL;
        int rc =
            config_check(configs[i].text, strlen(configs[i].text), manifest, &config, &err);
        if ((rc < 0) != (configs[i].why != NULL) ||
            (rc < 0 && strstr(err.msg, configs[i].why) == NULL)) {
            fail_msg("%s: %d %s", configs[i].text, rc, rc < 0 ? err.msg : "taken");
        }
        json_decref(config);
    }
    json_decref(manifest);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents),
        cmocka_unit_test(test_configs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
