/*
 * core/api/job.h: long work (pull, push, load, save) on a thread of its own, telling its progress as JSON lines through a socket pair.
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
    json_t *options; /* what else the work needs; may be NULL */
    struct ctr_docker_auth auth;
    bool
        raw; /* the work writes an archive into lines[1], no lines: a failure breaks the answer off */
    bool changed; /* something was downloaded */
    struct {
        uint32_t hash;
        int64_t at;
    } told[32]; /* when a step's progress was last told */
    struct ctr_progress progress;
};

/* NULL with err. `reference` and `platform` are copied; end with job_answer or api_job_drop. */
struct ctr_api_job *
job_create(struct ctr_request *request,
           int (*work)(struct ctr_api_job *job, struct ctr_error *err), const char *reference,
           const char *platform, struct ctr_error *err);
/* Starts the work and answers the request from it. Takes the job, which may be NULL with err set (job_create failed). */
int job_run(struct ctr_request *request, struct ctr_api_job *take_job, struct ctr_error *err);
/* Starts the work on the request's body (job->input[0]) before that has come; job_answer_body when it is all there. Takes the job as job_run does. */
int job_begin_body(struct ctr_request *request, struct ctr_api_job *take_job,
                   struct ctr_error *err);
int job_answer_body(struct ctr_request *request, struct ctr_error *err);
/* Writes one line; new reference taken. */
void job_line(struct ctr_api_job *job, json_t *take_json);
/* --- pull.c: what pull and push have in common --- */
/* A name and a tag or digest, which may be "", into one reference. Caller frees. */
char *job_reference(const char *name, const char *tag);
/* Checks job->reference and takes the request's X-Registry-Auth for its host into the job. */
int job_take_auth(struct ctr_request *request, struct ctr_api_job *job, struct ctr_error *err);
const struct ctr_credential *job_credential(const struct ctr_api_job *job); /* or NULL */

#endif
