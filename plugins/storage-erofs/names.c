/*
 * Names, paths and the few things that are done to any file.
 */
#include "plugins/storage-erofs/store.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int
check_key(const char *key, struct ctr_error *err)
{
    size_t length = strlen(key);
    if (length == 0 || length > 128 ||
        strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") !=
            length) {
        return ctr_fail(err, -EINVAL, "'%.140s' is not a key", key);
    }
    return 0;
}

bool
is_digest(const char *name)
{
    return strncmp(name, "sha256:", 7) == 0 && strlen(name) == DIGEST_LENGTH &&
           strspn(name + 7, "0123456789abcdef") == 64;
}

void
path_of(const struct storage *self, char ret[4096], const char *folder, const char *name)
{
    snprintf(ret, 4096, "%s/%s/%s", self->dir, folder, name);
}

void
digest_path(const struct storage *self, char ret[4096], const char *folder, const char *digest)
{
    path_of(self, ret, folder, digest + 7);
}

void
key_path(const struct storage *self, char ret[4096], const char *folder, const char *key,
         const char *file)
{
    snprintf(ret, 4096, "%s/%s/" KEY_PREFIX "%s%s", self->dir, folder, key, file);
}

int
check_new_key(const struct storage *self, const char *key, struct ctr_error *err)
{
    char path[4096], clone[4096];
    int result = check_key(key, err);
    if (result != 0) {
        return result;
    }
    key_path(self, path, "tmp", key, "");
    key_path(self, clone, "clones", key, "");
    if (access(path, F_OK) == 0 || access(clone, F_OK) == 0) {
        return ctr_fail(err, -EEXIST, "storage-erofs: key %s exists already", key);
    }
    return 0;
}

int
fail_errno(struct ctr_error *err, const char *what, const char *path)
{
    int code = errno;
    return ctr_fail(err, -code, "storage-erofs: %s %s: %s%s", what, path, strerror(code),
                    code == ENOSPC ? "; free some space there and try again" : "");
}

int
write_at(int fd, const void *bytes, size_t length, uint64_t offset)
{
    for (size_t done = 0; done < length;) {
        ssize_t n =
            pwrite(fd, (const char *) bytes + done, length - done, (off_t) (offset + done));
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        done += n > 0 ? (size_t) n : 0;
    }
    return 0;
}

int
sync_folder(const struct storage *self, const char *folder, struct ctr_error *err)
{
    char path[4096];
    path_of(self, path, folder, "");
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = fd >= 0 && fsync(fd) == 0 ? 0 : fail_errno(err, "syncing", path);
    if (fd >= 0) {
        close(fd);
    }
    return result;
}

int
publish(const struct storage *self, const char *from, const char *folder, const char *to,
        struct ctr_error *err)
{
    if (rename(from, to) != 0) {
        return fail_errno(err, "renaming", from);
    }
    int result = sync_folder(self, folder, err);
    if (result != 0) {
        (void) unlink(to);
    }
    return result;
}

void
each_name(const struct storage *self, const char *folder,
          void (*each)(const struct storage *self, const char *name, void *arg), void *arg)
{
    char path[4096];
    path_of(self, path, folder, "");
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            each(self, entry->d_name, arg);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
}
