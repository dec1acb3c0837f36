/* core/image: documents, origins, layers, unpacking into a storage plugin, and removal, without a network. */
#include "core/image/image-priv.h"
#include "core/registry/registry-priv.h"
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#define HEX "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define D "sha256:" HEX
#define D_1 "sha256:1cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define D_2 "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define D_3 "sha256:3cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define D_4 "sha256:4cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define LAYER_TYPE "application/vnd.oci.image.layer.v1.tar"
#define CONFIG_PART                                                                            \
    "\"config\":{\"mediaType\":\"" MEDIA_OCI_CONFIG "\",\"digest\":\"" D "\",\"size\":9}"
#define LAYER_PART "{\"mediaType\":\"" LAYER_TYPE "+gzip\",\"digest\":\"" D "\",\"size\":9}"

/* --- documents --- */

static int
check(const char *text, const char *type)
{
    json_t *document = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    int rc = ctr_manifest_check(text, strlen(text), type, &document, &err);
    assert_int_equal(rc < 0, err.code < 0);
    json_decref(document);
    return rc;
}

static void
test_manifests(void **state)
{
    static const char good[] =
        "{\"schemaVersion\":2," CONFIG_PART ",\"layers\":[" LAYER_PART "]}";
    static const char index[] =
        "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"x/y\",\"digest\":\"" D
        "\",\"size\":1}]}";
    assert_int_equal(check(good, MEDIA_OCI_MANIFEST), 0);
    assert_int_equal(check(good, NULL), 0);
    assert_true(check(good, MEDIA_OCI_INDEX) < 0);
    assert_true(check(good, "text/html") < 0);
    assert_int_equal(check(index, MEDIA_OCI_INDEX), 0);
    assert_true(check(index, MEDIA_OCI_MANIFEST) < 0);
    static const char *const bad[] = {
        "",
        "null",
        "[]",
        "{}",
        "{\"schemaVersion\":2}",
        "{\"schemaVersion\":\"2\"," CONFIG_PART ",\"layers\":[]}",
        "{\"schemaVersion\":2," CONFIG_PART "}",
        "{\"schemaVersion\":2," CONFIG_PART ",\"layers\":{}}",
        "{\"schemaVersion\":2," CONFIG_PART ",\"layers\":[1]}",
        "{\"schemaVersion\":2," CONFIG_PART ",\"layers\":[],\"manifests\":[]}",
        "{\"schemaVersion\":2," CONFIG_PART ",\"layers\":[],\"layers\":[]}",
        "{\"schemaVersion\":2,\"layers\":[]}",
        "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"x/"
        "y\",\"digest\":\"sha256:..\",\"size\":1}]}",
        "{\"schemaVersion\":2,\"mediaType\":7," CONFIG_PART ",\"layers\":[]}",
    };
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        if (check(bad[i], NULL) == 0) {
            fail_msg("taken: %s", bad[i]);
        }
    }
}

static void
test_choose(void **state)
{
    static const char text[] =
        "{\"schemaVersion\":2,\"manifests\":["
        "{\"mediaType\":\"" MEDIA_OCI_MANIFEST "\",\"digest\":\"" D_1
        "\",\"size\":1,\"platform\":{\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":"
        "\"v6\"}},"
        "{\"mediaType\":\"" MEDIA_OCI_MANIFEST "\",\"digest\":\"" D_2
        "\",\"size\":2,\"platform\":{\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":"
        "\"v7\"}},"
        "{\"mediaType\":\"application/x\",\"digest\":\"" D_3
        "\",\"size\":3,\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}},"
        "{\"mediaType\":\"" MEDIA_OCI_MANIFEST "\",\"digest\":\"" D_4
        "\",\"size\":4,\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}}]}";
    json_t *index = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    assert_int_equal(ctr_manifest_check(text, strlen(text), NULL, &index, &err), 0);
    static const struct {
        const char *platform;
        int size; /* of the chosen one, 0: none */
    } cases[] = {
        {"linux/arm/v7", 2}, {"linux/arm/v6", 1}, {"linux/arm/v8", 1}, {"linux/amd64", 0}};
    for (size_t i = 0; i < CTR_LENGTH(cases); i++) {
        struct ctr_platform want;
        assert_int_equal(ctr_platform_parse(cases[i].platform, &want, &err), 0);
        const json_t *chosen = manifest_choose(index, &want);
        assert_int_equal(ctr_json_int(chosen, "size", 0), cases[i].size);
    }
    char *all = manifest_platforms(index);
    assert_string_equal(all, "linux/arm/v6, linux/arm/v7, linux/amd64");
    free(all);
    json_decref(index);
}

/* image-spec/config.md: ChainID(A) = DiffID(A); ChainID(A|B) = SHA256(ChainID(A) + " " + DiffID(B)). */
static void
test_chains(void **state)
{
    json_t *config = json_pack("{s:{s:[s, s]}}", "rootfs", "diff_ids", D, D);
    json_t *chains = config_chains(config);
    assert_int_equal(json_array_size(chains), 2);
    assert_string_equal(json_string_value(json_array_get(chains, 0)), D);
    struct ctr_sha256 *sha = ctr_sha256_create();
    char want[72];
    ctr_sha256_add(sha, D " " D, strlen(D " " D));
    ctr_sha256_finish(sha, want);
    ctr_sha256_add(sha, "", 0);
    assert_string_equal(json_string_value(json_array_get(chains, 1)), want);
    ctr_sha256_finish(sha, want);
    assert_string_equal(want, IMAGE_EMPTY_CHAIN);
    ctr_sha256_destroy(sha);
    json_decref(chains);
    json_decref(config);
}

/* --- origins --- */

static void
test_loopback(void **state)
{
    static const char *const yes[] = {"127.0.0.1",    "127.9.9.9:5000", "localhost",
                                      "LocalHost:80", "[::1]:5000",     "::1"};
    static const char *const no[] = {"127.1",
                                     "128.0.0.1",
                                     "localhost.evil.example",
                                     "0.0.0.0",
                                     "0x7f.1",
                                     "127.0.0.1.evil.example",
                                     "[::2]:5000",
                                     "127.0.0.1x",
                                     "",
                                     "[::ffff:127.0.0.1]",
                                     "10.0.0.1"};
    for (size_t i = 0; i < CTR_LENGTH(yes); i++) {
        assert_true(origin_is_loopback(yes[i]));
    }
    for (size_t i = 0; i < CTR_LENGTH(no); i++) {
        assert_false(origin_is_loopback(no[i]));
    }
}

static void
test_origins(void **state)
{
    struct origin a, b;
    struct ctr_error err = CTR_ERROR_INIT;
    assert_int_equal(origin_parse("https://Example.com/x", &a, &err), 0);
    assert_int_equal(origin_parse("https://example.com:443/y?z", &b, &err), 0);
    assert_true(origin_same(&a, &b));
    static const char *const others[] = {"http://example.com:443/", "https://example.com:444/",
                                         "https://eu.example.com/",
                                         "https://example.com.evil/"};
    for (size_t i = 0; i < CTR_LENGTH(others); i++) {
        assert_int_equal(origin_parse(others[i], &b, &err), 0);
        assert_false(origin_same(&a, &b));
    }
    static const char *const bad[] = {
        "file:///etc/passwd",       "gopher://x/", "//x", "x", "", "https://user@example.com/",
        "https://u:p@example.com/", "http://"};
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        assert_true(origin_parse(bad[i], &b, &err) < 0);
    }
    assert_int_equal(origin_parse("http://127.0.0.1:5000/", &b, &err), 0);
    assert_int_equal(origin_check_plain(NULL, &b, &err), 0);
    assert_int_equal(origin_parse("http://example.com/", &b, &err), 0);
    assert_int_equal(origin_check_plain(NULL, &b, &err), -EPERM);
    char *url = origin_resolve("https://a.example/v2/x/blobs/y?q#f", "../z#frag", &err);
    assert_string_equal(url, "https://a.example/v2/x/z");
    free(url);
}

/* --- a store with images made by hand --- */

struct fixture {
    char dir[64];
    struct ctr_conf *conf;
    struct ctr_store *store;
    struct ctr_images *images;
    struct ctr_storage *storage;
    struct ctr_error err;
};

static int
open_storage(struct fixture *f, const char *name)
{
    const struct ctr_conf_instance *instance =
        ctr_conf_instance(f->conf, CTR_KIND_STORAGE, name);
    ctr_storage_close(f->storage);
    f->storage = NULL;
    return instance == NULL ? -1
                            : ctr_storage_open(f->conf, instance, f->dir, &f->storage, &f->err);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->err.size = sizeof f->err;
    (void) snprintf(f->dir, sizeof f->dir, "/tmp/ctr-test-image.XXXXXX");
    if (mkdtemp(f->dir) == NULL) {
        return -1;
    }
    const char *build = getenv("CTR_TEST_BUILD");
    build = build != NULL ? build : "build";
    char *absolute = ctr_expand_path(build, NULL);
    char *text = ctr_printf("[engine]\ndata = %s\nrun = %s/run\nplugins = %s/tests/plugins\n"
                            "platform = linux/amd64\nmax_image = 1M\n"
                            "[vmm]\nplugin = qemu\n[net]\nplugin = none\n"
                            "[storage]\nplugin = mem\n"
                            "[storage.layers]\nplugin = mem-layers\n"
                            "[storage.short]\nplugin = mem\nshort_read = yes\n"
                            "[storage.apply]\nplugin = mem\nfail = apply\n"
                            "[storage.commit]\nplugin = mem\nfail = commit\n",
                            f->dir, f->dir, absolute);
    free(absolute);
    int rc = ctr_conf_parse("test", "test.ini", text, strlen(text), &f->conf, &f->err);
    free(text);
    rc = rc < 0 ? rc : ctr_store_open(f->dir, &f->store, &f->err);
    rc = rc < 0 ? rc : ctr_images_create(f->store, f->conf, NULL, &f->images, &f->err);
    rc = rc < 0 ? rc : open_storage(f, NULL);
    if (rc < 0) {
        print_error("%s\n", f->err.msg);
    }
    *state = f;
    return rc;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    ctr_storage_close(f->storage);
    ctr_images_destroy(f->images);
    ctr_store_close(f->store);
    ctr_conf_destroy(f->conf);
    (void) ctr_remove_tree(f->dir, &f->err);
    free(f);
    return 0;
}

/* A tar with one file of n bytes, caller frees. */
static char *
make_tar(const char *name, size_t n, size_t *ret_length)
{
    size_t capacity = n + 20480;
    char *tar = malloc(capacity), *content = calloc(1, n + 1);
    struct archive *archive = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    assert_int_equal(archive_write_set_format_pax_restricted(archive), ARCHIVE_OK);
    assert_int_equal(archive_write_open_memory(archive, tar, capacity, ret_length), ARCHIVE_OK);
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, (la_int64_t) n);
    assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
    assert_int_equal(archive_write_data(archive, content, n), n);
    archive_entry_free(entry);
    (void) archive_write_close(archive);
    (void) archive_write_free(archive);
    free(content);
    return tar;
}

static char *
squeeze(const char *suffix, const char *bytes, size_t length, size_t *ret_length)
{
    size_t capacity = ZSTD_compressBound(length) + 1000;
    char *out = malloc(capacity);
    if (strcmp(suffix, "+zstd") == 0) {
        *ret_length = ZSTD_compress(out, capacity, bytes, length, 1);
    } else if (strcmp(suffix, "+gzip") == 0) {
        z_stream z = {.next_in = (Bytef *) (uintptr_t) bytes, .avail_in = (uInt) length};
        assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
        z.next_out = (Bytef *) out;
        z.avail_out = (uInt) capacity;
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        *ret_length = z.total_out;
        (void) deflateEnd(&z);
    } else {
        memcpy(out, bytes, length);
        *ret_length = length;
    }
    return out;
}

/* Adds a layer to manifest and diff_ids. */
static void
add_layer(struct fixture *f, json_t *layers, json_t *diff_ids, const char *name, size_t n,
          const char *suffix)
{
    size_t length = 0, packed_length = 0;
    char diff_id[72], digest[72], type[80];
    char *tar = make_tar(name, n, &length);
    char *packed = squeeze(suffix, tar, length, &packed_length);
    struct ctr_sha256 *sha = ctr_sha256_create();
    ctr_sha256_add(sha, tar, length);
    ctr_sha256_finish(sha, diff_id);
    ctr_sha256_destroy(sha);
    assert_int_equal(ctr_blob_put(f->store, packed, packed_length, digest, &f->err), 0);
    (void) snprintf(type, sizeof type, LAYER_TYPE "%s", suffix);
    (void) json_array_append_new(layers,
                                 json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest",
                                           digest, "size", (json_int_t) packed_length));
    (void) json_array_append_new(diff_ids, json_string(diff_id));
    free(tar);
    free(packed);
}

/* Puts an image into the store as if it had been pulled: layers named base, then `name`. */
static void
make_image(struct fixture *f, const char *key, const char *name, size_t bytes,
           bool wrong_diff_id)
{
    json_t *layers = json_array(), *diff_ids = json_array();
    if (name[0] != '\0') {
        add_layer(f, layers, diff_ids, "base", 100000, "+gzip");
        add_layer(f, layers, diff_ids, name, bytes, "+zstd");
        add_layer(f, layers, diff_ids, "top", 10, "");
    }
    if (wrong_diff_id) {
        (void) json_array_set_new(diff_ids, 1, json_string(D));
    }
    json_t *config =
        json_pack("{s:s, s:s, s:s, s:{s:s, s:o}}", "os", "linux", "architecture", "amd64",
                  "author", name, "rootfs", "type", "layers", "diff_ids", diff_ids);
    char *text = ctr_json_text(config), digest[72];
    assert_int_equal(ctr_blob_put(f->store, text, strlen(text), digest, &f->err), 0);
    json_t *manifest = json_pack("{s:i, s:{s:s, s:s, s:I}, s:o}", "schemaVersion", 2, "config",
                                 "mediaType", MEDIA_OCI_CONFIG, "digest", digest, "size",
                                 (json_int_t) strlen(text), "layers", layers);
    free(text);
    text = ctr_json_text(manifest);
    assert_int_equal(ctr_blob_put(f->store, text, strlen(text), digest, &f->err), 0);
    assert_int_equal(
        image_record(f->images, key, digest, MEDIA_OCI_MANIFEST, strlen(text), &f->err), 0);
    free(text);
    json_decref(manifest);
    json_decref(config);
}

static int
unpack(struct fixture *f, const char *name)
{
    struct ctr_image image;
    assert_int_equal(ctr_image_resolve(f->images, name, "", &image, &f->err), 0);
    f->err.code = 0;
    int rc = ctr_image_unpack(f->images, &image, f->storage, NULL, &f->err);
    ctr_image_finish(&image);
    return rc;
}

/* Files below the storage's folder. */
static size_t
count_files(struct fixture *f, const char *storage, const char *prefix)
{
    char path[200];
    size_t n = 0;
    (void) snprintf(path, sizeof path, "%s/storage/%s", f->dir, storage);
    DIR *dir = opendir(path);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        n += ctr_starts_with(entry->d_name, prefix);
    }
    (void) closedir(dir);
    return n;
}

static int
count_blob(void *arg, const char *digest, uint64_t size)
{
    ++*(size_t *) arg;
    return 0;
}

static size_t
count_blobs(struct fixture *f)
{
    size_t n = 0;
    assert_int_equal(ctr_blob_each(f->store, count_blob, &n, &f->err), 0);
    return n;
}

/* --- resolving --- */

static void
test_resolve(void **state)
{
    struct fixture *f = *state;
    struct ctr_image image, by_id;
    make_image(f, "docker.io/library/a:latest", "one", 5, false);
    assert_int_equal(ctr_image_tag(f->images, "a", "localhost:5000/b:2", &f->err), 0);
    assert_int_equal(ctr_image_resolve(f->images, "a", "", &image, &f->err), 0);
    assert_int_equal(json_array_size(image.layers), 3);
    assert_int_equal(json_array_size(image.references), 2);
    assert_string_equal(image.platform.arch, "amd64");
    const char *forms[] = {
        image.id, image.id + 7, image.manifest, "docker.io/library/a", "localhost:5000/b:2",
        NULL,     NULL};
    char prefix[7], by_digest[120];
    (void) snprintf(prefix, sizeof prefix, "%.6s", image.id + 7);
    (void) snprintf(by_digest, sizeof by_digest, "a@%s", image.digest);
    forms[5] = prefix;
    forms[6] = by_digest;
    for (size_t i = 0; i < CTR_LENGTH(forms); i++) {
        if (ctr_image_resolve(f->images, forms[i], NULL, &by_id, &f->err) < 0) {
            fail_msg("%s: %s", forms[i], f->err.msg);
        }
        assert_string_equal(by_id.id, image.id);
        ctr_image_finish(&by_id);
    }
    prefix[5] = '\0';
    assert_int_equal(ctr_image_resolve(f->images, prefix, "", &by_id, &f->err), -ENOENT);
    assert_int_equal(ctr_image_resolve(f->images, "nope", "", &by_id, &f->err), -ENOENT);
    assert_non_null(strstr(f->err.msg, "nope"));
    assert_int_equal(ctr_image_resolve(f->images, "a", "linux/arm64", &by_id, &f->err),
                     -ENOENT);
    assert_non_null(strstr(f->err.msg, "linux/amd64"));
    assert_int_equal(ctr_image_tag(f->images, "nope", "x", &f->err), -ENOENT);
    assert_int_equal(ctr_image_tag(f->images, "a", "Bad Name", &f->err), -EINVAL);
    ctr_image_finish(&image);
}

static int
count_image(void *arg, const struct ctr_image *image)
{
    struct ctr_buf *buf = arg;
    ctr_buf_printf(buf, "%zu ", json_array_size(image->references));
    return 0;
}

/* A name that moves on leaves its old image without one, not gone. */
static void
test_moved_name(void **state)
{
    struct fixture *f = *state;
    struct ctr_buf seen = {0};
    make_image(f, "docker.io/library/a:latest", "one", 5, false);
    make_image(f, "docker.io/library/a:latest", "two", 5, false);
    assert_int_equal(ctr_image_each(f->images, count_image, &seen, &f->err), 0);
    assert_true(strcmp(seen.data, "0 1 ") == 0 || strcmp(seen.data, "1 0 ") == 0);
    ctr_buf_clear(&seen);
}

/* --- unpacking --- */

static void
test_unpack(void **state)
{
    struct fixture *f = *state;
    make_image(f, "docker.io/library/a:latest", "one", 5, false);
    assert_int_equal(unpack(f, "a"), 0);
    assert_int_equal(unpack(f, "a"), 0);
    assert_int_equal(count_files(f, "default", "chain-"), 1);
    assert_int_equal(count_files(f, "default", "key-"), 0);
    assert_int_equal(open_storage(f, "layers"), 0);
    assert_int_equal(unpack(f, "a"), 0);
    assert_int_equal(count_files(f, "layers", "chain-"), 1);
    assert_int_equal(count_files(f, "layers", "layer-"), 3);
    make_image(f, "docker.io/library/b:latest", "two", 5, false);
    assert_int_equal(unpack(f, "b"), 0);
    assert_int_equal(count_files(f, "layers", "chain-"), 2);
    assert_int_equal(count_files(f, "layers", "layer-"), 4); /* base and top are shared */
    make_image(f, "docker.io/library/empty:latest", "", 0, false);
    assert_int_equal(unpack(f, "empty"), 0);
    assert_int_equal(ctr_storage_clone(f->storage, "c1", IMAGE_EMPTY_CHAIN, 0, &f->err), 0);
    json_t *disks = ctr_storage_disks(f->storage, "c1", &f->err);
    assert_int_equal(json_array_size(disks), 1);
    json_decref(disks);
}

/* What the record says but the storage has lost is made anew. */
static void
test_lost_snapshot(void **state)
{
    struct fixture *f = *state;
    struct ctr_image image;
    make_image(f, "docker.io/library/a:latest", "one", 5, false);
    assert_int_equal(unpack(f, "a"), 0);
    assert_int_equal(ctr_image_resolve(f->images, "a", "", &image, &f->err), 0);
    assert_int_equal(ctr_storage_remove(f->storage, image.chain_id, &f->err), 0);
    ctr_image_finish(&image);
    ctr_images_destroy(f->images);
    assert_int_equal(ctr_images_create(f->store, f->conf, NULL, &f->images, &f->err), 0);
    assert_int_equal(unpack(f, "a"), 0);
    assert_int_equal(count_files(f, "default", "chain-"), 1);
}

static void
test_unpack_fails(void **state)
{
    struct fixture *f = *state;
    make_image(f, "docker.io/library/wrong:latest", "one", 5, true);
    make_image(f, "docker.io/library/right:latest", "one", 5, false);
    make_image(f, "docker.io/library/large:latest", "one", 2 << 20, false);
    assert_int_equal(unpack(f, "wrong"), -EBADMSG);
    assert_non_null(strstr(f->err.msg, D));
    assert_int_equal(unpack(f, "large"), -EFBIG);
    assert_non_null(strstr(f->err.msg, "max_image"));
    assert_int_equal(count_files(f, "default", ""), 2); /* "." and ".." */
    static const struct {
        const char *storage, *text;
        int code;
    } cases[] = {{"short", "did not read", -EPROTO},
                 {"apply", "told to fail", -ENOSPC},
                 {"commit", "told to fail", -EIO}};
    for (size_t i = 0; i < CTR_LENGTH(cases); i++) {
        assert_int_equal(open_storage(f, cases[i].storage), 0);
        assert_int_equal(unpack(f, "right"), cases[i].code);
        assert_non_null(strstr(f->err.msg, cases[i].text));
        assert_int_equal(count_files(f, cases[i].storage, ""), 2);
    }
}

static void
test_damaged_layer(void **state)
{
    struct fixture *f = *state;
    struct ctr_image image;
    make_image(f, "docker.io/library/a:latest", "one", 5, false);
    assert_int_equal(ctr_image_resolve(f->images, "a", "", &image, &f->err), 0);
    const char *digest = ctr_json_str(json_array_get(image.layers, 0), "digest", "");
    char path[300];
    (void) snprintf(path, sizeof path, "%s/images/blobs/sha256/%s", f->dir, digest + 7);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "?", 1, 40), 1);
    (void) close(fd);
    assert_int_equal(unpack(f, "a"), -EBADMSG);
    assert_non_null(strstr(f->err.msg, "damaged"));
    assert_false(ctr_blob_exists(f->store, digest, NULL));
    ctr_image_finish(&image);
}

static void *
unpack_thread(void *arg)
{
    struct fixture *f = arg;
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_image image;
    intptr_t rc = ctr_image_resolve(f->images, "a", "", &image, &err);
    if (rc == 0) {
        rc = ctr_image_unpack(f->images, &image, f->storage, NULL, &err);
        ctr_image_finish(&image);
    }
    return (void *) rc;
}

static void
test_unpack_together(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[8];
    make_image(f, "docker.io/library/a:latest", "one", 5, false);
    assert_int_equal(open_storage(f, "layers"), 0);
    for (size_t i = 0; i < CTR_LENGTH(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, unpack_thread, f), 0);
    }
    for (size_t i = 0; i < CTR_LENGTH(threads); i++) {
        void *rc = NULL;
        (void) pthread_join(threads[i], &rc);
        assert_null(rc);
    }
    assert_int_equal(count_files(f, "layers", "chain-"), 1);
    assert_int_equal(count_files(f, "layers", "layer-"), 3);
    assert_int_equal(count_files(f, "layers", "key-"), 0);
}

/* --- removal --- */

static void
on_removed(void *arg, const char *action, const char *what)
{
    ctr_buf_printf(arg, "%s ", action);
}

static bool
in_use(void *arg, const char *id)
{
    return true;
}

static int
rmi(struct fixture *f, const char *name, bool force, bool used, struct ctr_buf *seen)
{
    return ctr_image_remove(f->images, name, force, &f->storage, 1, used ? in_use : NULL,
                            on_removed, seen, &f->err);
}

static void
test_remove(void **state)
{
    struct fixture *f = *state;
    struct ctr_buf seen = {0};
    make_image(f, "docker.io/library/a:latest", "one", 5, false);
    make_image(f, "docker.io/library/b:latest", "two", 5, false);
    assert_int_equal(ctr_image_tag(f->images, "a", "a:2", &f->err), 0);
    assert_int_equal(open_storage(f, "layers"), 0);
    assert_int_equal(unpack(f, "a"), 0);
    assert_int_equal(unpack(f, "b"), 0);
    assert_int_equal(count_blobs(f), 4 + 4); /* two each, and base, one, two, top */
    assert_int_equal(rmi(f, "nope", false, false, &seen), -ENOENT);
    assert_int_equal(rmi(f, "a:2", false, true, &seen), 0); /* another name keeps it */
    assert_string_equal(seen.data, "Untagged ");
    assert_int_equal(rmi(f, "a", false, true, &seen), -EBUSY);
    assert_int_equal(count_files(f, "layers", "chain-"), 2);
    assert_int_equal(count_files(f, "layers", "layer-"), 4);
    assert_int_equal(rmi(f, "a", false, false, &seen), 0);
    assert_string_equal(seen.data, "Untagged Untagged Deleted ");
    assert_int_equal(count_files(f, "layers", "chain-"), 1);
    assert_int_equal(count_files(f, "layers", "layer-"), 3);
    assert_int_equal(count_blobs(f), 2 + 3);
    assert_int_equal(unpack(f, "b"), 0);
    assert_int_equal(rmi(f, "b", true, true, &seen), 0);
    assert_int_equal(count_files(f, "layers", "chain-"), 0);
    assert_int_equal(count_files(f, "layers", "layer-"), 0);
    assert_int_equal(count_blobs(f), 0);
    ctr_buf_clear(&seen);
}

/* A container's disk keeps its snapshot; the next collection takes what became free. */
static void
test_remove_busy(void **state)
{
    struct fixture *f = *state;
    struct ctr_buf seen = {0};
    struct ctr_image image;
    make_image(f, "docker.io/library/a:latest", "one", 5, false);
    assert_int_equal(unpack(f, "a"), 0);
    assert_int_equal(ctr_image_resolve(f->images, "a", "", &image, &f->err), 0);
    assert_int_equal(ctr_storage_clone(f->storage, "c1", image.chain_id, 0, &f->err), 0);
    ctr_image_finish(&image);
    assert_int_equal(rmi(f, "a", true, true, &seen), 0);
    assert_int_equal(count_files(f, "default", "chain-"), 1);
    assert_int_equal(ctr_storage_remove(f->storage, "c1", &f->err), 0);
    assert_int_equal(image_collect(f->images, 0, &f->storage, 1, &f->err), 0);
    assert_int_equal(count_files(f, "default", ""), 2);
    ctr_buf_clear(&seen);
}

/* What a running operation holds stays, whatever the records say. */
static void
test_leases(void **state)
{
    struct fixture *f = *state;
    struct image_op op;
    char digest[72], other[72];
    assert_int_equal(ctr_blob_put(f->store, "a", 1, digest, &f->err), 0);
    assert_int_equal(ctr_blob_put(f->store, "b", 1, other, &f->err), 0);
    assert_int_equal(op_init(&op, f->images, NULL, &f->err), 0);
    assert_int_equal(lease_add(&op, digest, &f->err), 0);
    assert_int_equal(image_collect(f->images, 3600, NULL, 0, &f->err), 0);
    assert_int_equal(count_blobs(f), 2); /* too young */
    assert_int_equal(image_collect(f->images, 0, NULL, 0, &f->err), 0);
    assert_true(ctr_blob_exists(f->store, digest, NULL));
    assert_false(ctr_blob_exists(f->store, other, NULL));
    lease_all(&op);
    assert_int_equal(ctr_blob_put(f->store, "b", 1, other, &f->err), 0);
    assert_int_equal(image_collect(f->images, 0, NULL, 0, &f->err), 0);
    assert_int_equal(count_blobs(f), 2);
    op_finish(&op);
    assert_int_equal(image_collect(f->images, 0, NULL, 0, &f->err), 0);
    assert_int_equal(count_blobs(f), 0);
}

/* A document that cannot be read says nothing about what it needs: nothing goes. */
static void
test_collect_with_damage(void **state)
{
    struct fixture *f = *state;
    struct ctr_buf seen = {0};
    struct ctr_image image;
    make_image(f, "docker.io/library/a:latest", "one", 5, false);
    make_image(f, "docker.io/library/b:latest", "two", 5, false);
    assert_int_equal(ctr_image_resolve(f->images, "a", "", &image, &f->err), 0);
    assert_int_equal(ctr_blob_remove(f->store, image.manifest, &f->err), 0);
    ctr_image_finish(&image);
    size_t before = count_blobs(f);
    assert_true(image_collect(f->images, 0, NULL, 0, &f->err) < 0);
    assert_int_equal(count_blobs(f), before);
    assert_int_equal(rmi(f, "a", false, false, &seen), 0);
    assert_int_equal(count_blobs(f), 2 + 3);
    ctr_buf_clear(&seen);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifests),
        cmocka_unit_test(test_choose),
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_origins),
        TEST(test_resolve),
        TEST(test_moved_name),
        TEST(test_unpack),
        TEST(test_lost_snapshot),
        TEST(test_unpack_fails),
        TEST(test_damaged_layer),
        TEST(test_unpack_together),
        TEST(test_remove),
        TEST(test_remove_busy),
        TEST(test_leases),
        TEST(test_collect_with_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
