/*
 * What ctrctl makes of an answer's bytes: head, chunks, JSON, JSON lines, stream frames; and of a --format template. The first byte chooses.
 */
#include "core/cmd/session.h"
#include "core/cmd/show.h"
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
reply(const uint8_t *data, size_t size, bool lines)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) {
        return;
    }
    (void) !send(ends[1], data, size < 65536 ? size : 65536, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void) close(ends[1]);
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(http) struct ctl_http http = CTL_HTTP_INIT;
    http.fd = ends[0];
    if (ctl_http_head(&http, 1000, &err) < 0) {
        return;
    }
    if (!lines) {
        json_decref(ctl_http_json(&http, 1000, &err));
        return;
    }
    CTR_AUTO(buf) struct ctr_buf line = {0};
    json_t *message;
    while (ctl_http_line(&http, &line, 1000, &message, &err) == 1) {
        json_decref(message);
    }
}

static void
frames(const char *bytes, size_t size)
{
    struct ctl_frames all = {.framed = true};
    const char *piece;
    size_t at = 0, n, total = 0;
    while (ctl_frames_next(&all, bytes, &at, size, 64, &piece, &n) == 1) {
        total += n;
        if (n == 0 || n > 64 || piece < bytes || piece + n > bytes + size) {
            abort();
        }
    }
    if (total > size) {
        abort();
    }
}

static void template(const char *bytes, size_t size)
{
    static const char document[] = "{\"A\":{\"B\":[1,\"x\",null,true,1.5]},\"C\":\"\\u001b\"}";
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *text = strndup(bytes, size < 4096 ? size : 4096);
    CTR_AUTO(json)
    json_t *dot = ctr_json_parse(document, strlen(document), 4096, "document", &err);
    CTR_AUTO(buf) struct ctr_buf out = {0};
    if (text != NULL && dot != NULL) {
        (void) ctl_template(text, dot, true, &out, &err);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    switch (data[0] % 4) {
    case 0:
        reply(data + 1, size - 1, false);
        break;
    case 1:
        reply(data + 1, size - 1, true);
        break;
    case 2:
        frames((const char *) data + 1, size - 1);
        break;
    default:
        template((const char *) data + 1, size - 1);
    }
    return 0;
}
