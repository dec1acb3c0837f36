/*
 * Drives a storage plugin by hand, for comparisons and measurements:
 *
 *     storage-tool PLUGIN DIR OPTIONS build NAME TAR...   layers into a snapshot; prints its chain ID
 *     storage-tool PLUGIN DIR OPTIONS clone NAME KEY [BYTES]
 *     storage-tool PLUGIN DIR OPTIONS disks KEY           path, filesystem, bytes
 *     storage-tool PLUGIN DIR OPTIONS remove KEY
 *
 * NAME is any word; it becomes a made-up chain ID. A TAR of "-" is stdin. Times of each step go to stderr.
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

static int
build(const struct storage_host *h, void *self, char **argv, struct ctr_error *err)
{
    char chain[72];
    make_chain(argv[0], chain);
    double start = now();
    int status = h->ops->prepare(self, "build", NULL, NULL, err);
    fprintf(stderr, "prepare %.1f ms\n", now() - start);
    for (char **tar = argv + 1; status == 0 && *tar != NULL; tar++) {
        int fd = strcmp(*tar, "-") == 0 ? 0 : open(*tar, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            perror(*tar);
            return -1;
        }
        start = now();
        status = h->ops->apply(self, "build", fd, err);
        fprintf(stderr, "apply %.1f ms %s\n", now() - start, *tar);
        close(fd);
    }
    start = now();
    if (status == 0) {
        status = h->ops->commit(self, "build", chain, err);
    }
    fprintf(stderr, "commit %.1f ms\n", now() - start);
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

static int
run(const struct storage_host *h, void *self, char **argv, struct ctr_error *err)
{
    if (strcmp(argv[0], "build") == 0 && argv[1] != NULL) {
        return build(h, self, argv + 1, err);
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
