/*
 * core/plugin, inside.
 */
#ifndef CTR_PLUGIN_PRIV_H
#define CTR_PLUGIN_PRIV_H

#include "core/plugin/plugin.h"

/* What is wrong with a plugin's object by the rules of <ctr/plugin.h>; `path` for the message, kind 0: any. */
int ctr_plugin_check(const struct ctr_plugin *plugin, const char *path, uint32_t kind,
                     struct ctr_error *err);
/* Entry i of a table whose entries may be larger than ours. */
const struct ctr_option *ctr_plugin_option(const struct ctr_plugin *plugin, uint32_t i);
/* The profile's plugin folders in order, NULL-terminated; ctr_plugin_dirs_free frees them. NULL on -ENOMEM. */
char **ctr_plugin_dirs(const struct ctr_conf *conf);
void ctr_plugin_dirs_free(char **dirs);
/* The kind of a word, 0 if unknown; `n` characters. */
uint32_t ctr_kind_by_name(const char *word, size_t n);
/* Splits "storage-ext4.so": its kind and where the name begins and how long it is; 0 if it is no plugin's file name. */
uint32_t ctr_plugin_file_kind(const char *file, const char **ret_name, size_t *ret_length);
/* The file is called KIND-NAME.so after the plugin in it. */
int ctr_plugin_check_file_name(const struct ctr_plugin *plugin, const char *path,
                               struct ctr_error *err);

#endif
