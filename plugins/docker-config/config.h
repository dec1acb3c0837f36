/*
 * docker's config.json (and containers' auth.json, which has the same form), as the registry plugins need it: where it is, its text, its JSON,
 * and which origin one of its keys means. Whatever came from it is wiped before its memory is given back.
 */
#ifndef DOCKER_CONFIG_H
#define DOCKER_CONFIG_H

#include <ctr/registry.h>
#include <jansson.h>
#include <sys/types.h>

#define CONFIG_MAX ((size_t) 1 << 20)
#define CONFIG_MAX_ENTRIES 4096 /* of one of its objects */

/* $VARIABLE/name where the variable is an absolute path, else $HOME/home_name; caller frees. NULL: there is no such place (*ret_failed
 * false), or no memory (true). home_name may be NULL. */
char *
config_place(const char *variable, const char *name, const char *home_name, bool *ret_failed);
/* Docker's own: $DOCKER_CONFIG/config.json or ~/.docker/config.json. */
char *config_docker_place(bool *ret_failed);

struct config_text {
    char *bytes; /* NUL-terminated */
    size_t length;
    mode_t mode;
};
/* A whole file. -ENOENT: it does not exist; a pipe or a device is refused and not waited for. */
int config_read(const char *path, struct config_text *ret, struct ctr_error *err);
void config_text_finish(struct config_text *text);

/* The document, an object without duplicate names; an error says where it is broken and quotes nothing. New reference or NULL. */
json_t *config_parse(const char *bytes, size_t length, struct ctr_error *err);
/* A member that is an object; NULL: absent or null. *ret_bad: it is something else, or too large. */
json_t *config_object(const json_t *document, const char *name, bool *ret_bad);
/* Wipes all texts of a document and drops it; takes NULL. */
void config_release(json_t *document);

/* "https://Host:5000/v2/" -> "host:5000" and ""; "quay.io/team" -> "quay.io" and "team". False: no host in it. */
bool config_key_split(const char *key, char host[256], char path[256]);
/* Docker Hub's names are one: "docker.io". */
const char *config_host_alias(const char *host);
/* The key that docker uses for an asked host. */
const char *config_docker_key(const char *host);
/* The key means this whole host and nothing else. */
bool config_key_is_host(const char *key, const char *host);
/* host[:port] and nothing that could end a line, a key or a path. */
bool config_host_is_good(const char *host);

#endif
