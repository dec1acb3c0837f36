/*
 * What <ctr/storage.h> asks of storage plugins that keep each layer by itself:
 *
 *     CTR_TEST_STORAGE=PATH            the plugin; default: the build folder's storage-erofs
 *     CTR_TEST_STORAGE_OPTIONS=a=b,…   its options
 *
 * What their images hold is compared with other implementations in tests/conform.
 */
#include "tests/storage-host.h"
#include "tests/tar.h"
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define CHAIN_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define CHAIN_B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define LAYER_1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define LAYER_2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define LAYER_3 "sha256:3333333333333333333333333333333333333333333333333333333333333333"

static const struct ctr_plugin *plugin;
static const struct ctr_storage_ops *ops;
static const char *options;
static struct storage_host host;
static void *self;
static struct ctr_error err;
static char dir[256];

/* --- an instance of its own for each test --- */

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

static int
open_instance(void)
{
    err = (struct ctr_error) CTR_ERROR_INIT;
    assert_int_equal(storage_host_init(&host, plugin, dir, options), 0);
    return ops->open(&host.host, &self, &err);
}

static int
setup(void **state)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/test-layers.XXXXXX", tmp != NULL ? tmp : "/tmp");
    return mkdtemp(dir) != NULL && open_instance() == 0 ? 0 : -1;
}

static int
teardown(void **state)
{
    ops->close(self);
    self = NULL;
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
works(int status)
{
    if (status != 0) {
        fail_msg("%d: %s", status, err.msg);
    }
}

/* A failure leaves its code and a message that has `text` in it. */
static void
fails(int status, int code, const char *text)
{
    if (status != code || err.code != code || strstr(err.msg, text) == NULL ||
        err.msg[0] == '\0') {
        fail_msg("wanted %d with '%s', got %d (err.code %d): %s", code, text, status, err.code,
                 err.msg);
    }
    err = (struct ctr_error) CTR_ERROR_INIT;
}

static int
count_in(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *entry = readdir(d); entry != NULL; entry = readdir(d)) {
        char path[1024];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            lstat(path, &st) == 0) {
            n += S_ISDIR(st.st_mode) ? count_in(path) : 1;
        }
    }
    closedir(d);
    return n;
}

static int
count_files(void)
{
    return count_in(host.state_dir);
}

struct listing {
    int of[3]; /* by enum ctr_storage_state */
};

static void
note_name(void *arg, const char *name, int32_t state)
{
    assert_in_range(state, 0, 2);
    ((struct listing *) arg)->of[state]++;
}

static void
expect_listed(int working, int chains, int layers)
{
    struct listing listing = {{0}};
    works(ops->list(self, note_name, &listing, &err));
    assert_int_equal(listing.of[CTR_STORAGE_WORKING], working);
    assert_int_equal(listing.of[CTR_STORAGE_CHAIN], chains);
    assert_int_equal(listing.of[CTR_STORAGE_LAYER], layers);
}

/* --- layers --- */

static int
tar_fd(struct tar tar)
{
    int fd = memfd_create("layer", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, tar.data, tar.length), tar.length);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    free(tar.data);
    return fd;
}

static int
apply_limited(const char *key, struct tar tar, const struct ctr_storage_limits *limits)
{
    int fd = tar_fd(tar);
    off_t length = lseek(fd, 0, SEEK_END);
    (void) lseek(fd, 0, SEEK_SET);
    int status = ops->layer_apply(self, key, fd, limits, &err);
    if (status == 0) {
        assert_int_equal(lseek(fd, 0, SEEK_CUR), length); /* read to its end */
    }
    assert_int_equal(close(fd), 0);
    return status;
}

static int
apply(const char *key, struct tar tar)
{
    return apply_limited(key, tar, NULL);
}

static struct tar
base(void)
{
    struct tar tar = {0};
    tar_add(&tar, (struct tar_spec){.name = "usr/lib/", .type = '5', .mode = 0755});
    tar_add(&tar,
            (struct tar_spec){.name = "lib", .type = '2', .link = "usr/lib", .mode = 0777});
    tar_add(&tar, (struct tar_spec){.name = "usr/lib/x", .type = '0', .data = "x"});
    tar_add(&tar, (struct tar_spec){.name = "etc/old", .type = '0', .data = "old"});
    tar_end(&tar);
    return tar;
}

/* Means what it does only on top of base(): a parent that is a link there, a link to a file there, whiteouts. */
static struct tar
upper(void)
{
    struct tar tar = {0};
    tar_add(&tar, (struct tar_spec){.name = "lib/y", .type = '1', .link = "lib/x"});
    tar_add(&tar, (struct tar_spec){.name = "etc/.wh.old", .type = '0'});
    tar_add(&tar, (struct tar_spec){.name = "usr/.wh..wh..opq", .type = '0'});
    tar_add(&tar, (struct tar_spec){.name = "etc/new", .type = '0', .data = "new"});
    tar_end(&tar);
    return tar;
}

static void
add_layer(const char *diff_id, struct tar tar)
{
    works(apply("add", tar));
    works(ops->layer_commit(self, "add", diff_id, &err));
}

static int
chain(const char *chain_id, const char *one, const char *two)
{
    const char *const list[] = {one, two};
    return ops->chain(self, chain_id, list, (one != NULL) + (two != NULL), &err);
}

struct disks {
    int n;
    uint64_t bytes;
};

static void
note_disk(void *arg, const struct ctr_disk *disk)
{
    struct disks *disks = arg;
    disks->n++;
    assert_int_equal(access(disk->path, R_OK), 0);
    disks->bytes += disk->role == CTR_DISK_LOWER ? disk->bytes : 0;
}

static void
expect_bootable(const char *chain_id)
{
    struct disks disks = {0};
    works(ops->clone(self, "box", chain_id, 0, &err));
    works(ops->disks(self, "box", note_disk, &disks, &err));
    assert_int_equal(disks.n, 2);
    assert_true(disks.bytes > 0);
    works(ops->remove(self, "box", &err));
}

/* --- tests --- */

static void
life(void **state)
{
    struct ctr_storage_usage usage = {.size = sizeof usage};
    works(apply("u", upper()));
    expect_listed(1, 0, 0);
    works(ops->layer_commit(self, "u", LAYER_2, &err));
    expect_listed(0, 0, 1);
    add_layer(LAYER_1, base());
    works(chain(CHAIN_B, LAYER_1, LAYER_2));
    works(chain(CHAIN_B, LAYER_1, LAYER_2)); /* again: nothing to do */
    expect_listed(0, 1, 2);
    works(ops->usage(self, CHAIN_B, &usage, &err));
    assert_true(usage.bytes > 0 && usage.bytes < 1 << 20);
    assert_true(usage.inodes == 0 || usage.inodes == 7);
    expect_bootable(CHAIN_B);
    fails(ops->layer_remove(self, LAYER_1, &err), -EBUSY, "1111");
    works(ops->remove(self, CHAIN_B, &err));
    expect_listed(0, 0, 2);
    works(ops->layer_remove(self, LAYER_1, &err));
    works(ops->layer_remove(self, LAYER_2, &err));
    works(ops->layer_remove(self, LAYER_2, &err)); /* gone already */
    expect_listed(0, 0, 0);
}

static void
layers_are_shared(void **state)
{
    add_layer(LAYER_1, base());
    add_layer(LAYER_2, upper());
    works(chain(CHAIN_A, LAYER_1, NULL));
    works(chain(CHAIN_B, LAYER_1, LAYER_2));
    works(ops->remove(self, CHAIN_A, &err));
    fails(ops->layer_remove(self, LAYER_1, &err), -EBUSY, "1111");
    expect_bootable(CHAIN_B);
    works(ops->remove(self, CHAIN_B, &err));
    works(ops->layer_remove(self, LAYER_1, &err));
}

static void
chain_in_use(void **state)
{
    add_layer(LAYER_1, base());
    works(chain(CHAIN_A, LAYER_1, NULL));
    works(ops->clone(self, "box", CHAIN_A, 0, &err));
    fails(ops->remove(self, CHAIN_A, &err), -EBUSY, "aaaa");
    works(ops->remove(self, "box", &err));
    works(ops->remove(self, CHAIN_A, &err));
}

static void
empty_root(void **state)
{
    works(chain(CHAIN_A, NULL, NULL));
    expect_bootable(CHAIN_A);
    add_layer(LAYER_1, (struct tar){0}); /* no bytes at all */
    works(chain(CHAIN_B, LAYER_1, NULL));
    expect_bootable(CHAIN_B);
}

static void
missing_layer(void **state)
{
    add_layer(LAYER_1, base());
    int files = count_files();
    fails(chain(CHAIN_B, LAYER_1, LAYER_2), -ENOENT, "2222");
    expect_listed(0, 0, 1);
    assert_int_equal(count_files(), files);
    fails(ops->layer_commit(self, "none", LAYER_3, &err), -ENOENT, "none");
    fails(ops->clone(self, "box", CHAIN_B, 0, &err), -ENOENT, "bbbb");
}

/* What is wrong only together is found when it comes together; the layers are none the worse. */
static void
link_to_nothing(void **state)
{
    add_layer(LAYER_2, upper());
    fails(chain(CHAIN_A, LAYER_2, NULL), -EBADMSG, "lib/x");
    add_layer(LAYER_1, base());
    works(chain(CHAIN_B, LAYER_1, LAYER_2));
}

static void
same_layer_twice(void **state)
{
    add_layer(LAYER_1, base());
    add_layer(LAYER_1, base());
    expect_listed(0, 0, 1);
    works(chain(CHAIN_A, LAYER_1, LAYER_1)); /* in one chain, too */
    expect_bootable(CHAIN_A);
}

static void
keys_are_unique(void **state)
{
    works(apply("k", base()));
    fails(apply("k", base()), -EEXIST, "k");
    add_layer(LAYER_2, base());
    works(chain(CHAIN_A, LAYER_2, NULL));
    fails(ops->clone(self, "k", CHAIN_A, 0, &err), -EEXIST, "k");
    works(ops->layer_commit(self, "k", LAYER_1, &err));
    fails(ops->layer_commit(self, "k", LAYER_1, &err), -ENOENT, "k");
    works(ops->clone(self, "k", CHAIN_A, 0, &err));
    fails(apply("k", base()), -EEXIST, "k");
}

static void
bad_layers_leave_nothing(void **state)
{
    int before = count_files();
    for (int i = 0; i < 3; i++) {
        struct tar tar = i == 2 ? (struct tar){0} : base();
        if (i == 0) {
            tar.length -= 1024 + 700; /* cut */
        } else if (i == 1) {
            tar.data[100] ^= 1; /* a flipped bit in the first header */
        } else {
            tar_add(&tar, (struct tar_spec){.name = "../../etc/x", .type = '0', .data = "x"});
        }
        fails(apply("bad", tar), -EBADMSG, "");
        assert_int_not_equal(ops->layer_commit(self, "bad", LAYER_1, &err), 0);
        works(ops->layer_remove(self, "bad", &err));
        expect_listed(0, 0, 0);
        assert_int_equal(count_files(), before);
        err = (struct ctr_error) CTR_ERROR_INIT;
    }
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* read() says EISDIR */
    fails(ops->layer_apply(self, "bad", fd, NULL, &err), -EISDIR, "");
    close(fd);
    add_layer(LAYER_1, base()); /* the next right one works */
}

static void
limits_hold(void **state)
{
    struct ctr_storage_limits few = {.size = sizeof few, .max_entries = 3};
    struct ctr_storage_limits small = {.size = sizeof small, .max_bytes = 3};
    fails(apply_limited("few", base(), &few), -E2BIG, "3");
    fails(apply_limited("small", base(), &small), -EFBIG, "3");
    expect_listed(0, 0, 0);
    few.max_entries = small.max_bytes = 4;
    works(apply_limited("few", base(), &few));
    works(apply_limited("small", base(), &small));
}

static void
reads_to_the_end(void **state)
{
    struct tar tar = base();
    char *zeros = calloc(1, 1 << 20);
    zeros[5000] = 'j';
    tar_bytes(&tar, zeros, 1 << 20);
    free(zeros);
    works(apply("k", tar)); /* apply looks at the offset */
}

static void
sweep(void **state)
{
    add_layer(LAYER_1, base());
    add_layer(LAYER_2, upper());
    works(chain(CHAIN_B, LAYER_1, LAYER_2));
    works(ops->clone(self, "box", CHAIN_B, 0, &err));
    int files = count_files();
    works(apply("half", base()));
    ops->close(self);
    self = NULL;
    works(open_instance());
    assert_int_equal(count_files(), files);
    expect_listed(1, 1, 2); /* the container's key */
    works(ops->remove(self, "box", &err));
    expect_bootable(CHAIN_B);
}

/* --- several threads --- */

struct job {
    pthread_t thread;
    char key[16];
    int status;
};

static void *
run_job(void *arg)
{
    struct job *job = arg;
    struct ctr_error ignored = CTR_ERROR_INIT;
    struct tar tar = {0};
    static const char data[] = "some content of a file, not much";
    for (int i = 0; i < 500; i++) {
        char name[64];
        snprintf(name, sizeof name, "d%d/%s-%d", i % 7, job->key, i);
        tar_add(&tar, (struct tar_spec){.name = name, .type = '0', .data = data});
    }
    tar_end(&tar);
    int fd = tar_fd(tar);
    job->status = ops->layer_apply(self, job->key, fd, NULL, &ignored);
    close(fd);
    return NULL;
}

static void
several_threads(void **state)
{
    struct job jobs[6];
    char ids[6][72];
    const char *list[6];
    struct ctr_storage_usage usage = {.size = sizeof usage};
    for (int i = 0; i < 6; i++) {
        snprintf(jobs[i].key, sizeof jobs[i].key, "job%d", i);
        snprintf(ids[i], sizeof ids[i], "sha256:%064x", i);
        list[i] = ids[i];
        assert_int_equal(pthread_create(&jobs[i].thread, NULL, run_job, &jobs[i]), 0);
    }
    add_layer(LAYER_1, base()); /* other slots meanwhile */
    works(chain(CHAIN_A, LAYER_1, NULL));
    for (int i = 0; i < 6; i++) {
        pthread_join(jobs[i].thread, NULL);
        assert_int_equal(jobs[i].status, 0);
        works(ops->layer_commit(self, jobs[i].key, ids[i], &err));
    }
    works(ops->chain(self, CHAIN_B, list, 6, &err));
    works(ops->usage(self, CHAIN_B, &usage, &err));
    assert_true(usage.inodes == 0 || usage.inodes == 1 + 7 + 3000);
    expect_bootable(CHAIN_B);
}

/* The guest's one disk may have as many layers as an image can. */
static void
many_layers(void **state)
{
    static char ids[130][72];
    const char *list[130];
    for (int i = 0; i < 130; i++) {
        struct tar tar = {0};
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        tar_add(&tar, (struct tar_spec){.name = name, .type = '0', .data = name});
        tar_end(&tar);
        snprintf(ids[i], sizeof ids[i], "sha256:%064x", i);
        list[i] = ids[i];
        add_layer(ids[i], tar);
    }
    works(ops->chain(self, CHAIN_A, list, 130, &err));
    expect_bootable(CHAIN_A);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    static char path[600];
    const char *given = getenv("CTR_TEST_STORAGE"), *build = getenv("CTR_TEST_BUILD");
    snprintf(path, sizeof path, "%s/lib/ctr/plugins/storage-erofs.so",
             build != NULL ? build : "build");
    options = getenv("CTR_TEST_STORAGE_OPTIONS");
    if (given == NULL && options == NULL) {
        options = "size=256M";
    }
    plugin = storage_host_load(given != NULL ? given : path);
    if (plugin == NULL) {
        return 1;
    }
    ops = plugin->ops;
    const struct CMUnitTest tests[] = {
        TEST(life),
        TEST(layers_are_shared),
        TEST(chain_in_use),
        TEST(empty_root),
        TEST(missing_layer),
        TEST(link_to_nothing),
        TEST(same_layer_twice),
        TEST(keys_are_unique),
        TEST(bad_layers_leave_nothing),
        TEST(limits_hold),
        TEST(reads_to_the_end),
        TEST(sweep),
        TEST(several_threads),
        TEST(many_layers),
    };
    (void) signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
