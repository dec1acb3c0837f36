/*
 * fuzz-boot: what ctr-init parses. The input is, by its first byte, either bytes of the channel (framing, control messages, boot
 * and process descriptions, mount options), or the image's passwd and group files with a user to look up.
 */
#include "guest/init/control.h"
#include "guest/init/loop.h"
#include "guest/init/mux.h"
#include "guest/init/netspec.h"
#include "guest/init/root.h"
#include "guest/init/users.h"
#include "guest/init/vm.h"
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

const bool root_is_private = true;
static bool over;

/* --- what stands in for processes and machine --- */

static void
echo(struct stream *stream)
{
    size_t room = stream_room(stream);
    size_t n = stream->in.length < room ? stream->in.length : room;
    if (n > 0) {
        uint8_t *place = stream_reserve(stream, n);
        if (place != NULL) {
            memcpy(place, buf_front(&stream->in), n);
            stream_commit(stream, n);
        }
        stream_take(stream, n);
    }
    if (stream->remote_fin || stream->reset) {
        stream_finish(stream);
        mux_release(stream);
    }
}

static void
adopt(uint32_t id)
{
    static int owner;
    struct stream *stream = mux_find(id);
    if (stream != NULL && stream->owner == NULL && id != CTR_CONTROL_STREAM) {
        stream->owner = &owner;
        stream->readable = stream->writable = echo;
        echo(stream);
    }
}

int
process_start(const char *id, const json_t *description, json_int_t request,
              struct fault *fault)
{
    struct spec spec;
    if (spec_parse(description, &spec, fault) < 0) {
        return -1;
    }
    adopt(spec.in);
    adopt(spec.out);
    adopt(spec.err);
    control_answer_pid(request, 1, NULL);
    control_exited(id, 0, 0, false);
    spec_free(&spec);
    return 0;
}

bool
process_runs(const char *id)
{
    return true;
}

int
process_signal(const char *id, int number, struct fault *fault)
{
    return fault_set(fault, "ESRCH", "%s", id);
}

int
process_resize(const char *id, unsigned rows, unsigned cols, struct fault *fault)
{
    return 0;
}

int
root_network(const json_t *network, struct fault *fault)
{
    static struct net_spec spec;
    if (netspec_parse(network, &spec, fault) < 0) {
        return -1;
    }
    for (size_t i = 0; i < spec.n; i++) {
        const struct net_link *link = &spec.interfaces[i].link;
        if (link->address.prefix > 32 || link->address6.prefix > 128 || link->mtu > 65535) {
            abort();
        }
    }
    return 0;
}

int
root_boot(const json_t *boot, struct fault *fault)
{
    const json_t *disk;
    size_t i;
    json_array_foreach(json_object_get(boot, "disks"), i, disk)
    {
        const char *options = json_string_value(json_object_get(disk, "options"));
        unsigned long flags = 0;
        char data[64];
        if (options != NULL && mount_flags(options, &flags, data, sizeof data) < 0) {
            return fault_set(fault, "EINVAL", "%s", options);
        }
    }
    return root_network(json_object_get(boot, "network"), fault);
}

void
control_init_ended(void)
{
}

void
control_power_off(void)
{
    over = true;
}

static void
closed(const char *reason)
{
    over = true;
}

/* --- the two inputs --- */

static void
try_channel(const uint8_t *bytes, size_t length)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        abort();
    }
    over = false;
    if (write(pair[1], bytes, length) != (ssize_t) length ||
        mux_init(pair[0], control_open, closed) < 0) {
        abort();
    }
    (void) shutdown(pair[1], SHUT_WR);
    while (!over) {
        loop_step();
        mux_settle();
    }
    mux_finish();
    control_finish();
    (void) close(pair[1]);
}

static char *
take_text(const uint8_t **bytes, size_t *length)
{
    const uint8_t *end = *length == 0 ? NULL : memchr(*bytes, 0, *length);
    size_t n = end == NULL ? *length : (size_t) (end - *bytes);
    char *text = malloc(n + 1);
    if (text == NULL) {
        abort();
    }
    if (n > 0) {
        memcpy(text, *bytes, n);
    }
    text[n] = '\0';
    *bytes += n + (end != NULL);
    *length -= n + (end != NULL);
    return text;
}

static void
try_users(const uint8_t *bytes, size_t length)
{
    static struct user user;
    struct fault fault;
    char *who = take_text(&bytes, &length);
    char *passwd = take_text(&bytes, &length);
    char *groups = take_text(&bytes, &length);
    if (user_resolve_in(passwd, groups, who, &user, &fault) == 0 &&
        (user.uid > 2147483647u || user.gid > 2147483647u || user.n_groups > USER_GROUPS_MAX)) {
        abort();
    }
    free(who);
    free(passwd);
    free(groups);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static bool ready;
    if (!ready && loop_init() < 0) {
        abort();
    }
    ready = true;
    if (length == 0 || length > 128 * 1024) {
        return 0;
    }
    if (bytes[0] == 'u') {
        try_users(bytes + 1, length - 1);
    } else {
        try_channel(bytes + 1, length - 1);
    }
    return 0;
}
