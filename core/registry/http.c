/*
 * One HTTP request over libcurl's easy interface, with its redirects followed by hand: curl would drop Authorization on
 * another host but take other headers along, and would follow to places that we refuse.
 *
 * Every request has limits for connecting, stalling and the whole; a body is bounded or goes to a sink that bounds it; a
 * cancel shuts the socket, so that curl returns at once whatever it waits for.
 */
#include "core/registry/registry-priv.h"
#include <curl/curl.h>
#include <sys/socket.h>

#define HTTP_MAX_REDIRECTS 10

struct http_exchange {
    struct ctr_transfer *transfer;
    const struct ctr_http_call *call;
    struct ctr_http_response *response;
    struct ctr_error *err;
    struct ctr_error inner; /* what a callback refused */
    bool begun, redirected, refused_address;
    uint64_t sent; /* of the body */
    long os_error; /* of a connection that failed */
};

void
ctr_http_response_clear(struct ctr_http_response *response)
{
    ctr_buf_clear(&response->body);
    memset(response, 0, sizeof *response);
    response->length = response->range_start = response->retry_after = -1;
    response->upload_last = response->chunk_min = -1;
    response->rate_limit = response->rate_left = -1;
}

static size_t
on_header(char *line, size_t one, size_t length, void *arg)
{
    struct http_exchange *exchange = arg;
    struct ctr_http_response *response = exchange->response;
    if (length > 5 && strncmp(line, "HTTP/", 5) == 0) {
        ctr_http_response_clear(response); /* a new answer, after a 100 or a proxy's own */
        const char *space = memchr(line, ' ', length);
        response->status = space != NULL ? strtol(space, NULL, 10) : 0;
    } else {
        header_take(response, line, length);
    }
    return length * one;
}

/* --- body --- */

static size_t
on_body(char *bytes, size_t one, size_t length, void *arg)
{
    struct http_exchange *exchange = arg;
    const struct ctr_http_call *call = exchange->call;
    struct ctr_http_response *response = exchange->response;
    if (call->sink != NULL && (response->status == 200 || response->status == 206)) {
        int rc = 0;
        if (!exchange->begun && call->begin != NULL) {
            exchange->begun = true;
            rc = call->begin(call->arg, response, &exchange->inner);
        }
        if (rc == 0) {
            rc = call->sink(call->arg, bytes, length, &exchange->inner);
        }
        return rc == 0 ? length * one : 0;
    }
    bool good = response->status >= 200 && response->status < 300;
    size_t max = good ? call->max : CTR_MAX_ANSWER;
    if (length > max - response->body.length) {
        (void) ctr_fail(&exchange->inner, -EFBIG, "the answer is larger than %zu KiB",
                        max >> 10);
        return 0;
    }
    ctr_buf_add(&response->body, bytes, length);
    if (response->body.failed) {
        (void) ctr_fail(&exchange->inner, -ENOMEM, "out of memory");
        return 0;
    }
    return length * one;
}

/* What goes up. */
static size_t
on_read(char *ret, size_t one, size_t capacity, void *arg)
{
    struct http_exchange *exchange = arg;
    const struct ctr_http_body *body = exchange->call->body;
    uint64_t left = body->length - exchange->sent;
    size_t n = left < capacity * one ? (size_t) left : capacity * one;
    if (body->bytes != NULL) {
        memcpy(ret, (const char *) body->bytes + exchange->sent, n);
    } else if (n > 0) {
        ssize_t got = pread(body->fd, ret, n, (off_t) (body->offset + exchange->sent));
        if (got <= 0) {
            (void) ctr_fail(&exchange->inner, got < 0 ? -errno : -EIO, "read what goes up: %s",
                            got < 0 ? strerror(errno) : "the file is too short");
            return CURL_READFUNC_ABORT;
        }
        n = (size_t) got;
    }
    exchange->sent += n;
    if (body->sent != NULL) {
        body->sent(body->arg, exchange->sent);
    }
    return n;
}

/* curl sends anew what a connection that was closed meanwhile has swallowed. */
static int
on_seek(void *arg, curl_off_t offset, int from)
{
    struct http_exchange *exchange = arg;
    if (from != SEEK_SET || offset < 0 || (uint64_t) offset > exchange->call->body->length) {
        return CURL_SEEKFUNC_CANTSEEK;
    }
    exchange->sent = (uint64_t) offset;
    return CURL_SEEKFUNC_OK;
}

/* --- sockets --- */

static curl_socket_t
on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_exchange *exchange = arg;
    if (exchange->redirected && origin_address_is_link_local(&address->addr)) {
        exchange->refused_address = true;
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    return transfer_track_socket(exchange->transfer, fd) ? fd : CURL_SOCKET_BAD;
}

static int
on_socket_close(void *arg, curl_socket_t fd)
{
    struct ctr_transfer *transfer = arg; /* a kept connection outlives its exchange */
    transfer_untrack_socket(transfer, fd);
    return close(fd);
}

static int
on_progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up)
{
    struct http_exchange *exchange = arg;
    return ctr_transfer_cancelled(exchange->transfer) ? 1 : 0;
}

/* --- one request --- */

/* Says what went wrong below HTTP, and whether another try may help. */
static int
http_fail(struct http_exchange *exchange, CURLcode status, const char *detail,
          const struct origin *origin)
{
    struct ctr_error *err = exchange->err;
    if (ctr_transfer_cancelled(exchange->transfer)) {
        return ctr_fail_cancelled(err);
    }
    if (exchange->inner.code < 0) {
        return ctr_fail(err, exchange->inner.code, "%s", exchange->inner.msg);
    }
    if (exchange->refused_address) {
        return ctr_fail(err, -EPERM, "redirected to %s, which is a link-local address: refused",
                        origin->host);
    }
    switch (status) {
    case CURLE_COULDNT_RESOLVE_PROXY:
        return ctr_fail(err, -EHOSTUNREACH,
                        "the name of the proxy for %s is not known; check https_proxy and "
                        "http_proxy, or proxy in [registry.host \"%s\"]",
                        origin->host, origin->host);
    case CURLE_SSL_CERTPROBLEM:
        return ctr_fail(err, -EPERM,
                        "the client certificate for %s:%s cannot be used (%s); check "
                        "client_cert and client_key in [registry.host \"%s:%s\"]",
                        origin->host, origin->port, detail, origin->host, origin->port);
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
    bool refused = status == CURLE_COULDNT_CONNECT && exchange->os_error == ECONNREFUSED;
    exchange->response->retry = !refused;
    if (refused) {
        return ctr_fail(err, -ECONNREFUSED,
                        "nothing listens at %s:%s; is the registry running?", origin->host,
                        origin->port);
    }
    return ctr_fail(err, -EIO, "%s:%s: %s", origin->host, origin->port, detail);
}

static bool
http_set_limits(CURL *curl, struct http_exchange *exchange, const struct origin *origin)
{
    const struct ctr_http_limits *limits = &exchange->transfer->client->limits;
    bool ok = curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
    ok =
        ok && curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, limits->connect_ms) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, limits->stall_s) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, limits->stall_rate) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_TIMEOUT, exchange->call->total_s) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L << 10) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS) ==
                   CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_HTTP_CONTENT_DECODING, 0L) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) == CURLE_OK;
    ok =
        ok && curl_easy_setopt(curl, CURLOPT_HEADEROPT, (long) CURLHEADER_SEPARATE) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_USERAGENT, "ctr/" CTR_VERSION) == CURLE_OK;
    return ok;
}

/* This machine is asked without one; a proxy in the profile holds whatever no_proxy says. */
static bool
http_set_proxy(CURL *curl, const struct ctr_conf_host *settings, const struct origin *origin)
{
    if (origin_is_loopback(origin->host)) {
        return curl_easy_setopt(curl, CURLOPT_NOPROXY, "*") == CURLE_OK;
    }
    return settings == NULL || settings->proxy[0] == '\0' ||
           (curl_easy_setopt(curl, CURLOPT_PROXY, settings->proxy) == CURLE_OK &&
            curl_easy_setopt(curl, CURLOPT_NOPROXY, "") == CURLE_OK);
}

/* What the profile says of this host: whom we trust, and who we are to it. */
static bool
http_set_host(CURL *curl, const struct ctr_conf_host *settings)
{
    const struct {
        CURLoption option;
        const char *text;
    } all[] = {
        {CURLOPT_CAINFO, settings->ca},
        {CURLOPT_SSLCERT, settings->client_cert},
        {CURLOPT_SSLKEY, settings->client_key},
    };
    bool ok = true;
    for (size_t i = 0; ok && i < CTR_LENGTH(all); i++) {
        ok = all[i].text[0] == '\0' ||
             curl_easy_setopt(curl, all[i].option, all[i].text) == CURLE_OK;
    }
    return ok;
}

static bool
http_set_callbacks(CURL *curl, struct http_exchange *exchange)
{
    bool ok = curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_HEADERDATA, exchange) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_socket) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, exchange) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_CLOSESOCKETFUNCTION, on_socket_close) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_CLOSESOCKETDATA, exchange->transfer) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_XFERINFODATA, exchange) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L) == CURLE_OK;
    return ok;
}

static bool
http_set_body(CURL *curl, struct http_exchange *exchange)
{
    curl_off_t length = (curl_off_t) exchange->call->body->length;
    bool ok = curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, length) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_READDATA, exchange) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_seek) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_SEEKDATA, exchange) == CURLE_OK;
    return ok;
}

/* The method, and what goes up. */
static bool
http_set_method(CURL *curl, struct http_exchange *exchange)
{
    const char *method = exchange->call->method;
    if (method == NULL) {
        return true;
    }
    if (strcmp(method, "HEAD") == 0) {
        return curl_easy_setopt(curl, CURLOPT_NOBODY, 1L) == CURLE_OK;
    }
    return (exchange->call->body == NULL || http_set_body(curl, exchange)) &&
           curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK;
}

/* name and value as one more header; wiped again by headers_free. */
static bool
headers_add(struct curl_slist **headers, const char *name, const char *value)
{
    struct secret *line = secret_join(name, value);
    struct curl_slist *longer =
        line != NULL ? curl_slist_append(*headers, secret_text(line)) : NULL;
    secret_destroy(line);
    *headers = longer != NULL ? longer : *headers;
    return longer != NULL;
}

static bool
http_set_call(CURL *curl, struct http_exchange *exchange, const char *url,
              const struct secret *secret, struct curl_slist **headers)
{
    const struct ctr_http_call *call = exchange->call;
    const struct ctr_http_body *body = call->body;
    bool ok = headers_add(headers, "Accept: ", call->accept != NULL ? call->accept : "*/*");
    ok = ok && (secret == NULL || headers_add(headers, "Authorization: ", secret_text(secret)));
    ok = ok && (body == NULL || headers_add(headers, "Content-Type: ", body->type));
    ok = ok && (body == NULL || body->range == NULL ||
                headers_add(headers, "Content-Range: ", body->range));
    ok = ok && curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK;
    ok = ok && curl_easy_setopt(curl, CURLOPT_HTTPHEADER, *headers) == CURLE_OK;
    if (ok && call->offset > 0) {
        char range[32];
        (void) snprintf(range, sizeof range, "%llu-", (unsigned long long) call->offset);
        ok = curl_easy_setopt(curl, CURLOPT_RANGE, range) == CURLE_OK;
    }
    return ok && http_set_method(curl, exchange);
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
http_once(struct http_exchange *exchange, const char *url, const struct origin *origin,
          const struct secret *secret)
{
    char detail[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    CURL *curl = transfer_take_curl(exchange->transfer);
    if (curl == NULL) {
        return ctr_fail(exchange->err, -ENOMEM, "out of memory");
    }
    int rc = 0;
    const struct ctr_conf_host *settings =
        origin_settings(exchange->transfer->client->conf, origin);
    ctr_http_response_clear(exchange->response);
    exchange->sent = 0;
    if (!http_set_limits(curl, exchange, origin) || !http_set_callbacks(curl, exchange) ||
        (settings != NULL && !http_set_host(curl, settings)) ||
        !http_set_proxy(curl, settings, origin) ||
        !http_set_call(curl, exchange, url, secret, &headers) ||
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail) != CURLE_OK) {
        rc = ctr_fail(exchange->err, -ENOMEM, "libcurl takes no more options");
    } else {
        CURLcode status = curl_easy_perform(curl);
        if (status != CURLE_OK) {
            (void) curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &exchange->os_error);
            rc = http_fail(exchange, status,
                           detail[0] != '\0' ? detail : curl_easy_strerror(status), origin);
        }
    }
    transfer_give_curl(exchange->transfer, curl, rc == 0);
    headers_free(headers);
    return rc;
}

int
http_check_onward(const struct ctr_conf *conf, const struct origin *from,
                  const struct origin *to, struct ctr_error *err)
{
    if (strcmp(from->scheme, "https") == 0 && strcmp(to->scheme, "https") != 0) {
        return ctr_fail(err, -EPERM, "from https to plain http: refused");
    }
    if (!origin_same(from, to) && origin_is_link_local(to->host)) {
        return ctr_fail(err, -EPERM, "%s is a link-local address: refused", to->host);
    }
    return origin_check_plain(conf, to, err);
}

/* Where a redirect leads, if it may: a new URL and its origin. */
static int
http_redirect(struct http_exchange *exchange, const char *from,
              const struct origin *from_origin, char **ret_url, struct origin *ret_origin)
{
    struct ctr_error *err = exchange->err;
    const char *method = exchange->call->method;
    long status = exchange->response->status;
    CTR_AUTO(free) char *url = origin_resolve(from, exchange->response->location, err);
    int rc = url != NULL ? origin_parse(url, ret_origin, err) : err->code;
    if (rc == 0 && method != NULL && strcmp(method, "HEAD") != 0 && status != 307 &&
        status != 308) {
        rc = ctr_fail(err, -EPROTO, "%ld to a %s, which would lose what is sent", status,
                      method);
    }
    if (rc == 0) {
        rc = http_check_onward(exchange->transfer->client->conf, from_origin, ret_origin, err);
    }
    if (rc < 0) {
        return ctr_prefix(err, "redirect by %s:%s", from_origin->host, from_origin->port);
    }
    exchange->redirected = exchange->redirected || !origin_same(from_origin, ret_origin);
    *ret_url = ctr_steal(&url);
    return 0;
}

static bool
http_is_redirect(const struct ctr_http_response *response)
{
    long status = response->status;
    return (status == 301 || status == 302 || status == 303 || status == 307 ||
            status == 308) &&
           response->location[0] != '\0';
}

/* The answer to a secret that stayed at home: without it, the target may want one of its own. */
static int
http_check_foreign(const struct http_exchange *exchange, const struct origin *origin)
{
    if (exchange->redirected && exchange->response->status == 401) {
        return ctr_fail(
            exchange->err, -EACCES,
            "redirected to %s:%s, which asks for a login; credentials are not sent there",
            origin->host, origin->port);
    }
    return 0;
}

int
http_request(struct ctr_transfer *transfer, const struct ctr_http_call *call,
             struct ctr_http_response *response, struct ctr_error *err)
{
    struct http_exchange exchange = {
        .transfer = transfer,
        .call = call,
        .response = response,
        .err = err,
        .inner = CTR_ERROR_INIT,
        .redirected = call->anonymous, /* an image's document led here */
    };
    struct origin home, at;
    int rc = origin_parse(call->url, &home, err);
    if (rc == 0) {
        rc = origin_check_plain(transfer->client->conf, &home, err);
    }
    CTR_AUTO(free) char *url = rc == 0 ? strdup(call->url) : NULL;
    if (url == NULL) {
        return rc < 0 ? rc : ctr_fail(err, -ENOMEM, "out of memory");
    }
    at = home;
    for (int hops = 0;; hops++) {
        bool is_home = !exchange.redirected && origin_same(&home, &at);
        rc = http_once(&exchange, url, &at, is_home ? call->secret : NULL);
        if (rc < 0 || call->no_redirects || !http_is_redirect(response)) {
            return rc < 0 ? rc : http_check_foreign(&exchange, &at);
        }
        if (hops == HTTP_MAX_REDIRECTS) {
            return ctr_fail(err, -ELOOP, "%s:%s redirects more than %d times", home.host,
                            home.port, HTTP_MAX_REDIRECTS);
        }
        char *next = NULL;
        struct origin next_origin;
        rc = http_redirect(&exchange, url, &at, &next, &next_origin);
        if (rc < 0) {
            return rc;
        }
        free(url);
        url = next;
        at = next_origin;
    }
}
