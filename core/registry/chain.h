/*
 * core/registry, inside: the links of a registry chain (chain.c) and one call to one of them (chain-call.c).
 */
#ifndef CTR_REGISTRY_CHAIN_H
#define CTR_REGISTRY_CHAIN_H

#include "core/registry/registry-priv.h"

#define CHAIN_LIMIT_MS 30000 /* of one call to a plugin, and of waiting for its turn */

/* An instance. Lives until its chain is closed and no call is under way in it. */
struct chain_link {
    char *name;
    const struct ctr_plugin *plugin;
    struct ctr_registry_ops ops;
    struct ctr_host *host;
    void *self;
    bool opened;
    int64_t limit_ms;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool busy;         /* a call is under way: one at a time */
    int64_t busy_till; /* monotonic: when that one's time is up */
    bool closed;       /* whose chain is gone; the last call's thread frees it */
};

struct ctr_chain {
    struct chain_link **links;
    size_t n_links;
};

void chain_link_free(struct chain_link *link); /* with no call under way */

/* --- chain-call.c --- */

enum chain_verb {
    CHAIN_OPEN,
    CHAIN_GET,
    CHAIN_TOKEN,
    CHAIN_STORE,
    CHAIN_ERASE,
    CHAIN_LIST,
};

/* One that was checked, by value. */
struct chain_credential {
    uint32_t type; /* 0: none */
    struct secret *user, *secret;
    uint64_t expires;
};

/* One call, with texts of its own, since it may outlive who made it. */
struct chain_call {
    struct chain_link *link;
    enum chain_verb verb;
    char *host, *repository, *actions, *realm, *service, *scope;
    struct chain_credential given;  /* to be stored */
    struct chain_credential answer; /* of get and token */
    int answers;                    /* how often it answered */
    const char *answer_fault;       /* what is wrong with the answer, a literal */
    json_t *hosts;                  /* of list: [{"host","user"}] */
    int rc;
    struct ctr_error err;
    bool done, left; /* left: its caller is gone, its thread frees it */
};

/* NULL: out of memory. host, query and credential may be NULL; all is copied. */
struct chain_call *chain_call_create(struct chain_link *link, enum chain_verb verb,
                                     const char *host, const struct ctr_registry_query *query,
                                     const struct ctr_credential *credential);
/* Runs it on a thread of its own and waits; then *ret_call is still the caller's to free, or NULL where its time was up (-ETIMEDOUT) or transfer
 * was cancelled. The plugin's own error has no prefix. */
int
chain_call_run(struct chain_call **call, struct ctr_transfer *transfer, struct ctr_error *err);
void chain_call_free(struct chain_call *call); /* takes NULL */

/* NULL if it can be sent to a registry, else what is wrong with it, a literal. */
const char *chain_credential_fault(const struct ctr_credential *credential);

#endif
