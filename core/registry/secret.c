/*
 * Secrets: an opaque type, so that no format string takes one by mistake; wiped before the memory is given back.
 */
#include "core/registry/registry-priv.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>

struct secret {
    size_t length;
    char text[];
};

void
secret_wipe(void *bytes, size_t length)
{
    OPENSSL_cleanse(bytes, length);
}

struct secret *
secret_join(const char *prefix, const char *text)
{
    size_t before = strlen(prefix), after = strlen(text);
    struct secret *secret = malloc(sizeof *secret + before + after + 1);
    if (secret == NULL) {
        return NULL;
    }
    secret->length = before + after;
    memcpy(secret->text, prefix, before);
    memcpy(secret->text + before, text, after + 1);
    return secret;
}

struct secret *
secret_create(const char *text)
{
    return secret_join("", text);
}

struct secret *
secret_copy(const struct secret *secret)
{
    return secret != NULL ? secret_create(secret->text) : NULL;
}

struct secret *
secret_basic(const char *user, const char *secret)
{
    size_t length = strlen(user) + 1 + strlen(secret);
    size_t encoded = 4 * ((length + 2) / 3) + 1;
    char *plain = malloc(length + 1);
    char *text = malloc(encoded);
    struct secret *basic = NULL;
    if (plain != NULL && text != NULL) {
        (void) snprintf(plain, length + 1, "%s:%s", user, secret);
        (void) EVP_EncodeBlock((unsigned char *) text, (const unsigned char *) plain,
                               (int) length);
        basic = secret_join("Basic ", text);
        secret_wipe(plain, length);
        secret_wipe(text, encoded);
    }
    free(plain);
    free(text);
    return basic;
}

const char *
secret_text(const struct secret *secret)
{
    return secret->text;
}

void
secret_destroy(struct secret *secret)
{
    if (secret != NULL) {
        secret_wipe(secret->text, secret->length);
        free(secret);
    }
}
