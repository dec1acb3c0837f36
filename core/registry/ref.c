/*
 * References, in the grammar of distribution's reference package with Docker Hub's short names, and the hosts in them.
 *
 *     [host[:port]/]path[/path…][:tag][@sha256:hex]
 *
 * The first component is a host if it has a dot or a colon or is "localhost"; else the host is docker.io, whose one-word
 * repositories stand below library/.
 */
#include "core/registry/registry-priv.h"
#include <ctype.h>

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

/* A reference's first word: a host, or the beginning of Docker Hub's repository? */
static bool
reads_as_host(const char *text)
{
    return strpbrk(text, ".:") != NULL || strcasecmp(text, "localhost") == 0;
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
        if (reads_as_host(name)) {
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
    /* 64 hex digits alone would read as an image ID. */
    bool like_id = strlen(rest) == 64 && ctr_is_hex(rest, 64);
    if (hub && ctr_starts_with(repository, "library/") && strchr(rest, '/') == NULL &&
        !like_id) {
        return ref_text(ref, "", rest);
    }
    /* A first word that reads as a host cannot stand in front. */
    bool like_host = memchr(repository, '.', first) != NULL ||
                     (first == strlen("localhost") && ctr_starts_with(repository, "localhost"));
    bool one_word = repository[first] == '\0';
    return ref_text(ref, hub && !like_host && !one_word ? "" : ref->host, repository);
}

int
ctr_registry_host(const char *text, char ret[256], struct ctr_error *err)
{
    static const char *const hub[] = {"index.docker.io", "registry-1.docker.io",
                                      "registry.hub.docker.com"};
    const char *scheme = strstr(text, "://");
    const char *at = scheme != NULL ? scheme + 3 : text;
    size_t n = strcspn(at, "/?#");
    char host[256];
    if (n >= sizeof host) {
        return ctr_fail(err, -EINVAL, "the registry's name is longer than 255 bytes");
    }
    for (size_t i = 0; i < n; i++) {
        host[i] = (char) tolower((unsigned char) at[i]);
    }
    host[n] = '\0';
    for (size_t i = 0; i < CTR_LENGTH(hub); i++) {
        if (strcmp(host, hub[i]) == 0) {
            memcpy(host, "docker.io", sizeof "docker.io");
        }
    }
    if (!is_host(host) || !reads_as_host(host) || strpbrk(at + n, " \t\r\n") != NULL) {
        return ctr_fail(err, -EINVAL, "\"%.100s\" is no registry: HOST or HOST:PORT is wanted",
                        text);
    }
    memcpy(ret, host, strlen(host) + 1);
    return 0;
}
