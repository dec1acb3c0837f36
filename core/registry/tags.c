/* The tags of a repository, as its registry lists them. */
#include "core/registry/registry-priv.h"

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
tags_ask(struct ctr_transfer *transfer, const struct ctr_ref *ref, json_t *tags,
         struct ctr_error *err)
{
    struct ctr_remote remote;
    int rc = ctr_transfer_watch(transfer, err);
    rc = rc < 0 ? rc : ctr_remote_init(&remote, transfer, ref, NULL, err);
    if (rc < 0) {
        return rc;
    }
    struct ctr_endpoint *home = ctr_remote_home(&remote);
    CTR_AUTO(free)
    char *url = ctr_printf("%s%s/tags/list?n=1000", home->root, home->repository);
    struct ctr_remote_list list = {.url = url,
                                   .accept = "application/json",
                                   .items = "tags",
                                   .what = "the tags",
                                   .max = TAGS_MAX,
                                   .each = tags_add,
                                   .arg = tags};
    rc = url == NULL ? ctr_fail(err, -ENOMEM, "out of memory")
                     : ctr_remote_list(home, &list, err);
    ctr_remote_finish(&remote);
    return rc;
}

json_t *
ctr_registry_tags(struct ctr_client *client, const char *reference,
                  const struct ctr_progress *progress, struct ctr_error *err)
{
    struct ctr_error inner = CTR_ERROR_INIT;
    struct ctr_ref ref;
    struct ctr_transfer transfer;
    CTR_AUTO(json) json_t *tags = json_array();
    int rc = tags == NULL ? ctr_fail(&inner, -ENOMEM, "out of memory")
                          : ctr_ref_parse(reference, &ref, &inner);
    if (rc == 0) {
        ctr_transfer_init(&transfer, client, progress);
        rc = tags_ask(&transfer, &ref, tags, &inner);
        ctr_transfer_finish(&transfer);
    }
    if (rc < 0) {
        (void) ctr_fail(err, rc, "tags of %.200s: %s", reference, inner.msg);
        return NULL;
    }
    return ctr_steal(&tags);
}
