/*
 * Open questions: those that wait for an answer from outside.
 *
 * A question is tried at most three times, each time at the next server; who was silent lately is asked last. The same question of the same
 * port, asked again meanwhile, waits for the same answer. How many may be open is bounded for each port and in all, and when half of all are taken, a port
 * that has many gets no more: one that floods does not take the others' places.
 */
#include "core/dns/dns-priv.h"

#define MAX_TRIES 3
#define SILENT_NS 30000000000LL
#define MAX_OPEN 512
#define MAX_PORT 128
#define MAX_PORT_CROWDED 16
#define MAX_CLIENTS 16 /* of one question */

struct client {
    struct client *next;
    struct ctr_dns_question question;
    ctr_dns_answer_fn *answer;
    void *answer_arg;
};

struct ctr_dns_forward {
    struct ctr_dns_forward *next;
    struct ctr_dns *dns;
    struct ctr_dns_port *port;
    struct client *clients; /* the first is the one that asks */
    unsigned n_clients;
    struct ctr_dns_servers servers; /* in the order of asking */
    unsigned tries;
    bool plain; /* without EDNS */
    int64_t deadline;
    struct ctr_dns_exchange *exchange;
    ldns_pkt *poor; /* an answer that says only that the server could not */
};

/* --- servers that do not answer --- */

static bool
same_server(const union ctr_dns_server *a, const union ctr_dns_server *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static bool
is_silent(const struct ctr_dns *dns, const union ctr_dns_server *server, int64_t now)
{
    for (size_t i = 0; i < CTR_LENGTH(dns->silent); i++) {
        if (dns->silent[i].until > now && same_server(&dns->silent[i].server, server)) {
            return true;
        }
    }
    return false;
}

static void
set_silent(struct ctr_dns *dns, const union ctr_dns_server *server)
{
    int64_t now = ctr_monotonic_ns();
    if (!is_silent(dns, server, now)) {
        dns->silent[dns->next_silent] = (struct ctr_dns_silent){*server, now + SILENT_NS};
        dns->next_silent = (dns->next_silent + 1) % CTR_LENGTH(dns->silent);
    }
}

static void
order_servers(const struct ctr_dns *dns, const struct ctr_dns_servers *from,
              struct ctr_dns_servers *ret)
{
    int64_t now = ctr_monotonic_ns();
    *ret = (struct ctr_dns_servers){0};
    for (int silent = 0; silent < 2; silent++) {
        for (size_t i = 0; i < from->n; i++) {
            if (is_silent(dns, &from->at[i], now) == (silent == 1)) {
                ret->at[ret->n++] = from->at[i];
            }
        }
    }
}

/* --- the end of an open question --- */

static void
answer_client(struct client *client, const ldns_pkt *answer)
{
    struct ctr_dns_reply reply = {
        .rcode = ldns_pkt_get_rcode(answer) | ldns_pkt_edns_extended_rcode(answer) << 4,
        .ad = ldns_pkt_ad(answer),
        .sections = {ldns_pkt_answer(answer), ldns_pkt_authority(answer),
                     ldns_pkt_additional(answer)},
    };
    ldns_buffer *bytes = ctr_dns_reply_make(&client->question, &reply);
    if (bytes == NULL) {
        client->answer(client->answer_arg, NULL, 0);
        return;
    }
    client->answer(client->answer_arg, ldns_buffer_begin(bytes), ldns_buffer_position(bytes));
    ldns_buffer_free(bytes);
}

/* Before the client may use the addresses. */
static void
tell_addresses(const struct ctr_dns_forward *f, const ldns_pkt *answer)
{
    const struct ctr_dns_hooks *hooks = &f->dns->hooks;
    const struct ctr_dns_question *question = &f->clients->question;
    char text[CTR_DNS_TEXT];
    size_t n;
    uint32_t ttl;
    if (hooks->resolved == NULL || f->port->view == NULL ||
        ldns_pkt_get_rcode(answer) != LDNS_RCODE_NOERROR) {
        return;
    }
    CTR_AUTO(free)
    struct ctr_address *addresses = ctr_dns_chain_addresses(answer, question, &n, &ttl);
    if (addresses != NULL) {
        hooks->resolved(hooks->arg, f->port->id, ctr_dns_name_text(&question->name, text),
                        addresses, n, ttl);
    }
}

static void
unlink_forward(struct ctr_dns_forward *f)
{
    struct ctr_dns_forward **at = &f->dns->forwards;
    while (*at != f) {
        at = &(*at)->next;
    }
    *at = f->next;
    f->dns->n_open--;
    f->port->open--;
}

static void
free_forward(struct ctr_dns_forward *f)
{
    ctr_dns_exchange_destroy(f->exchange);
    ldns_pkt_free(f->poor);
    free(f);
}

/* answer NULL: SERVFAIL, or nothing at all when the resolver closes. */
static void
end_forward(struct ctr_dns_forward *f, const ldns_pkt *answer, bool closing)
{
    unlink_forward(f);
    if (answer != NULL) {
        tell_addresses(f, answer);
    }
    for (struct client *client = f->clients, *next; client != NULL; client = next) {
        next = client->next;
        if (answer != NULL) {
            answer_client(client, answer);
        } else if (closing) {
            client->answer(client->answer_arg, NULL, 0);
        } else {
            f->dns->failed++;
            ctr_dns_refuse(&client->question, LDNS_RCODE_SERVFAIL, client->answer,
                           client->answer_arg);
        }
        ctr_dns_question_finish(&client->question);
        free(client);
    }
    free_forward(f);
}

/* --- its tries --- */

static void on_answer(void *arg, ldns_pkt *take_answer);

static const union ctr_dns_server *
current_server(const struct ctr_dns_forward *f)
{
    return &f->servers.at[(f->tries - 1) % f->servers.n];
}

static bool
start_exchange(struct ctr_dns_forward *f)
{
    /* The first client asked all that counts: name, type, and the header's bits. */
    f->exchange = ctr_dns_exchange_start(f->dns, &f->clients->question, current_server(f),
                                         !f->plain, on_answer, f);
    return f->exchange != NULL;
}

/* May end, and free, f. */
static void
next_try(struct ctr_dns_forward *f)
{
    unsigned tries = f->poor == NULL ? MAX_TRIES : (unsigned) f->servers.n;
    while (f->servers.n > 0 && f->tries < tries && ctr_monotonic_ns() < f->deadline) {
        f->tries++;
        /* Some boxes on the way drop what has EDNS. */
        f->plain = f->plain || f->tries > f->servers.n;
        if (start_exchange(f)) {
            return;
        }
    }
    end_forward(f, f->poor, false);
}

static void
on_answer(void *arg, ldns_pkt *answer)
{
    struct ctr_dns_forward *f = arg;
    ctr_dns_exchange_destroy(f->exchange);
    f->exchange = NULL;
    ldns_pkt_rcode rcode = answer == NULL ? 0 : ldns_pkt_get_rcode(answer);
    if (answer == NULL) {
        set_silent(f->dns, current_server(f));
    } else if ((rcode == LDNS_RCODE_FORMERR || rcode == LDNS_RCODE_NOTIMPL) && !f->plain) {
        ldns_pkt_free(answer);
        f->plain = true;
        if (start_exchange(f)) {
            return;
        }
    } else if (rcode == LDNS_RCODE_SERVFAIL || rcode == LDNS_RCODE_REFUSED ||
               rcode == LDNS_RCODE_NOTIMPL) {
        ldns_pkt_free(f->poor);
        f->poor = answer; /* another one may know */
    } else {
        end_forward(f, answer, false);
        ldns_pkt_free(answer);
        return;
    }
    next_try(f);
}

/* --- its beginning --- */

static bool
is_crowded(const struct ctr_dns *dns, const struct ctr_dns_port *port)
{
    unsigned limit = dns->n_open < MAX_OPEN / 2 ? MAX_PORT : MAX_PORT_CROWDED;
    return dns->n_open >= MAX_OPEN || port->open >= limit;
}

static bool
same_ask(const struct ctr_dns_question *a, const struct ctr_dns_question *b)
{
    return a->type == b->type && a->rd == b->rd && a->ad == b->ad && a->cd == b->cd &&
           a->dnssec_ok == b->dnssec_ok && ctr_dns_name_equal(&a->name, &b->name);
}

static struct ctr_dns_forward *
find_same(const struct ctr_dns *dns, const struct ctr_dns_port *port,
          const struct ctr_dns_question *question)
{
    struct ctr_dns_forward *f = dns->forwards;
    while (f != NULL && (f->port != port || !same_ask(&f->clients->question, question))) {
        f = f->next;
    }
    return f;
}

static struct ctr_dns_forward *
open_forward(struct ctr_dns *dns, struct ctr_dns_port *port)
{
    struct ctr_dns_forward *f = is_crowded(dns, port) ? NULL : calloc(1, sizeof *f);
    if (f == NULL) {
        return NULL;
    }
    const struct ctr_dns_servers *servers = &port->view->servers;
    f->dns = dns;
    f->port = port;
    f->deadline = ctr_monotonic_ns() + (int64_t) dns->times.question_ms * 1000000;
    order_servers(dns, servers->n > 0 ? servers : ctr_dns_conf_servers(&dns->conf),
                  &f->servers);
    f->next = dns->forwards;
    dns->forwards = f;
    dns->n_open++;
    port->open++;
    return f;
}

void
ctr_dns_forward(struct ctr_dns *dns, struct ctr_dns_port *port,
                struct ctr_dns_question *take_question, ctr_dns_answer_fn *answer,
                void *answer_arg)
{
    struct client *client = calloc(1, sizeof *client);
    struct ctr_dns_forward *f = find_same(dns, port, take_question);
    bool joined = f != NULL;
    if (client != NULL && !joined) {
        f = open_forward(dns, port);
    }
    if (client == NULL || f == NULL || f->n_clients == MAX_CLIENTS) {
        free(client);
        dns->failed++;
        ctr_dns_refuse(take_question, LDNS_RCODE_SERVFAIL, answer, answer_arg);
        ctr_dns_question_finish(take_question);
        return;
    }
    *client = (struct client){
        .question = *take_question,
        .answer = answer,
        .answer_arg = answer_arg,
    };
    dns->forwarded++;
    f->n_clients++;
    if (joined) {
        /* Behind the first, whose question an exchange may have borrowed. */
        client->next = f->clients->next;
        f->clients->next = client;
        return;
    }
    f->clients = client;
    next_try(f);
}

void
ctr_dns_forwards_close(struct ctr_dns *dns)
{
    while (dns->forwards != NULL) {
        end_forward(dns->forwards, NULL, true);
    }
}
