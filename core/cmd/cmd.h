/*
 * core/cmd: ctrctl, the command line (and the mains of the other programs, which use none of this).
 *
 * A command is a const table: operands, options, help, examples and what completes them. The tables drive parsing, help, completion
 * and the test that compares them with man/ctrctl.1. ctrctl holds no state: everything it shows comes from the daemon's API.
 * One thread. Errors are one line on standard error: "ctrctl: what: where; what to do next".
 */
#ifndef CTR_CMD_H
#define CTR_CMD_H

#include "core/base/base.h"
#include "core/conf/conf.h"

#define CTL_VERSION CTR_VERSION
#define CTL_API_VERSION "1.43"
#define CTL_API "/v" CTL_API_VERSION

/* What a word may be, for completion. */
enum ctl_words {
    CTL_WORDS_NONE,
    CTL_WORDS_FILE,
    CTL_WORDS_CONTAINER,
    CTL_WORDS_RUNNING,
    CTL_WORDS_IMAGE,
    CTL_WORDS_NETWORK,
    CTL_WORDS_PLUGIN,
    CTL_WORDS_SIGNAL,
    CTL_WORDS_COMMAND
};

/* One option. A table ends with an entry without a name. */
struct ctl_option {
    const char *name;     /* long name without its dashes */
    char letter;          /* 0: none */
    const char *argument; /* what help calls its value; NULL: it is a switch */
    const char *help;
    const char *choices;  /* "always|missing|never" or NULL; checked */
    enum ctl_words words; /* completion of the value */
};

struct ctl;
struct ctl_entry;

struct ctl_command {
    const char *operands;                /* "CONTAINER [CONTAINER...]", "" if none */
    const char *summary;                 /* one line, no full stop */
    const char *text;                    /* further paragraphs of the help, or NULL */
    const char *examples;                /* lines, or NULL */
    const struct ctl_option *options;    /* or NULL */
    const struct ctl_entry *subcommands; /* a group has these and no run */
    int min_operands, max_operands;      /* max -1: any number */
    bool stops_at_operand;               /* what follows the first operand is not ours */
    int error_status;                    /* exit status of our own failures, 0 means 1 */
    enum ctl_words words;                /* completion of its operands */
    enum ctl_words next_words;   /* of those behind the first, if they are of another kind */
    int (*run)(struct ctl *ctl); /* returns the exit status */
};

/* A command under one of its names. A table ends with an entry without a name. */
struct ctl_entry {
    const char *name;
    const struct ctl_command *command;
    const char *heading; /* begins a group of the help page */
    bool hidden;         /* works, but is not listed */
};

struct ctl_setting {
    const struct ctl_option *option;
    const char *value; /* "true" or "false" for a switch */
};

/* One invocation. */
struct ctl {
    const char *profile;   /* --profile, or NULL */
    struct ctr_conf *conf; /* see ctl_conf */
    char path[64];         /* "ctrctl image ls" */
    const struct ctl_command *command;
    struct ctl_setting *settings;
    size_t n_settings;
    const char **operands;
    int n_operands;
};

/* --- commands.c: the tables --- */

extern const struct ctl_entry ctl_commands[];
extern const struct ctl_option ctl_global_options[];
extern const struct ctl_command ctl_run, ctl_create, ctl_start, ctl_attach, ctl_exec;
extern const struct ctl_command ctl_stop, ctl_restart, ctl_kill, ctl_rm, ctl_wait, ctl_rename;
extern const struct ctl_command ctl_ps, ctl_logs, ctl_inspect, ctl_events;
extern const struct ctl_command ctl_network_create, ctl_network_ls, ctl_network_inspect,
    ctl_network_rm, ctl_network_prune, ctl_network_connect, ctl_network_disconnect,
    ctl_network_capture;
extern const struct ctl_command ctl_pull, ctl_push, ctl_load, ctl_import, ctl_save;
extern const struct ctl_command ctl_images, ctl_rmi, ctl_tag, ctl_history, ctl_image_inspect,
    ctl_image_verify, ctl_image_tree, ctl_image_prune, ctl_container_prune;
extern const struct ctl_command ctl_login, ctl_logout, ctl_registry_ls, ctl_search_tags;
extern const struct ctl_command ctl_plugin_ls, ctl_plugin_show, ctl_info, ctl_version;
extern const struct ctl_command ctl_system_start, ctl_system_stop, ctl_system_status,
    ctl_system_logs, ctl_system_df, ctl_system_prune;
extern const struct ctl_command ctl_completion, ctl_complete, ctl_help;

/* --- options.c: parsing --- */

/* Runs `ctrctl argv[1]…`; returns the exit status. */
int ctl_main(int argc, char **argv);
/* Parses the arguments behind a command's name into ctl's settings and operands. 0, a negative code, or 1 if --help was among them. */
int ctl_parse(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv,
              struct ctr_error *err);
void ctl_finish(struct ctl *ctl); /* frees what parsing and ctl_conf made */
/* The command that words name: "image", "ls". Fills path ("ctrctl image ls") and *ret_used; NULL with err for an unknown one. */
const struct ctl_command *
ctl_find(int argc, char **argv, char path[64], int *ret_used, struct ctr_error *err);
const struct ctl_entry *ctl_entry_find(const struct ctl_entry *entries, const char *name);
/* Settings by the option's long name, which must be in the command's table. */
bool ctl_flag(const struct ctl *ctl, const char *name);
const char *
ctl_value(const struct ctl *ctl, const char *name); /* the last one given, or NULL */
/* All values of an option that may be repeated: the i-th, or NULL behind the last. */
const char *ctl_value_at(const struct ctl *ctl, const char *name, size_t i);

/* --- help.c --- */

void ctl_help_show(FILE *out, const struct ctl_command *command, const char *path);
/* Prints an error of this invocation and returns the exit status: of the command's own failures, or 130 for -ECANCELED, an interrupt. */
int ctl_error(const struct ctl *ctl, const struct ctr_error *err);
int ctl_failure_status(const struct ctl *ctl);
/* "ctrctl: …" on standard error, control characters escaped. */
void ctl_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- complete.c --- */

/* Prints what may stand at the last of the words, one a line ("word" or "word\thelp"). */
void ctl_complete_words(struct ctl *ctl, int argc, char **argv);

/* --- daemon.c --- */

/* The profile, loaded on first use. Borrowed; NULL with err. */
const struct ctr_conf *ctl_conf(struct ctl *ctl, struct ctr_error *err);
/* A connection to the profile's daemon. It is started if none listens and `start` is set: else -ENOENT. fd or a negative code. */
int ctl_connect(struct ctl *ctl, bool start, struct ctr_error *err);
/* RUN/ctr.sock and DATA/ctrd.log; callers free. */
char *ctl_socket_path(const struct ctr_conf *conf);
char *ctl_log_path(const struct ctr_conf *conf);

#endif
