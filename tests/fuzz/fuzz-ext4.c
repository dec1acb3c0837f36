/*
 * Layers onto a storage plugin's images: ext4, and with FUZZ_LAYERS by fuzz-erofs.c EROFS. Bytes become entries of one or more layers over a handful of names, so that links, type changes and whiteouts
 * meet each other; the layers then go through the plugin's slots as tar streams. Every 8th image (all of them with
 * CTR_FUZZ_FSCK=1) must pass its filesystem's own check, and can be built on.
 */
#include "tests/storage-host.h"
#include <ftw.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern const struct ctr_plugin ctr_plugin;
extern char **environ;
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TAR_MAX (4 << 20)
#ifndef FUZZ_FSCK
#define FUZZ_FSCK "e2fsck", "-fn"
#define FUZZ_OPTIONS "size=64M,journal=4M"
#endif

struct input {
    const uint8_t *data;
    size_t size;
};

static char tar[TAR_MAX];
static size_t tar_length;

static uint8_t
take(struct input *input)
{
    if (input->size == 0) {
        return 0;
    }
    input->size--;
    return *input->data++;
}

static void
octal(char *field, size_t width, uint64_t value)
{
    field[width - 1] = '\0';
    for (size_t i = width - 1; i-- > 0; value >>= 3) {
        field[i] = (char) ('0' + (value & 7));
    }
}

static void
add_header(const char *name, char type, const char *link, size_t size, uint8_t flavour)
{
    char *header = tar + tar_length;
    unsigned sum = 0;
    memset(header, 0, 512);
    memcpy(header, name, strnlen(name, 100));
    octal(header + 100, 8, flavour * 17U & 07777);
    octal(header + 108, 8, flavour * 1000U);
    octal(header + 116, 8, flavour);
    octal(header + 124, 12, size);
    octal(header + 136, 12, 1000000000U + flavour);
    header[156] = type;
    memcpy(header + 157, link, strnlen(link, 100));
    memcpy(header + 257, "ustar\00000", 8);
    octal(header + 329, 8, flavour);
    octal(header + 337, 8, flavour * 3U);
    memset(header + 148, ' ', 8);
    for (int i = 0; i < 512; i++) {
        sum += (unsigned char) header[i];
    }
    octal(header + 148, 7, sum);
    tar_length += 512;
}

/* 1 to 4 components out of few names. */
static void
take_path(struct input *input, bool may_climb, char *ret, size_t capacity)
{
    static const char *const names[] = {"a", "b", "c", "d", "..", ".", "l", "m",
                                        "n", "/", "o", "p", "q",  "r", "s", "t"};
    uint8_t shape = take(input);
    ret[0] = '\0';
    for (int i = 0; i <= (shape & 3); i++) {
        size_t n = strlen(ret);
        uint8_t pick = take(input);
        pick = (pick & 15) == 4 && !may_climb ? 0 : pick;
        if (pick >= 0xf8) { /* many siblings */
            snprintf(ret + n, capacity - n, "%sx%u", i > 0 ? "/" : "", take(input));
        } else {
            snprintf(ret + n, capacity - n, "%s%s", i > 0 ? "/" : "", names[pick & 15]);
        }
    }
}

static void
add_file(const char *name, uint8_t flavour, uint8_t kind, struct input *input)
{
    size_t size = (size_t) take(input) << (kind >> 4 & 15) >> 3;
    size = size > 1 << 18 ? 1 << 18 : size;
    if (tar_length + size + 4096 > TAR_MAX) {
        return;
    }
    add_header(name, '0', "", size, flavour);
    size_t padded = (size + 511) / 512 * 512;
    memset(tar + tar_length, 0, padded);
    for (size_t i = 0; i < size; i += 1 + (flavour & 0x1f) * 512U) {
        tar[tar_length + i] = (char) flavour;
    }
    tar_length += padded;
}

static void
add_xattr(uint8_t flavour)
{
    static const char *const keys[] = {"user.a", "user.b", "security.capability", "trusted.t",
                                       "system.posix_acl_access"};
    char record[6000];
    char value[5600];
    static const char capability[20] = "\1\0\0\2\0\4", acl[44] = "\2\0\0\0"
                                                                 "\1\0\6\0\377\377\377\377"
                                                                 "\2\0\6\0\12\0\0\0"
                                                                 "\4\0\4\0\377\377\377\377"
                                                                 "\20\0\6\0\377\377\377\377"
                                                                 "\40\0\4\0\377\377\377\377";
    const char *key = keys[flavour % 5];
    size_t n = 1 + (size_t) flavour * (flavour > 200 ? 20 : 2);
    memset(value, flavour | 1, n);
    if (flavour % 5 == 2) { /* mostly whole, sometimes longer */
        n = flavour > 200 ? n : sizeof capability;
        memcpy(value, capability, sizeof capability);
    } else if (flavour % 5 == 4) {
        n = flavour > 200 ? n : sizeof acl;
        memcpy(value, acl, sizeof acl);
    }
    size_t rest = strlen(" SCHILY.xattr.=\n") + strlen(key) + n, total = rest;
    for (int i = 0; i < 3; i++) { /* the length in front counts itself */
        total = rest + (size_t) snprintf(record, sizeof record, "%zu", total);
    }
    int at = snprintf(record, sizeof record, "%zu SCHILY.xattr.%s=", total, key);
    memcpy(record + at, value, n);
    record[(size_t) at + n] = '\n';
    if (tar_length + total + 4096 > TAR_MAX) {
        return;
    }
    add_header("pax", 'x', "", total, 0);
    memset(tar + tar_length, 0, (total + 511) / 512 * 512);
    memcpy(tar + tar_length, record, total);
    tar_length += (total + 511) / 512 * 512;
}

/* One entry; false at the layer's end. */
static bool
add_entry(struct input *input)
{
    char name[400], link[400];
    if (input->size == 0 || tar_length + 8192 > TAR_MAX) {
        return false;
    }
    uint8_t kind = take(input), flavour = take(input);
    if ((kind & 0x8f) == 0x8f) {
        return false;
    }
    take_path(input, false, name, sizeof name);
    if ((kind & 0x88) == 0x88) {
        add_xattr(flavour);
    }
    switch (kind & 7) {
    case 0:
    case 1:
        add_file(name, flavour, kind, input);
        break;
    case 2:
        add_header(name, '5', "", 0, flavour);
        break;
    case 3:
    case 4:
        take_path(input, (kind & 7) == 3, link, sizeof link);
        if (flavour == 0xff) {
            memset(link, 'y', 99);
            link[99] = '\0';
        }
        add_header(name, (kind & 7) == 3 ? '2' : '1', link, 0, flavour);
        break;
    case 5: {
        char *base = strrchr(name, '/');
        snprintf(link, sizeof link, "%.*s.wh.%s", base != NULL ? (int) (base + 1 - name) : 0,
                 name, base != NULL ? base + 1 : name);
        add_header(link, '0', "", 0, flavour);
        break;
    }
    case 6:
        snprintf(link, sizeof link, "%.300s/.wh..wh..opq", name);
        add_header(link, '0', "", 0, flavour);
        break;
    default:
        add_header(name, (char) ('3' + flavour % 3 + (flavour % 3 == 2)), "", 0, flavour);
    }
    return true;
}

static char folder[] = "/dev/shm/fuzz-ext4.XXXXXX";

static void
check_image(const char *path)
{
    char log[sizeof folder + 8];
    pid_t pid;
    int status = 0;
    posix_spawn_file_actions_t quiet;
    const char *const argv[] = {FUZZ_FSCK, path, NULL};
    snprintf(log, sizeof log, "%s/fsck", folder);
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&quiet, 1, 2);
    int code = posix_spawnp(&pid, argv[0], &quiet, NULL, (char *const *) argv, environ);
    posix_spawn_file_actions_destroy(&quiet);
    if (code != 0) {
        return; /* not installed */
    }
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "%s %s: see %s\n", argv[0], path, log);
        abort();
    }
}

static struct storage_host host;
static void *self;

/* The layer that was made, as a stream. The caller closes it. */
static int
open_layer(void)
{
    int fd = memfd_create("layer", MFD_CLOEXEC);
    if (fd < 0 || write(fd, tar, tar_length) != (ssize_t) tar_length ||
        lseek(fd, 0, SEEK_SET) != 0) {
        abort();
    }
    return fd;
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

static void
end(void)
{
    host.ops->close(self);
    (void) nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
start(void)
{
    struct ctr_error err = CTR_ERROR_INIT;
    if (mkdtemp(folder) == NULL ||
        storage_host_init(&host, &ctr_plugin, folder, FUZZ_OPTIONS) != 0 ||
        host.ops->open(&host.host, &self, &err) != 0) {
        fprintf(stderr, "%s\n", err.msg);
        abort();
    }
    (void) atexit(end);
}

#ifndef FUZZ_LAYERS
/* The first one holds the image. */
static void
take_disk(void *arg, const struct ctr_disk *disk)
{
    if (*(char *) arg == '\0') {
        snprintf(arg, 600, "%s", disk->path);
    }
}

static int
apply_layer(struct ctr_error *err)
{
    int fd = open_layer();
    int status = host.ops->apply(self, "k", fd, err);
    close(fd);
    return status;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char chain[] =
        "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static uint64_t runs;
    struct input input = {data, size};
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_storage_limits limits = {
        .size = sizeof limits, .max_bytes = 32 << 20, .max_entries = 3000};
    char path[600] = "";
    if (self == NULL) {
        start();
    }
    int status = host.ops->prepare(self, "k", NULL, &limits, &err);
    if (status != 0) {
        fprintf(stderr, "prepare: %s\n", err.msg);
        abort();
    }
    while (status == 0 && input.size > 0) {
        tar_length = 0;
        while (add_entry(&input)) {
        }
        status = apply_layer(&err);
    }
    if (status == -EIO || status == -ENOMEM) {
        fprintf(stderr, "%s\n", err.msg);
        abort(); /* the plugin tripped over what it wrote itself */
    }
    if (status == 0 && (getenv("CTR_FUZZ_FSCK") != NULL || runs++ % 8 == 0)) {
        if (host.ops->commit(self, "k", chain, &err) != 0 ||
            host.ops->clone(self, "c", chain, 0, &err) != 0 ||
            host.ops->disks(self, "c", take_disk, path, &err) != 0) {
            abort();
        }
        check_image(path);
        if (host.ops->prepare(self, "k", chain, &limits, &err) != 0 ||
            host.ops->remove(self, "k", &err) != 0) {
            fprintf(stderr, "on top of it: %s\n", err.msg);
            abort();
        }
        (void) host.ops->remove(self, "c", NULL);
        (void) host.ops->remove(self, chain, NULL);
    }
    return host.ops->remove(self, "k", &err) == 0 ? 0 : (abort(), 0);
}
#endif
