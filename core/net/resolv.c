/*
 * The host's resolv.conf, as far as containers take it over: search domains and options. Of several lines the last counts, as resolv.conf(5) has it.
 */
#include "core/net/net-priv.h"

#define MAX_FILE ((size_t) 64 << 10)
#define MAX_WORD 255
#define MAX_WORDS 32
#define BLANKS " \t\r"

static json_t *
words(char *rest)
{
    json_t *list = json_array();
    for (char *word = strtok_r(NULL, BLANKS, &rest);
         word != NULL && json_array_size(list) < MAX_WORDS;
         word = strtok_r(NULL, BLANKS, &rest)) {
        if (strlen(word) <= MAX_WORD) {
            (void) json_array_append_new(list,
                                         json_string(word)); /* what is no UTF-8 is left out */
        }
    }
    return list;
}

static void
take_line(json_t *ret, char *line)
{
    char *rest = NULL;
    line[strcspn(line, "#;")] = '\0';
    const char *key = strtok_r(line, BLANKS, &rest);
    if (key == NULL) {
        return;
    }
    if (strcmp(key, "search") == 0 || strcmp(key, "domain") == 0) {
        (void) json_object_set_new(ret, "search", words(rest));
    } else if (strcmp(key, "options") == 0) {
        (void) json_object_set_new(ret, "options", words(rest));
    }
}

json_t *
ctr_resolv_read(const char *path)
{
    json_t *ret = json_pack("{s:[], s:[]}", "search", "options");
    CTR_AUTO(free) char *text = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    char *rest = NULL;
    if (ctr_read_file(path, MAX_FILE, &text, NULL, &err) != 0) {
        return ret;
    }
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        take_line(ret, line);
    }
    return ret;
}
