/*
 * A container's question: whatever it is, it is answered once, with a well-formed message of its ID that is not longer than it may be. The first byte says by
 * UDP or TCP. No server is known, so that nothing is asked outside.
 */
#include "core/dns/dns-priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static const char zone_text[] =
    "{\"hosts\":[{\"name\":\"web\",\"addresses\":[\"10.88.0.2\",\"10.88.0.3\",\"fd00::2\"]},"
    "{\"name\":\"a.b\",\"addresses\":[\"10.88.0.4\"]}],"
    "\"ports\":{\"p\":{\"hosts\":[{\"name\":\"own\",\"addresses\":[\"192.0.2.1\"]}]}}}";

struct answer {
    const uint8_t *question;
    size_t limit;
    unsigned n;
};

static void
must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void
on_answer(void *arg, const void *bytes, size_t length)
{
    struct answer *answer = arg;
    answer->n++;
    if (length > 0) {
        must(ctr_dns_wire_ok(bytes, length) && length <= answer->limit);
        must(memcmp(bytes, answer->question, 2) == 0 && LDNS_QR_WIRE((const uint8_t *) bytes));
        ldns_pkt *pkt;
        must(ldns_wire2pkt(&pkt, bytes, length) == LDNS_STATUS_OK);
        ldns_pkt_free(pkt);
    }
}

static struct ctr_dns *
make_resolver(void)
{
    struct ctr_loop *loop;
    struct ctr_dns *dns;
    CTR_AUTO(json) json_t *zone = json_loads(zone_text, 0, NULL);
    must(ctr_loop_create(&loop, NULL) == 0);
    must(ctr_dns_create(loop, "/nonexistent/resolv.conf", NULL, &dns, NULL) == 0);
    must(ctr_dns_set_zone(dns, zone, NULL) == 0);
    return dns;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static struct ctr_dns *dns;
    if (dns == NULL) {
        dns = make_resolver();
    }
    if (length == 0) {
        return 0;
    }
    bool stream = (bytes[0] & 1) != 0;
    struct answer answer = {bytes + 1, stream ? CTR_DNS_STREAM_MAX : CTR_DNS_UDP_MAX, 0};
    ctr_dns_ask(dns, "p", bytes + 1, length - 1, stream, on_answer, &answer);
    must(answer.n == 1);
    return 0;
}
