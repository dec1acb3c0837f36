/*
 * Changing the "auths" of a document as docker's tools do: `auth` is base64 of user:password, an identity token has a member of its own. What the
 * document has besides stays, in its order.
 */
#include "auths.h"
#include <errno.h>
#include <stdlib.h>

/* base64 of user:password, caller wipes and frees; NULL: out of memory. */
static char *
edit_encode(const char *user, const char *password)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = strlen(user) + 1 + strlen(password), out = 0;
    char *plain = malloc(n + 1);
    char *text = malloc((n + 2) / 3 * 4 + 1);
    if (plain == NULL || text == NULL) {
        free(plain);
        free(text);
        return NULL;
    }
    (void) snprintf(plain, n + 1, "%s:%s", user, password);
    const unsigned char *in = (const unsigned char *) plain;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t bits = (uint32_t) in[i] << 16 | (uint32_t) (i + 1 < n ? in[i + 1] : 0) << 8 |
                        (i + 2 < n ? in[i + 2] : 0);
        text[out++] = digits[bits >> 18];
        text[out++] = digits[bits >> 12 & 63];
        text[out++] = '=';
        text[out++] = '=';
        if (i + 1 < n) {
            text[out - 2] = digits[bits >> 6 & 63];
        }
        if (i + 2 < n) {
            text[out - 1] = digits[bits & 63];
        }
    }
    text[out] = '\0';
    ctr_wipe(plain, n);
    free(plain);
    return text;
}

/* The new entry; NULL: out of memory, or a secret that is not UTF-8. */
static json_t *
edit_entry(const struct ctr_credential *credential)
{
    const char *user = credential->user != NULL ? credential->user : "";
    if (credential->type == CTR_CREDENTIAL_BEARER) {
        return json_pack("{s:s}", "registrytoken", credential->secret);
    }
    bool identity = credential->type == CTR_CREDENTIAL_IDENTITY;
    if (identity && user[0] == '\0') {
        return json_pack("{s:s}", "identitytoken", credential->secret);
    }
    char *auth = edit_encode(user, identity ? "" : credential->secret);
    json_t *entry = NULL;
    if (auth != NULL) {
        entry = identity
                    ? json_pack("{s:s, s:s}", "auth", auth, "identitytoken", credential->secret)
                    : json_pack("{s:s}", "auth", auth);
        ctr_wipe(auth, strlen(auth));
        free(auth);
    }
    return entry;
}

/* Removes all entries of the whole host; true if one held more than docker's empty mark. */
static bool
edit_remove(json_t *auths, const char *host)
{
    const char *key = NULL;
    json_t *entry = NULL;
    void *next = NULL;
    bool held = false;
    json_object_foreach_safe(auths, next, key, entry)
    {
        if (config_key_is_host(key, host)) {
            held = held || json_object_size(entry) > 0;
            config_release(json_incref(entry));
            (void) json_object_del(auths, key);
        }
    }
    return held;
}

/* Takes the document. */
static int
edit_dump(json_t *document, char **ret, struct ctr_error *err)
{
    size_t flags = JSON_INDENT(4) | JSON_REAL_PRECISION(17);
    size_t n = json_dumpb(document, NULL, 0, flags);
    char *text = n > 0 ? malloc(n + 2) : NULL;
    if (text != NULL) {
        (void) json_dumpb(document, text, n, flags);
        text[n] = '\n';
        text[n + 1] = '\0';
    }
    config_release(document);
    if (text == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (n + 1 > CONFIG_MAX) {
        ctr_wipe(text, n);
        free(text);
        return ctr_fail(err, -EFBIG, "it would become larger than 1 MiB");
    }
    *ret = text;
    return 0;
}

/* The document and its "auths", which is made where it is missing. */
static json_t *
edit_parse(const char *text, size_t length, json_t **ret_auths, struct ctr_error *err)
{
    json_t *document = length > 0 ? config_parse(text, length, err) : json_object();
    bool bad = false;
    if (document == NULL) {
        return NULL;
    }
    json_t *auths = config_object(document, "auths", &bad);
    if (bad) {
        (void) ctr_fail(err, -EBADMSG, "\"auths\" is not an object of at most %d entries",
                        CONFIG_MAX_ENTRIES);
    } else if (auths == NULL &&
               json_object_set_new(document, "auths", auths = json_object()) < 0) {
        bad = true;
        (void) ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (bad) {
        config_release(document);
        return NULL;
    }
    *ret_auths = auths;
    return document;
}

int
auths_set(const char *text, size_t length, const char *host,
          const struct ctr_credential *credential, char **ret, struct ctr_error *err)
{
    json_t *auths = NULL;
    json_t *document = edit_parse(text, length, &auths, err);
    if (document == NULL) {
        return err != NULL ? err->code : -EBADMSG;
    }
    json_t *entry = edit_entry(credential);
    (void) edit_remove(auths, host);
    int rc = 0;
    if (entry == NULL) {
        rc = ctr_fail(err, -EINVAL, "the secret is not UTF-8, which JSON cannot hold");
    } else if (json_object_size(auths) >= CONFIG_MAX_ENTRIES) {
        json_decref(entry);
        rc = ctr_fail(err, -EFBIG, "\"auths\" has %d entries; remove some", CONFIG_MAX_ENTRIES);
    } else if (json_object_set_new(auths, config_docker_key(host), entry) < 0) {
        rc = ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (rc < 0) {
        config_release(document);
        return rc;
    }
    return edit_dump(document, ret, err);
}

int
auths_unset(const char *text, size_t length, const char *host, char **ret,
            struct ctr_error *err)
{
    json_t *auths = NULL;
    json_t *document = edit_parse(text, length, &auths, err);
    if (document == NULL) {
        return err != NULL ? err->code : -EBADMSG;
    }
    if (!edit_remove(auths, host)) {
        config_release(document);
        return ctr_fail(err, -ENOENT, "no entry for %s", host);
    }
    return edit_dump(document, ret, err);
}
