/*
 * Credentials that a client sends with one request: Docker's X-Registry-Auth header. They are used for
 * that request and that registry, wiped when it is over, and neither stored nor logged.
 */
#include "core/api/api-priv.h"

#define HEADER_MAX (64u * 1024)

/* --- base64 --- */

static int
digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '-' || c == '+' ? 62
           : c == '_' || c == '/' ? 63
                                  : -1;
}

/* Both alphabets, padded or not. Caller frees; NULL with err. */
static char *
decode(const char *text, size_t *ret_length, struct ctr_error *err)
{
    size_t length = strnlen(text, HEADER_MAX + 1), n = 0;
    if (length > HEADER_MAX) {
        (void) ctr_fail(err, -EINVAL, "X-Registry-Auth: longer than 64 KiB");
        return NULL;
    }
    while (length > 0 && text[length - 1] == '=') {
        length--;
    }
    char *bytes = malloc(length + 1);
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; bytes != NULL && i < length; i++) {
        int six = digit(text[i]);
        if (six < 0) {
            free(bytes);
            (void) ctr_fail(err, -EINVAL, "X-Registry-Auth: not base64");
            return NULL;
        }
        bits = bits << 6 | (uint32_t) six;
        have += 6;
        if (have >= 8) {
            have -= 8;
            bytes[n++] = (char) (bits >> have & 0xff);
        }
    }
    if (bytes == NULL) {
        (void) ctr_fail(err, -ENOMEM, "out of memory");
        return NULL;
    }
    bytes[n] = '\0';
    *ret_length = n;
    return bytes;
}

/* --- the header --- */

void
ctr_api_wipe(json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    if (json_is_string(value)) {
        explicit_bzero((char *) (uintptr_t) json_string_value(value),
                       json_string_length(value));
    }
}

static void
wipe_all(json_t *object)
{
    static const char *const keys[] = {"password", "identitytoken", "registrytoken", "auth"};
    for (size_t i = 0; i < CTR_LENGTH(keys); i++) {
        ctr_api_wipe(object, keys[i]);
    }
}

static int
take(const json_t *json, struct ctr_docker_auth *ret)
{
    static const struct {
        const char *key;
        uint32_t type;
    } kinds[] = {{"registrytoken", CTR_CREDENTIAL_BEARER},
                 {"identitytoken", CTR_CREDENTIAL_IDENTITY},
                 {"password", CTR_CREDENTIAL_PASSWORD}};
    for (size_t i = 0; i < CTR_LENGTH(kinds); i++) {
        const char *secret = ctr_json_str(json, kinds[i].key, "");
        if (*secret == '\0') {
            continue;
        }
        bool named = kinds[i].type == CTR_CREDENTIAL_PASSWORD;
        ret->user = strdup(named ? ctr_json_str(json, "username", "") : "");
        ret->secret = strdup(secret);
        ret->credential = (struct ctr_credential){.size = sizeof ret->credential,
                                                  .type = kinds[i].type,
                                                  .user = ret->user,
                                                  .secret = ret->secret};
        return ret->user != NULL && ret->secret != NULL ? 0 : -ENOMEM;
    }
    return 0;
}

int
ctr_docker_auth_parse(const char *header, const char *host, struct ctr_docker_auth *ret,
                      struct ctr_error *err)
{
    size_t length = 0;
    char server[256];
    *ret = (struct ctr_docker_auth){.secret = NULL};
    if (header == NULL || *header == '\0') {
        return 0;
    }
    char *text = decode(header, &length, err);
    if (text == NULL) {
        return err->code;
    }
    CTR_AUTO(json) json_t *json = ctr_json_parse(text, length, HEADER_MAX, "header", err);
    explicit_bzero(text, length);
    free(text);
    if (!json_is_object(json)) { /* nothing of what it holds is told */
        return ctr_fail(err, -EINVAL, "X-Registry-Auth: base64 of a JSON object is expected");
    }
    const char *address = ctr_json_str(json, "serveraddress", "");
    int rc = *address != '\0' ? ctr_registry_host(address, server, err) : 0;
    rc = rc == 0 ? take(json, ret) : rc;
    wipe_all(json);
    if (rc == -ENOMEM) {
        (void) ctr_fail(err, rc, "out of memory");
    } else if (rc == 0 && ret->secret != NULL && *address != '\0' &&
               strcmp(server, host) != 0) {
        rc = ctr_fail(err, -EINVAL,
                      "X-Registry-Auth is for %s, but the image is at %s: nothing was sent",
                      server, host);
    }
    if (rc < 0) {
        ctr_docker_auth_finish(ret);
    }
    return rc;
}

void
ctr_docker_auth_finish(struct ctr_docker_auth *auth)
{
    if (auth->secret != NULL) {
        explicit_bzero(auth->secret, strlen(auth->secret));
    }
    free(auth->secret);
    free(auth->user);
    *auth = (struct ctr_docker_auth){.secret = NULL};
}
