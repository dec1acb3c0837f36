/*
 * The two records in FOLDER. state.json says who runs the container (pid and kernel start time prove the identity), exit.json
 * how it ended. Both are written durably; exit.json is never overwritten: the first record is the one.
 */
#include "core/sandbox/sandbox-priv.h"

int
ctr_record_state(const char *folder, int64_t started_at, struct ctr_error *err)
{
    CTR_AUTO(free) char *path = ctr_printf("%s/state.json", folder);
    CTR_AUTO(json)
    json_t *state = json_pack("{s:i, s:I, s:I}", "pid", (int) getpid(), "start_time",
                              (json_int_t) ctr_process_start_time(getpid()), "started_at",
                              (json_int_t) started_at);
    if (path == NULL || state == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    return ctr_write_json(path, state, err);
}

int
ctr_record_exit(const char *folder, const json_t *exit, struct ctr_error *err)
{
    CTR_AUTO(free) char *path = ctr_printf("%s/exit.json", folder);
    if (path == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (access(path, F_OK) == 0) {
        return ctr_fail(err, -EEXIST, "%s exists: it is written once", path);
    }
    return ctr_write_json(path, exit, err);
}
