/*
 * body.c: the options of run, create and exec as the API's JSON documents. Checks what can be checked here, so that a typo costs no request.
 */
#include "core/cmd/session.h"
#include "core/cmd/show.h"

enum { CTL_ENV_FILE_MAX = 1024 * 1024 };

static int
no_memory(struct ctr_error *err)
{
    return ctr_fail(err, -ENOMEM, "out of memory");
}

/* "KEY=VALUE", or "KEY" for the value that our own environment has; one that is unset is left out, as docker does. */
static int
add_env(json_t *list, const char *text, const char *where, struct ctr_error *err)
{
    if (text[0] == '=' || text[0] == '\0') {
        return ctr_fail(err, -EINVAL, "%s: '%s' has no name; write NAME=VALUE", where, text);
    }
    if (strchr(text, '=') != NULL) {
        return json_array_append_new(list, json_string(text)) == 0
                   ? 0
                   : ctr_fail(err, -EINVAL, "%s: '%.40s' is not UTF-8", where, text);
    }
    const char *value = getenv(text);
    if (value == NULL) {
        return 0;
    }
    CTR_AUTO(free) char *pair = ctr_printf("%s=%s", text, value);
    return pair != NULL && json_array_append_new(list, json_string(pair)) == 0
               ? 0
               : ctr_fail(err, -EINVAL, "%s: the value of %s is not UTF-8", where, text);
}

static int
add_env_file(json_t *list, const char *path, struct ctr_error *err)
{
    CTR_AUTO(free) char *text = NULL;
    size_t length;
    int rc = ctr_read_file(path, CTL_ENV_FILE_MAX, &text, &length, err);
    if (rc < 0) {
        return ctr_prefix(err, "--env-file");
    }
    if (memchr(text, '\0', length) != NULL) {
        return ctr_fail(err, -EINVAL, "--env-file: %s: is no text file", path);
    }
    int number = 0;
    for (char *line = text; line != NULL && rc == 0;) {
        char *end = strchr(line, '\n');
        if (end != NULL) {
            *end++ = '\0';
        }
        number++;
        size_t last = strlen(line);
        if (last > 0 && line[last - 1] == '\r') {
            line[last - 1] = '\0';
        }
        line += strspn(line, " \t");
        if (*line != '\0' && *line != '#') {
            CTR_AUTO(free) char *where = ctr_printf("--env-file: %s:%d", path, number);
            rc = where != NULL ? add_env(list, line, where, err) : no_memory(err);
        }
        line = end;
    }
    return rc;
}

static int
add_all_env(const struct ctl *ctl, json_t *body, struct ctr_error *err)
{
    json_t *list = json_array();
    if (json_object_set_new(body, "Env", list) < 0) {
        return no_memory(err);
    }
    const char *value;
    int rc = 0;
    for (size_t i = 0; rc == 0 && (value = ctl_value_at(ctl, "env-file", i)) != NULL; i++) {
        rc = add_env_file(list, value, err);
    }
    for (size_t i = 0; rc == 0 && (value = ctl_value_at(ctl, "env", i)) != NULL; i++) {
        rc = add_env(list, value, "--env", err);
    }
    return rc;
}

int
ctl_add_labels(const struct ctl *ctl, json_t *body, struct ctr_error *err)
{
    json_t *labels = json_object();
    if (json_object_set_new(body, "Labels", labels) < 0) {
        return no_memory(err);
    }
    const char *value;
    for (size_t i = 0; (value = ctl_value_at(ctl, "label", i)) != NULL; i++) {
        size_t length = strcspn(value, "=");
        CTR_AUTO(free) char *key = strndup(value, length);
        const char *text = value[length] == '=' ? value + length + 1 : "";
        if (key == NULL || length == 0 ||
            json_object_set_new(labels, key, json_string(text)) < 0) {
            return ctr_fail(err, -EINVAL, "--label: '%s' must be NAME=VALUE in UTF-8", value);
        }
    }
    return 0;
}

static int
add_tmpfs(const struct ctl *ctl, json_t *host, struct ctr_error *err)
{
    json_t *mounts = json_object();
    if (json_object_set_new(host, "Tmpfs", mounts) < 0) {
        return no_memory(err);
    }
    const char *value;
    for (size_t i = 0; (value = ctl_value_at(ctl, "tmpfs", i)) != NULL; i++) {
        size_t length = strcspn(value, ":");
        CTR_AUTO(free) char *path = strndup(value, length);
        const char *options = value[length] == ':' ? value + length + 1 : "";
        if (path == NULL || path[0] != '/' ||
            json_object_set_new(mounts, path, json_string(options)) < 0) {
            return ctr_fail(err, -EINVAL, "--tmpfs: '%s' must be /PATH or /PATH:OPTIONS",
                            value);
        }
    }
    return 0;
}

/* "1.5" into billionths. */
static int
parse_cpus(const char *text, int64_t *ret, struct ctr_error *err)
{
    char *end;
    double cpus = text[strspn(text, "0123456789.")] == '\0' ? strtod(text, &end) : 0;
    if (!(cpus >= 0.01 && cpus <= 1024)) {
        return ctr_fail(err, -EINVAL, "--cpus: '%s' must be a number of CPUs, such as 2 or 0.5",
                        text);
    }
    *ret = (int64_t) (cpus * 1e9 + 0.5);
    return 0;
}

static int
add_limits(const struct ctl *ctl, json_t *body, json_t *host, struct ctr_error *err)
{
    const char *text = ctl_value(ctl, "memory");
    uint64_t bytes = 0;
    if (text != NULL && (ctr_parse_size(text, &bytes) < 0 || bytes > INT64_MAX)) {
        return ctr_fail(err, -EINVAL, "--memory: '%s' must be a size, such as 512m or 2g",
                        text);
    }
    int64_t cpus = 0, seconds = 0;
    if (ctl_value(ctl, "cpus") != NULL && parse_cpus(ctl_value(ctl, "cpus"), &cpus, err) < 0) {
        return err->code;
    }
    int rc = 0;
    if (text != NULL) {
        rc |= json_object_set_new(host, "Memory", json_integer((json_int_t) bytes));
    }
    if (cpus > 0) {
        rc |= json_object_set_new(host, "NanoCpus", json_integer(cpus));
    }
    text = ctl_value(ctl, "stop-timeout");
    if (text != NULL && ctr_parse_int(text, -1, INT32_MAX, &seconds) < 0) {
        return ctr_fail(err, -EINVAL, "--stop-timeout: '%s' must be a number of seconds", text);
    }
    if (text != NULL) {
        rc |= json_object_set_new(body, "StopTimeout", json_integer(seconds));
    }
    text = ctl_value(ctl, "stop-signal");
    if (text != NULL && ctr_signal_number(text) < 0) {
        return ctr_fail(err, -EINVAL, "--stop-signal: '%s' is no signal; try TERM or INT",
                        text);
    }
    return rc == 0 ? 0 : no_memory(err);
}

/* Options that go into the document as they are. */
static int
add_texts(const struct ctl *ctl, json_t *object, const char *const (*pairs)[2], size_t n,
          struct ctr_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const char *value = ctl_value(ctl, pairs[i][0]);
        if (value != NULL && json_object_set_new(object, pairs[i][1], json_string(value)) < 0) {
            return ctr_fail(err, -EINVAL, "--%s: '%s' is not UTF-8", pairs[i][0], value);
        }
    }
    return 0;
}

static int
add_words(const struct ctl *ctl, json_t *object, const char *key, struct ctr_error *err)
{
    if (ctl->n_operands < 2) {
        return 0;
    }
    json_t *words = json_array();
    for (int i = 1; i < ctl->n_operands; i++) {
        if (json_array_append_new(words, json_string(ctl->operands[i])) < 0) {
            json_decref(words);
            return ctr_fail(err, -EINVAL, "argument %d of the command is not UTF-8", i);
        }
    }
    return json_object_set_new(object, key, words) == 0 ? 0 : no_memory(err);
}

static int
add_entrypoint(const struct ctl *ctl, json_t *body, struct ctr_error *err)
{
    const char *value = ctl_value(ctl, "entrypoint");
    if (value == NULL) {
        return 0;
    }
    json_t *list = json_pack("[s]", value);
    return json_object_set_new(body, "Entrypoint", list) == 0
               ? 0
               : ctr_fail(err, -EINVAL, "--entrypoint: is not UTF-8");
}

/* What Docker's words lack goes into annotations: any client of the API can set them too. */
static int
add_annotations(const struct ctl *ctl, json_t *host, struct ctr_error *err)
{
    static const char *const names[][2] = {{"storage", "ctr.storage"}};
    json_t *notes = json_object();
    int rc = json_object_set_new(host, "Annotations", notes);
    rc = rc == 0 ? add_texts(ctl, notes, names, CTR_LENGTH(names), err) : no_memory(err);
    const char *kernel = ctl_value(ctl, "kernel");
    if (rc < 0 || kernel == NULL) {
        return rc;
    }
    CTR_AUTO(free) char *path = ctr_expand_path(kernel, NULL);
    if (path == NULL || access(path, R_OK) < 0) {
        return ctr_fail(err, -ENOENT, "--kernel: %s: %s", kernel,
                        path == NULL ? "out of memory" : strerror(errno));
    }
    return json_object_set_new(notes, "ctr.kernel", json_string(path)) == 0 ? 0
                                                                            : no_memory(err);
}

static int
add_streams(const struct ctl *ctl, json_t *body, json_t *host, struct ctr_error *err)
{
    bool in = ctl_flag(ctl, "interactive"), tty = ctl_flag(ctl, "tty");
    bool follow = ctl->command == &ctl_run && !ctl_flag(ctl, "detach");
    CTR_AUTO(json)
    json_t *streams = json_pack("{s:b,s:b,s:b,s:b,s:b,s:b}", "AttachStdin", in && follow,
                                "AttachStdout", follow, "AttachStderr", follow, "Tty", tty,
                                "OpenStdin", in, "StdinOnce", in && follow);
    int rows = 0, cols = 0;
    if (tty) {
        (void) ctl_tty_size(&rows, &cols);
    }
    int rc =
        json_object_update(body, streams) |
        json_object_set_new(host, "ConsoleSize", json_pack("[i,i]", rows, cols)) |
        json_object_set_new(host, "AutoRemove", json_boolean(ctl_flag(ctl, "rm"))) |
        json_object_set_new(host, "ReadonlyRootfs", json_boolean(ctl_flag(ctl, "read-only")));
    return rc == 0 ? 0 : no_memory(err);
}

json_t *
ctl_create_body(const struct ctl *ctl, const char *image, struct ctr_error *err)
{
    static const char *const texts[][2] = {{"hostname", "Hostname"},
                                           {"user", "User"},
                                           {"workdir", "WorkingDir"},
                                           {"stop-signal", "StopSignal"}};
    CTR_AUTO(json) json_t *body = json_pack("{s:s}", "Image", image);
    json_t *host = json_object();
    if (body == NULL || json_object_set_new(body, "HostConfig", host) < 0) {
        ctr_fail(err, -EINVAL, "the image's name is not UTF-8");
        return NULL;
    }
    int rc = add_texts(ctl, body, texts, CTR_LENGTH(texts), err);
    rc = rc == 0 ? add_words(ctl, body, "Cmd", err) : rc;
    rc = rc == 0 ? add_entrypoint(ctl, body, err) : rc;
    rc = rc == 0 ? add_all_env(ctl, body, err) : rc;
    rc = rc == 0 ? ctl_add_labels(ctl, body, err) : rc;
    rc = rc == 0 ? add_limits(ctl, body, host, err) : rc;
    rc = rc == 0 ? ctl_add_networking(ctl, body, host, err) : rc;
    rc = rc == 0 ? add_tmpfs(ctl, host, err) : rc;
    rc = rc == 0 ? add_annotations(ctl, host, err) : rc;
    rc = rc == 0 ? add_streams(ctl, body, host, err) : rc;
    return rc == 0 ? ctr_steal(&body) : NULL;
}

json_t *
ctl_exec_body(const struct ctl *ctl, struct ctr_error *err)
{
    static const char *const texts[][2] = {{"user", "User"}, {"workdir", "WorkingDir"}};
    bool follow = !ctl_flag(ctl, "detach"), in = ctl_flag(ctl, "interactive");
    CTR_AUTO(json)
    json_t *body = json_pack("{s:b,s:b,s:b,s:b}", "AttachStdin", in && follow, "AttachStdout",
                             follow, "AttachStderr", follow, "Tty", ctl_flag(ctl, "tty"));
    if (body == NULL) {
        ctr_fail(err, -ENOMEM, "out of memory");
        return NULL;
    }
    int rc = add_texts(ctl, body, texts, CTR_LENGTH(texts), err);
    rc = rc == 0 ? add_words(ctl, body, "Cmd", err) : rc;
    rc = rc == 0 ? add_all_env(ctl, body, err) : rc;
    return rc == 0 ? ctr_steal(&body) : NULL;
}
