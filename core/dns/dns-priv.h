/*
 * core/dns, inside. A question goes dns.c -> question.c (taken apart) -> local.c (the zone's names) or forward.c (open questions) -> exchange.c (one server) ->
 * chain.c (where the answer leads) -> message.c (the answer as bytes).
 *
 * All bytes from outside go through wire.c before ldns sees them: ldns 1.8 follows pointer loops 65,535 times for each name, takes what is left behind an RR's
 * fields for the next RR, and leaks a second TSIG.
 */
#ifndef CTR_DNS_PRIV_H
#define CTR_DNS_PRIV_H

#include "core/dns/dns.h"
#include <ldns/ldns.h>
#include <netinet/in.h>
#include <sys/stat.h>

#define CTR_DNS_HEADER 12
#define CTR_DNS_QUERY_MAX 4096 /* of a question's bytes */
#define CTR_DNS_UDP_MAX 1232   /* what we take and give by UDP: never fragmented */
#define CTR_DNS_UDP_PLAIN 512  /* without EDNS */
#define CTR_DNS_STREAM_MAX 65535
#define CTR_DNS_TTL 5     /* seconds, of our own answers */
#define CTR_DNS_SERVERS 3 /* as many as the host's own resolver asks (MAXNS) */
#define CTR_DNS_PREFIXES 8
#define CTR_DNS_TEXT 1024 /* a name as text */

/* --- wire.c: names and whole messages as bytes --- */

struct ctr_dns_name {
    uint8_t length;     /* with the root's zero byte */
    uint8_t bytes[255]; /* wire form, lower case, no pointers */
};
/* Reads a name at *at and moves *at behind it. Pointers lead backwards only. `ret` may be NULL. 0 or -EBADMSG. */
int
ctr_dns_name_read(const uint8_t *bytes, size_t length, size_t *at, struct ctr_dns_name *ret);
/* "web", "api.example.com", with or without a dot at the end. -EINVAL: this cannot be a DNS name. */
int ctr_dns_name_parse(const char *text, struct ctr_dns_name *ret);
/* Without a dot at the end; whatever is not a letter, digit, - or _ as \DDD. Returns ret. */
const char *ctr_dns_name_text(const struct ctr_dns_name *name, char ret[CTR_DNS_TEXT]);
bool ctr_dns_name_equal(const struct ctr_dns_name *a, const struct ctr_dns_name *b);
/* The message's parts fill it exactly, and each name and each RR's data is well-formed. Only such bytes may go to ldns. */
bool ctr_dns_wire_ok(const uint8_t *bytes, size_t length);
uint16_t ctr_dns_u16(const uint8_t *bytes);

/* --- question.c --- */

struct ctr_dns_question {
    uint16_t id;
    uint8_t opcode;
    bool rd, ad, cd; /* as in the header */
    bool edns, dnssec_ok;
    uint16_t limit; /* of the answer's bytes */
    ldns_rr *rr;    /* as it was asked, upper case too; owned; NULL: not known */
    uint16_t type;
    struct ctr_dns_name name;
};
/* 0; an RCODE to answer with; or -EBADMSG: no question at all, not to be answered. *ret is to be finished in each case. */
int ctr_dns_question_read(const void *bytes, size_t length, bool stream,
                          struct ctr_dns_question *ret);
void ctr_dns_question_finish(struct ctr_dns_question *question);

/* --- message.c: messages that we send; the caller frees with ldns_buffer_free; NULL: out of memory --- */

struct ctr_dns_reply {
    int rcode; /* EDNS' extended ones too */
    bool aa, ad;
    const ldns_rr_list *sections[3]; /* answer, authority, additional; NULL: empty; borrowed */
};
/* What does not fit question->limit is left out, and TC set unless it was only of the additional section. */
ldns_buffer *
ctr_dns_reply_make(const struct ctr_dns_question *question, const struct ctr_dns_reply *reply);
/* The same question for a server. */
ldns_buffer *ctr_dns_ask_make(const struct ctr_dns_question *question, uint16_t id, bool edns);

/* --- table.c: a hash table of entries that are part of their owners --- */

struct ctr_dns_entry {
    struct ctr_dns_entry *next;
    uint32_t hash;
    uint16_t length;
    const void *key; /* part of the owner */
};
struct ctr_dns_table {
    struct ctr_dns_entry **buckets;
    size_t n_buckets, n;
};
struct ctr_dns_entry *
ctr_dns_table_find(const struct ctr_dns_table *table, const void *key, size_t length);
/* entry->key and length are set; the key is not there yet. 0 or -ENOMEM. */
int ctr_dns_table_add(struct ctr_dns_table *table, struct ctr_dns_entry *entry);
/* Takes out, and gives to `drop`, each entry that `gone` (NULL: all) says yes to. */
void ctr_dns_table_sweep(struct ctr_dns_table *table, bool (*gone)(struct ctr_dns_entry *),
                         void (*drop)(struct ctr_dns_entry *));
/* Frees the buckets of a table that is empty. */
void ctr_dns_table_finish(struct ctr_dns_table *table);

/* --- conf.c: who is asked --- */

union ctr_dns_server {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};
struct ctr_dns_servers {
    size_t n;
    union ctr_dns_server at[CTR_DNS_SERVERS];
};
/* "192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "fe80::1%eth0", "[::1]:53". 0 or -EINVAL. */
int ctr_dns_server_parse(const char *text, union ctr_dns_server *ret);

struct ctr_dns_conf {
    char *path;
    struct stat seen; /* st_ino 0: no file */
    int64_t looked;   /* monotonic ns; 0: never */
    struct ctr_dns_servers servers;
};
int ctr_dns_conf_init(struct ctr_dns_conf *conf, const char *path, struct ctr_error *err);
void ctr_dns_conf_finish(struct ctr_dns_conf *conf);
/* Looks at the file at most once a second. */
const struct ctr_dns_servers *ctr_dns_conf_servers(struct ctr_dns_conf *conf);
/* For a text of such a file. */
void ctr_dns_conf_parse(const char *text, struct ctr_dns_servers *ret);

/* --- zone.c: names and what they lead to --- */

/* Addresses of a name in one family, or the name of an address. */
struct ctr_dns_list {
    uint32_t n, turn; /* turn: which one comes first in the next answer */
    uint8_t *bytes;   /* n times 4 or 16 */
};
struct ctr_dns_host {
    struct ctr_dns_entry entry; /* first */
    struct ctr_dns_list v4, v6;
    const struct ctr_dns_host *pointer; /* of a reverse name: the name that the address has */
    uint8_t length;
    uint8_t name[]; /* wire form */
};
/* [{"name","addresses"},…]; JSON NULL: none. Names that cannot stand in DNS are left out. */
int ctr_dns_hosts_load(struct ctr_dns_table *hosts, const json_t *json, struct ctr_error *err);
void ctr_dns_hosts_finish(struct ctr_dns_table *hosts);
struct ctr_dns_host *
ctr_dns_hosts_find(const struct ctr_dns_table *hosts, const struct ctr_dns_name *name);

/* --- ports.c: who asks --- */

/* What the zone says of a port. */
struct ctr_dns_view {
    struct ctr_dns_table hosts, elsewhere; /* before and after the network's */
    struct ctr_dns_servers servers;        /* none: the host's */
    bool forward;
};
struct ctr_dns_port {
    struct ctr_dns_entry entry; /* first */
    struct ctr_dns_view *view,
        *next; /* view NULL: the zone does not name it (any more); next: of the zone that is being read */
    unsigned open, streams; /* questions to the outside, TCP connections */
    char id[];
};
/* Reads the zone's "ports"; on failure the old ones stay. */
int ctr_dns_ports_load(struct ctr_dns_table *ports, const json_t *json, struct ctr_error *err);
void ctr_dns_ports_finish(struct ctr_dns_table *ports);
/* NULL: not named by the zone. */
struct ctr_dns_port *ctr_dns_ports_find(const struct ctr_dns_table *ports, const char *id);

/* --- the resolver --- */

struct ctr_dns_prefix {
    struct ctr_address address;
    int length;
};
/* A server that did not answer is asked after the others for a while. */
struct ctr_dns_silent {
    union ctr_dns_server server;
    int64_t until;
};

/* How long is waited; a test's patience is shorter. */
struct ctr_dns_times {
    uint64_t datagram_ms, connection_ms; /* for a server's answer by UDP, by TCP */
    uint64_t question_ms;                /* no more tries after that */
    uint64_t idle_ms;                    /* for a client's next whole question by TCP */
};

struct ctr_dns {
    struct ctr_loop *loop;
    struct ctr_dns_times times;
    struct ctr_dns_hooks hooks;
    struct ctr_dns_conf conf;
    struct ctr_dns_table hosts, ports;
    struct ctr_dns_prefix prefixes[CTR_DNS_PREFIXES];
    size_t n_prefixes;
    struct ctr_dns_silent silent[4];
    size_t next_silent;
    struct ctr_dns_forward *forwards;
    unsigned n_open;
    struct ctr_dns_stream *streams;
    unsigned n_streams;
    int64_t queries, local, forwarded, refused, failed;
};

typedef void ctr_dns_answer_fn(void *answer_arg, const void *bytes, size_t length);

/* dns.c: both ways in. `stream`: came by TCP. */
void ctr_dns_ask(struct ctr_dns *dns, const char *port, const void *bytes, size_t length,
                 bool stream, ctr_dns_answer_fn *answer, void *answer_arg);
/* Answers with just a code. */
void ctr_dns_refuse(const struct ctr_dns_question *question, int rcode,
                    ctr_dns_answer_fn *answer, void *answer_arg);

/* --- local.c --- */

/* What we answer ourselves: the bytes; NULL with *ret_local false: it is a question for the outside. */
ldns_buffer *ctr_dns_local_answer(struct ctr_dns *dns, const struct ctr_dns_port *port,
                                  const struct ctr_dns_question *question, bool *ret_local);

/* --- forward.c: open questions --- */

/* Takes what the question owns. */
void ctr_dns_forward(struct ctr_dns *dns, struct ctr_dns_port *port,
                     struct ctr_dns_question *take_question, ctr_dns_answer_fn *answer,
                     void *answer_arg);
/* Answers all open questions with nothing. */
void ctr_dns_forwards_close(struct ctr_dns *dns);

/* --- exchange.c: one question to one server, by UDP and, if that is too short, TCP --- */

struct ctr_dns_exchange;
/* `done` comes once, unless destroyed before, and never inside start: with the answer (owned by the callee), or NULL. It should destroy the exchange. `question` and
 * `server` must live so long. NULL: cannot be sent. */
struct ctr_dns_exchange *
ctr_dns_exchange_start(struct ctr_dns *dns, const struct ctr_dns_question *question,
                       const union ctr_dns_server *server, bool edns,
                       void (*done)(void *arg, ldns_pkt *take_answer), void *arg);
void ctr_dns_exchange_destroy(struct ctr_dns_exchange *exchange); /* takes NULL */
/* The bytes as an answer to that question, or NULL (a fuzz target). */
ldns_pkt *ctr_dns_answer_read(const struct ctr_dns_question *question, uint16_t id,
                              const uint8_t *bytes, size_t length);

/* --- chain.c --- */

/* All addresses that the name leads to by the answer's CNAMEs; caller frees. NULL: none (or no memory). */
struct ctr_address *
ctr_dns_chain_addresses(const ldns_pkt *answer, const struct ctr_dns_question *question,
                        size_t *ret_n, uint32_t *ret_ttl);

/* --- stream.c --- */

void ctr_dns_streams_close(struct ctr_dns *dns);

#endif
