/* Lists of a registry, page after page (distribution-spec, "Listing"): the Link header says where the next one is. Bounded in pages
 * and items; a next page is at the same registry and has not been asked for before. */
#include "core/registry/registry-priv.h"

#define LIST_MAX_PAGES 200
#define LIST_QUICK_PAGES 10
#define LIST_QUICK_SECONDS 10

/* One page; *ret_next is the address of the following, NULL at the end, caller frees. */
static int
list_page(struct ctr_endpoint *endpoint, const struct ctr_remote_list *list, const char *url,
          size_t *count, char **ret_next, struct ctr_error *err)
{
    const struct ctr_http_limits *limits = &endpoint->remote->transfer->client->limits;
    struct ctr_http_call call = {.url = url,
                                 .accept = list->accept,
                                 .max = CTR_MAX_DOCUMENT,
                                 .total_s = list->quick ? LIST_QUICK_SECONDS : limits->total_s};
    struct ctr_http_response response = {0};
    struct ctr_remote_loop loop = {.tries = list->quick ? limits->tries : 0};
    CTR_AUTO(json) json_t *page = NULL;
    int rc = 1;
    while (rc == 1) {
        rc = ctr_remote_try(endpoint, &loop, &call, &response, err);
    }
    if (rc == 0 && response.status != 200) {
        rc = ctr_remote_fail(endpoint, &response, list->what, err);
    } else if (rc == 0) {
        page = ctr_json_parse(response.body.data != NULL ? response.body.data : "",
                              response.body.length, CTR_MAX_DOCUMENT, list->what, err);
        rc = page == NULL ? err->code : 0;
    }
    const json_t *items = json_object_get(page, list->items);
    if (rc == 0 && !json_is_array(items) && !json_is_null(items)) {
        rc = ctr_fail(err, -EBADMSG, "the registry's answer for %s has no list in it",
                      list->what);
    }
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach(items, i, item)
    {
        if (rc == 0 && ++*count > list->max) {
            rc = ctr_fail(err, -EFBIG, "%s are more than %zu", list->what, list->max);
        }
        rc = rc < 0 ? rc : list->each(list->arg, item, err);
    }
    if (rc == 0 && response.next[0] != '\0') {
        *ret_next = origin_resolve(url, response.next, err);
        rc = *ret_next == NULL ? err->code : 0;
    }
    ctr_http_response_clear(&response);
    return rc;
}

/* A registry may not send us in circles, nor elsewhere. */
static int
list_check_next(const struct ctr_endpoint *endpoint, const struct ctr_remote_list *list,
                json_t *seen, const char *url, struct ctr_error *err)
{
    size_t max_pages = list->quick ? LIST_QUICK_PAGES : LIST_MAX_PAGES;
    struct origin home, to;
    int rc = origin_parse(url, &to, err);
    rc = rc < 0 ? rc : origin_parse(endpoint->root, &home, err);
    if (rc == 0 && !origin_same(&home, &to)) {
        rc = ctr_fail(err, -EPERM, "the next page is at %s:%s, another host: refused", to.host,
                      to.port);
    } else if (rc == 0 && json_object_get(seen, url) != NULL) {
        rc = ctr_fail(err, -ELOOP, "the registry's pages go round in circles");
    } else if (rc == 0 && json_object_size(seen) == max_pages) {
        rc = ctr_fail(err, -EFBIG, "the registry's list has more than %zu pages", max_pages);
    } else if (rc == 0 && json_object_set_new(seen, url, json_true()) < 0) {
        rc = ctr_fail(err, -ENOMEM, "out of memory");
    }
    return rc;
}

int
ctr_remote_list(struct ctr_endpoint *endpoint, const struct ctr_remote_list *list,
                struct ctr_error *err)
{
    CTR_AUTO(json) json_t *seen = json_object();
    CTR_AUTO(free) char *url = strdup(list->url);
    size_t count = 0;
    int rc = url == NULL || seen == NULL ? ctr_fail(err, -ENOMEM, "out of memory") : 0;
    while (rc == 0 && url != NULL) {
        char *next = NULL;
        rc = list_check_next(endpoint, list, seen, url, err);
        rc = rc < 0 ? rc : list_page(endpoint, list, url, &count, &next, err);
        free(url);
        url = next;
    }
    return rc;
}
