/*
 * What a registry wants of us: the challenges of its WWW-Authenticate headers (RFC 7235), several in one header or in
 * several. From the wire: every text is bounded, and what does not parse ends the header's reading.
 */
#include "core/registry/registry-priv.h"
#include <strings.h>

static void
challenge_set(struct challenge *challenge, const char *name, size_t n, const char *value)
{
    const struct {
        const char *name;
        char *text;
        size_t capacity;
    } known[] = {
        {"realm", challenge->realm, sizeof challenge->realm},
        {"service", challenge->service, sizeof challenge->service},
        {"scope", challenge->scope, sizeof challenge->scope},
    };
    for (size_t i = 0; i < CTR_LENGTH(known); i++) {
        bool is_this = strlen(known[i].name) == n && strncasecmp(name, known[i].name, n) == 0;
        if (is_this && known[i].text[0] == '\0') {
            (void) snprintf(known[i].text, known[i].capacity, "%s", value);
        }
    }
}

/* A token or a quoted string; returns what follows it, NULL where it does not fit or end. */
static const char *
challenge_value(const char *at, char *ret, size_t capacity)
{
    bool quoted = *at == '"';
    size_t length = 0;
    at += quoted;
    while (*at != '\0' && (quoted ? *at != '"' : strchr(", \t", *at) == NULL)) {
        at += quoted && at[0] == '\\' && at[1] != '\0';
        if (length + 1 == capacity) {
            return NULL;
        }
        ret[length++] = *at++;
    }
    ret[length] = '\0';
    if (quoted && *at != '"') {
        return NULL;
    }
    return at + quoted;
}

/* One header: schemes, each with its name=value pairs, all separated by commas. */
static void
challenge_line(const char *at, struct challenge *ret)
{
    bool in_bearer = false, had_bearer = ret->bearer;
    char value[1024];
    while (*(at += strspn(at, " \t,")) != '\0') {
        const char *name = at;
        size_t n = strcspn(at, "= \t,\"");
        at += n + strspn(at + n, " \t");
        if (n == 0) {
            return;
        }
        if (*at == '=') {
            at++;
            at = challenge_value(at + strspn(at, " \t"), value, sizeof value);
            if (at == NULL) {
                return;
            }
            if (in_bearer) {
                challenge_set(ret, name, n, value);
                ret->bearer = ret->realm[0] != '\0';
            }
            continue;
        }
        ret->basic = ret->basic || (n == 5 && strncasecmp(name, "Basic", 5) == 0);
        in_bearer =
            n == 6 && strncasecmp(name, "Bearer", 6) == 0 && !ret->bearer && !had_bearer;
    }
}

void
challenge_parse(const char *text, struct challenge *ret)
{
    CTR_AUTO(free) char *copy = strdup(text);
    char *rest = NULL;
    memset(ret, 0, sizeof *ret);
    for (char *line = copy != NULL ? strtok_r(copy, "\n", &rest) : NULL; line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        challenge_line(line, ret);
    }
}
