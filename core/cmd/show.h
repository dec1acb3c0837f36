/*
 * show.h: how lists and documents are shown: templates, tables, JSON, and the progress of a pull.
 */
#ifndef CTR_CMD_SHOW_H
#define CTR_CMD_SHOW_H

#include "core/cmd/http.h"

/* --- template.c: a small part of Go's text/template --- */

/* Appends the template's text for `dot`. {{.A.B}} {{json .}} {{index .A 0}} {{len .A}} {{upper .A}} {{lower .A}} {{join .A ", "}}
 * {{range .A}}…{{else}}…{{end}} {{if .A}}…{{end}}, and \t \n in the text. dot NULL: only checks. `safe`: text is escaped for a terminal. */
int ctl_template(const char *text, const json_t *dot, bool safe, struct ctr_buf *out,
                 struct ctr_error *err);

/* --- table.c --- */

struct ctl_column {
    const char *field, *heading; /* "RunningFor", "CREATED" */
};
/* Shows rows (an array of objects of text) as the format says: NULL or "table": `standard`; "json": an object a line; "table TEMPLATE";
 * or a template a row. columns ends with an entry without a field. */
int ctl_show(const json_t *rows, const struct ctl_column *columns, const char *standard,
             const char *format, struct ctr_error *err);
/* Lines with tabs into columns as docker's tables have them. */
void ctl_columns(FILE *out, char *text);
/* Prints JSON that a terminal can bear; indent 0: one line. No newline at its end. */
int ctl_print_json(FILE *out, const json_t *json, int indent, struct ctr_error *err);
/* One document with --format, or as indented JSON without. */
int ctl_show_document(const json_t *document, const char *format, struct ctr_error *err);

/* --- progress.c --- */

/* Follows a body of JSON lines {status, id, progressDetail, stream, error}: bars on a terminal, else lines, on standard error; `quiet`: nothing. An
 * error in it becomes err. each (may be NULL) sees every message. */
int
ctl_progress(struct ctl_http *http, bool quiet, void (*each)(void *arg, const json_t *message),
             void *arg, struct ctr_error *err);

/* --- image.c: what run needs of images --- */

/* Pulls an image, showing progress. */
int ctl_image_pull(struct ctl *ctl, const char *reference, const char *platform, bool quiet,
                   struct ctr_error *err);
/* true: the text is the path of something to load, "oci:PATH[:TAG]", "./x", "../x" or "/x", that exists. */
bool ctl_image_is_path(const char *text);
/* Loads an archive ("-": standard input), a layout's folder or "oci:PATH[:TAG]"; *ret (caller frees) is the last reference that was loaded. */
int ctl_image_load(struct ctl *ctl, const char *path, bool quiet, char **ret,
                   struct ctr_error *err);

/* --- body.c: the options of run, create and exec as the API's documents --- */

json_t *ctl_create_body(const struct ctl *ctl, const char *image, struct ctr_error *err);
json_t *ctl_exec_body(const struct ctl *ctl, struct ctr_error *err);

#endif
