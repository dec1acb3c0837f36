/*
 * image.c: rmi, tag, history, verify and tree.
 */
#include "core/cmd/show.h"

/* --- rmi and tag --- */

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
    const char *tag = ctl_cut_tag(target);
    CTR_AUTO(free)
    char *path = ctl_url(CTL_API "/images/%s/tag?repo=%s&tag=%s", ctl->operands[0], target,
                         tag != NULL ? tag : "latest");
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

/* --- history --- */

static const struct ctl_column history_columns[] = {
    {"ID", "IMAGE"},
    {"CreatedSince", "CREATED"},
    {"CreatedAt", "CREATED AT"},
    {"CreatedBy", "CREATED BY"},
    {"Size", "SIZE"},
    {"Comment", "COMMENT"},
    {NULL, NULL},
};

/* At most `max` characters, with … for what is cut; caller frees. */
static char *
cut_text(const char *text, size_t max)
{
    size_t at = 0, n = 0, last = 0;
    for (; text[at] != '\0'; at++) {
        bool starts = ((unsigned char) text[at] & 0xc0) != 0x80;
        if (starts && n == max - 1) {
            last = at;
        }
        n += starts;
    }
    return n > max ? ctr_printf("%.*s…", (int) last, text) : strdup(text);
}

static json_t *
history_row(const struct ctl *ctl, const json_t *step)
{
    bool whole = ctl_flag(ctl, "no-trunc");
    bool human = ctl_value(ctl, "human") == NULL || ctl_flag(ctl, "human");
    const char *id = ctr_json_str(step, "Id", "");
    int64_t created = ctr_json_int(step, "Created", 0), size = ctr_json_int(step, "Size", 0);
    char short_id[16], bytes[32], since[32], at[40];
    (void) snprintf(short_id, sizeof short_id, "%.12s",
                    ctr_starts_with(id, "sha256:") ? id + 7 : id);
    if (human) {
        (void) ctr_format_size(size > 0 ? (uint64_t) size : 0, bytes);
    } else {
        (void) snprintf(bytes, sizeof bytes, "%lld", (long long) size);
    }
    (void) ctr_format_time(created * 1000000000, at);
    at[strcspn(at, ".Z")] = '\0';
    CTR_AUTO(free) char *stamp = ctr_printf("%sZ", at);
    CTR_AUTO(free)
    char *ago = ctr_printf("%s ago", ctr_format_duration(time(NULL) - created, since));
    CTR_AUTO(free)
    char *by = cut_text(ctr_json_str(step, "CreatedBy", ""), whole ? SIZE_MAX : 45);
    if (stamp == NULL || ago == NULL || by == NULL) {
        return NULL;
    }
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "ID", whole ? id : short_id, "CreatedSince",
                     created <= 0 ? "N/A"
                     : human      ? ago
                                  : stamp,
                     "CreatedAt", stamp, "CreatedBy", by, "Size", bytes, "Comment",
                     ctr_json_str(step, "Comment", ""));
}

static int
history_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    const char *platform = ctl_value(ctl, "platform");
    CTR_AUTO(json) json_t *steps = NULL;
    CTR_AUTO(free)
    char *path = ctl_url(CTL_API "/images/%s/history?platform=%s", ctl->operands[0],
                         platform != NULL ? platform : "");
    if (ctl_call(ctl, "GET", path, NULL, &steps, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    CTR_AUTO(json) json_t *rows = json_array();
    size_t i;
    json_t *step;
    json_array_foreach(steps, i, step)
    {
        (void) json_array_append_new(rows, history_row(ctl, step));
    }
    const char *format = ctl_flag(ctl, "quiet") ? "{{.ID}}" : ctl_value(ctl, "format");
    const char *standard =
        "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
    return ctl_show(rows, history_columns, standard, format, &err) < 0 ? ctl_error(ctl, &err)
                                                                       : 0;
}

static const struct ctl_option history_options[] = {
    {"format", 0, "FORMAT", "table, json, 'table TEMPLATE' or a template: '{{.CreatedBy}}'"},
    {"human", 'H', NULL, "Sizes and dates for people (default true)"},
    {"no-trunc", 0, NULL, "Whole IDs and commands"},
    {"platform", 0, "OS/ARCH", "Platform to look at (default: the host's)"},
    {"quiet", 'q', NULL, "Only IDs"},
    {NULL},
};
const struct ctl_command ctl_history = {
    .operands = "IMAGE",
    .summary = "Show how an image was built, newest step first",
    .examples =
        "ctrctl history alpine\nctrctl history --no-trunc --format '{{.CreatedBy}}' alpine",
    .options = history_options,
    .min_operands = 1,
    .max_operands = 1,
    .words = CTL_WORDS_IMAGE,
    .run = history_main,
};

/* --- verify --- */

static const struct ctl_column verify_columns[] = {
    {"Reference", "IMAGE"}, {"Digest", "DIGEST"}, {"Blobs", "BLOBS"},
    {"Size", "SIZE"},       {"Status", "STATUS"}, {NULL, NULL},
};

struct verified {
    json_t *rows;
    size_t troubles;
};

/* "ok", "2 missing, 1 damaged", "healed", or why it could not be healed; caller frees. */
static char *
verify_status(const json_t *image)
{
    size_t missing = json_array_size(json_object_get(image, "missing"));
    size_t damaged = json_array_size(json_object_get(image, "damaged"));
    const char *error = ctr_json_str(image, "error", NULL);
    if (missing + damaged == 0 && error == NULL) {
        return strdup("ok");
    }
    return ctr_printf("%s%zu missing, %zu damaged%s%s",
                      ctr_json_bool(image, "healed", false) ? "healed: " : "", missing, damaged,
                      error != NULL ? ": " : "", error != NULL ? error : "");
}

static void
on_verified(void *arg, const json_t *message)
{
    struct verified *verified = arg;
    size_t i;
    json_t *image;
    json_array_foreach(json_object_get(message, "aux"), i, image)
    {
        char blobs[24], size[16];
        const char *reference = ctr_json_str(image, "reference", "");
        CTR_AUTO(free) char *status = verify_status(image);
        (void) snprintf(blobs, sizeof blobs, "%lld",
                        (long long) ctr_json_int(image, "blobs", 0));
        (void) json_array_append_new(
            verified->rows,
            json_pack("{s:s,s:s,s:s,s:s,s:s}", "Reference",
                      *reference != '\0' ? reference : "<none>", "Digest",
                      ctr_json_str(image, "digest", ""), "Blobs", blobs, "Size",
                      ctr_format_size((uint64_t) ctr_json_int(image, "bytes", 0), size),
                      "Status", status != NULL ? status : ""));
        bool whole = status != NULL && strcmp(status, "ok") == 0;
        verified->troubles += !whole && !ctr_json_bool(image, "healed", false);
    }
}

static int
verify_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct verified verified = {.rows = json_array()};
    CTR_AUTO(json) json_t *rows = verified.rows;
    CTR_AUTO(http) struct ctl_http http = CTL_HTTP_INIT;
    CTR_AUTO(free)
    char *path = ctl_url("/ctr/v1/images/verify?reference=%s&heal=%d",
                         ctl->n_operands > 0 ? ctl->operands[0] : "", ctl_flag(ctl, "heal"));
    struct ctl_progress progress = {.each = on_verified, .arg = &verified};
    progress.mode =
        ctl_flag(ctl, "quiet") || !isatty(2) ? CTL_PROGRESS_QUIET : CTL_PROGRESS_TTY;
    progress.interrupted = "image verify: interrupted";
    int rc = ctl_http_send(ctl, &http, "POST", path, CTL_SEND_JSON, NULL, &err);
    rc = rc == 0 ? ctl_progress(&http, &progress, &err) : rc;
    if (rc == 0 && !ctl_flag(ctl, "quiet")) {
        rc =
            ctl_show(rows, verify_columns, "{{.Reference}}\t{{.Blobs}}\t{{.Size}}\t{{.Status}}",
                     ctl_value(ctl, "format"), &err);
    }
    if (rc == 0 && verified.troubles > 0) {
        rc = ctr_fail(&err, -EIO, "image verify: %zu image%s not whole; %s", verified.troubles,
                      verified.troubles == 1 ? " is" : "s are",
                      ctl_flag(ctl, "heal")
                          ? "pull or load what could not be healed"
                          : "'ctrctl image verify --heal' pulls what is amiss");
    }
    return rc < 0 ? ctl_error(ctl, &err) : 0;
}

static const struct ctl_option verify_options[] = {
    {"format", 0, "FORMAT", "table, json, 'table TEMPLATE' or a template: '{{.Digest}}'"},
    {"heal", 0, NULL, "Pull what is missing or damaged again"},
    {"quiet", 'q', NULL, "No list, only the exit status"},
    {NULL},
};
const struct ctl_command ctl_image_verify = {
    .operands = "[IMAGE]",
    .summary = "Read all bytes of images again and compare their digests",
    .text = "Without IMAGE it is all that the store has. Damaged files are set aside. The exit "
            "status is 1 if\nanything is missing or damaged and was not healed.",
    .examples = "ctrctl image verify\nctrctl image verify --heal alpine",
    .options = verify_options,
    .max_operands = 1,
    .words = CTL_WORDS_IMAGE,
    .run = verify_main,
};

/* --- tree --- */

/* "a, b", escaped for a terminal; caller frees. */
static char *
names_of(const json_t *names, const char *none)
{
    struct ctr_buf text = {0};
    size_t i;
    json_t *name;
    json_array_foreach((json_t *) names, i, name)
    {
        CTR_AUTO(free) char *safe = ctr_printable(json_string_value(name));
        ctr_buf_printf(&text, "%s%s", i > 0 ? ", " : "", safe != NULL ? safe : "");
    }
    return text.length > 0 ? ctr_buf_take(&text) : strdup(none);
}

static void
show_tree(const json_t *image)
{
    const json_t *layers = json_object_get(image, "layers");
    size_t i, n = json_array_size(layers);
    json_t *layer;
    char size[16];
    CTR_AUTO(free) char *names = names_of(json_object_get(image, "references"), "<none>");
    printf("%s  %.19s  %s\n", names != NULL ? names : "", ctr_json_str(image, "id", ""),
           ctr_format_size((uint64_t) ctr_json_int(image, "size", 0), size));
    json_array_foreach((json_t *) layers, i, layer)
    {
        CTR_AUTO(free) char *shared = names_of(json_object_get(layer, "shared_with"), "");
        bool alone = shared == NULL || *shared == '\0';
        printf("%s %.19s  %s%s%s\n", i + 1 < n ? "├─" : "└─", ctr_json_str(layer, "digest", ""),
               ctr_format_size((uint64_t) ctr_json_int(layer, "size", 0), size),
               alone ? "" : "  also in ", alone ? "" : shared);
    }
}

static int
tree_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    const char *format = ctl_value(ctl, "format");
    CTR_AUTO(json) json_t *images = NULL;
    CTR_AUTO(free)
    char *path = ctl_url("/ctr/v1/images/tree?reference=%s",
                         ctl->n_operands > 0 ? ctl->operands[0] : "");
    if (ctl_call(ctl, "GET", path, NULL, &images, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    if (format != NULL) {
        return ctl_show_document(images, format, &err) < 0 ? ctl_error(ctl, &err) : 0;
    }
    size_t i;
    json_t *image;
    json_array_foreach(images, i, image)
    {
        show_tree(image);
    }
    return 0;
}

static const struct ctl_option tree_options[] = {
    {"format", 'f', "FORMAT", "json, or a template: '{{len .}}'"},
    {NULL},
};
const struct ctl_command ctl_image_tree = {
    .operands = "[IMAGE]",
    .summary = "Show the layers of images, and which images share them",
    .examples = "ctrctl image tree\nctrctl image tree alpine",
    .options = tree_options,
    .max_operands = 1,
    .words = CTL_WORDS_IMAGE,
    .run = tree_main,
};
