/*
 * ctr/command.h: runs one command for a plugin that may block, with limits. Link with -lctr-command.
 *
 * For registry and storage plugins, whose calls run on worker threads; net and vmm plugins have the host's `spawn`. No shell: the command's
 * arguments are handed over as they are. It gets its standard input and output, /dev/null as standard error, no other descriptor, the environment that is named, default
 * signals and a process group of its own.
 */
#ifndef CTR_COMMAND_H
#define CTR_COMMAND_H

#include <ctr/error.h>
#include <stddef.h>

#define CTR_COMMAND_INPUT_MAX 65536

struct ctr_command {
    uint32_t size;           /* sizeof(struct ctr_command) */
    uint32_t limit_ms;       /* then it is killed, with its process group */
    const char *const *argv; /* NULL-terminated; argv[0] is the program's absolute path */
    const char *const *envp; /* NULL-terminated; NULL: an empty environment */
    const void *input;       /* what it reads, then the end; may be NULL */
    uint64_t input_length;   /* at most CTR_COMMAND_INPUT_MAX */
    uint64_t output_max;     /* one byte more and it is killed */
};

struct ctr_command_result {
    uint32_t size;
    int32_t status; /* its exit status, or 128 and the signal that ended it */
    char *output;   /* NUL-terminated */
    uint64_t length;
};

/* Runs it and waits until it has ended and closed its output. 0: it ran, whatever its status; then ctr_command_finish is due. -ETIMEDOUT, -EFBIG: it was
 * killed; another code: it did not start. The error names the program, never what went in or came out. */
int ctr_command_run(const struct ctr_command *command, struct ctr_command_result *ret,
                    struct ctr_error *err);
/* Wipes and frees the output. */
void ctr_command_finish(struct ctr_command_result *result);

/* This process's environment narrowed to the named variables (NULL-terminated), and one more entry NAME=VALUE (or NULL); the array is the caller's to
 * free, its texts are borrowed. NULL: out of memory. */
const char **ctr_command_environment(const char *const *names, const char *more);

#endif
