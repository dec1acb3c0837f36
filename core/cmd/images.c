/*
 * images.c: images, the list.
 */
#include "core/cmd/show.h"
#include <fnmatch.h>

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
    const char *tag = ctl_cut_tag(name);
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
                     ctl_flag(ctl, "no-trunc") ? id : short_id, "Repository", name, "Tag",
                     tag != NULL ? tag : "<none>", "Digest", digest_of(image, name),
                     "CreatedSince", created > 0 && ago != NULL ? ago : "N/A", "CreatedAt", at,
                     "Size", ctr_format_size(bytes > 0 ? (uint64_t) bytes : 0, size));
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
    (void) ctl_cut_tag(name);
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
    CTR_AUTO(free) char *filters = ctl_filters(ctl, &err);
    if (filters == NULL) {
        return ctl_error(ctl, &err);
    }
    CTR_AUTO(free)
    char *path =
        ctl_url(CTL_API "/images/json?all=%d&filters=%s", ctl_flag(ctl, "all"), filters);
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
    {"filter", 'f', "KEY=VALUE",
     "Only those with dangling=true, reference=NAME, label=K=V, before=IMAGE, since=IMAGE "
     "(repeatable)"},
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
