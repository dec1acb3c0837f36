/*
 * df.c: system df: what takes room, and how much of it could be had back.
 */
#include "core/cmd/show.h"

static const struct ctl_column df_columns[] = {
    {"Type", "TYPE"}, {"TotalCount", "TOTAL"},        {"Active", "ACTIVE"},
    {"Size", "SIZE"}, {"Reclaimable", "RECLAIMABLE"}, {NULL, NULL},
};

static uint64_t
bytes_of(const json_t *object, const char *key)
{
    int64_t n = ctr_json_int(object, key, 0);
    return n > 0 ? (uint64_t) n : 0;
}

static void
add_row(json_t *rows, const char *type, size_t total, size_t active, uint64_t size,
        uint64_t reclaimable)
{
    char a[24], b[24], c[16], d[16];
    (void) snprintf(a, sizeof a, "%zu", total);
    (void) snprintf(b, sizeof b, "%zu", active);
    CTR_AUTO(free)
    char *share = size > 0 ? ctr_printf("%s (%d%%)", ctr_format_size(reclaimable, d),
                                        (int) ((double) reclaimable / (double) size * 100))
                           : strdup(ctr_format_size(reclaimable, d));
    (void) json_array_append_new(rows,
                                 json_pack("{s:s,s:s,s:s,s:s,s:s}", "Type", type, "TotalCount",
                                           a, "Active", b, "Size", ctr_format_size(size, c),
                                           "Reclaimable", share != NULL ? share : ""));
}

static json_t *
summary(const json_t *usage)
{
    json_t *rows = json_array(), *one;
    const json_t *images = json_object_get(usage, "images");
    const json_t *containers = json_object_get(usage, "containers");
    const json_t *storages = json_object_get(usage, "storages");
    size_t i, active = 0, running = 0, layers = 0;
    uint64_t disks = 0, idle = 0, unpacked = 0, unused = bytes_of(usage, "reclaimable");
    json_array_foreach((json_t *) images, i, one)
    {
        bool used = ctr_json_int(one, "containers", 0) > 0;
        active += used;
        unused += used ? 0 : bytes_of(one, "unique");
    }
    json_array_foreach((json_t *) containers, i, one)
    {
        bool runs = strcmp(ctr_json_str(one, "state", ""), "running") == 0;
        running += runs;
        disks += bytes_of(one, "bytes");
        idle += runs ? 0 : bytes_of(one, "bytes");
    }
    json_array_foreach((json_t *) storages, i, one)
    {
        layers += (size_t) bytes_of(one, "layers");
        unpacked += bytes_of(one, "bytes");
    }
    uint64_t ingest = bytes_of(usage, "ingest"), damaged = bytes_of(usage, "damaged");
    add_row(rows, "Images", json_array_size(images), active,
            bytes_of(json_object_get(usage, "blobs"), "bytes"), unused);
    add_row(rows, "Unpacked layers", layers, layers, unpacked, 0);
    add_row(rows, "Containers", json_array_size(containers), running, disks, idle);
    add_row(rows, "Interrupted pulls", ingest > 0, 0, ingest, ingest);
    add_row(rows, "Damaged blobs", damaged > 0, 0, damaged, damaged);
    return rows;
}

/* "12 digits" of an ID, whole with no-trunc. */
static const char *
short_id(const char *id, char ret[13])
{
    (void) snprintf(ret, 13, "%.12s", ctr_starts_with(id, "sha256:") ? id + 7 : id);
    return ret;
}

static int
show_images(const json_t *usage, struct ctr_error *err)
{
    static const struct ctl_column columns[] = {
        {"Name", "IMAGE"},
        {"ID", "IMAGE ID"},
        {"Size", "SIZE"},
        {"Shared", "SHARED SIZE"},
        {"Unique", "UNIQUE SIZE"},
        {"Containers", "CONTAINERS"},
        {NULL, NULL},
    };
    CTR_AUTO(json) json_t *rows = json_array();
    size_t i;
    json_t *image;
    json_array_foreach(json_object_get(usage, "images"), i, image)
    {
        char id[13], a[16], b[16], c[16], n[24];
        const char *name =
            json_string_value(json_array_get(json_object_get(image, "references"), 0));
        (void) snprintf(n, sizeof n, "%lld", (long long) ctr_json_int(image, "containers", 0));
        (void) json_array_append_new(
            rows, json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "Name", name != NULL ? name : "<none>",
                            "ID", short_id(ctr_json_str(image, "id", ""), id), "Size",
                            ctr_format_size(bytes_of(image, "size"), a), "Shared",
                            ctr_format_size(bytes_of(image, "shared"), b), "Unique",
                            ctr_format_size(bytes_of(image, "unique"), c), "Containers", n));
    }
    printf("\nImages space usage:\n\n");
    return ctl_show(rows, columns,
                    "{{.Name}}\t{{.ID}}\t{{.Size}}\t{{.Shared}}\t{{.Unique}}\t{{.Containers}}",
                    NULL, err);
}

static int
show_storages(const json_t *usage, struct ctr_error *err)
{
    static const struct ctl_column columns[] = {
        {"Instance", "STORAGE"},   {"Plugin", "PLUGIN"}, {"Layers", "LAYERS"},
        {"Chains", "FILESYSTEMS"}, {"Size", "SIZE"},     {NULL, NULL},
    };
    CTR_AUTO(json) json_t *rows = json_array();
    size_t i;
    json_t *storage;
    json_array_foreach(json_object_get(usage, "storages"), i, storage)
    {
        char size[16], layers[24], chains[24];
        (void) snprintf(layers, sizeof layers, "%lld",
                        (long long) ctr_json_int(storage, "layers", 0));
        (void) snprintf(chains, sizeof chains, "%lld",
                        (long long) ctr_json_int(storage, "chains", 0));
        (void) json_array_append_new(
            rows, json_pack("{s:s,s:s,s:s,s:s,s:s}", "Instance",
                            ctr_json_str(storage, "instance", ""), "Plugin",
                            ctr_json_str(storage, "plugin", ""), "Layers", layers, "Chains",
                            chains, "Size", ctr_format_size(bytes_of(storage, "bytes"), size)));
    }
    printf("\nUnpacked layers space usage:\n\n");
    return ctl_show(rows, columns,
                    "{{.Instance}}\t{{.Plugin}}\t{{.Layers}}\t{{.Chains}}\t{{.Size}}", NULL,
                    err);
}

static int
show_containers(const json_t *usage, struct ctr_error *err)
{
    static const struct ctl_column columns[] = {
        {"ID", "CONTAINER ID"}, {"Size", "SIZE"}, {"State", "STATE"},
        {"Name", "NAMES"},      {NULL, NULL},
    };
    CTR_AUTO(json) json_t *rows = json_array();
    size_t i;
    json_t *container;
    json_array_foreach(json_object_get(usage, "containers"), i, container)
    {
        char id[13], size[16];
        (void) json_array_append_new(
            rows, json_pack("{s:s,s:s,s:s,s:s}", "ID",
                            short_id(ctr_json_str(container, "id", ""), id), "Size",
                            ctr_format_size(bytes_of(container, "bytes"), size), "State",
                            ctr_json_str(container, "state", ""), "Name",
                            ctr_json_str(container, "name", "")));
    }
    printf("\nContainers space usage:\n\n");
    return ctl_show(rows, columns, "{{.ID}}\t{{.Size}}\t{{.State}}\t{{.Name}}", NULL, err);
}

static int
df_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    const char *format = ctl_value(ctl, "format");
    bool verbose = ctl_flag(ctl, "verbose");
    CTR_AUTO(json) json_t *usage = NULL;
    int rc = verbose && format != NULL
                 ? ctr_fail(&err, -EINVAL, "--verbose and --format do not go together")
                 : ctl_call(ctl, "GET", "/ctr/v1/system/df", NULL, &usage, &err);
    CTR_AUTO(json) json_t *rows = rc == 0 ? summary(usage) : NULL;
    if (rc == 0) {
        rc = ctl_show(rows, df_columns,
                      "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
                      format, &err);
    }
    if (rc == 0 && verbose) {
        rc = show_images(usage, &err);
        rc = rc == 0 ? show_storages(usage, &err) : rc;
        rc = rc == 0 ? show_containers(usage, &err) : rc;
    }
    return rc < 0 ? ctl_error(ctl, &err) : 0;
}

static const struct ctl_option df_options[] = {
    {"format", 0, "FORMAT",
     "table, json, 'table TEMPLATE' or a template: '{{.Type}} {{.Size}}'"},
    {"verbose", 'v', NULL, "Each image, storage instance and container too"},
    {NULL},
};
const struct ctl_command ctl_system_df = {
    .operands = "",
    .summary = "Show what takes room on disk",
    .text = "What can be had back goes with 'ctrctl system prune -a'; of images it is what "
            "each has "
            "alone, at least.",
    .examples = "ctrctl system df\nctrctl system df -v",
    .options = df_options,
    .run = df_main,
};
