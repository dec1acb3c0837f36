/*
 * core/conf, inside: the document that inih reads, and the parts that make a profile of it.
 */
#ifndef CTR_CONF_PRIV_H
#define CTR_CONF_PRIV_H

#include "core/conf/conf.h"

/* A section as written, with its pairs. */
struct ctr_section {
    char *name; /* what stands between the brackets, trimmed */
    int line;
    struct ctr_conf_pair *pairs;
    size_t n_pairs;
};

struct ctr_doc {
    struct ctr_section *sections;
    size_t n_sections;
};

/* Reads the text into sections; err names `file` and line. On failure doc is left for ctr_doc_finish all the same. */
int ctr_doc_parse(struct ctr_doc *doc, const char *file, const char *text, size_t length,
                  struct ctr_error *err);
void ctr_doc_finish(struct ctr_doc *doc);
const struct ctr_conf_pair *ctr_doc_pair(const struct ctr_section *section, const char *key);
void ctr_pairs_free(struct ctr_conf_pair *pairs, size_t n);

/* "FILE:LINE: message"; "FILE: message" for line 0. */
int ctr_conf_fail(struct ctr_error *err, int code, const char *file, int line,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The failure for a key that its section does not have: names the nearest of `keys` or where the key belongs. `section` without brackets. */
int
ctr_conf_unknown_key(struct ctr_error *err, const char *file, const struct ctr_conf_pair *pair,
                     const char *section, const char *const *keys);

/* A value by its option's type. The text is expanded for PATH (against base if relative; NULL: left as it is) and caller frees it;
 * the number is that of INT, BOOL and SIZE. err says what is wrong with the value, without a position. */
int ctr_value_parse(const struct ctr_option *option, const char *text, const char *base,
                    char **ret_text, int64_t *ret_number, struct ctr_error *err);

/* Fills conf->engine from [engine] (section may be NULL), with defaults. */
int ctr_engine_fill(struct ctr_conf *conf, const struct ctr_section *section,
                    struct ctr_error *err);
void ctr_engine_finish(struct ctr_conf_engine *engine);
/* NULL-terminated names of the [engine] keys; the array is static. */
const char *const *ctr_engine_keys(void);

/* "int", "size" … as man pages write it. */
const char *ctr_option_type_name(int32_t type);

/* Fills instances and hosts from all other sections, whose pairs they take. */
int ctr_instances_fill(struct ctr_conf *conf, struct ctr_doc *doc, struct ctr_error *err);
int ctr_hosts_fill(struct ctr_conf *conf, struct ctr_doc *doc, struct ctr_error *err);
/* The kind whose name a section begins with ("storage", "storage.fast"), 0 if none; *ret_rest is what follows the dot or NULL. */
int ctr_section_kind(const char *name, const char **ret_rest);
bool ctr_section_is_host(const char *name);
void ctr_host_finish(struct ctr_conf_host *host);
/* NULL-terminated names of the [registry.host] keys; the array is static. */
const char *const *ctr_host_keys(void);

#endif
