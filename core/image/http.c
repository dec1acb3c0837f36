/*
 * One HTTP request over libcurl's easy interface, with its redirects followed by hand: curl would drop Authorization on
 * another host but take other headers along, and would follow to places that we refuse.
 *
 * Every request has limits for connecting, stalling and the whole; a body is bounded or goes to a sink that bounds it; a
 * cancel shuts the socket, so that curl returns at once whatever it waits for.
 */
#include "core/image/remote.h"
#include <curl/curl.h>
#include <netinet/in.h>
#include <strings.h>
#include <sys/socket.h>

#define HTTP_MAX_REDIRECTS 10

struct http_transfer {
    struct image_op *op;
    const struct http_call *call;
    struct http_response *response;
    struct ctr_error *err;
    struct ctr_error inner; /* what a callback refused */
    bool begun, redirected, refused_address;
    long os_error; /* of a connection that failed */
};

void
http_response_clear(struct http_response *response)
{
    ctr_buf_clear(&response->body);
    memset(response, 0, sizeof *response);
    response->length = response->range_start = response->retry_after = -1;
}

/* --- headers --- */

static bool
header_is(const char *line, size_t length, const char *name, const char **ret,
          size_t *ret_length)
{
    size_t n = strlen(name);
    if (length <= n || line[n] != ':' || strncasecmp(line, name, n) != 0) {
        return false;
    }
    const char *value = line + n + 1, *end = line + length;
    while (value < end && (*value == ' ' || *value == '\t')) {
        value++;
    }
    while (end > value && strchr(" \t\r\n", end[-1]) != NULL) {
        end--;
    }
    *ret = value;
    *ret_length = (size_t) (end - value);
    return true;
}

static void
header_copy(char *ret, size_t capacity, const char *value, size_t length)
{
    if (length >= capacity || memchr(value, '\0', length) != NULL) {
        length = 0;
    }
    memcpy(ret, value, length);
    ret[length] = '\0';
}

/* Seconds, or a date; what is neither is no wish at all. */
static int64_t
header_retry_after(const char *value, size_t length)
{
    char text[64];
    header_copy(text, sizeof text, value, length);
    int64_t seconds = -1;
    if (text[0] != '\0' && strspn(text, "0123456789") == strlen(text)) {
        return ctr_parse_int(text, 0, INT64_MAX, &seconds) == 0 ? seconds : INT64_MAX;
    }
    time_t when = curl_getdate(text, NULL);
    time_t now = time(NULL);
    return when > 0 && text[0] != '-' ? (when > now ? when - now : 0) : -1;
}

static void
header_add_challenge(struct http_response *response, const char *value, size_t length)
{
    size_t have = strlen(response->challenges);
    if (have + length + 2 < sizeof response->challenges &&
        memchr(value, '\0', length) == NULL) {
        memcpy(response->challenges + have, value, length);
        memcpy(response->challenges + have + length, "\n", 2);
    }
}

static size_t
on_header(char *line, size_t one, size_t length, void *arg)
{
    struct http_transfer *transfer = arg;
    struct http_response *response = transfer->response;
    const char *value = NULL;
    size_t n = 0;
    char number[32];
    if (length > 5 && strncmp(line, "HTTP/", 5) == 0) {
        http_response_clear(response); /* a new answer, after a 100 or a proxy's own */
        const char *space = memchr(line, ' ', length);
        response->status = space != NULL ? strtol(space, NULL, 10) : 0;
    } else if (header_is(line, length, "Content-Type", &value, &n)) {
        const char *semicolon = memchr(value, ';', n);
        n = semicolon != NULL ? (size_t) (semicolon - value) : n;
        while (n > 0 && value[n - 1] == ' ') {
            n--;
        }
        header_copy(response->content_type, sizeof response->content_type, value, n);
    } else if (header_is(line, length, "Location", &value, &n)) {
        header_copy(response->location, sizeof response->location, value, n);
    } else if (header_is(line, length, "WWW-Authenticate", &value, &n)) {
        header_add_challenge(response, value, n);
    } else if (header_is(line, length, "Docker-Content-Digest", &value, &n)) {
        header_copy(response->digest, sizeof response->digest, value, n);
    } else if (header_is(line, length, "Retry-After", &value, &n)) {
        response->retry_after = header_retry_after(value, n);
    } else if (header_is(line, length, "Content-Range", &value, &n) && n > 6 &&
               strncasecmp(value, "bytes ", 6) == 0) {
        header_copy(number, sizeof number, value + 6, strcspn(value + 6, "-"));
        (void) ctr_parse_int(number, 0, INT64_MAX, &response->range_start);
    } else if (header_is(line, length, "Content-Length", &value, &n)) {
        header_copy(number, sizeof number, value, n);
        (void) ctr_parse_int(number, 0, INT64_MAX, &response->length);
    }
    return length * one;
}

/* --- body --- */

static size_t
on_body(char *bytes, size_t one, size_t length, void *arg)
{
    struct http_transfer *transfer = arg;
    const struct http_call *call = transfer->call;
    struct http_response *response = transfer->response;
    if (call->sink != NULL && (response->status == 200 || response->status == 206)) {
        int rc = 0;
        if (!transfer->begun && call->begin != NULL) {
            transfer->begun = true;
            rc = call->begin(call->arg, response, &transfer->inner);
        }
        if (rc == 0) {
            rc = call->sink(call->arg, bytes, length, &transfer->inner);
        }
        return rc == 0 ? length * one : 0;
    }
    bool good = response->status >= 200 && response->status < 300;
    size_t max = good ? call->max : IMAGE_MAX_BODY;
    if (length > max - response->body.length) {
        (void) ctr_fail(&transfer->inner, -EFBIG, "the answer is larger than %zu KiB",
                        max >> 10);
        return 0;
    }
    ctr_buf_add(&response->body, bytes, length);
    if (response->body.failed) {
        (void) ctr_fail(&transfer->inner, -ENOMEM, "out of memory");
        return 0;
    }
    return length * one;
}

/* --- sockets --- */

/* 169.254.0.0/16, fe80::/10, also in IPv4-mapped form: cloud machines' own secrets are served there. */
static bool
address_is_link_local(const struct sockaddr *address)
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

static curl_socket_t
on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_transfer *transfer = arg;
    if (transfer->redirected && address_is_link_local(&address->addr)) {
        transfer->refused_address = true;
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    return op_track_socket(transfer->op, fd) ? fd : CURL_SOCKET_BAD;
}

static int
on_socket_close(void *arg, curl_socket_t fd)
{
    struct image_op *op = arg; /* a kept connection outlives its transfer */
    op_untrack_socket(op, fd);
    return close(fd);
}

static int
on_progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up)
{
    struct http_transfer *transfer = arg;
    return op_cancelled(transfer->op) ? 1 : 0;
}

/* --- one request --- */

/* Says what went wrong below HTTP, and whether another try may help. */
static int
http_fail(struct http_transfer *transfer, CURLcode status, const char *detail,
          const struct origin *origin)
{
    struct ctr_error *err = transfer->err;
    if (op_cancelled(transfer->op)) {
        return op_fail_cancelled(err);
    }
    if (transfer->inner.code < 0) {
        return ctr_fail(err, transfer->inner.code, "%s", transfer->inner.msg);
    }
    if (transfer->refused_address) {
        return ctr_fail(err, -EPERM, "redirected to %s, which is a link-local address: refused",
                        origin->host);
    }
    switch (status) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return ctr_fail(err, -EHOSTUNREACH,
                        "the name %s is not known; check the spelling and the network",
                        origin->host);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return ctr_fail(
            err, -EPERM,
            "the certificate of %s is not trusted (%s); name its CA with ca = FILE in "
            "[registry.host \"%s:%s\"]",
            origin->host, detail, origin->host, origin->port);
    case CURLE_OUT_OF_MEMORY:
        return ctr_fail(err, -ENOMEM, "out of memory");
    case CURLE_SSL_CONNECT_ERROR:
        return ctr_fail(err, -EPROTO, "%s:%s does not speak TLS as it should (%s)",
                        origin->host, origin->port, detail);
    default:
        break;
    }
    bool refused = status == CURLE_COULDNT_CONNECT && transfer->os_error == ECONNREFUSED;
    transfer->response->retry = !refused;
    if (refused) {
        return ctr_fail(err, -ECONNREFUSED,
                        "nothing listens at %s:%s; is the registry running?", origin->host,
                        origin->port);
    }
    return ctr_fail(err, -EIO, "%s:%s: %s", origin->host, origin->port, detail);
}

static bool
http_set_limits(CURL *curl, struct http_transfer *transfer, const struct origin *origin)
{
    const struct http_limits *limits = &transfer->op->images->limits;
    const struct ctr_conf_host *settings = origin_settings(transfer->op->images->conf, origin);
    bool ok = curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
    ok =
        ok && curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, limits->connect_ms) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, limits->stall_s) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, limits->stall_rate) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_TIMEOUT, transfer->call->total_s) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L << 10) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_HTTP_CONTENT_DECODING, 0L) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) == CURLE_OK;
    ok =
        ok && curl_easy_setopt(curl, CURLOPT_HEADEROPT, (long) CURLHEADER_SEPARATE) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_USERAGENT, "ctr/" CTR_VERSION) == CURLE_OK;
    if (ok && settings != NULL && settings->ca[0] != '\0') {
        ok = curl_easy_setopt(curl, CURLOPT_CAINFO, settings->ca) == CURLE_OK;
    }
    if (ok && origin_is_loopback(origin->host)) {
        ok = curl_easy_setopt(curl, CURLOPT_NOPROXY, "*") == CURLE_OK;
    }
    return ok;
}

static bool
http_set_callbacks(CURL *curl, struct http_transfer *transfer)
{
    bool ok = curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_socket) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, transfer) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_CLOSESOCKETFUNCTION, on_socket_close) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_CLOSESOCKETDATA, transfer->op) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_XFERINFODATA, transfer) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L) == CURLE_OK;
    return ok;
}

static bool
http_set_call(CURL *curl, const struct http_call *call, const char *url,
              const struct secret *secret, struct curl_slist **headers)
{
    CTR_AUTO(free)
    char *accept = ctr_printf("Accept: %s", call->accept != NULL ? call->accept : "*/*");
    struct secret *authorization =
        secret != NULL ? secret_join("Authorization: ", secret_text(secret)) : NULL;
    struct curl_slist *list = accept != NULL ? curl_slist_append(NULL, accept) : NULL;
    bool ok = list != NULL && (secret == NULL || authorization != NULL);
    if (ok && authorization != NULL) {
        ok = curl_slist_append(list, secret_text(authorization)) != NULL;
    }
    secret_destroy(authorization);
    *headers = list;
    ok = ok && curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list) == CURLE_OK;
    if (ok && call->offset > 0) {
        char range[32];
        (void) snprintf(range, sizeof range, "%llu-", (unsigned long long) call->offset);
        ok = curl_easy_setopt(curl, CURLOPT_RANGE, range) == CURLE_OK;
    }
    if (ok && call->post != NULL) {
        ok = curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, call->post) == CURLE_OK;
    }
    return ok;
}

static void
headers_free(struct curl_slist *headers)
{
    for (struct curl_slist *at = headers; at != NULL; at = at->next) {
        secret_wipe(at->data, strlen(at->data));
    }
    curl_slist_free_all(headers);
}

/* One request and its answer, redirects included as answers. */
static int
http_once(struct http_transfer *transfer, const char *url, const struct origin *origin,
          const struct secret *secret)
{
    char detail[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    CURL *curl = op_take_curl(transfer->op);
    if (curl == NULL) {
        return ctr_fail(transfer->err, -ENOMEM, "out of memory");
    }
    int rc = 0;
    http_response_clear(transfer->response);
    if (!http_set_limits(curl, transfer, origin) || !http_set_callbacks(curl, transfer) ||
        !http_set_call(curl, transfer->call, url, secret, &headers) ||
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail) != CURLE_OK) {
        rc = ctr_fail(transfer->err, -ENOMEM, "libcurl takes no more options");
    } else {
        CURLcode status = curl_easy_perform(curl);
        if (status != CURLE_OK) {
            (void) curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &transfer->os_error);
            rc = http_fail(transfer, status,
                           detail[0] != '\0' ? detail : curl_easy_strerror(status), origin);
        }
    }
    op_give_curl(transfer->op, curl, rc == 0);
    headers_free(headers);
    return rc;
}

/* Where a redirect leads, if it may: a new URL and its origin. */
static int
http_redirect(struct http_transfer *transfer, const char *from,
              const struct origin *from_origin, char **ret_url, struct origin *ret_origin)
{
    struct ctr_error *err = transfer->err;
    CTR_AUTO(free) char *url = origin_resolve(from, transfer->response->location, err);
    int rc = url != NULL ? origin_parse(url, ret_origin, err) : err->code;
    if (rc == 0 && strcmp(from_origin->scheme, "https") == 0 &&
        strcmp(ret_origin->scheme, "https") != 0) {
        rc = ctr_fail(err, -EPERM, "redirect from https to plain http refused");
    }
    if (rc == 0) {
        rc = origin_check_plain(transfer->op->images->conf, ret_origin, err);
    }
    if (rc < 0) {
        return ctr_prefix(err, "redirect by %s:%s", from_origin->host, from_origin->port);
    }
    transfer->redirected = transfer->redirected || !origin_same(from_origin, ret_origin);
    *ret_url = ctr_steal(&url);
    return 0;
}

static bool
http_is_redirect(const struct http_response *response)
{
    long status = response->status;
    return (status == 301 || status == 302 || status == 303 || status == 307 ||
            status == 308) &&
           response->location[0] != '\0';
}

/* The answer to a secret that stayed at home: without it, the target may want one of its own. */
static int
http_check_foreign(const struct http_transfer *transfer, const struct origin *origin)
{
    if (transfer->redirected && transfer->response->status == 401) {
        return ctr_fail(
            transfer->err, -EACCES,
            "redirected to %s:%s, which asks for a login; credentials are not sent there",
            origin->host, origin->port);
    }
    return 0;
}

int
http_request(struct image_op *op, const struct http_call *call, struct http_response *response,
             struct ctr_error *err)
{
    struct http_transfer transfer = {
        .op = op,
        .call = call,
        .response = response,
        .err = err,
        .inner = CTR_ERROR_INIT,
        .redirected = call->anonymous, /* an image's document led here */
    };
    struct origin home, at;
    int rc = origin_parse(call->url, &home, err);
    if (rc == 0) {
        rc = origin_check_plain(op->images->conf, &home, err);
    }
    CTR_AUTO(free) char *url = rc == 0 ? strdup(call->url) : NULL;
    if (url == NULL) {
        return rc < 0 ? rc : ctr_fail(err, -ENOMEM, "out of memory");
    }
    at = home;
    for (int hops = 0;; hops++) {
        bool is_home = !transfer.redirected && origin_same(&home, &at);
        rc = http_once(&transfer, url, &at, is_home ? call->secret : NULL);
        if (rc < 0 || call->no_redirects || !http_is_redirect(response)) {
            return rc < 0 ? rc : http_check_foreign(&transfer, &at);
        }
        if (hops == HTTP_MAX_REDIRECTS) {
            return ctr_fail(err, -ELOOP, "%s:%s redirects more than %d times", home.host,
                            home.port, HTTP_MAX_REDIRECTS);
        }
        char *next = NULL;
        struct origin next_origin;
        rc = http_redirect(&transfer, url, &at, &next, &next_origin);
        if (rc < 0) {
            return rc;
        }
        free(url);
        url = next;
        at = next_origin;
    }
}
