/*
 * Paths: making folders, expanding ~, where the program lives, and whether a path can be trusted.
 *
 * A path is trusted if nobody but root and this user can change what it names: each component on the way, links and their
 * targets included, belongs to one of the two and is writable by nobody else.
 */
#include "core/base/base.h"
#include <limits.h>
#include <pwd.h>
#include <sys/stat.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

char *
ctr_parent_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return strdup(".");
    }
    return slash == path ? strdup("/") : strndup(path, (size_t) (slash - path));
}

static int
make_dir(const char *path, mode_t mode)
{
    if (mkdir(path, mode & 0700) == 0) {
        return chmod(path, mode) == 0 ? 0 : -errno;
    }
    int code = -errno;
    struct stat st;
    if (stat(path, &st) != 0) {
        return code;
    }
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int
ctr_mkdirs(const char *path, mode_t mode, struct ctr_error *err)
{
    CTR_AUTO(free) char *copy = strdup(path);
    if (copy == NULL) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", path);
    }
    for (char *at = copy; at != NULL;) {
        at = strchr(at + 1, '/');
        if (at != NULL) {
            *at = '\0';
        }
        int code = *copy == '\0' ? 0 : make_dir(copy, mode);
        if (code != 0) {
            return ctr_fail(err, code, "%s: folder cannot be made: %s", copy, strerror(-code));
        }
        if (at != NULL) {
            *at = '/';
        }
    }
    return 0;
}

static char *
home_dir(void)
{
    const char *home = getenv("HOME");
    if (home != NULL && home[0] == '/') {
        return strdup(home);
    }
    struct passwd entry, *found = NULL;
    char space[4096];
    if (getpwuid_r(geteuid(), &entry, space, sizeof space, &found) == 0 && found != NULL) {
        return strdup(found->pw_dir);
    }
    return strdup("/");
}

char *
ctr_expand_path(const char *path, const char *base)
{
    if (path[0] == '/') {
        return strdup(path);
    }
    if (path[0] == '~' && (path[1] == '/' || path[1] == '\0')) {
        CTR_AUTO(free) char *home = home_dir();
        return home == NULL ? NULL : ctr_printf("%s%s", home, path + 1);
    }
    if (base != NULL) {
        return ctr_printf("%s/%s", base, path);
    }
    CTR_AUTO(free) char *cwd = getcwd(NULL, 0);
    return cwd == NULL ? NULL : ctr_printf("%s/%s", cwd, path);
}

char *
ctr_prefix_dir(void)
{
    char link[PATH_MAX];
#ifdef __APPLE__
    uint32_t size = sizeof link;
    if (_NSGetExecutablePath(link, &size) != 0) {
        return NULL;
    }
    CTR_AUTO(free) char *program = realpath(link, NULL);
    if (program == NULL) {
        return NULL;
    }
#else
    ssize_t n = readlink("/proc/self/exe", link, sizeof link - 1);
    if (n < 0) {
        return NULL;
    }
    link[n] = '\0';
    const char *program = link;
#endif
    CTR_AUTO(free) char *bin = ctr_parent_dir(program);
    return bin == NULL ? NULL : ctr_parent_dir(bin);
}

/* One component: `path` up to here. */
static int
check_component(const char *path, const struct stat *st, struct ctr_error *err)
{
    if (st->st_uid != 0 && st->st_uid != geteuid()) {
        return ctr_fail(
            err, -EPERM,
            "%s belongs to user %u, not to root or to user %u: chown it, or use another folder",
            path, (unsigned) st->st_uid, (unsigned) geteuid());
    }
    bool sticky_dir = S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX) != 0;
    if (!S_ISLNK(st->st_mode) && (st->st_mode & 022) != 0 && !sticky_dir) {
        return ctr_fail(err, -EPERM,
                        "%s can be written by others (mode %03o): run chmod go-w %s", path,
                        (unsigned) st->st_mode & 0777, path);
    }
    return 0;
}

/* What a link at the first `end` bytes of path leads to, with the rest of path behind it. */
static char *
follow(const char *path, size_t end)
{
    char target[PATH_MAX];
    CTR_AUTO(free) char *link = strndup(path, end);
    ssize_t n = link == NULL ? -1 : readlink(link, target, sizeof target - 1);
    if (n < 0) {
        return NULL;
    }
    target[n] = '\0';
    CTR_AUTO(free) char *dir = ctr_parent_dir(link);
    if (dir == NULL) {
        return NULL;
    }
    return target[0] == '/' ? ctr_printf("%s%s", target, path + end)
                            : ctr_printf("%s/%s%s", dir, target, path + end);
}

/* Checks up to the first link; *ret is then what to go on with, NULL at the end of the path. */
static int
check_until_link(const char *path, char **ret, struct ctr_error *err)
{
    size_t end = 0;
    *ret = NULL;
    for (bool root = true; root || path[end] != '\0'; root = false) {
        end += strspn(path + end, "/");
        end += root ? 0 : strcspn(path + end, "/");
        CTR_AUTO(free) char *part = strndup(path, end);
        struct stat st;
        if (part == NULL) {
            return ctr_fail(err, -ENOMEM, "%s: out of memory", path);
        }
        if (lstat(part, &st) != 0) {
            int code = -errno;
            return ctr_fail(err, code, "%s: %s", part, strerror(-code));
        }
        int code = check_component(part, &st, err);
        if (code != 0) {
            return code;
        }
        if (S_ISLNK(st.st_mode)) {
            *ret = follow(path, end);
            return *ret != NULL ? 0 : ctr_fail(err, -EIO, "%s: link cannot be read", part);
        }
    }
    return 0;
}

int
ctr_check_trusted_path(const char *path, struct ctr_error *err)
{
    if (path[0] != '/') {
        return ctr_fail(err, -EINVAL, "%s: not an absolute path", path);
    }
    CTR_AUTO(free) char *at = strdup(path);
    for (int links = 0; links < 40; links++) {
        if (at == NULL) {
            return ctr_fail(err, -ENOMEM, "%s: out of memory", path);
        }
        char *next;
        int code = check_until_link(at, &next, err);
        if (code != 0 || next == NULL) {
            return code;
        }
        free(at);
        at = next;
    }
    return ctr_fail(err, -ELOOP, "%s: too many symbolic links", path);
}
