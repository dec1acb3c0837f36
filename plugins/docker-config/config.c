/*
 * docker's config.json: its places, its bytes, its JSON, its keys. See config.h.
 */
#include "config.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- places --- */

char *
config_place(const char *variable, const char *name, const char *home_name, bool *ret_failed)
{
    const char *folder = getenv(variable);
    *ret_failed = false;
    if (folder == NULL || folder[0] != '/') {
        folder = getenv("HOME");
        name = home_name;
    }
    if (folder == NULL || folder[0] != '/' || name == NULL) {
        return NULL;
    }
    size_t n = strlen(folder) + strlen(name) + 2;
    char *path = malloc(n);
    *ret_failed = path == NULL;
    if (path != NULL) {
        (void) snprintf(path, n, "%s/%s", folder, name);
    }
    return path;
}

char *
config_docker_place(bool *ret_failed)
{
    return config_place("DOCKER_CONFIG", "config.json", ".docker/config.json", ret_failed);
}

/* --- bytes --- */

void
config_text_finish(struct config_text *text)
{
    if (text->bytes != NULL) {
        ctr_wipe(text->bytes, text->length);
        free(text->bytes);
    }
    memset(text, 0, sizeof *text);
}

static int
config_fail(const char *path, int code, const char *why, struct ctr_error *err)
{
    return ctr_fail(err, code, "%s: %s", path, why);
}

/* Reads what a file of st_size bytes has. */
static int
config_read_bytes(const char *path, int fd, size_t size, struct config_text *ret,
                  struct ctr_error *err)
{
    struct config_text text = {.bytes = malloc(size + 1)};
    if (text.bytes == NULL) {
        return config_fail(path, -ENOMEM, "out of memory", err);
    }
    for (ssize_t n = 1; text.length < size && n != 0;) {
        n = read(fd, text.bytes + text.length, size - text.length);
        if (n < 0 && errno != EINTR) {
            int code = errno;
            config_text_finish(&text);
            return config_fail(path, -code, strerror(code), err);
        }
        text.length += n > 0 ? (size_t) n : 0;
    }
    text.bytes[text.length] = '\0';
    *ret = text;
    return 0;
}

int
config_read(const char *path, struct config_text *ret, struct ctr_error *err)
{
    struct stat st;
    int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        int code = errno == ENOTDIR ? -ENOENT : -errno;
        return config_fail(path, code, strerror(-code), err);
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        rc = config_fail(path, -EINVAL, "not a file", err);
    } else if (st.st_size > (off_t) CONFIG_MAX) {
        rc = config_fail(path, -EFBIG, "larger than 1 MiB", err);
    } else {
        rc = config_read_bytes(path, fd, (size_t) st.st_size, ret, err);
    }
    (void) close(fd);
    if (rc == 0) {
        ret->mode = st.st_mode;
    }
    return rc;
}

/* --- JSON --- */

json_t *
config_parse(const char *bytes, size_t length, struct ctr_error *err)
{
    json_error_t where;
    json_t *document = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, &where);
    if (document == NULL) {
        /* Only where, not what: jansson's own message quotes the text, which may be a secret. */
        (void) ctr_fail(err, -EBADMSG, "line %d, column %d: not valid JSON", where.line,
                        where.column);
        return NULL;
    }
    if (!json_is_object(document)) {
        config_release(document);
        (void) ctr_fail(err, -EBADMSG, "not a JSON object");
        return NULL;
    }
    return document;
}

json_t *
config_object(const json_t *document, const char *name, bool *ret_bad)
{
    json_t *object = json_object_get(document, name);
    *ret_bad = object != NULL && !json_is_null(object) &&
               (!json_is_object(object) || json_object_size(object) > CONFIG_MAX_ENTRIES);
    return json_is_object(object) && !*ret_bad ? object : NULL;
}

/* jansson keeps each text in one heap block: all are overwritten in place. */
static void
config_wipe_json(json_t *json)
{
    const char *key = NULL;
    size_t i = 0;
    json_t *value = NULL;
    if (json_is_string(json)) {
        ctr_wipe((void *) (uintptr_t) json_string_value(json), json_string_length(json));
    } else if (json_is_object(json)) {
        json_object_foreach(json, key, value)
        {
            config_wipe_json(value);
        }
    } else if (json_is_array(json)) {
        json_array_foreach(json, i, value)
        {
            config_wipe_json(value);
        }
    }
}

void
config_release(json_t *document)
{
    config_wipe_json(document);
    json_decref(document);
}

/* --- keys --- */

const char *
config_host_alias(const char *host)
{
    static const char *const hub[] = {"index.docker.io", "registry-1.docker.io", "docker.io"};
    for (size_t i = 0; i < sizeof hub / sizeof hub[0]; i++) {
        if (strcmp(host, hub[i]) == 0) {
            return "docker.io";
        }
    }
    return host;
}

const char *
config_docker_key(const char *host)
{
    return strcmp(config_host_alias(host), "docker.io") == 0 ? "https://index.docker.io/v1/"
                                                             : host;
}

bool
config_key_split(const char *key, char host[256], char path[256])
{
    static const char *const schemes[] = {"https://", "http://"};
    for (size_t i = 0; i < 2; i++) {
        if (strncasecmp(key, schemes[i], strlen(schemes[i])) == 0) {
            key += strlen(schemes[i]);
            break;
        }
    }
    size_t n = strcspn(key, "/");
    if (n == 0 || n > 255 || memchr(key, '@', n) != NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        host[i] = (char) tolower((unsigned char) key[i]);
    }
    host[n] = '\0';
    const char *rest = key + n + (key[n] == '/');
    size_t length = strlen(rest);
    while (length > 0 && rest[length - 1] == '/') {
        length--;
    }
    if (length > 255) {
        return false;
    }
    memcpy(path, rest, length);
    path[length] = '\0';
    if (strcmp(path, "v1") == 0 || strcmp(path, "v2") == 0) {
        path[0] = '\0';
    }
    return true;
}

bool
config_key_is_host(const char *key, const char *host)
{
    char key_host[256], path[256];
    return config_key_split(key, key_host, path) && path[0] == '\0' &&
           strcmp(config_host_alias(key_host), config_host_alias(host)) == 0;
}

bool
config_host_is_good(const char *host)
{
    size_t n = strlen(host);
    return n > 0 && n < 256 && host[0] != '-' && host[0] != '.' &&
           strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789.-_:[]") == n;
}
