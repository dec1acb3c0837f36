/* What hangs together: images, their layers, and who else has each layer. */
#include "core/image/image-priv.h"

struct tree {
    json_t *images; /* the answer, of all images */
    json_t *owners; /* {diff_id: [[image ID, name], …]} */
};

/* What an image is called where another one shows it. */
static json_t *
tree_names(const struct ctr_image *image)
{
    return json_array_size(image->references) > 0 ? json_incref(image->references)
                                                  : json_pack("[s]", image->id);
}

static int
tree_own(struct tree *tree, const char *diff_id, const struct ctr_image *image)
{
    json_t *owners = json_object_get(tree->owners, diff_id);
    if (owners == NULL) {
        owners = json_array();
        if (json_object_set_new(tree->owners, diff_id, owners) < 0) {
            return -ENOMEM;
        }
    }
    return json_array_append_new(
        owners, json_pack("{s:s, s:o}", "id", image->id, "names", tree_names(image)));
}

static int
tree_add(void *arg, const struct ctr_image *image)
{
    struct tree *tree = arg;
    CTR_AUTO(json) json_t *layers = json_array();
    CTR_AUTO(json) json_t *chains = config_chains(image->config);
    size_t i = 0;
    json_t *layer = NULL;
    json_array_foreach(image->layers, i, layer)
    {
        const char *diff_id = config_diff_id(image->config, i);
        json_t *line = json_pack(
            "{s:s, s:s, s:s, s:I, s:[]}", "digest", ctr_json_str(layer, "digest", ""),
            "diff_id", diff_id, "chain_id", json_string_value(json_array_get(chains, i)),
            "size", (json_int_t) ctr_json_int(layer, "size", 0), "shared_with");
        if (json_array_append_new(layers, line) < 0 || tree_own(tree, diff_id, image) < 0) {
            return -ENOMEM;
        }
    }
    return json_array_append_new(tree->images,
                                 json_pack("{s:s, s:O, s:I, s:O}", "id", image->id,
                                           "references", image->references, "size",
                                           (json_int_t) image->size, "layers", layers)) < 0
               ? -ENOMEM
               : 0;
}

/* Names of the other images that have the layer, each once: a layer may stand in an image more than once. */
static int
tree_share_layer(const struct tree *tree, const char *id, const json_t *layer)
{
    CTR_AUTO(json) json_t *seen = json_object();
    json_t *shared = json_object_get(layer, "shared_with");
    const json_t *owners = json_object_get(tree->owners, ctr_json_str(layer, "diff_id", ""));
    size_t i = 0;
    json_t *owner = NULL;
    json_array_foreach(owners, i, owner)
    {
        const char *other = ctr_json_str(owner, "id", "");
        if (strcmp(other, id) != 0 && json_object_get(seen, other) == NULL &&
            (json_object_set_new(seen, other, json_true()) < 0 ||
             json_array_extend(shared, json_object_get(owner, "names")) < 0)) {
            return -ENOMEM;
        }
    }
    return seen == NULL ? -ENOMEM : 0;
}

static int
tree_share(const struct tree *tree)
{
    size_t i = 0, k = 0;
    json_t *image = NULL, *layer = NULL;
    int rc = 0;
    json_array_foreach(tree->images, i, image)
    {
        json_array_foreach(json_object_get(image, "layers"), k, layer)
        {
            rc = rc < 0 ? rc : tree_share_layer(tree, ctr_json_str(image, "id", ""), layer);
        }
    }
    return rc;
}

/* Leaves only the images that the text's document holds. */
struct only {
    json_t *ids; /* {ID: true} */
};

static int
only_manifest(void *arg, const char *digest, const json_t *manifest)
{
    const struct only *only = arg;
    const char *id = ctr_json_str(json_object_get(manifest, "config"), "digest", "");
    return json_object_set_new(only->ids, id, json_true()) < 0 ? 1 : 0;
}

static int
tree_only(struct ctr_images *images, const char *text, json_t *list, struct ctr_error *err)
{
    struct image_found found = {.key = NULL};
    CTR_AUTO(json) json_t *ids = json_object();
    struct only only = {.ids = ids};
    int rc = image_find(images, text, &found, err);
    free(found.key);
    if (rc == 0 && found.id[0] != '\0') {
        rc = json_object_set_new(ids, found.id, json_true()) < 0 ? 1 : 0;
    } else if (rc == 0) {
        rc = image_manifests(images, found.top, only_manifest, &only, err);
    }
    for (size_t i = json_array_size(list); rc == 0 && i-- > 0;) {
        const char *id = ctr_json_str(json_array_get(list, i), "id", "");
        if (json_object_get(ids, id) == NULL) {
            (void) json_array_remove(list, i);
        }
    }
    return rc > 0 ? ctr_fail(err, -ENOMEM, "out of memory") : rc;
}

json_t *
ctr_image_tree(struct ctr_images *images, const char *text, struct ctr_error *err)
{
    struct ctr_error inner = CTR_ERROR_INIT;
    struct tree tree = {.images = json_array(), .owners = json_object()};
    int rc = tree.images == NULL || tree.owners == NULL
                 ? -ENOMEM
                 : ctr_image_each(images, tree_add, &tree, &inner);
    rc = rc < 0 ? rc : tree_share(&tree);
    if (rc == 0 && text != NULL) {
        rc = tree_only(images, text, tree.images, &inner);
    }
    json_decref(tree.owners);
    if (rc < 0) {
        json_decref(tree.images);
        (void) ctr_fail(err, rc, "image tree: %s",
                        inner.code < 0 ? inner.msg : "out of memory");
        return NULL;
    }
    return tree.images;
}
