/*
 * options.c: from argv to a command with its settings and operands, and back again through small getters.
 *
 * Long options "--name value", "--name=value", switches "--name" and "--name=false"; short ones "-x", "-xvalue", "-x value", "-x=value", combined "-itd".
 * "--" ends the options; for commands that start a program (run, create, exec) the first operand does so too.
 */
#include "core/cmd/cmd.h"

enum { CTL_HELP_WANTED = 1 };

static const struct ctl_option *
option_by_name(const struct ctl_option *table, const char *name, size_t length)
{
    for (; table != NULL && table->name != NULL; table++) {
        if (strncmp(table->name, name, length) == 0 && table->name[length] == '\0') {
            return table;
        }
    }
    return NULL;
}

static const struct ctl_option *
option_by_letter(const struct ctl_option *table, char letter)
{
    for (; table != NULL && table->name != NULL; table++) {
        if (table->letter == letter) {
            return table;
        }
    }
    return NULL;
}

/* "run", from "ctrctl run". */
static const char *
short_path(const struct ctl *ctl)
{
    return ctr_starts_with(ctl->path, "ctrctl ") ? ctl->path + strlen("ctrctl ") : ctl->path;
}

static int
unknown_option(const struct ctl *ctl, const struct ctl_option *table, const char *text,
               struct ctr_error *err)
{
    const char *names[128];
    size_t n = 0;
    for (const struct ctl_option *o = table; o != NULL && o->name != NULL; o++) {
        if (n < CTR_LENGTH(names) - 1) {
            names[n++] = o->name;
        }
    }
    names[n] = NULL;
    CTR_AUTO(free) char *word = strdup(text + (ctr_starts_with(text, "--") ? 2 : 0));
    if (word != NULL) {
        word[strcspn(word, "=")] = '\0';
    }
    const char *near =
        word != NULL && ctr_starts_with(text, "--") ? ctr_nearest(word, names) : NULL;
    if (near != NULL) {
        return ctr_fail(err, -EINVAL,
                        "%s: unknown option --%s, the nearest is --%s; see '%s --help'",
                        short_path(ctl), word, near, ctl->path);
    }
    return ctr_fail(err, -EINVAL, "%s: unknown option %s; see '%s --help'", short_path(ctl),
                    text, ctl->path);
}

/* "a" is one of "a|b|c". */
static bool
is_choice(const char *choices, const char *value)
{
    size_t length = strchr(value, '|') == NULL ? strlen(value) : 0;
    for (const char *at = choices; at != NULL; at = strchr(at, '|')) {
        at += *at == '|';
        if (length > 0 && strncmp(at, value, length) == 0 &&
            (at[length] == '|' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

static const char *
switch_value(const char *text)
{
    static const char *const yes[] = {"true", "1", "t", "yes"};
    static const char *const no[] = {"false", "0", "f", "no"};
    for (size_t i = 0; i < CTR_LENGTH(yes); i++) {
        if (strcasecmp(text, yes[i]) == 0) {
            return "true";
        }
        if (strcasecmp(text, no[i]) == 0) {
            return "false";
        }
    }
    return NULL;
}

static int
add_setting(struct ctl *ctl, const struct ctl_option *option, const char *value,
            struct ctr_error *err)
{
    if (option->argument == NULL) {
        const char *yes_no = switch_value(value);
        if (yes_no == NULL) {
            return ctr_fail(err, -EINVAL, "%s: --%s is true or false, not '%s'",
                            short_path(ctl), option->name, value);
        }
        value = yes_no;
    }
    if (option->choices != NULL && !is_choice(option->choices, value)) {
        return ctr_fail(err, -EINVAL, "%s: --%s must be one of %s, not '%s'", short_path(ctl),
                        option->name, option->choices, value);
    }
    if (strcmp(option->name, "profile") == 0) {
        ctl->profile = value;
    }
    struct ctl_setting *grown =
        realloc(ctl->settings, (ctl->n_settings + 1) * sizeof *ctl->settings);
    if (grown == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    ctl->settings = grown;
    ctl->settings[ctl->n_settings++] = (struct ctl_setting){option, value};
    return 0;
}

static int
missing_value(const struct ctl *ctl, const struct ctl_option *option, struct ctr_error *err)
{
    return ctr_fail(err, -EINVAL, "%s: --%s needs a value: --%s %s; see '%s --help'",
                    short_path(ctl), option->name, option->name, option->argument, ctl->path);
}

/* Commands take the global options too, but the version is asked of ctrctl alone: `run -v` is docker's for volumes. */
static const struct ctl_option *
inherited(const struct ctl_option *option)
{
    return option != NULL && strcmp(option->name, "version") == 0 ? NULL : option;
}

/* argv[*at] begins with "--". */
static int
parse_long(struct ctl *ctl, int argc, char **argv, int *at, struct ctr_error *err)
{
    const char *text = argv[*at] + 2;
    size_t length = strcspn(text, "=");
    const char *value = text[length] == '=' ? text + length + 1 : NULL;
    const struct ctl_option *option = option_by_name(ctl->command->options, text, length);
    if (option == NULL) {
        option = inherited(option_by_name(ctl_global_options, text, length));
    }
    if (option == NULL) {
        return unknown_option(ctl, ctl->command->options, argv[*at], err);
    }
    if (strcmp(option->name, "help") == 0) {
        return CTL_HELP_WANTED;
    }
    if (value == NULL && option->argument != NULL) {
        if (*at + 1 >= argc) {
            return missing_value(ctl, option, err);
        }
        value = argv[++*at];
    }
    return add_setting(ctl, option, value != NULL ? value : "true", err);
}

/* argv[*at] is "-abc": switches, the last of which may take the rest or the next word as its value. */
static int
parse_short(struct ctl *ctl, int argc, char **argv, int *at, struct ctr_error *err)
{
    for (const char *p = argv[*at] + 1; *p != '\0'; p++) {
        const struct ctl_option *option = option_by_letter(ctl->command->options, *p);
        if (option == NULL) {
            option = inherited(option_by_letter(ctl_global_options, *p));
        }
        if (option == NULL) {
            char text[3] = {'-', *p, '\0'};
            return unknown_option(ctl, ctl->command->options, text, err);
        }
        if (strcmp(option->name, "help") == 0) {
            return CTL_HELP_WANTED;
        }
        if (option->argument == NULL) {
            if (p[1] == '=') {
                return add_setting(ctl, option, p + 2, err);
            }
            int rc = add_setting(ctl, option, "true", err);
            if (rc != 0) {
                return rc;
            }
            continue;
        }
        if (p[1] != '\0') {
            return add_setting(ctl, option, p + 1 + (p[1] == '='), err);
        }
        if (*at + 1 >= argc) {
            return missing_value(ctl, option, err);
        }
        return add_setting(ctl, option, argv[++*at], err);
    }
    return 0;
}

static int
check_operands(const struct ctl *ctl, struct ctr_error *err)
{
    const struct ctl_command *command = ctl->command;
    if (ctl->n_operands < command->min_operands) {
        return ctr_fail(
            err, -EINVAL, "%s: needs %s; usage: %s%s %s, see '%s --help'", short_path(ctl),
            command->min_operands == 1 ? "an argument" : "more arguments", ctl->path,
            command->options != NULL ? " [OPTIONS]" : "", command->operands, ctl->path);
    }
    if (command->max_operands >= 0 && ctl->n_operands > command->max_operands) {
        return ctr_fail(err, -EINVAL, "%s: does not know what to do with '%s'; see '%s --help'",
                        short_path(ctl), ctl->operands[command->max_operands], ctl->path);
    }
    return 0;
}

int
ctl_parse(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv,
          struct ctr_error *err)
{
    ctl->command = command;
    ctl->n_settings = 0;
    ctl->n_operands = 0;
    free(ctl->operands);
    ctl->operands = calloc((size_t) argc + 1, sizeof *ctl->operands);
    if (ctl->operands == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    bool options = true;
    for (int at = 0; at < argc; at++) {
        const char *word = argv[at];
        if (!options || word[0] != '-' || word[1] == '\0') {
            ctl->operands[ctl->n_operands++] = word;
            options = options && !command->stops_at_operand;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            options = false;
            continue;
        }
        int rc = word[1] == '-' ? parse_long(ctl, argc, argv, &at, err)
                                : parse_short(ctl, argc, argv, &at, err);
        if (rc != 0) {
            return rc;
        }
    }
    return check_operands(ctl, err);
}

const struct ctl_entry *
ctl_entry_find(const struct ctl_entry *entries, const char *name)
{
    for (; entries != NULL && entries->name != NULL; entries++) {
        if (strcmp(entries->name, name) == 0) {
            return entries;
        }
    }
    return NULL;
}

static void
unknown_command(const struct ctl_entry *entries, const char *path, const char *word,
                struct ctr_error *err)
{
    const char *names[64];
    size_t n = 0;
    for (; entries->name != NULL && n < CTR_LENGTH(names) - 1; entries++) {
        if (!entries->hidden) {
            names[n++] = entries->name;
        }
    }
    names[n] = NULL;
    const char *near = ctr_nearest(word, names);
    if (near != NULL) {
        ctr_fail(err, -EINVAL, "unknown command '%.64s', the nearest is '%s'; see '%s --help'",
                 word, near, path);
    } else {
        ctr_fail(err, -EINVAL, "unknown command '%.64s'; '%s --help' lists all", word, path);
    }
}

const struct ctl_command *
ctl_find(int argc, char **argv, char path[64], int *ret_used, struct ctr_error *err)
{
    const struct ctl_entry *entries = ctl_commands;
    const struct ctl_command *command = NULL;
    (void) snprintf(path, 64, "ctrctl");
    *ret_used = 0;
    while (*ret_used < argc && entries != NULL && argv[*ret_used][0] != '-') {
        const struct ctl_entry *entry = ctl_entry_find(entries, argv[*ret_used]);
        if (entry == NULL) {
            unknown_command(entries, path, argv[*ret_used], err);
            return NULL;
        }
        size_t length = strlen(path);
        (void) snprintf(path + length, 64 - length, " %s", entry->name);
        command = entry->command;
        entries = command->subcommands;
        ++*ret_used;
    }
    if (command == NULL) {
        ctr_fail(err, -EINVAL, "no command given; 'ctrctl --help' lists all");
    }
    return command;
}

bool
ctl_flag(const struct ctl *ctl, const char *name)
{
    const char *value = ctl_value(ctl, name);
    return value != NULL && strcmp(value, "true") == 0;
}

const char *
ctl_value(const struct ctl *ctl, const char *name)
{
    for (size_t i = ctl->n_settings; i-- > 0;) {
        if (strcmp(ctl->settings[i].option->name, name) == 0) {
            return ctl->settings[i].value;
        }
    }
    return NULL;
}

const char *
ctl_value_at(const struct ctl *ctl, const char *name, size_t i)
{
    for (size_t at = 0; at < ctl->n_settings; at++) {
        if (strcmp(ctl->settings[at].option->name, name) == 0 && i-- == 0) {
            return ctl->settings[at].value;
        }
    }
    return NULL;
}

void
ctl_finish(struct ctl *ctl)
{
    free(ctl->settings);
    free(ctl->operands);
    ctr_conf_destroy(ctl->conf);
    memset(ctl, 0, sizeof *ctl);
}

/* The options before the command. Returns the number of words they took, -1 when all is said (*ret_status). */
static int
parse_globals(struct ctl *ctl, int argc, char **argv, int *ret_status)
{
    static const struct ctl_command top = {.operands = "COMMAND [ARG...]",
                                           .options = ctl_global_options,
                                           .max_operands = -1,
                                           .stops_at_operand = true};
    struct ctr_error err = CTR_ERROR_INIT;
    (void) snprintf(ctl->path, sizeof ctl->path, "ctrctl");
    int rc = ctl_parse(ctl, &top, argc, argv, &err);
    *ret_status = 0;
    if (rc < 0) {
        *ret_status = ctl_error(ctl, &err);
        return -1;
    }
    if (rc == CTL_HELP_WANTED || (ctl->n_operands == 0 && !ctl_flag(ctl, "version"))) {
        ctl_help_show(rc == CTL_HELP_WANTED ? stdout : stderr, NULL, "ctrctl");
        *ret_status = rc == CTL_HELP_WANTED ? 0 : 1;
        return -1;
    }
    if (ctl_flag(ctl, "version")) {
        printf("ctrctl %s\n", CTL_VERSION);
        return -1;
    }
    return argc - ctl->n_operands;
}

static int
run_command(struct ctl *ctl, int argc, char **argv)
{
    struct ctr_error err = CTR_ERROR_INIT;
    int used;
    const struct ctl_command *command = ctl_find(argc, argv, ctl->path, &used, &err);
    if (command == NULL) {
        ctl->command = NULL;
        return ctl_error(ctl, &err);
    }
    if (command->run == NULL && used < argc && ctr_starts_with(argv[used], "-")) {
        bool help = strcmp(argv[used], "--help") == 0 || strcmp(argv[used], "-h") == 0;
        ctl_help_show(help ? stdout : stderr, command, ctl->path);
        return help ? 0 : 1;
    }
    if (command->run == NULL) {
        ctl_help_show(stderr, command, ctl->path);
        return 1;
    }
    if (command == &ctl_complete) {
        ctl_complete_words(ctl, argc - used, argv + used);
        return 0;
    }
    int rc = ctl_parse(ctl, command, argc - used, argv + used, &err);
    if (rc == CTL_HELP_WANTED) {
        ctl_help_show(stdout, command, ctl->path);
        return 0;
    }
    return rc < 0 ? ctl_error(ctl, &err) : command->run(ctl);
}

int
ctl_main(int argc, char **argv)
{
    struct ctl ctl = {.profile = NULL};
    int status;
    int used = parse_globals(&ctl, argc - 1, argv + 1, &status);
    if (used >= 0) {
        status = run_command(&ctl, argc - 1 - used, argv + 1 + used);
    }
    ctl_finish(&ctl);
    if (fflush(stdout) != 0 && errno != EPIPE) {
        ctl_complain("standard output: %s; what was shown is not complete", strerror(errno));
        status = status == 0 ? 1 : status;
    }
    return status;
}
