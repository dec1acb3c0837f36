/*
 * help.c: help pages from the command tables, and the one way to complain.
 */
#include "core/cmd/cmd.h"
#include <signal.h>

static void
show_option(FILE *out, const struct ctl_option *option, int width)
{
    char left[64];
    char letter[8] = "    ";
    if (option->letter != 0) {
        (void) snprintf(letter, sizeof letter, "-%c, ", option->letter);
    }
    (void) snprintf(left, sizeof left, "%s--%s%s%s", letter, option->name,
                    option->argument != NULL ? " " : "",
                    option->argument != NULL ? option->argument : "");
    fprintf(out, "  %-*s   %s\n", width, left, option->help);
}

static void
show_options(FILE *out, const char *heading, const struct ctl_option *options)
{
    int width = 0;
    for (const struct ctl_option *o = options; o->name != NULL; o++) {
        int n = 6 + (int) strlen(o->name) +
                (o->argument != NULL ? 1 + (int) strlen(o->argument) : 0);
        width = n > width ? n : width;
    }
    fprintf(out, "\n%s:\n", heading);
    for (const struct ctl_option *o = options; o->name != NULL; o++) {
        show_option(out, o, width);
    }
}

static void
show_entries(FILE *out, const struct ctl_entry *entries)
{
    if (entries->heading == NULL) {
        fprintf(out, "\nCommands:\n");
    }
    for (const struct ctl_entry *e = entries; e->name != NULL; e++) {
        if (e->hidden) {
            continue;
        }
        if (e->heading != NULL) {
            fprintf(out, "\n%s:\n", e->heading);
        }
        fprintf(out, "  %-12s %s\n", e->name, e->command->summary);
    }
}

static void
show_examples(FILE *out, const char *examples)
{
    fprintf(out, "\nExamples:\n");
    for (const char *line = examples; *line != '\0';) {
        int length = (int) strcspn(line, "\n");
        fprintf(out, "  %.*s\n", length, line);
        line += length + (line[length] == '\n');
    }
}

static void
show_top(FILE *out)
{
    fprintf(out, "Usage:  ctrctl [OPTIONS] COMMAND [ARG...]\n\n"
                 "Runs each Linux container in a virtual machine of its own.\n");
    show_entries(out, ctl_commands);
    show_options(out, "Options, before or after the command", ctl_global_options);
    show_examples(out, "ctrctl run --rm -it alpine sh\n"
                       "ctrctl run -d --name web -p 8080:80 nginx\n"
                       "ctrctl --profile lab ps");
    fprintf(out, "\nRun 'ctrctl COMMAND --help' for more information on a command.\n");
}

void
ctl_help_show(FILE *out, const struct ctl_command *command, const char *path)
{
    if (command == NULL) {
        show_top(out);
        return;
    }
    if (command->subcommands != NULL) {
        fprintf(out, "Usage:  %s COMMAND\n\n%s\n", path, command->summary);
        show_entries(out, command->subcommands);
        fprintf(out, "\nRun '%s COMMAND --help' for more information on a command.\n", path);
        return;
    }
    fprintf(out, "Usage:  %s%s%s%s\n\n%s\n", path, command->options != NULL ? " [OPTIONS]" : "",
            command->operands[0] ? " " : "", command->operands, command->summary);
    if (command->text != NULL) {
        fprintf(out, "\n%s\n", command->text);
    }
    if (command->options != NULL) {
        show_options(out, "Options", command->options);
    }
    if (command->examples != NULL) {
        show_examples(out, command->examples);
    }
}

void
ctl_complain(const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    (void) vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void) fflush(stdout);
    CTR_AUTO(free) char *safe = ctr_printable(text);
    fprintf(stderr, "ctrctl: %s\n", safe != NULL ? safe : "out of memory");
}

int
ctl_failure_status(const struct ctl *ctl)
{
    return ctl->command != NULL && ctl->command->error_status != 0 ? ctl->command->error_status
                                                                   : 1;
}

int
ctl_error(const struct ctl *ctl, const struct ctr_error *err)
{
    ctl_complain("%s", err->msg);
    return err->code == -ECANCELED ? 128 + SIGINT : ctl_failure_status(ctl);
}
