/*
 * Dockerfile lines, as docker import and commit take them: one instruction a line. CMD and ENTRYPOINT are a JSON array or a shell's command; the others are words
 * with quotes, backslashes and $NAME or ${NAME} of the image's own environment.
 */
#include "core/image/changes.h"
#include <ctype.h>
#include <strings.h>

/* --- words --- */

struct words {
    const json_t *env; /* ["NAME=value", …] */
    const char *at;
    struct ctr_buf word;
    size_t equals; /* where the first bare = stands in `word`, SIZE_MAX: nowhere */
};

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static const char *
skip_blanks(const char *text)
{
    while (is_blank(*text)) {
        text++;
    }
    return text;
}

static const char *
words_variable(const struct words *words, const char *name, size_t length)
{
    const char *value = "";
    size_t i = 0;
    json_t *entry = NULL;
    json_array_foreach(words->env, i, entry)
    {
        const char *text = json_string_value(entry);
        if (strncmp(text, name, length) == 0 && text[length] == '=') {
            value = text + length + 1;
        }
    }
    return value;
}

/* At a $. */
static int
words_expand(struct words *words, struct ctr_error *err)
{
    const char *name = words->at + 1;
    bool braces = *name == '{';
    name += braces;
    size_t length = 0;
    while (isalnum((unsigned char) name[length]) || name[length] == '_') {
        length++;
    }
    if (braces && (length == 0 || name[length] != '}')) {
        return ctr_fail(err, -EINVAL,
                        "\"%.60s\": only $NAME and ${NAME} are known; write \\$ for a dollar",
                        words->at);
    }
    if (length == 0) {
        ctr_buf_add(&words->word, "$", 1);
        words->at++;
        return 0;
    }
    ctr_buf_puts(&words->word, words_variable(words, name, length));
    words->at = name + length + braces;
    return 0;
}

static int
words_quoted(struct words *words, char quote, struct ctr_error *err)
{
    const char *start = words->at++;
    while (*words->at != quote) {
        char c = *words->at;
        if (c == '\0') {
            return ctr_fail(err, -EINVAL, "\"%.60s\": a quote that does not end", start);
        }
        if (quote == '"' && c == '$') {
            int rc = words_expand(words, err);
            if (rc < 0) {
                return rc;
            }
            continue;
        }
        if (quote == '"' && c == '\\' && words->at[1] != '\0' &&
            strchr("\"$\\", words->at[1]) != NULL) {
            c = *++words->at;
        }
        ctr_buf_add(&words->word, &c, 1);
        words->at++;
    }
    words->at++;
    return 0;
}

/* The next word into words->word: 1, or 0 at the end of the line. `all`: blanks do not end it. */
static int
words_next(struct words *words, bool all, struct ctr_error *err)
{
    ctr_buf_clear(&words->word);
    words->equals = SIZE_MAX;
    words->at = skip_blanks(words->at);
    if (*words->at == '\0') {
        return 0;
    }
    ctr_buf_puts(&words->word, "");
    int rc = 0;
    while (rc == 0 && *words->at != '\0' && (all || !is_blank(*words->at))) {
        char c = *words->at;
        if (c == '"' || c == '\'') {
            rc = words_quoted(words, c, err);
            continue;
        }
        if (c == '$') {
            rc = words_expand(words, err);
            continue;
        }
        if (c == '\\' && words->at[1] != '\0') {
            c = *++words->at;
        } else if (c == '=' && words->equals == SIZE_MAX) {
            words->equals = words->word.length;
        }
        ctr_buf_add(&words->word, &c, 1);
        words->at++;
    }
    if (rc == 0 && words->word.failed) {
        rc = ctr_fail(err, -ENOMEM, "out of memory");
    }
    return rc < 0 ? rc : 1;
}

/* The word's text; "" where it was empty quotes. */
static const char *
words_text(const struct words *words)
{
    return words->word.data != NULL ? words->word.data : "";
}

/* --- instructions: 0, or a negative code; `rest` is what stands behind the instruction --- */

static json_t *
member(json_t *process, const char *name, json_t *fresh)
{
    json_t *there = json_object_get(process, name);
    if (there != NULL) {
        json_decref(fresh);
        return there;
    }
    return json_object_set_new(process, name, fresh) < 0 ? NULL
                                                         : json_object_get(process, name);
}

static int
fail_memory(bool failed, struct ctr_error *err)
{
    return failed ? ctr_fail(err, -ENOMEM, "out of memory") : 0;
}

/* An array of texts, or NULL where it is something else. */
static json_t *
json_form(const char *rest)
{
    struct ctr_error ignored = CTR_ERROR_INIT;
    json_t *array =
        rest[0] == '[' ? ctr_json_parse(rest, strlen(rest), CTR_MAX_DOCUMENT, "array", &ignored)
                       : NULL;
    size_t i = 0;
    json_t *text = NULL;
    bool texts = json_is_array(array);
    json_array_foreach(array, i, text)
    {
        texts = texts && json_is_string(text);
    }
    if (!texts) {
        json_decref(array);
        return NULL;
    }
    return array;
}

static int
change_command(json_t *process, const char *name, const char *rest, struct ctr_error *err)
{
    json_t *command = json_form(rest);
    if (command == NULL) {
        command = json_pack("[s, s, s]", "/bin/sh", "-c", rest);
    }
    return fail_memory(json_object_set_new(process, name, command) < 0, err);
}

static int
change_cmd(json_t *process, const char *rest, struct ctr_error *err)
{
    return change_command(process, "Cmd", rest, err);
}

static int
change_entrypoint(json_t *process, const char *rest, struct ctr_error *err)
{
    return change_command(process, "Entrypoint", rest, err);
}

/* NAME=value replaces an older value of the name. */
static int
env_set(json_t *process, const char *name, size_t length, const char *value,
        struct ctr_error *err)
{
    json_t *env = member(process, "Env", json_array());
    json_t *entry = json_sprintf("%.*s=%s", (int) length, name, value);
    for (size_t i = 0; entry != NULL && i < json_array_size(env); i++) {
        const char *old = json_string_value(json_array_get(env, i));
        if (strncmp(old, name, length) == 0 && old[length] == '=') {
            return fail_memory(json_array_set_new(env, i, entry) < 0, err);
        }
    }
    return fail_memory(json_array_append_new(env, entry) < 0, err);
}

static int
label_set(json_t *process, const char *name, size_t length, const char *value,
          struct ctr_error *err)
{
    json_t *labels = member(process, "Labels", json_object());
    CTR_AUTO(free) char *key = strndup(name, length);
    return fail_memory(key == NULL || json_object_set_new(labels, key, json_string(value)) < 0,
                       err);
}

/* NAME=value …, or the old form NAME and all the rest. */
static int
change_pairs(json_t *process, const char *rest,
             int (*set)(json_t *process, const char *name, size_t length, const char *value,
                        struct ctr_error *err),
             struct ctr_error *err)
{
    struct words words = {.env = json_object_get(process, "Env"), .at = rest};
    int rc = words_next(&words, false, err);
    if (rc == 1 && words.equals == SIZE_MAX) {
        CTR_AUTO(free) char *name = strdup(words_text(&words));
        rc = words_next(&words, true, err);
        if (rc == 0) {
            rc = ctr_fail(err, -EINVAL, "%.60s has no value", name);
        } else if (rc == 1) {
            rc = name == NULL || name[0] == '\0'
                     ? ctr_fail(err, -EINVAL, "a name is empty")
                     : set(process, name, strlen(name), words_text(&words), err);
        }
        ctr_buf_clear(&words.word);
        return rc;
    }
    for (; rc == 1; rc = rc < 0 ? rc : words_next(&words, false, err)) {
        const char *text = words_text(&words);
        if (words.equals == SIZE_MAX || words.equals == 0) {
            rc = ctr_fail(err, -EINVAL, "\"%.60s\" is not NAME=value", text);
        } else {
            rc = set(process, text, words.equals, text + words.equals + 1, err);
        }
    }
    ctr_buf_clear(&words.word);
    return rc;
}

static int
change_env(json_t *process, const char *rest, struct ctr_error *err)
{
    return change_pairs(process, rest, env_set, err);
}

static int
change_label(json_t *process, const char *rest, struct ctr_error *err)
{
    return change_pairs(process, rest, label_set, err);
}

/* Calls each(process, word) for all words, or all texts of a JSON array. */
static int
each_word(json_t *process, const char *rest,
          int (*each)(json_t *process, const char *word, struct ctr_error *err),
          struct ctr_error *err)
{
    CTR_AUTO(json) json_t *array = json_form(rest);
    size_t i = 0;
    json_t *text = NULL;
    int rc = 0;
    json_array_foreach(array, i, text)
    {
        rc = rc < 0 ? rc : each(process, json_string_value(text), err);
    }
    struct words words = {.env = json_object_get(process, "Env"),
                          .at = array != NULL ? "" : rest};
    while (rc == 0 && (rc = words_next(&words, false, err)) == 1) {
        rc = each(process, words_text(&words), err);
    }
    ctr_buf_clear(&words.word);
    return rc;
}

/* 80, 80/udp, 8000-8010/tcp. */
static int
expose_word(json_t *process, const char *word, struct ctr_error *err)
{
    char ports[64], *dash = NULL;
    int64_t first = 0, last = 0;
    const char *slash = strchr(word, '/');
    const char *protocol = slash != NULL ? slash + 1 : "tcp";
    (void) snprintf(ports, sizeof ports, "%.*s",
                    slash != NULL ? (int) (slash - word) : (int) strlen(word), word);
    dash = strchr(ports, '-');
    if (dash != NULL) {
        *dash++ = '\0';
    }
    bool ok = ctr_parse_int(ports, 1, 65535, &first) == 0 &&
              ctr_parse_int(dash != NULL ? dash : ports, first, 65535, &last) == 0 &&
              (strcmp(protocol, "tcp") == 0 || strcmp(protocol, "udp") == 0 ||
               strcmp(protocol, "sctp") == 0);
    if (!ok) {
        return ctr_fail(err, -EINVAL,
                        "\"%.60s\" is no port; write it like 80, 53/udp or 8000-8010/tcp",
                        word);
    }
    json_t *exposed = member(process, "ExposedPorts", json_object());
    for (int64_t port = first; port <= last; port++) {
        char key[32];
        (void) snprintf(key, sizeof key, "%lld/%s", (long long) port, protocol);
        if (json_object_set_new(exposed, key, json_object()) < 0) {
            return fail_memory(true, err);
        }
    }
    return 0;
}

static int
change_expose(json_t *process, const char *rest, struct ctr_error *err)
{
    return each_word(process, rest, expose_word, err);
}

static int
volume_word(json_t *process, const char *word, struct ctr_error *err)
{
    if (word[0] == '\0') {
        return ctr_fail(err, -EINVAL, "a volume has no path");
    }
    json_t *volumes = member(process, "Volumes", json_object());
    return fail_memory(json_object_set_new(volumes, word, json_object()) < 0, err);
}

static int
change_volume(json_t *process, const char *rest, struct ctr_error *err)
{
    return each_word(process, rest, volume_word, err);
}

/* The rest of the line as one text; caller frees. */
static int
one_text(const json_t *process, const char *rest, char **ret, struct ctr_error *err)
{
    struct words words = {.env = json_object_get(process, "Env"), .at = rest};
    int rc = words_next(&words, true, err);
    if (rc == 1 && words_text(&words)[0] == '\0') {
        rc = ctr_fail(err, -EINVAL, "its value is empty");
    }
    if (rc == 1) {
        *ret = ctr_buf_take(&words.word);
        rc = fail_memory(*ret == NULL, err);
    }
    ctr_buf_clear(&words.word);
    return rc;
}

static int
change_user(json_t *process, const char *rest, struct ctr_error *err)
{
    CTR_AUTO(free) char *user = NULL;
    int rc = one_text(process, rest, &user, err);
    return rc < 0
               ? rc
               : fail_memory(json_object_set_new(process, "User", json_string(user)) < 0, err);
}

/* A relative one stands below the one before. */
static int
change_workdir(json_t *process, const char *rest, struct ctr_error *err)
{
    CTR_AUTO(free) char *folder = NULL;
    int rc = one_text(process, rest, &folder, err);
    if (rc < 0) {
        return rc;
    }
    const char *before = ctr_json_str(process, "WorkingDir", "/");
    json_t *text =
        folder[0] == '/'
            ? json_string(folder)
            : json_sprintf("%s%s%s", before, ctr_ends_with(before, "/") ? "" : "/", folder);
    return fail_memory(json_object_set_new(process, "WorkingDir", text) < 0, err);
}

static int
change_stopsignal(json_t *process, const char *rest, struct ctr_error *err)
{
    CTR_AUTO(free) char *signal = NULL;
    int rc = one_text(process, rest, &signal, err);
    if (rc == 0 && ctr_signal_number(signal) < 0) {
        rc = ctr_fail(err, -EINVAL, "\"%.60s\" is no signal; write it like SIGTERM or 15",
                      signal);
    }
    return rc < 0
               ? rc
               : fail_memory(
                     json_object_set_new(process, "StopSignal", json_string(signal)) < 0, err);
}

static const struct instruction {
    const char *name;
    int (*change)(json_t *process, const char *rest, struct ctr_error *err);
} instructions[] = {
    {"CMD", change_cmd},
    {"ENTRYPOINT", change_entrypoint},
    {"ENV", change_env},
    {"EXPOSE", change_expose},
    {"LABEL", change_label},
    {"USER", change_user},
    {"VOLUME", change_volume},
    {"WORKDIR", change_workdir},
    {"STOPSIGNAL", change_stopsignal},
};

static int
change_line(json_t *process, const char *line, struct ctr_error *err)
{
    size_t length = strcspn(line, " \t\r");
    CTR_AUTO(free) char *rest = strdup(skip_blanks(line + length));
    if (rest == NULL) {
        return fail_memory(true, err);
    }
    for (size_t n = strlen(rest); n > 0 && is_blank(rest[n - 1]); n--) {
        rest[n - 1] = '\0';
    }
    for (size_t i = 0; i < CTR_LENGTH(instructions); i++) {
        const struct instruction *known = &instructions[i];
        if (strlen(known->name) == length && strncasecmp(line, known->name, length) == 0) {
            return rest[0] != '\0' ? known->change(process, rest, err)
                                   : ctr_fail(err, -EINVAL, "it has no value");
        }
    }
    return ctr_fail(err, -EINVAL,
                    "\"%.*s\" is not known; CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, "
                    "WORKDIR and STOPSIGNAL are",
                    length < 40 ? (int) length : 40, line);
}

int
changes_apply(json_t *process, const char *line, struct ctr_error *err)
{
    CTR_AUTO(free) char *text = strdup(skip_blanks(line));
    if (text == NULL) {
        return fail_memory(true, err);
    }
    size_t length = strlen(text);
    while (length > 0 && (text[length - 1] == '\n' || is_blank(text[length - 1]))) {
        text[--length] = '\0';
    }
    if (text[0] == '\0' || text[0] == '#') {
        return 0;
    }
    int rc = strchr(text, '\n') != NULL || !ctr_is_utf8(text, length)
                 ? ctr_fail(err, -EINVAL, "one line of UTF-8 text is wanted")
                 : change_line(process, text, err);
    return rc < 0 ? ctr_prefix(err, "change \"%.80s\"", text) : 0;
}
