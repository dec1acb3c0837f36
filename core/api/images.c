/*
 * Images: list, inspect, tag, remove, and the two that take their time, pull and load.
 */
#include "core/api/job.h"
#include <sys/socket.h>

int
api_images(struct ctr_request *request, struct ctr_error *err)
{
    static const char *const known[] = {"reference", "dangling", "label", NULL};
    CTR_AUTO(json) json_t *filters = NULL;
    if (ctr_docker_filters_parse(api_query(request, "filters"), known, &filters, err) < 0) {
        return err->code;
    }
    CTR_AUTO(json) json_t *images = ctr_engine_image_list(request->engine, err);
    if (images == NULL) {
        return err->code;
    }
    json_t *list = json_array(), *image, *wanted = json_object_get(filters, "reference"),
           *value;
    size_t i, k, n;
    json_array_foreach(images, i, image)
    {
        bool fits = json_array_size(wanted) == 0;
        json_array_foreach(wanted, k, value)
        {
            json_t *reference;
            const char *name = json_string_value(value);
            json_array_foreach(json_object_get(image, "references"), n, reference)
            {
                const char *whole = json_string_value(reference);
                size_t length = strlen(name);
                fits |= strncmp(whole, name, length) == 0 &&
                        (whole[length] == '\0' || whole[length] == ':' || whole[length] == '@');
            }
        }
        if (fits) {
            (void) json_array_append_new(list, docker_image_summary(image));
        }
    }
    return api_json(request, 200, list);
}

/* Docker's words for an image that is not there: its client then pulls. */
static int
missing(const char *name, struct ctr_error *err)
{
    return err->code == -ENOENT && strstr(err->msg, "latform") == NULL
               ? ctr_fail(err, -ENOENT, "No such image: %s", name)
               : err->code;
}

int
api_image(struct ctr_request *request, struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *image = ctr_engine_image_inspect(request->engine, request->capture, "", err);
    return image == NULL ? missing(request->capture, err)
                         : api_json(request, 200, docker_image(image));
}

int
api_image_tag(struct ctr_request *request, struct ctr_error *err)
{
    const char *repo = api_query(request, "repo"), *tag = api_query(request, "tag");
    if (*repo == '\0') {
        return ctr_fail(err, -EINVAL, "parameter repo is missing");
    }
    CTR_AUTO(free) char *to = ctr_printf("%s%s%s", repo, *tag == '\0' ? "" : ":", tag);
    if (to == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (ctr_engine_image_tag(request->engine, request->capture, to, err) < 0) {
        return missing(request->capture, err);
    }
    return api_empty(request, 201);
}

int
api_image_remove(struct ctr_request *request, struct ctr_error *err)
{
    json_t *removed = NULL;
    if (ctr_engine_image_remove(request->engine, request->capture,
                                api_query_bool(request, "force", false), &removed, err) < 0) {
        return missing(request->capture, err);
    }
    return api_json(request, 200, removed);
}

/* --- pull --- */

static int
pull_work(struct ctr_api_job *job, struct ctr_error *err)
{
    char digest[72] = "";
    struct ctr_pull pull = {.reference = job->reference, .platform = job->platform};
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

/* fromImage and tag into one reference; a tag may be a digest. */
static char *
pull_reference(const char *image, const char *tag)
{
    if (*tag == '\0') {
        return strdup(image);
    }
    return ctr_printf("%s%s%s", image, ctr_starts_with(tag, "sha256:") ? "@" : ":", tag);
}

int
api_pull(struct ctr_request *request, struct ctr_error *err)
{
    const char *image = api_query(request, "fromImage");
    if (*image == '\0') {
        return ctr_fail(
            err, -EINVAL,
            "parameter fromImage is missing (images are pulled or loaded, not imported)");
    }
    struct ctr_api_job *job = job_create(request, pull_work);
    if (job == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    job->reference = pull_reference(image, api_query(request, "tag"));
    job->platform = strdup(api_query(request, "platform"));
    struct ctr_ref ref;
    if (job->reference == NULL || job->platform == NULL) {
        (void) ctr_fail(err, -ENOMEM, "out of memory");
    } else if (ctr_ref_parse(job->reference, &ref, err) < 0) {
        err->code = -EINVAL;
    } else if (job_start(job, err) == 0) {
        return job_answer(request, job, err);
    }
    api_job_drop(job);
    return err->code;
}

/* --- load --- */

static void
on_loaded(void *arg, const char *reference)
{
    struct ctr_api_job *job = arg;
    CTR_AUTO(free) char *text = ctr_printf("Loaded image: %s\n", reference);
    job_line(job, json_pack("{s:s}", "stream", text == NULL ? "" : text));
}

static int
load_work(struct ctr_api_job *job, struct ctr_error *err)
{
    struct ctr_progress quiet = job->progress;
    quiet.step = NULL;
    return ctr_engine_load_fd(job->engine, job->input[0], &quiet, on_loaded, job, err);
}

int
api_load_begin(struct ctr_request *request, struct ctr_error *err)
{
    struct ctr_api_job *job = job_create(request, load_work);
    if (job == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, job->input) < 0) {
        job->input[0] = job->input[1] = -1;
        (void) ctr_fail(err, -errno, "socket pair: %s", strerror(errno));
    } else if (job_start(job, err) == 0) {
        request->job = job;
        return 0;
    }
    api_job_drop(job);
    return err->code;
}

void
api_load_bytes(struct ctr_request *request, const char *bytes, size_t n)
{
    struct ctr_api_job *job = request->job;
    while (n > 0 && job->input[1] >= 0) {
        ssize_t sent = send(job->input[1], bytes, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) { /* the work has failed already: the rest is dropped */
            (void) close(ctr_steal_fd(&job->input[1]));
            return;
        }
        bytes += sent;
        n -= (size_t) sent;
    }
}

int
api_load(struct ctr_request *request, struct ctr_error *err)
{
    struct ctr_api_job *job = ctr_steal(&request->job);
    if (job->input[1] >= 0) {
        (void) close(ctr_steal_fd(&job->input[1]));
    }
    return job_answer(request, job, err);
}

static int
load_path_work(struct ctr_api_job *job, struct ctr_error *err)
{
    struct ctr_progress quiet = job->progress;
    quiet.step = NULL;
    return ctr_engine_load_path(job->engine, job->path, &quiet, on_loaded, job, err);
}

int
api_ctr_load_path(struct ctr_request *request, struct ctr_error *err)
{
    const char *path = ctr_json_str(request->body, "path", api_query(request, "path"));
    if (*path != '/') {
        return ctr_fail(err, -EINVAL, "path: the absolute path of an OCI layout is needed");
    }
    struct ctr_api_job *job = job_create(request, load_path_work);
    if (job == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    job->path = strdup(path);
    if (job->path == NULL || job_start(job, err) < 0) {
        api_job_drop(job);
        return err->code != 0 ? err->code : ctr_fail(err, -ENOMEM, "out of memory");
    }
    return job_answer(request, job, err);
}
