/*
 * Packets that the network itself makes: answers to ARP, neighbour discovery and ping, ICMP errors, and headers for what comes from outside.
 *
 * Pure functions; each writes a whole frame and returns its length.
 */
#ifndef CTR_SWITCH_PACKET_H
#define CTR_SWITCH_PACKET_H

#include "judge.h"

#define SW_ICMP_ERROR (SW_ETHER + SW_IPV6 + 8 + 1232) /* the longest error */

/* Internet checksum over bytes, on top of `sum` (0 to begin with); not inverted. */
uint32_t sw_sum(uint32_t sum, const uint8_t *bytes, size_t length);
uint16_t sw_sum_finish(uint32_t sum);
/* The sum of a pseudo header, for TCP, UDP and ICMPv6. */
uint32_t sw_sum_pseudo(const struct ctr_address *source, const struct ctr_address *target,
                       uint8_t proto, size_t length);

/* What stands before a payload. */
struct sw_header {
    const uint8_t *to, *from;
    struct ctr_address source, target; /* of one family */
    uint16_t ident;
    size_t offset; /* of this piece of a datagram, a multiple of 8 */
    bool more;     /* pieces follow */
    uint8_t proto;
    size_t payload_length;
};
/* Bytes that sw_write_header writes. */
size_t sw_header_length(const struct sw_header *header);
void sw_write_header(const struct sw_header *header, uint8_t *ret);

/* The MAC that the network uses for all its own addresses. */
void sw_gateway_mac(const struct sw_rules *rules, uint8_t ret[6]);

/* "I have it", for an ARP request or a neighbour solicitation; ret has 86 bytes. */
#define SW_NEIGHBOUR (SW_ETHER + SW_IPV6 + 32)
size_t sw_neighbour_answer(const struct sw_frame *question, const struct sw_rules *rules,
                           uint8_t *ret);
/* An answer to a ping; ret has room for the frame's length. */
size_t
sw_echo_answer(const struct sw_frame *question, const struct sw_rules *rules, uint8_t *ret);
/* "Administratively prohibited" (`verdict` SW_REFUSE) or "too big", as sent by the gateway; ret has SW_ICMP_ERROR bytes. 0: this frame gets none. */
size_t sw_refusal(const struct sw_frame *frame, const struct sw_rules *rules,
                  enum sw_verdict verdict, uint8_t *ret);

#endif
