/*
 * The descriptor's lines: comments, key=value, and extents. Only what a disk of flat extents needs is let pass; the extents' files are
 * opened by command.c.
 */
#include "plugins/vmm-qemu/vmdk.h"
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HEADER "# Disk DescriptorFile"
#define SECTORS_MAX (UINT64_C(1) << 53)

struct line {
    const char *at, *end;
    unsigned number;
};

static bool
take_word(struct line *line, const char *word)
{
    size_t n = strlen(word);
    if ((size_t) (line->end - line->at) < n || memcmp(line->at, word, n) != 0) {
        return false;
    }
    line->at += n;
    return true;
}

static bool
take_number(struct line *line, uint64_t *ret)
{
    const char *begin = line->at;
    uint64_t value = 0;
    while (line->at < line->end && isdigit((unsigned char) *line->at)) {
        value = value * 10 + (uint64_t) (*line->at++ - '0');
        if (value > SECTORS_MAX) {
            return false;
        }
    }
    *ret = value;
    return line->at > begin;
}

/* "/absolute/path" in quotes. NULL: there is none, or no memory. */
static char *
take_path(struct line *line)
{
    if (!take_word(line, "\"/")) {
        return NULL;
    }
    const char *begin = line->at - 1;
    const char *quote = memchr(begin, '"', (size_t) (line->end - begin));
    if (quote == NULL || memchr(begin, '\0', (size_t) (quote - begin)) != NULL ||
        quote - begin >= 4096) {
        return NULL;
    }
    line->at = quote + 1;
    return strndup(begin, (size_t) (quote - begin));
}

/* sectors FLAT "path" offset */
static bool
take_extent(struct line *line, struct vmdk *vmdk)
{
    struct vmdk_extent *extent = &vmdk->extents[vmdk->n];
    if (!take_number(line, &extent->sectors) || extent->sectors == 0 ||
        !take_word(line, " FLAT ")) {
        return false;
    }
    extent->path = take_path(line);
    if (extent->path == NULL) {
        return false;
    }
    vmdk->n++;
    vmdk->sectors += extent->sectors;
    return take_word(line, " ") && take_number(line, &extent->offset) &&
           line->at == line->end && vmdk->sectors <= SECTORS_MAX;
}

static bool
is_setting(const struct line *line)
{
    const char *equals = memchr(line->at, '=', (size_t) (line->end - line->at));
    return equals != NULL && equals > line->at && isalpha((unsigned char) *line->at);
}

static int
parse_line(struct line *line, struct vmdk *vmdk, struct ctr_error *err)
{
    if (line->at == line->end || *line->at == '#' || is_setting(line)) {
        return 0;
    }
    if (vmdk->n == VMDK_MAX_EXTENTS) {
        return ctr_fail(err, -E2BIG, "more than %d extents", VMDK_MAX_EXTENTS);
    }
    return take_word(line, "RW ") && take_extent(line, vmdk)
               ? 0
               : ctr_fail(
                     err, -EBADMSG,
                     "line %u is no extent: RW <sectors> FLAT \"<absolute path>\" <offset>",
                     line->number);
}

int
vmdk_parse(const char *text, size_t length, struct vmdk *ret, struct ctr_error *err)
{
    const char *end = text + length;
    struct line line = {.at = text, .end = end};
    *ret = (struct vmdk){0};
    if (!take_word(&line, HEADER "\n")) {
        return ctr_fail(err, -EBADMSG, "it does not begin with \"" HEADER "\"");
    }
    ret->extents = calloc(VMDK_MAX_EXTENTS, sizeof *ret->extents);
    if (ret->extents == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int result = 0;
    const char *next = line.at;
    for (line.number = 2; result == 0 && next < end; line.number++) {
        const char *newline = memchr(next, '\n', (size_t) (end - next));
        line.at = next;
        line.end = newline != NULL ? newline : end;
        next = newline != NULL ? newline + 1 : end;
        result = parse_line(&line, ret, err);
    }
    return result == 0 && ret->n == 0 ? ctr_fail(err, -EBADMSG, "it has no extent") : result;
}

void
vmdk_finish(struct vmdk *vmdk)
{
    for (size_t i = 0; vmdk->extents != NULL && i < vmdk->n; i++) {
        free(vmdk->extents[i].path);
    }
    free(vmdk->extents);
    *vmdk = (struct vmdk){0};
}
