/*
 * Archives: load and import take them from the request's body as it comes, or a folder of the host; save gives them out.
 */
#include "core/api/job.h"
#include <fcntl.h>
#include <sys/stat.h>

/* --- load --- */

static void
on_loaded(void *arg, const char *reference)
{
    struct ctr_api_job *job = arg;
    CTR_AUTO(free)
    char *text =
        ctr_printf("Loaded image%s: %s\n", ctr_is_digest(reference) ? " ID" : "", reference);
    job_line(job, json_pack("{s:s}", "stream", text == NULL ? "" : text));
}

/* A bad archive is the client's trouble, not ours. */
static int
archive_result(int rc, struct ctr_error *err)
{
    if (rc == -EBADMSG) {
        err->code = -EINVAL;
    }
    return rc;
}

static int
load_work(struct ctr_api_job *job, struct ctr_error *err)
{
    struct ctr_progress quiet = job->progress;
    quiet.step = NULL;
    return archive_result(
        ctr_engine_load_fd(job->engine, job->input[0], &quiet, on_loaded, job, err), err);
}

int
api_load_begin(struct ctr_request *request, struct ctr_error *err)
{
    return job_begin_body(request, job_create(request, load_work, "", "", err), err);
}

int
api_load(struct ctr_request *request, struct ctr_error *err)
{
    return job_answer_body(request, err);
}

static int
load_path_work(struct ctr_api_job *job, struct ctr_error *err)
{
    struct ctr_progress quiet = job->progress;
    quiet.step = NULL;
    return archive_result(
        ctr_engine_load_path(job->engine, job->path, &quiet, on_loaded, job, err), err);
}

int
api_ctr_load_path(struct ctr_request *request, struct ctr_error *err)
{
    const char *path = ctr_json_str(request->body, "path", api_query(request, "path"));
    if (*path != '/') {
        return ctr_fail(err, -EINVAL, "path: the absolute path of an OCI layout is needed");
    }
    struct ctr_api_job *job = job_create(request, load_path_work, "", "", err);
    if (job != NULL && (job->path = strdup(path)) == NULL) {
        (void) ctr_fail(err, -ENOMEM, "out of memory");
        api_job_drop(ctr_steal(&job));
    }
    return job_run(request, job, err);
}

/* --- import --- */

static int
import_work(struct ctr_api_job *job, struct ctr_error *err)
{
    char id[72];
    struct ctr_progress quiet = job->progress;
    quiet.step = NULL;
    if (ctr_image_import(ctr_engine_images(job->engine), job->input[0], job->reference,
                         ctr_json_str(job->options, "message", ""),
                         json_object_get(job->options, "changes"), job->platform, &quiet, id,
                         err) < 0) {
        return archive_result(err->code, err);
    }
    job_line(job, json_pack("{s:s}", "status", id));
    return 0;
}

int
api_image_create_begin(struct ctr_request *request, struct ctr_error *err)
{
    const char *source = api_query(request, "fromSrc");
    if (*source == '\0') {
        return 0; /* a pull */
    }
    if (strcmp(source, "-") != 0) {
        return ctr_fail(err, -EINVAL,
                        "parameter fromSrc must be \"-\": an import is the request's body, "
                        "nothing is fetched from a URL");
    }
    const char *repo = api_query(request, "repo"), *tag = api_query(request, "tag");
    CTR_AUTO(free) char *reference = *repo == '\0' ? strdup("") : job_reference(repo, tag);
    CTR_AUTO(json) json_t *changes = api_query_all(request, "changes");
    CTR_AUTO(json)
    json_t *options =
        json_pack("{s:s,s:O}", "message", api_query(request, "message"), "changes", changes);
    struct ctr_ref ref;
    if (reference == NULL || options == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (*reference != '\0' && ctr_ref_parse(reference, &ref, err) < 0) {
        return err->code;
    }
    struct ctr_api_job *job =
        job_create(request, import_work, reference, api_query(request, "platform"), err);
    if (job != NULL) {
        job->options = ctr_steal(&options);
    }
    return job_begin_body(request, job, err);
}

/* --- save --- */

static int
save(struct ctr_api_job *job, enum ctr_archive format, int fd, struct ctr_error *err)
{
    struct ctr_progress quiet = job->progress;
    quiet.step = NULL;
    const json_t *names = json_object_get(job->options, "names");
    CTR_AUTO(free) const char **references = ctr_json_argv(names);
    if (references == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    return ctr_image_save(ctr_engine_images(job->engine), references, json_array_size(names),
                          job->platform, format, fd, &quiet, err);
}

static int
save_work(struct ctr_api_job *job, struct ctr_error *err)
{
    return save(job, (enum ctr_archive) ctr_json_int(job->options, "format", 0), job->lines[1],
                err);
}

/* A folder that we make is taken away again if it does not come to be whole; one that is there already is empty or a layout that is added to. */
static int
save_folder_work(struct ctr_api_job *job, struct ctr_error *err)
{
    bool made = mkdir(job->path, 0777) == 0;
    CTR_AUTO(fd)
    int fd = made || errno == EEXIST ? open(job->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int rc = fd < 0 ? ctr_fail(err, -EINVAL, "%s: %s", job->path, strerror(errno))
                    : save(job, CTR_ARCHIVE_DIR, fd, err);
    if (rc < 0 && made) {
        struct ctr_error ignored = CTR_ERROR_INIT;
        (void) ctr_remove_tree(job->path, &ignored);
    }
    return rc == -ENOTEMPTY
               ? ctr_fail(err, -EINVAL,
                          "%s: it is not empty, and no OCI layout; name another folder",
                          job->path)
               : rc;
}

static int
save_images(struct ctr_request *request, json_t *take_names, enum ctr_archive format,
            struct ctr_error *err)
{
    CTR_AUTO(json) json_t *names = take_names;
    if (json_array_size(names) == 0) {
        return ctr_fail(err, -EINVAL, "parameter names is missing: which images?");
    }
    bool folder = format == CTR_ARCHIVE_DIR;
    struct ctr_api_job *job = job_create(request, folder ? save_folder_work : save_work, "",
                                         api_query(request, "platform"), err);
    if (job != NULL) {
        job->raw = !folder;
        job->path = strdup(api_query(request, "path"));
        job->options = json_pack("{s:O,s:i}", "names", names, "format", (int) format);
        if (job->path == NULL || job->options == NULL) {
            (void) ctr_fail(err, -ENOMEM, "out of memory");
            api_job_drop(ctr_steal(&job));
        }
    }
    return job_run(request, job, err);
}

int
api_images_get(struct ctr_request *request, struct ctr_error *err)
{
    return save_images(request, api_query_all(request, "names"), CTR_ARCHIVE_DOCKER, err);
}

int
api_image_get(struct ctr_request *request, struct ctr_error *err)
{
    return save_images(request, json_pack("[s]", request->capture), CTR_ARCHIVE_DOCKER, err);
}

int
api_ctr_save(struct ctr_request *request, struct ctr_error *err)
{
    static const struct {
        const char *name;
        enum ctr_archive format;
    } formats[] = {{"docker-archive", CTR_ARCHIVE_DOCKER},
                   {"oci-archive", CTR_ARCHIVE_OCI},
                   {"oci-dir", CTR_ARCHIVE_DIR}};
    const char *name = api_query(request, "format");
    for (size_t i = 0; i < CTR_LENGTH(formats); i++) {
        if (strcmp(formats[i].name, name) != 0) {
            continue;
        }
        if (formats[i].format == CTR_ARCHIVE_DIR && *api_query(request, "path") != '/') {
            return ctr_fail(err, -EINVAL, "path: the absolute path of a folder is needed");
        }
        return save_images(request, api_query_all(request, "names"), formats[i].format, err);
    }
    return ctr_fail(err, -EINVAL,
                    "parameter format must be docker-archive, oci-archive or oci-dir, not "
                    "\"%.40s\"",
                    name);
}
