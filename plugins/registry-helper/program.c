/*
 * The helper's program: found in the folders of the option `path` alone, refused if anybody but root and this user could change it, run without a
 * shell, with a small environment and with limits.
 *
 * What it prints never gets into an error: it may be a secret.
 */
#include "helper-priv.h"
#include <ctr/command.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROGRAM_PREFIX "docker-credential-"
#define PROGRAM_NAMES 64
#define PROGRAM_FOLDER_MAX 1000
#define PROGRAM_OUTPUT_MAX (1 << 20)

/* --- where it is --- */

int
program_check_path(const char *path, struct ctr_error *err)
{
    for (const char *at = path;; at++) {
        size_t n = strcspn(at, ":");
        if (n == 0 || n > PROGRAM_FOLDER_MAX || at[0] != '/') {
            return ctr_fail(err, -EINVAL, "path: \"%.200s\" is not a list of absolute folders",
                            path);
        }
        at += n;
        if (*at == '\0') {
            return 0;
        }
    }
}

static int
check_component(const char *path, struct ctr_error *err)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        return ctr_fail(err, -errno, "%s: %s", path, strerror(errno));
    }
    bool sticky = S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX) != 0;
    if ((st.st_uid != 0 && st.st_uid != geteuid()) || ((st.st_mode & 022) != 0 && !sticky)) {
        return ctr_fail(err, -EPERM,
                        "%s is refused: others than root and you can write it (owner %u, mode "
                        "%04o)",
                        path, (unsigned) st.st_uid, (unsigned) (st.st_mode & 07777));
    }
    return 0;
}

/* Each folder on the way to `path`, which has no links in it, and itself. */
static int
check_way(char *path, struct ctr_error *err)
{
    int rc = check_component("/", err);
    for (char *at = path + 1; rc == 0; at++) {
        at += strcspn(at, "/");
        bool last = *at == '\0';
        *at = '\0';
        rc = check_component(path, err);
        if (last) {
            return rc;
        }
        *at = '/';
    }
    return rc;
}

/* The folder that was named and, behind links, the program itself: nobody else may change either. */
static int
check_program(const char *folder, const char *file, struct ctr_error *err)
{
    const char *const both[] = {folder, file};
    int rc = 0;
    for (size_t i = 0; i < 2 && rc == 0; i++) {
        char *real = realpath(both[i], NULL);
        rc = real != NULL ? check_way(real, err)
                          : ctr_fail(err, -errno, "%s: %s", both[i], strerror(errno));
        free(real);
    }
    return rc;
}

int
program_find(const char *path, const char *name, char **ret, struct ctr_error *err)
{
    for (const char *at = path; *at != '\0';) {
        size_t n = strcspn(at, ":");
        char folder[PROGRAM_FOLDER_MAX + 1], file[PROGRAM_FOLDER_MAX + 100];
        struct stat st;
        (void) snprintf(folder, sizeof folder, "%.*s", (int) n, at);
        (void) snprintf(file, sizeof file, "%s/" PROGRAM_PREFIX "%s", folder, name);
        if (stat(file, &st) == 0 && S_ISREG(st.st_mode)) {
            int rc = check_program(folder, file, err);
            if (rc == 0 && access(file, X_OK) < 0) {
                rc = ctr_fail(err, -errno, "%s: %s", file, strerror(errno));
            }
            *ret = rc == 0 ? strdup(file) : NULL;
            return rc < 0 || *ret != NULL ? rc : ctr_fail(err, -ENOMEM, "out of memory");
        }
        at += n + (at[n] == ':');
    }
    return ctr_fail(err, -ENOEXEC, PROGRAM_PREFIX "%s is in none of %s", name, path);
}

/* --- how it runs --- */

/* The names in the option `environment`, cut in place. */
static void
split_names(char *text, const char *names[PROGRAM_NAMES + 1])
{
    size_t n = 0;
    char *rest = NULL;
    for (char *at = strtok_r(text, ", \t", &rest); at != NULL && n < PROGRAM_NAMES;
         at = strtok_r(NULL, ", \t", &rest)) {
        names[n++] = at;
    }
    names[n] = NULL;
}

static int
run_with(const struct ctr_host *host, const char *file, const char *verb, const char *input,
         struct ctr_command_result *ret, struct ctr_error *err)
{
    const char *names[PROGRAM_NAMES + 1];
    const char *path = host->option_string(host, "path");
    char *copy = strdup(host->option_string(host, "environment"));
    size_t n = strlen(path) + sizeof "PATH=";
    char *path_entry = malloc(n);
    const char **envp = NULL;
    if (copy != NULL && path_entry != NULL) {
        split_names(copy, names);
        (void) snprintf(path_entry, n, "PATH=%s", path);
        envp = ctr_command_environment(names, path_entry);
    }
    const char *const argv[] = {file, verb, NULL};
    const struct ctr_command command = {.size = sizeof command,
                                        .limit_ms =
                                            (uint32_t) host->option_int(host, "timeout") * 1000,
                                        .argv = argv,
                                        .envp = envp,
                                        .input = input,
                                        .input_length = strlen(input),
                                        .output_max = PROGRAM_OUTPUT_MAX};
    int rc = envp != NULL ? ctr_command_run(&command, ret, err)
                          : ctr_fail(err, -ENOMEM, "out of memory");
    free(envp);
    free(path_entry);
    free(copy);
    return rc;
}

int
program_run(const struct ctr_host *host, const char *name, const char *verb, const char *input,
            struct ctr_command_result *ret, struct ctr_error *err)
{
    struct ctr_command_result result = {0};
    char *file = NULL;
    int rc = program_find(host->option_string(host, "path"), name, &file, err);
    if (rc < 0) {
        return rc;
    }
    rc = run_with(host, file, verb, input, &result, err);
    if (rc == 0 && result.status != 0) {
        rc =
            protocol_says_not_found(result.output, result.length)
                ? ctr_fail(err, -ENOENT, "%s has no such credential", file)
                : ctr_fail(err, -EIO, "`%s %s` ended with status %d; run it by hand to see why",
                           file, verb, (int) result.status);
        ctr_command_finish(&result);
    }
    free(file);
    if (rc == 0) {
        *ret = result;
    }
    return rc;
}
