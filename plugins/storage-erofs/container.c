/*
 * Containers: a folder of each with `upper`, the writable disk, and `chain`, the chain ID that it stands on. The writable disk is a copy of
 * a prepared empty ext4: only its few blocks of metadata are copied, whatever its size and that of the image.
 */
#include "plugins/storage-erofs/chain.h"
#include "plugins/storage-erofs/format.h"
#include <ctr/ext4.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int
container_chain(const struct storage *self, const char *key, char ret[72])
{
    char path[4096];
    key_path(self, path, "clones", key, "/chain");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return -errno;
    }
    ssize_t n = read(fd, ret, 71);
    close(fd);
    ret[n == 71 ? 71 : 0] = '\0';
    return is_digest(ret) ? 0 : -EBADMSG;
}

void
container_remove(const struct storage *self, const char *key)
{
    char path[4096];
    static const char *const files[] = {"/chain", "/upper", ""};
    for (int i = 0; i < 3; i++) {
        key_path(self, path, "clones", key, files[i]);
        (void) (i < 2 ? unlink(path) : rmdir(path));
    }
}

/* The prepared empty disk of this size, made on first use. */
static int
open_blank(const struct storage *self, uint64_t bytes, int *ret_fd, struct ctr_error *err)
{
    char path[4096], tmp[4096];
    snprintf(path, sizeof path, "%s/blank-%llu", self->dir, (unsigned long long) bytes);
    snprintf(tmp, sizeof tmp, "%s/tmp/blank", self->dir);
    *ret_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*ret_fd >= 0) {
        return 0;
    }
    (void) unlink(tmp);
    int result = ctr_ext4_blank(tmp, bytes, 0, err);
    int fd = result == 0 ? open(tmp, O_RDONLY | O_CLOEXEC) : -1;
    if (result == 0 && (fd < 0 || fsync(fd) != 0 || rename(tmp, path) != 0)) {
        result = fail_errno(err, "making", path);
    }
    if (result != 0) {
        (void) unlink(tmp);
        if (fd >= 0) {
            close(fd);
        }
        return result;
    }
    *ret_fd = fd;
    return 0;
}

static int
write_clone(struct storage *self, const char *key, const char *chain_id, int blank,
            struct ctr_error *err)
{
    char path[4096];
    key_path(self, path, "clones", key, "/upper");
    int result = ctr_file_clone(blank, AT_FDCWD, path, NULL, err);
    int upper = result == 0 ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (result == 0 && (upper < 0 || fsync(upper) != 0)) {
        result = fail_errno(err, "syncing", path);
    }
    if (upper >= 0) {
        close(upper);
    }
    if (result != 0) {
        return result;
    }
    key_path(self, path, "clones", key, "/chain");
    int chain = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (chain < 0 || write(chain, chain_id, 71) != 71 || fsync(chain) != 0) {
        result = fail_errno(err, "writing", path);
    }
    if (chain >= 0) {
        close(chain);
    }
    snprintf(path, sizeof path, "clones/" KEY_PREFIX "%s", key);
    return result == 0 ? sync_folder(self, path, err) : result;
}

int
container_clone(void *arg, const char *key, const char *chain_id, uint64_t bytes,
                struct ctr_error *err)
{
    struct storage *self = arg;
    char path[4096];
    int result = check_new_key(self, key, err), blank = -1;
    if (result != 0) {
        return result;
    }
    if (is_digest(chain_id)) {
        digest_path(self, path, "chains", chain_id);
    }
    if (!is_digest(chain_id) || access(path, F_OK) != 0) {
        return ctr_fail(err, -ENOENT, "storage-erofs: there is no snapshot %.80s", chain_id);
    }
    result = open_blank(self, bytes != 0 ? bytes & ~(uint64_t) 4095 : self->bytes, &blank, err);
    if (result != 0) {
        return result;
    }
    key_path(self, path, "clones", key, "");
    if (mkdir(path, 0700) != 0) {
        result = fail_errno(err, "making", path);
    } else {
        result = write_clone(self, key, chain_id, blank, err);
        result = result == 0 ? sync_folder(self, "clones", err) : result;
        if (result != 0) {
            container_remove(self, key);
        }
    }
    close(blank);
    return result;
}

int
container_disks(void *arg, const char *key,
                void (*each)(void *arg, const struct ctr_disk *disk), void *each_arg,
                struct ctr_error *err)
{
    const struct storage *self = arg;
    char id[72], lower[4096], upper[4096];
    struct chain chain;
    struct stat st;
    if (check_key(key, err) != 0 || container_chain(self, key, id) != 0) {
        return ctr_fail(err, -ENOENT, "storage-erofs: there is no disk %.130s", key);
    }
    key_path(self, upper, "clones", key, "/upper");
    if (stat(upper, &st) != 0) {
        return ctr_fail(err, -ENOENT,
                        "storage-erofs: the file of disk %s is gone; remove the container",
                        key);
    }
    int result = chain_read(self, id + 7, &chain, err);
    result = result == 0 ? chain_describe(self, id + 7, &chain, lower, err) : result;
    if (result == 0) {
        const struct ctr_disk lower_disk = {.size = sizeof lower_disk,
                                            .format = CTR_DISK_VMDK,
                                            .flags = CTR_DISK_READ_ONLY,
                                            .role = CTR_DISK_LOWER,
                                            .path = lower,
                                            .fstype = "erofs",
                                            .options = "",
                                            .bytes = chain_blocks(&chain) * EROFS_BLOCK};
        const struct ctr_disk upper_disk = {.size = sizeof upper_disk,
                                            .format = CTR_DISK_RAW,
                                            .flags = CTR_DISK_DISCARD,
                                            .role = CTR_DISK_UPPER,
                                            .path = upper,
                                            .fstype = "ext4",
                                            .options = "noatime,discard",
                                            .bytes = (uint64_t) st.st_size};
        each(each_arg, &lower_disk);
        each(each_arg, &upper_disk);
    }
    chain_finish(&chain);
    return result;
}
