/*
 * Fuzz target: container.log as a damaged disk or a crash may leave it. The input is two files, split at its first byte's share.
 */
#include "core/sandbox/sandbox-priv.h"

#include <fcntl.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64];

static void
put(const char *name, const uint8_t *data, size_t size)
{
    char path[128];
    (void) snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void) ctr_write_all(fd, data, size);
        (void) close(fd);
    }
}

static void
clean(void)
{
    (void) ctr_remove_tree(folder, NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_log_reader *reader = NULL;
    struct ctr_log_record record;
    struct ctr_log_writer log;
    char path[128];
    if (folder[0] == '\0') {
        (void) snprintf(folder, sizeof folder, "/tmp/ctr-fuzz-log-XXXXXX");
        if (mkdtemp(folder) == NULL) {
            abort();
        }
        (void) atexit(clean);
    }
    if (size < 2) {
        return 0;
    }
    size_t first = (size - 2) * data[0] / 255;
    put("container.log.1", data + 2, first);
    put("container.log", data + 2 + first, size - 2 - first);
    if (ctr_log_open(folder, (int8_t) data[1], &reader, &err) == 0) {
        while (ctr_log_next(reader, &record, &err) > 0) {
            volatile char last = record.bytes[record.length - 1];
            (void) last;
        }
        ctr_log_close(reader);
    }
    /* A writer makes it whole again. */
    (void) snprintf(path, sizeof path, "%s/container.log", folder);
    if (ctr_log_start(&log, path, 65536, &err) < 0) {
        abort();
    }
    ctr_log_write(&log, 1, "x", 1);
    ctr_log_finish(&log);
    put("container.log.1", data, 0);
    if (ctr_log_open(folder, -1, &reader, &err) < 0) {
        abort();
    }
    int code;
    while ((code = ctr_log_next(reader, &record, &err)) > 0) {
    }
    if (code < 0) {
        abort();
    }
    ctr_log_close(reader);
    return 0;
}
