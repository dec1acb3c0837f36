/*
 * core/image, inside: a verification at work, as verify.c, verify-blob.c and verify-heal.c share it.
 */
#ifndef CTR_IMAGE_VERIFY_H
#define CTR_IMAGE_VERIFY_H

#include "core/image/image-priv.h"

enum blob_state { BLOB_WHOLE, BLOB_MISSING, BLOB_DAMAGED };

struct verify {
    struct image_op op;
    bool heal;
    struct ctr_storage *storage;
    const struct ctr_progress *progress;
    const char *only; /* the digest, or the record's key, that was asked for; NULL: all */
    json_t
        *states; /* {"digest" or "digest diff_id": enum blob_state}: each is looked at once */
    json_t *answer;
    /* of the record at work */
    json_t *entry;
    json_t *platforms; /* {text: true} that lack something, "" where it is not known */
    struct ctr_error *err;
};

int verify_fail_memory(struct verify *verify);

/* --- verify-blob.c --- */

/* Hashes the blob, and with diff_id also what is in it; once for each of both. Damaged ones are set aside. diff_id NULL: no layer, or one of which
 * nothing is known. */
int verify_blob_state(struct verify *verify, const json_t *descriptor, const char *diff_id,
                      enum blob_state *ret);

/* --- verify-heal.c --- */

/* Has the record's image pulled again and notes in the entry at work how that went. 1: healed; 0: not. */
int verify_heal(struct verify *verify, const char *key, const char *digest);

#endif
