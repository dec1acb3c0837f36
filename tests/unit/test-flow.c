/* core/image: layers on their way. The decompressor, blobs that are read while they are written, and pulls from a registry in this process. */
#include "core/image/flow.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

/* --- what is compressed --- */

static size_t
gzip(const void *bytes, size_t length, uint8_t *out, size_t room)
{
    z_stream z = {.next_in = (void *) bytes, .avail_in = (uInt) length};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_out = out;
    z.avail_out = (uInt) room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t n = room - z.avail_out;
    (void) deflateEnd(&z);
    return n;
}

/* Text that neither repeats nor is noise. */
static void
fill(uint8_t *bytes, size_t length, unsigned seed)
{
    for (size_t i = 0; i < length; i++) {
        seed = seed * 1103515245 + 12345;
        bytes[i] = (uint8_t) ("etaoin shrdlu\n\0x"[(seed >> 16) & 15]);
    }
}

static void
sha_of(const void *bytes, size_t length, char ret[72])
{
    struct ctr_sha256 *sha = ctr_sha256_create();
    ctr_sha256_add(sha, bytes, length);
    ctr_sha256_finish(sha, ret);
    ctr_sha256_destroy(sha);
}

static int
emit_sha(void *arg, const void *bytes, size_t length, struct ctr_error *err)
{
    ctr_sha256_add(arg, bytes, length);
    return 0;
}

static int
inflate_in(enum media kind, uint64_t max, const uint8_t *bytes, size_t length, size_t piece,
           char ret_digest[72])
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_sha256 *sha = ctr_sha256_create();
    struct inflater *inflater = NULL;
    assert_int_equal(inflater_create(kind, max, emit_sha, sha, &inflater, &err), 0);
    int rc = 0;
    for (size_t at = 0; at < length && rc == 0; at += piece) {
        rc = inflater_push(inflater, bytes + at, length - at < piece ? length - at : piece,
                           &err);
    }
    rc = rc < 0 ? rc : inflater_end(inflater, &err);
    assert_int_equal(rc < 0, err.code < 0);
    ctr_sha256_finish(sha, ret_digest);
    ctr_sha256_destroy(sha);
    inflater_destroy(inflater);
    return rc;
}

#define PLAIN ((size_t) 320 << 10)
static uint8_t plain[PLAIN], packed[PLAIN + 4096];

static void
test_gzip(void **state)
{
    char want[72], got[72];
    fill(plain, PLAIN, 1);
    sha_of(plain, PLAIN, want);
    /* Three members, the middle one of nothing. */
    size_t n = gzip(plain, 100000, packed, sizeof packed);
    n += gzip("", 0, packed + n, sizeof packed - n);
    size_t last = n;
    n += gzip(plain + 100000, PLAIN - 100000, packed + n, sizeof packed - n);
    static const size_t pieces[] = {1, 3, 4096, 65536, PLAIN + 4096};
    for (size_t i = 0; i < CTR_LENGTH(pieces); i++) {
        assert_int_equal(inflate_in(MEDIA_TAR_GZIP, 0, packed, n, pieces[i], got), 0);
        assert_string_equal(got, want);
        for (size_t cut = 1; cut < 25; cut++) {
            assert_int_equal(inflate_in(MEDIA_TAR_GZIP, 0, packed, n - cut, pieces[i], got),
                             -EBADMSG);
        }
        assert_int_equal(inflate_in(MEDIA_TAR_GZIP, 0, packed, last + 5, pieces[i], got),
                         -EBADMSG);
        packed[n] = 0; /* a byte behind the end */
        assert_int_equal(inflate_in(MEDIA_TAR_GZIP, 0, packed, n + 1, pieces[i], got),
                         -EBADMSG);
        for (size_t back = 1; back <= 8; back++) { /* CRC and length */
            packed[n - back] ^= 1;
            assert_int_equal(inflate_in(MEDIA_TAR_GZIP, 0, packed, n, pieces[i], got),
                             -EBADMSG);
            packed[n - back] ^= 1;
        }
    }
    assert_int_equal(inflate_in(MEDIA_TAR_GZIP, PLAIN, packed, n, 4096, got), 0);
    assert_int_equal(inflate_in(MEDIA_TAR_GZIP, PLAIN - 1, packed, n, 4096, got), -EFBIG);
    assert_int_equal(inflate_in(MEDIA_TAR_GZIP, 0, packed, 0, 4096, got), -EBADMSG);
    assert_int_equal(inflate_in(MEDIA_TAR_GZIP, 0, plain, 1000, 4096, got), -EBADMSG);
    assert_int_equal(inflate_in(MEDIA_TAR_ZSTD, 0, packed, n, 4096, got), -EBADMSG);
}

static void
test_zstd_and_plain(void **state)
{
    char want[72], got[72];
    fill(plain, PLAIN, 2);
    sha_of(plain, PLAIN, want);
    size_t n = ZSTD_compress(packed, sizeof packed, plain, 50000, 3);
    n += ZSTD_compress(packed + n, sizeof packed - n, plain + 50000, PLAIN - 50000, 3);
    static const size_t pieces[] = {1, 4096, PLAIN + 4096};
    for (size_t i = 0; i < CTR_LENGTH(pieces); i++) {
        assert_int_equal(inflate_in(MEDIA_TAR_ZSTD, 0, packed, n, pieces[i], got), 0);
        assert_string_equal(got, want);
        assert_int_equal(inflate_in(MEDIA_TAR_ZSTD, 0, packed, n - 1, pieces[i], got),
                         -EBADMSG);
        packed[n] = 'x';
        assert_int_equal(inflate_in(MEDIA_TAR_ZSTD, 0, packed, n + 1, pieces[i], got),
                         -EBADMSG);
        assert_int_equal(inflate_in(MEDIA_TAR, 0, plain, PLAIN, pieces[i], got), 0);
        assert_string_equal(got, want);
    }
    assert_int_equal(inflate_in(MEDIA_TAR, 0, plain, 0, 1, got), 0);
    assert_int_equal(inflate_in(MEDIA_TAR, 9, plain, 10, 1, got), -EFBIG);
}

/* --- a registry in this process --- */

enum habit {
    HABIT_GOOD,
    HABIT_NO_RANGE, /* 200 and all bytes, whatever was asked for */
    HABIT_CUT,      /* a first answer about a layer ends in its middle */
    HABIT_HANGS,    /* sends half of a layer and then nothing */
};

#define LAYERS 3

struct served {
    char path[160];
    const char *type;
    const uint8_t *bytes;
    size_t length;
    int gets;
};

struct fixture {
    char dir[64];
    struct ctr_conf *conf;
    struct ctr_store *store;
    struct ctr_images *images;
    struct ctr_storage *storage;
    struct ctr_error err;
    struct served served[2 + LAYERS];
    uint8_t *layers[LAYERS];
    char diff_ids[LAYERS][72], *config, *manifest;
    enum habit habit;
    int listener, port;
    pthread_t server;
    pthread_mutex_t mutex;
    bool cancel;
};

struct peer {
    struct fixture *f;
    int fd;
};

static struct served *
find_served(struct fixture *f, const char *path)
{
    for (size_t i = 0; i < CTR_LENGTH(f->served); i++) {
        if (strcmp(f->served[i].path, path) == 0) {
            return &f->served[i];
        }
    }
    return NULL;
}

static void
answer(struct peer *peer, struct served *served, bool head, size_t from)
{
    struct fixture *f = peer->f;
    (void) pthread_mutex_lock(&f->mutex);
    bool first = served->gets++ == 0,
         layer = strstr(served->path, "/blobs/") != NULL && served - f->served >= 2;
    (void) pthread_mutex_unlock(&f->mutex);
    from = f->habit == HABIT_NO_RANGE ? 0 : from;
    size_t length = served->length - from, half = length;
    if (layer && (f->habit == HABIT_HANGS ||
                  ((f->habit == HABIT_CUT || f->habit == HABIT_NO_RANGE) && first))) {
        half = length / 2 + 1;
    }
    (void) dprintf(peer->fd, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n",
                   from > 0 ? "206 Partial Content" : "200 OK", served->type, length);
    if (from > 0) {
        (void) dprintf(peer->fd, "Content-Range: bytes %zu-%zu/%zu\r\n", from,
                       served->length - 1, served->length);
    }
    (void) dprintf(peer->fd, "Connection: close\r\n\r\n");
    if (!head) {
        (void) ctr_write_all(peer->fd, served->bytes + from, half);
    }
    char byte;
    if (layer && f->habit == HABIT_HANGS) {
        while (read(peer->fd, &byte, 1) > 0) {
            /* until the other end goes */
        }
    }
}

static void *
serve_one(void *arg)
{
    struct peer *peer = arg;
    char text[4096], method[8] = "", path[256] = "";
    size_t n = 0;
    ssize_t got = 0;
    while (n < sizeof text - 1 && (got = read(peer->fd, text + n, sizeof text - 1 - n)) > 0) {
        n += (size_t) got;
        text[n] = '\0';
        if (strstr(text, "\r\n\r\n") != NULL) {
            break;
        }
    }
    text[n] = '\0';
    const char *range = strstr(text, "Range: bytes=");
    if (sscanf(text, "%7s %255s", method, path) == 2) {
        struct served *served = find_served(peer->f, path);
        if (served != NULL) {
            answer(peer, served, strcmp(method, "HEAD") == 0,
                   range != NULL ? strtoul(range + 13, NULL, 10) : 0);
        } else {
            (void) dprintf(peer->fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n"
                                     "Connection: close\r\n\r\n");
        }
    }
    (void) close(peer->fd);
    free(peer);
    return NULL;
}

static void *
serve(void *arg)
{
    struct fixture *f = arg;
    for (;;) {
        int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            return NULL;
        }
        struct peer *peer = calloc(1, sizeof *peer);
        peer->f = f;
        peer->fd = fd;
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, serve_one, peer), 0);
        (void) pthread_detach(thread);
    }
}

static void
listen_up(struct fixture *f)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *) &at, sizeof at), 0);
    assert_int_equal(listen(f->listener, 64), 0);
    assert_int_equal(getsockname(f->listener, (struct sockaddr *) &at, &length), 0);
    f->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&f->server, NULL, serve, f), 0);
}

static void
serve_as(struct served *served, const char *kind, const char *name, const char *type,
         const void *bytes, size_t length)
{
    (void) snprintf(served->path, sizeof served->path, "/v2/t/%s/%s", kind, name);
    served->type = type;
    served->bytes = bytes;
    served->length = length;
}

/* A tar of one file with as many bytes, gzipped. */
static void
make_layer(struct fixture *f, size_t i, size_t length, json_t *layers)
{
    uint8_t *tar = calloc(1, 512 + length + 1024);
    (void) snprintf((char *) tar, 100, "file%zu", i);
    memcpy(tar + 100, "0000644\0000000000\0000000000", 24);
    (void) snprintf((char *) tar + 124, 12, "%011zo", length);
    memcpy(tar + 136, "00000000000\0        0", 21);
    memcpy(tar + 257, "ustar\00000", 8);
    fill(tar + 512, length, (unsigned) i + 7);
    unsigned sum = 0;
    for (size_t at = 0; at < 512; at++) {
        sum += tar[at];
    }
    (void) snprintf((char *) tar + 148, 8, "%06o", sum);
    sha_of(tar, 512 + length + 1024, f->diff_ids[i]);
    f->layers[i] = malloc(length + 8192);
    size_t n = gzip(tar, 512 + length + 1024, f->layers[i], length + 8192);
    char digest[72];
    sha_of(f->layers[i], n, digest);
    serve_as(&f->served[2 + i], "blobs", digest, "application/octet-stream", f->layers[i], n);
    (void) json_array_append_new(layers,
                                 json_pack("{s:s,s:s,s:I}", "mediaType", MEDIA_OCI_TAR "+gzip",
                                           "digest", digest, "size", (json_int_t) n));
    free(tar);
}

static void
make_image(struct fixture *f)
{
    json_t *layers = json_array(), *diff_ids = json_array();
    for (size_t i = 0; i < LAYERS; i++) {
        make_layer(f, i, ((size_t) 512 << 10) * (i + 1), layers);
        (void) json_array_append_new(diff_ids, json_string(f->diff_ids[i]));
    }
    json_t *config = json_pack("{s:s,s:s,s:{s:s,s:o}}", "architecture", "amd64", "os", "linux",
                               "rootfs", "type", "layers", "diff_ids", diff_ids);
    f->config = ctr_json_text(config);
    char digest[72];
    sha_of(f->config, strlen(f->config), digest);
    serve_as(&f->served[1], "blobs", digest, MEDIA_OCI_CONFIG, f->config, strlen(f->config));
    json_t *manifest =
        json_pack("{s:i,s:s,s:{s:s,s:s,s:I},s:o}", "schemaVersion", 2, "mediaType",
                  MEDIA_OCI_MANIFEST, "config", "mediaType", MEDIA_OCI_CONFIG, "digest", digest,
                  "size", (json_int_t) strlen(f->config), "layers", layers);
    f->manifest = ctr_json_text(manifest);
    serve_as(&f->served[0], "manifests", "latest", MEDIA_OCI_MANIFEST, f->manifest,
             strlen(f->manifest));
    json_decref(config);
    json_decref(manifest);
}

/* --- the pulling side --- */

static int
open_storage(struct fixture *f, const char *name)
{
    ctr_storage_close(f->storage);
    f->storage = NULL;
    return ctr_storage_open(f->conf, ctr_conf_instance(f->conf, CTR_KIND_STORAGE, name), f->dir,
                            &f->storage, &f->err);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->err.size = sizeof f->err;
    (void) pthread_mutex_init(&f->mutex, NULL);
    (void) snprintf(f->dir, sizeof f->dir, "/tmp/ctr-test-flow.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    const char *build = getenv("CTR_TEST_BUILD");
    char *absolute = realpath(build != NULL ? build : "build", NULL);
    char *text =
        ctr_printf("[engine]\ndata = %s\nrun = %s/run\nplugins = %s/tests/plugins\n"
                   "platform = linux/amd64\n[vmm]\nplugin = qemu\n[net]\nplugin = none\n"
                   "[storage]\nplugin = mem\n[storage.layers]\nplugin = mem-layers\n"
                   "[storage.short]\nplugin = mem-layers\nshort_read = yes\n"
                   "[storage.fails]\nplugin = mem-layers\nfail = layer_apply\n",
                   f->dir, f->dir, absolute);
    int rc = ctr_conf_parse("test", "test.ini", text, strlen(text), &f->conf, &f->err);
    rc = rc < 0 ? rc : ctr_store_open(f->dir, &f->store, &f->err);
    rc = rc < 0 ? rc : ctr_images_create(f->store, f->conf, NULL, &f->images, &f->err);
    if (rc < 0) {
        fail_msg("%s", f->err.msg);
    }
    f->images->client.limits.backoff_ms = 1;
    free(absolute);
    free(text);
    make_image(f);
    listen_up(f);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    (void) shutdown(f->listener, SHUT_RDWR);
    (void) pthread_join(f->server, NULL);
    (void) close(f->listener);
    ctr_storage_close(f->storage);
    ctr_images_destroy(f->images);
    ctr_store_close(f->store);
    ctr_conf_destroy(f->conf);
    struct ctr_error ignored = CTR_ERROR_INIT;
    (void) ctr_remove_tree(f->dir, &ignored);
    for (size_t i = 0; i < LAYERS; i++) {
        free(f->layers[i]);
    }
    free(f->config);
    free(f->manifest);
    free(f);
    return 0;
}

static bool
on_cancelled(void *arg)
{
    struct fixture *f = arg;
    (void) pthread_mutex_lock(&f->mutex);
    bool cancel = f->cancel;
    (void) pthread_mutex_unlock(&f->mutex);
    return cancel;
}

/* Cancels when the first layer has begun to come. */
static void
on_step(void *arg, const char *id, const char *status, uint64_t current, uint64_t total)
{
    struct fixture *f = arg;
    (void) pthread_mutex_lock(&f->mutex);
    f->cancel = f->cancel || (f->habit == HABIT_HANGS && strcmp(status, "Extracting") == 0);
    (void) pthread_mutex_unlock(&f->mutex);
}

static int
pull(struct fixture *f, struct ctr_error *err)
{
    char reference[64];
    (void) snprintf(reference, sizeof reference, "127.0.0.1:%d/t:latest", f->port);
    struct ctr_progress progress = {.step = on_step, .cancelled = on_cancelled, .arg = f};
    struct ctr_pull wanted = {.reference = reference, .storage = f->storage};
    return ctr_image_pull(f->images, &wanted, &progress, NULL, err);
}

static int
count_states(struct fixture *f, int32_t wanted)
{
    char *folder = ctr_printf("%s/storage/%s", f->dir, ctr_storage_name(f->storage));
    DIR *dir = opendir(folder);
    static const char *const prefix[] = {"key-", "chain-", "layer-"};
    int n = 0;
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        n += ctr_starts_with(e->d_name, prefix[wanted]);
    }
    (void) closedir(dir);
    free(folder);
    return n;
}

static void
check_pulled(struct fixture *f)
{
    int rc = pull(f, &f->err);
    if (rc < 0) {
        fail_msg("pull: %s", f->err.msg);
    }
    assert_int_equal(count_states(f, CTR_STORAGE_CHAIN), 1);
    assert_int_equal(count_states(f, CTR_STORAGE_WORKING), 0);
}

static void
test_pull_both_ways(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_storage(f, "layers"), 0);
    check_pulled(f);
    assert_int_equal(count_states(f, CTR_STORAGE_LAYER), LAYERS);
    check_pulled(f);
    assert_int_equal(open_storage(f, NULL), 0);
    check_pulled(f);
    for (size_t i = 0; i < LAYERS; i++) {
        assert_int_equal(f->served[2 + i].gets, 1); /* fetched once in all */
    }
}

/* A cut answer is gone on with; a registry without ranges is read from the start without writing anything twice. */
static void
test_resume(void **state)
{
    struct fixture *f = *state;
    f->habit = HABIT_CUT;
    assert_int_equal(open_storage(f, "layers"), 0);
    check_pulled(f);
    assert_int_equal(f->served[2].gets, 2);
}

static void
test_resume_without_ranges(void **state)
{
    struct fixture *f = *state;
    f->habit = HABIT_NO_RANGE;
    assert_int_equal(open_storage(f, "layers"), 0);
    check_pulled(f);
    assert_int_equal(f->served[2].gets, 2);
}

/* What an earlier daemon left, at odd offsets; right, and wrong. */
static void
test_resume_from_file(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_storage(f, "layers"), 0);
    for (size_t i = 0; i < LAYERS; i++) {
        const struct served *layer = &f->served[2 + i];
        static const size_t offsets[LAYERS] = {1, 262145, 300007};
        struct ctr_ingest *ingest = NULL;
        uint64_t offset = 0;
        assert_int_equal(ctr_ingest_open(f->store, strrchr(layer->path, '/') + 1,
                                         (int64_t) layer->length, &ingest, &offset, &f->err),
                         0);
        size_t n = offsets[i] < layer->length ? offsets[i] : layer->length - 1;
        assert_int_equal(ctr_ingest_write(ingest, i == 1 ? plain : layer->bytes, n, &f->err),
                         0);
        ctr_ingest_abort(ingest, true);
    }
    check_pulled(f);
    assert_int_equal(f->served[3].gets, 2); /* the wrong one was fetched anew */
    assert_int_equal(f->served[4].gets, 1);
    assert_int_equal(count_states(f, CTR_STORAGE_LAYER), LAYERS);
}

static void
test_cancel(void **state)
{
    struct fixture *f = *state;
    f->habit = HABIT_HANGS;
    assert_int_equal(open_storage(f, "layers"), 0);
    int64_t begun = ctr_monotonic_ns();
    assert_int_equal(pull(f, &f->err), -ECANCELED);
    assert_true(ctr_monotonic_ns() - begun < INT64_C(5000000000));
    assert_int_equal(count_states(f, CTR_STORAGE_WORKING), 0);
    f->habit = HABIT_GOOD;
    f->cancel = false;
    f->err = (struct ctr_error) CTR_ERROR_INIT;
    check_pulled(f);
}

static void
test_storage_fails(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_storage(f, "short"), 0);
    assert_int_equal(pull(f, &f->err), -EPROTO);
    assert_non_null(strstr(f->err.msg, "to its end"));
    assert_int_equal(count_states(f, CTR_STORAGE_WORKING), 0);
    f->err = (struct ctr_error) CTR_ERROR_INIT;
    assert_int_equal(open_storage(f, "fails"), 0);
    assert_true(pull(f, &f->err) < 0);
    assert_int_equal(count_states(f, CTR_STORAGE_WORKING), 0);
    f->err = (struct ctr_error) CTR_ERROR_INIT;
    assert_int_equal(open_storage(f, "layers"), 0);
    check_pulled(f);
}

static void *
pull_thread(void *arg)
{
    struct ctr_error err = CTR_ERROR_INIT;
    return (void *) (intptr_t) pull(arg, &err);
}

static void
test_together(void **state)
{
    struct fixture *f = *state;
    static const char *const storages[] = {"layers", NULL};
    for (size_t s = 0; s < CTR_LENGTH(storages); s++) {
        pthread_t threads[4];
        assert_int_equal(open_storage(f, storages[s]), 0);
        for (size_t i = 0; i < CTR_LENGTH(threads); i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, pull_thread, f), 0);
        }
        for (size_t i = 0; i < CTR_LENGTH(threads); i++) {
            void *rc = NULL;
            (void) pthread_join(threads[i], &rc);
            assert_null(rc);
        }
        assert_int_equal(count_states(f, CTR_STORAGE_CHAIN), 1);
        assert_int_equal(count_states(f, CTR_STORAGE_WORKING), 0);
    }
    for (size_t i = 0; i < LAYERS; i++) {
        assert_int_equal(f->served[2 + i].gets, 1);
    }
}

/* A finished layer of a failed pull stays for the next, in the store and in the storage, until it is collected. */
static void
test_layers_stay(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_storage(f, "layers"), 0);
    size_t length = f->served[4].length;
    f->served[4].length = 100; /* the largest is wrong */
    assert_true(pull(f, &f->err) < 0);
    int n = count_states(f, CTR_STORAGE_LAYER);
    assert_int_equal(count_states(f, CTR_STORAGE_CHAIN), 0);
    f->err = (struct ctr_error) CTR_ERROR_INIT;
    assert_int_equal(image_collect(f->images, 3600, &f->storage, 1, &f->err), 0);
    assert_int_equal(count_states(f, CTR_STORAGE_LAYER), n);
    f->served[4].length = length;
    check_pulled(f);
    assert_int_equal(image_collect(f->images, 0, &f->storage, 1, &f->err), 0);
    assert_int_equal(count_states(f, CTR_STORAGE_LAYER), LAYERS);
}

static void
layout_put(const struct fixture *f, const char *text, const void *bytes, size_t length,
           char ret_digest[72])
{
    sha_of(bytes, length, ret_digest);
    char *path = ctr_printf("%s/layout/%s%s", f->dir, text != NULL ? text : "blobs/sha256/",
                            text != NULL ? "" : ret_digest + 7);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
    free(path);
}

/* The image as a folder; its config lies about the last layer. */
static char *
make_lying_layout(struct fixture *f)
{
    static const char version[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    char *folder = ctr_printf("%s/layout", f->dir), was[72], is[72], digest[72];
    char *blobs = ctr_printf("%s/blobs/sha256", folder);
    assert_int_equal(ctr_mkdirs(blobs, 0700, &f->err), 0);
    for (size_t i = 0; i < LAYERS; i++) {
        layout_put(f, NULL, f->layers[i], f->served[2 + i].length, digest);
    }
    sha_of(f->config, strlen(f->config), was);
    char *config = strdup(f->config), *manifest = strdup(f->manifest);
    char *lie = strstr(config, f->diff_ids[LAYERS - 1]) + 20;
    *lie = *lie == 'a' ? 'b' : 'a';
    layout_put(f, NULL, config, strlen(config), is);
    memcpy(strstr(manifest, was), is, strlen(is));
    layout_put(f, NULL, manifest, strlen(manifest), digest);
    char *index =
        ctr_printf("{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" MEDIA_OCI_MANIFEST
                   "\",\"digest\":\"%s\",\"size\":%zu}]}",
                   digest, strlen(manifest));
    layout_put(f, "index.json", index, strlen(index), digest);
    layout_put(f, "oci-layout", version, strlen(version), digest);
    free(index);
    free(config);
    free(manifest);
    free(blobs);
    return folder;
}

/* A failed load leaves nothing in the store, and in the storage no layer without its blob. */
static void
test_load_fails(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_storage(f, "layers"), 0);
    char *folder = make_lying_layout(f);
    assert_int_equal(
        ctr_image_load_dir(f->images, folder, f->storage, NULL, NULL, NULL, &f->err), -EBADMSG);
    assert_non_null(strstr(f->err.msg, "the image config says"));
    free(folder);
    assert_int_equal(count_states(f, CTR_STORAGE_LAYER), 0);
    assert_int_equal(count_states(f, CTR_STORAGE_WORKING), 0);
    uint64_t size = 0;
    assert_false(ctr_blob_exists(f->store, strrchr(f->served[2].path, '/') + 1, &size));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_zstd_and_plain),
        cmocka_unit_test_setup_teardown(test_pull_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resume, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resume_without_ranges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resume_from_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_storage_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_together, setup, teardown),
        cmocka_unit_test_setup_teardown(test_layers_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(test_load_fails, setup, teardown),
    };
    (void) signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
