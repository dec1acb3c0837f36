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
/* "a=1,b=2" of an object of text; only its names if values is off. Caller frees. */
char *ctl_joined(const json_t *object, bool values);
/* One document with --format, or as indented JSON without. */
int ctl_show_document(const json_t *document, const char *format, struct ctr_error *err);

/* The --filter KEY=VALUE options as the API wants them: {"KEY": ["VALUE", …]}. Caller frees; NULL with err. */
char *ctl_filters(const struct ctl *ctl, struct ctr_error *err);

/* --- progress.c --- */

enum ctl_progress_mode {
    CTL_PROGRESS_QUIET, /* nothing */
    CTL_PROGRESS_TTY,   /* bars, drawn in place on standard error */
    CTL_PROGRESS_PLAIN, /* a line for each change, on standard error */
    CTL_PROGRESS_JSON   /* the daemon's lines, on standard output */
};
/* From --progress auto|tty|plain|json and --quiet, which the command must have; -EINVAL if they contradict each other. */
int
ctl_progress_mode(const struct ctl *ctl, enum ctl_progress_mode *ret, struct ctr_error *err);

struct ctl_progress {
    enum ctl_progress_mode mode;
    const char
        *interrupted; /* what to say after Ctrl-C (then -ECANCELED); NULL: it ends ctrctl */
    void (*each)(void *arg, const json_t *message); /* sees every message; may be NULL */
    void *arg;
};
/* Waits for the answer to a request that was sent and follows its JSON lines {status, id, progressDetail, stream, error}. An error in them becomes
 * err. */
int
ctl_progress(struct ctl_http *http, const struct ctl_progress *options, struct ctr_error *err);

/* --- ask.c: questions on the terminal --- */

/* Asks on standard error and reads a line from standard input, which must be a terminal; `secret`: what is typed is not shown. A signal ends
 * ctrctl with the terminal put back. */
int ctl_ask(const char *question, bool secret, char *ret, size_t size, struct ctr_error *err);
/* "… Are you sure? [y/N]": 1 for yes, 0 for no (also at the end of input), or -EINVAL without a terminal, naming --force. */
int ctl_confirm(const char *warning, struct ctr_error *err);

/* --- pull.c, load.c: what run needs of images --- */

/* "host/name:tag" or "host/name@digest": cuts `name` and returns what was behind it, NULL if nothing was. */
const char *ctl_cut_tag(char *name);
/* Pulls an image, showing progress. */
int ctl_image_pull(struct ctl *ctl, const char *reference, const char *platform, bool quiet,
                   struct ctr_error *err);
/* true: the text is the path of something to load, "oci:PATH[:TAG]", "./x", "../x" or "/x", that exists. */
bool ctl_image_is_path(const char *text);
/* Loads an archive ("-": standard input), a layout's folder or "oci:PATH[:TAG]"; *ret (caller frees) is the last reference that was loaded. */
int ctl_image_load(struct ctl *ctl, const char *path, bool quiet, char **ret,
                   struct ctr_error *err);
/* Sends a file or pipe ("-": standard input, never a terminal) as the chunked body of a request. */
int ctl_upload(struct ctl *ctl, struct ctl_http *http, const char *url, const char *path,
               struct ctr_error *err);

/* --- body.c: the options of run, create and exec as the API's documents --- */

json_t *ctl_create_body(const struct ctl *ctl, const char *image, struct ctr_error *err);
/* The --label options as body's "Labels". */
int ctl_add_labels(const struct ctl *ctl, json_t *body, struct ctr_error *err);
json_t *ctl_exec_body(const struct ctl *ctl, struct ctr_error *err);

/* --- networking.c: their options of networks, names and ports --- */

int
ctl_add_networking(const struct ctl *ctl, json_t *body, json_t *host, struct ctr_error *err);
/* --ip, --ip6, --mac-address and --alias as Docker's EndpointSettings; new reference. */
json_t *ctl_endpoint(const struct ctl *ctl, struct ctr_error *err);

#endif
