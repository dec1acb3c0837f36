/*
 * core/base's small parsers, by the first byte: JSON, sizes, numbers, times, signals, names, and what makes text printable.
 */
#include "core/base/base.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
fuzz_json(const char *text, size_t size)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *json = ctr_json_parse(text, size, 1 << 16, "fuzz", &err);
    if (json == NULL) {
        assert(err.code < 0 && ctr_starts_with(err.msg, "fuzz: "));
        return;
    }
    /* what was taken can be written and read again */
    CTR_AUTO(free) char *again = ctr_json_text(json);
    assert(again != NULL);
    CTR_AUTO(json) json_t *twice = ctr_json_parse(again, strlen(again), 1 << 20, "fuzz", &err);
    assert(twice != NULL && json_equal(json, twice));
    free(ctr_json_argv(json));
}

static void
fuzz_numbers(const char *text)
{
    int64_t n = -1;
    uint64_t bytes;
    char shown[40];
    if (ctr_parse_int(text, -5, 1000, &n) == 0) {
        assert(n >= -5 && n <= 1000);
    }
    if (ctr_parse_size(text, &bytes) == 0) {
        assert(strlen(ctr_format_size(bytes, shown)) < 16);
    }
    if (ctr_parse_time(text, &n) == 0) {
        int64_t again;
        assert(n == 0 || ctr_parse_time(ctr_format_time(n, shown), &again) != 0 || again == n);
    }
    int signal = ctr_signal_number(text);
    assert(signal == -EINVAL || (signal >= 1 && signal <= 64));
}

static void
fuzz_words(const char *text)
{
    static const char *const words[] = {"memory", "cpus", "a", "", NULL};
    CTR_AUTO(free) char *printable = ctr_printable(text);
    assert(printable != NULL && ctr_is_utf8(printable, strlen(printable)));
    for (const char *at = printable; *at != '\0'; at++) {
        assert((unsigned char) *at >= 0x20 && *at != 0x7f);
    }
    (void) ctr_nearest(text, words);
    if (ctr_is_name(text)) {
        assert(strlen(text) <= 128 && strchr(text, '/') == NULL);
    }
    if (ctr_is_digest(text)) {
        assert(strlen(text) == 71);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    CTR_AUTO(free) char *text = strndup((const char *) data + 1, size - 1);
    assert(text != NULL);
    switch (data[0] % 3) {
    case 0:
        fuzz_json((const char *) data + 1, size - 1);
        break;
    case 1:
        fuzz_numbers(text);
        break;
    default:
        fuzz_words(text);
    }
    return 0;
}
