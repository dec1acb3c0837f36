/*
 * registry-odd: a registry plugin that misbehaves on order, for tests of the chain. The option `how` is the order; it knows the hosts whose names
 * begin with its instance's name, and keeps a login only in memory.
 */
#include <ctr/registry.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

struct odd {
    const struct ctr_host *host;
    const char *how;
    char kept[300]; /* the host that store was told */
    char large[20000];
};

static const struct ctr_option options[] = {
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_STRING,
     .name = "how",
     .def = "good",
     .help = "what is odd about it"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_INT,
     .name = "block_ms",
     .def = "0",
     .help = "how long each call blocks"},
};

static void
block(const struct ctr_host *host)
{
    int64_t ms = host->option_int(host, "block_ms");
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void) nanosleep(&pause, NULL);
}

static int
odd_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    const char *how = host->option_string(host, "how");
    if (strcmp(how, "open-blocks") == 0) {
        block(host);
    }
    if (strcmp(how, "open-fails") == 0) {
        return ctr_fail(err, -EIO, "odd on order");
    }
    struct odd *odd = calloc(1, sizeof *odd);
    if (odd == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    odd->host = host;
    odd->how = how;
    *ret_self = odd;
    return 0;
}

static void
odd_close(void *self)
{
    free(self);
}

static int
is(const struct odd *odd, const char *how)
{
    return strcmp(odd->how, how) == 0;
}

static int
answer_oddly(struct odd *odd,
             void (*answer)(void *arg, const struct ctr_credential *credential), void *arg)
{
    struct ctr_credential credential = {.size = sizeof credential,
                                        .type = CTR_CREDENTIAL_PASSWORD,
                                        .user = "odd",
                                        .secret = odd->host->instance};
    memset(odd->large, 'x', sizeof odd->large - 1);
    credential.size = is(odd, "size") ? 4 : credential.size;
    credential.type = is(odd, "type")                              ? 99
                      : is(odd, "bearer") || is(odd, "bad-bearer") ? CTR_CREDENTIAL_BEARER
                                                                   : credential.type;
    credential.user = is(odd, "colon") ? "a:b" : is(odd, "null") ? NULL : credential.user;
    credential.secret = is(odd, "control")      ? "a\r\nX-Evil: b"
                        : is(odd, "huge")       ? odd->large
                        : is(odd, "bad-bearer") ? "a b"
                        : is(odd, "null")       ? NULL
                                                : credential.secret;
    if (!is(odd, "zero-without")) {
        answer(arg, is(odd, "nothing") ? NULL : &credential);
    }
    if (is(odd, "twice")) {
        answer(arg, &credential);
    }
    return is(odd, "positive") ? 7 : is(odd, "answers-and-fails") ? -EIO : 0;
}

static int
odd_get(void *self, const struct ctr_registry_query *query,
        void (*answer)(void *arg, const struct ctr_credential *credential), void *arg,
        struct ctr_error *err)
{
    struct odd *odd = self;
    block(odd->host);
    if (strncmp(query->host, odd->host->instance, strlen(odd->host->instance)) != 0) {
        return ctr_fail(err, -ENOENT, "not one of mine");
    }
    if (is(odd, "fails")) {
        return ctr_fail(err, -EIO, "odd on order");
    }
    return is(odd, "wordless") ? -EIO : answer_oddly(odd, answer, arg);
}

static int
odd_store(void *self, const char *host, const struct ctr_credential *credential,
          struct ctr_error *err)
{
    struct odd *odd = self;
    if (is(odd, "keeps-none")) {
        return ctr_fail(err, -ENOENT, "not kept here");
    }
    if (is(odd, "store-fails")) {
        return ctr_fail(err, -EIO, "odd on order");
    }
    (void) snprintf(odd->kept, sizeof odd->kept, "%s", host);
    return 0;
}

static int
odd_erase(void *self, const char *host, struct ctr_error *err)
{
    struct odd *odd = self;
    if (is(odd, "store-fails")) {
        return ctr_fail(err, -EIO, "odd on order");
    }
    if (strcmp(odd->kept, host) != 0) {
        return ctr_fail(err, -ENOENT, "not kept here");
    }
    odd->kept[0] = '\0';
    return 0;
}

static int
odd_list(void *self, void (*each)(void *arg, const char *host, const char *user), void *arg,
         struct ctr_error *err)
{
    struct odd *odd = self;
    if (is(odd, "fails")) {
        return ctr_fail(err, -EIO, "odd on order");
    }
    if (odd->kept[0] != '\0') {
        each(arg, odd->kept, "\x1b[31modd");
    }
    if (is(odd, "null")) {
        each(arg, NULL, NULL);
    }
    return 0;
}

static int
odd_token(void *self, const struct ctr_registry_query *query, const char *realm,
          const char *service, const char *scope,
          void (*answer)(void *arg, const struct ctr_credential *credential), void *arg,
          struct ctr_error *err)
{
    return odd_get(self, query, answer, arg, err);
}

static const struct ctr_registry_ops ops = {
    .size = sizeof ops,
    .open = odd_open,
    .close = odd_close,
    .get = odd_get,
    .store = odd_store,
    .erase = odd_erase,
    .list = odd_list,
    .token = odd_token,
};

CTR_PLUGIN(CTR_KIND_REGISTRY, "odd", CTR_VERSION, "a registry plugin that misbehaves on order",
           options, &ops);
