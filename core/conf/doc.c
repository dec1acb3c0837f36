/*
 * The text of a profile, read by inih into sections and pairs with their line numbers.
 *
 * inih gets the text line by line from a reader of ours, since by itself it cuts long lines, section and key names silently, takes
 * an indented line for the continuation of the one before, and forgets empty sections. The reader refuses what inih would get wrong,
 * keeps sections by itself (inih sees only "[s]"), and counts the lines.
 */
#include "core/conf/conf-priv.h"
#include <ctype.h>
#include <ini.h>

#define MAX_TEXT ((size_t) 1 << 20)
#define MAX_SECTIONS 1000
#define MAX_PAIRS 1000

struct reader {
    struct ctr_doc *doc;
    const char *file, *text;
    size_t length, at;
    int line;
    int code; /* the first failure; stops the reading */
    struct ctr_error *err;
};

int
ctr_conf_fail(struct ctr_error *err, int code, const char *file, int line, const char *format,
              ...)
{
    char text[sizeof((struct ctr_error *) 0)->msg];
    va_list args;
    va_start(args, format);
    (void) vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (line == 0) {
        return ctr_fail(err, code, "%.400s: %s", file, text);
    }
    return ctr_fail(err, code, "%.400s:%d: %s", file, line, text);
}

void
ctr_pairs_free(struct ctr_conf_pair *pairs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(pairs[i].key);
        free(pairs[i].value);
    }
    free(pairs);
}

void
ctr_doc_finish(struct ctr_doc *doc)
{
    for (size_t i = 0; i < doc->n_sections; i++) {
        free(doc->sections[i].name);
        ctr_pairs_free(doc->sections[i].pairs, doc->sections[i].n_pairs);
    }
    free(doc->sections);
    *doc = (struct ctr_doc){0};
}

const struct ctr_conf_pair *
ctr_doc_pair(const struct ctr_section *section, const char *key)
{
    for (size_t i = 0; section != NULL && i < section->n_pairs; i++) {
        if (strcmp(section->pairs[i].key, key) == 0) {
            return &section->pairs[i];
        }
    }
    return NULL;
}

static int
out_of_memory(struct reader *r)
{
    return ctr_conf_fail(r->err, -ENOMEM, r->file, r->line, "out of memory");
}

/* Adds a section named by n bytes; two of one name are refused. */
static int
add_section(struct reader *r, const char *name, size_t n)
{
    struct ctr_doc *doc = r->doc;
    for (size_t i = 0; i < doc->n_sections; i++) {
        const char *other = doc->sections[i].name;
        if (strlen(other) == n && memcmp(other, name, n) == 0) {
            return ctr_conf_fail(r->err, -EEXIST, r->file, r->line,
                                 "section [%s] is there already, on line %d: join the two",
                                 other, doc->sections[i].line);
        }
    }
    if (doc->n_sections >= MAX_SECTIONS) {
        return ctr_conf_fail(r->err, -E2BIG, r->file, r->line, "more than %d sections",
                             MAX_SECTIONS);
    }
    struct ctr_section *sections =
        realloc(doc->sections, (doc->n_sections + 1) * sizeof *sections);
    if (sections == NULL) {
        return out_of_memory(r);
    }
    doc->sections = sections;
    char *copy = strndup(name, n);
    if (copy == NULL) {
        return out_of_memory(r);
    }
    sections[doc->n_sections++] = (struct ctr_section){.name = copy, .line = r->line};
    return 0;
}

/* "[name]", perhaps with a comment behind it. `line` is trimmed at its left. */
static int
read_section(struct reader *r, const char *line, size_t n)
{
    const char *end = memchr(line, ']', n);
    if (end == NULL) {
        return ctr_conf_fail(r->err, -EINVAL, r->file, r->line,
                             "section without its closing bracket: write [name]");
    }
    const char *name = line + 1, *rest = end + 1, *stop = line + n;
    while (rest < stop && isspace((unsigned char) *rest)) {
        rest++;
    }
    if (rest < stop && *rest != ';' && *rest != '#') {
        return ctr_conf_fail(r->err, -EINVAL, r->file, r->line,
                             "text behind [%.*s]: put it on a line of its own",
                             (int) (end - name), name);
    }
    while (name < end && isspace((unsigned char) *name)) {
        name++;
    }
    while (end > name && isspace((unsigned char) end[-1])) {
        end--;
    }
    if (name == end) {
        return ctr_conf_fail(r->err, -EINVAL, r->file, r->line, "section without a name");
    }
    return add_section(r, name, (size_t) (end - name));
}

/* What no line may hold, since inih or a reader of the file would be misled. */
static int
check_bytes(struct reader *r, const char *line, size_t n)
{
    if (memchr(line, '\0', n) != NULL) {
        return ctr_conf_fail(r->err, -EINVAL, r->file, r->line,
                             "the line holds a NUL byte: is this a text file?");
    }
    if (!ctr_is_utf8(line, n)) {
        return ctr_conf_fail(r->err, -EILSEQ, r->file, r->line,
                             "the line is not UTF-8: save the file as UTF-8");
    }
    for (size_t i = 0; i < n; i++) {
        if (iscntrl((unsigned char) line[i]) && line[i] != '\t') {
            return ctr_conf_fail(r->err, -EINVAL, r->file, r->line,
                                 "control character 0x%02x in column %zu: remove it",
                                 (unsigned char) line[i], i + 1);
        }
    }
    return 0;
}

static int
check_pair(struct reader *r, const char *line, size_t n, size_t space)
{
    if (r->doc->n_sections == 0) {
        return ctr_conf_fail(r->err, -EINVAL, r->file, r->line,
                             "text before the first section: begin with a line [engine]");
    }
    if (memchr(line, '=', n) == NULL) {
        return ctr_conf_fail(r->err, -EINVAL, r->file, r->line,
                             "neither a [section] nor `key = value`");
    }
    if (n + 2 > space) {
        return ctr_conf_fail(r->err, -E2BIG, r->file, r->line,
                             "line of %zu bytes, at most %zu can be read: shorten it", n,
                             space - 2);
    }
    return 0;
}

/* Takes the next line of the text, trimmed at both ends; false at the end. */
static bool
next_line(struct reader *r, const char **ret, size_t *ret_n)
{
    if (r->at >= r->length) {
        return false;
    }
    const char *line = r->text + r->at, *end = memchr(line, '\n', r->length - r->at);
    size_t n = end == NULL ? r->length - r->at : (size_t) (end - line);
    r->at += n + (end != NULL);
    r->line++;
    if (r->line == 1 && n >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
        line += 3;
        n -= 3;
    }
    while (n > 0 && strchr(" \t\r", line[n - 1]) != NULL && line[n - 1] != '\0') {
        n--;
    }
    while (n > 0 && (*line == ' ' || *line == '\t')) {
        line++;
        n--;
    }
    *ret = line;
    *ret_n = n;
    return true;
}

/* inih's reader: one line into `line`, NULL at the end or after a failure. */
static char *
read_line(char *line, int space, void *stream)
{
    struct reader *r = stream;
    const char *text;
    size_t n;
    if (r->code != 0 || !next_line(r, &text, &n)) {
        return NULL;
    }
    bool comment = n == 0 || *text == ';' || *text == '#';
    r->code = check_bytes(r, text, n);
    if (r->code == 0 && !comment && *text == '[') {
        r->code = read_section(r, text, n);
        text = "[s]";
        n = 3;
    } else if (r->code == 0 && !comment) {
        r->code = check_pair(r, text, n, (size_t) space);
    }
    if (r->code != 0) {
        return NULL;
    }
    n = comment ? 0 : n;
    memcpy(line, text, n);
    memcpy(line + n, "\n", 2);
    return line;
}

static int
add_pair(struct reader *r, struct ctr_section *section, const char *key, const char *value)
{
    struct ctr_conf_pair *pairs =
        realloc(section->pairs, (section->n_pairs + 1) * sizeof *pairs);
    if (pairs == NULL) {
        return out_of_memory(r);
    }
    section->pairs = pairs;
    struct ctr_conf_pair pair = {.key = strdup(key), .value = strdup(value), .line = r->line};
    if (pair.key == NULL || pair.value == NULL) {
        free(pair.key);
        free(pair.value);
        return out_of_memory(r);
    }
    pairs[section->n_pairs++] = pair;
    return 0;
}

static int
take_pair(struct reader *r, const char *key, const char *value)
{
    struct ctr_section *section = &r->doc->sections[r->doc->n_sections - 1];
    const struct ctr_conf_pair *other = ctr_doc_pair(section, key);
    size_t n = strlen(value);
    if (*key == '\0') {
        return ctr_conf_fail(r->err, -EINVAL, r->file, r->line, "value without a key");
    }
    if (other != NULL) {
        return ctr_conf_fail(r->err, -EEXIST, r->file, r->line,
                             "key \"%s\" is given already on line %d: remove one", key,
                             other->line);
    }
    if (n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n - 1] == value[0]) {
        return ctr_conf_fail(r->err, -EINVAL, r->file, r->line,
                             "value of \"%s\" is in quotes: write it without them", key);
    }
    if (section->n_pairs >= MAX_PAIRS) {
        return ctr_conf_fail(r->err, -E2BIG, r->file, r->line, "more than %d keys in [%s]",
                             MAX_PAIRS, section->name);
    }
    return add_pair(r, section, key, value);
}

/* inih's handler: 1 for success. */
static int
on_pair(void *user, const char *section, const char *name, const char *value)
{
    struct reader *r = user;
    if (r->code == 0) {
        r->code = take_pair(r, name, value == NULL ? "" : value);
    }
    return r->code == 0;
}

int
ctr_doc_parse(struct ctr_doc *doc, const char *file, const char *text, size_t length,
              struct ctr_error *err)
{
    if (length > MAX_TEXT) {
        return ctr_fail(err, -EFBIG, "%s: larger than 1 MiB: not a profile", file);
    }
    struct reader r = {.doc = doc, .file = file, .text = text, .length = length, .err = err};
    int result = ini_parse_stream(read_line, &r, on_pair, &r);
    if (r.code != 0) {
        return r.code;
    }
    if (result != 0) {
        bool memory = result == -2;
        return ctr_conf_fail(err, memory ? -ENOMEM : -EINVAL, file, result > 0 ? result : 0,
                             memory ? "out of memory"
                                    : "neither a [section] nor `key = value`");
    }
    return 0;
}
