/*
 * image.c: pull, load, images, rmi, tag, image inspect; and what run needs of them.
 */
#include "core/cmd/show.h"
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>

/* --- pull --- */

int
ctl_image_pull(struct ctl *ctl, const char *reference, const char *platform, bool quiet,
               struct ctr_error *err)
{
    CTR_AUTO(free) char *name = strdup(reference);
    if (name == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    const char *tag = "latest";
    char *slash = strrchr(name, '/'), *at = strchr(name, '@');
    char *colon = strrchr(slash != NULL ? slash : name, ':');
    char *cut = at != NULL ? at : colon;
    if (cut != NULL) {
        *cut = '\0';
        tag = cut + 1;
    }
    CTR_AUTO(free)
    char *path = ctl_url(CTL_API "/images/create?fromImage=%s&tag=%s&platform=%s", name, tag,
                         platform != NULL ? platform : "");
    CTR_AUTO(http) struct ctl_http http = CTL_HTTP_INIT;
    int rc = ctl_http_send(ctl, &http, "POST", path, CTL_SEND_JSON, NULL, err);
    rc = rc == 0 ? ctl_http_head(&http, -1, err) : rc;
    return rc == 0 ? ctl_progress(&http, quiet, NULL, NULL, err) : rc;
}

static int
pull_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    int rc = ctl_image_pull(ctl, ctl->operands[0], ctl_value(ctl, "platform"),
                            ctl_flag(ctl, "quiet"), &err);
    if (rc < 0) {
        return ctl_error(ctl, &err);
    }
    printf("%s\n", ctl->operands[0]);
    return 0;
}

static const struct ctl_option pull_options[] = {
    {"platform", 0, "OS/ARCH", "Platform to fetch, such as linux/arm64 (default: the host's)"},
    {"quiet", 'q', NULL, "No progress, only the name at the end"},
    {NULL},
};
const struct ctl_command ctl_pull = {
    .operands = "IMAGE[:TAG|@DIGEST]",
    .summary = "Fetch an image from a registry",
    .text =
        "Every byte is checked against the digests of the manifest before the image is listed.",
    .examples = "ctrctl pull alpine\n"
                "ctrctl pull --platform linux/arm64 docker.io/library/busybox:1.36\n"
                "ctrctl pull 127.0.0.1:5000/app@sha256:0123…",
    .options = pull_options,
    .min_operands = 1,
    .max_operands = 1,
    .words = CTL_WORDS_IMAGE,
    .run = pull_main,
};

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
    char *last;
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
            free(loaded->last);
            loaded->last = strndup(name, strcspn(name, "\r\n"));
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

static int
load_archive(struct ctl *ctl, struct ctl_http *http, const char *path, struct ctr_error *err)
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
        return ctr_fail(err, -EINVAL,
                        "load: standard input is a terminal; name a file with "
                        "-i FILE");
    }
    int rc =
        ctl_http_send(ctl, http, "POST", CTL_API "/images/load", CTL_SEND_CHUNKED, NULL, err);
    return rc == 0 ? upload(http, fd, path, err) : rc;
}

int
ctl_image_load(struct ctl *ctl, const char *text, bool quiet, char **ret, struct ctr_error *err)
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
    CTR_AUTO(http) struct ctl_http http = CTL_HTTP_INIT;
    int rc;
    if (S_ISDIR(st.st_mode)) {
        CTR_AUTO(free) char *absolute = realpath(path, NULL);
        CTR_AUTO(free)
        char *named = ctr_printf("%s%s%s", absolute != NULL ? absolute : path,
                                 tag != NULL ? ":" : "", tag != NULL ? tag : "");
        CTR_AUTO(free)
        char *url = named != NULL ? ctl_url("/ctr/v1/images/load?path=%s", named) : NULL;
        rc = ctl_http_send(ctl, &http, "POST", url, CTL_SEND_JSON, NULL, err);
    } else if (tag != NULL) {
        rc = ctr_fail(err, -EINVAL, "%s: a tag chooses from an OCI layout, this is a file",
                      text);
    } else {
        rc = load_archive(ctl, &http, path, err);
    }
    struct loaded loaded = {NULL};
    rc = rc == 0 ? ctl_http_head(&http, -1, err) : rc;
    rc = rc == 0 ? ctl_progress(&http, quiet, on_loaded, &loaded, err) : rc;
    if (rc == 0 && loaded.last == NULL) {
        rc = ctr_fail(err, -ENOENT, "%s: holds no image; is it a docker or OCI archive?", text);
    }
    if (rc == 0 && ret != NULL) {
        *ret = ctr_steal(&loaded.last);
    }
    free(loaded.last);
    return rc;
}

static int
load_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    const char *input = ctl_value(ctl, "input");
    CTR_AUTO(free) char *name = NULL;
    int rc = ctl_image_load(ctl, input != NULL ? input : "-", true, &name, &err);
    if (rc < 0) {
        return ctl_error(ctl, &err);
    }
    CTR_AUTO(free) char *safe = isatty(1) ? ctr_printable(name) : NULL;
    if (!ctl_flag(ctl, "quiet")) {
        printf("Loaded image: %s\n", safe != NULL ? safe : name);
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

/* --- images --- */

static const struct ctl_column image_columns[] = {
    {"ID", "IMAGE ID"},
    {"Repository", "REPOSITORY"},
    {"Tag", "TAG"},
    {"Digest", "DIGEST"},
    {"CreatedSince", "CREATED"},
    {"CreatedAt", "CREATED AT"},
    {"Size", "SIZE"},
    {NULL, NULL},
};

/* "busybox:1.36" into its two halves; name is cut. */
static const char *
split_tag(char *name)
{
    char *slash = strrchr(name, '/');
    char *colon = strrchr(slash != NULL ? slash : name, ':');
    if (colon == NULL) {
        return "<none>";
    }
    *colon = '\0';
    return colon + 1;
}

static const char *
digest_of(const json_t *image, const char *repository)
{
    size_t i;
    json_t *one;
    size_t length = strlen(repository);
    json_array_foreach(json_object_get(image, "RepoDigests"), i, one)
    {
        const char *text = json_string_value(one);
        if (text != NULL && strncmp(text, repository, length) == 0 && text[length] == '@') {
            return text + length + 1;
        }
    }
    return "<none>";
}

static json_t *
image_row(const struct ctl *ctl, const json_t *image, const char *reference)
{
    CTR_AUTO(free) char *name = strdup(reference);
    if (name == NULL) {
        return NULL;
    }
    const char *tag = split_tag(name);
    const char *id = ctr_json_str(image, "Id", "");
    char short_id[13], size[16], since[32], at[64];
    (void) snprintf(short_id, sizeof short_id, "%.12s",
                    ctr_starts_with(id, "sha256:") ? id + 7 : id);
    int64_t created = ctr_json_int(image, "Created", 0);
    time_t seconds = (time_t) created;
    struct tm tm;
    if (localtime_r(&seconds, &tm) == NULL ||
        strftime(at, sizeof at, "%Y-%m-%d %H:%M:%S %z %Z", &tm) == 0) {
        at[0] = '\0';
    }
    int64_t bytes = ctr_json_int(image, "Size", 0);
    CTR_AUTO(free)
    char *ago = ctr_printf("%s ago", ctr_format_duration(time(NULL) - created, since));
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "ID",
                     ctl_flag(ctl, "no-trunc") ? id : short_id, "Repository", name, "Tag", tag,
                     "Digest", digest_of(image, name), "CreatedSince",
                     created > 0 && ago != NULL ? ago : "N/A", "CreatedAt", at, "Size",
                     ctr_format_size(bytes > 0 ? (uint64_t) bytes : 0, size));
}

/* "busybox" matches all its tags, "busybox:1.*" some. */
static bool
is_wanted(const char *pattern, const char *reference)
{
    if (pattern == NULL || fnmatch(pattern, reference, 0) == 0) {
        return true;
    }
    CTR_AUTO(free) char *name = strdup(reference);
    if (name == NULL) {
        return false;
    }
    (void) split_tag(name);
    return fnmatch(pattern, name, 0) == 0;
}

static void
add_image_rows(const struct ctl *ctl, json_t *rows, const json_t *image)
{
    const char *pattern = ctl->n_operands > 0 ? ctl->operands[0] : NULL;
    const json_t *names = json_object_get(image, "RepoTags");
    size_t i;
    json_t *name;
    size_t shown = 0;
    json_array_foreach((json_t *) names, i, name)
    {
        const char *reference = json_string_value(name);
        if (reference != NULL && is_wanted(pattern, reference)) {
            if (shown++ == 0 || !ctl_flag(ctl, "quiet")) {
                (void) json_array_append_new(rows, image_row(ctl, image, reference));
            }
        }
    }
    if (json_array_size(names) == 0 && pattern == NULL) {
        const char *digest =
            json_string_value(json_array_get(json_object_get(image, "RepoDigests"), 0));
        CTR_AUTO(free)
        char *repository = strndup(digest != NULL ? digest : "<none>",
                                   digest != NULL ? strcspn(digest, "@") : 6);
        if (repository != NULL) {
            (void) json_array_append_new(rows, image_row(ctl, image, repository));
        }
    }
}

static int
images_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *images = NULL;
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/images/json?all=%d", ctl_flag(ctl, "all"));
    if (ctl_call(ctl, "GET", path, NULL, &images, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    CTR_AUTO(json) json_t *rows = json_array();
    size_t i;
    json_t *image;
    json_array_foreach(images, i, image)
    {
        add_image_rows(ctl, rows, image);
    }
    const char *standard =
        ctl_flag(ctl, "digests")
            ? "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
            : "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
    const char *format = ctl_flag(ctl, "quiet") ? "{{.ID}}" : ctl_value(ctl, "format");
    return ctl_show(rows, image_columns, standard, format, &err) < 0 ? ctl_error(ctl, &err) : 0;
}

static const struct ctl_option images_options[] = {
    {"all", 'a', NULL, "Images without a name too"},
    {"digests", 0, NULL, "Show digests"},
    {"format", 0, "FORMAT",
     "table, json, 'table TEMPLATE' or a template: '{{.Repository}}:{{.Tag}}'"},
    {"no-trunc", 0, NULL, "Whole IDs"},
    {"quiet", 'q', NULL, "Only IDs"},
    {NULL},
};
const struct ctl_command ctl_images = {
    .operands = "[REPOSITORY[:TAG]]",
    .summary = "List images",
    .examples = "ctrctl images\nctrctl images 'alpine*'\n"
                "ctrctl images --format 'table {{.Repository}}\\t{{.Size}}'",
    .options = images_options,
    .max_operands = 1,
    .words = CTL_WORDS_IMAGE,
    .run = images_main,
};

/* --- rmi, tag, inspect --- */

static int
remove_one(struct ctl *ctl, const char *name, struct ctr_error *err)
{
    CTR_AUTO(free)
    char *path = ctl_url(CTL_API "/images/%s?force=%d", name, ctl_flag(ctl, "force"));
    CTR_AUTO(json) json_t *steps = NULL;
    int rc = ctl_call(ctl, "DELETE", path, NULL, &steps, err);
    size_t i;
    json_t *step;
    json_array_foreach(steps, i, step)
    {
        const char *key;
        json_t *value;
        json_object_foreach(step, key, value)
        {
            CTR_AUTO(free)
            char *safe = json_is_string(value) ? ctr_printable(json_string_value(value)) : NULL;
            if (safe != NULL && (strcmp(key, "Untagged") == 0 || strcmp(key, "Deleted") == 0)) {
                printf("%s: %s\n", key, safe);
            }
        }
    }
    return rc;
}

static int
rmi_main(struct ctl *ctl)
{
    int status = 0;
    for (int i = 0; i < ctl->n_operands; i++) {
        struct ctr_error err = CTR_ERROR_INIT;
        if (remove_one(ctl, ctl->operands[i], &err) < 0) {
            status = ctl_error(ctl, &err);
        }
    }
    return status;
}

static const struct ctl_option rmi_options[] = {
    {"force", 'f', NULL, "Even if a stopped container uses it"},
    {NULL},
};
const struct ctl_command ctl_rmi = {
    .operands = "IMAGE [IMAGE...]",
    .summary = "Remove images",
    .text = "Takes the name away; with the last name of an image also its layers, unless "
            "another image or a\n"
            "container needs them.",
    .examples = "ctrctl rmi alpine:3.19\nctrctl rmi $(ctrctl images -q)",
    .options = rmi_options,
    .min_operands = 1,
    .max_operands = -1,
    .words = CTL_WORDS_IMAGE,
    .run = rmi_main,
};

static int
tag_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *target = strdup(ctl->operands[1]);
    if (target == NULL) {
        ctr_fail(&err, -ENOMEM, "out of memory");
        return ctl_error(ctl, &err);
    }
    const char *tag = split_tag(target);
    CTR_AUTO(free)
    char *path = ctl_url(CTL_API "/images/%s/tag?repo=%s&tag=%s", ctl->operands[0], target,
                         strcmp(tag, "<none>") == 0 ? "latest" : tag);
    return ctl_call(ctl, "POST", path, NULL, NULL, &err) < 0 ? ctl_error(ctl, &err) : 0;
}

const struct ctl_command ctl_tag = {
    .operands = "IMAGE[:TAG] NEW_NAME[:TAG]",
    .summary = "Give an image another name",
    .examples = "ctrctl tag alpine:latest registry.example.com/base:1",
    .min_operands = 2,
    .max_operands = 2,
    .words = CTL_WORDS_IMAGE,
    .run = tag_main,
};
