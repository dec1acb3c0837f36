/*
 * registry-file: credentials from docker's config.json and containers' auth.json, read at each question, never kept.
 *
 * With the option `path` that file alone; else the usual places in order, of which those that do not exist are passed over.
 */
#include "auths.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX ((size_t) 1 << 20)
#define FILE_PLACES 3

struct file {
    const struct ctr_host *host;
    char *places[FILE_PLACES];
    bool required;            /* the one place must exist */
    bool warned[FILE_PLACES]; /* about its mode */
};

static const struct ctr_option options[] = {
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_PATH,
     .name = "path",
     .help = "file with an \"auths\" object (default: docker's config.json, then containers' "
             "auth.json)"},
};

static char *
file_join(const char *folder, const char *name)
{
    size_t n = strlen(folder) + strlen(name) + 2;
    char *path = malloc(n);
    if (path != NULL) {
        (void) snprintf(path, n, "%s/%s", folder, name);
    }
    return path;
}

static void
file_close(void *self)
{
    struct file *file = self;
    if (file != NULL) {
        for (size_t i = 0; i < FILE_PLACES; i++) {
            free(file->places[i]);
        }
        free(file);
    }
}

/* The usual places. A variable that is not set leaves its place out. */
static bool
file_find_places(struct file *file)
{
    static const struct {
        const char *variable, *name, *home_name;
    } usual[FILE_PLACES] = {
        {"DOCKER_CONFIG", "config.json", ".docker/config.json"},
        {"XDG_RUNTIME_DIR", "containers/auth.json", NULL},
        {"XDG_CONFIG_HOME", "containers/auth.json", ".config/containers/auth.json"},
    };
    const char *home = getenv("HOME");
    for (size_t i = 0; i < FILE_PLACES; i++) {
        const char *folder = getenv(usual[i].variable);
        const char *name = usual[i].name;
        if (folder == NULL || folder[0] != '/') {
            folder = home;
            name = usual[i].home_name;
        }
        if (folder == NULL || folder[0] != '/' || name == NULL) {
            continue;
        }
        file->places[i] = file_join(folder, name);
        if (file->places[i] == NULL) {
            return false;
        }
    }
    return true;
}

static int
file_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    struct file *file = calloc(1, sizeof *file);
    if (file == NULL) {
        return ctr_fail(err, -ENOMEM, "registry-file: out of memory");
    }
    file->host = host;
    const char *path = host->option_string(host, "path");
    file->required = path != NULL && path[0] != '\0';
    bool ok = true;
    if (file->required) {
        file->places[0] = strdup(path);
        ok = file->places[0] != NULL;
    } else {
        ok = file_find_places(file);
    }
    if (!ok) {
        file_close(file);
        return ctr_fail(err, -ENOMEM, "registry-file: out of memory");
    }
    *ret_self = file;
    return 0;
}

static void
file_warn_mode(struct file *file, size_t i, mode_t mode)
{
    char text[600];
    if ((mode & 077) == 0 || file->warned[i]) {
        return;
    }
    file->warned[i] = true;
    (void) snprintf(text, sizeof text,
                    "%.400s can be read by others (mode %04o); protect it with chmod 600",
                    file->places[i], (unsigned) (mode & 07777));
    file->host->log(file->host, CTR_LOG_WARN, text);
}

static int
file_fail(const struct file *file, size_t i, int code, const char *why, struct ctr_error *err)
{
    return ctr_fail(err, code, "%s: %s", file->places[i], why);
}

/* A whole file; the caller wipes and frees. -ENOENT: not there, and need not be. */
static int
file_read(struct file *file, size_t i, char **ret, size_t *ret_length, struct ctr_error *err)
{
    struct stat st;
    int fd = open(file->places[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        bool missing = errno == ENOENT || errno == ENOTDIR;
        int code = missing && file->required ? -EINVAL : missing ? -ENOENT : -errno;
        return file_fail(file, i, code, strerror(errno), err);
    }
    int rc = 0;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        rc = file_fail(file, i, -EINVAL, "not a file", err);
    } else if (st.st_size > (off_t) FILE_MAX) {
        rc = file_fail(file, i, -EFBIG, "larger than 1 MiB", err);
    }
    char *text = rc == 0 ? malloc((size_t) st.st_size + 1) : NULL;
    size_t length = 0;
    while (text != NULL && length < (size_t) st.st_size) {
        ssize_t n = read(fd, text + length, (size_t) st.st_size - length);
        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            break;
        }
        length += n > 0 ? (size_t) n : 0;
    }
    (void) close(fd);
    if (rc < 0 || text == NULL) {
        return rc < 0 ? rc : file_fail(file, i, -ENOMEM, "out of memory", err);
    }
    file_warn_mode(file, i, st.st_mode);
    *ret = text;
    *ret_length = length;
    return 0;
}

static int
file_get_one(struct file *file, size_t i, const struct ctr_registry_query *query,
             struct auths_found *found, struct ctr_error *err)
{
    char *text = NULL;
    size_t length = 0;
    int rc = file_read(file, i, &text, &length, err);
    if (rc < 0) {
        return rc;
    }
    rc = auths_find(text, length, query->host, query->repository, found, err);
    auths_wipe(text, length);
    free(text);
    return rc < 0 && rc != -ENOENT ? ctr_prefix(err, "%s", file->places[i]) : rc;
}

static int
file_get(void *self, const struct ctr_registry_query *query,
         void (*answer)(void *arg, const struct ctr_credential *credential), void *arg,
         struct ctr_error *err)
{
    struct file *file = self;
    int rc = ctr_fail(err, -ENOENT, "no credentials for %s", query->host);
    for (size_t i = 0; i < FILE_PLACES && rc == -ENOENT; i++) {
        if (file->places[i] == NULL) {
            continue;
        }
        struct auths_found found = {0};
        rc = file_get_one(file, i, query, &found, err);
        if (rc == 0) {
            struct ctr_credential credential = {.size = sizeof credential,
                                                .type = found.type,
                                                .user = found.user,
                                                .secret = found.secret};
            answer(arg, &credential);
            auths_finish(&found);
        }
    }
    return rc;
}

static int
file_list(void *self, void (*each)(void *arg, const char *host, const char *user), void *arg,
          struct ctr_error *err)
{
    struct file *file = self;
    for (size_t i = 0; i < FILE_PLACES; i++) {
        char *text = NULL;
        size_t length = 0;
        int rc = file->places[i] != NULL ? file_read(file, i, &text, &length, err) : -ENOENT;
        if (rc == -ENOENT) {
            continue;
        }
        if (rc == 0) {
            rc = auths_list(text, length, each, arg, err);
            auths_wipe(text, length);
            free(text);
            rc = rc < 0 ? ctr_prefix(err, "%s", file->places[i]) : 0;
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static const struct ctr_registry_ops ops = {
    .size = sizeof ops,
    .open = file_open,
    .close = file_close,
    .get = file_get,
    .list = file_list,
};

CTR_PLUGIN(CTR_KIND_REGISTRY, "file", CTR_VERSION, "logins from docker's and containers' files",
           options, &ops);
