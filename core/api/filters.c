/*
 * The "filters" parameter of lists. Docker's clients send {"status":{"running":true}}, older ones {"status":["running"]}.
 */
#include "core/api/api-priv.h"

#define FILTERS_MAX (64u * 1024)

static json_t *
values_of(const json_t *given)
{
    json_t *values = json_array(), *item;
    const char *key;
    size_t i;
    if (json_is_array(given)) {
        json_array_foreach(given, i, item)
        {
            if (json_is_string(item)) {
                (void) json_array_append(values, item);
            }
        }
    } else {
        json_object_foreach((json_t *) given, key, item)
        {
            (void) json_array_append_new(values, json_string(key));
        }
    }
    return values;
}

int
ctr_docker_filters_parse(const char *text, const char *const *known, json_t **ret,
                         struct ctr_error *err)
{
    CTR_AUTO(json) json_t *filters = json_object();
    CTR_AUTO(json)
    json_t *given = *text == '\0'
                        ? json_object()
                        : ctr_json_parse(text, strlen(text), FILTERS_MAX, "filters", err);
    if (given == NULL || !json_is_object(given)) {
        return ctr_fail(err, -EINVAL, "filters: a JSON object of lists is expected");
    }
    const char *key;
    json_t *value;
    json_object_foreach(given, key, value)
    {
        const char *const *at = known;
        while (*at != NULL && strcmp(*at, key) != 0) {
            at++;
        }
        if (*at == NULL) {
            return ctr_fail(err, -EINVAL, "invalid filter '%.80s'", key);
        }
        (void) json_object_set_new(filters, key, values_of(value));
    }
    *ret = ctr_steal(&filters);
    return 0;
}

/* On the network of that name or ID. */
static bool
is_on(const json_t *c, const char *wanted)
{
    const json_t *endpoints = json_object_get(c, "endpoints");
    const char *name = strcmp(wanted, "bridge") == 0 ? "default" : wanted;
    size_t i;
    json_t *endpoint;
    json_array_foreach((json_t *) endpoints, i, endpoint)
    {
        if (strcmp(ctr_json_str(endpoint, "network", ""), name) == 0 ||
            (strlen(wanted) >= 12 &&
             ctr_starts_with(ctr_json_str(endpoint, "network_id", ""), wanted))) {
            return true;
        }
    }
    return strcmp(ctr_json_str(json_object_get(c, "spec"), "network", ""), name) == 0 &&
           json_array_size(endpoints) == 0;
}

static bool
one_fits(const char *filter, const char *wanted, const json_t *c)
{
    const json_t *image = json_object_get(c, "image");
    if (strcmp(filter, "status") == 0) {
        return strcmp(ctr_json_str(c, "state", ""), wanted) == 0;
    }
    if (strcmp(filter, "id") == 0) {
        return ctr_starts_with(ctr_json_str(c, "id", ""), wanted);
    }
    if (strcmp(filter, "name") == 0) {
        return strstr(ctr_json_str(c, "name", ""), wanted + (*wanted == '/')) != NULL;
    }
    if (strcmp(filter, "label") == 0) {
        return ctr_json_has(json_object_get(json_object_get(c, "spec"), "labels"), wanted);
    }
    if (strcmp(filter, "ancestor") == 0) {
        const char *id = ctr_json_str(image, "id", "");
        return strcmp(ctr_json_str(image, "reference", ""), wanted) == 0 ||
               strcmp(id, wanted) == 0 ||
               (strlen(wanted) >= 6 && ctr_starts_with(id + strcspn(id, ":") + 1, wanted));
    }
    if (strcmp(filter, "network") == 0) {
        return is_on(c, wanted);
    }
    if (strcmp(filter, "exited") == 0) {
        char code[16];
        (void) snprintf(code, sizeof code, "%d", (int) ctr_json_int(c, "exit_code", 0));
        return strcmp(ctr_json_str(c, "state", ""), "exited") == 0 && strcmp(code, wanted) == 0;
    }
    return true;
}

bool
ctr_docker_filters_match(const json_t *filters, const json_t *object,
                         bool (*fits_one)(const char *filter, const char *value,
                                          const json_t *object))
{
    const char *filter;
    json_t *values, *value;
    size_t i;
    json_object_foreach((json_t *) filters, filter, values)
    {
        bool all = strcmp(filter, "label") == 0; /* labels: every one; the others: any one */
        bool fits = all || json_array_size(values) == 0;
        json_array_foreach(values, i, value)
        {
            bool one = fits_one(filter, json_string_value(value), object);
            fits = all ? fits && one : fits || one;
        }
        if (!fits) {
            return false;
        }
    }
    return true;
}

bool
ctr_docker_filters_pass(const json_t *filters, const json_t *container)
{
    return ctr_docker_filters_match(filters, container, one_fits);
}
