/*
 * Headers of an answer, one a line: ranges of downloads and uploads, links to the next page, lengths, Retry-After. Numbers are
 * whole and not negative or left out; where the next page is resolves to an address or is refused.
 */
#include "core/registry/registry-priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void
check_number(int64_t number)
{
    if (number < -1) {
        abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct ctr_http_response response = {.status = 0};
    struct ctr_error err = CTR_ERROR_INIT;
    struct origin origin;
    ctr_http_response_clear(&response);
    for (size_t at = 0; at < length;) {
        const uint8_t *end = memchr(bytes + at, '\n', length - at);
        size_t n = end != NULL ? (size_t) (end - bytes) - at + 1 : length - at;
        header_take(&response, (const char *) bytes + at, n);
        at += n;
    }
    const int64_t numbers[] = {response.length,    response.range_start, response.upload_last,
                               response.chunk_min, response.retry_after, response.rate_limit,
                               response.rate_left};
    for (size_t i = 0; i < CTR_LENGTH(numbers); i++) {
        check_number(numbers[i]);
    }
    const char *const places[] = {response.next, response.location};
    for (size_t i = 0; i < CTR_LENGTH(places); i++) {
        CTR_AUTO(free) char *url = origin_resolve("https://a.example/v2/x", places[i], &err);
        if (url != NULL && origin_parse(url, &origin, &err) == 0 &&
            strcmp(origin.scheme, "https") != 0 && strcmp(origin.scheme, "http") != 0) {
            abort();
        }
    }
    ctr_http_response_clear(&response);
    return 0;
}
