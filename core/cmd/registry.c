/*
 * registry.c: login, logout, registry ls and search-tags: what ctr and a registry know of each other. The daemon keeps the credentials.
 */
#include "core/cmd/show.h"

enum { CTL_SECRET_MAX = 16 * 1024 };

static const char *
host_of(const struct ctl *ctl)
{
    return ctl->n_operands > 0 ? ctl->operands[0] : "docker.io";
}

/* --- login --- */

/* All of standard input, without its last newline. */
static int
read_secret(char *ret, size_t size, struct ctr_error *err)
{
    size_t n;
    int rc = ctr_read_all(0, ret, size, &n);
    if (rc < 0) {
        return ctr_fail(err, rc, "login: standard input: %s", strerror(-rc));
    }
    if (n == size) {
        return ctr_fail(err, -E2BIG, "login: the password is longer than %zu bytes", size - 1);
    }
    n -= n > 0 && ret[n - 1] == '\n';
    n -= n > 0 && ret[n - 1] == '\r';
    ret[n] = '\0';
    return memchr(ret, '\0', n) == NULL
               ? 0
               : ctr_fail(err, -EINVAL, "login: the password has a NUL byte in it");
}

/* A text of the command line into its place. */
static int
take_word(const char *text, char *ret, size_t size, struct ctr_error *err)
{
    int n = snprintf(ret, size, "%s", text);
    return n >= 0 && (size_t) n < size
               ? 0
               : ctr_fail(err, -E2BIG,
                          "login: a user name has at most 511 bytes, a password %d",
                          CTL_SECRET_MAX - 1);
}

static int
get_user(const struct ctl *ctl, char *ret, size_t size, struct ctr_error *err)
{
    const char *user = ctl_value(ctl, "username");
    struct ctr_error why = CTR_ERROR_INIT;
    if (user != NULL) {
        if (take_word(user, ret, size, err) < 0) {
            return err->code;
        }
    } else if (ctl_flag(ctl, "password-stdin")) {
        return ctr_fail(err, -EINVAL, "login: --password-stdin needs --username NAME");
    } else if (ctl_ask("Username: ", false, ret, size, &why) < 0) {
        return ctr_fail(err, -EINVAL, "login: %s; give --username NAME and --password-stdin",
                        why.msg);
    }
    return *ret != '\0' ? 0 : ctr_fail(err, -EINVAL, "login: the user name is empty");
}

static int
get_secret(const struct ctl *ctl, char *ret, size_t size, struct ctr_error *err)
{
    const char *given = ctl_value(ctl, "password");
    struct ctr_error why = CTR_ERROR_INIT;
    if (given != NULL && ctl_flag(ctl, "password-stdin")) {
        return ctr_fail(err, -EINVAL,
                        "login: --password and --password-stdin do not go together");
    }
    if (given != NULL) {
        ctl_complain(
            "WARNING! Using --password is insecure: every user of this machine can see "
            "it. Use --password-stdin.");
        if (take_word(given, ret, size, err) < 0) {
            return err->code;
        }
    } else if (ctl_flag(ctl, "password-stdin")) {
        int rc = read_secret(ret, size, err);
        if (rc < 0) {
            return rc;
        }
    } else if (ctl_ask("Password: ", true, ret, size, &why) < 0) {
        return ctr_fail(err, -EINVAL,
                        "login: %s; pipe the password in and use --password-stdin", why.msg);
    }
    return *ret != '\0' ? 0 : ctr_fail(err, -EINVAL, "login: the password is empty");
}

static int
login(struct ctl *ctl, const char *user, const char *secret, struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *body =
        json_pack("{s:s,s:s,s:s}", "host", host_of(ctl), "user", user, "secret", secret);
    CTR_AUTO(json) json_t *answer = NULL;
    return body != NULL ? ctl_call(ctl, "POST", "/ctr/v1/registry/login", body, &answer, err)
                        : ctr_fail(err, -EINVAL, "login: user name and password must be UTF-8");
}

static int
login_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    char user[512], secret[CTL_SECRET_MAX];
    int rc = get_user(ctl, user, sizeof user, &err);
    rc = rc == 0 ? get_secret(ctl, secret, sizeof secret, &err) : rc;
    rc = rc == 0 ? login(ctl, user, secret, &err) : rc;
    explicit_bzero(secret, sizeof secret);
    if (rc < 0) {
        return ctl_error(ctl, &err);
    }
    printf("Login Succeeded\n");
    return 0;
}

static const struct ctl_option login_options[] = {
    {"password", 'p', "PASSWORD", "Password, for all to see; better --password-stdin"},
    {"password-stdin", 0, NULL, "Read the password from standard input"},
    {"username", 'u', "NAME", "User name (default: it is asked for)"},
    {NULL},
};
const struct ctl_command ctl_login = {
    .operands = "[HOST[:PORT]]",
    .summary = "Tell a registry who you are, and remember it",
    .text =
        "Without HOST it is Docker Hub. The registry is asked whether the password is good; "
        "the first plugin of\nthe profile's registry chain that stores credentials keeps it "
        "('ctrctl registry ls').",
    .examples =
        "ctrctl login registry.example.com\n"
        "pass show registry | ctrctl login -u ann --password-stdin registry.example.com",
    .options = login_options,
    .max_operands = 1,
    .run = login_main,
};

/* --- logout --- */

static int
logout_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *path = ctl_url("/ctr/v1/registry/login?host=%s", host_of(ctl));
    int rc = ctl_call(ctl, "DELETE", path, NULL, NULL, &err);
    if (rc == -ENOENT) {
        printf("Not logged in to %s\n", host_of(ctl));
        return 0;
    }
    if (rc < 0) {
        return ctl_error(ctl, &err);
    }
    printf("Removing login credentials for %s\n", host_of(ctl));
    return 0;
}

const struct ctl_command ctl_logout = {
    .operands = "[HOST[:PORT]]",
    .summary = "Forget what a login stored",
    .text = "Without HOST it is Docker Hub.",
    .examples = "ctrctl logout registry.example.com",
    .max_operands = 1,
    .run = logout_main,
};

/* --- registry ls --- */

static const struct ctl_column registry_columns[] = {
    {"Instance", "INSTANCE"}, {"Plugin", "PLUGIN"},   {"Stores", "STORES"}, {"Host", "HOST"},
    {"User", "USER"},         {"Answers", "ANSWERS"}, {"Error", "ERROR"},   {NULL, NULL},
};

static void
add_registry_row(json_t *rows, const json_t *instance, const json_t *stored)
{
    const char *error = ctr_json_str(instance, "error", "");
    (void) json_array_append_new(
        rows,
        json_pack(
            "{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "Instance", ctr_json_str(instance, "instance", ""),
            "Plugin", ctr_json_str(instance, "plugin", ""), "Stores",
            ctr_json_bool(instance, "stores", false) ? "yes" : "no", "Host",
            ctr_json_str(stored, "host", ""), "User", ctr_json_str(stored, "user", ""),
            "Answers", ctr_json_bool(instance, "answers", false) ? "yes" : "", "Error", error));
}

static int
registry_ls_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    bool one = ctl->n_operands > 0, troubled = false;
    CTR_AUTO(json) json_t *list = NULL;
    CTR_AUTO(free)
    char *path = ctl_url("/ctr/v1/registry?host=%s", one ? ctl->operands[0] : "");
    if (ctl_call(ctl, "GET", path, NULL, &list, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    CTR_AUTO(json) json_t *rows = json_array();
    size_t i, k;
    json_t *instance, *stored;
    json_array_foreach(list, i, instance)
    {
        json_t *hosts = json_object_get(instance, "hosts");
        troubled |= *ctr_json_str(instance, "error", "") != '\0';
        json_array_foreach(hosts, k, stored)
        {
            add_registry_row(rows, instance, stored);
        }
        if (json_array_size(hosts) == 0) {
            add_registry_row(rows, instance, NULL);
        }
    }
    CTR_AUTO(free)
    char *standard =
        ctr_printf("{{.Instance}}\t{{.Plugin}}\t{{.Stores}}\t{{.Host}}\t{{.User}}%s%s",
                   one ? "\t{{.Answers}}" : "", troubled ? "\t{{.Error}}" : "");
    return ctl_show(rows, registry_columns, standard, ctl_value(ctl, "format"), &err) < 0
               ? ctl_error(ctl, &err)
               : 0;
}

static const struct ctl_option registry_ls_options[] = {
    {"format", 0, "FORMAT",
     "table, json, 'table TEMPLATE' or a template: '{{.Host}} {{.User}}'"},
    {NULL},
};
const struct ctl_command ctl_registry_ls = {
    .operands = "[HOST[:PORT]]",
    .summary =
        "List the registry plugins in the order in which they are asked, and their logins",
    .text = "With HOST it also says which of them answers for it. Secrets are never shown.",
    .examples = "ctrctl registry ls\nctrctl registry ls registry.example.com",
    .options = registry_ls_options,
    .max_operands = 1,
    .run = registry_ls_main,
};

/* --- search-tags --- */

static int
search_tags_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *tags = NULL;
    CTR_AUTO(free)
    char *path = ctl_url("/ctr/v1/registry/tags?reference=%s", ctl->operands[0]);
    if (ctl_call(ctl, "GET", path, NULL, &tags, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    size_t i;
    json_t *tag;
    json_array_foreach(tags, i, tag)
    {
        CTR_AUTO(free) char *safe = ctr_printable(json_string_value(tag));
        printf("%s\n", safe != NULL ? safe : "");
    }
    return 0;
}

const struct ctl_command ctl_search_tags = {
    .operands = "IMAGE",
    .summary = "List the tags that a registry has for an image",
    .examples = "ctrctl search-tags alpine\nctrctl search-tags 127.0.0.1:5000/app",
    .min_operands = 1,
    .max_operands = 1,
    .words = CTL_WORDS_IMAGE,
    .run = search_tags_main,
};
