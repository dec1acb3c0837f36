/*
 * image-tool: the image room on a command line, for tests. Prints what it does; exit status 0, or 1 with the error on stderr.
 *
 *     image-tool PROFILE pull REF [PLATFORM|all] | load FILE|DIR | unpack REF [STORAGE] | resolve REF [PLATFORM] | images
 *                        | push REF [PLATFORM|all] | tags REF | referrers DIGEST | login HOST USER (password: TOOL_PASSWORD) | logout HOST
 *                        | registries [HOST] | tag FROM TO | rmi REF [force] | clone REF KEY | drop KEY | collect | pulls REF N (at once) | churn REF N (pull, unpack, rmi at once)
 *                        | save oci-archive|oci-dir|docker-archive PLATFORM|- FILE|- REF… | import FILE|- REF|- CHANGE… | history REF [PLATFORM]
 *                        | tree [REF] | verify [heal] [REF] | prune [all] [FILTERS] | df
 *     several commands in one process are separated by "--"
 */
#include "core/image/image-priv.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

static volatile sig_atomic_t interrupted;

static void
on_signal(int number)
{
    interrupted = 1;
}

static void
on_step(void *arg, const char *id, const char *status, uint64_t current, uint64_t total)
{
    if (getenv("TOOL_QUIET") == NULL) {
        (void) printf("%s: %s %llu/%llu\n", id, status, (unsigned long long) current,
                      (unsigned long long) total);
        (void) fflush(stdout);
    }
}

static bool
on_cancelled(void *arg)
{
    return interrupted != 0;
}

static const struct ctr_progress progress = {.step = on_step, .cancelled = on_cancelled};

struct tool {
    struct ctr_conf *conf;
    struct ctr_store *store;
    struct ctr_chain *chain;
    struct ctr_images *images;
    struct ctr_storage *storage;
};

static void
on_loaded(void *arg, const char *reference)
{
    (void) printf("Loaded image: %s\n", reference);
}

static void
on_removed(void *arg, const char *action, const char *what)
{
    (void) printf("%s: %s\n", action, what);
}

static bool
is_used(void *arg, const char *id)
{
    const char *used = getenv("TOOL_IN_USE");
    return used != NULL && strcmp(used, id) == 0;
}

static void
show(const struct ctr_image *image)
{
    CTR_AUTO(free) char *references = ctr_json_text(image->references);
    (void) printf(
        "id=%s digest=%s manifest=%s chain=%s platform=%s/%s size=%llu layers=%zu refs=%s\n",
        image->id, image->digest, image->manifest, image->chain_id, image->platform.os,
        image->platform.arch, (unsigned long long) image->size, json_array_size(image->layers),
        references);
}

static int
show_each(void *arg, const struct ctr_image *image)
{
    show(image);
    return 0;
}

static int
tool_storage(struct tool *tool, const char *name, struct ctr_error *err)
{
    if (tool->storage != NULL) {
        return 0;
    }
    const struct ctr_conf_instance *instance =
        ctr_conf_instance(tool->conf, CTR_KIND_STORAGE, name);
    if (instance == NULL) {
        return ctr_fail(err, -ENOENT, "no storage %s", name != NULL ? name : "default");
    }
    return ctr_storage_open(tool->conf, instance, ctr_store_data(tool->store), &tool->storage,
                            err);
}

static int
tool_unpack(struct tool *tool, const char *reference, const char *name, struct ctr_error *err)
{
    struct ctr_image image;
    int rc = tool_storage(tool, name, err);
    rc = rc < 0 ? rc : ctr_image_resolve(tool->images, reference, NULL, &image, err);
    if (rc < 0) {
        return rc;
    }
    rc = ctr_image_unpack(tool->images, &image, tool->storage, &progress, err);
    if (rc == 0) {
        (void) printf("Unpacked: %s\n", image.chain_id);
    }
    ctr_image_finish(&image);
    return rc;
}

static int
tool_clone(struct tool *tool, const char *reference, const char *key, struct ctr_error *err)
{
    struct ctr_image image;
    int rc = tool_storage(tool, NULL, err);
    rc = rc < 0 ? rc : ctr_image_resolve(tool->images, reference, NULL, &image, err);
    if (rc < 0) {
        return rc;
    }
    rc = ctr_storage_clone(tool->storage, key, image.chain_id, 0, err);
    if (rc == 0) {
        CTR_AUTO(json) json_t *disks = ctr_storage_disks(tool->storage, key, err);
        CTR_AUTO(free) char *text = disks != NULL ? ctr_json_text(disks) : NULL;
        rc = text == NULL ? err->code : 0;
        (void) printf("%s\n", text != NULL ? text : "");
    }
    ctr_image_finish(&image);
    return rc;
}

/* Where TOOL_INTO is set, pull and load unpack into the default storage on the way, as the engine's do. */
static int
tool_into(struct tool *tool, struct ctr_storage **ret, struct ctr_error *err)
{
    int rc = getenv("TOOL_INTO") != NULL ? tool_storage(tool, NULL, err) : 0;
    *ret = rc == 0 && getenv("TOOL_INTO") != NULL ? tool->storage : NULL;
    return rc;
}

static int
tool_load(struct tool *tool, const char *path, struct ctr_error *err)
{
    struct stat st;
    struct ctr_storage *storage = NULL;
    int rc = tool_into(tool, &storage, err);
    if (rc < 0) {
        return rc;
    }
    if (strcmp(path, "-") == 0) {
        return ctr_image_load_fd(tool->images, 0, storage, &progress, on_loaded, NULL, err);
    }
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        CTR_AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
        return ctr_image_load_fd(tool->images, fd, storage, &progress, on_loaded, NULL, err);
    }
    return ctr_image_load_dir(tool->images, path, storage, &progress, on_loaded, NULL, err);
}

static int
tool_remove(struct tool *tool, const char *reference, bool force, struct ctr_error *err)
{
    int rc = tool_storage(tool, NULL, err);
    return rc < 0 ? rc
                  : ctr_image_remove(tool->images, reference, force, &tool->storage, 1, is_used,
                                     on_removed, NULL, err);
}

static int
tool_drop(struct tool *tool, const char *key, struct ctr_error *err)
{
    int rc = tool_storage(tool, NULL, err);
    rc = rc < 0 ? rc : ctr_storage_remove(tool->storage, key, err);
    if (rc == 0) {
        (void) printf("Dropped: %s\n", key);
    }
    return rc;
}

static int
tool_collect(struct tool *tool, struct ctr_error *err)
{
    int rc = tool_storage(tool, NULL, err);
    return rc < 0 ? rc : ctr_images_collect(tool->images, &tool->storage, 1, err);
}

/* --- at once --- */

struct together {
    struct tool *tool;
    const char *reference;
    bool churn;
    pthread_t thread;
    int rc;
    struct ctr_error err;
};

/* In a churn a name may be gone at any time: that is the one error that is right. */
static void *
together_run(void *arg)
{
    struct together *one = arg;
    struct tool *tool = one->tool;
    for (int i = 0; i < (one->churn ? 5 : 1) && one->rc == 0; i++) {
        one->rc = ctr_image_pull(tool->images, &(struct ctr_pull){.reference = one->reference},
                                 NULL, NULL, &one->err);
        struct ctr_image image;
        if (one->rc < 0 || !one->churn) {
            continue;
        }
        int rc = ctr_image_resolve(tool->images, one->reference, NULL, &image, &one->err);
        if (rc == 0) {
            rc = ctr_image_unpack(tool->images, &image, tool->storage, NULL, &one->err);
            ctr_image_finish(&image);
        }
        if (rc == 0 || rc == -ENOENT) {
            rc = ctr_image_remove(tool->images, one->reference, true, &tool->storage, 1, NULL,
                                  NULL, NULL, &one->err);
        }
        one->rc = rc == -ENOENT ? 0 : rc;
    }
    return NULL;
}

static int
tool_together(struct tool *tool, const char *reference, const char *count, bool churn,
              struct ctr_error *err)
{
    struct together all[32];
    int64_t n = 0;
    int rc = tool_storage(tool, NULL, err);
    if (rc < 0 || ctr_parse_int(count != NULL ? count : "", 1, 32, &n) < 0) {
        return rc < 0 ? rc : ctr_fail(err, -EINVAL, "how many?");
    }
    for (int64_t i = 0; i < n; i++) {
        all[i] = (struct together){
            .tool = tool, .reference = reference, .churn = churn, .err = CTR_ERROR_INIT};
        if (pthread_create(&all[i].thread, NULL, together_run, &all[i]) != 0) {
            abort();
        }
    }
    for (int64_t i = 0; i < n; i++) {
        (void) pthread_join(all[i].thread, NULL);
        if (all[i].rc < 0) {
            rc = ctr_fail(err, all[i].rc, "%s", all[i].err.msg);
        }
    }
    return rc;
}

/* --- verbs: argv is what follows the verb, up to n of them, then NULLs --- */

#define TOOL_ARGS 16

static int
verb_pull(struct tool *tool, char **argv, struct ctr_error *err)
{
    char digest[72];
    bool all = argv[1] != NULL && strcmp(argv[1], "all") == 0;
    struct ctr_pull pull = {
        .reference = argv[0], .platform = all ? NULL : argv[1], .all_platforms = all};
    int rc = tool_into(tool, &pull.storage, err);
    rc = rc < 0 ? rc : ctr_image_pull(tool->images, &pull, &progress, digest, err);
    if (rc == 0) {
        (void) printf("Digest: %s\n", digest);
    }
    return rc;
}

static int
verb_pulls(struct tool *tool, char **argv, struct ctr_error *err)
{
    return tool_together(tool, argv[0], argv[1], false, err);
}

static int
verb_churn(struct tool *tool, char **argv, struct ctr_error *err)
{
    return tool_together(tool, argv[0], argv[1], true, err);
}

static int
verb_load(struct tool *tool, char **argv, struct ctr_error *err)
{
    return tool_load(tool, argv[0], err);
}

static int
verb_unpack(struct tool *tool, char **argv, struct ctr_error *err)
{
    return tool_unpack(tool, argv[0], argv[1], err);
}

static int
verb_clone(struct tool *tool, char **argv, struct ctr_error *err)
{
    return tool_clone(tool, argv[0], argv[1], err);
}

static int
verb_drop(struct tool *tool, char **argv, struct ctr_error *err)
{
    return tool_drop(tool, argv[0], err);
}

static int
verb_collect(struct tool *tool, char **argv, struct ctr_error *err)
{
    return tool_collect(tool, err);
}

static int
verb_tag(struct tool *tool, char **argv, struct ctr_error *err)
{
    return ctr_image_tag(tool->images, argv[0], argv[1], err);
}

static int
verb_rmi(struct tool *tool, char **argv, struct ctr_error *err)
{
    return tool_remove(tool, argv[0], argv[1] != NULL, err);
}

static int
verb_images(struct tool *tool, char **argv, struct ctr_error *err)
{
    return ctr_image_each(tool->images, show_each, NULL, err);
}

static int
verb_resolve(struct tool *tool, char **argv, struct ctr_error *err)
{
    struct ctr_image image;
    int rc = ctr_image_resolve(tool->images, argv[0], argv[1], &image, err);
    if (rc == 0) {
        show(&image);
        ctr_image_finish(&image);
    }
    return rc;
}

/* save FORMAT PLATFORM|- FILE|- REF… */
static int
verb_save(struct tool *tool, char **argv, struct ctr_error *err)
{
    bool folder = strcmp(argv[0], "oci-dir") == 0;
    enum ctr_archive format = folder                                   ? CTR_ARCHIVE_DIR
                              : strcmp(argv[0], "docker-archive") == 0 ? CTR_ARCHIVE_DOCKER
                                                                       : CTR_ARCHIVE_OCI;
    if (folder && mkdir(argv[2], 0755) < 0 && errno != EEXIST) {
        return ctr_fail(err, -errno, "%s: %s", argv[2], strerror(errno));
    }
    CTR_AUTO(fd)
    int fd = strcmp(argv[2], "-") == 0 ? dup(1)
             : folder                  ? open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                      : open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    size_t n = 0;
    while (argv[3 + n] != NULL) {
        n++;
    }
    return ctr_image_save(tool->images, (const char *const *) argv + 3, n,
                          strcmp(argv[1], "-") == 0 ? NULL : argv[1], format, fd, &progress,
                          err);
}

/* import FILE|- REF|- CHANGE… */
static int
verb_import(struct tool *tool, char **argv, struct ctr_error *err)
{
    char id[72];
    CTR_AUTO(json) json_t *changes = json_array();
    for (size_t i = 2; argv[i] != NULL; i++) {
        (void) json_array_append_new(changes, json_string(argv[i]));
    }
    CTR_AUTO(fd)
    int fd = strcmp(argv[0], "-") == 0 ? dup(0) : open(argv[0], O_RDONLY | O_CLOEXEC);
    int rc = ctr_image_import(tool->images, fd, strcmp(argv[1], "-") == 0 ? NULL : argv[1],
                              NULL, changes, NULL, &progress, id, err);
    if (rc == 0) {
        (void) printf("%s\n", id);
    }
    return rc;
}

static int
show_json(json_t *take_json, const struct ctr_error *err)
{
    CTR_AUTO(json) json_t *json = take_json;
    CTR_AUTO(free) char *text = json != NULL ? json_dumps(json, JSON_INDENT(1)) : NULL;
    (void) printf("%s\n", text != NULL ? text : "");
    return json != NULL ? 0 : err->code;
}

static int
verb_history(struct tool *tool, char **argv, struct ctr_error *err)
{
    return show_json(ctr_image_history(tool->images, argv[0], argv[1], err), err);
}

static int
verb_tree(struct tool *tool, char **argv, struct ctr_error *err)
{
    return show_json(ctr_image_tree(tool->images, argv[0], err), err);
}

/* verify [heal] [REF] */
static int
verb_verify(struct tool *tool, char **argv, struct ctr_error *err)
{
    bool heal = argv[0] != NULL && strcmp(argv[0], "heal") == 0;
    return show_json(
        ctr_image_verify(tool->images, argv[heal ? 1 : 0], heal, NULL, &progress, err), err);
}

/* prune [all] [FILTERS as JSON] */
static int
verb_prune(struct tool *tool, char **argv, struct ctr_error *err)
{
    bool all = argv[0] != NULL && strcmp(argv[0], "all") == 0;
    const char *text = argv[all ? 1 : 0];
    CTR_AUTO(json)
    json_t *filters =
        text != NULL ? ctr_json_parse(text, strlen(text), 1 << 20, "filters", err) : NULL;
    json_t *result = NULL;
    int rc = tool_storage(tool, NULL, err);
    rc = rc < 0 ? rc
                : ctr_image_prune(tool->images,
                                  &(struct ctr_prune){.all = all, .filters = filters},
                                  &tool->storage, 1, is_used, NULL, &result, err);
    return rc < 0 ? rc : show_json(result, err);
}

static int
verb_df(struct tool *tool, char **argv, struct ctr_error *err)
{
    int rc = tool_storage(tool, NULL, err);
    return rc < 0 ? rc : show_json(ctr_images_usage(tool->images, &tool->storage, 1, err), err);
}

/* --- registries --- */

static int
verb_push(struct tool *tool, char **args, struct ctr_error *err)
{
    char digest[72];
    bool all = args[1] != NULL && strcmp(args[1], "all") == 0;
    int rc = ctr_image_push(tool->images, args[0], all ? NULL : args[1], all, NULL, &progress,
                            digest, err);
    if (rc == 0) {
        (void) printf("Digest: %s\n", digest);
    }
    return rc;
}

static int
verb_tags(struct tool *tool, char **args, struct ctr_error *err)
{
    return show_json(
        ctr_registry_tags(ctr_images_client(tool->images), args[0], &progress, err), err);
}

static int
verb_referrers(struct tool *tool, char **args, struct ctr_error *err)
{
    return show_json(ctr_image_referrers(tool->images, args[0], err), err);
}

static int
verb_login(struct tool *tool, char **args, struct ctr_error *err)
{
    const char *password = getenv("TOOL_PASSWORD");
    char plugin[64];
    int rc = ctr_registry_login(ctr_images_client(tool->images), args[0], args[1],
                                password != NULL ? password : "", plugin, err);
    if (rc == 0) {
        (void) printf("Kept by: %s\n", plugin);
    }
    return rc;
}

static int
verb_logout(struct tool *tool, char **args, struct ctr_error *err)
{
    return ctr_registry_logout(ctr_images_client(tool->images), args[0], err);
}

static int
verb_registries(struct tool *tool, char **args, struct ctr_error *err)
{
    return show_json(ctr_registry_list(ctr_images_client(tool->images), args[0], err), err);
}

static const struct verb {
    const char *name;
    int least; /* arguments */
    int (*run)(struct tool *tool, char **argv, struct ctr_error *err);
} verbs[] = {
    {"pull", 1, verb_pull},
    {"pulls", 2, verb_pulls},
    {"churn", 2, verb_churn},
    {"load", 1, verb_load},
    {"unpack", 1, verb_unpack},
    {"clone", 2, verb_clone},
    {"drop", 1, verb_drop},
    {"collect", 0, verb_collect},
    {"tag", 2, verb_tag},
    {"rmi", 1, verb_rmi},
    {"images", 0, verb_images},
    {"resolve", 1, verb_resolve},
    {"save", 4, verb_save},
    {"import", 2, verb_import},
    {"history", 1, verb_history},
    {"tree", 0, verb_tree},
    {"verify", 0, verb_verify},
    {"prune", 0, verb_prune},
    {"df", 0, verb_df},
    {"push", 1, verb_push},
    {"tags", 1, verb_tags},
    {"login", 2, verb_login},
    {"logout", 1, verb_logout},
    {"referrers", 1, verb_referrers},
    {"registries", 0, verb_registries},
};

static int
tool_run(struct tool *tool, char **argv, int argc, struct ctr_error *err)
{
    char *args[TOOL_ARGS + 2] = {NULL};
    for (int i = 1; i < argc && i <= TOOL_ARGS; i++) {
        args[i - 1] = argv[i];
    }
    for (size_t i = 0; i < CTR_LENGTH(verbs); i++) {
        if (strcmp(verbs[i].name, argv[0]) == 0) {
            return argc - 1 < verbs[i].least ? ctr_fail(err, -EINVAL, "%s: what?", argv[0])
                                             : verbs[i].run(tool, args, err);
        }
    }
    return ctr_fail(err, -EINVAL, "no verb %s", argv[0]);
}

static int
tool_open(struct tool *tool, const char *profile, struct ctr_error *err)
{
    int rc = ctr_conf_load(profile, &tool->conf, err);
    rc = rc < 0 ? rc : ctr_store_open(tool->conf->engine.data, &tool->store, err);
    rc = rc < 0 ? rc : ctr_chain_open(tool->conf, &tool->chain, err);
    rc = rc < 0 ? rc
                : ctr_images_create(tool->store, tool->conf, tool->chain, &tool->images, err);
    if (rc == 0 && getenv("TOOL_HURRY") != NULL) {
        tool->images->client.limits = (struct ctr_http_limits){.connect_ms = 2000,
                                                               .stall_s = 1,
                                                               .stall_rate = 256,
                                                               .total_s = 20,
                                                               .tries = 5,
                                                               .backoff_ms = 10,
                                                               .retry_after_s = 1};
    }
    return rc;
}

static int
tool_main(struct tool *tool, int argc, char **argv)
{
    struct ctr_error err = CTR_ERROR_INIT;
    int rc = tool_open(tool, argv[1], &err);
    for (int i = 2; i < argc && rc == 0;) {
        int n = 0;
        while (i + n < argc && strcmp(argv[i + n], "--") != 0) {
            n++;
        }
        rc = n > 0 ? tool_run(tool, argv + i, n, &err) : 0;
        i += n + 1;
    }
    if (rc < 0) {
        (void) fflush(stdout);
        (void) fprintf(stderr, "error %d: %s\n", rc, err.msg);
    }
    ctr_storage_close(tool->storage);
    ctr_images_destroy(tool->images);
    ctr_chain_close(tool->chain);
    ctr_store_close(tool->store);
    ctr_conf_destroy(tool->conf);
    return rc < 0 ? 1 : 0;
}

int
main(int argc, char **argv)
{
    if (argc < 3) {
        (void) fprintf(stderr, "usage: image-tool PROFILE COMMAND…\n");
        return 2;
    }
    /* What has been told stands in a file also when the next step is killed. */
    (void) setvbuf(stdout, NULL, _IOLBF, 0);
    struct sigaction action = {.sa_handler = on_signal};
    (void) sigaction(SIGINT, &action, NULL);
    ctr_log_init("image-tool", CTR_LEVEL_INFO);
    struct tool tool = {.conf = NULL};
    return tool_main(&tool, argc, argv);
}
