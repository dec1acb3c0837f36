/*
 * Values by their type, for [engine] and for plugins' option tables alike, and what to say when they do not fit.
 */
#include "core/conf/conf-priv.h"
#include <strings.h>

const char *
ctr_option_type_name(int32_t type)
{
    static const char *const names[] = {"?", "string", "path", "int", "bool", "size", "choice"};
    return type > 0 && (size_t) type < CTR_LENGTH(names) ? names[type] : names[0];
}

static int
parse_bool(const char *text, int64_t *ret)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < CTR_LENGTH(words); i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *ret = i % 2;
            return 0;
        }
    }
    return -EINVAL;
}

static bool
is_choice(const char *text, const char *choices)
{
    size_t n = strlen(text);
    for (const char *at = choices; at != NULL; at = strchr(at, '|')) {
        at += *at == '|';
        if (n > 0 && strcspn(at, "|") == n && memcmp(at, text, n) == 0) {
            return true;
        }
    }
    return false;
}

static int
fail_range(const struct ctr_option *option, const char *text, struct ctr_error *err)
{
    if (option->min == 0 && option->max == 0) {
        return ctr_fail(err, -ERANGE, "%s: %s is too large", option->name, text);
    }
    if (option->type == CTR_OPTION_INT) {
        return ctr_fail(err, -ERANGE, "%s: %s is out of range, it must be from %lld to %lld",
                        option->name, text, (long long) option->min, (long long) option->max);
    }
    /* Limits are round numbers of K or more: shown in the largest unit that divides both. */
    static const char *const units[] = {"", "K", "M", "G", "T"};
    char limits[2][32];
    const int64_t values[2] = {option->min, option->max};
    for (size_t i = 0; i < 2; i++) {
        int64_t value = values[i];
        size_t unit = 0;
        while (value != 0 && value % 1024 == 0 && unit + 1 < CTR_LENGTH(units)) {
            value /= 1024;
            unit++;
        }
        (void) snprintf(limits[i], sizeof limits[i], "%lld%s", (long long) value, units[unit]);
    }
    return ctr_fail(err, -ERANGE, "%s: %s is out of range, it must be from %s to %s",
                    option->name, text, limits[0], limits[1]);
}

static int
parse_number(const struct ctr_option *option, const char *text, int64_t *ret,
             struct ctr_error *err)
{
    bool limited = option->min != 0 || option->max != 0;
    int64_t min = limited ? option->min : INT64_MIN, max = limited ? option->max : INT64_MAX;
    uint64_t size = 0;
    int code = option->type == CTR_OPTION_SIZE ? ctr_parse_size(text, &size)
                                               : ctr_parse_int(text, min, max, ret);
    if (option->type == CTR_OPTION_SIZE && code == 0) {
        bool fits = size <= INT64_MAX && (int64_t) size >= min && (int64_t) size <= max;
        code = fits ? 0 : -ERANGE;
        *ret = fits ? (int64_t) size : 0;
    }
    if (code == -ERANGE) {
        return fail_range(option, text, err);
    }
    if (code != 0) {
        const char *what = option->type == CTR_OPTION_SIZE
                               ? "a size: write a number with K, M, G or T, as in 512M"
                               : "a whole number";
        return ctr_fail(err, code, "%s: \"%s\" is not %s", option->name, text, what);
    }
    return 0;
}

static int
expand(const struct ctr_option *option, const char *text, const char *base, char **ret,
       struct ctr_error *err)
{
    bool as_is = option->type != CTR_OPTION_PATH || (base == NULL && text[0] != '~');
    char *copy = as_is ? strdup(text) : ctr_expand_path(text, base);
    if (copy == NULL) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", option->name);
    }
    *ret = copy;
    return 0;
}

int
ctr_value_parse(const struct ctr_option *option, const char *text, const char *base,
                char **ret_text, int64_t *ret_number, struct ctr_error *err)
{
    int code = 0;
    if (*text == '\0' && option->type != CTR_OPTION_STRING) {
        return ctr_fail(err, -EINVAL, "%s: no value: write one or remove the line",
                        option->name);
    }
    switch (option->type) {
    case CTR_OPTION_STRING:
    case CTR_OPTION_PATH:
        break;
    case CTR_OPTION_INT:
    case CTR_OPTION_SIZE:
        code = parse_number(option, text, ret_number, err);
        break;
    case CTR_OPTION_BOOL:
        if (parse_bool(text, ret_number) != 0) {
            code = ctr_fail(err, -EINVAL, "%s: \"%s\" is neither true nor false", option->name,
                            text);
        }
        break;
    case CTR_OPTION_CHOICE:
        if (!is_choice(text, option->choices)) {
            code = ctr_fail(err, -EINVAL, "%s: \"%s\" is none of %s", option->name, text,
                            option->choices == NULL ? "(nothing)" : option->choices);
        }
        break;
    default:
        code = ctr_fail(err, -EINVAL, "%s: of a type that this version does not know",
                        option->name);
    }
    return code != 0 ? code : expand(option, text, base, ret_text, err);
}
