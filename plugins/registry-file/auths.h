/*
 * registry-file, inside: the "auths" of a config.json or auth.json. auths.c reads and auths-edit.c changes them, both on (text, length), without
 * files; save.c is the file.
 */
#ifndef REGISTRY_FILE_AUTHS_H
#define REGISTRY_FILE_AUTHS_H

#include "plugins/docker-config/config.h"

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

/* --- auths-edit.c: the whole text anew, with everything else in it kept. The caller wipes and frees it. --- */

/* Puts the credential in place of all entries of the whole host. length 0: a new document. */
int auths_set(const char *text, size_t length, const char *host,
              const struct ctr_credential *credential, char **ret, struct ctr_error *err);
/* -ENOENT: no entry of the whole host holds a credential. */
int auths_unset(const char *text, size_t length, const char *host, char **ret,
                struct ctr_error *err);

/* --- save.c --- */

/* Held while a file is read, changed and written. Waits for other writers at most ten seconds. */
struct save_lock {
    char *target; /* the file itself, behind links */
    int fd;
};
/* Makes the file's folder where it does not exist. -ENOENT: make is false and there is no file. */
int save_lock(const char *path, bool make, struct save_lock *ret, struct ctr_error *err);
void save_unlock(struct save_lock *lock);
/* Replaces the target: temporary file, fsync, rename, fsync of the folder. Mode 0600, the same owner. */
int save_write(const struct save_lock *lock, const char *text, struct ctr_error *err);

#endif
