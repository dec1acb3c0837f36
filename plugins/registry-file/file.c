/*
 * registry-file: credentials in docker's config.json and containers' auth.json, read at each question, never kept.
 *
 * With the option `path` that file alone; else the usual places in order, of which those that do not exist are passed over. What is to be stored
 * goes into the first place, what is to be erased goes from all.
 */
#include "auths.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_PLACES 3

struct file {
    const struct ctr_host *host;
    char *places[FILE_PLACES];
    bool warned[FILE_PLACES]; /* about its mode */
};

static const struct ctr_option options[] = {
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_PATH,
     .name = "path",
     .help = "file with an \"auths\" object (default: docker's config.json, then containers' "
             "auth.json)"},
};

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
    bool failed[FILE_PLACES];
    file->places[0] = config_docker_place(&failed[0]);
    file->places[1] = config_place("XDG_RUNTIME_DIR", "containers/auth.json", NULL, &failed[1]);
    file->places[2] = config_place("XDG_CONFIG_HOME", "containers/auth.json",
                                   ".config/containers/auth.json", &failed[2]);
    return !failed[0] && !failed[1] && !failed[2];
}

static int
file_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    struct file *file = calloc(1, sizeof *file);
    const char *path = host->option_string(host, "path");
    bool ok = file != NULL;
    if (ok && path != NULL && path[0] != '\0') {
        if (path[0] != '/') {
            file_close(file);
            return ctr_fail(err, -EINVAL, "path: %s is not an absolute path", path);
        }
        file->places[0] = strdup(path);
        ok = file->places[0] != NULL;
    } else if (ok) {
        ok = file_find_places(file);
    }
    if (!ok) {
        file_close(file);
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    file->host = host;
    if (path != NULL && path[0] != '\0' && access(path, F_OK) != 0) {
        char text[600];
        (void) snprintf(text, sizeof text, "%.400s does not exist; `ctrctl login` makes it",
                        path);
        host->log(host, CTR_LOG_INFO, text);
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

/* --- reading --- */

static int
file_get_one(struct file *file, size_t i, const struct ctr_registry_query *query,
             struct auths_found *found, struct ctr_error *err)
{
    struct config_text text = {0};
    int rc = config_read(file->places[i], &text, err);
    if (rc < 0) {
        return rc;
    }
    rc = auths_find(text.bytes, text.length, query->host, query->repository, found, err);
    if (rc == 0) {
        file_warn_mode(file, i, text.mode);
    }
    config_text_finish(&text);
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
        struct config_text text = {0};
        int rc = file->places[i] != NULL ? config_read(file->places[i], &text, err) : -ENOENT;
        if (rc == 0) {
            rc = auths_list(text.bytes, text.length, each, arg, err);
            config_text_finish(&text);
            rc = rc < 0 ? ctr_prefix(err, "%s", file->places[i]) : 0;
        }
        if (rc < 0 && rc != -ENOENT) {
            return rc;
        }
    }
    return 0;
}

/* --- writing --- */

/* The file's text changed, caller wipes and frees. credential NULL: the host's entries go. -ENOENT: there are none. */
static int
file_edit(const char *path, const char *host, const struct ctr_credential *credential,
          char **ret, struct ctr_error *err)
{
    struct config_text text = {0};
    int rc = config_read(path, &text, err);
    if (rc == 0 || (rc == -ENOENT && credential != NULL)) {
        rc = credential != NULL ? auths_set(text.bytes, text.length, host, credential, ret, err)
                                : auths_unset(text.bytes, text.length, host, ret, err);
        rc = rc < 0 ? ctr_prefix(err, "%s", path) : 0;
    }
    config_text_finish(&text);
    return rc;
}

static void
file_free_text(char *text)
{
    if (text != NULL) {
        ctr_wipe(text, strlen(text));
        free(text);
    }
}

/* Under the file's lock. A file that is broken is left as it is. */
static int
file_change(const char *path, const char *host, const struct ctr_credential *credential,
            struct ctr_error *err)
{
    struct save_lock lock;
    char *changed = NULL;
    int rc = save_lock(path, credential != NULL, &lock, err);
    if (rc < 0) {
        return rc;
    }
    rc = file_edit(lock.target, host, credential, &changed, err);
    rc = rc < 0 ? rc : save_write(&lock, changed, err);
    file_free_text(changed);
    save_unlock(&lock);
    return rc;
}

/* A look first: where nothing is to be erased, no lock file is left either. */
static int
file_erase_one(const char *path, const char *host, struct ctr_error *err)
{
    char *changed = NULL;
    int rc = file_edit(path, host, NULL, &changed, err);
    file_free_text(changed);
    return rc < 0 ? rc : file_change(path, host, NULL, err);
}

static int
file_check_host(const char *host, struct ctr_error *err)
{
    return config_host_is_good(host)
               ? 0
               : ctr_fail(err, -EINVAL, "\"%.100s\" is not a registry's host[:port]", host);
}

static int
file_store(void *self, const char *host, const struct ctr_credential *credential,
           struct ctr_error *err)
{
    struct file *file = self;
    int rc = file_check_host(host, err);
    if (rc == 0 && file->places[0] == NULL) {
        rc = ctr_fail(err, -EINVAL,
                      "neither HOME nor DOCKER_CONFIG says where to store it; set "
                      "the option path");
    }
    return rc < 0 ? rc : file_change(file->places[0], host, credential, err);
}

static int
file_erase(void *self, const char *host, struct ctr_error *err)
{
    struct file *file = self;
    int result = file_check_host(host, err);
    bool erased = false;
    for (size_t i = 0; i < FILE_PLACES && result == 0; i++) {
        int rc = file->places[i] != NULL ? file_erase_one(file->places[i], host, err) : -ENOENT;
        erased = erased || rc == 0;
        result = rc == -ENOENT ? 0 : rc;
    }
    return result == 0 && !erased ? ctr_fail(err, -ENOENT, "no credentials for %s", host)
                                  : result;
}

static const struct ctr_registry_ops ops = {
    .size = sizeof ops,
    .open = file_open,
    .close = file_close,
    .get = file_get,
    .store = file_store,
    .erase = file_erase,
    .list = file_list,
};

CTR_PLUGIN(CTR_KIND_REGISTRY, "file", CTR_VERSION, "logins in docker's and containers' files",
           options, &ops);
