/*
 * pull.c: pull and push: images from a registry and to one.
 */
#include "core/cmd/show.h"

const char *
ctl_cut_tag(char *name)
{
    char *slash = strrchr(name, '/'), *at = strchr(name, '@');
    char *colon = strrchr(slash != NULL ? slash : name, ':');
    char *cut = at != NULL ? at : colon;
    if (cut == NULL) {
        return NULL;
    }
    *cut = '\0';
    return cut + 1;
}

static int
pull(struct ctl *ctl, const char *path, enum ctl_progress_mode mode, struct ctr_error *err)
{
    CTR_AUTO(http) struct ctl_http http = CTL_HTTP_INIT;
    struct ctl_progress progress = {
        mode, .interrupted = "pull: interrupted; what has come is kept, and the next pull goes "
                             "on from there"};
    int rc = ctl_http_send(ctl, &http, "POST", path, CTL_SEND_JSON, NULL, err);
    return rc == 0 ? ctl_progress(&http, &progress, err) : rc;
}

/* Docker's words for a pull; caller frees. */
static char *
pull_url(const char *reference, const char *platform)
{
    CTR_AUTO(free) char *name = strdup(reference);
    if (name == NULL) {
        return NULL;
    }
    const char *tag = ctl_cut_tag(name);
    return ctl_url(CTL_API "/images/create?fromImage=%s&tag=%s&platform=%s", name,
                   tag != NULL ? tag : "latest", platform != NULL ? platform : "");
}

int
ctl_image_pull(struct ctl *ctl, const char *reference, const char *platform, bool quiet,
               struct ctr_error *err)
{
    CTR_AUTO(free) char *path = pull_url(reference, platform);
    return pull(ctl, path,
                quiet       ? CTL_PROGRESS_QUIET
                : isatty(2) ? CTL_PROGRESS_TTY
                            : CTL_PROGRESS_PLAIN,
                err);
}

/* --platform and --all-platforms say different things. */
static int
check_platform(const struct ctl *ctl, const char **ret, struct ctr_error *err)
{
    const char *platform = ctl_value(ctl, "platform");
    *ret = platform != NULL ? platform : "";
    return platform != NULL && ctl_flag(ctl, "all-platforms")
               ? ctr_fail(err, -EINVAL,
                          "--platform %s and --all-platforms do not go together; leave one out",
                          platform)
               : 0;
}

static int
pull_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    const char *reference = ctl->operands[0], *platform;
    enum ctl_progress_mode mode;
    if (check_platform(ctl, &platform, &err) < 0 || ctl_progress_mode(ctl, &mode, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    bool all = ctl_flag(ctl, "all-platforms"), foreign = ctl_flag(ctl, "foreign-layers");
    CTR_AUTO(free)
    char *path = all || foreign ? ctl_url("/ctr/v1/images/pull?reference=%s&platform=%s"
                                          "&all_platforms=%d&foreign=%d",
                                          reference, platform, all, foreign)
                                : pull_url(reference, platform);
    if (pull(ctl, path, mode, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    if (mode != CTL_PROGRESS_JSON) {
        printf("%s\n", reference);
    }
    return 0;
}

static const struct ctl_option pull_options[] = {
    {"all-platforms", 'a', NULL, "All platforms of the image; nothing is unpacked"},
    {"foreign-layers", 0, NULL, "Fetch layers from other servers that the manifest names, too"},
    {"platform", 0, "OS/ARCH", "Platform to fetch, such as linux/arm64 (default: the host's)"},
    {"progress", 0, "STYLE", "auto (default), tty, plain or json", "auto|tty|plain|json"},
    {"quiet", 'q', NULL, "No progress, only the name at the end"},
    {NULL},
};
const struct ctl_command ctl_pull = {
    .operands = "IMAGE[:TAG|@DIGEST]",
    .summary = "Fetch an image from a registry",
    .text = "Every byte is checked against the digests of the manifest before the image is "
            "listed. After\nCtrl-C the next pull goes on from what has come.",
    .examples = "ctrctl pull alpine\n"
                "ctrctl pull --platform linux/arm64 docker.io/library/busybox:1.36\n"
                "ctrctl pull 127.0.0.1:5000/app@sha256:0123…",
    .options = pull_options,
    .min_operands = 1,
    .max_operands = 1,
    .words = CTL_WORDS_IMAGE,
    .run = pull_main,
};

/* --- push --- */

static int
push_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    const char *reference = ctl->operands[0], *platform;
    enum ctl_progress_mode mode;
    if (check_platform(ctl, &platform, &err) < 0 || ctl_progress_mode(ctl, &mode, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    CTR_AUTO(free) char *name = strdup(reference);
    const char *tag = name != NULL ? ctl_cut_tag(name) : NULL;
    CTR_AUTO(free)
    char *path =
        name != NULL
            ? ctl_url(CTL_API "/images/%s/push?tag=%s&platform=%s&all_platforms=%d", name,
                      tag != NULL ? tag : "latest", platform, ctl_flag(ctl, "all-platforms"))
            : NULL;
    CTR_AUTO(http) struct ctl_http http = CTL_HTTP_INIT;
    struct ctl_progress progress = {
        mode, .interrupted = "push: interrupted; the next push skips what the registry has"};
    int rc = ctl_http_send(ctl, &http, "POST", path, CTL_SEND_JSON, NULL, &err);
    rc = rc == 0 ? ctl_progress(&http, &progress, &err) : rc;
    if (rc < 0) {
        return ctl_error(ctl, &err);
    }
    if (mode != CTL_PROGRESS_JSON) {
        printf("%s\n", reference);
    }
    return 0;
}

static const struct ctl_option push_options[] = {
    {"all-platforms", 'a', NULL, "All platforms that are here"},
    {"platform", 0, "OS/ARCH", "Platform to push, such as linux/arm64 (default: the host's)"},
    {"progress", 0, "STYLE", "auto (default), tty, plain or json", "auto|tty|plain|json"},
    {"quiet", 'q', NULL, "No progress, only the name at the end"},
    {NULL},
};
const struct ctl_command ctl_push = {
    .operands = "IMAGE[:TAG]",
    .summary = "Send an image to the registry in its name",
    .text =
        "What the registry has already is not sent. 'ctrctl tag' gives an image the name that "
        "it is to have\nthere; 'ctrctl login' tells the registry who you are.",
    .examples = "ctrctl tag app:1 registry.example.com/team/app:1\n"
                "ctrctl push registry.example.com/team/app:1",
    .options = push_options,
    .min_operands = 1,
    .max_operands = 1,
    .words = CTL_WORDS_IMAGE,
    .run = push_main,
};
