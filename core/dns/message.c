/*
 * Messages that we send: answers for containers, questions for servers. RRs are written one by one, so that an answer ends cleanly where the client's limit is.
 */
#include "core/dns/dns-priv.h"

#define OPT_LENGTH 11
#define OWNER_MAX 265 /* an owner's name, type, class, TTL and length */

static void
free_node(ldns_rbnode_t *node, void *arg)
{
    ldns_rdf_deep_free((ldns_rdf *) (uintptr_t) node->key);
    free(node);
}

static void
free_names(ldns_rbtree_t *names)
{
    ldns_traverse_postorder(names, free_node, NULL);
    ldns_rbtree_free(names);
}

/* Our OPT RR: the root's name, what we take by UDP, the RCODE's upper bits, DO. */
static bool
write_opt(ldns_buffer *buffer, int rcode, bool dnssec_ok)
{
    if (!ldns_buffer_reserve(buffer, OPT_LENGTH)) {
        return false;
    }
    ldns_buffer_write_u8(buffer, 0);
    ldns_buffer_write_u16(buffer, LDNS_RR_TYPE_OPT);
    ldns_buffer_write_u16(buffer, CTR_DNS_UDP_MAX);
    ldns_buffer_write_u8(buffer, (uint8_t) (rcode >> 4));
    ldns_buffer_write_u8(buffer, 0);
    ldns_buffer_write_u16(buffer, dnssec_ok ? 0x8000 : 0);
    ldns_buffer_write_u16(buffer, 0);
    return true;
}

/* Hop by hop, not for those behind us. */
static bool
is_ours(const ldns_rr *rr)
{
    return ldns_rr_get_type(rr) == LDNS_RR_TYPE_OPT ||
           ldns_rr_get_type(rr) == LDNS_RR_TYPE_TSIG;
}

/* Writes the list's RRs up to `limit`. Returns how many; *ret_cut: there were more. */
static uint16_t
write_section(ldns_buffer *buffer, const ldns_rr_list *list, int section, size_t limit,
              ldns_rbtree_t *names, bool *ret_cut)
{
    size_t n = list == NULL ? 0 : ldns_rr_list_rr_count(list);
    uint16_t written = 0;
    for (size_t i = 0; i < n && !*ret_cut; i++) {
        const ldns_rr *rr = ldns_rr_list_rr(list, i);
        size_t before = ldns_buffer_position(buffer);
        if (section != LDNS_SECTION_QUESTION && is_ours(rr)) {
            continue;
        }
        /* ldns keeps the place of the length in 16 bits: never let it write an RR's head behind them. */
        if (before + OWNER_MAX > CTR_DNS_STREAM_MAX ||
            ldns_rr2buffer_wire_compress(buffer, rr, section, names) != LDNS_STATUS_OK ||
            ldns_buffer_position(buffer) > limit) {
            ldns_buffer_set_position(buffer, before);
            *ret_cut = true;
        } else {
            written++;
        }
    }
    return written;
}

/* The answer, authority and additional sections, as many of them as fit. Returns whether something is missing that the client needs. */
static bool
write_sections(ldns_buffer *buffer, const struct ctr_dns_reply *reply, size_t limit,
               ldns_rbtree_t *names)
{
    bool cut = false, tc = false;
    for (int s = 0; s < 3 && !cut; s++) {
        uint16_t n = write_section(buffer, reply->sections[s], LDNS_SECTION_ANSWER + s, limit,
                                   names, &cut);
        ldns_buffer_write_u16_at(buffer, 6 + 2 * (size_t) s, n);
        tc = cut && s < 2;
    }
    return tc;
}

static uint16_t
reply_flags(const struct ctr_dns_question *question, const struct ctr_dns_reply *reply, bool tc)
{
    return (uint16_t) (0x8000 | question->opcode << 11 | reply->aa << 10 | tc << 9 |
                       question->rd << 8 | 1 << 7 | reply->ad << 5 | question->cd << 4 |
                       (reply->rcode & 15));
}

/* A header with its flags still to come, and the question if it is known. */
static bool
write_head(ldns_buffer *buffer, uint16_t id, const ldns_rr *question, ldns_rbtree_t *names)
{
    uint8_t header[CTR_DNS_HEADER] = {0};
    ldns_buffer_write(buffer, header, sizeof header);
    ldns_buffer_write_u16_at(buffer, 0, id);
    if (question == NULL) {
        return true;
    }
    ldns_buffer_write_u16_at(buffer, 4, 1);
    return ldns_rr2buffer_wire_compress(buffer, question, LDNS_SECTION_QUESTION, names) ==
           LDNS_STATUS_OK;
}

static void
add_opt(ldns_buffer *buffer, int rcode, bool dnssec_ok)
{
    if (write_opt(buffer, rcode, dnssec_ok)) {
        uint16_t n = ldns_buffer_read_u16_at(buffer, 10);
        ldns_buffer_write_u16_at(buffer, 10, (uint16_t) (n + 1));
    }
}

ldns_buffer *
ctr_dns_reply_make(const struct ctr_dns_question *question, const struct ctr_dns_reply *reply)
{
    ldns_buffer *buffer = ldns_buffer_new(CTR_DNS_UDP_PLAIN);
    ldns_rbtree_t *names = ldns_rbtree_create(ldns_dname_compare_v);
    size_t limit = question->limit - (question->edns ? OPT_LENGTH : 0);
    if (buffer == NULL || names == NULL ||
        !write_head(buffer, question->id, question->rr, names)) {
        ldns_buffer_free(buffer);
        buffer = NULL;
    } else {
        bool tc = write_sections(buffer, reply, limit, names);
        ldns_buffer_write_u16_at(buffer, 2, reply_flags(question, reply, tc));
        if (question->edns) {
            add_opt(buffer, reply->rcode, question->dnssec_ok);
        }
    }
    if (names != NULL) {
        free_names(names);
    }
    return buffer;
}

ldns_buffer *
ctr_dns_ask_make(const struct ctr_dns_question *question, uint16_t id, bool edns)
{
    ldns_buffer *buffer = ldns_buffer_new(CTR_DNS_UDP_PLAIN);
    if (buffer == NULL || !write_head(buffer, id, question->rr, NULL)) {
        ldns_buffer_free(buffer);
        return NULL;
    }
    ldns_buffer_write_u16_at(
        buffer, 2, (uint16_t) (question->rd << 8 | question->ad << 5 | question->cd << 4));
    if (edns) {
        add_opt(buffer, 0, question->dnssec_ok);
    }
    return buffer;
}
