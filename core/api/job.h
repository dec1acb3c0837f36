/*
 * core/api/job.h: long work (pull, load) on a thread of its own, telling its progress as JSON lines through a socket pair.
 *
 * The connection's thread reads the lines into the answer. When the client goes, the reading end is closed and the work sees
 * `cancelled`. What fails before the first line becomes a status; later failures are a last line.
 */
#ifndef CTR_API_JOB_H
#define CTR_API_JOB_H

#include "core/api/api-priv.h"
#include <stdatomic.h>

struct ctr_api_job {
    struct ctr_engine *engine;
    pthread_t thread;
    bool running; /* not joined yet */
    int lines[2]; /* [0]: connection's thread, [1]: the work */
    int input
        [2]; /* load's archive: [0] the work reads, [1] the connection's thread writes; -1 */
    atomic_bool gone;
    int client;
    struct ctr_error err; /* the work's result, once the lines have ended */
    int (*work)(struct ctr_api_job *job, struct ctr_error *err);
    char *reference, *platform, *path;
    bool changed; /* something was downloaded */
    struct {
        uint32_t hash;
        int64_t at;
    } told[32]; /* when a step's progress was last told */
    struct ctr_progress progress;
};

/* Takes nothing on failure. */
struct ctr_api_job *job_create(struct ctr_request *request,
                               int (*work)(struct ctr_api_job *job, struct ctr_error *err));
int job_start(struct ctr_api_job *job, struct ctr_error *err);
/* Writes one line; new reference taken. */
void job_line(struct ctr_api_job *job, json_t *take_json);
/* Answers the request from the job, which it takes. */
int
job_answer(struct ctr_request *request, struct ctr_api_job *take_job, struct ctr_error *err);

#endif
