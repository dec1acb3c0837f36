/*
 * core/cmd: the command tables and what is made of them (parsing, man page, completion's choices), templates, stream frames, detach keys, URLs.
 * The man page is read from the source tree: CTR_TEST_ROOT, else the working directory.
 */
#include "core/cmd/session.h"
#include "core/cmd/show.h"
#include <setjmp.h>
#include <stdarg.h>
/* clang-format off */
#include <cmocka.h>
/* clang-format on */

/* --- the tables --- */

static void
check_options(const struct ctl_option *options)
{
    for (const struct ctl_option *o = options; o != NULL && o->name != NULL; o++) {
        assert_non_null(o->help);
        assert_true(strlen(o->help) > 4);
        assert_true(o->argument != NULL || (o->choices == NULL && o->words == CTL_WORDS_NONE));
        for (const struct ctl_option *p = o + 1; p->name != NULL; p++) {
            assert_string_not_equal(o->name, p->name);
            assert_true(o->letter == 0 || o->letter != p->letter);
        }
    }
}

static void
check_entries(const struct ctl_entry *entries,
              void (*each)(const char *path, const struct ctl_command *command),
              const char *prefix)
{
    for (const struct ctl_entry *e = entries; e->name != NULL; e++) {
        char path[64];
        (void) snprintf(path, sizeof path, "%s%s%s", prefix, prefix[0] ? " " : "", e->name);
        if (e->hidden) {
            continue;
        }
        if (e->command->subcommands != NULL) {
            check_entries(e->command->subcommands, each, path);
        } else {
            each(path, e->command);
        }
    }
}

static void
check_command(const char *path, const struct ctl_command *command)
{
    assert_non_null(command->run);
    assert_non_null(command->summary);
    assert_non_null(command->operands);
    assert_true(command->max_operands < 0 || command->min_operands <= command->max_operands);
    /* what takes operands says so, and the other way round */
    assert_int_equal(command->operands[0] != '\0', command->max_operands != 0);
    check_options(command->options);
}

static void
test_tables(void **state)
{
    check_options(ctl_global_options);
    check_entries(ctl_commands, check_command, "");
}

/* --- the man page --- */

static char *man_page;
static const struct ctl_command *seen[64];
static size_t n_seen;

static size_t
count(const char *text, const char *end, const char *part)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL && at < end;
         at += strlen(part)) {
        n++;
    }
    return n;
}

/* Each option has its `.It Fl x , Fl -name`, and there are no others. */
static void
check_man(const char *path, const struct ctl_command *command)
{
    for (size_t i = 0; i < n_seen; i++) {
        if (seen[i] == command) {
            return;
        }
    }
    seen[n_seen++] = command;
    char head[80];
    (void) snprintf(head, sizeof head, "\n.Ss %s\n", path);
    const char *from = strstr(man_page, head);
    if (from == NULL) {
        fail_msg("man/ctrctl.1 has no section '%s'", path);
        return;
    }
    const char *end = strstr(from + 1, "\n.S");
    assert_non_null(end);
    size_t n = 0;
    for (const struct ctl_option *o = command->options; o != NULL && o->name != NULL;
         o++, n++) {
        char item[128], letter[16] = "";
        if (o->letter != 0) {
            (void) snprintf(letter, sizeof letter, "Fl %c , ", o->letter);
        }
        (void) snprintf(item, sizeof item, "\n.It %sFl -%s%s%s\n", letter, o->name,
                        o->argument != NULL ? " Ar " : "",
                        o->argument != NULL ? o->argument : "");
        const char *found = strstr(from, item);
        if (found == NULL || found > end) {
            fail_msg("man/ctrctl.1, %s: lacks '%s'", path, item + 1);
        }
    }
    assert_int_equal(count(from, end, "\n.It Fl"), n);
}

static void
test_man_page(void **state)
{
    const char *root = getenv("CTR_TEST_ROOT");
    char path[4096];
    (void) snprintf(path, sizeof path, "%s/man/ctrctl.1", root != NULL ? root : ".");
    struct ctr_error err = CTR_ERROR_INIT;
    size_t length;
    if (ctr_read_file(path, 1 << 20, &man_page, &length, &err) < 0) {
        fail_msg("%s", err.msg);
    }
    check_entries(ctl_commands, check_man, "");
    /* and no section for a command that is not there */
    size_t sections = count(strstr(man_page, "\n.Sh COMMANDS"), man_page + length, "\n.Ss ");
    assert_int_equal(sections, n_seen);
    free(man_page);
}

/* --- parsing --- */

static int
parse(struct ctl *ctl, const struct ctl_command *command, struct ctr_error *err, int n, ...)
{
    static char *words[16];
    va_list args;
    va_start(args, n);
    for (int i = 0; i < n; i++) {
        words[i] = va_arg(args, char *);
    }
    va_end(args);
    *err = (struct ctr_error) CTR_ERROR_INIT;
    *ctl = (struct ctl){.path = "ctrctl test"};
    return ctl_parse(ctl, command, n, words, err);
}

static void
test_parse(void **state)
{
    struct ctl ctl;
    struct ctr_error err;
    assert_int_equal(parse(&ctl, &ctl_run, &err, 8, "-dit", "-eA=1", "--env", "B", "-m=1g",
                           "img", "-x", "--rm"),
                     0);
    assert_true(ctl_flag(&ctl, "detach") && ctl_flag(&ctl, "interactive") &&
                ctl_flag(&ctl, "tty"));
    assert_false(ctl_flag(&ctl, "rm"));
    assert_string_equal(ctl_value_at(&ctl, "env", 0), "A=1");
    assert_string_equal(ctl_value_at(&ctl, "env", 1), "B");
    assert_null(ctl_value_at(&ctl, "env", 2));
    assert_string_equal(ctl_value(&ctl, "memory"), "1g");
    assert_int_equal(ctl.n_operands, 3);
    assert_string_equal(ctl.operands[1], "-x");
    ctl_finish(&ctl);

    /* options between operands, and -- */
    assert_int_equal(parse(&ctl, &ctl_rm, &err, 4, "a", "-f", "--", "-b"), 0);
    assert_true(ctl_flag(&ctl, "force"));
    assert_string_equal(ctl.operands[1], "-b");
    ctl_finish(&ctl);

    /* the last one counts; a switch can be taken back; an empty value is one */
    assert_int_equal(
        parse(&ctl, &ctl_run, &err, 6, "--name", "a", "--name=", "--rm", "--rm=false", "i"), 0);
    assert_string_equal(ctl_value(&ctl, "name"), "");
    assert_false(ctl_flag(&ctl, "rm"));
    ctl_finish(&ctl);

    /* the profile is known everywhere */
    assert_int_equal(parse(&ctl, &ctl_ps, &err, 2, "--profile", "lab"), 0);
    assert_string_equal(ctl.profile, "lab");
    ctl_finish(&ctl);

    assert_int_equal(parse(&ctl, &ctl_ps, &err, 1, "--help"), 1);
    ctl_finish(&ctl);
    assert_int_equal(parse(&ctl, &ctl_ps, &err, 1, "-h"), 1);
    ctl_finish(&ctl);
    assert_int_equal(parse(&ctl, &ctl_run, &err, 3, "-h", "host", "i"), 0);
    assert_string_equal(ctl_value(&ctl, "hostname"), "host");
    ctl_finish(&ctl);
}

static void
test_parse_errors(void **state)
{
    struct ctl ctl;
    struct ctr_error err;
    assert_true(parse(&ctl, &ctl_run, &err, 2, "--nmae=x", "i") < 0);
    assert_non_null(strstr(err.msg, "the nearest is --name"));
    ctl_finish(&ctl);
    assert_true(parse(&ctl, &ctl_run, &err, 1, "-dZ") < 0);
    assert_non_null(strstr(err.msg, "unknown option -Z"));
    ctl_finish(&ctl);
    assert_true(parse(&ctl, &ctl_run, &err, 1, "-e") < 0);
    ctl_finish(&ctl);
    assert_true(parse(&ctl, &ctl_run, &err, 2, "--pull=", "i") < 0);
    ctl_finish(&ctl);
    assert_true(parse(&ctl, &ctl_run, &err, 2, "--pull=always|missing", "i") < 0);
    ctl_finish(&ctl);
    assert_true(parse(&ctl, &ctl_tag, &err, 3, "a", "b", "c") < 0);
    ctl_finish(&ctl);
    assert_true(parse(&ctl, &ctl_rename, &err, 1, "a") < 0);
    ctl_finish(&ctl);
}

/* --- templates --- */

static const char document[] =
    "{\"Name\":\"web\",\"N\":3,\"On\":true,\"Off\":false,\"None\":null,"
    "\"List\":[\"a\",\"b\"],\"Empty\":[],"
    "\"Map\":{\"x.y\":\"z\",\"k\":1},\"Evil\":\"\\u001b[1m\"}";

/* The template's text, or "error: …". */
static const char *
made(const char *template, bool safe)
{
    static char text[2048];
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json)
    json_t *dot = ctr_json_parse(document, strlen(document), 4096, "document", &err);
    assert_non_null(dot);
    struct ctr_buf out = {0};
    int rc = ctl_template(template, dot, safe, &out, &err);
    if (rc < 0) {
        (void) snprintf(text, sizeof text, "error: %s", err.msg);
    } else {
        (void) snprintf(text, sizeof text, "%s", out.data != NULL ? out.data : "");
    }
    /* what is wrong is found without a document too */
    struct ctr_error dry = CTR_ERROR_INIT;
    ctr_buf_clear(&out);
    int checked = ctl_template(template, NULL, safe, &out, &dry);
    assert_true(checked == 0 || rc < 0);
    assert_int_equal(out.length, 0);
    ctr_buf_clear(&out);
    return text;
}

static void
test_template(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"plain { } \\x", "plain { } \\x"},
        {"{{.Name}}\\t{{ .N }}\\n{{.On}}", "web\t3\ntrue"},
        {"{{.Map.k}}{{.None}}", "1<no value>"},
        {"{{json .List}}{{json .Name}}{{json .N}}", "[\"a\",\"b\"]\"web\"3"},
        {"{{.List}} {{.Map}}", "[a b] map[x.y:z k:1]"},
        {"{{index .List 1}}{{index .Map \"x.y\"}}", "bz"},
        {"{{index .List 7}}", "<no value>"},
        {"{{len .List}}{{len .Map}}{{len .Name}}", "223"},
        {"{{upper .Name}}{{lower \"ABC\"}}", "WEBabc"},
        {"{{join .List \", \"}}", "a, b"},
        {"{{range .List}}<{{.}}>{{end}}", "<a><b>"},
        {"{{range .Empty}}x{{else}}none{{end}}", "none"},
        {"{{range .List}}x{{else}}none{{end}}", "xx"},
        {"{{range .Map}}{{.}},{{end}}", "z,1,"},
        {"{{if .On}}yes{{else}}no{{end}}{{if .Off}}yes{{else}}no{{end}}{{if .Empty}}x{{end}}",
         "yesno"},
        {"{{if .Off}}{{.NotThere}}{{end}}ok", "ok"},
        {"{{upper (index .List 0)}}", "A"},
        {"{{range $v := .List}}<{{$v}}>{{end}}", "<a><b>"},
        {"{{range $i, $v := .List}}{{$i}}{{$v}}{{end}}", "0a1b"},
        {"{{range $k, $v := .Map}}{{$k}}={{$v}} {{end}}", "x.y=z k=1 "},
        {"{{range $v := .List}}{{range $k, $w := $.Map}}{{$v}}{{$k}} {{end}}{{end}}",
         "ax.y ak bx.y bk "},
        {"{{range $v := .Empty}}{{$v.x}}{{else}}none{{end}}", "none"},
        {"{{range .List}}{{$.Name}}{{end}}", "webweb"},
        {"{{($).Name}}{{(index $.Map \"k\")}}", "web1"},
        {"{{with .Map}}{{.k}}{{end}}{{with .Empty}}x{{else}}none{{end}}", "1none"},
    };
    for (size_t i = 0; i < CTR_LENGTH(cases); i++) {
        assert_string_equal(made(cases[i][0], false), cases[i][1]);
    }
    assert_string_equal(made("{{.Evil}}", false), "\033[1m");
    assert_null(strchr(made("{{.Evil}}", true), '\033'));
}

static void
test_template_errors(void **state)
{
    static const char *const cases[] = {
        "{{",
        "{{.Name",
        "{{.Name}",
        "{{.NotThere}}",
        "{{.Name.Deeper}}",
        "{{end}}",
        "{{if .On}}",
        "{{range .List}}",
        "{{else}}",
        "{{nofunction .Name}}",
        "{{json}}",
        "{{len .A .B}}",
        "{{index .List}}",
        "{{\"open}}",
        "{{(.Name}}",
        "{{(.Name",
        "{{if}}",
        "{{.Name .Map}}",
        "{{((((.Name))))}}x{{",
        "{{$v}}",
        "{{range $v := .List}}{{end}}{{$v}}",
        "{{range $v .List}}{{end}}",
        "{{range $ := .List}}{{end}}",
        "{{range $a, $b, $c := .List}}{{end}}",
        "{{range $a, := .List}}{{end}}",
        "{{$.NotThere}}",
        "{{with .Map}}",
    };
    for (size_t i = 0; i < CTR_LENGTH(cases); i++) {
        assert_true(ctr_starts_with(made(cases[i], false), "error: --format: "));
    }
    assert_non_null(strstr(made("{{.Nmae}}", false), ".Name"));
    char deep[4096] = "";
    for (size_t i = 0; i + 12 < sizeof deep; i += 11) {
        memcpy(deep + i, "{{if .On}}x", 12);
    }
    assert_non_null(strstr(made(deep, false), "too deep"));
}

/* --- frames, cut at every place --- */

static void
test_frames(void **state)
{
    static const char wire[] =
        "\1\0\0\0\0\0\0\3abc\2\0\0\0\0\0\0\2de\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\1f";
    const size_t length = sizeof wire - 1;
    for (size_t cut = 1; cut <= length; cut++) {
        struct ctl_frames frames = {.framed = true};
        char out[3][16] = {"", "", ""};
        for (size_t from = 0; from < length; from += cut) {
            size_t end = from + cut < length ? from + cut : length, at = from, n;
            const char *piece;
            while (ctl_frames_next(&frames, wire, &at, end, 2, &piece, &n) == 1) {
                assert_true(n > 0 && n <= 2);
                strncat(out[frames.fd], piece, n);
            }
        }
        assert_string_equal(out[1], "abcf");
        assert_string_equal(out[2], "de");
    }
    struct ctl_frames bad = {.framed = true};
    const char *piece;
    size_t at = 0, n;
    assert_int_equal(ctl_frames_next(&bad, "\7\0\0\0\0\0\0\1x", &at, 9, 9, &piece, &n),
                     -EBADMSG);
    bad = (struct ctl_frames){.framed = true};
    at = 0;
    assert_int_equal(ctl_frames_next(&bad, "\1\0\1\0\0\0\0\1x", &at, 9, 9, &piece, &n),
                     -EBADMSG);
}

/* --- detach keys --- */

static void
test_keys(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctl_keys keys;
    char out[64];
    bool detach;
    assert_int_equal(ctl_keys_parse("ctrl-p,ctrl-q", &keys, &err), 0);
    assert_int_equal(keys.length, 2);
    assert_memory_equal(keys.bytes, "\x10\x11", 2);
    assert_int_equal(ctl_keys_filter(&keys, "ab\x10", 3, out, &detach), 2);
    assert_false(detach);
    assert_int_equal(ctl_keys_filter(&keys, "c\x10", 2, out, &detach),
                     2); /* held back, then c */
    assert_memory_equal(out,
                        "\x10"
                        "c",
                        2);
    assert_int_equal(ctl_keys_filter(&keys, "\x10\x11x", 3, out, &detach), 1);
    assert_true(detach);

    assert_int_equal(ctl_keys_parse("", &keys, &err), 0);
    assert_int_equal(ctl_keys_filter(&keys, "\x10\x11", 2, out, &detach), 2);
    assert_false(detach);
    assert_int_equal(ctl_keys_parse("a,ctrl-\\,ctrl-@", &keys, &err), 0);
    assert_true(ctl_keys_parse("ctrl-1", &keys, &err) < 0);
    assert_true(ctl_keys_parse("ctrl-", &keys, &err) < 0);
    assert_true(ctl_keys_parse(",", &keys, &err) < 0);
    assert_true(ctl_keys_parse("a,b,c,d,e,f,g,h,i", &keys, &err) < 0);
}

/* --- URLs and columns --- */

static void
test_url(void **state)
{
    char *url = ctl_url("/a/%s/b?c=%s&d=%d", "x/y:1@z", "a b&c=%\n\xc3\xa4", -3);
    assert_string_equal(url, "/a/x/y:1@z/b?c=a%20b%26c%3D%25%0A%C3%A4&d=-3");
    free(url);
}

static void
test_columns(void **state)
{
    char text[] = "A\tLONG HEADING\tC\nwider than ten\tx\tlast\n\xc3\xa4\ty\t\n";
    FILE *out = tmpfile();
    assert_non_null(out);
    ctl_columns(out, text);
    rewind(out);
    char got[256] = "";
    size_t n = fread(got, 1, sizeof got - 1, out);
    got[n] = '\0';
    (void) fclose(out);
    assert_string_equal(got, "A                LONG HEADING   C\n"
                             "wider than ten   x              last\n"
                             "\xc3\xa4                y              \n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),   cmocka_unit_test(test_man_page),
        cmocka_unit_test(test_parse),    cmocka_unit_test(test_parse_errors),
        cmocka_unit_test(test_template), cmocka_unit_test(test_template_errors),
        cmocka_unit_test(test_frames),   cmocka_unit_test(test_keys),
        cmocka_unit_test(test_url),      cmocka_unit_test(test_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
