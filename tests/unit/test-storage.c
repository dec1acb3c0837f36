/*
 * What <ctr/storage.h> asks of every storage plugin. The core of a conformance test:
 *
 *     CTR_TEST_STORAGE=PATH            the plugin; default: the build folder's storage-ext4
 *     CTR_TEST_STORAGE_OPTIONS=a=b,…   its options
 *     CTR_TEST_STORAGE_CHECK=PROGRAM   called as PROGRAM FSTYPE PATH for a disk nobody has written; fails if it is damaged
 *
 * Disks with ext4 are looked into with e2fsck and tests/bin/ext4-dump where those are found.
 */
#include "tests/storage-host.h"
#include "tests/tar.h"
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CHAIN_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define CHAIN_B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define CHAIN_C "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

extern char **environ;

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
    snprintf(dir, sizeof dir, "%s/test-storage.XXXXXX", tmp != NULL ? tmp : "/tmp");
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

/* A failure leaves its code and a message. */
static void
fails(int status, int code)
{
    if (status != code || err.code != code || err.msg[0] == '\0') {
        fail_msg("wanted %d, got %d (err.code %d): %s", code, status, err.code, err.msg);
    }
    err = (struct ctr_error) CTR_ERROR_INIT;
}

/* --- layers --- */

struct feed {
    int fd;
    struct tar tar;
    size_t written;
};

static void *
feed_pipe(void *arg)
{
    struct feed *feed = arg;
    while (feed->written < feed->tar.length) {
        ssize_t n =
            write(feed->fd, feed->tar.data + feed->written, feed->tar.length - feed->written);
        if (n <= 0) {
            break;
        }
        feed->written += (size_t) n;
    }
    close(feed->fd);
    return NULL;
}

/* Applies the stream through a pipe (to a key of its own where layers are by themselves) and frees it; *ret_read is how much was read. */
static int
apply_n(const char *key, struct tar tar, size_t *ret_read)
{
    int fds[2];
    pthread_t thread;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    struct feed feed = {.fd = fds[1], .tar = tar};
    assert_int_equal(pthread_create(&thread, NULL, feed_pipe, &feed), 0);
    int status = ops->chain != NULL ? ops->layer_apply(self, key, fds[0], NULL, &err)
                                    : ops->apply(self, key, fds[0], &err);
    assert_int_not_equal(fcntl(fds[0], F_GETFD), -1); /* it stays the caller's */
    close(fds[0]);
    pthread_join(thread, NULL);
    *ret_read = feed.written;
    free(tar.data);
    return status;
}

static int
apply(const char *key, struct tar tar)
{
    size_t n;
    return apply_n(key, tar, &n);
}

static struct tar
layer_one(void)
{
    struct tar tar = {0};
    tar_add(&tar, (struct tar_spec){.name = "./", .type = '5', .mode = 0755});
    tar_add(&tar, (struct tar_spec){.name = "bin/", .type = '5', .mode = 0755});
    tar_add(&tar, (struct tar_spec){.name = "bin/sh",
                                    .type = '0',
                                    .data = "#!",
                                    .mode = 04755,
                                    .uid = 7,
                                    .gid = 70000});
    tar_add(&tar, (struct tar_spec){.name = "bin/bash", .type = '1', .link = "bin/sh"});
    tar_add(&tar, (struct tar_spec){.name = "etc/motd", .type = '0', .data = "hello"});
    tar_add(&tar, (struct tar_spec){.name = "etc/old", .type = '0', .data = "old"});
    tar_add(&tar,
            (struct tar_spec){.name = "lib", .type = '2', .link = "usr/lib", .mode = 0777});
    tar_add(&tar, (struct tar_spec){.name = "lib/x", .type = '0', .data = "x"});
    tar_add(&tar, (struct tar_spec){
                      .name = "null", .type = '3', .mode = 0666, .major = 1, .minor = 3});
    tar_end(&tar);
    return tar;
}

static struct tar
layer_two(void)
{
    struct tar tar = {0};
    tar_add(&tar, (struct tar_spec){.name = "etc/.wh.old", .type = '0'});
    tar_add(&tar, (struct tar_spec){.name = "etc/new", .type = '0', .data = "new"});
    tar_add(&tar, (struct tar_spec){.name = "null", .type = '5', .mode = 0700});
    tar_end(&tar);
    return tar;
}

/* --- snapshots, as the plugin wants them made --- */

/* A chain of layers by themselves, each with a diff ID after its number. */
static void
build_of_layers(const char *chain, struct tar tars[], uint32_t n)
{
    char ids[2][72];
    const char *list[] = {ids[0], ids[1]};
    for (uint32_t i = 0; i < n; i++) {
        snprintf(ids[i], sizeof ids[i], "sha256:%064x", i + 1);
        works(apply("layer", tars[i]));
        works(ops->layer_commit(self, "layer", ids[i], &err));
    }
    works(ops->chain(self, chain, list, n, &err));
}

/* Two layers; the chain of both is CHAIN_B. */
static void
build_both(void)
{
    if (ops->chain != NULL) {
        struct tar tars[] = {layer_one(), layer_two()};
        build_of_layers(CHAIN_B, tars, 2);
        return;
    }
    works(ops->prepare(self, "one", NULL, NULL, &err));
    works(apply("one", layer_one()));
    works(apply("one", layer_two()));
    works(ops->commit(self, "one", CHAIN_B, &err));
}

static void
build_small(const char *chain)
{
    struct tar tar = {0};
    tar_add(&tar, (struct tar_spec){.name = "f", .type = '0', .data = "f"});
    tar_end(&tar);
    if (ops->chain != NULL) {
        build_of_layers(chain, &tar, 1);
        return;
    }
    works(ops->prepare(self, "small", NULL, NULL, &err));
    works(apply("small", tar));
    works(ops->commit(self, "small", chain, &err));
}

/* --- looking --- */

struct listing {
    const char *wanted;
    int found, committed, all;
};

static void
note_one(void *arg, const char *name, int32_t committed)
{
    struct listing *listing = arg;
    listing->all++;
    if (strcmp(name, listing->wanted) == 0) {
        listing->found++;
        listing->committed = committed;
    }
}

/* 1: committed, 0: a key, -1: not listed */
static int
listed(const char *name)
{
    struct listing listing = {.wanted = name};
    if (ops->list == NULL) {
        skip();
    }
    works(ops->list(self, note_one, &listing, &err));
    assert_true(listing.found <= 1);
    return listing.found == 1 ? listing.committed : -1;
}

static int
count_listed(void)
{
    struct listing listing = {.wanted = ""};
    if (ops->list == NULL) {
        return 0;
    }
    works(ops->list(self, note_one, &listing, &err));
    return listing.all;
}

struct disks {
    struct ctr_disk list[64];
    char paths[64][512], fstypes[64][16];
    int n;
};

static void
note_disk(void *arg, const struct ctr_disk *disk)
{
    struct disks *disks = arg;
    assert_true(disks->n < 64);
    disks->list[disks->n] = *disk;
    snprintf(disks->paths[disks->n], sizeof disks->paths[0], "%s", disk->path);
    snprintf(disks->fstypes[disks->n], sizeof disks->fstypes[0], "%s", disk->fstype);
    assert_non_null(disk->options);
    disks->n++;
}

static void
get_disks(const char *key, struct disks *ret)
{
    *ret = (struct disks){.n = 0};
    works(ops->disks(self, key, note_disk, ret, &err));
    assert_true(ret->n > 0);
}

/* Runs a program; its output goes into ret. Exit status, or -1 if there is no such program. */
static int
run(char *const argv[], char *ret, size_t capacity)
{
    int fds[2], status;
    pid_t pid;
    size_t length = 0;
    ssize_t n;
    posix_spawn_file_actions_t actions;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 2);
    int code = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    while (code == 0 && length < capacity - 1 &&
           (n = read(fds[0], ret + length, capacity - 1 - length)) > 0) {
        length += (size_t) n;
    }
    ret[length] = '\0';
    close(fds[0]);
    if (code != 0 || waitpid(pid, &status, 0) != pid) {
        return -1;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) != 127 ? WEXITSTATUS(status) : -1;
}

/* Every disk of the key is sound, by the program for it. */
static void
check_disks(const char *key)
{
    static char output[65536];
    struct disks disks;
    const char *program = getenv("CTR_TEST_STORAGE_CHECK");
    get_disks(key, &disks);
    for (int i = 0; i < disks.n; i++) {
        char *fsck[] = {(char *) "e2fsck", (char *) "-fn", disks.paths[i], NULL};
        char *other[] = {(char *) program, disks.fstypes[i], disks.paths[i], NULL};
        int status = 0;
        if (program != NULL) {
            status = run(other, output, sizeof output);
        } else if (strcmp(disks.fstypes[i], "ext4") == 0) {
            status = run(fsck, output, sizeof output);
        }
        if (status > 0) {
            fail_msg("%s is damaged:\n%s", disks.paths[i], output);
        }
    }
}

/* --- the descriptor --- */

static void
descriptor(void **state)
{
    assert_int_equal(plugin->magic, CTR_PLUGIN_MAGIC);
    assert_int_equal(plugin->abi_major, CTR_ABI_MAJOR);
    assert_int_equal(plugin->kind, CTR_KIND_STORAGE);
    assert_true(strspn(plugin->name, "abcdefghijklmnopqrstuvwxyz0123456789-") ==
                strlen(plugin->name));
    assert_non_null(plugin->version);
    assert_non_null(plugin->help);
    for (uint32_t i = 0; i < plugin->n_options; i++) {
        assert_int_equal(plugin->options[i].size, sizeof(struct ctr_option));
        assert_non_null(plugin->options[i].name);
        assert_non_null(plugin->options[i].help);
        assert_true((plugin->options[i].type == CTR_OPTION_CHOICE) ==
                    (plugin->options[i].choices != NULL));
    }
    assert_true(ops->size >= sizeof *ops);
    assert_true(ops->open != NULL && ops->close != NULL && ops->clone != NULL &&
                ops->disks != NULL && ops->remove != NULL && ops->usage != NULL);
    if (ops->chain != NULL) {
        assert_true(ops->layer_apply != NULL && ops->layer_commit != NULL &&
                    ops->layer_remove != NULL);
    } else {
        assert_true(ops->prepare != NULL && ops->apply != NULL && ops->commit != NULL);
    }
    ops->close(NULL);
}

/* --- the life of a snapshot --- */

static void
life(void **state)
{
    struct ctr_storage_usage usage = {.size = sizeof usage};
    build_both();
    assert_int_equal(listed(CHAIN_B), 1);
    assert_int_equal(listed("one"), -1);
    works(ops->usage(self, CHAIN_B, &usage, &err));
    assert_true(usage.bytes > 0 && usage.bytes < 16 << 20);
    assert_true(usage.inodes == 0 || (usage.inodes > 8 && usage.inodes < 30));
    works(ops->clone(self, "box", CHAIN_B, 0, &err));
    assert_int_equal(listed("box"), 0);
    works(ops->usage(self, "box", &usage, &err));
    check_disks("box");
    works(ops->remove(self, "box", &err));
    assert_int_equal(listed("box"), -1);
    fails(ops->usage(self, "box", &usage, &err), -ENOENT);
    works(ops->remove(self, CHAIN_B, &err));
    works(ops->remove(self, CHAIN_A, &err));
    assert_int_equal(count_listed(), ops->chain != NULL ? 2 : 0); /* the layers stay */
}

static void
disks_are_described(void **state)
{
    struct disks disks;
    int roots = 0, lowers = 0, uppers = 0;
    build_both();
    works(ops->clone(self, "box", CHAIN_B, 0, &err));
    get_disks("box", &disks);
    for (int i = 0; i < disks.n; i++) {
        const struct ctr_disk *disk = &disks.list[i];
        struct stat st;
        assert_int_equal(disk->size, sizeof *disk);
        bool vmdk = disk->format == CTR_DISK_VMDK;
        assert_true(vmdk || disk->format == CTR_DISK_RAW);
        assert_true(!vmdk || (disk->flags & CTR_DISK_READ_ONLY) != 0);
        assert_int_equal(disks.paths[i][0], '/');
        assert_int_equal(stat(disks.paths[i], &st), 0);
        assert_true(vmdk || !S_ISREG(st.st_mode) || (uint64_t) st.st_size == disk->bytes);
        assert_true(disk->bytes % 512 == 0);
        assert_int_equal(st.st_mode & 077, 0);
        roots += disk->role == CTR_DISK_ROOT;
        lowers += disk->role == CTR_DISK_LOWER;
        uppers += disk->role == CTR_DISK_UPPER;
        assert_true(disk->role != CTR_DISK_LOWER || (disk->flags & CTR_DISK_READ_ONLY) != 0);
    }
    assert_true((roots == 1 && lowers + uppers == 0) ||
                (roots == 0 && uppers == 1 && lowers > 0));
}

/* What only plugins with prepare, apply and commit can do; test-storage-layers has the others. */
static void
need_prepare(void)
{
    if (ops->prepare == NULL) {
        skip();
    }
}

static void
parent_is_inherited(void **state)
{
    need_prepare();
    works(ops->prepare(self, "one", NULL, NULL, &err));
    works(apply("one", layer_one()));
    works(ops->commit(self, "one", CHAIN_A, &err));
    works(ops->prepare(self, "two", CHAIN_A, NULL, &err));
    works(apply("two", layer_two()));
    works(ops->commit(self, "two", CHAIN_B, &err));
    works(ops->clone(self, "a", CHAIN_A, 0, &err));
    works(ops->clone(self, "b", CHAIN_B, 0, &err));
    check_disks("a");
    check_disks("b");
    /* whoever needs others is removed last */
    works(ops->remove(self, "a", &err));
    works(ops->remove(self, "b", &err));
    works(ops->remove(self, CHAIN_B, &err));
    works(ops->remove(self, CHAIN_A, &err));
}

static void
missing_things(void **state)
{
    struct ctr_storage_usage usage = {.size = sizeof usage};
    struct disks disks = {.n = 0};
    fails(ops->clone(self, "k", CHAIN_C, 0, &err), -ENOENT);
    assert_int_equal(listed("k"), -1);
    fails(ops->disks(self, "k", note_disk, &disks, &err), -ENOENT);
    fails(ops->usage(self, "k", &usage, &err), -ENOENT);
    fails(ops->usage(self, CHAIN_C, &usage, &err), -ENOENT);
    works(ops->remove(self, "k", &err));
    works(ops->remove(self, CHAIN_C, &err));
    assert_int_equal(disks.n, 0);
    if (ops->prepare != NULL) {
        fails(ops->prepare(self, "k", CHAIN_C, NULL, &err), -ENOENT);
        assert_int_equal(listed("k"), -1);
        fails(ops->commit(self, "k", CHAIN_C, &err), -ENOENT);
        fails(apply("k", layer_one()), -ENOENT);
    }
}

static void
keys_are_unique(void **state)
{
    need_prepare();
    build_small(CHAIN_A);
    works(ops->prepare(self, "k", NULL, NULL, &err));
    fails(ops->prepare(self, "k", NULL, NULL, &err), -EEXIST);
    fails(ops->clone(self, "k", CHAIN_A, 0, &err), -EEXIST);
    works(apply("k", layer_one())); /* the first is none the worse */
    works(ops->remove(self, "k", &err));
    works(ops->clone(self, "k", CHAIN_A, 0, &err));
    fails(ops->prepare(self, "k", NULL, NULL, &err), -EEXIST);
    fails(ops->clone(self, "k", CHAIN_A, 0, &err), -EEXIST);
    check_disks("k");
}

static void
keys_of_all_kinds(void **state)
{
    char longest[129];
    memset(longest, 'k', 128);
    longest[128] = '\0';
    const char *const good[] = {"a", ".", "..", "-rf", "A.b_c-D", ".hidden", longest};
    build_small(CHAIN_A);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        works(ops->clone(self, good[i], CHAIN_A, 0, &err));
        assert_int_equal(listed(good[i]), 0);
        check_disks(good[i]);
        works(ops->remove(self, good[i], &err));
        assert_int_equal(listed(good[i]), -1);
    }
    assert_int_equal(listed(CHAIN_A), 1);
}

static void
same_chain_twice(void **state)
{
    build_small(CHAIN_A);
    build_small(CHAIN_A);
    assert_int_equal(listed(CHAIN_A), 1);
    assert_int_equal(listed("small"), -1);
    assert_int_equal(count_listed(), ops->chain != NULL ? 2 : 1);
}

static void
keys_side_by_side(void **state)
{
    need_prepare();
    works(ops->prepare(self, "x", NULL, NULL, &err));
    works(ops->prepare(self, "y", NULL, NULL, &err));
    works(apply("x", layer_one()));
    works(apply("y", layer_one()));
    works(apply("x", layer_two()));
    works(ops->commit(self, "y", CHAIN_A, &err));
    works(ops->commit(self, "x", CHAIN_B, &err));
    works(ops->clone(self, "a", CHAIN_A, 0, &err));
    works(ops->clone(self, "b", CHAIN_B, 0, &err));
    check_disks("a");
    check_disks("b");
}

/* --- failures --- */

static void
count_file(const char *folder, int *n)
{
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *entry = readdir(d); entry != NULL; entry = readdir(d)) {
        char path[1024];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            lstat(path, &st) != 0) {
            continue;
        }
        if (S_ISDIR(st.st_mode)) {
            count_file(path, n);
        } else {
            (*n)++;
        }
    }
    closedir(d);
}

static int
count_files(void)
{
    int n = 0;
    count_file(host.state_dir, &n);
    return n;
}

static void
bad_layers_leave_nothing(void **state)
{
    need_prepare();
    int before = count_files();
    for (int i = 0; i < 4; i++) {
        struct tar tar = i == 3 ? (struct tar){0} : layer_one();
        if (i == 0) {
            tar.length -= 1024 + 1200; /* cut */
        } else if (i == 1) {
            tar.data[100] ^= 1; /* a flipped bit in the first header */
        } else if (i == 2) {
            tar.length -= 1024;
            tar_add(&tar, (struct tar_spec){.name = "h", .type = '1', .link = "none"});
        } else {
            tar_add(&tar, (struct tar_spec){.name = "../../etc/x", .type = '0', .data = "x"});
        }
        works(ops->prepare(self, "bad", NULL, NULL, &err));
        fails(apply("bad", tar), -EBADMSG);
        works(ops->remove(self, "bad", &err));
        assert_int_equal(listed("bad"), -1);
        assert_int_equal(count_files(), before);
    }
    build_small(CHAIN_A); /* the next right one works */
}

static void
failed_keys_stay_failed(void **state)
{
    need_prepare();
    struct tar tar = layer_one();
    tar.length -= 1024 + 1200;
    works(ops->prepare(self, "bad", NULL, NULL, &err));
    fails(apply("bad", tar), -EBADMSG);
    assert_true(ops->commit(self, "bad", CHAIN_A, &err) < 0);
    assert_int_equal(listed(CHAIN_A), -1);
    works(ops->remove(self, "bad", &err));
}

static void
unreadable_layer(void **state)
{
    need_prepare();
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* read() says EISDIR */
    works(ops->prepare(self, "k", NULL, NULL, &err));
    fails(ops->apply(self, "k", fd, &err), -EISDIR);
    close(fd);
    works(ops->remove(self, "k", &err));
}

static void
limits_hold(void **state)
{
    need_prepare();
    struct ctr_storage_limits few = {.size = sizeof few, .max_entries = 3};
    struct ctr_storage_limits small = {.size = sizeof small, .max_bytes = 6};
    works(ops->prepare(self, "few", NULL, &few, &err));
    fails(apply("few", layer_one()), -E2BIG);
    works(ops->remove(self, "few", &err));
    works(ops->prepare(self, "small", NULL, &small, &err));
    for (int i = 0; i < 3; i++) { /* the sum over all layers of the key counts */
        struct tar tar = {0};
        tar_add(&tar, (struct tar_spec){.name = "f", .type = '0', .data = "123"});
        tar_end(&tar);
        int status = apply("small", tar);
        if (i < 2) {
            works(status);
        } else {
            fails(status, -EFBIG);
        }
    }
    works(ops->remove(self, "small", &err));
}

static void
reads_to_the_end(void **state)
{
    need_prepare();
    struct tar tar = layer_one();
    char *zeros = calloc(1, 1 << 20);
    size_t n;
    zeros[5000] = 'j';
    tar_bytes(&tar, zeros, 1 << 20);
    free(zeros);
    size_t length = tar.length;
    works(ops->prepare(self, "k", NULL, NULL, &err));
    works(apply_n("k", tar, &n));
    assert_int_equal(n, length);
    works(ops->remove(self, "k", &err));
}

/* --- opening again --- */

static void
sweep(void **state)
{
    need_prepare();
    build_small(CHAIN_A);
    works(ops->clone(self, "box", CHAIN_A, 0, &err));
    int files = count_files();
    works(ops->prepare(self, "half", NULL, NULL, &err));
    works(apply("half", layer_one()));
    ops->close(self);
    self = NULL;
    works(open_instance());
    assert_int_equal(listed("half"), -1);
    assert_int_equal(listed("box"), 0);
    assert_int_equal(listed(CHAIN_A), 1);
    assert_int_equal(count_files(), files);
    check_disks("box");
    works(ops->clone(self, "box2", CHAIN_A, 0, &err));
    works(ops->prepare(self, "half", NULL, NULL, &err));
}

static void
instances_are_apart(void **state)
{
    static struct storage_host other;
    char other_dir[300];
    void *second = NULL;
    snprintf(other_dir, sizeof other_dir, "%s/other", dir);
    assert_int_equal(mkdir(other_dir, 0700), 0);
    assert_int_equal(storage_host_init(&other, plugin, other_dir, options), 0);
    works(ops->open(&other.host, &second, &err));
    build_small(CHAIN_A);
    fails(ops->clone(second, "k", CHAIN_A, 0, &err), -ENOENT);
    works(ops->clone(self, "k", CHAIN_A, 0, &err));
    ops->close(second);
    check_disks("k");
}

/* --- clones --- */

static uint64_t
hash_file(const char *path)
{
    uint64_t hash = 14695981039346656037ULL, words[8192];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;
    assert_true(fd >= 0);
    while ((n = read(fd, words, sizeof words)) > 0) {
        for (ssize_t i = 0; i < n / 8; i++) {
            hash = (hash ^ words[i]) * 1099511628211ULL;
        }
    }
    close(fd);
    return hash;
}

static const struct ctr_disk *
writable(const struct disks *disks, int *ret)
{
    for (int i = 0; i < disks->n; i++) {
        if ((disks->list[i].flags & CTR_DISK_READ_ONLY) == 0) {
            *ret = i;
            return &disks->list[i];
        }
    }
    fail_msg("no writable disk");
    return NULL;
}

static void
clones_are_apart(void **state)
{
    struct disks one, two;
    int i = 0, j = 0;
    static char noise[1 << 20];
    build_small(CHAIN_A);
    works(ops->clone(self, "one", CHAIN_A, 0, &err));
    works(ops->clone(self, "two", CHAIN_A, 0, &err));
    get_disks("one", &one);
    get_disks("two", &two);
    (void) writable(&one, &i);
    (void) writable(&two, &j);
    assert_string_not_equal(one.paths[i], two.paths[j]);
    uint64_t before = hash_file(two.paths[j]);
    memset(noise, 0xa5, sizeof noise);
    int fd = open(one.paths[i], O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, noise, sizeof noise, 0), sizeof noise); /* a guest gone mad */
    close(fd);
    assert_true(hash_file(two.paths[j]) == before);
    works(ops->clone(self, "three", CHAIN_A, 0, &err));
    check_disks("two");
    check_disks("three");
    get_disks("one", &one); /* nothing looks into it */
    works(ops->remove(self, "one", &err));
}

static void
clone_sizes(void **state)
{
    struct disks disks;
    int i = 0;
    build_both();
    works(ops->clone(self, "normal", CHAIN_B, 0, &err));
    get_disks("normal", &disks);
    uint64_t bytes = writable(&disks, &i)->bytes;
    works(ops->clone(self, "larger", CHAIN_B, bytes + (100 << 20), &err));
    get_disks("larger", &disks);
    assert_true(writable(&disks, &i)->bytes >= bytes + (100 << 20));
    check_disks("larger");
    works(ops->clone(self, "smaller", CHAIN_B, 64 << 20, &err));
    check_disks("smaller");
}

/* What is written takes the place on disk that it needs, not more. */
static void
clones_are_sparse(void **state)
{
    struct ctr_storage_usage usage = {.size = sizeof usage};
    build_small(CHAIN_A);
    works(ops->clone(self, "k", CHAIN_A, 0, &err));
    works(ops->usage(self, "k", &usage, &err));
    assert_true(usage.bytes < 8 << 20);
}

/* --- content, of ext4 --- */

static void
content(void **state)
{
    static char output[65536];
    struct disks disks;
    char program[600];
    const char *build = getenv("CTR_TEST_BUILD");
    snprintf(program, sizeof program, "%s/tests/bin/ext4-dump",
             build != NULL ? build : "build");
    build_both();
    works(ops->clone(self, "box", CHAIN_B, 0, &err));
    get_disks("box", &disks);
    if (strcmp(disks.fstypes[0], "ext4") != 0 || access(program, X_OK) != 0) {
        skip();
    }
    char *argv[] = {program, disks.paths[0], NULL};
    assert_int_equal(run(argv, output, sizeof output), 0);
    assert_string_equal(
        output,
        "/ d 0755 0:0 1000000000.000000000 \n"
        "/bin/ d 0755 0:0 1000000000.000000000 \n"
        "/bin/bash/ f 4755 7:70000 1000000000.000000000 size=2 hash=07c90f07b491b949 links=2 "
        "with=/bin/bash \n"
        "/bin/sh/ f 4755 7:70000 1000000000.000000000 size=2 hash=07c90f07b491b949 links=2 "
        "with=/bin/bash \n"
        "/etc/ d 0755 0:0 1000000000.000000000 \n"
        "/etc/motd/ f 0644 0:0 1000000000.000000000 size=5 hash=a430d84680aabd0b \n"
        "/etc/new/ f 0644 0:0 1000000000.000000000 size=3 hash=2138d5192571b731 \n"
        "/lib/ l 0777 0:0 1000000000.000000000 -> usr/lib \n"
        "/null/ d 0700 0:0 1000000000.000000000 \n"
        "/usr/ d 0755 0:0 1000000000.000000000 \n"
        "/usr/lib/ d 0755 0:0 1000000000.000000000 \n"
        "/usr/lib/x/ f 0644 0:0 1000000000.000000000 size=1 hash=af63f54c86021707 \n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    static char path[600];
    const char *given = getenv("CTR_TEST_STORAGE"), *build = getenv("CTR_TEST_BUILD");
    snprintf(path, sizeof path, "%s/lib/ctr/plugins/storage-ext4.so",
             build != NULL ? build : "build");
    options = getenv("CTR_TEST_STORAGE_OPTIONS");
    if (given == NULL && options == NULL) {
        options = "size=256M,journal=4M";
    }
    plugin = storage_host_load(given != NULL ? given : path);
    if (plugin == NULL) {
        return 1;
    }
    ops = plugin->ops;
    const struct CMUnitTest tests[] = {
        TEST(descriptor),
        TEST(life),
        TEST(disks_are_described),
        TEST(parent_is_inherited),
        TEST(missing_things),
        TEST(keys_are_unique),
        TEST(keys_of_all_kinds),
        TEST(same_chain_twice),
        TEST(keys_side_by_side),
        TEST(bad_layers_leave_nothing),
        TEST(failed_keys_stay_failed),
        TEST(unreadable_layer),
        TEST(limits_hold),
        TEST(reads_to_the_end),
        TEST(sweep),
        TEST(instances_are_apart),
        TEST(clones_are_apart),
        TEST(clone_sizes),
        TEST(clones_are_sparse),
        TEST(content),
    };
    (void) signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
