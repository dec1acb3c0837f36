/*
 * nftables, by its library: texts in, texts out. All that stands in a text is made of numbers, names of ours and the kernel's, so that nothing
 * has to be quoted. One text is one transaction.
 */
#include "bridge-priv.h"
#include <arpa/inet.h>
#include <errno.h>
#include <nftables/libnftables.h>
#include <stdarg.h>
#include <stdlib.h>

void
br_text_init(struct br_text *text)
{
    *text = (struct br_text){0};
    text->file = open_memstream(&text->bytes, &text->length);
}

void
br_text_add(struct br_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (text->file != NULL) {
        (void) vfprintf(text->file, format, args);
    }
    va_end(args);
}

/* "/dev/stdin:1:2-3: Error: Could not process rule: No such file or directory" is of use from "Error: " on. */
static int
explain(const struct br *br, struct ctr_error *err)
{
    int code = errno == EPERM ? -EPERM : -EIO;
    const char *said = nft_ctx_get_error_buffer(br->nft);
    const char *error = said == NULL ? NULL : strstr(said, "Error: ");
    const char *line = error == NULL ? "no reason was given" : error + strlen("Error: ");
    return ctr_fail(err, code, "network %s: the kernel refuses a rule of table ctr-%s: %.*s",
                    br->name, br->hex, (int) strcspn(line, "\n"), line);
}

int
br_text_run(const struct br *br, struct br_text *text, struct ctr_error *err)
{
    bool whole = text->file != NULL && ferror(text->file) == 0;
    whole = text->file != NULL && fclose(text->file) == 0 && whole;
    int code = 0;
    if (!whole) {
        code = ctr_fail(err, -ENOMEM, "network %s: out of memory", br->name);
    } else if (nft_run_cmd_from_buffer(br->nft, text->bytes) != 0) {
        code = explain(br, err);
    }
    free(text->bytes);
    *text = (struct br_text){0};
    return code;
}

const char *
br_nft_read(const struct br *br, const char *command)
{
    return nft_run_cmd_from_buffer(br->nft, command) == 0 ? nft_ctx_get_output_buffer(br->nft)
                                                          : NULL;
}

const char *
br_show(const struct ctr_address *address, char text[INET6_ADDRSTRLEN])
{
    const char *shown = inet_ntop(address->family == 6 ? AF_INET6 : AF_INET, address->bytes,
                                  text, INET6_ADDRSTRLEN);
    return shown == NULL ? "?" : shown;
}

struct ctr_address
br_address4(uint32_t address)
{
    struct ctr_address ret = {.family = 4};
    uint32_t bytes = htonl(address);
    memcpy(ret.bytes, &bytes, sizeof bytes);
    return ret;
}

bool
br_same(const struct ctr_address *a, const struct ctr_address *b)
{
    return a->family == b->family &&
           (a->family == 0 || memcmp(a->bytes, b->bytes, a->family == 6 ? 16 : 4) == 0);
}
