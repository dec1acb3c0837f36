/*
 * Where an answer leads: the addresses that a client reaches from the name it asked for, by way of the answer's CNAMEs.
 */
#include "core/dns/dns-priv.h"

#define MAX_LINKS 16

struct chain {
    const ldns_rr_list *answer;
    const ldns_rdf *name, *next; /* where we are; where a CNAME leads */
    struct ctr_address *addresses;
    size_t n;
    uint32_t ttl;
};

static void
shorten(struct chain *chain, const ldns_rr *rr)
{
    uint32_t ttl = ldns_rr_ttl(rr) > INT32_MAX ? 0 : ldns_rr_ttl(rr); /* RFC 2181, 8 */
    chain->ttl = ttl < chain->ttl ? ttl : chain->ttl;
}

static void
add_rr(struct chain *chain, const ldns_rr *rr)
{
    const ldns_rdf *data = ldns_rr_rdf(rr, 0);
    ldns_rr_type type = ldns_rr_get_type(rr);
    if (data == NULL || ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN ||
        ldns_dname_compare(ldns_rr_owner(rr), chain->name) != 0) {
        return;
    }
    size_t size = type == LDNS_RR_TYPE_A ? 4 : type == LDNS_RR_TYPE_AAAA ? 16 : 0;
    if (size != 0 && ldns_rdf_size(data) == size) {
        struct ctr_address *address = &chain->addresses[chain->n++];
        *address = (struct ctr_address){.family = size == 4 ? 4 : 6};
        memcpy(address->bytes, ldns_rdf_data(data), size);
        shorten(chain, rr);
    } else if (type == LDNS_RR_TYPE_CNAME && chain->next == NULL) {
        chain->next = data;
        shorten(chain, rr);
    }
}

struct ctr_address *
ctr_dns_chain_addresses(const ldns_pkt *answer, const struct ctr_dns_question *question,
                        size_t *ret_n, uint32_t *ret_ttl)
{
    struct chain chain = {
        .answer = ldns_pkt_answer(answer),
        .next = ldns_rr_owner(question->rr),
        .ttl = UINT32_MAX,
    };
    size_t n = ldns_rr_list_rr_count(chain.answer);
    chain.addresses = n == 0 ? NULL : calloc(n, sizeof *chain.addresses);
    /* A name with addresses is the chain's end, so that each RR counts once. */
    for (int i = 0;
         i < MAX_LINKS && chain.addresses != NULL && chain.next != NULL && chain.n == 0; i++) {
        chain.name = chain.next;
        chain.next = NULL;
        for (size_t rr = 0; rr < n; rr++) {
            add_rr(&chain, ldns_rr_list_rr(chain.answer, rr));
        }
    }
    if (chain.n == 0) {
        free(chain.addresses);
        return NULL;
    }
    *ret_n = chain.n;
    *ret_ttl = chain.ttl;
    return chain.addresses;
}
