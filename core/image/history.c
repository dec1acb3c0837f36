/* How an image came to be: its config's history with the layers that its steps made. */
#include "core/image/image-priv.h"

/* One line of the answer. `layer`: the descriptor of the layer that the step made, NULL for a step that made none. */
static int
history_add(json_t *lines, const json_t *step, const json_t *layer)
{
    int64_t created = 0;
    if (ctr_parse_time(ctr_json_str(step, "created", ""), &created) < 0) {
        created = 0;
    }
    json_t *line = json_pack("{s:s, s:I, s:s, s:I, s:s, s:b, s:[]}", "id", "<missing>",
                             "created", (json_int_t) (created / 1000000000), "created_by",
                             ctr_json_str(step, "created_by", ""), "size",
                             (json_int_t) ctr_json_int(layer, "size", 0), "comment",
                             ctr_json_str(step, "comment", ""), "empty", layer == NULL, "tags");
    return json_array_insert_new(lines, 0, line);
}

/* Oldest first into lines, each put on top. Layers that the history says nothing of get lines of their own. */
static int
history_fill(json_t *lines, const struct ctr_image *image)
{
    size_t i = 0, used = 0;
    json_t *step = NULL;
    int rc = 0;
    json_array_foreach(json_object_get(image->config, "history"), i, step)
    {
        const json_t *layer = ctr_json_bool(step, "empty_layer", false)
                                  ? NULL
                                  : json_array_get(image->layers, used);
        used += layer != NULL;
        rc = rc < 0 ? rc : history_add(lines, step, layer);
    }
    for (; rc == 0 && used < json_array_size(image->layers); used++) {
        rc = history_add(lines, NULL, json_array_get(image->layers, used));
    }
    json_t *top = json_array_get(lines, 0);
    if (rc == 0 && top != NULL) {
        rc = json_object_set_new(top, "id", json_string(image->id));
        rc = rc < 0 ? rc : json_object_set(top, "tags", image->references);
    }
    return rc;
}

json_t *
ctr_image_history(struct ctr_images *images, const char *text, const char *platform,
                  struct ctr_error *err)
{
    struct ctr_image image;
    if (ctr_image_resolve(images, text, platform, &image, err) < 0) {
        return NULL;
    }
    json_t *lines = json_array();
    if (lines == NULL || history_fill(lines, &image) < 0) {
        json_decref(lines);
        lines = NULL;
        (void) ctr_fail(err, -ENOMEM, "history of %.200s: out of memory", text);
    }
    ctr_image_finish(&image);
    return lines;
}
