/*
 * libslirp behind the judge: frames of one guest, one after another, through parser, guard and judge into a libslirp as net-switch sets it up. What passes must
 * not make libslirp fail. Nothing leaves this process: each socket that libslirp makes is one end of a pair, whose other end echoes.
 *
 * The input is a list of frames, each behind two bytes of its length, whose upper half says whether libslirp looks at its sockets after it. Checksums are filled in, since a fuzzer does not find
 * them.
 */
#include "tests/fuzz/frame-net.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_PEERS 256

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
/* What libslirp has when it is cleaned up in the middle of a connection, it leaks: once in a process's life. */
const char *__asan_default_options(void);
const char *
__asan_default_options(void)
{
    return "detect_leaks=0";
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
/* What libslirp calls instead of libc's; they must be seen from outside this program. */
#define INSTEAD __attribute__((visibility("default")))
INSTEAD int socket(int domain, int type, int protocol);
INSTEAD int connect(int fd, const struct sockaddr *name, socklen_t length);
INSTEAD ssize_t sendto(int fd, const void *bytes, size_t n, int flags,
                       const struct sockaddr *name, socklen_t length);
INSTEAD int close(int fd);

static Slirp *slirp;
static int64_t now_ns;
static int peers[MAX_PEERS];
static size_t n_peers;
static bool given[FD_SETSIZE]; /* to libslirp, which has not closed it yet */

int
socket(int domain, int type, int protocol)
{
    int fds[2];
    if (n_peers == MAX_PEERS || socketpair(AF_UNIX, type, 0, fds) != 0) {
        errno = EMFILE;
        return -1;
    }
    (void) fcntl(fds[0], F_SETFL, O_NONBLOCK); /* as a watched one is */
    (void) fcntl(fds[1], F_SETFL, O_NONBLOCK);
    peers[n_peers++] = fds[1];
    given[fds[0]] = true;
    return fds[0];
}

/* What libslirp closes is its own, once: in ctr-net the number may be another port's already. */
int
close(int fd)
{
    if (slirp != NULL && fd >= 0) {
        if (fd >= FD_SETSIZE || !given[fd]) {
            (void) fprintf(stderr, "libslirp closes descriptor %d, which is not its own\n", fd);
            abort();
        }
        given[fd] = false;
    }
    return (int) syscall(SYS_close, fd);
}

int
connect(int fd, const struct sockaddr *name, socklen_t length)
{
    errno = EINPROGRESS;
    return -1;
}

ssize_t
sendto(int fd, const void *bytes, size_t n, int flags, const struct sockaddr *name,
       socklen_t length)
{
    return write(fd, bytes, n);
}

/* libslirp asks for the guest's MAC, and is told one. */
static ssize_t
on_packet(const void *bytes, size_t length, void *opaque)
{
    const struct sw_rules rules = {.gateway = sw_ipv4(NET + 1)};
    uint8_t reply[SW_NEIGHBOUR];
    struct sw_frame f;
    if (sw_parse(bytes, length, &f) &&
        (f.type == SW_TYPE_ARP || (f.proto == SW_ICMPV6 && f.icmp_type == SW_SOLICIT))) {
        slirp_input(slirp, reply, (int) sw_neighbour_answer(&f, &rules, reply));
    }
    return (ssize_t) length;
}
static void
on_guest_error(const char *message, void *opaque)
{
}
static int64_t
on_clock(void *opaque)
{
    return now_ns;
}
static void *
on_timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
    return &now_ns;
}
static void
on_timer_free(void *timer, void *opaque)
{
}
static void
on_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
}
static void
on_register(int fd, void *opaque)
{
}
static void
on_notify(void *opaque)
{
}

static int
on_add_poll(int fd, int events, void *opaque)
{
    return events;
}
static int
on_get_revents(int index, void *opaque)
{
    return index & (SLIRP_POLL_IN | SLIRP_POLL_OUT);
}

static const SlirpCb callbacks = {
    .send_packet = on_packet,
    .guest_error = on_guest_error,
    .clock_get_ns = on_clock,
    .timer_free = on_timer_free,
    .timer_mod = on_timer_mod,
    .register_poll_fd = on_register,
    .unregister_poll_fd = on_register,
    .notify = on_notify,
    .timer_new_opaque = on_timer_new,
};

static Slirp *
make_slirp(const struct sw_rules *rules)
{
    SlirpConfig config = {
        .version = 4,
        .in_enabled = true,
        .vnetwork.s_addr = htonl(NET),
        .vnetmask.s_addr = htonl(0xffff0000),
        .vhost.s_addr = htonl(NET + 0xfffe),
        .vnameserver.s_addr = htonl(NET + 0xfffe),
        .vdhcp_start.s_addr = htonl(NET + 0xfffe),
        .if_mtu = 1500,
        .if_mru = 1500,
        .disable_dns = true,
        .disable_dhcp = true,
        .in6_enabled = true,
        .vprefix_len = 128,
    };
    memcpy(&config.vhost6, rules->gateway6.bytes, 16);
    config.vprefix_addr6 = config.vhost6;
    config.vnameserver6 = config.vhost6;
    return slirp_new(&config, &callbacks, NULL);
}

/* Whatever the peers got comes back. */
static void
echo_peers(void)
{
    char text[2048];
    for (size_t i = 0; i < n_peers; i++) {
        ssize_t n = read(peers[i], text, sizeof text);
        if (n > 0) {
            (void) !write(peers[i], text, (size_t) n);
        }
    }
}

static void
look(void)
{
    uint32_t timeout = 0;
    now_ns += 300 * 1000000;
    echo_peers();
    slirp_pollfds_fill(slirp, &timeout, on_add_poll, NULL);
    slirp_pollfds_poll(slirp, 0, on_get_revents, NULL);
}

/* Fills the checksums of the header and of what it carries in. */
static void
fill_sums(uint8_t *bytes, const struct sw_frame *f)
{
    static const size_t at[256] = {[SW_ICMP] = 2, [SW_TCP] = 16, [SW_UDP] = 6, [SW_ICMPV6] = 2};
    uint8_t *payload = bytes + (f->payload - f->bytes);
    uint32_t sum = f->proto == SW_ICMP
                       ? 0
                       : sw_sum_pseudo(&f->source, &f->target, f->proto, f->payload_length);
    sw_put16(payload + at[f->proto], 0);
    sum = sw_sum(sum, payload, f->payload_length);
    sw_put16(payload + at[f->proto], sw_sum_finish(sum));
    if (f->type == SW_TYPE_IPV4) {
        sw_put16(bytes + SW_ETHER + 10, 0);
        sw_put16(bytes + SW_ETHER + 10, sw_sum_finish(sw_sum(0, bytes + SW_ETHER, SW_IPV4)));
    }
}

static void
feed(const struct sw_rules *rules, const uint8_t *bytes, size_t length)
{
    const struct sw_identity port = guest();
    struct sw_frame frame;
    uint8_t *copy = malloc(length + 1);
    memcpy(copy, bytes, length);
    if (sw_parse(copy, length, &frame) && sw_guard(&frame, &port) == SW_HONEST &&
        frame.type != SW_TYPE_ARP && sw_judge(&frame, rules, true, 0) == SW_PASS &&
        frame.proto != SW_ICMPV6) {
        fill_sums(copy, &frame);
        slirp_input(slirp, copy, (int) (SW_ETHER + frame.packet_length));
    }
    free(copy);
}

/* Two walls before the network: libslirp finds the functions above, and this process has no network at all where it may give it up. */
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    if (dlsym(RTLD_DEFAULT, "socket") != (void *) socket ||
        dlsym(RTLD_DEFAULT, "connect") != (void *) connect ||
        dlsym(RTLD_DEFAULT, "sendto") != (void *) sendto ||
        dlsym(RTLD_DEFAULT, "close") != (void *) close) {
        (void) fprintf(stderr, "libslirp would use the real network\n");
        exit(1);
    }
    (void) unshare(CLONE_NEWNET);
    return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    const struct sw_rules rules = plain_rules();
    now_ns = 1000000000;
    slirp = make_slirp(&rules);
    while (length > 2) {
        size_t n = sw_get16(bytes) & 0x7ff;
        bool looks = (bytes[0] & 0x80) != 0;
        bytes += 2;
        length -= 2;
        n = n < length ? n : length;
        feed(&rules, bytes, n);
        if (looks) {
            look();
        }
        bytes += n;
        length -= n;
    }
    slirp_cleanup(slirp);
    slirp = NULL;
    while (n_peers > 0) {
        (void) close(peers[--n_peers]);
    }
    return 0;
}
