/*
 * commands.c: which commands there are, under which names. What each takes is beside what it does.
 */
#include "core/cmd/cmd.h"

const struct ctl_option ctl_global_options[] = {
    {"help", 'h', NULL, "Show help"},
    {"profile", 0, "NAME|FILE", "Profile to use (default: CTR_PROFILE, else default)", NULL,
     CTL_WORDS_FILE},
    {"version", 'v', NULL, "Show ctrctl's version"},
    {NULL},
};

static const struct ctl_entry image_entries[] = {
    {"history", &ctl_history},
    {"import", &ctl_import},
    {"inspect", &ctl_image_inspect},
    {"load", &ctl_load},
    {"ls", &ctl_images},
    {"list", &ctl_images, .hidden = true},
    {"prune", &ctl_image_prune},
    {"pull", &ctl_pull},
    {"push", &ctl_push},
    {"rm", &ctl_rmi},
    {"remove", &ctl_rmi, .hidden = true},
    {"save", &ctl_save},
    {"tag", &ctl_tag},
    {"tree", &ctl_image_tree},
    {"verify", &ctl_image_verify},
    {NULL},
};
static const struct ctl_command image_group = {.summary = "Manage images",
                                               .subcommands = image_entries};

static const struct ctl_entry container_entries[] = {
    {"attach", &ctl_attach},
    {"create", &ctl_create},
    {"exec", &ctl_exec},
    {"inspect", &ctl_inspect},
    {"kill", &ctl_kill},
    {"logs", &ctl_logs},
    {"ls", &ctl_ps},
    {"list", &ctl_ps, .hidden = true},
    {"ps", &ctl_ps, .hidden = true},
    {"prune", &ctl_container_prune},
    {"rename", &ctl_rename},
    {"restart", &ctl_restart},
    {"rm", &ctl_rm},
    {"remove", &ctl_rm, .hidden = true},
    {"run", &ctl_run},
    {"start", &ctl_start},
    {"stop", &ctl_stop},
    {"wait", &ctl_wait},
    {NULL},
};
static const struct ctl_command container_group = {.summary = "Manage containers",
                                                   .subcommands = container_entries};

static const struct ctl_entry network_entries[] = {
    {"capture", &ctl_network_capture},
    {"connect", &ctl_network_connect},
    {"create", &ctl_network_create},
    {"disconnect", &ctl_network_disconnect},
    {"inspect", &ctl_network_inspect},
    {"ls", &ctl_network_ls},
    {"list", &ctl_network_ls, .hidden = true},
    {"prune", &ctl_network_prune},
    {"rm", &ctl_network_rm},
    {"remove", &ctl_network_rm, .hidden = true},
    {NULL},
};
static const struct ctl_command network_group = {.summary = "Manage networks",
                                                 .subcommands = network_entries};

static const struct ctl_entry plugin_entries[] = {
    {"ls", &ctl_plugin_ls},
    {"list", &ctl_plugin_ls, .hidden = true},
    {"show", &ctl_plugin_show},
    {"inspect", &ctl_plugin_show, .hidden = true},
    {NULL},
};
static const struct ctl_command plugin_group = {.summary = "Show plugins",
                                                .subcommands = plugin_entries};

static const struct ctl_entry registry_entries[] = {
    {"login", &ctl_login},
    {"logout", &ctl_logout},
    {"ls", &ctl_registry_ls},
    {"list", &ctl_registry_ls, .hidden = true},
    {NULL},
};
static const struct ctl_command registry_group = {.summary = "Manage logins to registries",
                                                  .subcommands = registry_entries};

static const struct ctl_entry system_entries[] = {
    {"df", &ctl_system_df},       {"info", &ctl_info, .hidden = true},
    {"logs", &ctl_system_logs},   {"prune", &ctl_system_prune},
    {"start", &ctl_system_start}, {"status", &ctl_system_status},
    {"stop", &ctl_system_stop},   {NULL},
};
static const struct ctl_command system_group = {
    .summary = "Manage the daemon and what it keeps", .subcommands = system_entries};

const struct ctl_entry ctl_commands[] = {
    {"run", &ctl_run, "Containers"},
    {"create", &ctl_create},
    {"start", &ctl_start},
    {"stop", &ctl_stop},
    {"restart", &ctl_restart},
    {"kill", &ctl_kill},
    {"rm", &ctl_rm},
    {"ps", &ctl_ps},
    {"logs", &ctl_logs},
    {"attach", &ctl_attach},
    {"exec", &ctl_exec},
    {"inspect", &ctl_inspect},
    {"wait", &ctl_wait},
    {"rename", &ctl_rename},
    {"events", &ctl_events},
    {"pull", &ctl_pull, "Images"},
    {"push", &ctl_push},
    {"images", &ctl_images},
    {"tag", &ctl_tag},
    {"rmi", &ctl_rmi},
    {"load", &ctl_load},
    {"save", &ctl_save},
    {"import", &ctl_import},
    {"history", &ctl_history},
    {"login", &ctl_login, "Registries"},
    {"logout", &ctl_logout},
    {"search-tags", &ctl_search_tags},
    {"registry", &registry_group},
    {"image", &image_group, "More"},
    {"container", &container_group},
    {"network", &network_group},
    {"plugin", &plugin_group},
    {"system", &system_group},
    {"info", &ctl_info},
    {"version", &ctl_version},
    {"completion", &ctl_completion},
    {"help", &ctl_help},
    {"__complete", &ctl_complete, .hidden = true},
    {NULL},
};

/* --- help --- */

static int
help_main(struct ctl *ctl)
{
    if (ctl->n_operands == 0) {
        ctl_help_show(stdout, NULL, "ctrctl");
        return 0;
    }
    struct ctr_error err = CTR_ERROR_INIT;
    char path[64];
    int used;
    const struct ctl_command *command =
        ctl_find(ctl->n_operands, (char **) ctl->operands, path, &used, &err);
    if (command == NULL) {
        return ctl_error(ctl, &err);
    }
    ctl_help_show(stdout, command, path);
    return 0;
}

const struct ctl_command ctl_help = {
    .operands = "[COMMAND...]",
    .summary = "Show help for a command",
    .examples = "ctrctl help run\nctrctl help image ls",
    .max_operands = 2,
    .words = CTL_WORDS_COMMAND,
    .run = help_main,
};
