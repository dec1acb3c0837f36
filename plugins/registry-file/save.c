/*
 * Replacing a file that others write too. Writers of ours take turns by a lock file beside it, NAME.lock; docker's and podman's tools replace the
 * file by a rename as well, so that a reader always sees a whole one.
 *
 * A link is followed first: it stays, and what it leads to is replaced.
 */
#include "auths.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SAVE_LOCK_TRIES 200 /* of 50 ms */

static int
save_fail(const char *path, const char *what, int code, struct ctr_error *err)
{
    return ctr_fail(err, -code, "%s: %s: %s", path, what, strerror(code));
}

static char *
save_join(const char *path, const char *suffix)
{
    size_t n = strlen(path) + strlen(suffix) + 1;
    char *joined = malloc(n);
    if (joined != NULL) {
        (void) snprintf(joined, n, "%s%s", path, suffix);
    }
    return joined;
}

/* The folder of an absolute path; caller frees. */
static char *
save_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == path ? strdup("/") : strndup(path, (size_t) (slash - path));
}

/* Makes the folders above a file, for its owner alone. */
static int
save_make_folders(const char *path, struct ctr_error *err)
{
    char *copy = strdup(path);
    if (copy == NULL) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", path);
    }
    int rc = 0;
    for (char *at = strchr(copy + 1, '/'); at != NULL && rc == 0; at = strchr(at + 1, '/')) {
        *at = '\0';
        if (mkdir(copy, 0700) < 0 && errno != EEXIST) {
            rc = save_fail(copy, "folder cannot be made", errno, err);
        }
        *at = '/';
    }
    free(copy);
    return rc;
}

/* What the path leads to; a file that does not exist is its own target. */
static int
save_target(const char *path, bool make, char **ret, struct ctr_error *err)
{
    char *target = realpath(path, NULL);
    if (target == NULL && errno == ENOENT && make) {
        struct stat st;
        if (lstat(path, &st) == 0) {
            return ctr_fail(err, -ENOENT, "%s: a link that leads nowhere; remove it", path);
        }
        int rc = save_make_folders(path, err);
        if (rc < 0) {
            return rc;
        }
        target = strdup(path);
    } else if (target == NULL) {
        return save_fail(path, "cannot be found", errno, err);
    }
    if (target == NULL) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", path);
    }
    *ret = target;
    return 0;
}

int
save_lock(const char *path, bool make, struct save_lock *ret, struct ctr_error *err)
{
    static const struct timespec pause = {.tv_nsec = 50000000};
    struct save_lock lock = {.fd = -1};
    int rc = save_target(path, make, &lock.target, err);
    if (rc < 0) {
        return rc;
    }
    char *name = save_join(lock.target, ".lock");
    if (name == NULL) {
        free(lock.target);
        return ctr_fail(err, -ENOMEM, "%s: out of memory", path);
    }
    lock.fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    int code = lock.fd < 0 ? errno : EWOULDBLOCK;
    for (int i = 0; i < SAVE_LOCK_TRIES && code == EWOULDBLOCK; i++) {
        code = flock(lock.fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
        if (code == EWOULDBLOCK) {
            (void) nanosleep(&pause, NULL);
        }
    }
    if (code == EWOULDBLOCK) {
        rc = ctr_fail(err, -EBUSY, "%s: held by another program for ten seconds", name);
    } else if (code != 0) {
        rc = save_fail(name, "cannot be locked", code, err);
    }
    free(name);
    if (rc < 0) {
        save_unlock(&lock);
        return rc;
    }
    *ret = lock;
    return 0;
}

void
save_unlock(struct save_lock *lock)
{
    if (lock->fd >= 0) {
        (void) close(lock->fd);
    }
    free(lock->target);
    *lock = (struct save_lock){.fd = -1};
}

/* All bytes, on stable storage; 0 or errno. */
static int
save_bytes(int fd, const char *text)
{
    for (size_t n = strlen(text), done = 0; done < n;) {
        ssize_t written = write(fd, text + done, n - done);
        if (written < 0 && errno != EINTR) {
            return errno;
        }
        done += written > 0 ? (size_t) written : 0;
    }
#ifdef F_FULLFSYNC
    if (fcntl(fd, F_FULLFSYNC) == 0) {
        return 0;
    }
#endif
    return fsync(fd) == 0 ? 0 : errno;
}

/* root may write another user's file, which stays that user's. */
static int
save_keep_owner(int fd, const char *target)
{
    struct stat old;
    if (stat(target, &old) < 0 || old.st_uid == geteuid()) {
        return 0;
    }
    return fchown(fd, old.st_uid, old.st_gid) == 0 ? 0 : errno;
}

static int
save_sync_folder(const char *target)
{
    char *folder = save_folder(target);
    int fd = folder != NULL ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int code = folder == NULL ? ENOMEM : fd < 0 || fsync(fd) < 0 ? errno : 0;
    if (fd >= 0) {
        (void) close(fd);
    }
    free(folder);
    return code;
}

/* The new file beside the target, complete and on stable storage; 0 or errno, and then there is none. */
static int
save_new(const char *name, const char *target, const char *text)
{
    /* Whoever holds the lock owns this name: one that is there was left by a crash. */
    (void) unlink(name);
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return errno;
    }
    int code = save_keep_owner(fd, target);
    code = code != 0 ? code : save_bytes(fd, text);
    if (close(fd) < 0 && code == 0) {
        code = errno;
    }
    if (code != 0) {
        (void) unlink(name);
    }
    return code;
}

int
save_write(const struct save_lock *lock, const char *text, struct ctr_error *err)
{
    char *name = save_join(lock->target, ".ctr-new");
    if (name == NULL) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", lock->target);
    }
    int code = save_new(name, lock->target, text);
    if (code == 0 && rename(name, lock->target) < 0) {
        code = errno;
        (void) unlink(name);
    }
    code = code != 0 ? code : save_sync_folder(lock->target);
    free(name);
    return code == 0 ? 0 : save_fail(lock->target, "cannot be written", code, err);
}
