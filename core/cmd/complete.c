/*
 * complete.c: completion for bash, zsh and fish. The scripts are three lines each: they hand the words to `ctrctl __complete`, which answers from the
 * command tables and, if the daemon runs (it is never started for this), from the daemon.
 */
#include "core/cmd/http.h"

static const char bash_script[] =
    "# ctrctl completion for bash: source <(ctrctl completion bash)\n"
    "_ctrctl() {\n"
    "    local IFS=$'\\n' words cur=${COMP_WORDS[COMP_CWORD]} line=${COMP_LINE:0:COMP_POINT}\n"
    "    read -r -a words <<<\"\"\n"
    "    IFS=$' \\t' read -r -a words <<<\"$line\"\n"
    "    [[ $line == *[[:space:]] ]] && words+=(\"\")\n"
    "    cur=${words[-1]}\n"
    "    local found\n"
    "    found=$(\"${words[0]}\" __complete \"${words[@]:1}\" 2>/dev/null | cut -f1)\n"
    "    COMPREPLY=()\n"
    "    if [[ $found == :file ]]; then\n"
    "        compopt -o default\n"
    "        return\n"
    "    fi\n"
    "    COMPREPLY=($(compgen -W \"$found\" -- \"$cur\"))\n"
    "    # readline breaks words at ':' and '=': what stands before them is not to be "
    "repeated\n"
    "    local prefix=${cur%\"${cur##*[:=]}\"} i\n"
    "    for i in \"${!COMPREPLY[@]}\"; do COMPREPLY[i]=${COMPREPLY[i]#\"$prefix\"}; done\n"
    "}\n"
    "complete -F _ctrctl ctrctl\n";

static const char zsh_script[] =
    "#compdef ctrctl\n"
    "# ctrctl completion for zsh: source <(ctrctl completion zsh), or a file _ctrctl in "
    "$fpath\n"
    "_ctrctl() {\n"
    "    local -a found names texts\n"
    "    local line tab=$'\\t'\n"
    "    found=(\"${(@f)$(\"${words[1]}\" __complete \"${(@)words[2,CURRENT]}\" "
    "2>/dev/null)}\")\n"
    "    if [[ ${found[1]} == :file ]]; then\n"
    "        _files\n"
    "        return\n"
    "    fi\n"
    "    for line in $found; do\n"
    "        names+=(\"${line%%$tab*}\")\n"
    "        texts+=(\"${line/$tab/  -- }\")\n"
    "    done\n"
    "    compadd -d texts -a names\n"
    "}\n"
    "if [[ $funcstack[1] == _ctrctl ]]; then _ctrctl \"$@\"; else compdef _ctrctl ctrctl; fi\n";

static const char fish_script[] =
    "# ctrctl completion for fish: ctrctl completion fish | source\n"
    "function __ctrctl_words\n"
    "    set -l words (commandline -opc) (commandline -ct)\n"
    "    set -l found ($words[1] __complete $words[2..-1] 2>/dev/null)\n"
    "    if test \"$found[1]\" = :file\n"
    "        __fish_complete_path (commandline -ct)\n"
    "    else\n"
    "        printf '%s\\n' $found\n"
    "    end\n"
    "end\n"
    "complete -c ctrctl -f -a '(__ctrctl_words)'\n";

static int
completion_main(struct ctl *ctl)
{
    static const struct {
        const char *shell, *script;
    } scripts[] = {{"bash", bash_script}, {"zsh", zsh_script}, {"fish", fish_script}};
    for (size_t i = 0; i < CTR_LENGTH(scripts); i++) {
        if (strcmp(ctl->operands[0], scripts[i].shell) == 0) {
            fputs(scripts[i].script, stdout);
            return 0;
        }
    }
    struct ctr_error err = CTR_ERROR_INIT;
    ctr_fail(&err, -EINVAL, "completion: there is none for '%s'; it is bash, zsh or fish",
             ctl->operands[0]);
    return ctl_error(ctl, &err);
}

const struct ctl_command ctl_completion = {
    .operands = "bash|zsh|fish",
    .summary = "Print a shell's completion script",
    .examples = "source <(ctrctl completion bash)\nctrctl completion fish | source",
    .min_operands = 1,
    .max_operands = 1,
    .run = completion_main,
};

static int
complete_main(struct ctl *ctl)
{
    return 0;
}
const struct ctl_command ctl_complete = {
    .operands = "[WORD...]",
    .summary = "What may stand at the last word",
    .max_operands = -1,
    .run = complete_main,
};

/* --- the words --- */

static void
offer(const char *word, const char *help, const char *begin)
{
    CTR_AUTO(free) char *safe = ctr_printable(word);
    if (safe != NULL && safe[0] != '\0' && strpbrk(safe, " \t'\"\\$`") == NULL &&
        ctr_starts_with(safe, begin)) {
        printf(help != NULL ? "%s\t%s\n" : "%s\n", safe, help);
    }
}

/* Names from a list of the daemon. key NULL: each member is text. */
static void
offer_names(const json_t *list, const char *key, const char *begin)
{
    size_t i;
    json_t *one;
    json_array_foreach((json_t *) list, i, one)
    {
        const json_t *value = key != NULL ? json_object_get(one, key) : one;
        if (json_is_array(value)) {
            offer_names(value, NULL, begin);
        } else if (json_is_string(value)) {
            const char *text = json_string_value(value);
            offer(text + (text[0] == '/'), NULL, begin);
        }
    }
}

static void
ask(struct ctl *ctl, const char *path, const char *key, const char *begin)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(http) struct ctl_http http = CTL_HTTP_INIT;
    http.fd = ctl_connect(ctl, false, &err);
    if (http.fd < 0 || ctl_http_send_on(&http, "GET", path, CTL_SEND_JSON, NULL, &err) < 0 ||
        ctl_http_head(&http, 2000, &err) < 0) {
        return;
    }
    CTR_AUTO(json) json_t *list = ctl_http_json(&http, 2000, &err);
    offer_names(list, key, begin);
}

static void
offer_entries(const struct ctl_entry *entries, const char *begin)
{
    for (; entries->name != NULL; entries++) {
        if (!entries->hidden) {
            offer(entries->name, entries->command->summary, begin);
        }
    }
}

static void
offer_kind(struct ctl *ctl, enum ctl_words words, const char *begin)
{
    switch (words) {
    case CTL_WORDS_FILE:
        printf(":file\n");
        break;
    case CTL_WORDS_CONTAINER:
        ask(ctl, CTL_API "/containers/json?all=1", "Names", begin);
        break;
    case CTL_WORDS_RUNNING:
        ask(ctl, CTL_API "/containers/json", "Names", begin);
        break;
    case CTL_WORDS_IMAGE:
        ask(ctl, CTL_API "/images/json", "RepoTags", begin);
        break;
    case CTL_WORDS_NETWORK:
        ask(ctl, CTL_API "/networks", "Name", begin);
        break;
    case CTL_WORDS_PLUGIN:
        ask(ctl, "/ctr/v1/plugins", "name", begin);
        break;
    case CTL_WORDS_SIGNAL:
        for (int i = 1; i < 32; i++) {
            const char *name = ctr_signal_name(i);
            if (name != NULL) {
                offer(name, NULL, begin);
            }
        }
        break;
    case CTL_WORDS_COMMAND:
        offer_entries(ctl_commands, begin);
        break;
    case CTL_WORDS_NONE:
        break;
    }
}

static void
offer_options(const struct ctl_option *options, const char *begin)
{
    for (; options != NULL && options->name != NULL; options++) {
        CTR_AUTO(free) char *word = ctr_printf("--%s", options->name);
        if (word != NULL) {
            offer(word, options->help, begin);
        }
    }
}

static void
offer_value(struct ctl *ctl, const struct ctl_option *option, const char *begin)
{
    const char *at = option->choices;
    while (at != NULL && *at != '\0') {
        size_t length = strcspn(at, "|");
        CTR_AUTO(free) char *word = strndup(at, length);
        if (word != NULL) {
            offer(word, NULL, begin);
        }
        at += length + (at[length] == '|');
    }
    offer_kind(ctl, option->words, begin);
}

/* The option of which `word` is the last letter or the name and which still wants a value; NULL if none. */
static const struct ctl_option *
open_option(const struct ctl_option *options, const char *word)
{
    if (word[0] != '-' || word[1] == '\0' || strchr(word, '=') != NULL) {
        return NULL;
    }
    for (; options != NULL && options->name != NULL; options++) {
        bool named = word[1] == '-' ? strcmp(word + 2, options->name) == 0
                                    : word[strlen(word) - 1] == options->letter;
        if (named && options->argument != NULL) {
            return options;
        }
    }
    return NULL;
}

/* The options before the command: returns how many words they take and remembers --profile. */
static int
skip_globals(struct ctl *ctl, int argc, char **argv)
{
    int at = 0;
    while (at < argc - 1 && argv[at][0] == '-') {
        const struct ctl_option *option = open_option(ctl_global_options, argv[at]);
        if (ctr_starts_with(argv[at], "--profile=")) {
            ctl->profile = argv[at] + strlen("--profile=");
        }
        if (option != NULL && at + 1 < argc - 1) {
            ctl->profile = argv[at + 1];
        }
        at += option != NULL ? 2 : 1;
    }
    return at;
}

/* The words behind the command. */
static void
complete_arguments(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
    const char *last = argv[argc - 1];
    const struct ctl_option *waiting = NULL;
    int operands = 0;
    for (int i = 0; i < argc - 1; i++) {
        if (waiting != NULL) {
            waiting = NULL;
        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            waiting = open_option(command->options, argv[i]);
            waiting = waiting != NULL ? waiting : open_option(ctl_global_options, argv[i]);
        } else if (++operands == 1 && command->stops_at_operand && command->max_operands < 0) {
            printf(":file\n");
            return;
        }
    }
    if (waiting != NULL) {
        offer_value(ctl, waiting, last);
    } else if (last[0] == '-') {
        offer_options(command->options, last);
        offer_options(ctl_global_options, last);
    } else if (command == &ctl_completion) {
        static const struct ctl_option shells = {.choices = "bash|zsh|fish"};
        offer_value(ctl, &shells, last);
    } else if (command->max_operands < 0 || operands < command->max_operands) {
        bool next = operands > 0 && command->next_words != CTL_WORDS_NONE;
        offer_kind(ctl, next ? command->next_words : command->words, last);
    }
}

void
ctl_complete_words(struct ctl *ctl, int argc, char **argv)
{
    if (argc == 0) {
        return;
    }
    int at = skip_globals(ctl, argc, argv);
    const struct ctl_entry *entries = ctl_commands;
    while (at < argc) {
        if (at == argc - 1) {
            if (argv[at][0] == '-') {
                offer_options(ctl_global_options, argv[at]);
            } else {
                offer_entries(entries, argv[at]);
            }
            return;
        }
        const struct ctl_entry *entry = ctl_entry_find(entries, argv[at++]);
        if (entry == NULL) {
            return;
        }
        if (entry->command->subcommands == NULL) {
            complete_arguments(ctl, entry->command, argc - at, argv + at);
            return;
        }
        entries = entry->command->subcommands;
    }
}
