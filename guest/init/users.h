/* users: "name|uid[:group|gid]" resolved from the image's own /etc/passwd and /etc/group. Runs in the child, inside the root. */
#ifndef CTR_INIT_USERS_H
#define CTR_INIT_USERS_H

#include "fault.h"
#include <stddef.h>
#include <sys/types.h>

#define USER_GROUPS_MAX 1024

struct user {
    uid_t uid;
    gid_t gid;
    char home[256];
    size_t n_groups;
    gid_t groups[USER_GROUPS_MAX];
};

/* The same from the files' texts, which are cut up; NULL: no such file. */
int user_resolve_in(char *passwd, char *groups, const char *text, struct user *ret,
                    struct fault *fault);
int user_resolve(const char *text, struct user *ret, struct fault *fault);

#endif
