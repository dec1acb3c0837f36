/*
 * load.c: load and import: archives, folders and root filesystems go to the daemon; and what run needs of that.
 */
#include "core/cmd/show.h"
#include <fcntl.h>
#include <sys/stat.h>

/* --- load --- */

/* The path in "oci:PATH[:TAG]" or "PATH[:TAG]" without its tag, if something exists there. Caller frees; NULL if nothing does. */
static char *
existing_path(const char *text, const char **ret_tag)
{
    const char *path = ctr_starts_with(text, "oci:") ? text + 4 : text;
    *ret_tag = NULL;
    if (access(path, F_OK) == 0) {
        return strdup(path);
    }
    const char *colon = strrchr(path, ':');
    if (colon == NULL || strchr(colon, '/') != NULL) {
        return NULL;
    }
    char *cut = strndup(path, (size_t) (colon - path));
    if (cut != NULL && access(cut, F_OK) == 0) {
        *ret_tag = colon + 1;
        return cut;
    }
    free(cut);
    return NULL;
}

bool
ctl_image_is_path(const char *text)
{
    if (ctr_starts_with(text, "oci:")) {
        return true;
    }
    if (text[0] != '/' && !ctr_starts_with(text, "./") && !ctr_starts_with(text, "../")) {
        return false;
    }
    const char *tag;
    CTR_AUTO(free) char *path = existing_path(text, &tag);
    return path != NULL;
}

struct loaded {
    json_t *names; /* told so far */
};

/* "Loaded image: busybox:latest" */
static void
on_loaded(void *arg, const json_t *message)
{
    static const char *const heads[] = {"Loaded image: ", "Loaded image ID: "};
    struct loaded *loaded = arg;
    const char *text = ctr_json_str(message, "stream", "");
    for (size_t i = 0; i < CTR_LENGTH(heads); i++) {
        if (ctr_starts_with(text, heads[i])) {
            const char *name = text + strlen(heads[i]);
            (void) json_array_append_new(loaded->names,
                                         json_stringn(name, strcspn(name, "\r\n")));
        }
    }
}

/* The archive as a chunked body. */
static int
upload(struct ctl_http *http, int fd, const char *path, struct ctr_error *err)
{
    CTR_AUTO(free) char *bytes = malloc(65536);
    if (bytes == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    for (;;) {
        ssize_t n = read(fd, bytes, 65536);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return ctr_fail(err, -errno, "%s: %s", path, strerror(errno));
        }
        int rc = ctl_http_chunk(http, bytes, (size_t) n, err);
        if (rc == -EPIPE || rc == -ECONNRESET) {
            *err =
                (struct ctr_error) CTR_ERROR_INIT; /* it wants no more: its answer says why */
            return 0;
        }
        if (rc < 0) {
            return rc;
        }
        if (n == 0) {
            return 0;
        }
    }
}

int
ctl_upload(struct ctl *ctl, struct ctl_http *http, const char *url, const char *path,
           struct ctr_error *err)
{
    CTR_AUTO(fd) int opened = -1;
    int fd = 0;
    if (strcmp(path, "-") != 0) {
        opened = fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) {
        return ctr_fail(err, -errno, "%s: %s", path, strerror(errno));
    }
    if (isatty(fd)) {
        return ctr_fail(err, -EINVAL, "%s is a terminal; name a file, or pipe an archive in",
                        opened >= 0 ? path : "standard input");
    }
    int rc = ctl_http_send(ctl, http, "POST", url, CTL_SEND_CHUNKED, NULL, err);
    return rc == 0 ? upload(http, fd, path, err) : rc;
}

/* Sends what `text` names: the file's bytes, or the folder's path. */
static int
send_load(struct ctl *ctl, struct ctl_http *http, const char *text, struct ctr_error *err)
{
    const char *tag = NULL;
    bool in = strcmp(text, "-") == 0;
    CTR_AUTO(free) char *path = in ? strdup("-") : existing_path(text, &tag);
    struct stat st = {.st_mode = S_IFIFO};
    if (path == NULL || (!in && stat(path, &st) < 0)) {
        return ctr_fail(err, -ENOENT,
                        "%s: no such file or folder; name a tar archive or an OCI layout",
                        text);
    }
    if (S_ISDIR(st.st_mode)) {
        CTR_AUTO(free) char *absolute = realpath(path, NULL);
        CTR_AUTO(free)
        char *named = ctr_printf("%s%s%s", absolute != NULL ? absolute : path,
                                 tag != NULL ? ":" : "", tag != NULL ? tag : "");
        CTR_AUTO(free)
        char *url = named != NULL ? ctl_url("/ctr/v1/images/load?path=%s", named) : NULL;
        return ctl_http_send(ctl, http, "POST", url, CTL_SEND_JSON, NULL, err);
    }
    if (tag != NULL) {
        return ctr_fail(err, -EINVAL, "%s: a tag chooses from an OCI layout, this is a file",
                        text);
    }
    return ctl_upload(ctl, http, CTL_API "/images/load", path, err);
}

/* *ret_names: new reference, of one name at least. */
static int
load(struct ctl *ctl, const char *text, enum ctl_progress_mode mode, json_t **ret_names,
     struct ctr_error *err)
{
    CTR_AUTO(http) struct ctl_http http = CTL_HTTP_INIT;
    CTR_AUTO(json) json_t *names = json_array();
    struct loaded loaded = {names};
    struct ctl_progress progress = {.mode = mode, .each = on_loaded, .arg = &loaded};
    int rc = send_load(ctl, &http, text, err);
    rc = rc == 0 ? ctl_progress(&http, &progress, err) : rc;
    if (rc == 0 && json_array_size(names) == 0) {
        rc = ctr_fail(err, -ENOENT, "%s: holds no image; is it a docker or OCI archive?", text);
    }
    if (rc == 0) {
        *ret_names = ctr_steal(&names);
    }
    return rc;
}

int
ctl_image_load(struct ctl *ctl, const char *path, bool quiet, char **ret, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *names = NULL;
    int rc = load(ctl, path, CTL_PROGRESS_QUIET, &names, err);
    if (rc < 0) {
        return rc;
    }
    *ret = strdup(json_string_value(json_array_get(names, json_array_size(names) - 1)));
    return *ret != NULL ? 0 : ctr_fail(err, -ENOMEM, "out of memory");
}

static int
load_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    const char *input = ctl_value(ctl, "input");
    CTR_AUTO(json) json_t *names = NULL;
    if (load(ctl, input != NULL ? input : "-", CTL_PROGRESS_QUIET, &names, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name)
    {
        CTR_AUTO(free) char *safe = ctr_printable(json_string_value(name));
        if (!ctl_flag(ctl, "quiet") && safe != NULL) {
            printf("Loaded image%s: %s\n", ctr_is_digest(safe) ? " ID" : "", safe);
        }
    }
    return 0;
}

static const struct ctl_option load_options[] = {
    {"input", 'i', "PATH",
     "A tar archive, an OCI layout's folder, or oci:PATH[:TAG] (default: "
     "standard input)",
     NULL, CTL_WORDS_FILE},
    {"quiet", 'q', NULL, "Print nothing"},
    {NULL},
};
const struct ctl_command ctl_load = {
    .operands = "",
    .summary = "Load images from an archive or an OCI layout",
    .text = "Takes what 'docker save', 'skopeo copy' and 'umoci' write: docker and OCI "
            "archives (also "
            "gzip or zstd)\nand OCI layouts.",
    .examples = "docker save alpine | ctrctl load\n"
                "ctrctl load -i image.tar.gz\n"
                "ctrctl load -i oci:build/demo:latest",
    .options = load_options,
    .run = load_main,
};

/* --- import --- */

/* Where a root filesystem goes: /images/create with all that the options say. Caller frees; NULL: out of memory. */
static char *
import_url(const struct ctl *ctl)
{
    CTR_AUTO(buf) struct ctr_buf url = {0};
    const char *message = ctl_value(ctl, "message"), *platform = ctl_value(ctl, "platform");
    CTR_AUTO(free)
    char *head = ctl_url(CTL_API "/images/create?fromSrc=-&repo=%s&message=%s&platform=%s",
                         ctl->n_operands > 1 ? ctl->operands[1] : "",
                         message != NULL ? message : "", platform != NULL ? platform : "");
    ctr_buf_puts(&url, head != NULL ? head : "");
    const char *change;
    for (size_t i = 0; (change = ctl_value_at(ctl, "change", i)) != NULL; i++) {
        CTR_AUTO(free) char *one = ctl_url("&changes=%s", change);
        ctr_buf_puts(&url, one != NULL ? one : "");
    }
    return head != NULL ? ctr_buf_take(&url) : NULL;
}

/* The image ID comes as the last status. */
static void
on_imported(void *arg, const json_t *message)
{
    const char *status = ctr_json_str(message, "status", "");
    if (ctr_is_digest(status)) {
        (void) snprintf(arg, 72, "%s", status);
    }
}

static int
import_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    char id[72] = "";
    const char *path = ctl->operands[0];
    CTR_AUTO(free) char *url = import_url(ctl);
    CTR_AUTO(http) struct ctl_http http = CTL_HTTP_INIT;
    struct ctl_progress progress = {CTL_PROGRESS_QUIET, .each = on_imported, .arg = id};
    int rc = 0;
    if (strstr(path, "://") != NULL) {
        rc = ctr_fail(&err, -EINVAL, "import: takes no URL; use 'curl -L %s | ctrctl import -'",
                      path);
    }
    rc = rc == 0 ? ctl_upload(ctl, &http, url, path, &err) : rc;
    rc = rc == 0 ? ctl_progress(&http, &progress, &err) : rc;
    if (rc < 0) {
        return ctl_error(ctl, &err);
    }
    printf("%s\n", id);
    return 0;
}

static const struct ctl_option import_options[] = {
    {"change", 'c', "INSTRUCTION",
     "A line as in a Dockerfile: CMD, ENTRYPOINT, ENV, USER … (repeatable)"},
    {"message", 'm', "TEXT", "What the image's history says"},
    {"platform", 0, "OS/ARCH", "Platform that the files are for (default: the host's)"},
    {NULL},
};
const struct ctl_command ctl_import = {
    .operands = "FILE|- [NAME[:TAG]]",
    .summary = "Make an image of one layer from a root filesystem's archive",
    .text =
        "Takes a tar archive (also gzip or zstd), \"-\" from standard input, and prints the "
        "image's ID.",
    .examples = "ctrctl import rootfs.tar.zst mine:1\n"
                "tar c -C rootfs . | ctrctl import -c 'CMD [\"/bin/sh\"]' - mine:1",
    .options = import_options,
    .min_operands = 1,
    .max_operands = 2,
    .words = CTL_WORDS_FILE,
    .run = import_main,
};
