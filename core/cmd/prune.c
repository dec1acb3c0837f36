/*
 * prune.c: image prune, container prune and system prune: what nothing needs goes, after a question.
 */
#include "core/cmd/show.h"

/* 1: go on, 0: no was said, or a negative code. */
static int
ask(const struct ctl *ctl, const char *warning, struct ctr_error *err)
{
    return ctl_flag(ctl, "force") ? 1 : ctl_confirm(warning, err);
}

/* The filters, with images' "all" in Docker's way among them. Caller frees; NULL with err. */
static char *
filters_of(const struct ctl *ctl, bool images, struct ctr_error *err)
{
    char *text = ctl_filters(ctl, err);
    if (text == NULL || !images) {
        return text;
    }
    CTR_AUTO(free) char *given = text;
    CTR_AUTO(json)
    json_t *filters = ctr_json_parse(given, strlen(given), 1 << 20, "--filter", err);
    if (filters == NULL) {
        return NULL;
    }
    if (json_object_get(filters, "dangling") == NULL &&
        json_object_set_new(filters, "dangling",
                            json_pack("[s]", ctl_flag(ctl, "all") ? "false" : "true")) < 0) {
        ctr_fail(err, -ENOMEM, "out of memory");
        return NULL;
    }
    return ctr_json_text(filters);
}

static void
show_removed(const json_t *images)
{
    size_t i;
    json_t *step, *value;
    const char *key;
    json_array_foreach((json_t *) images, i, step)
    {
        json_object_foreach(step, key, value)
        {
            CTR_AUTO(free)
            char *safe = json_is_string(value) ? ctr_printable(json_string_value(value)) : NULL;
            if (safe != NULL) {
                printf("%s: %s\n", strcmp(key, "Untagged") == 0 ? "untagged" : "deleted", safe);
            }
        }
    }
}

/* Each adds what it freed to *bytes. */
static int
prune_images(struct ctl *ctl, uint64_t *bytes, struct ctr_error *err)
{
    CTR_AUTO(free) char *filters = filters_of(ctl, true, err);
    if (filters == NULL) {
        return err->code;
    }
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/images/prune?filters=%s", filters);
    CTR_AUTO(json) json_t *answer = NULL;
    int rc = ctl_call(ctl, "POST", path, NULL, &answer, err);
    const json_t *images = json_object_get(answer, "ImagesDeleted");
    if (json_array_size(images) > 0) {
        printf("Deleted Images:\n");
        show_removed(images);
        printf("\n");
    }
    *bytes += (uint64_t) ctr_json_int(answer, "SpaceReclaimed", 0);
    return rc;
}

static int
prune_containers(struct ctl *ctl, uint64_t *bytes, struct ctr_error *err)
{
    CTR_AUTO(free) char *filters = filters_of(ctl, false, err);
    if (filters == NULL) {
        return err->code;
    }
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/containers/prune?filters=%s", filters);
    CTR_AUTO(json) json_t *answer = NULL;
    int rc = ctl_call(ctl, "POST", path, NULL, &answer, err);
    const json_t *ids = json_object_get(answer, "ContainersDeleted");
    size_t i;
    json_t *id;
    if (json_array_size(ids) > 0) {
        printf("Deleted Containers:\n");
    }
    json_array_foreach((json_t *) ids, i, id)
    {
        printf("%s\n", json_string_value(id));
    }
    if (json_array_size(ids) > 0) {
        printf("\n");
    }
    *bytes += (uint64_t) ctr_json_int(answer, "SpaceReclaimed", 0);
    return rc;
}

/* Asks, does it, and tells how much room that made. */
static int
prune(struct ctl *ctl, const char *warning, bool containers, bool images)
{
    struct ctr_error err = CTR_ERROR_INIT;
    uint64_t bytes = 0;
    char size[16];
    int rc = ask(ctl, warning, &err);
    if (rc == 0) {
        return 0;
    }
    rc = rc > 0 && containers ? prune_containers(ctl, &bytes, &err) : rc;
    rc = rc >= 0 && images ? prune_images(ctl, &bytes, &err) : rc;
    if (rc < 0) {
        return ctl_error(ctl, &err);
    }
    printf("Total reclaimed space: %s\n", ctr_format_size(bytes, size));
    return 0;
}

static int
image_prune_main(struct ctl *ctl)
{
    return prune(ctl,
                 ctl_flag(ctl, "all")
                     ? "WARNING! This will remove all images that no container needs."
                     : "WARNING! This will remove all images without a name that no container "
                       "needs.",
                 false, true);
}

static int
container_prune_main(struct ctl *ctl)
{
    return prune(ctl, "WARNING! This will remove all containers that do not run.", true, false);
}

static int
system_prune_main(struct ctl *ctl)
{
    return prune(ctl,
                 ctl_flag(ctl, "all")
                     ? "WARNING! This will remove:\n  - all containers that do not run\n"
                       "  - all images that no container needs\n  - what interrupted pulls left"
                     : "WARNING! This will remove:\n  - all containers that do not run\n"
                       "  - all images without a name that no container needs\n"
                       "  - what interrupted pulls left",
                 true, true);
}

static const struct ctl_option image_prune_options[] = {
    {"all", 'a', NULL, "Those with a name, too"},
    {"filter", 0, "KEY=VALUE", "Only those with until=24h, label=K=V, label!=K (repeatable)"},
    {"force", 'f', NULL, "Do not ask"},
    {NULL},
};
const struct ctl_command ctl_image_prune = {
    .operands = "",
    .summary = "Remove images that no container needs, and what interrupted pulls left",
    .examples = "ctrctl image prune\nctrctl image prune -a -f --filter until=240h",
    .options = image_prune_options,
    .run = image_prune_main,
};

static const struct ctl_option container_prune_options[] = {
    {"filter", 0, "KEY=VALUE", "Only those with until=24h, label=K=V, label!=K (repeatable)"},
    {"force", 'f', NULL, "Do not ask"},
    {NULL},
};
const struct ctl_command ctl_container_prune = {
    .operands = "",
    .summary = "Remove containers that do not run",
    .examples = "ctrctl container prune -f --filter until=24h",
    .options = container_prune_options,
    .run = container_prune_main,
};

const struct ctl_command ctl_system_prune = {
    .operands = "",
    .summary = "Remove containers that do not run and images that then nothing needs",
    .examples = "ctrctl system prune\nctrctl system prune -a -f",
    .options = image_prune_options,
    .run = system_prune_main,
};
