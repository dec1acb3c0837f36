/*
 * Pull: POST /images/create with fromImage, and ours with all platforms. With fromSrc the same path is an import.
 */
#include "core/api/job.h"

/* fromImage or fromSrc's repo, and tag, into one reference; a tag may be a digest. Caller frees. */
char *
job_reference(const char *name, const char *tag)
{
    if (*tag == '\0') {
        return strdup(name);
    }
    return ctr_printf("%s%s%s", name, ctr_starts_with(tag, "sha256:") ? "@" : ":", tag);
}

int
job_take_auth(struct ctr_request *request, struct ctr_api_job *job, struct ctr_error *err)
{
    struct ctr_ref ref;
    if (ctr_ref_parse(job->reference, &ref, err) < 0) {
        err->code = -EINVAL;
        return err->code;
    }
    return ctr_docker_auth_parse(api_header(request, "X-Registry-Auth"), ref.host, &job->auth,
                                 err);
}

const struct ctr_credential *
job_credential(const struct ctr_api_job *job)
{
    return job->auth.secret != NULL ? &job->auth.credential : NULL;
}

static int
pull_work(struct ctr_api_job *job, struct ctr_error *err)
{
    char digest[72] = "";
    struct ctr_pull pull = {
        .reference = job->reference,
        .platform = job->platform,
        .all_platforms = ctr_json_bool(job->options, "all_platforms", false),
        .foreign = ctr_json_bool(job->options, "foreign", false),
        .credential = job_credential(job),
    };
    if (ctr_engine_pull(job->engine, &pull, &job->progress, digest, err) < 0) {
        return err->code;
    }
    CTR_AUTO(free) char *first = ctr_printf("Digest: %s", digest);
    CTR_AUTO(free)
    char *last = ctr_printf("Status: %s for %s",
                            job->changed ? "Downloaded newer image" : "Image is up to date",
                            job->reference);
    job_line(job, json_pack("{s:s}", "status", first == NULL ? "" : first));
    job_line(job, json_pack("{s:s}", "status", last == NULL ? "" : last));
    return 0;
}

static int
pull(struct ctr_request *request, const char *reference, bool all_platforms, bool foreign,
     struct ctr_error *err)
{
    struct ctr_api_job *job =
        job_create(request, pull_work, reference, api_query(request, "platform"), err);
    if (job != NULL) {
        job->options =
            json_pack("{s:b,s:b}", "all_platforms", all_platforms, "foreign", foreign);
        if (job_take_auth(request, job, err) < 0) {
            api_job_drop(ctr_steal(&job));
        }
    }
    return job_run(request, job, err);
}

int
api_image_create(struct ctr_request *request, struct ctr_error *err)
{
    if (request->job != NULL) {
        return job_answer_body(request, err);
    }
    const char *image = api_query(request, "fromImage");
    if (*image == '\0') {
        return ctr_fail(err, -EINVAL, "parameter fromImage or fromSrc is missing");
    }
    CTR_AUTO(free) char *reference = job_reference(image, api_query(request, "tag"));
    return reference == NULL ? ctr_fail(err, -ENOMEM, "out of memory")
                             : pull(request, reference, false, false, err);
}

int
api_ctr_pull(struct ctr_request *request, struct ctr_error *err)
{
    return pull(request, api_query(request, "reference"),
                api_query_bool(request, "all_platforms", false),
                api_query_bool(request, "foreign", false), err);
}
