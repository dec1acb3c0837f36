/*
 * From a profile's name to its file. A profile decides which code runs: one that others can write is refused.
 */
#include "core/conf/conf-priv.h"
#include <sys/stat.h>

#define MAX_PROFILE ((size_t) 1 << 20)
#define N_FOLDERS 3

/* The folders that profiles are looked for in; entries may be NULL. */
static void
profile_dirs(char *ret[N_FOLDERS])
{
    const char *xdg = getenv("XDG_CONFIG_HOME");
    CTR_AUTO(free) char *prefix = ctr_prefix_dir();
    ret[0] = xdg != NULL && xdg[0] == '/' ? ctr_printf("%s/ctr", xdg)
                                          : ctr_expand_path("~/.config/ctr", NULL);
    ret[1] = strdup("/etc/ctr");
    ret[2] = prefix == NULL ? NULL : ctr_printf("%s/etc/ctr", prefix);
}

/* Adds the names of a folder's profiles to the list in text. */
static void
list_profiles(const char *path, struct ctr_buf *names)
{
    CTR_AUTO(dir) DIR *dir = opendir(path);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        size_t n = strlen(entry->d_name);
        if (n > 4 && ctr_ends_with(entry->d_name, ".ini")) {
            ctr_buf_printf(names, "%s%.*s", names->length > 0 ? ", " : "", (int) n - 4,
                           entry->d_name);
        }
    }
}

static int
not_found(const char *name, char *const dirs[N_FOLDERS], struct ctr_error *err)
{
    CTR_AUTO(buf) struct ctr_buf names = {0};
    for (size_t i = 0; i < N_FOLDERS; i++) {
        if (dirs[i] != NULL) {
            list_profiles(dirs[i], &names);
        }
    }
    return ctr_fail(
        err, -ENOENT,
        "no profile \"%.100s\" (%.100s.ini) in %.200s, %s or %.200s: there %s%.200s", name,
        name, dirs[0] == NULL ? "?" : dirs[0], dirs[1] == NULL ? "?" : dirs[1],
        dirs[2] == NULL ? "?" : dirs[2], names.length > 0 ? "are " : "is none",
        names.length > 0 ? names.data : "");
}

static int
find_profile(const char *name, char **ret, struct ctr_error *err)
{
    char *dirs[N_FOLDERS];
    int code = 1;
    profile_dirs(dirs);
    for (size_t i = 0; code > 0 && i < N_FOLDERS; i++) {
        CTR_AUTO(free)
        char *path = dirs[i] == NULL ? NULL : ctr_printf("%s/%s.ini", dirs[i], name);
        if (path != NULL && access(path, F_OK) == 0) {
            *ret = ctr_steal(&path);
            code = 0;
        }
    }
    if (code > 0) {
        code = not_found(name, dirs, err);
    }
    for (size_t i = 0; i < N_FOLDERS; i++) {
        free(dirs[i]);
    }
    return code;
}

/* "lab" of "/etc/ctr/lab.ini". */
static char *
name_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash == NULL ? path : slash + 1;
    size_t n = strlen(base);
    return strndup(base, ctr_ends_with(base, ".ini") ? n - 4 : n);
}

static int
check_writers(const char *path, struct ctr_error *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && (st.st_mode & S_IWOTH) != 0) {
        return ctr_fail(err, -EPERM, "%s: anyone can write this profile: run chmod o-w %s",
                        path, path);
    }
    return 0;
}

/* A folder given by the environment in place of the profile's. */
static int
override(const char *variable, char **field, struct ctr_error *err)
{
    const char *value = getenv(variable);
    if (value == NULL || *value == '\0') {
        return 0;
    }
    char *path = ctr_expand_path(value, NULL);
    if (path == NULL) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", variable);
    }
    free(*field);
    *field = path;
    return 0;
}

static int
load_file(const char *path, struct ctr_conf **ret, struct ctr_error *err)
{
    CTR_AUTO(free) char *text = NULL;
    CTR_AUTO(free) char *name = name_of(path);
    size_t length;
    struct ctr_conf *conf;
    if (name == NULL) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", path);
    }
    int code = check_writers(path, err);
    code = code != 0 ? code : ctr_read_file(path, MAX_PROFILE, &text, &length, err);
    code = code != 0 ? code : ctr_conf_parse(name, path, text, length, &conf, err);
    if (code != 0) {
        return code;
    }
    code = override("CTR_DATA", &conf->engine.data, err);
    code = code != 0 ? code : override("CTR_RUN", &conf->engine.run, err);
    if (code != 0) {
        ctr_conf_destroy(conf);
        return code;
    }
    *ret = conf;
    return 0;
}

int
ctr_conf_load(const char *name_or_path, struct ctr_conf **ret, struct ctr_error *err)
{
    const char *environment = getenv("CTR_PROFILE");
    const char *wanted = name_or_path;
    if (wanted == NULL || *wanted == '\0') {
        wanted = environment != NULL && *environment != '\0' ? environment : "default";
    }
    CTR_AUTO(free) char *path = NULL;
    if (strchr(wanted, '/') != NULL || ctr_ends_with(wanted, ".ini")) {
        path = ctr_expand_path(wanted, NULL);
        return path == NULL ? ctr_fail(err, -ENOMEM, "%s: out of memory", wanted)
                            : load_file(path, ret, err);
    }
    if (!ctr_is_name(wanted)) {
        return ctr_fail(err, -EINVAL, "\"%s\" is not a profile's name", wanted);
    }
    int code = find_profile(wanted, &path, err);
    return code != 0 ? code : load_file(path, ret, err);
}
