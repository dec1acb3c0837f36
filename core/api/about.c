/*
 * About images: how they were built, what they share, whether they are whole.
 */
#include "core/api/job.h"

int
api_image_history(struct ctr_request *request, struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *steps = ctr_image_history(
        ctr_engine_images(request->engine), request->capture,
        *api_query(request, "platform") == '\0' ? NULL : api_query(request, "platform"), err);
    if (steps == NULL) {
        return api_missing_image(request, err);
    }
    json_t *list = json_array(), *step;
    size_t i;
    json_array_foreach(steps, i, step)
    {
        json_t *tags = json_object_get(step, "tags");
        (void) json_array_append_new(
            list,
            json_pack("{s:s,s:I,s:s,s:O?,s:I,s:s}", "Id", ctr_json_str(step, "id", "<missing>"),
                      "Created", (json_int_t) ctr_json_int(step, "created", 0), "CreatedBy",
                      ctr_json_str(step, "created_by", ""), "Tags",
                      json_array_size(tags) > 0 ? tags : NULL, "Size",
                      (json_int_t) ctr_json_int(step, "size", 0), "Comment",
                      ctr_json_str(step, "comment", "")));
    }
    return api_json(request, 200, list);
}

static const char *
reference_of(struct ctr_request *request)
{
    const char *reference = api_query(request, "reference");
    return *reference == '\0' ? NULL : reference;
}

int
api_ctr_tree(struct ctr_request *request, struct ctr_error *err)
{
    json_t *tree =
        ctr_image_tree(ctr_engine_images(request->engine), reference_of(request), err);
    return tree == NULL ? err->code : api_json(request, 200, tree);
}

/* --- verify --- */

static int
verify_work(struct ctr_api_job *job, struct ctr_error *err)
{
    json_t *result = ctr_engine_image_verify(
        job->engine, *job->reference == '\0' ? NULL : job->reference,
        ctr_json_bool(job->options, "heal", false), &job->progress, err);
    if (result == NULL) {
        return err->code;
    }
    job_line(job, json_pack("{s:o}", "aux", result));
    return 0;
}

int
api_ctr_verify(struct ctr_request *request, struct ctr_error *err)
{
    struct ctr_api_job *job =
        job_create(request, verify_work, api_query(request, "reference"), "", err);
    if (job != NULL) {
        job->options = json_pack("{s:b}", "heal", api_query_bool(request, "heal", false));
    }
    return job_run(request, job, err);
}
