/* Origins: scheme, host and port of a URL, and the rules on which of them may be asked how. */
#include "core/registry/registry-priv.h"
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <strings.h>

static bool
origin_part(CURLU *url, CURLUPart part, unsigned flags, char *ret, size_t capacity)
{
    char *text = NULL;
    if (curl_url_get(url, part, &text, flags) != CURLUE_OK) {
        return false;
    }
    bool fits = strlen(text) < capacity;
    if (fits) {
        memcpy(ret, text, strlen(text) + 1);
    }
    curl_free(text);
    return fits;
}

static bool
origin_has_user(CURLU *url)
{
    char *text = NULL;
    bool has = curl_url_get(url, CURLUPART_USER, &text, 0) == CURLUE_OK ||
               curl_url_get(url, CURLUPART_PASSWORD, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

int
origin_parse(const char *text, struct origin *ret, struct ctr_error *err)
{
    CURLU *url = curl_url();
    if (url == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    struct origin origin = {.scheme = ""};
    int rc = 0;
    if (curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
        !origin_part(url, CURLUPART_SCHEME, 0, origin.scheme, sizeof origin.scheme)) {
        rc = ctr_fail(err, -EBADMSG, "\"%.200s\" is no web address", text);
    } else if (strcmp(origin.scheme, "http") != 0 && strcmp(origin.scheme, "https") != 0) {
        rc = ctr_fail(err, -EPERM, "\"%.200s\" is neither https nor http", text);
    } else if (!origin_part(url, CURLUPART_HOST, 0, origin.host, sizeof origin.host)) {
        rc = ctr_fail(err, -EBADMSG, "\"%.200s\" has no host", text);
    } else if (!origin_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, origin.port,
                            sizeof origin.port)) {
        rc = ctr_fail(err, -EBADMSG, "\"%.200s\" has no port", text);
    } else if (origin_has_user(url)) {
        rc = ctr_fail(err, -EPERM, "the address has a user name or password in it");
    }
    curl_url_cleanup(url);
    if (rc == 0) {
        size_t n = strlen(origin.host);
        if (origin.host[0] == '[' && n > 2) {
            memmove(origin.host, origin.host + 1, n);
            origin.host[n - 2] = '\0';
        }
        *ret = origin;
    }
    return rc;
}

bool
origin_same(const struct origin *a, const struct origin *b)
{
    return strcmp(a->scheme, b->scheme) == 0 && strcasecmp(a->host, b->host) == 0 &&
           strcmp(a->port, b->port) == 0;
}

bool
origin_is_loopback(const char *host)
{
    char name[256];
    (void) snprintf(name, sizeof name, "%s", host);
    char *end = NULL;
    if (name[0] == '[') {
        end = strchr(name, ']');
        memmove(name, name + 1, strlen(name));
        end = end != NULL ? end - 1 : NULL;
    } else if (strchr(name, ':') == strrchr(name, ':')) {
        end = strchr(name, ':');
    }
    if (end != NULL) {
        *end = '\0';
    }
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, name, &v4) == 1) {
        return ntohl(v4.s_addr) >> 24 == 127;
    }
    if (inet_pton(AF_INET6, name, &v6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&v6);
    }
    return strcasecmp(name, "localhost") == 0;
}

bool
origin_address_is_link_local(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *) address;
        return ntohl(v4->sin_addr.s_addr) >> 16 == 0xa9fe;
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *) address;
        const uint8_t *b = v6->sin6_addr.s6_addr;
        bool mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) && b[12] == 169 && b[13] == 254;
        return mapped || IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr);
    }
    return false;
}

bool
origin_is_link_local(const char *host)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        return origin_address_is_link_local((const void *) &v4);
    }
    return inet_pton(AF_INET6, host, &v6.sin6_addr) == 1 &&
           origin_address_is_link_local((const void *) &v6);
}

static const struct ctr_conf_host *
origin_settings_of(const struct ctr_conf *conf, const struct origin *origin, const char *host)
{
    bool v6 = strchr(host, ':') != NULL;
    const char *open = v6 ? "[" : "", *shut = v6 ? "]" : "";
    char text[300];
    (void) snprintf(text, sizeof text, "%s%s%s:%s", open, host, shut, origin->port);
    const struct ctr_conf_host *settings = ctr_conf_host(conf, text);
    const char *usual = strcmp(origin->scheme, "https") == 0 ? "443" : "80";
    if (settings == NULL && strcmp(origin->port, usual) == 0) {
        (void) snprintf(text, sizeof text, "%s%s%s", open, host, shut);
        settings = ctr_conf_host(conf, text);
    }
    return settings;
}

const struct ctr_conf_host *
origin_settings(const struct ctr_conf *conf, const struct origin *origin)
{
    if (conf == NULL) {
        return NULL;
    }
    const struct ctr_conf_host *settings = origin_settings_of(conf, origin, origin->host);
    if (settings == NULL && strcasecmp(origin->host, ORIGIN_HUB) == 0) {
        settings = origin_settings_of(conf, origin, "docker.io");
    }
    return settings;
}

int
origin_check_plain(const struct ctr_conf *conf, const struct origin *origin,
                   struct ctr_error *err)
{
    if (strcmp(origin->scheme, "http") != 0 || origin_is_loopback(origin->host)) {
        return 0;
    }
    const struct ctr_conf_host *settings = origin_settings(conf, origin);
    if (settings != NULL && settings->plain_http) {
        return 0;
    }
    return ctr_fail(err, -EPERM,
                    "plain http to %s is refused; if it must be, set plain_http = yes in "
                    "[registry.host \"%s:%s\"]",
                    origin->host, origin->host, origin->port);
}

char *
origin_resolve(const char *base, const char *location, struct ctr_error *err)
{
    CURLU *url = curl_url();
    char *text = NULL, *copy = NULL;
    if (url != NULL && curl_url_set(url, CURLUPART_URL, base, 0) == CURLUE_OK &&
        curl_url_set(url, CURLUPART_URL, location, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
        curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_URL, &text, 0) == CURLUE_OK) {
        copy = strdup(text);
    }
    if (copy == NULL) {
        (void) ctr_fail(err, -EBADMSG, "sent on to \"%.200s\", which is no web address",
                        location);
    }
    curl_free(text);
    curl_url_cleanup(url);
    return copy;
}
