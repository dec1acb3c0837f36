/*
 * Frames for the network checks: Ethernet, ARP, IPv4 and IPv6 with UDP, and a TCP SYN, made and read byte by byte.
 */
#include "sdk/conform/net.h"

enum { ETHER = 14, IP4 = 20, IP6 = 40, UDP = 8, TCP = 20 };

static void
put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t) (value >> 8);
    at[1] = (uint8_t) value;
}

static unsigned
get16(const uint8_t *at)
{
    return (unsigned) at[0] << 8 | at[1];
}

static void
put_mac(uint8_t *at, uint8_t n)
{
    memcpy(at, (const uint8_t[]){0x02, 0x42, 10, 99, 0, n}, 6);
}

static void
put_ipv4(uint8_t *at, uint8_t n, uint32_t outside)
{
    uint32_t address = n != 0 ? NET_SUBNET | n : outside;
    put16(at, address >> 16);
    put16(at + 2, address & 0xffff);
}

static void
put_ipv6(uint8_t *at, uint8_t n)
{
    memset(at, 0, 16);
    put16(at, 0xfd63);
    at[15] = n;
}

static uint32_t
add(uint32_t sum, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        sum += i % 2 == 0 ? (uint32_t) bytes[i] << 8 : bytes[i];
    }
    return sum;
}

static unsigned
fold(uint32_t sum)
{
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return ~sum & 0xffff;
}

/* Of a transport header with its payload: `addresses` are both of them, one after the other. */
static unsigned
transport_sum(const uint8_t *addresses, size_t n_addresses, uint8_t proto, const uint8_t *bytes,
              size_t length)
{
    return fold(add(add((uint32_t) (proto + length), addresses, n_addresses), bytes, length));
}

struct frame
frame_arp(uint8_t as_mac, uint8_t as_address, uint8_t target)
{
    struct frame f = {.length = 42};
    memset(f.bytes, 0xff, 6);
    put_mac(f.bytes + 6, as_mac);
    memcpy(f.bytes + 12, (const uint8_t[]){0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1}, 10);
    put_mac(f.bytes + 22, as_mac);
    put_ipv4(f.bytes + 28, as_address, 0);
    put_ipv4(f.bytes + 38, target, 0);
    return f;
}

static struct frame
frame_ipv4(const struct ends *ends, uint8_t proto, size_t length)
{
    struct frame f = {.length = ETHER + IP4 + length};
    uint8_t *ip = f.bytes + ETHER;
    put_mac(f.bytes, ends->target_mac);
    put_mac(f.bytes + 6, ends->source_mac);
    put16(f.bytes + 12, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, (unsigned) (IP4 + length));
    ip[8] = 64;
    ip[9] = proto;
    put_ipv4(ip + 12, ends->source, ends->outside);
    put_ipv4(ip + 16, ends->target, ends->outside);
    put16(ip + 10, fold(add(0, ip, IP4)));
    return f;
}

static void
put_udp(uint8_t *udp, const struct ends *ends, const void *bytes, size_t length)
{
    put16(udp, ends->source_port);
    put16(udp + 2, ends->target_port);
    put16(udp + 4, (unsigned) (UDP + length));
    memcpy(udp + UDP, bytes, length);
}

struct frame
frame_udp4(const struct ends *ends, const void *bytes, size_t length)
{
    struct frame f = frame_ipv4(ends, CTR_PROTO_UDP, UDP + length);
    uint8_t *udp = f.bytes + ETHER + IP4;
    put_udp(udp, ends, bytes, length);
    put16(udp + 6, transport_sum(f.bytes + ETHER + 12, 8, CTR_PROTO_UDP, udp, UDP + length));
    return f;
}

struct frame
frame_udp6(const struct ends *ends, const void *bytes, size_t length)
{
    struct frame f = {.length = ETHER + IP6 + UDP + length};
    uint8_t *ip = f.bytes + ETHER, *udp = ip + IP6;
    put_mac(f.bytes, ends->target_mac);
    put_mac(f.bytes + 6, ends->source_mac);
    put16(f.bytes + 12, 0x86dd);
    ip[0] = 0x60;
    put16(ip + 4, (unsigned) (UDP + length));
    ip[6] = CTR_PROTO_UDP;
    ip[7] = 64;
    put_ipv6(ip + 8, ends->source);
    put_ipv6(ip + 24, ends->target);
    put_udp(udp, ends, bytes, length);
    put16(udp + 6, transport_sum(ip + 8, 32, CTR_PROTO_UDP, udp, UDP + length));
    return f;
}

static void
put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value & 0xffff);
}

static uint32_t
get32(const uint8_t *at)
{
    return (uint32_t) get16(at) << 16 | get16(at + 2);
}

struct frame
frame_tcp(const struct ends *ends, const struct segment *segment)
{
    size_t length = TCP + segment->length;
    struct frame f = frame_ipv4(ends, CTR_PROTO_TCP, length);
    uint8_t *tcp = f.bytes + ETHER + IP4;
    put16(tcp, ends->source_port);
    put16(tcp + 2, ends->target_port);
    put32(tcp + 4, segment->number);
    put32(tcp + 8, segment->acknowledged);
    tcp[12] = TCP / 4 << 4;
    tcp[13] = segment->flags;
    put16(tcp + 14, 65535);
    if (segment->length > 0) {
        memcpy(tcp + TCP, segment->text, segment->length);
    }
    put16(tcp + 16, transport_sum(f.bytes + ETHER + 12, 8, CTR_PROTO_TCP, tcp, length));
    return f;
}

/* Whether it is an IPv4 packet of this protocol between these, its header sound; *ret_length: of what is behind that. */
static int
is_between(const struct frame *frame, const struct ends *ends, uint8_t proto,
           size_t *ret_length)
{
    const uint8_t *ip = frame->bytes + ETHER, *transport = ip + IP4;
    uint8_t addresses[8];
    put_ipv4(addresses, ends->source, ends->outside);
    put_ipv4(addresses + 4, ends->target, ends->outside);
    if (frame->length < ETHER + IP4 + UDP || get16(frame->bytes + 12) != 0x0800 ||
        ip[0] != 0x45 || ip[9] != proto || memcmp(ip + 12, addresses, 8) != 0 ||
        get16(transport) != ends->source_port || get16(transport + 2) != ends->target_port) {
        return 0;
    }
    *ret_length = get16(ip + 2) - IP4;
    return get16(ip + 2) >= IP4 + UDP && get16(ip + 2) + ETHER <= frame->length &&
           fold(add(0, ip, IP4)) == 0;
}

int
frame_read_tcp(const struct frame *frame, const struct ends *ends, struct segment *ret)
{
    const uint8_t *ip = frame->bytes + ETHER, *tcp = ip + IP4;
    size_t length, head = (size_t) (tcp[12] >> 4) * 4;
    if (!is_between(frame, ends, CTR_PROTO_TCP, &length) || head < TCP || head > length ||
        transport_sum(ip + 12, 8, CTR_PROTO_TCP, tcp, length) != 0) {
        return 0;
    }
    *ret = (struct segment){.flags = tcp[13],
                            .number = get32(tcp + 4),
                            .acknowledged = get32(tcp + 8),
                            .text = (const char *) tcp + head,
                            .length = length - head};
    return 1;
}

const uint8_t *
frame_read_udp4(const struct frame *frame, const struct ends *ends, size_t *ret_length)
{
    const uint8_t *ip = frame->bytes + ETHER, *udp = ip + IP4;
    size_t length;
    if (!is_between(frame, ends, CTR_PROTO_UDP, &length) || get16(udp + 4) != length ||
        (get16(udp + 6) != 0 && transport_sum(ip + 12, 8, CTR_PROTO_UDP, udp, length) != 0)) {
        return NULL;
    }
    *ret_length = length - UDP;
    return udp + UDP;
}

int
frame_read_arp(const struct frame *frame, uint8_t n, uint8_t ret_mac[6])
{
    uint8_t address[4];
    put_ipv4(address, n, 0);
    if (frame->length < 42 || get16(frame->bytes + 12) != 0x0806 ||
        get16(frame->bytes + 20) != 2 || memcmp(frame->bytes + 28, address, 4) != 0) {
        return 0;
    }
    memcpy(ret_mac, frame->bytes + 22, 6);
    return 1;
}

void
frame_to(struct frame *frame, const uint8_t mac[6])
{
    memcpy(frame->bytes, mac, 6);
}
