/*
 * core/image, inside: a layer on its way from the registry or the store into a storage, in one pass.
 *
 *     fetch.c   registry -> ingest file, hashed as it is written        one thread per download
 *     tail.c    the file is also the queue: readers follow its writer, so that memory is bounded and nothing waits for a slow reader
 *     inflate.c file -> decompressed bytes -> diff_id -> pipe           one thread per layer
 *     flow.c    runs that, and the storage plugin on the pipe's other end
 *     layers.c  all layers of an image: who fetches, who unpacks, what counts when; layer-task.c: one of them; layer-stack.c: as one key
 *
 * A layer counts only when its blob is whole and on stable storage, its diff_id is the config's, and the plugin has read all of it.
 */
#ifndef CTR_IMAGE_FLOW_H
#define CTR_IMAGE_FLOW_H

#include "core/image/image-priv.h"

/* --- gunzip.c: one gzip member after the other, by ISA-L where it is there, else by zlib --- */

struct gunzip;
struct gunzip *gunzip_create(void);         /* NULL: out of memory */
void gunzip_destroy(struct gunzip *gunzip); /* takes NULL */
/* Before each member. */
void gunzip_begin(struct gunzip *gunzip);
/* Takes from *bytes what it can and writes up to `room` bytes to out (*ret_made). 1: the member ended, CRC and length are right; 0: there
 * is more, or `out` is full; -EBADMSG: broken. */
int gunzip_step(struct gunzip *gunzip, const uint8_t **bytes, size_t *length, uint8_t *out,
                size_t room, size_t *ret_made);

/* --- inflate.c: a layer's decompressor, bytes pushed in --- */

struct inflater;
/* kind: MEDIA_TAR, _GZIP or _ZSTD. What comes out goes to emit, at most `max` bytes (0: no limit, else -EFBIG); its failure ends a push. */
int
inflater_create(enum media kind, uint64_t max,
                int (*emit)(void *arg, const void *bytes, size_t length, struct ctr_error *err),
                void *arg, struct inflater **ret, struct ctr_error *err);
void inflater_destroy(struct inflater *inflater); /* takes NULL */
/* -EBADMSG: not what `kind` says, broken, or bytes behind its end. */
int inflater_push(struct inflater *inflater, const void *bytes, size_t length,
                  struct ctr_error *err);
int inflater_fail_size(uint64_t max, struct ctr_error *err); /* -EFBIG with its message */
/* After the last push: -EBADMSG where something is missing. */
int inflater_end(const struct inflater *inflater, struct ctr_error *err);

/* --- tail.c: a blob's file, read while it is written --- */

enum tail_state {
    TAIL_AHEAD,  /* nobody knows yet where the bytes come from */
    TAIL_COMING, /* being written */
    TAIL_WHOLE,  /* in the store, its digest checked by who wrote it */
    TAIL_STORED, /* in the store from before: its reader checks the digest */
    TAIL_LOST,   /* it will not come */
};

struct tail {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    enum tail_state state;
    int fd;          /* its own, -1: none */
    uint64_t size;   /* of the whole blob */
    uint64_t bytes;  /* that can be read */
    uint64_t wanted; /* wake readers from so many on */
    unsigned round; /* counts beginnings: a writer that begins anew leaves its readers behind */
};
void tail_init(struct tail *tail, uint64_t size);
void tail_finish(struct tail *tail);
/* The writer's side. fd stays the caller's. */
int tail_begin(struct tail *tail, enum tail_state state, int fd, uint64_t bytes,
               struct ctr_error *err);
void tail_grow(struct tail *tail, uint64_t bytes);
void tail_end(struct tail *tail, enum tail_state state);

/* One reader, from the first byte on. Waiting ends with -ECANCELED when op is cancelled, with -ESTALE when the blob is lost or begun anew. */
struct tail_reader {
    struct tail *tail;
    struct image_op *op;
    int fd;
    unsigned round;
    uint64_t offset;
    bool stored;   /* from before */
    bool stopped;  /* nobody wants more */
    uint64_t made; /* decompressed bytes so far */
};
/* Waits until bytes are to come. */
int tail_open(struct tail *tail, struct image_op *op, struct tail_reader *ret,
              struct ctr_error *err);
void tail_close(struct tail_reader *reader);
/* From another thread: lets a waiting tail_read fail with -EPIPE. */
void tail_stop(struct tail_reader *reader);
/* Waits for a piece of `room` bytes or the last one; *ret_length 0: all have been read. */
int tail_read(struct tail_reader *reader, void *bytes, size_t room, size_t *ret_length,
              struct ctr_error *err);
/* Waits until the blob is in the store, whole and checked by its writer. */
int tail_settle(struct tail_reader *reader, struct ctr_error *err);

/* --- layer.c, beyond image-priv.h --- */

/* As layer_read, from a blob that may still come. */
int
layer_follow(struct tail_reader *reader, const struct layer_source *source,
             int (*sink)(void *arg, const void *bytes, size_t length, struct ctr_error *err),
             void *arg, const char *status, char *ret_diff_id, struct ctr_error *err);
void layer_source_init(struct layer_source *source, const struct ctr_images *images,
                       const json_t *descriptor, const char *diff_id);

/* --- fetch.c --- */

/* A blob that is wanted. tail NULL: nobody follows, and nothing is shown of it. */
struct fetch_want {
    const char *digest;
    uint64_t size;
    const json_t *urls; /* a foreign layer's, NULL: the repository has it */
    struct tail *tail;
};
/* Brings a blob into the store unless it is there: waits for another operation that has it in hand, goes on where a cut
 * download ended, checks digest and size. */
int fetch_blob(struct image_op *op, struct ctr_remote *remote, const struct fetch_want *want,
               struct ctr_error *err);

/* --- flow.c: one layer through a pipe into a plugin --- */

/* take reads the decompressed layer from fd to its end, on the calling thread; returns when also its bytes and its blob are known to be right. -ESTALE:
 * the blob is begun anew, so what take made is worth nothing. */
int flow_run(struct tail_reader *reader, const struct layer_source *source,
             int (*take)(void *arg, int fd, struct ctr_error *err), void *arg,
             const char *plugin, struct ctr_error *err);

/* --- layers.c: all layers of an image --- */

struct layers_job {
    struct ctr_remote *remote;   /* NULL: the blobs are in the store */
    bool foreign;                /* as in struct ctr_pull */
    struct ctr_storage *storage; /* NULL: only checked against their diff_ids */
    const json_t *layers;        /* a manifest's */
    const json_t *config;        /* checked against it */
    const char *manifest;        /* its digest, for the record */
};
/* Brings what is missing into the store, checks every diff_id, and has the chain committed in the storage. Waits for other operations that do
 * the same work. */
int layers_run(struct image_op *op, const struct layers_job *job, struct ctr_error *err);

/* --- snapshot.c: what the core believes of a storage's chains --- */

/* Recorded as committed, and since this daemon's start also seen in its storage. */
bool
snapshot_is_ready(struct ctr_images *images, struct ctr_storage *storage, const char *chain_id);
int
snapshot_record(struct ctr_images *images, struct ctr_storage *storage, const char *chain_id,
                const char *manifest, size_t depth, struct ctr_error *err);

#endif
