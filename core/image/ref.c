/*
 * References, in the grammar of distribution's reference package with Docker Hub's short names, and platforms.
 *
 *     [host[:port]/]path[/path…][:tag][@sha256:hex]
 *
 * The first component is a host if it has a dot or a colon or is "localhost"; else the host is docker.io, whose one-word
 * repositories stand below library/.
 */
#include "core/image/image-priv.h"
#include <ctype.h>
#include <sys/utsname.h>

static bool
is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool
is_alnum(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* alnum+ ( ("." | "_" | "__" | "-"+) alnum+ )* */
static bool
is_path_component(const char *text, size_t length)
{
    size_t i = 0;
    while (i < length) {
        size_t word = i;
        while (i < length && is_lower_alnum(text[i])) {
            i++;
        }
        if (i == word) {
            return false;
        }
        if (i == length) {
            return true;
        }
        size_t separator = i;
        while (i < length && !is_lower_alnum(text[i])) {
            i++;
        }
        size_t n = i - separator;
        bool dashes = strspn(text + separator, "-") >= n;
        bool underscores = n == 2 && text[separator] == '_' && text[separator + 1] == '_';
        if (!dashes && !underscores && !(n == 1 && strchr("._", text[separator]) != NULL)) {
            return false;
        }
    }
    return false;
}

static bool
is_repository(const char *text)
{
    for (;;) {
        size_t n = strcspn(text, "/");
        if (!is_path_component(text, n)) {
            return false;
        }
        if (text[n] == '\0') {
            return true;
        }
        text += n + 1;
    }
}

static bool
is_port(const char *text)
{
    int64_t port = 0;
    return text[0] >= '0' && text[0] <= '9' && ctr_parse_int(text, 1, 65535, &port) == 0;
}

/* Names, IPv4 addresses and [IPv6] with an optional port. */
static bool
is_host(const char *text)
{
    if (text[0] == '[') {
        size_t n = strspn(text + 1, "0123456789abcdefABCDEF:.");
        if (n < 2 || text[1 + n] != ']') {
            return false;
        }
        text += n + 2;
        return text[0] == '\0' || (text[0] == ':' && is_port(text + 1));
    }
    size_t n = strcspn(text, ":");
    char before = '.';
    for (size_t i = 0; i < n; i++) {
        char c = text[i], after = i + 1 < n ? text[i + 1] : '.';
        bool edge = before == '.' || after == '.';
        if (!is_alnum(c) && (edge || (c != '.' && c != '-'))) {
            return false;
        }
        before = c;
    }
    return n > 0 && (text[n] == '\0' || is_port(text + n + 1));
}

static bool
is_tag(const char *text)
{
    size_t n = strlen(text);
    if (n < 1 || n > 128 || !(is_alnum(text[0]) || text[0] == '_')) {
        return false;
    }
    for (size_t i = 1; i < n; i++) {
        if (!is_alnum(text[i]) && strchr("_.-", text[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* Cuts "@digest" and ":tag" off `text`. */
static int
ref_cut_ends(char *text, struct ctr_ref *ref, struct ctr_error *err)
{
    char *at = strchr(text, '@');
    if (at != NULL) {
        *at++ = '\0';
        if (!ctr_is_digest(at)) {
            return ctr_fail(
                err, -EINVAL,
                "\"%.80s\" is no digest that ctr can check; it must be sha256: and 64 "
                "lower-case hex digits",
                at);
        }
        (void) snprintf(ref->digest, sizeof ref->digest, "%s", at);
    }
    char *slash = strrchr(text, '/');
    char *colon = strrchr(slash != NULL ? slash : text, ':');
    if (colon != NULL) {
        *colon++ = '\0';
        if (!is_tag(colon)) {
            return ctr_fail(
                err, -EINVAL,
                "\"%.140s\" is no tag; letters, digits, '_', '.' and '-' are, at most 128",
                colon);
        }
        (void) snprintf(ref->tag, sizeof ref->tag, "%s", colon);
    }
    return 0;
}

/* Splits host and repository. */
static int
ref_split_name(char *name, struct ctr_ref *ref, struct ctr_error *err)
{
    char *slash = strchr(name, '/');
    const char *host = "docker.io", *repository = name;
    if (slash != NULL) {
        *slash = '\0';
        if (strpbrk(name, ".:") != NULL || strcasecmp(name, "localhost") == 0) {
            host = name;
            repository = slash + 1;
        } else {
            *slash = '/';
        }
    }
    if (!is_host(host) || strlen(host) >= sizeof ref->host) {
        return ctr_fail(err, -EINVAL, "\"%.255s\" is no host name", host);
    }
    for (size_t i = 0; i < strlen(host); i++) {
        ref->host[i] = (char) tolower((unsigned char) host[i]);
    }
    if (strcmp(ref->host, "index.docker.io") == 0 ||
        strcmp(ref->host, "registry-1.docker.io") == 0) {
        memcpy(ref->host, "docker.io", sizeof "docker.io");
    }
    bool library = strcmp(ref->host, "docker.io") == 0 && strchr(repository, '/') == NULL;
    int n = snprintf(ref->repository, sizeof ref->repository, "%s%s", library ? "library/" : "",
                     repository);
    if (n < 0 || (size_t) n >= sizeof ref->repository || !is_repository(ref->repository)) {
        return ctr_fail(
            err, -EINVAL,
            "\"%.255s\" is no repository name; it must be lower-case words of letters and "
            "digits, joined by '.', '_', '-' or '/'",
            repository);
    }
    return 0;
}

int
ctr_ref_parse(const char *text, struct ctr_ref *ret, struct ctr_error *err)
{
    struct ctr_ref ref = {.host = ""};
    size_t length = strlen(text);
    if (length == 0 || length > 700) {
        return ctr_fail(err, -EINVAL, "image reference: %s; give a name like busybox:latest",
                        length == 0 ? "empty" : "too long");
    }
    CTR_AUTO(free) char *copy = strdup(text);
    if (copy == NULL) {
        return ctr_fail(err, -ENOMEM, "image reference: out of memory");
    }
    int rc = ref_cut_ends(copy, &ref, err);
    if (rc == 0 && strlen(copy) == 64 && ctr_is_hex(copy, 64)) {
        rc = ctr_fail(err, -EINVAL, "64 hex digits are an image ID, not a name");
    }
    if (rc == 0) {
        rc = ref_split_name(copy, &ref, err);
    }
    if (rc < 0) {
        (void) ctr_prefix(err, "image reference \"%.200s\"", text);
        return rc;
    }
    if (ref.tag[0] == '\0' && ref.digest[0] == '\0') {
        memcpy(ref.tag, "latest", sizeof "latest");
    }
    *ret = ref;
    return 0;
}

static char *
ref_text(const struct ctr_ref *ref, const char *host, const char *repository)
{
    bool digest = ref->digest[0] != '\0';
    return ctr_printf("%s%s%s%s%s", host, host[0] != '\0' ? "/" : "", repository,
                      digest ? "@" : ":", digest ? ref->digest : ref->tag);
}

char *
ctr_ref_full(const struct ctr_ref *ref)
{
    return ref_text(ref, ref->host, ref->repository);
}

char *
ctr_ref_short(const struct ctr_ref *ref)
{
    const char *repository = ref->repository;
    bool hub = strcmp(ref->host, "docker.io") == 0;
    size_t first = strcspn(repository, "/");
    const char *rest = repository[first] == '/' ? repository + first + 1 : "";
    if (hub && ctr_starts_with(repository, "library/") && strchr(rest, '/') == NULL) {
        return ref_text(ref, "", rest);
    }
    /* A first word that reads as a host cannot stand in front. */
    bool like_host = memchr(repository, '.', first) != NULL ||
                     (first == strlen("localhost") && ctr_starts_with(repository, "localhost"));
    bool one_word = repository[first] == '\0';
    return ref_text(ref, hub && !like_host && !one_word ? "" : ref->host, repository);
}

/* --- platforms --- */

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
