/* SHA-256 through libcrypto's EVP interface, in the form that digests have in OCI documents. */
#include "core/base/base.h"
#include <openssl/evp.h>

struct ctr_sha256 {
    EVP_MD_CTX *ctx;
};

struct ctr_sha256 *
ctr_sha256_create(void)
{
    struct ctr_sha256 *sha = calloc(1, sizeof *sha);
    if (sha == NULL) {
        return NULL;
    }
    sha->ctx = EVP_MD_CTX_new();
    if (sha->ctx == NULL || EVP_DigestInit_ex(sha->ctx, EVP_sha256(), NULL) != 1) {
        ctr_sha256_destroy(sha);
        return NULL;
    }
    return sha;
}

void
ctr_sha256_add(struct ctr_sha256 *sha, const void *bytes, size_t length)
{
    (void) EVP_DigestUpdate(sha->ctx, bytes, length);
}

void
ctr_sha256_finish(struct ctr_sha256 *sha, char ret_digest[72])
{
    uint8_t raw[EVP_MAX_MD_SIZE] = {0};
    (void) EVP_DigestFinal_ex(sha->ctx, raw, NULL);
    (void) EVP_DigestInit_ex(sha->ctx, EVP_sha256(), NULL);
    memcpy(ret_digest, "sha256:", 7);
    ctr_hex(raw, 32, ret_digest + 7);
}

void
ctr_sha256_destroy(struct ctr_sha256 *sha)
{
    if (sha != NULL) {
        EVP_MD_CTX_free(sha->ctx);
        free(sha);
    }
}
