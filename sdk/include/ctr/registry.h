/*
 * ctr/registry.h: the registry plugin kind: who am I for this registry?
 *
 * A profile names a chain of instances, asked in order; the first that knows the host answers. Credentials are valid only
 * for the origin that was asked for; the core sends them nowhere else (and to that origin's https token realm).
 */
#ifndef CTR_REGISTRY_H
#define CTR_REGISTRY_H

#include <ctr/plugin.h>

enum ctr_credential_type {
    CTR_CREDENTIAL_PASSWORD = 1, /* user and secret */
    CTR_CREDENTIAL_IDENTITY = 2, /* secret is an identity (refresh) token */
    CTR_CREDENTIAL_BEARER =
        3, /* secret is a ready bearer token for the asked repository and actions */
};

struct ctr_registry_query {
    uint32_t size;
    uint32_t reserved;
    const char *host;       /* host[:port], lower case; Docker Hub is "docker.io" */
    const char *repository; /* "library/busybox", or "" for the registry as a whole */
    const char *actions;    /* "pull" or "pull,push" */
};

struct ctr_credential {
    uint32_t size;
    uint32_t type;    /* enum ctr_credential_type */
    const char *user; /* "" unless PASSWORD; then without a colon */
    const char *
        secret; /* NUL-terminated, at most 16 KiB, no control characters; the giver wipes it after the call */
    uint64_t expires; /* seconds since the epoch, 0: unknown */
};

/* Overwrites a secret in a way that the compiler keeps; before free(). */
static inline void
ctr_wipe(void *bytes, size_t length)
{
    volatile unsigned char *p = (volatile unsigned char *) bytes;
    while (length-- > 0) {
        *p++ = 0;
    }
}

struct ctr_registry_ops {
    uint32_t size; /* sizeof(struct ctr_registry_ops) */
    uint32_t reserved;

    /* Required. Worker thread, may block. On failure nothing is left. */
    int (*open)(const struct ctr_host *host, void **ret_self, struct ctr_error *err);
    /* Required. Takes NULL. */
    void (*close)(void *self);

    /* Calls answer(arg, credential) once, inside this call, and returns 0. -ENOENT: this plugin has none for the host, the
     * next in the chain is asked. Any other failure stops the chain and is reported. Required. Worker thread, may block at most
     * 30 s: then the core goes on without it, and asks the instance again only when the call has returned. That holds for all slots. */
    int (*get)(void *self, const struct ctr_registry_query *query,
               void (*answer)(void *arg, const struct ctr_credential *credential), void *arg,
               struct ctr_error *err);
    /* Keeps a credential durably, in place of the host's older one. NULL, or -ENOENT (this plugin keeps none for this host): `login` goes to the
     * next in the chain. */
    int (*store)(void *self, const char *host, const struct ctr_credential *credential,
                 struct ctr_error *err);
    /* Forgets a credential; -ENOENT if there is none. NULL: as for store. */
    int (*erase)(void *self, const char *host, struct ctr_error *err);
    /* Calls each(arg, host, user) for all that is stored; no secrets. NULL: nothing is listed. */
    int (*list)(void *self, void (*each)(void *arg, const char *host, const char *user),
                void *arg, struct ctr_error *err);
    /* Replaces the token exchange, where it answers: given the registry's WWW-Authenticate parameters, answers a BEARER credential. NULL, or
     * -ENOENT: the next in the chain is asked, and at its end the core does the exchange of distribution-spec's token authentication. */
    int (*token)(void *self, const struct ctr_registry_query *query, const char *realm,
                 const char *service, const char *scope,
                 void (*answer)(void *arg, const struct ctr_credential *credential), void *arg,
                 struct ctr_error *err);
};

#endif
