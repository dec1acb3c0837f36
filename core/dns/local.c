/*
 * Answers of our own: the zone's names, and what must never be asked outside: localhost (RFC 6761), and the names of addresses that only this host and
 * this network can know.
 */
#include "core/dns/dns-priv.h"

/* Reverse zones that are nobody's business outside (RFC 6303): loopback and link-local. */
static const struct ctr_dns_prefix closed[] = {
    {{.family = 4, .bytes = {127}}, 8},
    {{.family = 4, .bytes = {169, 254}}, 16},
    {{.family = 6, .bytes = {[15] = 1}}, 128},
    {{.family = 6, .bytes = {0xfe, 0x80}}, 10},
};

/* --- whose name is it? --- */

static bool
is_localhost(const struct ctr_dns_name *name)
{
    static const uint8_t localhost[] = "\011localhost";
    size_t n = sizeof localhost; /* with the root's zero */
    for (size_t pos = 0; pos < name->length; pos += 1U + name->bytes[pos]) {
        if ((size_t) name->length - pos == n) {
            return memcmp(name->bytes + pos, localhost, n) == 0;
        }
    }
    return false;
}

/* Labels from right to left: at most 127, their places into ret. */
static size_t
label_places(const struct ctr_dns_name *name, uint8_t ret[128])
{
    size_t n = 0;
    for (size_t pos = 0; pos < name->length && name->bytes[pos] != 0;
         pos += 1U + name->bytes[pos]) {
        ret[n++] = (uint8_t) pos;
    }
    return n;
}

/* A label as a number in that base, at most `max`; -1: it is none. */
static int
label_value(const uint8_t *label, int base, int max)
{
    int value = 0;
    for (size_t i = 1; i <= label[0]; i++) {
        uint8_t c = label[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
        if (digit >= base || value > max) {
            return -1;
        }
        value = value * base + digit;
    }
    return value > max || label[0] == 0 ? -1 : value;
}

/* The address, or its first bits, that a reverse name tells; returns how many bits, 0: it is no reverse name. */
static int
reverse_bits(const struct ctr_dns_name *name, struct ctr_address *ret)
{
    uint8_t places[128];
    size_t n = label_places(name, places);
    static const uint8_t v4[] = "\007in-addr\004arpa", v6[] = "\003ip6\004arpa";
    *ret = (struct ctr_address){0};
    if (n < 2) {
        return 0;
    }
    const uint8_t *tail = name->bytes + places[n - 2];
    size_t length = (size_t) name->length - places[n - 2];
    if (length == sizeof v4 && memcmp(tail, v4, length) == 0) {
        ret->family = 4;
    } else if (length == sizeof v6 && memcmp(tail, v6, length) == 0) {
        ret->family = 6;
    } else {
        return 0;
    }
    int step = ret->family == 4 ? 8 : 4, max = ret->family == 4 ? 32 : 128, bits = 0;
    for (size_t i = n - 2; i > 0 && bits < max; i--, bits += step) {
        int value =
            label_value(name->bytes + places[i - 1], step == 8 ? 10 : 16, step == 8 ? 255 : 15);
        if (value < 0) {
            break;
        }
        ret->bytes[bits / 8] |= (uint8_t) (step == 4 && bits % 8 == 0 ? value << 4 : value);
    }
    return bits;
}

static bool
is_ours(const struct ctr_dns *dns, const struct ctr_dns_name *name)
{
    struct ctr_address address;
    int bits = reverse_bits(name, &address);
    for (size_t i = 0; i < CTR_LENGTH(closed) && bits > 0; i++) {
        if (bits >= closed[i].length &&
            ctr_prefix_has(&closed[i].address, closed[i].length, &address)) {
            return true;
        }
    }
    for (size_t i = 0; i < dns->n_prefixes && bits > 0; i++) {
        const struct ctr_dns_prefix *own = &dns->prefixes[i];
        if (bits >= own->length && ctr_prefix_has(&own->address, own->length, &address)) {
            return true;
        }
    }
    return is_localhost(name);
}

/* --- RRs --- */

static ldns_rr *
new_rr(const struct ctr_dns_question *question, ldns_rr_type type)
{
    ldns_rr *rr = ldns_rr_new();
    ldns_rdf *owner = ldns_rdf_clone(ldns_rr_owner(question->rr));
    if (rr == NULL || owner == NULL) {
        ldns_rr_free(rr);
        ldns_rdf_deep_free(owner);
        return NULL;
    }
    ldns_rr_set_owner(rr, owner);
    ldns_rr_set_type(rr, type);
    ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
    ldns_rr_set_ttl(rr, CTR_DNS_TTL);
    return rr;
}

static bool
push_data(ldns_rr *rr, ldns_rdf_type type, const void *bytes, size_t length)
{
    ldns_rdf *rdf = rr == NULL ? NULL : ldns_rdf_new_frm_data(type, length, bytes);
    if (rdf != NULL && ldns_rr_push_rdf(rr, rdf)) {
        return true;
    }
    ldns_rdf_deep_free(rdf);
    return false;
}

/* Gives the RR to the list; what is incomplete is freed and left out. */
static void
push_rr(ldns_rr_list *list, ldns_rr *rr, bool complete)
{
    if (!complete || !ldns_rr_list_push_rr(list, rr)) {
        ldns_rr_free(rr);
    }
}

static void
push_addresses(ldns_rr_list *list, const struct ctr_dns_question *question,
               struct ctr_dns_list *addresses, bool v6)
{
    size_t size = v6 ? 16 : 4;
    for (uint32_t i = 0; i < addresses->n; i++) {
        uint32_t at = (addresses->turn + i) % addresses->n;
        ldns_rr *rr = new_rr(question, v6 ? LDNS_RR_TYPE_AAAA : LDNS_RR_TYPE_A);
        push_rr(list, rr,
                push_data(rr, v6 ? LDNS_RDF_TYPE_AAAA : LDNS_RDF_TYPE_A,
                          addresses->bytes + at * size, size));
    }
    if (addresses->n > 0) {
        addresses->turn = (addresses->turn + 1) % addresses->n;
    }
}

static void
push_pointer(ldns_rr_list *list, const struct ctr_dns_question *question,
             const struct ctr_dns_host *target)
{
    ldns_rr *rr = new_rr(question, LDNS_RR_TYPE_PTR);
    push_rr(list, rr, push_data(rr, LDNS_RDF_TYPE_DNAME, target->name, target->length));
}

/* Says how long "no" holds (RFC 2308). */
static void
push_soa(ldns_rr_list *list, const struct ctr_dns_question *question)
{
    static const uint8_t nobody[] = "\006nobody\007invalid";
    static const uint8_t times[5][4] = {
        {0, 0, 0, 1},          {0, 0, 0x0e, 0x10},     {0, 0, 0x04, 0xb0},
        {0, 0x09, 0x3a, 0x80}, {0, 0, 0, CTR_DNS_TTL},
    }; /* serial, refresh, retry, expire, minimum */
    ldns_rr *rr = new_rr(question, LDNS_RR_TYPE_SOA);
    bool complete =
        push_data(rr, LDNS_RDF_TYPE_DNAME, question->name.bytes, question->name.length) &&
        push_data(rr, LDNS_RDF_TYPE_DNAME, nobody, sizeof nobody);
    for (size_t i = 0; i < CTR_LENGTH(times) && complete; i++) {
        complete = push_data(rr, i == 0 ? LDNS_RDF_TYPE_INT32 : LDNS_RDF_TYPE_PERIOD, times[i],
                             sizeof times[i]);
    }
    push_rr(list, rr, complete);
}

/* --- answers --- */

/* host NULL: the name is ours, but there is none such. */
static ldns_buffer *
make(const struct ctr_dns_question *question, struct ctr_dns_host *host)
{
    ldns_rr_list *answer = ldns_rr_list_new(), *authority = ldns_rr_list_new();
    ldns_buffer *bytes = NULL;
    if (answer != NULL && authority != NULL) {
        uint16_t type = question->type;
        bool any = type == LDNS_RR_TYPE_ANY;
        if (host != NULL && (any || type == LDNS_RR_TYPE_A)) {
            push_addresses(answer, question, &host->v4, false);
        }
        if (host != NULL && (any || type == LDNS_RR_TYPE_AAAA)) {
            push_addresses(answer, question, &host->v6, true);
        }
        if (host != NULL && host->pointer != NULL && (any || type == LDNS_RR_TYPE_PTR)) {
            push_pointer(answer, question, host->pointer);
        }
        if (ldns_rr_list_rr_count(answer) == 0) {
            push_soa(authority, question);
        }
        struct ctr_dns_reply reply = {
            .rcode = host == NULL ? LDNS_RCODE_NXDOMAIN : LDNS_RCODE_NOERROR,
            .aa = true,
            .sections = {answer, authority},
        };
        bytes = ctr_dns_reply_make(question, &reply);
    }
    ldns_rr_list_deep_free(answer);
    ldns_rr_list_deep_free(authority);
    return bytes;
}

ldns_buffer *
ctr_dns_local_answer(struct ctr_dns *dns, const struct ctr_dns_port *port,
                     const struct ctr_dns_question *question, bool *ret_local)
{
    const struct ctr_dns_table *tables[] = {&port->view->hosts, &dns->hosts,
                                            &port->view->elsewhere};
    struct ctr_dns_host *host = NULL;
    for (size_t i = 0; i < CTR_LENGTH(tables) && host == NULL; i++) {
        host = ctr_dns_hosts_find(tables[i], &question->name);
    }
    *ret_local = host != NULL || is_ours(dns, &question->name);
    return *ret_local ? make(question, host) : NULL;
}
