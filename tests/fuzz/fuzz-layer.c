/*
 * The layer walker on any bytes. The mutator mends header checksums, since libarchive looks at nothing behind a wrong one.
 * What comes out must hold what <ctr/layer.h> promises.
 */
#include <ctr/layer.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

struct state {
    uint64_t bytes, end;
    bool in_file;
};

static void
check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void
check_path(const char *path)
{
    char again[4096];
    check(strlen(path) < 4096 && ctr_layer_clean(path, again, sizeof again) == 0);
    check(strcmp(path, again) == 0);
}

static int
on_entry(void *arg, const struct ctr_layer_entry *entry, struct ctr_error *err)
{
    struct state *state = arg;
    (void) err;
    check(!state->in_file);
    check_path(entry->path);
    check(entry->type >= CTR_LAYER_FILE && entry->type <= CTR_LAYER_FIFO);
    check(entry->path[0] != '\0' || entry->type == CTR_LAYER_DIR);
    check((entry->mode & ~07777U) == 0 && entry->mtime_nsec < 1000000000);
    check((entry->target != NULL) ==
          (entry->type == CTR_LAYER_SYMLINK || entry->type == CTR_LAYER_HARDLINK));
    if (entry->type == CTR_LAYER_HARDLINK) {
        check_path(entry->target);
    }
    for (uint32_t i = 0; i < entry->n_xattrs; i++) {
        check(strlen(entry->xattrs[i].name) < 256 && entry->xattrs[i].length <= 65536);
        check(strncmp(entry->xattrs[i].name, "trusted.overlay.", 16) != 0);
    }
    *state = (struct state){.bytes = entry->bytes, .in_file = entry->type == CTR_LAYER_FILE};
    return 0;
}

static int
on_data(void *arg, const void *bytes, size_t length, uint64_t offset, struct ctr_error *err)
{
    struct state *state = arg;
    volatile uint8_t last = ((const uint8_t *) bytes)[length - 1];
    (void) last, (void) err;
    check(state->in_file && offset >= state->end && offset + length <= state->bytes);
    state->end = offset + length;
    return 0;
}

static int
on_end(void *arg, struct ctr_error *err)
{
    struct state *state = arg;
    (void) err;
    check(state->in_file);
    state->in_file = false;
    return 0;
}

static int
on_whiteout(void *arg, const char *path, struct ctr_error *err)
{
    (void) arg, (void) err;
    check_path(path);
    check(path[0] != '\0');
    return 0;
}

static int
on_opaque(void *arg, const char *path, struct ctr_error *err)
{
    (void) arg, (void) err;
    check_path(path);
    return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ctr_layer_ops ops = {.size = sizeof ops,
                                             .entry = on_entry,
                                             .data = on_data,
                                             .end = on_end,
                                             .whiteout = on_whiteout,
                                             .opaque = on_opaque};
    struct ctr_layer_limits limits = {.size = sizeof limits, .max_entries = 1000};
    struct ctr_error err = CTR_ERROR_INIT;
    struct state state = {0};
    int fd = memfd_create("layer", MFD_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    if (write(fd, data, size) == (ssize_t) size && lseek(fd, 0, SEEK_SET) == 0) {
        int status = ctr_layer_walk(fd, &limits, &ops, &state, &err);
        check(status <= 0 && (status == 0) == (err.msg[0] == '\0'));
        check(status != 0 || lseek(fd, 0, SEEK_CUR) == (off_t) size);
    }
    close(fd);
    return 0;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
    (void) seed;
    size = LLVMFuzzerMutate(data, size, max_size);
    for (size_t at = 0; at + 512 <= size; at += 512) {
        uint8_t *header = data + at;
        unsigned sum = 0;
        if (memcmp(header + 257, "ustar", 5) != 0) {
            continue;
        }
        memset(header + 148, ' ', 8);
        for (int i = 0; i < 512; i++) {
            sum += header[i];
        }
        for (int i = 5; i >= 0; i--, sum >>= 3) {
            header[148 + i] = (uint8_t) ('0' + (sum & 7));
        }
        header[154] = '\0';
    }
    return size;
}
