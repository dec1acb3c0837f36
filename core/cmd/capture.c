/*
 * capture.c: network capture, what goes through a network as a pcap file. Only whole records are written, so that the file is whole whenever and
 * however it ends.
 */
#include "core/cmd/session.h"
#include "core/cmd/show.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

enum { FILE_HEAD = 24, RECORD_HEAD = 16, RECORD_MAX = 1024 * 1024 };

struct capture {
    int out, signals;
    const char *path;
    struct ctr_buf have; /* not written yet */
    bool head;           /* the file's head is through */
    int64_t frames;
};

/* The length of the whole record, or file head, that `have` begins with; 0: it is not all there yet. */
static ssize_t
whole(const struct capture *capture, struct ctr_error *err)
{
    size_t head = capture->head ? RECORD_HEAD : FILE_HEAD;
    uint32_t length = 0;
    if (capture->have.length < head) {
        return 0;
    }
    if (capture->head) {
        memcpy(&length, capture->have.data + 8, sizeof length); /* of this host's byte order */
    }
    if (length > RECORD_MAX) {
        return ctr_fail(err, -EBADMSG,
                        "capture: the daemon's stream has a frame of %u bytes; see 'ctrctl "
                        "system logs'",
                        (unsigned) length);
    }
    return capture->have.length < head + length ? 0 : (ssize_t) (head + length);
}

static int
write_whole(struct capture *capture, struct ctr_error *err)
{
    ssize_t n;
    size_t ready = 0;
    struct capture rest = *capture;
    while ((n = whole(&rest, err)) > 0) {
        capture->frames += capture->head;
        capture->head = rest.head = true;
        ready += (size_t) n;
        rest.have.data += n;
        rest.have.length -= (size_t) n;
    }
    if (n < 0) {
        return (int) n;
    }
    int rc = ctr_write_all(capture->out, capture->have.data, ready);
    if (rc < 0) {
        return ctr_fail(err, rc, "%s: %s", capture->path, strerror(-rc));
    }
    ctr_buf_consume(&capture->have, ready);
    return 0;
}

/* 1: a signal that ends it has come. */
static int
interrupted(const struct capture *capture)
{
    uint8_t number;
    while (read(capture->signals, &number, 1) == 1) {
        if (number != SIGWINCH) {
            return 1;
        }
    }
    return 0;
}

static int
copy(struct ctl_http *http, struct capture *capture, struct ctr_error *err)
{
    CTR_AUTO(free) char *bytes = malloc(CTL_PIECE);
    if (bytes == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    for (;;) {
        ssize_t n = ctl_http_read(http, bytes, CTL_PIECE, -1, err);
        if (n == -EINTR && interrupted(capture)) {
            *err = (struct ctr_error) CTR_ERROR_INIT;
            return 0;
        }
        if (n == -EINTR) {
            continue;
        }
        if (n <= 0) {
            return (int) n;
        }
        ctr_buf_add(&capture->have, bytes, (size_t) n);
        if (write_whole(capture, err) < 0) {
            return err->code;
        }
    }
}

static int
open_out(const struct ctl *ctl, struct capture *capture, struct ctr_error *err)
{
    capture->path = ctl_value(ctl, "write");
    if (capture->path == NULL) {
        return ctr_fail(
            err, -EINVAL,
            "capture: where to? give a file with -w FILE.pcap, or -w - for standard "
            "output");
    }
    if (strcmp(capture->path, "-") == 0) {
        capture->path = "standard output";
        capture->out = isatty(1) ? -1 : fcntl(1, F_DUPFD_CLOEXEC, 3);
        return capture->out >= 0 ? 0
                                 : ctr_fail(err, -EINVAL,
                                            "capture: standard output is a terminal; give a "
                                            "file with -w, or a pipe to tcpdump -r -");
    }
    capture->out = open(capture->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return capture->out >= 0 ? 0
                             : ctr_fail(err, -errno, "%s: %s", capture->path, strerror(errno));
}

/* The request, with the container's and the count's parameters. */
static char *
url_of(const struct ctl *ctl, struct ctr_error *err)
{
    const char *count = ctl_value(ctl, "count");
    int64_t n = 0;
    if (count != NULL && ctr_parse_int(count, 1, INT64_MAX, &n) < 0) {
        ctr_fail(err, -EINVAL, "--count: '%s' must be a number of frames", count);
        return NULL;
    }
    CTR_AUTO(free)
    char *path = ctl_url("/ctr/v1/networks/%s/capture?container=%s", ctl->operands[0],
                         ctl->n_operands > 1 ? ctl->operands[1] : "");
    char *url = path == NULL ? NULL : ctr_printf("%s&count=%lld", path, (long long) n);
    if (url == NULL) {
        ctr_fail(err, -ENOMEM, "out of memory");
    }
    return url;
}

static int
run_capture(struct ctl *ctl, struct capture *capture, struct ctr_error *err)
{
    CTR_AUTO(http) struct ctl_http http = CTL_HTTP_INIT;
    CTR_AUTO(free) char *url = url_of(ctl, err);
    int rc = url == NULL ? err->code
                         : ctl_http_send(ctl, &http, "POST", url, CTL_SEND_JSON, NULL, err);
    rc = rc < 0 ? rc : ctl_http_head(&http, -1, err);
    rc = rc < 0 ? rc : open_out(ctl, capture, err);
    rc = rc < 0 ? rc : ctl_signals_catch(err);
    if (rc < 0) {
        return rc;
    }
    capture->signals = http.wake = rc;
    rc = copy(&http, capture, err);
    ctl_signals_release();
    if (rc == 0) {
        fprintf(stderr, "%lld frames\n", (long long) capture->frames);
    }
    return rc;
}

static int
capture_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct capture capture = {.out = -1};
    int rc = ctl_value(ctl, "write") == NULL ? open_out(ctl, &capture, &err)
                                             : run_capture(ctl, &capture, &err);
    ctr_buf_clear(&capture.have);
    ctr_auto_fd(&capture.out);
    return rc < 0 ? ctl_error(ctl, &err) : 0;
}

static const struct ctl_option capture_options[] = {
    {"count", 'c', "FRAMES", "End after so many (default: with Ctrl-C)"},
    {"write", 'w', "FILE", "The pcap file, - for standard output", NULL, CTL_WORDS_FILE},
    {NULL},
};
const struct ctl_command ctl_network_capture = {
    .operands = "NETWORK [CONTAINER]",
    .summary = "Write what goes through a network into a pcap file",
    .text = "Of one container, or of all. Ctrl-C ends it; the file is whole at any time.",
    .examples = "ctrctl network capture front -w front.pcap\n"
                "ctrctl network capture front web -c 100 -w - | tcpdump -n -r -",
    .options = capture_options,
    .min_operands = 1,
    .max_operands = 2,
    .words = CTL_WORDS_NETWORK,
    .next_words = CTL_WORDS_CONTAINER,
    .run = capture_main,
};
