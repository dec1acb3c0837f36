/*
 * The protocol of docker-credential helpers, on texts: the server is one line of input, credentials are one JSON object. What a helper prints is
 * no more trusted than other input: its JSON is checked, and an answer for another server is refused.
 */
#include "helper-priv.h"
#include <errno.h>
#include <stdlib.h>

#define PROTOCOL_TOKEN_USER "<token>" /* the secret is an identity token */

char *
protocol_store(const char *server, const struct ctr_credential *credential)
{
    const char *user =
        credential->type == CTR_CREDENTIAL_IDENTITY ? PROTOCOL_TOKEN_USER : credential->user;
    json_t *request = json_pack("{s:s, s:s, s:s}", "ServerURL", server, "Username", user,
                                "Secret", credential->secret);
    size_t n = request != NULL ? json_dumpb(request, NULL, 0, JSON_COMPACT) : 0;
    char *text = n > 0 ? malloc(n + 1) : NULL;
    if (text != NULL) {
        (void) json_dumpb(request, text, n, JSON_COMPACT);
        text[n] = '\0';
    }
    config_release(request);
    return text;
}

static const char *
answer_text(const json_t *document, const char *name)
{
    const char *text = json_string_value(json_object_get(document, name));
    return text != NULL ? text : "";
}

int
protocol_answer(const char *text, size_t length, const char *server, json_t **ret_document,
                struct ctr_credential *ret, struct ctr_error *err)
{
    json_t *document = config_parse(text, length, err);
    if (document == NULL) {
        return ctr_fail(err, -EBADMSG, "its answer is not a JSON object");
    }
    const char *for_server = answer_text(document, "ServerURL");
    const char *user = answer_text(document, "Username");
    const char *secret = answer_text(document, "Secret");
    int rc = 0;
    if (for_server[0] != '\0' && strcmp(for_server, server) != 0) {
        rc = ctr_fail(err, -EBADMSG, "it was asked for %s and answers for \"%.100s\"", server,
                      for_server);
    } else if (secret[0] == '\0') {
        rc = ctr_fail(err, -ENOENT, "no secret in the answer");
    }
    if (rc < 0) {
        config_release(document);
        return rc;
    }
    bool token = strcmp(user, PROTOCOL_TOKEN_USER) == 0;
    *ret_document = document;
    *ret = (struct ctr_credential){.size = sizeof *ret,
                                   .type = token ? CTR_CREDENTIAL_IDENTITY
                                                 : CTR_CREDENTIAL_PASSWORD,
                                   .user = token ? "" : user,
                                   .secret = secret};
    return 0;
}

int
protocol_list(const char *text, size_t length,
              void (*each)(void *arg, const char *host, const char *user), void *arg,
              struct ctr_error *err)
{
    json_t *document = config_parse(text, length, err);
    if (document == NULL || json_object_size(document) > CONFIG_MAX_ENTRIES) {
        config_release(document);
        return ctr_fail(err, -EBADMSG, "its list is not a JSON object of at most %d servers",
                        CONFIG_MAX_ENTRIES);
    }
    const char *server = NULL;
    json_t *user = NULL;
    json_object_foreach(document, server, user)
    {
        char host[256], path[256];
        if (json_is_string(user) && config_key_split(server, host, path) && path[0] == '\0') {
            each(arg, config_host_alias(host), json_string_value(user));
        }
    }
    config_release(document);
    return 0;
}

bool
protocol_says_not_found(const char *text, size_t length)
{
    static const char message[] = "credentials not found in native keychain";
    while (length > 0 && strchr("\r\n\t ", text[length - 1]) != NULL) {
        length--;
    }
    return length == sizeof message - 1 && memcmp(text, message, length) == 0;
}
