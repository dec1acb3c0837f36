/*
 * The descriptor of a chain's disk: VMDK, as VMware's Virtual Disk Format 5.0 has it and QEMU reads it. One extent for the metadata, one
 * for the data of each layer.
 */
#include "plugins/storage-erofs/chain.h"
#include "plugins/storage-erofs/format.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECTORS (EROFS_BLOCK / 512u)

static char *
render(const struct storage *self, const char *hex, const struct chain *chain,
       size_t *ret_length)
{
    char *text = NULL, path[4096];
    FILE *out = open_memstream(&text, ret_length);
    if (out == NULL) {
        return NULL;
    }
    path_of(self, path, "chains", hex);
    (void) fprintf(out,
                   "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
                   "createType=\"twoGbMaxExtentFlat\"\n\n# Extent description\n"
                   "RW %llu FLAT \"%s\" 0\n",
                   (unsigned long long) (chain->meta_blocks * SECTORS), path);
    for (uint32_t i = 0; i < chain->n; i++) {
        if (chain->parts[i].blocks > 0) {
            path_of(self, path, "layers", chain->parts[i].hex);
            (void) fprintf(out, "RW %llu FLAT \"%s\" %u\n",
                           (unsigned long long) chain->parts[i].blocks * SECTORS, path,
                           SECTORS);
        }
    }
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

static bool
file_is(const char *path, const char *text, size_t length)
{
    bool same = false;
    char *now = malloc(length + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (now != NULL && fd >= 0) {
        ssize_t n = read(fd, now, length + 1);
        same = n >= 0 && (size_t) n == length && memcmp(now, text, length) == 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    free(now);
    return same;
}

/* It can be made again at any time: it need not survive power loss, only never be seen half-written. */
static int
replace(const struct storage *self, const char *path, const char *text, size_t length,
        struct ctr_error *err)
{
    char half[4096];
    path_of(self, half, "tmp", "vmdk");
    int fd = open(half, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int code = fd >= 0 ? write_at(fd, text, length, 0) : -errno;
    if (fd >= 0) {
        close(fd);
    }
    if (code == 0 && rename(half, path) == 0) {
        return 0;
    }
    errno = code != 0 ? -code : errno;
    return fail_errno(err, "writing", path);
}

int
chain_describe(const struct storage *self, const char *hex, const struct chain *chain,
               char ret[4096], struct ctr_error *err)
{
    size_t length = 0;
    char name[80];
    char *text = render(self, hex, chain, &length);
    if (text == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    snprintf(name, sizeof name, "%s.vmdk", hex);
    path_of(self, ret, "chains", name);
    int result = file_is(ret, text, length) ? 0 : replace(self, ret, text, length, err);
    free(text);
    return result;
}
