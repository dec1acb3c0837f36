/*
 * core/store, inside: the open store and its ingests. See store.h for what callers may rely on.
 *
 * `mutex` guards the database and the list of open ingests; `index_mutex` orders writers of index.json, so that the one
 * that read the records last also writes last. It is taken before `mutex`, never after it.
 */
#ifndef CTR_STORE_PRIV_H
#define CTR_STORE_PRIV_H

#include "core/store/store.h"
#include <pthread.h>
#include <sqlite3.h>

enum store_statement {
    STATEMENT_PUT,
    STATEMENT_CLAIM,
    STATEMENT_GET,
    STATEMENT_REMOVE,
    STATEMENT_EACH,
    STATEMENT_COUNT,
};

struct ctr_store {
    char *data;   /* absolute data root */
    char *images; /* DATA/images */
    int lock;     /* flock held while open */
    int blobs;    /* DATA/images/blobs/sha256 */
    int incoming; /* DATA/images/ingest */
    pthread_mutex_t mutex, index_mutex;
    pthread_cond_t ingest_ended;
    struct ctr_ingest *ingests;
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENT_COUNT];
};

struct ctr_ingest {
    struct ctr_ingest *next;
    struct ctr_store *store;
    struct ctr_sha256 *sha;
    char digest[72]; /* "" while unknown */
    char file[96];   /* name below images/ingest */
    int fd;
    int64_t size; /* -1: unknown */
    uint64_t offset;
    uint64_t hashed; /* behind offset only for what an earlier try left */
    uint64_t sent;   /* to the disk, ahead of the sync */
};

/* Opens state.db and prepares every statement; store_close_db takes half-open ones. */
int store_open_db(struct ctr_store *store, struct ctr_error *err);
void store_close_db(struct ctr_store *store);

/* Writes index.json if it is missing or unreadable, so that a fresh store is a valid layout. */
int store_init_layout(struct ctr_store *store, struct ctr_error *err);

#endif
