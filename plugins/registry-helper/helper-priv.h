/*
 * registry-helper, inside: which helper (choose.c), what is said to it and by it (protocol.c), where it is and how it is run (program.c).
 */
#ifndef REGISTRY_HELPER_PRIV_H
#define REGISTRY_HELPER_PRIV_H

#include "plugins/docker-config/config.h"

#define HELPER_NAME_MAX 64

struct helper {
    const struct ctr_host *host;
    const char *everywhere; /* option helper, or NULL */
    char *config;           /* of docker; NULL: there is no place for it */
    bool config_given; /* by the profile: it must exist, and its helpers must be installed */
    bool warned;       /* that a helper of docker's own config.json is not installed */
};

/* --- choose.c: docker's credHelpers and credsStore --- */

/* A helper's name: [a-z0-9][a-z0-9._-]*, so no path and no option. */
bool choose_name_is_good(const char *name);
/* The helper that serves a host. -ENOENT: none does. */
int choose_for_host(const struct helper *helper, const char *host,
                    char ret[HELPER_NAME_MAX + 1], struct ctr_error *err);
/* The one that serves all hosts without one of their own; -ENOENT: none does. Calls each(arg, host, "") for the hosts that have one. */
int choose_list(const struct helper *helper, char ret[HELPER_NAME_MAX + 1],
                void (*each)(void *arg, const char *host, const char *user), void *arg,
                struct ctr_error *err);

/* --- protocol.c: docker-credential-helpers' protocol, on texts --- */

/* What `store` reads; caller wipes and frees. NULL: no memory, or not UTF-8. */
char *protocol_store(const char *server, const struct ctr_credential *credential);
/* What `get` printed, for this server. The texts in *ret are those of *ret_document, which config_release ends. -ENOENT: an empty one. */
int protocol_answer(const char *text, size_t length, const char *server, json_t **ret_document,
                    struct ctr_credential *ret, struct ctr_error *err);
/* What `list` printed. */
int protocol_list(const char *text, size_t length,
                  void (*each)(void *arg, const char *host, const char *user), void *arg,
                  struct ctr_error *err);
/* What a helper prints when it fails for the one harmless reason. */
bool protocol_says_not_found(const char *text, size_t length);

/* --- program.c --- */

struct ctr_command_result;

/* Every folder of a list is an absolute path; 0 or -EINVAL. */
int program_check_path(const char *path, struct ctr_error *err);
/* docker-credential-NAME by its absolute path, caller frees. -ENOEXEC: in none of the folders; -EPERM: others could change it. */
int program_find(const char *path, const char *name, char **ret, struct ctr_error *err);
/* Runs `docker-credential-NAME VERB` on an input. 0 with its output where it ended well; -ENOENT: it has no such credential. */
int program_run(const struct ctr_host *host, const char *name, const char *verb,
                const char *input, struct ctr_command_result *ret, struct ctr_error *err);

#endif
