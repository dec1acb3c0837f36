/* Headers of an answer, from the wire: each value is bounded and checked; one that makes no sense is as if it were not there. */
#include "core/registry/registry-priv.h"
#include <curl/curl.h>
#include <strings.h>

/* A whole number at the start of the text, of at most INT64_MAX; *ret_end is what follows. -1: none. */
static int64_t
header_number(const char *text, const char **ret_end)
{
    char digits[24];
    size_t n = strspn(text, "0123456789");
    int64_t number = -1;
    *ret_end = text + n;
    if (n > 0 && n < sizeof digits) {
        memcpy(digits, text, n);
        digits[n] = '\0';
        (void) ctr_parse_int(digits, 0, INT64_MAX, &number);
    }
    return number;
}

int64_t
header_retry_after(const char *value)
{
    const char *end = NULL;
    if (value[0] != '\0' && strspn(value, "0123456789") == strlen(value)) {
        int64_t seconds = header_number(value, &end);
        return seconds >= 0 ? seconds : INT64_MAX;
    }
    time_t when = curl_getdate(value, NULL);
    time_t now = time(NULL);
    return when > 0 && value[0] != '-' ? (when > now ? when - now : 0) : -1;
}

int64_t
header_content_range(const char *value)
{
    const char *end = NULL;
    if (strncasecmp(value, "bytes ", 6) != 0) {
        return -1;
    }
    int64_t first = header_number(value + 6, &end);
    return *end == '-' ? first : -1;
}

int64_t
header_upload_range(const char *value)
{
    const char *end = NULL;
    value += strncasecmp(value, "bytes=", 6) == 0 ? 6 : 0;
    if (header_number(value, &end) != 0 || *end != '-') {
        return -1;
    }
    int64_t last = header_number(end + 1, &end);
    return *end == '\0' ? last : -1;
}

/* Has the parameters of a link, ;-separated, a rel of "next"? */
static bool
link_is_next(const char *at, size_t length)
{
    const char *end = at + length;
    while (at < end) {
        at += strspn(at, "; \t");
        if (at + 4 <= end && strncasecmp(at, "rel=", 4) == 0) {
            at += 4;
            at += *at == '"';
            return at + 4 <= end && strncasecmp(at, "next", 4) == 0 &&
                   (at + 4 == end || strchr("\"; \t", at[4]) != NULL);
        }
        const char *semicolon = memchr(at, ';', (size_t) (end > at ? end - at : 0));
        at = semicolon != NULL ? semicolon : end;
    }
    return false;
}

void
header_link_next(const char *value, char *ret, size_t capacity)
{
    const char *open = strchr(value, '<');
    while (open != NULL) {
        const char *shut = strchr(open, '>');
        if (shut == NULL) {
            return;
        }
        size_t n = (size_t) (shut - open - 1);
        const char *next = strchr(shut, '<');
        size_t parameters = next != NULL ? (size_t) (next - shut - 1) : strlen(shut + 1);
        if (n > 0 && n < capacity && link_is_next(shut + 1, parameters)) {
            memcpy(ret, open + 1, n);
            ret[n] = '\0';
            return;
        }
        open = next;
    }
}

static void
header_add_challenge(struct ctr_http_response *response, const char *value)
{
    size_t have = strlen(response->challenges), length = strlen(value);
    if (have + length + 2 < sizeof response->challenges) {
        memcpy(response->challenges + have, value, length);
        memcpy(response->challenges + have + length, "\n", 2);
    }
}

static void
header_set(struct ctr_http_response *response, const char *name, char *value)
{
    const char *end = NULL;
    if (strcasecmp(name, "Content-Type") == 0) {
        value[strcspn(value, "; \t")] = '\0';
        if (strlen(value) < sizeof response->content_type) {
            memcpy(response->content_type, value, strlen(value) + 1);
        }
    } else if (strcasecmp(name, "Location") == 0) {
        if (strlen(value) < sizeof response->location) {
            memcpy(response->location, value, strlen(value) + 1);
        }
    } else if (strcasecmp(name, "WWW-Authenticate") == 0) {
        header_add_challenge(response, value);
    } else if (strcasecmp(name, "Docker-Content-Digest") == 0) {
        (void) snprintf(response->digest, sizeof response->digest, "%.79s", value);
    } else if (strcasecmp(name, "Retry-After") == 0) {
        response->retry_after = header_retry_after(value);
    } else if (strcasecmp(name, "Content-Range") == 0) {
        response->range_start = header_content_range(value);
    } else if (strcasecmp(name, "Content-Length") == 0) {
        response->length = header_number(value, &end);
    } else if (strcasecmp(name, "Range") == 0) {
        response->upload_last = header_upload_range(value);
    } else if (strcasecmp(name, "OCI-Chunk-Min-Length") == 0) {
        response->chunk_min = header_number(value, &end);
    } else if (strcasecmp(name, "Link") == 0) {
        header_link_next(value, response->next, sizeof response->next);
    } else if (strcasecmp(name, "RateLimit-Limit") == 0) {
        response->rate_limit = header_number(value, &end);
    } else if (strcasecmp(name, "RateLimit-Remaining") == 0) {
        response->rate_left = header_number(value, &end);
    }
}

void
header_take(struct ctr_http_response *response, const char *line, size_t length)
{
    char text[4096 + 64];
    const char *colon = memchr(line, ':', length);
    if (colon == NULL || length >= sizeof text || memchr(line, '\0', length) != NULL) {
        return;
    }
    size_t n = (size_t) (colon - line);
    memcpy(text, line, length);
    text[n] = text[length] = '\0';
    char *value = text + n + 1, *end = text + length;
    value += strspn(value, " \t");
    while (end > value && strchr(" \t\r\n", end[-1]) != NULL) {
        *--end = '\0';
    }
    header_set(response, text, value);
}
