/*
 * users.c: reads passwd(5) and group(5) files as data: regular files only, at most 4 MiB, ids within 0..2^31-1.
 *
 * The rules are docker's: an empty user is root; a number need not be in the file; a name must. Without a group the primary one
 * and all that list the user as a member; with a group that one alone.
 */
#include "users.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (4u * 1024 * 1024)
#define ID_MAX 2147483647ul

/* The whole file, NUL-terminated, caller frees; NULL if there is none that can be used. */
static char *
slurp(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        if (fd >= 0) {
            (void) close(fd);
        }
        return NULL;
    }
    char *text = malloc((size_t) st.st_size + 1);
    size_t have = 0;
    while (text != NULL && have < (size_t) st.st_size) {
        ssize_t n = read(fd, text + have, (size_t) st.st_size - have);
        if (n <= 0) {
            break;
        }
        have += (size_t) n;
    }
    (void) close(fd);
    if (text != NULL) {
        text[have] = '\0';
    }
    return text;
}

/* A whole decimal id in range. */
static bool
parse_id(const char *text, unsigned *ret)
{
    if (*text < '0' || *text > '9') {
        return false;
    }
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || n > ID_MAX) {
        return false;
    }
    *ret = (unsigned) n;
    return true;
}

/* Cuts the next line of `*text` into at most n fields at colons; the number of fields, 0 at the end. */
static size_t
next_line(char **text, char **fields, size_t n)
{
    char *line = strsep(text, "\n");
    if (line == NULL) {
        return 0;
    }
    size_t count = 0;
    while (count < n && (fields[count] = strsep(&line, ":")) != NULL) {
        count++;
    }
    return count;
}

static bool
is_number(const char *text)
{
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* Finds the user by name, or by number; `name` takes the name in the file. */
static bool
find_user(char *passwd, const char *who, struct user *user, char *name, size_t name_size)
{
    char *rest = passwd, *fields[7];
    unsigned number = 0, uid, gid;
    bool by_number = is_number(who) && parse_id(who, &number);
    bool found = false;
    size_t n;
    while (!found && rest != NULL && (n = next_line(&rest, fields, 7)) > 0) {
        if (n < 6 || !parse_id(fields[2], &uid) || !parse_id(fields[3], &gid)) {
            continue;
        }
        if (strcmp(fields[0], who) != 0 && !(by_number && uid == number)) {
            continue;
        }
        found = true;
        user->uid = uid;
        user->gid = gid;
        (void) snprintf(user->home, sizeof user->home, "%s", fields[5]);
        (void) snprintf(name, name_size, "%s", fields[0]);
    }
    return found;
}

static bool
is_member(char *members, const char *name)
{
    char *member;
    while ((member = strsep(&members, ",")) != NULL) {
        if (*name != '\0' && strcmp(member, name) == 0) {
            return true;
        }
    }
    return false;
}

/* With `group` looks that one up; else collects the groups that `name` is a member of. */
static bool
find_groups(char *file, const char *group, const char *name, struct user *user)
{
    char *rest = file, *fields[4];
    unsigned gid;
    bool found = false;
    size_t n;
    while (!found && rest != NULL && (n = next_line(&rest, fields, 4)) > 0) {
        if (n < 3 || !parse_id(fields[2], &gid)) {
            continue;
        }
        if (group != NULL && strcmp(fields[0], group) == 0) {
            user->gid = gid;
            found = true;
        } else if (group == NULL && n == 4 && user->n_groups < USER_GROUPS_MAX &&
                   is_member(fields[3], name)) {
            user->groups[user->n_groups++] = gid;
        }
    }
    return found;
}

int
user_resolve_in(char *passwd, char *groups, const char *text, struct user *ret,
                struct fault *fault)
{
    char who[256], name[256] = "";
    if ((size_t) snprintf(who, sizeof who, "%s", text) >= sizeof who) {
        return fault_set(fault, "EINVAL", "the user is longer than 255 characters");
    }
    char *group = strchr(who, ':');
    if (group != NULL) {
        *group++ = '\0';
        group = *group == '\0' ? NULL : group;
    }
    memset(ret, 0, sizeof *ret);
    (void) snprintf(ret->home, sizeof ret->home, "/");
    const char *wanted = *who == '\0' ? "0" : who;
    unsigned id = 0;
    if (!find_user(passwd, wanted, ret, name, sizeof name)) {
        if (!is_number(wanted)) {
            return fault_set(fault, "EINVAL",
                             "unable to find user %s: no matching entries in passwd file", who);
        }
        if (!parse_id(wanted, &id)) {
            return fault_set(fault, "EINVAL", "uids and gids must be in range 0-%lu", ID_MAX);
        }
        ret->uid = id;
        ret->gid = 0;
    }
    if (group == NULL) {
        (void) find_groups(groups, NULL, name, ret);
        return 0;
    }
    if (find_groups(groups, group, name, ret)) {
        return 0;
    }
    if (!is_number(group)) {
        return fault_set(fault, "EINVAL",
                         "unable to find group %s: no matching entries in group file", group);
    }
    if (!parse_id(group, &id)) {
        return fault_set(fault, "EINVAL", "uids and gids must be in range 0-%lu", ID_MAX);
    }
    ret->gid = id;
    return 0;
}

int
user_resolve(const char *text, struct user *ret, struct fault *fault)
{
    char *passwd = slurp("/etc/passwd");
    char *groups = slurp("/etc/group");
    int result = user_resolve_in(passwd, groups, text, ret, fault);
    free(passwd);
    free(groups);
    return result;
}
