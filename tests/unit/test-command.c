/* libctr-command: input, output, status, limits, and what a child gets and what it does not. */
#include <ctr/command.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct ctr_error err;
static struct ctr_command_result result;

/* /bin/sh -c SCRIPT with an input; the result is in `result`. */
static int
run(const char *script, const char *input, size_t length)
{
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    const char *const envp[] = {"PATH=/usr/bin:/bin", "GIVEN=yes", NULL};
    const struct ctr_command command = {.size = sizeof command,
                                        .limit_ms = 3000,
                                        .argv = argv,
                                        .envp = envp,
                                        .input = input,
                                        .input_length = length,
                                        .output_max = 100000};
    err = (struct ctr_error) CTR_ERROR_INIT;
    ctr_command_finish(&result);
    return ctr_command_run(&command, &result, &err);
}

static int
teardown(void **state)
{
    ctr_command_finish(&result);
    return 0;
}

static void
test_input_and_output(void **state)
{
    char *large = malloc(CTR_COMMAND_INPUT_MAX + 1);
    memset(large, 'x', CTR_COMMAND_INPUT_MAX + 1);
    assert_int_equal(run("cat; echo; cat /dev/stdin; exit 3", "in put", 6), 0);
    assert_string_equal(result.output, "in put\n");
    assert_int_equal(result.status, 3);
    assert_int_equal(run("wc -c", large, CTR_COMMAND_INPUT_MAX), 0);
    assert_int_equal(atol(result.output), CTR_COMMAND_INPUT_MAX);
    assert_int_equal(run(":", large, CTR_COMMAND_INPUT_MAX),
                     0); /* nobody reads it: no SIGPIPE */
    assert_int_equal(result.length, 0);
    assert_string_equal(result.output, "");
    assert_int_equal(run(":", large, CTR_COMMAND_INPUT_MAX + 1), -EMSGSIZE);
    assert_int_equal(run("kill -TERM $$", NULL, 0), 0);
    assert_int_equal(result.status, 128 + SIGTERM);
    free(large);
}

static void
test_what_a_child_gets(void **state)
{
    (void) setenv("SECRET_OF_OURS", "topsecret", 1);
    assert_int_equal(run("env | cut -d= -f1 | sort | tr '\\n' ' '; echo noise >&2", NULL, 0),
                     0);
    assert_non_null(strstr(result.output, "GIVEN "));
    assert_null(strstr(result.output, "SECRET"));
    /* Standard input, output and error, and the folder that is being listed: no descriptor of ours. */
    assert_int_equal(run("ls /proc/self/fd | tr '\\n' ' '", NULL, 0), 0);
    assert_string_equal(result.output, "0 1 2 3 ");
    assert_int_equal(run("ps -o pgid= -p $$ | tr -d ' '; echo $$", NULL, 0), 0);
    assert_int_equal(atol(result.output), atol(strchr(result.output, '\n') + 1));
    (void) signal(SIGPIPE, SIG_IGN);
    assert_int_equal(run("grep SigIgn /proc/self/status", NULL, 0), 0);
    /* Signals 32 and 33 are the C library's own. */
    assert_int_equal(strtoull(result.output + strlen("SigIgn:"), NULL, 16) & 0x7fffffff, 0);
}

static void
test_limits(void **state)
{
    assert_int_equal(run("yes", NULL, 0), -EFBIG);
    assert_null(result.output);
    assert_int_equal(run("printf '%100000s' x", NULL, 0), 0);
    assert_int_equal(result.length, 100000);
    assert_int_equal(run("printf '%100001s' x", NULL, 0), -EFBIG);
    const char *const argv[] = {"/bin/sh", "-c", "echo $$ >&1; sleep 100 & wait", NULL};
    struct ctr_command command = {
        .size = sizeof command, .limit_ms = 200, .argv = argv, .output_max = 100};
    assert_int_equal(ctr_command_run(&command, &result, &err), -ETIMEDOUT);
    assert_non_null(strstr(err.msg, "/bin/sh"));
}

static void
test_not_there(void **state)
{
    const char *const argv[] = {"/nowhere/program", NULL};
    const struct ctr_command command = {
        .size = sizeof command, .limit_ms = 1000, .argv = argv, .output_max = 100};
    int rc = ctr_command_run(&command, &result, &err);
    /* Where posix_spawn cannot tell, the child ends with 127. */
    assert_true(rc == -ENOENT || (rc == 0 && result.status == 127));
}

static void
test_environment(void **state)
{
    static const char *const names[] = {"KEEP_ME", "NOT_SET", NULL};
    (void) setenv("KEEP_ME", "1", 1);
    (void) setenv("KEEP_ME_NOT", "2", 1);
    const char **envp = ctr_command_environment(names, "MORE=3");
    assert_string_equal(envp[0], "KEEP_ME=1");
    assert_string_equal(envp[1], "MORE=3");
    assert_null(envp[2]);
    free(envp);
    envp = ctr_command_environment(names, NULL);
    assert_null(envp[1]);
    free(envp);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_input_and_output), TEST(test_what_a_child_gets), TEST(test_limits),
        TEST(test_not_there),        TEST(test_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
