/* Importing root filesystems, and the Dockerfile lines that go with them. */
#include "core/image/changes.h"
#include "image-fixture.h"

/* --- changes --- */

static const struct {
    const char *line, *config; /* what {"Env":["A=1","P=/x"]} becomes */
} good[] = {
    {"", "{}"},
    {"  # a comment", "{}"},
    {"CMD [\"a\", \"b c\"]", "{\"Cmd\":[\"a\",\"b c\"]}"},
    {"cmd echo $A  ", "{\"Cmd\":[\"/bin/sh\",\"-c\",\"echo $A\"]}"},
    {"CMD [1]", "{\"Cmd\":[\"/bin/sh\",\"-c\",\"[1]\"]}"},
    {"CMD []", "{\"Cmd\":[]}"},
    {"\tEntryPoint\t/init\n", "{\"Entrypoint\":[\"/bin/sh\",\"-c\",\"/init\"]}"},
    {"ENV B=2 C=\"x y\" D='$A' E=$A/${P} F=a\\ b",
     "{\"Env\":[\"A=1\",\"P=/x\",\"B=2\",\"C=x y\",\"D=$A\",\"E=1//x\",\"F=a b\"]}"},
    {"ENV A=3", "{\"Env\":[\"A=3\",\"P=/x\"]}"},
    {"ENV A", NULL},
    {"ENV A several  words", "{\"Env\":[\"A=several  words\",\"P=/x\"]}"},
    {"ENV A=", "{\"Env\":[\"A=\",\"P=/x\"]}"},
    {"ENV =x", NULL},
    {"ENV A=1 B", NULL},
    {"ENV A=\"x", NULL},
    {"ENV A=${P:-x}", NULL},
    {"ENV A=$ B=\\$P", "{\"Env\":[\"A=$\",\"P=/x\",\"B=$P\"]}"},
    {"LABEL a.b=\"c d\" \"e f\"='g=h'", "{\"Labels\":{\"a.b\":\"c d\",\"e f\":\"g=h\"}}"},
    {"LABEL a b c", "{\"Labels\":{\"a\":\"b c\"}}"},
    {"EXPOSE 80 53/udp 8000-8002/tcp",
     "{\"ExposedPorts\":{\"80/tcp\":{},\"53/udp\":{},\"8000/tcp\":{},\"8001/tcp\":{},\"8002/"
     "tcp\":{}}}"},
    {"EXPOSE 0", NULL},
    {"EXPOSE 65536", NULL},
    {"EXPOSE 9-8", NULL},
    {"EXPOSE 80/icmp", NULL},
    {"EXPOSE 80:80", NULL},
    {"USER $A:staff", "{\"User\":\"1:staff\"}"},
    {"USER \"\"", NULL},
    {"USER", NULL},
    {"VOLUME /a \"/b c\"", "{\"Volumes\":{\"/a\":{},\"/b c\":{}}}"},
    {"VOLUME [\"/a b\"]", "{\"Volumes\":{\"/a b\":{}}}"},
    {"VOLUME \"\"", NULL},
    {"WORKDIR $P/y z", "{\"WorkingDir\":\"/x/y z\"}"},
    {"WORKDIR y", "{\"WorkingDir\":\"/y\"}"},
    {"STOPSIGNAL SIGUSR1", "{\"StopSignal\":\"SIGUSR1\"}"},
    {"STOPSIGNAL 9", "{\"StopSignal\":\"9\"}"},
    {"STOPSIGNAL SIGNOPE", NULL},
    {"RUN rm -rf /", NULL},
    {"ONBUILD CMD x", NULL},
    {"CMDX y", NULL},
    {"CMD a\nCMD b", NULL},
    {"CMD \xff", NULL},
};

static void
test_changes(void **state)
{
    for (size_t i = 0; i < CTR_LENGTH(good); i++) {
        struct ctr_error err = CTR_ERROR_INIT;
        json_t *process = json_pack("{s:[s, s]}", "Env", "A=1", "P=/x");
        json_t *before = json_deep_copy(process);
        int rc = changes_apply(process, good[i].line, &err);
        if (good[i].config == NULL) {
            assert_int_equal(rc, -EINVAL);
            assert_non_null(strstr(err.msg, "change \""));
        } else {
            json_t *want = json_loads(good[i].config, 0, NULL);
            (void) json_object_update_missing(want, before);
            char *text = ctr_json_text(process);
            if (rc < 0 || !json_equal(process, want)) {
                fail_msg("%s: %s, %s", good[i].line, rc < 0 ? err.msg : "", text);
            }
            free(text);
            json_decref(want);
        }
        json_decref(before);
        json_decref(process);
    }
}

/* --- import --- */

/* A descriptor from which these bytes come. */
static int
source(struct fixture *f, const char *bytes, size_t length)
{
    char path[100];
    (void) snprintf(path, sizeof path, "%s/source", f->dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(ctr_write_all(fd, bytes, length), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static struct tar
root_tar(void)
{
    struct tar tar = {NULL};
    tar_add(&tar, (struct tar_spec){.name = "etc/", .type = '5', .mode = 0755});
    tar_add(&tar, (struct tar_spec){.name = "etc/x", .type = '0', .data = "hello"});
    tar_end(&tar);
    return tar;
}

static void
test_import(void **state)
{
    struct fixture *f = *state;
    static const char *const suffixes[] = {"", "+gzip", "+zstd"};
    struct tar tar = root_tar();
    json_t *changes = json_pack("[s, s]", "ENV A=1", "CMD /bin/true");
    for (size_t i = 0; i < CTR_LENGTH(suffixes); i++) {
        size_t length = 0;
        char id[72], type[100];
        char *bytes = pack(suffixes[i], tar.data, tar.length, &length);
        int fd = source(f, bytes, length);
        int rc = ctr_image_import(f->images, fd, "box", "by hand", changes, "linux/arm64", NULL,
                                  id, &f->err);
        if (rc < 0) {
            fail_msg("%s: %s", suffixes[i], f->err.msg);
        }
        struct ctr_image image;
        assert_int_equal(ctr_image_resolve(f->images, "box:latest", NULL, &image, &f->err), 0);
        assert_string_equal(image.id, id);
        assert_string_equal(image.platform.arch, "arm64");
        (void) snprintf(type, sizeof type, MEDIA_OCI_TAR "%s", suffixes[i]);
        const json_t *layer = json_array_get(image.layers, 0);
        assert_string_equal(ctr_json_str(layer, "mediaType", ""), type);
        assert_int_equal(ctr_json_int(layer, "size", 0), length);
        const json_t *process = json_object_get(image.config, "config");
        assert_string_equal(
            json_string_value(json_array_get(json_object_get(process, "Env"), 0)), "A=1");
        const json_t *step = json_array_get(json_object_get(image.config, "history"), 0);
        assert_string_equal(ctr_json_str(step, "comment", ""), "by hand");
        assert_int_equal(ctr_image_unpack(f->images, &image, f->storage, NULL, &f->err), 0);
        ctr_image_finish(&image);
        (void) close(fd);
        free(bytes);
    }
    json_decref(changes);
    free(tar.data);
}

static bool
is_cancelled(void *arg)
{
    return ++*(int *) arg > 5;
}

static void
test_import_fails(void **state)
{
    struct fixture *f = *state;
    struct tar tar = root_tar();
    size_t length = 0;
    char id[72] = "", *gzip = pack("+gzip", tar.data, tar.length, &length);
    char *zeros = calloc(1, 5 << 20);
    const struct {
        const char *bytes;
        size_t length;
        const char *reference, *change, *why;
    } cases[] = {
        {"", 0, "", NULL, "nothing came"},
        {"hello", 5, "", NULL, "no tar"},
        {tar.data + 100, tar.length - 100, "", NULL, "no tar"},
        {gzip, length - 5, "", NULL, "too early"},
        {"\xfd"
         "7zXZ\0",
         6, "", NULL, "xz"},
        {"BZh91AY", 7, "", NULL, "bzip2"},
        {zeros, 5 << 20, "", NULL, "max_image"},
        {tar.data, tar.length, "Bad Name", NULL, ""},
        {tar.data, tar.length, "x", "RUN x", "RUN"},
    };
    for (size_t i = 0; i < CTR_LENGTH(cases); i++) {
        int fd = source(f, cases[i].bytes, cases[i].length);
        json_t *changes = cases[i].change != NULL ? json_pack("[s]", cases[i].change) : NULL;
        assert_true(ctr_image_import(f->images, fd, cases[i].reference, NULL, changes, "", NULL,
                                     id, &f->err) < 0);
        if (strstr(f->err.msg, cases[i].why) == NULL) {
            fail_msg("%zu: %s", i, f->err.msg);
        }
        (void) close(fd);
        json_decref(changes);
        assert_int_equal(count_blobs(f->store), 0);
    }
    int ends[2], calls = 0;
    struct ctr_progress progress = {.cancelled = is_cancelled, .arg = &calls};
    assert_int_equal(ctr_pipe(ends), 0);
    assert_int_equal(
        ctr_image_import(f->images, ends[0], "x", NULL, NULL, "", &progress, id, &f->err),
        -ECANCELED);
    (void) close(ends[0]);
    (void) close(ends[1]);
    assert_string_equal(id, "");
    free(zeros);
    free(gzip);
    free(tar.data);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes),
        cmocka_unit_test_setup_teardown(test_import, setup, teardown),
        cmocka_unit_test_setup_teardown(test_import_fails, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
