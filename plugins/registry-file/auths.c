/*
 * The "auths" object: {"HOST[:PORT][/PATH]": {"auth": base64(user:password), …}}.
 *
 * A key's scheme is dropped, as are docker's /v1/ and /v2/; what is left is a host that must equal the asked one exactly,
 * and a path (containers-auth.json(5)) that must be the repository or a folder above it: the longest wins. Docker Hub's
 * names are one. What came from the file is wiped before its memory is given back.
 */
#include "auths.h"
#include <errno.h>
#include <stdlib.h>

static void
auths_free(char *text)
{
    if (text != NULL) {
        ctr_wipe(text, strlen(text));
        free(text);
    }
}

void
auths_finish(struct auths_found *found)
{
    auths_free(found->user);
    auths_free(found->secret);
    memset(found, 0, sizeof *found);
}

/* The whole document; *ret_auths is borrowed from it, NULL if it has none. */
static json_t *
auths_parse(const char *text, size_t length, json_t **ret_auths, struct ctr_error *err)
{
    json_t *document = config_parse(text, length, err);
    bool bad = false;
    json_t *auths = config_object(document, "auths", &bad);
    if (bad) {
        config_release(document);
        (void) ctr_fail(err, -EBADMSG, "\"auths\" is not an object of at most %d entries",
                        CONFIG_MAX_ENTRIES);
        return NULL;
    }
    *ret_auths = auths;
    return document;
}

/* How well a key fits: 0 not at all, else 1 and the length of its path. */
static size_t
key_score(const char *key, const char *asked_host, const char *repository)
{
    char host[256], path[256];
    if (!config_key_split(key, host, path) ||
        strcmp(config_host_alias(host), asked_host) != 0) {
        return 0;
    }
    size_t n = strlen(path);
    bool above = n == 0 || (strncmp(repository, path, n) == 0 &&
                            (repository[n] == '/' || repository[n] == '\0'));
    return above ? 1 + n : 0;
}

/* --- entries --- */

static int
base64_digit(char c)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int) (at - digits) : -1;
}

/* A NUL-terminated text, or NULL: not base64, or with a NUL in it. */
static char *
base64_decode(const char *text)
{
    size_t n = strlen(text), length = 0;
    while (n > 0 && text[n - 1] == '=') {
        n--;
    }
    char *out = malloc(n * 3 / 4 + 1);
    uint32_t bits = 0;
    for (size_t i = 0; out != NULL && i < n; i++) {
        int digit = base64_digit(text[i]);
        bits = bits << 6 | (uint32_t) (digit & 63);
        if (digit < 0 || (i % 4 == 0 && i + 1 == n)) {
            free(out);
            return NULL;
        }
        if (i % 4 != 0) {
            out[length++] = (char) (bits >> (6 - 2 * (i % 4)));
        }
    }
    if (out != NULL && memchr(out, '\0', length) != NULL) {
        ctr_wipe(out, length);
        free(out);
        return NULL;
    }
    if (out != NULL) {
        out[length] = '\0';
    }
    return out;
}

static const char *
entry_text(const json_t *entry, const char *name)
{
    const json_t *value = json_object_get(entry, name);
    const char *text = json_string_value(value);
    return text != NULL && strlen(text) == json_string_length(value) ? text : "";
}

static int
entry_take(struct auths_found *found, uint32_t type, const char *user, const char *secret,
           struct ctr_error *err)
{
    found->type = type;
    found->user = strdup(user);
    found->secret = strdup(secret);
    if (found->user == NULL || found->secret == NULL) {
        auths_finish(found);
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    return 0;
}

/* "auth": base64 of user:password, which wins over the plain members. */
static int
entry_take_auth(struct auths_found *found, const char *auth, struct ctr_error *err)
{
    char *plain = base64_decode(auth);
    char *colon = plain != NULL ? strchr(plain, ':') : NULL;
    if (colon == NULL || colon == plain) {
        auths_free(plain);
        return ctr_fail(err, -EBADMSG, "its \"auth\" is not base64 of user:password");
    }
    *colon = '\0';
    int rc = entry_take(found, CTR_CREDENTIAL_PASSWORD, plain, colon + 1, err);
    ctr_wipe(colon + 1, strlen(colon + 1));
    auths_free(plain);
    return rc;
}

/* An empty entry is docker's mark that a helper keeps the secret: -ENOENT. */
static int
entry_read(const json_t *entry, struct auths_found *found, struct ctr_error *err)
{
    if (entry_text(entry, "registrytoken")[0] != '\0') {
        return entry_take(found, CTR_CREDENTIAL_BEARER, "", entry_text(entry, "registrytoken"),
                          err);
    }
    if (entry_text(entry, "identitytoken")[0] != '\0') {
        return entry_take(found, CTR_CREDENTIAL_IDENTITY, "",
                          entry_text(entry, "identitytoken"), err);
    }
    if (entry_text(entry, "auth")[0] != '\0') {
        return entry_take_auth(found, entry_text(entry, "auth"), err);
    }
    if (entry_text(entry, "username")[0] != '\0') {
        return entry_take(found, CTR_CREDENTIAL_PASSWORD, entry_text(entry, "username"),
                          entry_text(entry, "password"), err);
    }
    return ctr_fail(err, -ENOENT, "no credential in the entry");
}

int
auths_find(const char *text, size_t length, const char *host, const char *repository,
           struct auths_found *ret, struct ctr_error *err)
{
    json_t *auths = NULL;
    json_t *document = auths_parse(text, length, &auths, err);
    if (document == NULL) {
        return err != NULL ? err->code : -EBADMSG;
    }
    const char *key = NULL, *best_key = NULL;
    json_t *entry = NULL, *best = NULL;
    size_t best_score = 0;
    json_object_foreach(auths, key, entry)
    {
        size_t score = key_score(key, config_host_alias(host), repository);
        if (score > best_score) {
            best_score = score;
            best = entry;
            best_key = key;
        }
    }
    struct auths_found found = {0};
    int rc = best != NULL ? entry_read(best, &found, err)
                          : ctr_fail(err, -ENOENT, "no entry for %s", host);
    if (rc < 0 && rc != -ENOENT) {
        (void) ctr_prefix(err, "auths entry \"%.200s\"", best_key);
    }
    config_release(document);
    if (rc == 0) {
        *ret = found;
    }
    return rc;
}

int
auths_list(const char *text, size_t length,
           void (*each)(void *arg, const char *host, const char *user), void *arg,
           struct ctr_error *err)
{
    json_t *auths = NULL;
    json_t *document = auths_parse(text, length, &auths, err);
    if (document == NULL) {
        return err != NULL ? err->code : -EBADMSG;
    }
    const char *key = NULL;
    json_t *entry = NULL;
    json_object_foreach(auths, key, entry)
    {
        char host[256], path[256], shown[520];
        struct auths_found found = {0};
        struct ctr_error ignored = CTR_ERROR_INIT;
        if (config_key_split(key, host, path) && entry_read(entry, &found, &ignored) == 0) {
            (void) snprintf(shown, sizeof shown, "%s%s%s", config_host_alias(host),
                            path[0] != '\0' ? "/" : "", path);
            each(arg, shown, found.user);
            auths_finish(&found);
        }
    }
    config_release(document);
    return 0;
}
