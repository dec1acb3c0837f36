/*
 * Drives a storage plugin by hand, for comparisons and measurements:
 *
 *     storage-tool PLUGIN DIR OPTIONS build NAME TAR...   layers into a snapshot; prints its chain ID
 *     storage-tool PLUGIN DIR OPTIONS layer NAME TAR      one layer by itself, where the plugin keeps them so; prints its diff ID
 *     storage-tool PLUGIN DIR OPTIONS chain NAME LAYER... a snapshot of such layers, by their names
 *     storage-tool PLUGIN DIR OPTIONS raw NAME OUT        a snapshot's read-only disk as one file, to be looked into or mounted
 *     storage-tool PLUGIN DIR OPTIONS clone NAME KEY [BYTES]
 *     storage-tool PLUGIN DIR OPTIONS disks KEY           path, filesystem, bytes
 *     storage-tool PLUGIN DIR OPTIONS remove KEY
 *
 * NAME is any word; it becomes a made-up chain or diff ID; build's layers are NAME/1, NAME/2, … A TAR of "-" is stdin. Times of each step
 * go to stderr.
 */
#include "tests/storage-host.h"
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

static double
now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double) ts.tv_sec * 1e3 + (double) ts.tv_nsec / 1e6;
}

static void
make_chain(const char *name, char ret[72])
{
    uint64_t hash = 14695981039346656037ULL;
    for (const char *p = name; *p != '\0'; p++) {
        hash = (hash ^ (uint8_t) *p) * 1099511628211ULL;
    }
    snprintf(ret, 72, "sha256:%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%016" PRIx64, hash,
             ~hash, hash * 3, hash * 7);
}

/* Runs one slot between two looks at the clock. */
#define TIMED(what, call)                                                                      \
    ({                                                                                         \
        double timed_start = now();                                                            \
        int timed_status = (call);                                                             \
        fprintf(stderr, "%s %.1f ms\n", what, now() - timed_start);                            \
        timed_status;                                                                          \
    })

static int
open_tar(const char *path)
{
    int fd = strcmp(path, "-") == 0 ? dup(0) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        perror(path);
        exit(2);
    }
    return fd;
}

static int
add_layer(const struct storage_host *h, void *self, const char *name, const char *tar,
          struct ctr_error *err)
{
    char diff_id[72];
    int fd = open_tar(tar);
    make_chain(name, diff_id);
    int status = TIMED("apply", h->ops->layer_apply(self, "layer", fd, NULL, err));
    close(fd);
    if (status == 0) {
        status = TIMED("commit", h->ops->layer_commit(self, "layer", diff_id, err));
    }
    if (status != 0) {
        (void) h->ops->layer_remove(self, "layer", NULL);
    }
    return status;
}

#define LAYERS_MAX 1024

static int
make_of_layers(const struct storage_host *h, void *self, const char *name, char **layers,
               struct ctr_error *err)
{
    static char ids[LAYERS_MAX][72];
    const char *list[LAYERS_MAX];
    char chain[72];
    uint32_t n = 0;
    for (; n < LAYERS_MAX && layers[n] != NULL; n++) {
        make_chain(layers[n], ids[n]);
        list[n] = ids[n];
    }
    make_chain(name, chain);
    int status = TIMED("chain", h->ops->chain(self, chain, list, n, err));
    if (status == 0) {
        puts(chain);
    }
    return status;
}

static int
build_layers(const struct storage_host *h, void *self, char **argv, struct ctr_error *err)
{
    static char names[LAYERS_MAX][256];
    char *layers[LAYERS_MAX + 1] = {NULL};
    int status = 0;
    for (int i = 0; status == 0 && i < LAYERS_MAX && argv[i + 1] != NULL; i++) {
        snprintf(names[i], sizeof names[i], "%s/%d", argv[0], i + 1);
        layers[i] = names[i];
        status = add_layer(h, self, names[i], argv[i + 1], err);
    }
    status = status == 0 ? make_of_layers(h, self, argv[0], layers, err) : status;
    for (int i = 0; status != 0 && layers[i] != NULL; i++) {
        char id[72];
        make_chain(layers[i], id);
        (void) h->ops->layer_remove(self, id, NULL);
    }
    return status;
}

static int
build(const struct storage_host *h, void *self, char **argv, struct ctr_error *err)
{
    char chain[72];
    if (h->ops->prepare == NULL) {
        return build_layers(h, self, argv, err);
    }
    make_chain(argv[0], chain);
    int status = TIMED("prepare", h->ops->prepare(self, "build", NULL, NULL, err));
    for (char **tar = argv + 1; status == 0 && *tar != NULL; tar++) {
        int fd = open_tar(*tar);
        status = TIMED("apply", h->ops->apply(self, "build", fd, err));
        close(fd);
    }
    if (status == 0) {
        status = TIMED("commit", h->ops->commit(self, "build", chain, err));
    }
    if (status == 0) {
        puts(chain);
    } else {
        (void) h->ops->remove(self, "build", NULL);
    }
    return status;
}

static int
clone_disk(const struct storage_host *h, void *self, char **argv, struct ctr_error *err)
{
    char chain[72];
    make_chain(argv[0], chain);
    double start = now();
    uint64_t bytes = argv[2] != NULL ? strtoull(argv[2], NULL, 10) : 0;
    int status = h->ops->clone(self, argv[1], chain, bytes, err);
    fprintf(stderr, "clone %.1f ms\n", now() - start);
    return status;
}

static void
show_disk(void *arg, const struct ctr_disk *disk)
{
    printf("%s %s %" PRIu64 "\n", disk->path, disk->fstype, disk->bytes);
}

/* --- a disk as one file --- */

struct raw {
    const char *out;
    int failed; /* 1: no disk was copied yet */
};

static int
copy_extent(int to, off_t at, const char *path, off_t offset, size_t length)
{
    static char piece[1 << 20];
    int from = open(path, O_RDONLY | O_CLOEXEC);
    size_t done = 0;
    while (from >= 0 && done < length) {
        size_t n = length - done < sizeof piece ? length - done : sizeof piece;
        ssize_t got = pread(from, piece, n, offset + (off_t) done);
        if (got <= 0 || pwrite(to, piece, (size_t) got, at + (off_t) done) != got) {
            break;
        }
        done += (size_t) got;
    }
    if (from >= 0) {
        close(from);
    }
    return from >= 0 && done == length ? 0 : -1;
}

static int
copy_vmdk(int to, const char *descriptor)
{
    char line[4500], path[4096];
    unsigned long long sectors, offset;
    off_t at = 0;
    int failed = 0;
    FILE *file = fopen(descriptor, "re");
    while (file != NULL && !failed && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "RW %llu FLAT \"%4095[^\"]\" %llu", &sectors, path, &offset) == 3) {
            failed = copy_extent(to, at, path, (off_t) offset * 512, sectors * 512) != 0;
            at += (off_t) sectors * 512;
        }
    }
    if (file != NULL) {
        (void) fclose(file);
    }
    return failed || at == 0 ? -1 : 0;
}

static void
copy_disk(void *arg, const struct ctr_disk *disk)
{
    struct raw *raw = arg;
    if (raw->failed != 1) { /* the first disk is the one with the layers */
        return;
    }
    int to = open(raw->out, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    raw->failed = to < 0 ? -1
                  : disk->format == CTR_DISK_VMDK
                      ? copy_vmdk(to, disk->path)
                      : copy_extent(to, 0, disk->path, 0, disk->bytes);
    if (to >= 0) {
        close(to);
    }
}

static int
write_raw(const struct storage_host *h, void *self, char **argv, struct ctr_error *err)
{
    char chain[72];
    struct raw raw = {.out = argv[1], .failed = 1};
    make_chain(argv[0], chain);
    int status = h->ops->clone(self, "raw", chain, 0, err);
    status = status == 0 ? h->ops->disks(self, "raw", copy_disk, &raw, err) : status;
    (void) h->ops->remove(self, "raw", NULL);
    return status == 0 && raw.failed ? ctr_fail(err, -EIO, "cannot copy the disk") : status;
}

static int
run(const struct storage_host *h, void *self, char **argv, struct ctr_error *err)
{
    if (strcmp(argv[0], "build") == 0 && argv[1] != NULL) {
        return build(h, self, argv + 1, err);
    }
    if (h->ops->chain != NULL && argv[1] != NULL) {
        if (strcmp(argv[0], "layer") == 0 && argv[2] != NULL) {
            int status = add_layer(h, self, argv[1], argv[2], err);
            char diff_id[72];
            make_chain(argv[1], diff_id);
            return status == 0 ? (puts(diff_id), 0) : status;
        }
        if (strcmp(argv[0], "chain") == 0) {
            return make_of_layers(h, self, argv[1], argv + 2, err);
        }
    }
    if (strcmp(argv[0], "raw") == 0 && argv[1] != NULL && argv[2] != NULL) {
        return write_raw(h, self, argv + 1, err);
    }
    if (strcmp(argv[0], "clone") == 0 && argv[1] != NULL && argv[2] != NULL) {
        return clone_disk(h, self, argv + 1, err);
    }
    if (strcmp(argv[0], "disks") == 0 && argv[1] != NULL) {
        return h->ops->disks(self, argv[1], show_disk, NULL, err);
    }
    if (strcmp(argv[0], "remove") == 0 && argv[1] != NULL) {
        return h->ops->remove(self, argv[1], err);
    }
    return ctr_fail(err, -EINVAL, "unknown command %s", argv[0]);
}

int
main(int argc, char **argv)
{
    static struct storage_host h;
    struct ctr_error err = CTR_ERROR_INIT;
    void *self = NULL;
    if (argc < 5) {
        fprintf(stderr, "usage: storage-tool PLUGIN DIR OPTIONS COMMAND ...\n");
        return 2;
    }
    const struct ctr_plugin *plugin = storage_host_load(argv[1]);
    if (plugin == NULL || storage_host_init(&h, plugin, argv[2], argv[3]) != 0) {
        return 2;
    }
    int status = h.ops->open(&h.host, &self, &err);
    if (status == 0) {
        status = run(&h, self, argv + 4, &err);
        h.ops->close(self);
    }
    if (status != 0) {
        fprintf(stderr, "storage-tool: %d: %s\n", status, err.msg);
    }
    return status == 0 ? 0 : 1;
}
