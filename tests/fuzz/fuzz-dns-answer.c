/*
 * A server's answer to the question that it says it answers: what is taken is followed along its CNAMEs, and made into an answer for clients with little, some
 * and much room, which is well-formed again.
 */
#include "core/dns/dns-priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void
must(bool ok)
{
    if (!ok) {
        abort();
    }
}

/* The question of these bytes. */
static bool
read_question(const uint8_t *bytes, size_t length, struct ctr_dns_question *ret)
{
    struct ctr_dns_name name;
    uint8_t ask[CTR_DNS_HEADER + 255 + 4] = {bytes[0], bytes[1], 1, 0, 0, 1};
    size_t at = CTR_DNS_HEADER;
    if (ctr_dns_name_read(bytes, length, &at, &name) != 0 || length - at < 4) {
        return false;
    }
    memcpy(ask + CTR_DNS_HEADER, name.bytes, name.length);
    memcpy(ask + CTR_DNS_HEADER + name.length, bytes + at, 4);
    int code = ctr_dns_question_read(ask, CTR_DNS_HEADER + name.length + 4U, true, ret);
    must(code >= 0);
    if (code > 0) {
        ctr_dns_question_finish(ret);
    }
    return code == 0;
}

static void
check_reply(struct ctr_dns_question *question, const ldns_pkt *answer)
{
    static const uint16_t limits[] = {512, 1232, 65535};
    struct ctr_dns_reply reply = {
        .rcode = ldns_pkt_get_rcode(answer) | ldns_pkt_edns_extended_rcode(answer) << 4,
        .sections = {ldns_pkt_answer(answer), ldns_pkt_authority(answer),
                     ldns_pkt_additional(answer)},
    };
    for (size_t i = 0; i < CTR_LENGTH(limits); i++) {
        question->limit = limits[i];
        question->edns = !question->edns;
        ldns_buffer *bytes = ctr_dns_reply_make(question, &reply);
        ldns_pkt *pkt;
        must(bytes != NULL && ldns_buffer_position(bytes) <= limits[i]);
        must(ctr_dns_wire_ok(ldns_buffer_begin(bytes), ldns_buffer_position(bytes)));
        must(ldns_wire2pkt(&pkt, ldns_buffer_begin(bytes), ldns_buffer_position(bytes)) ==
             LDNS_STATUS_OK);
        ldns_pkt_free(pkt);
        ldns_buffer_free(bytes);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct ctr_dns_question question;
    if (length < CTR_DNS_HEADER || !read_question(bytes, length, &question)) {
        return 0;
    }
    ldns_pkt *answer = ctr_dns_answer_read(&question, question.id, bytes, length);
    if (answer != NULL) {
        size_t n = 0;
        uint32_t ttl = 0;
        CTR_AUTO(free)
        struct ctr_address *addresses = ctr_dns_chain_addresses(answer, &question, &n, &ttl);
        must(addresses == NULL || (n > 0 && n <= length / 10 && ttl <= INT32_MAX));
        check_reply(&question, answer);
    }
    ldns_pkt_free(answer);
    ctr_dns_question_finish(&question);
    return 0;
}
