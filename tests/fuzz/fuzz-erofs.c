/*
 * Layers onto EROFS: the same inputs as fuzz-ext4 become layers by themselves and a chain of them. fsck.erofs judges each layer and the
 * chain's whole disk, put together here from its descriptor.
 */
#define FUZZ_FSCK "fsck.erofs", "--extract"
#define FUZZ_OPTIONS "size=64M"
#define FUZZ_LAYERS
#include "tests/fuzz/fuzz-ext4.c"

enum { LAYERS_MAX = 64 };

static const char chain[] =
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static void
layer_id(uint32_t i, char ret[72])
{
    snprintf(ret, 72, "sha256:%064x", i + 1);
}

static int
add_layer(uint32_t i, const struct ctr_storage_limits *limits, struct ctr_error *err)
{
    char id[72];
    int fd = open_layer();
    int status = host.ops->layer_apply(self, "k", fd, limits, err);
    close(fd);
    layer_id(i, id);
    return status == 0 ? host.ops->layer_commit(self, "k", id, err) : status;
}

/* Appends an extent's bytes. */
static void
append(int to, const char *path, uint64_t offset, uint64_t length)
{
    static char piece[1 << 16];
    int from = open(path, O_RDONLY | O_CLOEXEC);
    while (length > 0) {
        ssize_t n =
            pread(from, piece, length < sizeof piece ? length : sizeof piece, (off_t) offset);
        if (n <= 0 || write(to, piece, (size_t) n) != n) {
            abort(); /* an extent that is not there */
        }
        offset += (uint64_t) n;
        length -= (uint64_t) n;
    }
    close(from);
}

static void
check_disk(void *arg, const struct ctr_disk *disk)
{
    char line[4500], path[4096], raw[sizeof folder + 8];
    unsigned long long sectors, offset, total = 0;
    if (disk->format != CTR_DISK_VMDK) {
        return;
    }
    snprintf(raw, sizeof raw, "%s/raw", folder);
    int to = open(raw, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *file = fopen(disk->path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "RW %llu FLAT \"%4095[^\"]\" %llu", &sectors, path, &offset) == 3) {
            append(to, path, offset * 512, sectors * 512);
            total += sectors;
        }
    }
    if (file == NULL || fclose(file) != 0 || total * 512 != disk->bytes) {
        abort();
    }
    close(to);
    check_image(raw);
}

static void
check_layers(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        char id[72], path[sizeof folder + 100];
        layer_id(i, id);
        snprintf(path, sizeof path, "%s/state/layers/%s", folder, id + 7);
        check_image(path);
    }
}

static void
remove_all(uint32_t n)
{
    struct ctr_error err = CTR_ERROR_INIT;
    (void) host.ops->layer_remove(self, "k", NULL);
    (void) host.ops->remove(self, "c", NULL);
    (void) host.ops->remove(self, chain, NULL);
    for (uint32_t i = 0; i < n; i++) {
        char id[72];
        layer_id(i, id);
        if (host.ops->layer_remove(self, id, &err) != 0) {
            fprintf(stderr, "%s\n", err.msg);
            abort();
        }
    }
}

/* Not what a layer can be to blame for. */
static bool
is_ours(int status)
{
    return status == -EIO || status == -ENOMEM || status == -ENOENT || status == -EEXIST ||
           status == -EINVAL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint64_t runs;
    static char ids[LAYERS_MAX][72];
    const char *list[LAYERS_MAX];
    struct input input = {data, size};
    struct ctr_error err = CTR_ERROR_INIT;
    const struct ctr_storage_limits limits = {
        .size = sizeof limits, .max_bytes = 32 << 20, .max_entries = 3000};
    uint32_t n = 0;
    int status = 0;
    if (self == NULL) {
        start();
    }
    while (status == 0 && input.size > 0 && n < LAYERS_MAX) {
        tar_length = 0;
        while (add_entry(&input)) {
        }
        status = add_layer(n, &limits, &err);
        layer_id(n, ids[n]);
        list[n] = ids[n];
        n += status == 0;
    }
    bool check = getenv("CTR_FUZZ_FSCK") != NULL || runs++ % 8 == 0;
    int chained = host.ops->chain(self, chain, list, n, &err);
    if (chained == 0 && check &&
        (host.ops->clone(self, "c", chain, 0, &err) != 0 ||
         host.ops->disks(self, "c", check_disk, NULL, &err) != 0)) {
        abort();
    }
    if (check) {
        check_layers(n);
    }
    if (is_ours(status) || is_ours(chained)) {
        fprintf(stderr, "%d, %d: %s\n", status, chained, err.msg);
        abort(); /* the plugin tripped over what it wrote itself */
    }
    remove_all(n);
    return 0;
}
