/*
 * The resolver: where questions come in, and who answers them.
 */
#include "core/dns/dns-priv.h"

int
ctr_dns_create(struct ctr_loop *loop, const char *resolv_conf,
               const struct ctr_dns_hooks *hooks, struct ctr_dns **ret, struct ctr_error *err)
{
    struct ctr_dns *dns = calloc(1, sizeof *dns);
    if (dns == NULL) {
        return ctr_fail(err, -ENOMEM, "DNS: out of memory");
    }
    dns->loop = loop;
    dns->times = (struct ctr_dns_times){
        .datagram_ms = 1500, .connection_ms = 3000, .question_ms = 8000, .idle_ms = 10000};
    if (hooks != NULL) {
        dns->hooks = *hooks;
    }
    int code = ctr_dns_conf_init(&dns->conf, resolv_conf, err);
    if (code != 0) {
        ctr_dns_destroy(dns);
        return code;
    }
    *ret = dns;
    return 0;
}

void
ctr_dns_destroy(struct ctr_dns *dns)
{
    if (dns == NULL) {
        return;
    }
    ctr_dns_streams_close(dns);
    ctr_dns_forwards_close(dns);
    ctr_dns_ports_finish(&dns->ports);
    ctr_dns_hosts_finish(&dns->hosts);
    ctr_dns_conf_finish(&dns->conf);
    free(dns);
}

int
ctr_dns_add_prefix(struct ctr_dns *dns, const struct ctr_address *prefix, int length,
                   struct ctr_error *err)
{
    if (dns->n_prefixes == CTR_LENGTH(dns->prefixes)) {
        return ctr_fail(err, -ENOSPC, "DNS: a network has at most %d prefixes",
                        CTR_DNS_PREFIXES);
    }
    dns->prefixes[dns->n_prefixes++] = (struct ctr_dns_prefix){*prefix, length};
    return 0;
}

int
ctr_dns_set_zone(struct ctr_dns *dns, const json_t *zone, struct ctr_error *err)
{
    const json_t *ports = json_object_get(zone, "ports");
    struct ctr_dns_table hosts;
    if (!json_is_object(zone) || (ports != NULL && !json_is_object(ports))) {
        return ctr_fail(err, -EINVAL, "DNS zone: needs an object with \"hosts\" and \"ports\"");
    }
    int code = ctr_dns_hosts_load(&hosts, json_object_get(zone, "hosts"), err);
    if (code == 0) {
        code = ctr_dns_ports_load(&dns->ports, ports, err);
    }
    if (code != 0) {
        ctr_dns_hosts_finish(&hosts);
        return code;
    }
    ctr_dns_hosts_finish(&dns->hosts);
    dns->hosts = hosts;
    return 0;
}

static void
give_bytes(ldns_buffer *take_bytes, ctr_dns_answer_fn *answer, void *answer_arg)
{
    if (take_bytes == NULL) {
        answer(answer_arg, NULL, 0);
        return;
    }
    answer(answer_arg, ldns_buffer_begin(take_bytes), ldns_buffer_position(take_bytes));
    ldns_buffer_free(take_bytes);
}

void
ctr_dns_refuse(const struct ctr_dns_question *question, int rcode, ctr_dns_answer_fn *answer,
               void *answer_arg)
{
    struct ctr_dns_reply reply = {.rcode = rcode};
    give_bytes(ctr_dns_reply_make(question, &reply), answer, answer_arg);
}

static bool
may_ask(const struct ctr_dns *dns, const struct ctr_dns_port *port,
        const struct ctr_dns_name *name)
{
    char text[CTR_DNS_TEXT];
    return port->view->forward &&
           (dns->hooks.may_ask == NULL ||
            dns->hooks.may_ask(dns->hooks.arg, port->id, ctr_dns_name_text(name, text)));
}

/* A well-formed question. Finishes it. */
static void
answer_question(struct ctr_dns *dns, const char *id, struct ctr_dns_question *question,
                ctr_dns_answer_fn *answer, void *answer_arg)
{
    struct ctr_dns_port *port = ctr_dns_ports_find(&dns->ports, id);
    bool local = false;
    ldns_buffer *bytes =
        port == NULL ? NULL : ctr_dns_local_answer(dns, port, question, &local);
    if (local) {
        dns->local++;
        give_bytes(bytes, answer, answer_arg);
    } else if (port == NULL || !may_ask(dns, port, &question->name)) {
        dns->refused++;
        ctr_dns_refuse(question, LDNS_RCODE_REFUSED, answer, answer_arg);
    } else {
        ctr_dns_forward(dns, port, question, answer, answer_arg);
        return;
    }
    ctr_dns_question_finish(question);
}

void
ctr_dns_ask(struct ctr_dns *dns, const char *port, const void *bytes, size_t length,
            bool stream, ctr_dns_answer_fn *answer, void *answer_arg)
{
    struct ctr_dns_question question;
    int code = ctr_dns_question_read(bytes, length, stream, &question);
    dns->queries++;
    if (code == 0) {
        answer_question(dns, port, &question, answer, answer_arg);
        return;
    }
    if (code == LDNS_RCODE_REFUSED) {
        dns->refused++;
    } else {
        dns->failed++;
    }
    if (code > 0) {
        ctr_dns_refuse(&question, code, answer, answer_arg);
    } else {
        answer(answer_arg, NULL, 0);
    }
    ctr_dns_question_finish(&question);
}

void
ctr_dns_query(struct ctr_dns *dns, const char *port, const void *bytes, size_t length,
              void (*answer)(void *answer_arg, const void *bytes, size_t length),
              void *answer_arg)
{
    ctr_dns_ask(dns, port, bytes, length, false, answer, answer_arg);
}

json_t *
ctr_dns_stats(const struct ctr_dns *dns)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I}", "queries", (json_int_t) dns->queries, "local",
                     (json_int_t) dns->local, "forwarded", (json_int_t) dns->forwarded,
                     "refused", (json_int_t) dns->refused, "failed", (json_int_t) dns->failed);
}
