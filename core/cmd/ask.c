/*
 * ask.c: questions on the terminal. What is typed as an answer to a secret one is not shown, and the terminal is put back whatever happens.
 */
#include "core/cmd/session.h"
#include "core/cmd/show.h"
#include <poll.h>
#include <signal.h>

/* A signal came while we wait: those that end a program end this one. */
static void
take_signals(int signals)
{
    uint8_t number;
    while (read(signals, &number, 1) == 1) {
        if (number == SIGINT || number == SIGTERM || number == SIGHUP || number == SIGQUIT) {
            ctl_tty_restore();
            fputc('\n', stderr);
            ctl_signals_die(number);
        }
    }
}

/* A line without its end; what is beyond `size` is an error. */
static int
read_answer(int signals, char *ret, size_t size, struct ctr_error *err)
{
    size_t length = 0;
    for (;;) {
        char c;
        struct pollfd fds[2] = {{.fd = 0, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 || fds[1].revents != 0) {
            take_signals(signals);
            continue;
        }
        ssize_t n = read(0, &c, 1);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
            continue;
        }
        if (n < 0) {
            return ctr_fail(err, -errno, "standard input: %s", strerror(errno));
        }
        if (n == 0 || c == '\n') {
            ret[length] = '\0';
            return n == 0 && length == 0 ? ctr_fail(err, -ENODATA, "no answer was given") : 0;
        }
        if (length + 1 == size) {
            return ctr_fail(err, -E2BIG, "the answer is longer than %zu bytes", size - 1);
        }
        ret[length++] = c;
    }
}

int
ctl_ask(const char *question, bool secret, char *ret, size_t size, struct ctr_error *err)
{
    if (!isatty(0)) {
        return ctr_fail(err, -EINVAL, "standard input is not a terminal");
    }
    int signals = ctl_signals_catch(err);
    if (signals < 0) {
        return signals;
    }
    if (secret) {
        ctl_tty_hide();
    }
    fprintf(stderr, "%s", question);
    (void) fflush(stderr);
    int rc = read_answer(signals, ret, size, err);
    ctl_tty_restore();
    if (secret || rc < 0) {
        fputc('\n', stderr);
    }
    ctl_signals_release();
    return rc;
}

int
ctl_confirm(const char *warning, struct ctr_error *err)
{
    if (!isatty(0)) {
        return ctr_fail(err, -EINVAL,
                        "standard input is not a terminal, nobody can be asked; --force does "
                        "it without a question");
    }
    fprintf(stderr, "%s\n", warning);
    char answer[16];
    int rc =
        ctl_ask("Are you sure you want to continue? [y/N] ", false, answer, sizeof answer, err);
    if (rc == -ENODATA || rc == -E2BIG) {
        return 0;
    }
    return rc < 0 ? rc : strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0;
}
