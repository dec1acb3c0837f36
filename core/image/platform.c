/* Platforms: operating system, architecture and its variant, as images name them. */
#include "core/image/image-priv.h"
#include <sys/utsname.h>

/* Other systems' words for the names that images use. */
static void
platform_normalise(struct ctr_platform *platform)
{
    static const struct {
        const char *word, *arch, *variant;
    } names[] = {
        {"x86_64", "amd64", ""}, {"x86-64", "amd64", ""}, {"aarch64", "arm64", ""},
        {"i386", "386", ""},     {"i686", "386", ""},     {"armhf", "arm", "v7"},
        {"armv7l", "arm", "v7"}, {"armel", "arm", "v6"},
    };
    for (size_t i = 0; i < CTR_LENGTH(names); i++) {
        if (strcmp(platform->arch, names[i].word) == 0) {
            (void) snprintf(platform->arch, sizeof platform->arch, "%s", names[i].arch);
            if (platform->variant[0] == '\0') {
                (void) snprintf(platform->variant, sizeof platform->variant, "%s",
                                names[i].variant);
            }
        }
    }
    if (strcmp(platform->arch, "arm64") == 0 &&
        (strcmp(platform->variant, "8") == 0 || strcmp(platform->variant, "v8") == 0)) {
        platform->variant[0] = '\0';
    }
}

static bool
platform_take(const char **text, char ret[16])
{
    size_t n = strspn(*text, "abcdefghijklmnopqrstuvwxyz0123456789._-");
    if (n < 1 || n > 15 || ((*text)[n] != '\0' && (*text)[n] != '/')) {
        return false;
    }
    memcpy(ret, *text, n);
    ret[n] = '\0';
    *text += n;
    if (**text == '/') {
        (*text)++;
        return **text != '\0';
    }
    return true;
}

int
ctr_platform_parse(const char *text, struct ctr_platform *ret, struct ctr_error *err)
{
    struct ctr_platform platform = {.os = "linux"};
    struct utsname host;
    if (text[0] == '\0' || strcmp(text, "linux") == 0) {
        if (uname(&host) < 0) {
            return ctr_fail(err, -errno, "platform of this machine: %s", strerror(errno));
        }
        (void) snprintf(platform.arch, sizeof platform.arch, "%.15s", host.machine);
    } else {
        const char *at = text;
        bool ok = strchr(text, '/') == NULL || platform_take(&at, platform.os);
        ok = ok && platform_take(&at, platform.arch);
        ok = ok && (*at == '\0' || platform_take(&at, platform.variant)) && *at == '\0';
        if (!ok) {
            return ctr_fail(
                err, -EINVAL,
                "\"%.60s\" is no platform; write it like linux/amd64 or linux/arm64", text);
        }
    }
    platform_normalise(&platform);
    *ret = platform;
    return 0;
}

char *
platform_text(const struct ctr_platform *platform)
{
    return ctr_printf("%s/%s%s%s", platform->os, platform->arch,
                      platform->variant[0] != '\0' ? "/" : "", platform->variant);
}

int
platform_score(const struct ctr_platform *have, const struct ctr_platform *want)
{
    struct ctr_platform image = *have;
    platform_normalise(&image);
    if (strcmp(image.os, want->os) != 0 || strcmp(image.arch, want->arch) != 0) {
        return 0;
    }
    if (strcmp(image.variant, want->variant) == 0) {
        return 100;
    }
    if (want->variant[0] == '\0' && strcmp(want->arch, "amd64") != 0) {
        return 10; /* any variant will do */
    }
    if (image.variant[0] == '\0') {
        return 50;
    }
    /* An older variant of the same family runs too. */
    return strcmp(image.variant, want->variant) < 0 ? 20 : 0;
}
