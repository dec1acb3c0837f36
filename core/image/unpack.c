/*
 * Unpacking an image into a storage instance. One thread decompresses and checks a layer and writes it into a pipe; the
 * caller's thread lets the plugin read from the other end. A snapshot is committed only when every layer's diff_id was right.
 *
 * Per storage instance one unpack runs at a time; who waits looks again afterwards and mostly finds the work done.
 */
#include "core/image/image-priv.h"
#include <fcntl.h>
#include <signal.h>

/* --- turns --- */

static bool
turn_is_taken(const struct ctr_images *images, const char *instance)
{
    for (const struct snapshot_turn *turn = images->turns; turn != NULL; turn = turn->next) {
        if (strcmp(turn->instance, instance) == 0) {
            return true;
        }
    }
    return false;
}

int
snapshot_take_turn(struct ctr_images *images, struct image_op *op, struct snapshot_turn *turn,
                   const char *instance, struct ctr_error *err)
{
    turn->instance = instance;
    for (;;) {
        (void) pthread_mutex_lock(&images->mutex);
        if (turn_is_taken(images, instance)) {
            struct timespec until;
            (void) clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec++; /* a cancel is looked for in between */
            (void) pthread_cond_timedwait(&images->changed, &images->mutex, &until);
        }
        bool mine = !turn_is_taken(images, instance);
        if (mine) {
            turn->next = images->turns;
            images->turns = turn;
        }
        (void) pthread_mutex_unlock(&images->mutex);
        if (mine) {
            return 0;
        }
        if (op != NULL && op_cancelled(op)) {
            return op_fail_cancelled(err);
        }
    }
}

void
snapshot_give_turn(struct ctr_images *images, struct snapshot_turn *turn)
{
    (void) pthread_mutex_lock(&images->mutex);
    for (struct snapshot_turn **at = &images->turns; *at != NULL; at = &(*at)->next) {
        if (*at == turn) {
            *at = turn->next;
            break;
        }
    }
    (void) pthread_cond_broadcast(&images->changed);
    (void) pthread_mutex_unlock(&images->mutex);
}

/* --- what is there --- */

char *
snapshot_key(const char *instance, const char *chain_id)
{
    return ctr_printf("%s/%s", instance, chain_id);
}

void
snapshot_forget(struct ctr_images *images, const char *key)
{
    (void) pthread_mutex_lock(&images->mutex);
    (void) json_object_del(images->verified, key);
    (void) pthread_mutex_unlock(&images->mutex);
}

static void
snapshot_remember(struct ctr_images *images, const char *key)
{
    (void) pthread_mutex_lock(&images->mutex);
    (void) json_object_set_new(images->verified, key, json_true());
    (void) pthread_mutex_unlock(&images->mutex);
}

/* Recorded as committed, and since this daemon's start also seen in its storage. */
static bool
snapshot_is_ready(struct ctr_images *images, struct ctr_storage *storage, const char *chain_id)
{
    CTR_AUTO(free) char *key = snapshot_key(ctr_storage_name(storage), chain_id);
    if (key == NULL) {
        return false;
    }
    (void) pthread_mutex_lock(&images->mutex);
    bool seen = json_object_get(images->verified, key) != NULL;
    (void) pthread_mutex_unlock(&images->mutex);
    if (seen) {
        return true;
    }
    struct ctr_error ignored = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *record = ctr_record_get(images->store, "snapshot", key, &ignored);
    uint64_t bytes = 0;
    if (record == NULL || ctr_storage_usage(storage, chain_id, &bytes, &ignored) < 0) {
        return false;
    }
    snapshot_remember(images, key);
    return true;
}

static int
snapshot_record(struct ctr_images *images, struct ctr_storage *storage, const char *chain_id,
                const char *manifest, size_t depth, struct ctr_error *err)
{
    CTR_AUTO(free) char *key = snapshot_key(ctr_storage_name(storage), chain_id);
    CTR_AUTO(json)
    json_t *value = json_pack("{s:s, s:I}", "manifest", manifest, "depth", (json_int_t) depth);
    if (key == NULL || value == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int rc = ctr_record_put(images->store, "snapshot", key, value, err);
    if (rc == 0) {
        snapshot_remember(images, key);
    }
    return rc;
}

/* --- one layer through the pipe --- */

struct feed {
    struct image_op *op;
    struct layer_source source;
    int fd; /* write end */
    int rc;
    struct ctr_error err;
};

static int
feed_sink(void *arg, const void *bytes, size_t length, struct ctr_error *err)
{
    const struct feed *feed = arg;
    int rc = ctr_write_all(feed->fd, bytes, length);
    return rc < 0 ? ctr_fail(err, rc, "storage: %s", strerror(-rc)) : 0;
}

static void *
feed_run(void *arg)
{
    struct feed *feed = arg;
    feed->rc =
        layer_read(feed->op, &feed->source, feed_sink, feed, "Extracting", NULL, &feed->err);
    (void) close(feed->fd);
    return NULL;
}

/* The thread has all signals blocked: a plugin that stops reading gives EPIPE, not SIGPIPE. */
static int
feed_start(struct feed *feed, pthread_t *ret_thread)
{
    sigset_t all, before;
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(ret_thread, NULL, feed_run, feed);
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -code;
}

/* After apply: is anything left to read? Waits for the writer's next bytes or its end. */
static bool
feed_has_more(int fd)
{
    char byte;
    size_t n = 0;
    return ctr_read_all(fd, &byte, 1, &n) == 0 && n > 0;
}

/* Which of the two ends is to blame? */
static int
feed_result(const struct feed *feed, int applied, bool more, struct ctr_storage *storage,
            struct ctr_error *err)
{
    if (feed->rc < 0 && feed->rc != -EPIPE) {
        return ctr_fail(err, feed->rc, "%s", feed->err.msg);
    }
    if (applied < 0) {
        return ctr_prefix(err, "layer %.19s", feed->source.digest);
    }
    if (feed->rc == -EPIPE || more) {
        return ctr_fail(err, -EPROTO, "storage plugin %s did not read layer %.19s to its end",
                        ctr_storage_plugin(storage), feed->source.digest);
    }
    return 0;
}

struct unpack {
    struct image_op op;
    const struct ctr_image *image;
    struct ctr_storage *storage;
    json_t *chains;
    char key[128];
};

static int
unpack_layer(struct unpack *unpack, size_t i, struct ctr_error *err)
{
    const json_t *layer = json_array_get(unpack->image->layers, i);
    const struct ctr_conf *conf = unpack->op.images->conf;
    struct feed feed = {
        .op = &unpack->op,
        .source = {.digest = ctr_json_str(layer, "digest", ""),
                   .media_type = ctr_json_str(layer, "mediaType", ""),
                   .size = (uint64_t) ctr_json_int(layer, "size", 0),
                   .max = conf != NULL ? conf->engine.max_image : 0,
                   .diff_id = config_diff_id(unpack->image->config, i)},
        .err = CTR_ERROR_INIT,
    };
    if (feed.source.diff_id == NULL) {
        return ctr_fail(err, -EBADMSG, "layer %zu has no diff_id", i + 1);
    }
    op_step(&unpack->op, feed.source.digest, "Extracting", 0, feed.source.size);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return ctr_fail(err, -errno, "pipe: %s", strerror(errno));
    }
#ifdef F_SETPIPE_SZ
    (void) fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
#endif
    feed.fd = ends[1];
    pthread_t thread;
    int rc = feed_start(&feed, &thread);
    if (rc < 0) {
        (void) close(ends[0]);
        (void) close(ends[1]);
        return ctr_fail(err, rc, "start a thread: %s", strerror(-rc));
    }
    int applied =
        storage_has_layers(unpack->storage)
            ? storage_layer_apply(unpack->storage, unpack->key, ends[0], feed.source.max, err)
            : storage_apply(unpack->storage, unpack->key, ends[0], err);
    bool more = applied == 0 && feed_has_more(ends[0]);
    (void) close(ends[0]);
    (void) pthread_join(thread, NULL);
    rc = feed_result(&feed, applied, more, unpack->storage, err);
    if (rc == 0) {
        op_step(&unpack->op, feed.source.digest, "Pull complete", 0, 0);
    }
    return rc;
}

/* --- layers to snapshots --- */

static const char *
unpack_chain(const struct unpack *unpack, size_t n_layers)
{
    return n_layers == 0 ? IMAGE_EMPTY_CHAIN
                         : json_string_value(json_array_get(unpack->chains, n_layers - 1));
}

/* Applies layers [from, to) on the snapshot of the first `from` and commits. */
static int
unpack_range(struct unpack *unpack, size_t from, size_t to, struct ctr_error *err)
{
    const char *chain = unpack_chain(unpack, to);
    const char *parent = from > 0 ? unpack_chain(unpack, from) : NULL;
    const struct ctr_conf *conf = unpack->op.images->conf;
    uint64_t max = conf != NULL ? conf->engine.max_image : 0;
    (void) snprintf(unpack->key, sizeof unpack->key, "unpack-%s", chain + 7);
    int rc = storage_prepare(unpack->storage, unpack->key, parent, max, err);
    if (rc == -EEXIST) {
        rc = ctr_storage_remove(unpack->storage, unpack->key, err);
        rc = rc < 0 ? rc : storage_prepare(unpack->storage, unpack->key, parent, max, err);
    }
    if (rc < 0) {
        return rc;
    }
    for (size_t i = from; i < to && rc == 0; i++) {
        rc = op_cancelled(&unpack->op) ? op_fail_cancelled(err) : unpack_layer(unpack, i, err);
    }
    if (rc == 0) {
        rc = storage_commit(unpack->storage, unpack->key, chain, err);
    }
    if (rc < 0) {
        struct ctr_error ignored = CTR_ERROR_INIT;
        (void) ctr_storage_remove(unpack->storage, unpack->key, &ignored);
        return rc;
    }
    return snapshot_record(unpack->op.images, unpack->storage, chain, unpack->image->manifest,
                           to, err);
}

/* One layer by itself, under its diff_id. */
static int
unpack_one(struct unpack *unpack, size_t i, struct ctr_error *err)
{
    const char *diff_id = config_diff_id(unpack->image->config, i);
    if (diff_id == NULL) {
        return ctr_fail(err, -EBADMSG, "layer %zu has no diff_id", i + 1);
    }
    struct ctr_error ignored = CTR_ERROR_INIT;
    (void) snprintf(unpack->key, sizeof unpack->key, "layer-%s", diff_id + 7);
    (void) storage_layer_remove(unpack->storage, unpack->key, &ignored);
    int rc = unpack_layer(unpack, i, err);
    rc = rc < 0 ? rc : storage_layer_commit(unpack->storage, unpack->key, diff_id, err);
    if (rc < 0) {
        (void) storage_layer_remove(unpack->storage, unpack->key, &ignored);
    }
    return rc;
}

/* The layers that are missing, then the chain of all. */
static int
unpack_layers(struct unpack *unpack, size_t n, struct ctr_error *err)
{
    const char *chain = unpack_chain(unpack, n);
    CTR_AUTO(free) const char **diff_ids = calloc(n + 1, sizeof *diff_ids);
    if (diff_ids == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        uint64_t bytes;
        struct ctr_error ignored = CTR_ERROR_INIT;
        diff_ids[i] = config_diff_id(unpack->image->config, i);
        if (op_cancelled(&unpack->op)) {
            rc = op_fail_cancelled(err);
        } else if (ctr_storage_usage(unpack->storage, diff_ids[i], &bytes, &ignored) < 0) {
            rc = unpack_one(unpack, i, err);
        }
    }
    rc = rc < 0 ? rc : storage_chain(unpack->storage, chain, diff_ids, (uint32_t) n, err);
    return rc < 0 ? rc
                  : snapshot_record(unpack->op.images, unpack->storage, chain,
                                    unpack->image->manifest, n, err);
}

static int
unpack_all(struct unpack *unpack, struct ctr_error *err)
{
    size_t n = json_array_size(unpack->chains);
    return storage_has_layers(unpack->storage) ? unpack_layers(unpack, n, err)
                                               : unpack_range(unpack, 0, n, err);
}

static int
unpack_lease(struct unpack *unpack, struct ctr_error *err)
{
    int rc = lease_add(&unpack->op, unpack->image->digest, err);
    rc = rc < 0 ? rc : lease_add(&unpack->op, unpack->image->manifest, err);
    rc = rc < 0 ? rc : lease_add(&unpack->op, unpack->image->id, err);
    rc = rc < 0 ? rc : lease_add(&unpack->op, unpack_chain(unpack, 0), err);
    for (size_t i = 0; i < json_array_size(unpack->image->layers) && rc == 0; i++) {
        const json_t *layer = json_array_get(unpack->image->layers, i);
        rc = lease_add(&unpack->op, ctr_json_str(layer, "digest", ""), err);
        rc = rc < 0 ? rc : lease_add(&unpack->op, unpack_chain(unpack, i + 1), err);
        rc =
            rc < 0 ? rc : lease_add(&unpack->op, config_diff_id(unpack->image->config, i), err);
    }
    return rc;
}

static int
unpack_run(struct unpack *unpack, struct ctr_error *err)
{
    struct ctr_images *images = unpack->op.images;
    const char *top = unpack_chain(unpack, json_array_size(unpack->chains));
    int rc = unpack_lease(unpack, err);
    if (rc < 0 || snapshot_is_ready(images, unpack->storage, top)) {
        return rc;
    }
    struct snapshot_turn turn;
    rc = snapshot_take_turn(images, &unpack->op, &turn, ctr_storage_name(unpack->storage), err);
    if (rc < 0) {
        return rc;
    }
    if (!snapshot_is_ready(images, unpack->storage, top)) {
        rc = unpack_all(unpack, err);
    }
    snapshot_give_turn(images, &turn);
    return rc;
}

int
ctr_image_unpack(struct ctr_images *images, const struct ctr_image *image,
                 struct ctr_storage *storage, const struct ctr_progress *progress,
                 struct ctr_error *err)
{
    struct unpack unpack = {.image = image, .storage = storage};
    struct ctr_error inner = CTR_ERROR_INIT;
    int rc = op_init(&unpack.op, images, progress, &inner);
    if (rc < 0) {
        return ctr_fail(err, rc, "unpack %.19s: %s", image->id, inner.msg);
    }
    unpack.chains = config_chains(image->config);
    if (unpack.chains == NULL) {
        rc = ctr_fail(&inner, -ENOMEM, "out of memory");
    } else if (json_array_size(unpack.chains) != json_array_size(image->layers)) {
        rc = ctr_fail(&inner, -EBADMSG, "layers and diff_ids differ in number");
    } else {
        rc = unpack_run(&unpack, &inner);
    }
    json_decref(unpack.chains);
    op_finish(&unpack.op);
    return rc < 0 ? ctr_fail(err, rc, "unpack image %.19s: %s", image->id, inner.msg) : 0;
}
