/*
 * Netlink messages: built by hand, sent, and their answers read to the end.
 */
#include "bridge-priv.h"
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_SECONDS 1

int
br_netlink_open(int family)
{
    struct timeval limit = {.tv_sec = ANSWER_SECONDS};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family);
    if (fd < 0) {
        return -errno;
    }
    (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

void
br_message_init(struct br_message *message, uint16_t type, uint16_t flags, const void *header,
                size_t length)
{
    memset(message, 0, sizeof *message);
    message->m.type = type;
    message->m.flags = flags | NLM_F_REQUEST;
    message->m.length = (uint32_t) (NLMSG_HDRLEN + NLMSG_ALIGN(length));
    memcpy(message->m.body, header, length);
}

void
br_message_add(struct br_message *message, uint16_t type, const void *bytes, size_t n)
{
    struct rtattr attribute = {.rta_type = type, .rta_len = (uint16_t) RTA_LENGTH(n)};
    size_t at = message->m.length - NLMSG_HDRLEN;
    if (at + RTA_SPACE(n) > sizeof message->m.body) {
        message->full = true;
        return;
    }
    memcpy(message->m.body + at, &attribute, sizeof attribute);
    if (n > 0) {
        memcpy(message->m.body + at + RTA_LENGTH(0), bytes, n);
    }
    message->m.length += (uint32_t) RTA_SPACE(n);
}

void
br_message_add32(struct br_message *message, uint16_t type, uint32_t value)
{
    br_message_add(message, type, &value, sizeof value);
}

void
br_message_add8(struct br_message *message, uint16_t type, uint8_t value)
{
    br_message_add(message, type, &value, sizeof value);
}

size_t
br_message_nest(struct br_message *message, uint16_t type)
{
    size_t at = message->m.length - NLMSG_HDRLEN;
    br_message_add(message, type | NLA_F_NESTED, NULL, 0);
    return at;
}

void
br_message_end(struct br_message *message, size_t nest)
{
    uint16_t length = (uint16_t) (message->m.length - NLMSG_HDRLEN - nest);
    memcpy(message->m.body + nest, &length, sizeof length); /* rta_len stands first */
}

/* One message of an answer: 1 if more follow, else 0 or the kernel's code. An acknowledgement ends what is no dump. */
static int
read_message(const struct nlmsghdr *header, const uint8_t *bytes,
             void (*part)(void *arg, const uint8_t *bytes, size_t length), void *arg)
{
    int32_t code = 0;
    size_t length = header->nlmsg_len - NLMSG_HDRLEN;
    if (header->nlmsg_type == NLMSG_ERROR) {
        if (length >= sizeof code) {
            memcpy(&code, bytes, sizeof code);
        }
        return code > 0 ? 0 : code;
    }
    if (header->nlmsg_type == NLMSG_DONE) {
        return 0;
    }
    if (part != NULL) {
        part(arg, bytes, length);
    }
    return 1;
}

/* That a late answer to an earlier message does not have. */
static uint32_t
fresh_number(void)
{
    struct timespec now;
    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t) now.tv_nsec ^ (uint32_t) now.tv_sec << 30;
}

int
br_message_call(int fd, struct br_message *message,
                void (*part)(void *arg, const uint8_t *bytes, size_t length), void *arg)
{
    uint8_t answer[32768] __attribute__((aligned(8)));
    if (message->full) {
        return -EMSGSIZE;
    }
    bool dump = (message->m.flags & NLM_F_DUMP) == NLM_F_DUMP;
    message->m.sequence = fresh_number();
    message->m.flags |= dump ? 0 : NLM_F_ACK;
    if (send(fd, &message->m, message->m.length, 0) < 0) {
        return -errno;
    }
    for (;;) {
        ssize_t n = recv(fd, answer, sizeof answer, 0);
        if (n < 0 && errno != EINTR) {
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        }
        for (size_t at = 0; n > 0 && at + NLMSG_HDRLEN <= (size_t) n;) {
            struct nlmsghdr header;
            memcpy(&header, answer + at, sizeof header);
            if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > (size_t) n - at) {
                return -EBADMSG;
            }
            if (header.nlmsg_seq == message->m.sequence) {
                int code = read_message(&header, answer + at + NLMSG_HDRLEN, part, arg);
                if (code <= 0) {
                    return code;
                }
            }
            at += NLMSG_ALIGN(header.nlmsg_len);
        }
    }
}

const uint8_t *
br_attribute(const uint8_t *bytes, size_t length, uint16_t type, size_t *ret_length)
{
    for (size_t at = 0; at + sizeof(struct rtattr) <= length;) {
        struct rtattr attribute;
        memcpy(&attribute, bytes + at, sizeof attribute);
        if (attribute.rta_len < sizeof attribute || attribute.rta_len > length - at) {
            return NULL;
        }
        if ((attribute.rta_type & NLA_TYPE_MASK) == type) {
            *ret_length = attribute.rta_len - sizeof attribute;
            return bytes + at + sizeof attribute;
        }
        at += RTA_ALIGN(attribute.rta_len);
    }
    return NULL;
}
