/*
 * table.c: rows in columns, as JSON, or through a template. What comes from outside is escaped before it reaches a terminal.
 */
#include "core/cmd/show.h"

enum { CTL_COLUMNS = 24, CTL_MIN_WIDTH = 10, CTL_GAP = 3 };

/* Characters of UTF-8 text. */
static size_t
width_of(const char *text, size_t length)
{
    size_t width = 0;
    for (size_t i = 0; i < length; i++) {
        width += ((unsigned char) text[i] & 0xc0) != 0x80;
    }
    return width;
}

void
ctl_columns(FILE *out, char *text)
{
    size_t widths[CTL_COLUMNS] = {0};
    for (const char *at = text; *at != '\0';) {
        size_t line = strcspn(at, "\n");
        for (size_t column = 0, from = 0; from <= line; column++) {
            size_t length = strcspn(at + from, "\t\n");
            size_t width = width_of(at + from, length);
            if (column < CTL_COLUMNS && width > widths[column]) {
                widths[column] = width;
            }
            from += length + 1;
        }
        at += line + (at[line] == '\n');
    }
    for (const char *at = text; *at != '\0';) {
        size_t column = 0;
        for (;; column++) {
            size_t length = strcspn(at, "\t\n");
            (void) fwrite(at, 1, length, out);
            if (at[length] != '\t') {
                at += length + (at[length] == '\n');
                break;
            }
            size_t wide = (column < CTL_COLUMNS ? widths[column] : 0) + CTL_GAP;
            wide = wide < CTL_MIN_WIDTH ? CTL_MIN_WIDTH : wide;
            size_t width = width_of(at, length);
            fprintf(out, "%*s", width < wide ? (int) (wide - width) : 1, "");
            at += length + 1;
        }
        (void) fputc('\n', out);
    }
}

char *
ctl_joined(const json_t *object, bool values)
{
    struct ctr_buf buf = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *) object, key, value)
    {
        ctr_buf_printf(&buf, "%s%s", buf.length > 0 ? "," : "", key);
        if (values && json_is_string(value)) {
            ctr_buf_printf(&buf, "=%s", json_string_value(value));
        }
    }
    return buf.length > 0 ? ctr_buf_take(&buf) : strdup("");
}

int
ctl_print_json(FILE *out, const json_t *json, int indent, struct ctr_error *err)
{
    size_t flags = JSON_ENCODE_ANY | (indent > 0 ? JSON_INDENT((size_t) indent) : JSON_COMPACT);
    CTR_AUTO(free) char *text = json_dumps(json, flags);
    if (text == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    /* jansson escapes what is below 0x20; DEL and the C1 controls act on terminals too. */
    for (const unsigned char *p = (const unsigned char *) text; *p != '\0'; p++) {
        if (*p == 0x7f) {
            fputs("\\u007f", out);
        } else if (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f) {
            fprintf(out, "\\u00%02x", *++p);
        } else {
            (void) fputc(*p, out);
        }
    }
    return 0;
}

static int
show_lines(const json_t *rows, const char *format, struct ctr_error *err)
{
    size_t i;
    json_t *row;
    CTR_AUTO(buf) struct ctr_buf text = {0};
    int rc = ctl_template(format, NULL, true, &text, err);
    json_array_foreach((json_t *) rows, i, row)
    {
        if (rc == 0) {
            rc = ctl_template(format, row, isatty(1), &text, err);
            ctr_buf_puts(&text, "\n");
        }
    }
    if (rc == 0 && text.length > 0) {
        (void) fwrite(text.data, 1, text.length, stdout);
    }
    return rc;
}

static int
show_table(const json_t *rows, const struct ctl_column *columns, const char *format,
           struct ctr_error *err)
{
    CTR_AUTO(json) json_t *headings = json_object();
    for (const struct ctl_column *c = columns; c->field != NULL; c++) {
        if (json_object_set_new(headings, c->field, json_string(c->heading)) < 0) {
            return ctr_fail(err, -ENOMEM, "out of memory");
        }
    }
    CTR_AUTO(buf) struct ctr_buf text = {0};
    int rc = ctl_template(format, headings, true, &text, err);
    ctr_buf_puts(&text, "\n");
    size_t i;
    json_t *row;
    json_array_foreach((json_t *) rows, i, row)
    {
        if (rc == 0) {
            rc = ctl_template(format, row, true, &text, err);
            ctr_buf_puts(&text, "\n");
        }
    }
    if (rc == 0) {
        ctl_columns(stdout, text.data);
    }
    return rc;
}

int
ctl_show(const json_t *rows, const struct ctl_column *columns, const char *standard,
         const char *format, struct ctr_error *err)
{
    if (format == NULL || strcmp(format, "table") == 0) {
        return show_table(rows, columns, standard, err);
    }
    if (ctr_starts_with(format, "table ")) {
        return show_table(rows, columns, format + strlen("table "), err);
    }
    if (strcmp(format, "json") != 0) {
        return show_lines(rows, format, err);
    }
    size_t i;
    json_t *row;
    int rc = 0;
    json_array_foreach((json_t *) rows, i, row)
    {
        rc = rc == 0 ? ctl_print_json(stdout, row, 0, err) : rc;
        (void) fputc('\n', stdout);
    }
    return rc;
}

int
ctl_show_document(const json_t *document, const char *format, struct ctr_error *err)
{
    int rc = 0;
    if (format == NULL || strcmp(format, "json") == 0) {
        rc = ctl_print_json(stdout, document, format == NULL ? 4 : 0, err);
        (void) fputc('\n', stdout);
        return rc;
    }
    CTR_AUTO(buf) struct ctr_buf text = {0};
    rc = ctl_template(format, document, isatty(1), &text, err);
    if (rc == 0) {
        ctr_buf_puts(&text, "\n");
        (void) fwrite(text.data, 1, text.length, stdout);
    }
    return rc;
}
