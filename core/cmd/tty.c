/*
 * tty.c: what must be global in a process: the terminal's mode, its signals. Whatever way ctrctl goes out, the terminal is put back.
 */
#include "core/cmd/session.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

static struct termios ctl_saved;
static volatile sig_atomic_t ctl_raw; /* the mode is not the saved one */
static int ctl_signal_pipe[2] = {-1, -1};

/* SIGINT, SIGTERM and their like reach the container; SIGPIPE would end us before the terminal is put back. */
static const int ctl_caught[] = {SIGHUP,  SIGINT,  SIGQUIT,  SIGTERM,
                                 SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM};

void
ctl_tty_restore(void)
{
    if (ctl_raw) {
        ctl_raw = 0;
        (void) tcsetattr(0, TCSADRAIN, &ctl_saved);
    }
}

/* Remembers the present mode, to be put back; false if it is changed already or there is no terminal. */
static bool
save_mode(void)
{
    static bool registered;
    if (ctl_raw || tcgetattr(0, &ctl_saved) < 0) {
        return false;
    }
    if (!registered) {
        registered = atexit(ctl_tty_restore) == 0;
    }
    return true;
}

static void
set_mode(const struct termios *mode)
{
    ctl_raw = 1;
    if (tcsetattr(0, TCSANOW, mode) < 0) {
        ctl_raw = 0;
    }
}

void
ctl_tty_raw(void)
{
    if (save_mode()) {
        struct termios raw = ctl_saved;
        cfmakeraw(&raw);
        raw.c_cc[VMIN] = 1;
        raw.c_cc[VTIME] = 0;
        set_mode(&raw);
    }
}

void
ctl_tty_hide(void)
{
    if (save_mode()) {
        struct termios hidden = ctl_saved;
        hidden.c_lflag &= ~(tcflag_t) (ECHO | ECHOE | ECHOK | ECHONL);
        hidden.c_lflag |= ICANON | ISIG;
        set_mode(&hidden);
    }
}

bool
ctl_tty_size(int *ret_rows, int *ret_cols)
{
    static const int fds[] = {1, 0, 2};
    for (size_t i = 0; i < CTR_LENGTH(fds); i++) {
        struct winsize size;
        if (ioctl(fds[i], TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
            *ret_rows = size.ws_row;
            *ret_cols = size.ws_col;
            return true;
        }
    }
    return false;
}

static void
ctl_on_signal(int number)
{
    int saved = errno;
    unsigned char byte = (unsigned char) number;
    (void) !write(ctl_signal_pipe[1], &byte, 1);
    errno = saved;
}

int
ctl_signals_catch(struct ctr_error *err)
{
    if (ctl_signal_pipe[0] < 0) {
        if (pipe2(ctl_signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
            return ctr_fail(err, -errno, "pipe: %s", strerror(errno));
        }
    }
    struct sigaction action = {.sa_handler = ctl_on_signal};
    for (size_t i = 0; i < CTR_LENGTH(ctl_caught); i++) {
        struct sigaction old;
        bool nohup = ctl_caught[i] == SIGHUP && sigaction(SIGHUP, NULL, &old) == 0 &&
                     old.sa_handler == SIG_IGN;
        if (!nohup) {
            (void) sigaction(ctl_caught[i], &action, NULL);
        }
    }
    (void) signal(SIGPIPE, SIG_IGN);
    return ctl_signal_pipe[0];
}

void
ctl_signals_release(void)
{
    for (size_t i = 0; i < CTR_LENGTH(ctl_caught); i++) {
        struct sigaction old;
        if (sigaction(ctl_caught[i], NULL, &old) == 0 && old.sa_handler == ctl_on_signal) {
            (void) signal(ctl_caught[i], SIG_DFL);
        }
    }
    (void) signal(SIGPIPE, SIG_DFL);
}

void
ctl_signals_die(int number)
{
    ctl_tty_restore();
    (void) fflush(NULL);
    (void) signal(number, SIG_DFL);
    (void) raise(number);
    _exit(128 + number);
}

/* One key: "a" or "ctrl-x". -1 for none. */
static int
key_byte(const char *text, size_t length)
{
    if (length == 1 && *text > ' ' && *text < 0x7f) {
        return *text;
    }
    if (length == 6 && strncasecmp(text, "ctrl-", 5) == 0) {
        char c = text[5];
        c = (char) (c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
        return c >= '@' && c <= '_' ? c - '@' : -1;
    }
    return -1;
}

int
ctl_keys_parse(const char *text, struct ctl_keys *ret, struct ctr_error *err)
{
    struct ctl_keys keys = {.length = 0};
    for (const char *at = text; *at != '\0';) {
        size_t length = strcspn(at, ",");
        int byte = key_byte(at, length);
        if (byte < 0 || keys.length == sizeof keys.bytes) {
            return ctr_fail(err, -EINVAL,
                            "detach keys '%s': must be up to %zu of a letter or "
                            "ctrl-LETTER, with commas between: ctrl-p,ctrl-q",
                            text, sizeof keys.bytes);
        }
        keys.bytes[keys.length++] = (char) byte;
        at += length + (at[length] == ',');
    }
    *ret = keys;
    return 0;
}

size_t
ctl_keys_filter(struct ctl_keys *keys, const char *bytes, size_t n, char *out, bool *ret_detach)
{
    size_t made = 0;
    *ret_detach = false;
    for (size_t i = 0; i < n; i++) {
        if (keys->length > 0 && bytes[i] == keys->bytes[keys->matched]) {
            if (++keys->matched == keys->length) {
                keys->matched = 0;
                *ret_detach = true;
                return made;
            }
            continue;
        }
        memcpy(out + made, keys->bytes, keys->matched);
        made += keys->matched;
        keys->matched = 0;
        if (keys->length > 0 && bytes[i] == keys->bytes[0]) {
            keys->matched = 1;
        } else {
            out[made++] = bytes[i];
        }
    }
    return made;
}
