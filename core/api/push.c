/*
 * Push: POST /images/NAME/push.
 */
#include "core/api/job.h"

static int
push_work(struct ctr_api_job *job, struct ctr_error *err)
{
    char digest[72] = "";
    struct ctr_ref ref;
    if (ctr_ref_parse(job->reference, &ref, err) < 0) {
        return err->code;
    }
    if (ctr_image_push(ctr_engine_images(job->engine), job->reference, job->platform,
                       ctr_json_bool(job->options, "all_platforms", false), job_credential(job),
                       &job->progress, digest, err) < 0) {
        return err->code;
    }
    CTR_AUTO(free) char *last = ctr_printf("%s: digest: %s", ref.tag, digest);
    job_line(job, json_pack("{s:s}", "status", last == NULL ? "" : last));
    job_line(job, json_pack("{s:{},s:{s:s,s:s}}", "progressDetail", "aux", "Tag", ref.tag,
                            "Digest", digest));
    return 0;
}

int
api_push(struct ctr_request *request, struct ctr_error *err)
{
    CTR_AUTO(free)
    char *reference = job_reference(request->capture, api_query(request, "tag"));
    if (reference == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    struct ctr_api_job *job =
        job_create(request, push_work, reference, api_query(request, "platform"), err);
    if (job != NULL) {
        job->options = json_pack("{s:b}", "all_platforms",
                                 api_query_bool(request, "all_platforms", false));
        if (job_take_auth(request, job, err) < 0) {
            api_job_drop(ctr_steal(&job));
        }
    }
    return job_run(request, job, err);
}
