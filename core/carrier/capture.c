/*
 * Captures: the frames of one port or of all as a pcap file (draft-ietf-opsawg-pcap), nanosecond times, LINKTYPE_ETHERNET, into a sink.
 *
 * A reader that is too slow loses frames, whole ones; the network never waits for it. Several may run at once; the plugin is told to
 * begin when the first of a port (or of all) comes and to end when the last has gone.
 */
#include "core/carrier/carrier-priv.h"

#define MAX_CAPTURES 8
#define SNAPLEN 262144

/* Both in the byte order of the machine, as their magic number tells. */
struct pcap_head {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t zone, accuracy;
    uint32_t snaplen, link;
};
struct pcap_frame {
    uint32_t seconds, nanoseconds;
    uint32_t captured, length;
};

struct ctr_capture {
    struct ctr_capture *next;
    struct ctr_captures *all;
    struct ctr_sink sink;
    char id[129];
    int64_t left; /* frames; -1: no end */
    uint64_t frames, lost;
    bool ended; /* has all that it wanted, or its port is gone */
    bool gone;  /* the plugin has forgotten it with the port */
};

/* How many the plugin tells frames for by this id ("" stands for all ports). */
static size_t
count_of(const struct ctr_captures *captures, const char *id)
{
    size_t n = 0;
    for (const struct ctr_capture *c = captures->first; c != NULL; c = c->next) {
        n += !c->gone && strcmp(c->id, id) == 0;
    }
    return n;
}

static int
tell_plugin(const struct ctr_captures *captures, const char *id, uint32_t on,
            struct ctr_error *err)
{
    return captures->plugin(captures->self, id[0] == '\0' ? NULL : id, on, err);
}

int
ctr_capture_begin(struct ctr_captures *captures, const char *id, int64_t count,
                  const struct ctr_sink *sink, struct ctr_capture **ret, struct ctr_error *err)
{
    if (captures->n == MAX_CAPTURES) {
        return ctr_fail(err, -EMFILE, "%d captures run already on this network: end one",
                        MAX_CAPTURES);
    }
    struct ctr_capture *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int code = count_of(captures, id) > 0 ? 0 : tell_plugin(captures, id, 1, err);
    if (code != 0) {
        free(c);
        return code;
    }
    *c = (struct ctr_capture){.next = captures->first,
                              .all = captures,
                              .sink = *sink,
                              .left = count > 0 ? count : -1};
    (void) snprintf(c->id, sizeof c->id, "%s", id);
    captures->first = c;
    captures->n++;
    *ret = c;
    return 0;
}

int
ctr_capture_head(struct ctr_capture *capture)
{
    struct pcap_head head = {
        .magic = 0xa1b23c4d, .major = 2, .minor = 4, .snaplen = SNAPLEN, .link = 1};
    struct iovec part = {.iov_base = &head, .iov_len = sizeof head};
    return capture->sink.write(capture->sink.arg, &part, 1);
}

void
ctr_capture_free(struct ctr_capture *capture)
{
    struct ctr_error err = CTR_ERROR_INIT;
    if (capture == NULL) {
        return;
    }
    struct ctr_capture **at = &capture->all->first;
    while (*at != capture) {
        at = &(*at)->next;
    }
    *at = capture->next;
    capture->all->n--;
    if (!capture->gone && count_of(capture->all, capture->id) == 0 &&
        tell_plugin(capture->all, capture->id, 0, &err) != 0) {
        ctr_log(CTR_LEVEL_WARN, "event=capture-end id=%s error=\"%s\"", capture->id, err.msg);
    }
    free(capture);
}

static void
write_frame(struct ctr_capture *c, const struct iovec parts[2])
{
    if (c->sink.write(c->sink.arg, parts, 2) != 0) {
        c->lost++;
        return;
    }
    c->frames++;
    if (c->left > 0 && --c->left == 0) {
        c->ended = true;
        c->sink.end(c->sink.arg);
    }
}

void
ctr_captures_frame(struct ctr_captures *captures, const char *id, const void *bytes,
                   size_t length, int64_t now_ns)
{
    size_t captured = length > SNAPLEN ? SNAPLEN : length;
    struct pcap_frame head = {.seconds = (uint32_t) (now_ns / 1000000000),
                              .nanoseconds = (uint32_t) (now_ns % 1000000000),
                              .captured = (uint32_t) captured,
                              .length = (uint32_t) length};
    const struct iovec parts[2] = {
        {.iov_base = &head, .iov_len = sizeof head},
        {.iov_base = (void *) (uintptr_t) bytes, .iov_len = captured},
    };
    for (struct ctr_capture *c = captures->first; c != NULL; c = c->next) {
        if (!c->ended && (c->id[0] == '\0' || strcmp(c->id, id) == 0)) {
            write_frame(c, parts);
        }
    }
}

void
ctr_captures_gone(struct ctr_captures *captures, const char *id)
{
    for (struct ctr_capture *c = captures->first; c != NULL; c = c->next) {
        if (c->gone || strcmp(c->id, id) != 0) {
            continue;
        }
        c->gone = true;
        if (!c->ended) {
            c->ended = true;
            c->sink.end(c->sink.arg);
        }
    }
}

json_t *
ctr_captures_list(const struct ctr_captures *captures)
{
    json_t *list = json_array();
    for (const struct ctr_capture *c = captures->first; c != NULL; c = c->next) {
        (void) json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "id", c->id, "frames",
                                                     (json_int_t) c->frames, "lost",
                                                     (json_int_t) c->lost));
    }
    return list;
}
