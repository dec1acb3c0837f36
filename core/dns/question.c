/*
 * A question's bytes, taken apart: header, the one question, and of the additional section only EDNS (RFC 6891).
 */
#include "core/dns/dns-priv.h"

#define BADVERS 16 /* RFC 6891, 9 */

static void
read_header(const uint8_t *bytes, struct ctr_dns_question *ret)
{
    ret->id = ctr_dns_u16(bytes);
    ret->opcode = LDNS_OPCODE_WIRE(bytes);
    ret->rd = LDNS_RD_WIRE(bytes) != 0;
    ret->ad = LDNS_AD_WIRE(bytes) != 0;
    ret->cd = LDNS_CD_WIRE(bytes) != 0;
}

static void
read_edns(const ldns_pkt *pkt, bool stream, struct ctr_dns_question *ret)
{
    ret->edns = ldns_pkt_edns(pkt);
    ret->dnssec_ok = ldns_pkt_edns_do(pkt);
    size_t size = ldns_pkt_edns_udp_size(pkt);
    if (ret->edns && !stream && size > CTR_DNS_UDP_PLAIN) {
        ret->limit = (uint16_t) (size < CTR_DNS_UDP_MAX ? size : CTR_DNS_UDP_MAX);
    }
}

/* What ldns makes of bytes that wire.c found well-formed. */
static int
read_question(const uint8_t *bytes, size_t length, bool stream, struct ctr_dns_question *ret)
{
    ldns_pkt *pkt = NULL;
    size_t at = CTR_DNS_HEADER;
    if (ctr_dns_name_read(bytes, length, &at, &ret->name) != 0 ||
        ldns_wire2pkt(&pkt, bytes, length) != LDNS_STATUS_OK) {
        return LDNS_RCODE_FORMERR;
    }
    read_edns(pkt, stream, ret);
    ret->rr = ldns_rr_list_pop_rr(ldns_pkt_question(pkt));
    int code = ret->rr == NULL                                  ? LDNS_RCODE_FORMERR
               : ret->edns && ldns_pkt_edns_version(pkt) != 0   ? BADVERS
               : ldns_rr_get_class(ret->rr) != LDNS_RR_CLASS_IN ? LDNS_RCODE_REFUSED
                                                                : LDNS_RCODE_NOERROR;
    ret->type = ret->rr == NULL ? 0 : (uint16_t) ldns_rr_get_type(ret->rr);
    ldns_pkt_free(pkt);
    return code;
}

/* Transfers of whole zones and the like (RFC 5936, 6895) are nothing that we could pass on. */
static bool
is_meta(uint16_t type)
{
    return type == 0 || type == LDNS_RR_TYPE_OPT ||
           (type >= LDNS_RR_TYPE_TSIG && type < LDNS_RR_TYPE_ANY);
}

int
ctr_dns_question_read(const void *data, size_t length, bool stream,
                      struct ctr_dns_question *ret)
{
    const uint8_t *bytes = data;
    *ret = (struct ctr_dns_question){
        .limit = stream ? CTR_DNS_STREAM_MAX : CTR_DNS_UDP_PLAIN,
    };
    if (length < CTR_DNS_HEADER || LDNS_QR_WIRE(bytes)) {
        return -EBADMSG;
    }
    read_header(bytes, ret);
    if (ret->opcode != LDNS_PACKET_QUERY) {
        return LDNS_RCODE_NOTIMPL;
    }
    /* One question, no answers; EDNS and what belongs to a signature may follow. */
    if (length > CTR_DNS_QUERY_MAX || LDNS_QDCOUNT(bytes) != 1 || LDNS_ANCOUNT(bytes) != 0 ||
        LDNS_NSCOUNT(bytes) != 0 || !ctr_dns_wire_ok(bytes, length)) {
        return LDNS_RCODE_FORMERR;
    }
    int code = read_question(bytes, length, stream, ret);
    return code == LDNS_RCODE_NOERROR && is_meta(ret->type) ? LDNS_RCODE_REFUSED : code;
}

void
ctr_dns_question_finish(struct ctr_dns_question *question)
{
    ldns_rr_free(question->rr);
    question->rr = NULL;
}
