/* The tags of a repository, as its registry lists them. */
#include "core/image/remote.h"

#define TAGS_MAX 100000

static int
tags_add(void *arg, const json_t *item, struct ctr_error *err)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const char *tag = json_is_string(item) ? json_string_value(item) : "";
    if (tag[0] == '\0' || strlen(tag) > 128 || strspn(tag, letters) != strlen(tag) ||
        strchr(".-", tag[0]) != NULL) {
        return ctr_fail(err, -EBADMSG,
                        "the registry's list has something in it that is no tag");
    }
    return json_array_append_new(arg, json_string(tag)) < 0
               ? ctr_fail(err, -ENOMEM, "out of memory")
               : 0;
}

static int
tags_ask(struct image_op *op, const struct ctr_ref *ref, json_t *tags, struct ctr_error *err)
{
    struct remote remote;
    int rc = op_watch(op, err);
    rc = rc < 0 ? rc : remote_init(&remote, op, ref, NULL, err);
    if (rc < 0) {
        return rc;
    }
    struct endpoint *home = remote_home(&remote);
    CTR_AUTO(free)
    char *url = ctr_printf("%s%s/tags/list?n=1000", home->root, home->repository);
    struct remote_list list = {.url = url,
                               .accept = "application/json",
                               .items = "tags",
                               .what = "the tags",
                               .max = TAGS_MAX,
                               .each = tags_add,
                               .arg = tags};
    rc = url == NULL ? ctr_fail(err, -ENOMEM, "out of memory") : remote_list(home, &list, err);
    remote_finish(&remote);
    return rc;
}

json_t *
ctr_image_tags(struct ctr_images *images, const char *reference,
               const struct ctr_progress *progress, struct ctr_error *err)
{
    struct ctr_error inner = CTR_ERROR_INIT;
    struct ctr_ref ref;
    struct image_op op;
    CTR_AUTO(json) json_t *tags = json_array();
    int rc = tags == NULL ? ctr_fail(&inner, -ENOMEM, "out of memory")
                          : ctr_ref_parse(reference, &ref, &inner);
    rc = rc < 0 ? rc : op_init(&op, images, progress, &inner);
    if (rc == 0) {
        rc = tags_ask(&op, &ref, tags, &inner);
        op_finish(&op);
    }
    if (rc < 0) {
        (void) ctr_fail(err, rc, "tags of %.200s: %s", reference, inner.msg);
        return NULL;
    }
    return ctr_steal(&tags);
}
