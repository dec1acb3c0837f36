/*
 * core/store: what survives. Blobs in an OCI image layout (image-spec/image-layout.md) and records in SQLite.
 *
 * Any thread; one mutex inside. Layout below the data root:
 *
 *     images/oci-layout, images/index.json, images/blobs/sha256/…   skopeo reads it as oci:DATA/images
 *     images/ingest/…                                               what a pull has fetched so far, resumable
 *     state.db                                                      SQLite (WAL, synchronous=FULL)
 *     lock                                                          held by the one ctrd of this data root
 *
 * A record is written only when all it names is on stable storage.
 */
#ifndef CTR_STORE_H
#define CTR_STORE_H

#include "core/base/base.h"

struct ctr_store;

int ctr_store_open(const char *data, struct ctr_store **ret, struct ctr_error *err);
void ctr_store_close(struct ctr_store *store); /* takes NULL */
const char *ctr_store_data(const struct ctr_store *store);

/* --- blobs --- */

/* A blob on its way in: bytes are hashed as they are written. */
struct ctr_ingest;
/* Begins or resumes; *ret_offset is how many bytes are there already. size -1: unknown. -EBUSY while another
 * thread ingests the same digest: wait and look again. digest NULL: not known yet. */
int ctr_ingest_open(struct ctr_store *store, const char *digest, int64_t size,
                    struct ctr_ingest **ret, uint64_t *ret_offset, struct ctr_error *err);
/* Hashes the next few MiB of the bytes that were there already, so that a caller can give up in between; *ret_more: there are others. What is
 * left of them is hashed by the next write or commit. */
int ctr_ingest_replay(struct ctr_ingest *ingest, bool *ret_more, struct ctr_error *err);
int ctr_ingest_fd(
    const struct ctr_ingest *ingest); /* to read what is there, by pread; stays the ingest's */
int ctr_ingest_write(struct ctr_ingest *ingest, const void *bytes, size_t length,
                     struct ctr_error *err);                              /* -EFBIG past size */
int ctr_ingest_restart(struct ctr_ingest *ingest, struct ctr_error *err); /* back to offset 0 */
/* Checks size and digest, makes it durable; ret_digest[72] may be NULL. Frees the ingest in every case; on a mismatch the bytes are gone. */
int ctr_ingest_commit(struct ctr_ingest *take_ingest, char *ret_digest, struct ctr_error *err);
/* Frees it; keeps the bytes for a later resume if `keep`. Takes NULL. */
void ctr_ingest_abort(struct ctr_ingest *take_ingest, bool keep);
/* Waits until some ingest ends, at most this long: for a caller that met -EBUSY. */
void ctr_ingest_wait(struct ctr_store *store, int milliseconds);

bool ctr_blob_exists(struct ctr_store *store, const char *digest,
                     uint64_t *ret_size); /* ret_size may be NULL */
int ctr_blob_open(struct ctr_store *store, const char *digest, int *ret_fd, uint64_t *ret_size,
                  struct ctr_error *err);
/* Whole small blob, re-hashed while read; caller frees *ret. */
int ctr_blob_read(struct ctr_store *store, const char *digest, size_t max, char **ret,
                  size_t *ret_length, struct ctr_error *err);
int ctr_blob_put(struct ctr_store *store, const void *bytes, size_t length, char ret_digest[72],
                 struct ctr_error *err);
/* Moves a blob whose bytes are wrong to images/damaged/ and logs it: the next pull fetches it anew. 0 or a negative code. */
int ctr_blob_set_aside(struct ctr_store *store, const char *digest);
int ctr_blob_remove(struct ctr_store *store, const char *digest, struct ctr_error *err);
int ctr_blob_each(struct ctr_store *store,
                  int (*each)(void *arg, const char *digest, uint64_t size), void *arg,
                  struct ctr_error *err);

/* --- records: JSON objects by (table, key), written in one transaction each --- */

/* Tables: "image" (key: reference, or the digest of an image without a name), "layer" (digest of a layer blob whose diff_id has been checked),
 * "origin" (digest of a layer blob: repositories that have it), "referrers" (digest of a manifest: what refers to it at the registry),
 * "snapshot" (instance/chain_id), "container" (ID), "network" (name), "lease" (network/container). */
int ctr_record_put(struct ctr_store *store, const char *table, const char *key,
                   const json_t *value, struct ctr_error *err);
/* Fails with -EEXIST if the key is taken: the race-free way to claim a name or an address. */
int ctr_record_claim(struct ctr_store *store, const char *table, const char *key,
                     const json_t *value, struct ctr_error *err);
json_t *ctr_record_get(struct ctr_store *store, const char *table, const char *key,
                       struct ctr_error *err); /* new reference; NULL with -ENOENT */
int ctr_record_remove(struct ctr_store *store, const char *table, const char *key,
                      struct ctr_error *err); /* a missing one is no error */
/* Calls each(arg, key, value) in key order; a non-zero result ends the loop and is returned. value is borrowed. */
int ctr_record_each(struct ctr_store *store, const char *table,
                    int (*each)(void *arg, const char *key, const json_t *value), void *arg,
                    struct ctr_error *err);

/* Rewrites index.json from the "image" records ({"digest","mediaType","size"} each). Durable. */
int ctr_store_write_index(struct ctr_store *store, struct ctr_error *err);

#endif
