/*
 * image-tool: the image room on a command line, for tests. Prints what it does; exit status 0, or 1 with the error on stderr.
 *
 *     image-tool PROFILE pull REF [PLATFORM] | load FILE|DIR | unpack REF [STORAGE] | resolve REF [PLATFORM] | images
 *                        | tag FROM TO | rmi REF [force] | clone REF KEY | drop KEY | collect | pulls REF N (at once) | churn REF N (pull, unpack, rmi at once)
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

static int
tool_load(struct tool *tool, const char *path, struct ctr_error *err)
{
    struct stat st;
    if (strcmp(path, "-") == 0) {
        return ctr_image_load_fd(tool->images, 0, &progress, on_loaded, NULL, err);
    }
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        CTR_AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
        return ctr_image_load_fd(tool->images, fd, &progress, on_loaded, NULL, err);
    }
    return ctr_image_load_dir(tool->images, path, &progress, on_loaded, NULL, err);
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

static int
tool_run(struct tool *tool, char **argv, int argc, struct ctr_error *err)
{
    const char *verb = argv[0], *one = argc > 1 ? argv[1] : NULL,
               *two = argc > 2 ? argv[2] : NULL;
    char digest[72];
    if (strcmp(verb, "images") == 0) {
        return ctr_image_each(tool->images, show_each, NULL, err);
    }
    if (strcmp(verb, "collect") == 0) {
        return tool_collect(tool, err);
    }
    if (one == NULL) {
        return ctr_fail(err, -EINVAL, "%s: what?", verb);
    }
    if (strcmp(verb, "pull") == 0) {
        int rc =
            ctr_image_pull(tool->images, &(struct ctr_pull){.reference = one, .platform = two},
                           &progress, digest, err);
        if (rc == 0) {
            (void) printf("Digest: %s\n", digest);
        }
        return rc;
    }
    if (strcmp(verb, "pulls") == 0 || strcmp(verb, "churn") == 0) {
        return tool_together(tool, one, two, verb[0] == 'c', err);
    }
    if (strcmp(verb, "load") == 0) {
        return tool_load(tool, one, err);
    }
    if (strcmp(verb, "unpack") == 0) {
        return tool_unpack(tool, one, two, err);
    }
    if (strcmp(verb, "clone") == 0) {
        return tool_clone(tool, one, two, err);
    }
    if (strcmp(verb, "drop") == 0) {
        return tool_drop(tool, one, err);
    }
    if (strcmp(verb, "tag") == 0) {
        return ctr_image_tag(tool->images, one, two, err);
    }
    if (strcmp(verb, "rmi") == 0) {
        return tool_remove(tool, one, two != NULL, err);
    }
    struct ctr_image image;
    int rc = ctr_image_resolve(tool->images, one, two, &image, err);
    if (rc == 0) {
        show(&image);
        ctr_image_finish(&image);
    }
    return rc;
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
        tool->images->limits = (struct http_limits){.connect_ms = 2000,
                                                    .stall_s = 2,
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
