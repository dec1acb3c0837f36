/*
 * Names of error codes, as they go over the control socket and come from the guest.
 */
#include "core/sandbox/sandbox-priv.h"

static const struct {
    int code;
    const char *name;
} names[] = {
    {ENOENT, "ENOENT"},
    {EACCES, "EACCES"},
    {EPERM, "EPERM"},
    {EINVAL, "EINVAL"},
    {EIO, "EIO"},
    {ENOMEM, "ENOMEM"},
    {ENOSPC, "ENOSPC"},
    {EEXIST, "EEXIST"},
    {ESRCH, "ESRCH"},
    {EPIPE, "EPIPE"},
    {EAGAIN, "EAGAIN"},
    {EBUSY, "EBUSY"},
    {ENOTSUP, "ENOTSUP"},
    {ETIMEDOUT, "ETIMEDOUT"},
    {EMFILE, "EMFILE"},
    {ENFILE, "ENFILE"},
    {ENOEXEC, "ENOEXEC"},
    {EISDIR, "EISDIR"},
    {ENOTDIR, "ENOTDIR"},
    {ERANGE, "ERANGE"},
    {EBADMSG, "EBADMSG"},
    {EMSGSIZE, "EMSGSIZE"},
    {EFBIG, "EFBIG"},
    {EROFS, "EROFS"},
    {EADDRINUSE, "EADDRINUSE"},
};

const char *
ctr_code_name(int code)
{
    for (size_t i = 0; i < CTR_LENGTH(names); i++) {
        if (names[i].code == -code) {
            return names[i].name;
        }
    }
    return "EIO";
}

const char *
ctr_known_code(const char *code)
{
    for (size_t i = 0; i < CTR_LENGTH(names); i++) {
        if (strcmp(names[i].name, code) == 0) {
            return names[i].name;
        }
    }
    return "EIO";
}

json_t *
ctr_error_json(const char *code, const char *message)
{
    return json_pack("{s:{s:s, s:s}}", "error", "code", code, "message", message);
}

int
ctr_exit_code_of(const char *code)
{
    if (strcmp(code, "ENOENT") == 0) {
        return 127;
    }
    bool found = strcmp(code, "EACCES") == 0 || strcmp(code, "ENOEXEC") == 0 ||
                 strcmp(code, "EISDIR") == 0;
    return found ? 126 : 125;
}
