/*
 * registry-file, inside: the "auths" of a config.json or auth.json. Works on (text, length); knows no files.
 */
#ifndef REGISTRY_FILE_AUTHS_H
#define REGISTRY_FILE_AUTHS_H

#include <ctr/registry.h>

/* A credential found. auths_finish wipes and frees it. */
struct auths_found {
    uint32_t type; /* enum ctr_credential_type, 0: none */
    char *user, *secret;
};

/* Finds the entry for the host that fits the repository best. -ENOENT: there is none; -EBADMSG: the text is broken. */
int auths_find(const char *text, size_t length, const char *host, const char *repository,
               struct auths_found *ret, struct ctr_error *err);
void auths_finish(struct auths_found *found);
/* Calls each(arg, host, user) for every entry that holds a credential. */
int auths_list(const char *text, size_t length,
               void (*each)(void *arg, const char *host, const char *user), void *arg,
               struct ctr_error *err);
/* Overwrites in a way that the compiler keeps. */
void auths_wipe(void *bytes, size_t length);

#endif
