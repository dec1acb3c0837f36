/*
 * Checks of the layer slots: layers that come in any order and several at once, chains of them, what is refused, what is in use.
 */
#include "sdk/conform/storage.h"
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#define LAYER_1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define LAYER_2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define LAYER_3 "sha256:3333333333333333333333333333333333333333333333333333333333333333"

static struct ctr_error err;
static const struct ctr_storage_limits no_limits = {.size = sizeof no_limits};

static int
apply(struct conform *kit, const struct ctr_storage_ops *ops, void *self, const char *key,
      const char *layer, int cut)
{
    int fd = conform_layer(layer, cut);
    int result = ops->layer_apply(self, key, fd, &no_limits, &err);
    char byte;
    if (result == 0) {
        conform_check(kit, read(fd, &byte, 1) == 0, "layer_apply %s read the stream to its end",
                      layer);
    }
    close(fd);
    return result;
}

struct names {
    int working, layers;
};

static void
on_name(void *arg, const char *name, int32_t state)
{
    struct names *names = arg;
    names->working += strcmp(name, "k1") == 0 && state == CTR_STORAGE_WORKING;
    names->layers += (strcmp(name, LAYER_1) == 0 || strcmp(name, LAYER_2) == 0) &&
                     state == CTR_STORAGE_LAYER;
}

static struct names
count_names(const struct ctr_storage_ops *ops, void *self)
{
    struct names names = {0};
    if (ops->list != NULL) {
        (void) ops->list(self, on_name, &names, &err);
    }
    return names;
}

/* --- several at once --- */

struct job {
    const struct ctr_storage_ops *ops;
    void *self;
    pthread_t thread;
    char key[8];
    int result;
};

static void *
run_job(void *arg)
{
    struct job *job = arg;
    struct ctr_error ignored = CTR_ERROR_INIT;
    int fd = conform_layer("base", 0);
    job->result = job->ops->layer_apply(job->self, job->key, fd, &no_limits, &ignored);
    close(fd);
    return NULL;
}

static void
several_at_once(struct conform *kit, const struct ctr_storage_ops *ops, void *self)
{
    struct job jobs[4];
    int failed = 0;
    for (int i = 0; i < 4; i++) {
        jobs[i] = (struct job){.ops = ops, .self = self, .result = -1};
        snprintf(jobs[i].key, sizeof jobs[i].key, "job%d", i);
        if (pthread_create(&jobs[i].thread, NULL, run_job, &jobs[i]) != 0) {
            jobs[i].key[0] = '\0';
        }
    }
    for (int i = 0; i < 4; i++) {
        if (jobs[i].key[0] != '\0') {
            (void) pthread_join(jobs[i].thread, NULL);
            failed += ops->layer_commit(self, jobs[i].key, LAYER_3, &err) != 0;
        }
        failed += jobs[i].result != 0;
    }
    conform_check(kit, failed == 0, "four layers at once, all committed as one: %s", err.msg);
    conform_check(kit, ops->layer_remove(self, LAYER_3, &err) == 0, "which no chain has: %s",
                  err.msg);
}

/* --- life --- */

static void
build(struct conform *kit, const struct ctr_storage_ops *ops, void *self)
{
    conform_check(kit, apply(kit, ops, self, "k2", "upper", 0) == 0,
                  "the upper layer first, with whiteouts and an opaque folder: %s", err.msg);
    conform_check(kit, ops->layer_commit(self, "k2", LAYER_2, &err) == 0, "layer_commit: %s",
                  err.msg);
    conform_check(kit, apply(kit, ops, self, "k1", "base", 0) == 0, "then the base: %s",
                  err.msg);
    int fd = conform_layer("base", 0);
    conform_check(kit, ops->layer_apply(self, "k1", fd, &no_limits, &err) == -EEXIST,
                  "layer_apply of the same key says EEXIST");
    close(fd);
    const char *const both[] = {LAYER_1, LAYER_2};
    conform_check(kit, ops->chain(self, CHAIN_B, both, 2, &err) == -ENOENT,
                  "a chain with a layer that is not committed says ENOENT");
    conform_check(kit, strstr(err.msg, "1111111") != NULL, "and names it: %s", err.msg);
    if (ops->list != NULL) {
        struct names names = count_names(ops, self);
        conform_check(kit, names.working == 1 && names.layers == 1,
                      "list shows one key and one layer");
    }
    conform_check(kit, ops->layer_commit(self, "k1", LAYER_1, &err) == 0, "layer_commit: %s",
                  err.msg);
    conform_check(kit, ops->layer_commit(self, "none", LAYER_3, &err) == -ENOENT,
                  "layer_commit of a missing key says ENOENT");
    conform_check(kit, ops->chain(self, CHAIN_A, both, 1, &err) == 0, "a chain of one: %s",
                  err.msg);
    conform_check(kit, ops->chain(self, CHAIN_B, both, 2, &err) == 0, "a chain of both: %s",
                  err.msg);
    conform_check(kit, ops->chain(self, CHAIN_B, both, 2, &err) == 0, "and again: %s", err.msg);
    conform_check(kit,
                  apply(kit, ops, self, "k3", "base", 0) == 0 &&
                      ops->layer_commit(self, "k3", LAYER_1, &err) == 0,
                  "layer_commit of a layer that exists drops the key: %s", err.msg);
    conform_check(kit, ops->layer_remove(self, LAYER_1, &err) == -EBUSY,
                  "layer_remove of one that chains have says EBUSY");
    conform_check(kit,
                  ops->chain(self, CHAIN_C, NULL, 0, &err) == 0 &&
                      ops->remove(self, CHAIN_C, &err) == 0,
                  "a chain of no layer: %s", err.msg);
}

static void
hostile(struct conform *kit, const struct ctr_storage_ops *ops, void *self)
{
    static const char *const layers[] = {"escape", "through-link"};
    for (int i = 0; i < 2; i++) {
        unlink(ESCAPED);
        int result = apply(kit, ops, self, "bad", layers[i], 0);
        conform_check(kit, access(ESCAPED, F_OK) != 0,
                      "layer '%s' (result %d) wrote nothing outside", layers[i], result);
        conform_check(kit, ops->layer_remove(self, "bad", &err) == 0, "layer_remove: %s",
                      err.msg);
    }
    err = (struct ctr_error) CTR_ERROR_INIT;
    conform_check(kit, apply(kit, ops, self, "cut", "base", 1) < 0, "a cut layer is an error");
    conform_check(kit, err.msg[0] != '\0', "with a message: %s", err.msg);
    conform_check(kit, ops->layer_remove(self, "cut", &err) == 0, "layer_remove after it");
    conform_check(kit, ops->layer_remove(self, "cut", &err) == 0,
                  "layer_remove of a missing key is no error");
}

void
conform_layers(struct conform *kit, const struct ctr_storage_ops *ops, void *self)
{
    conform_check(
        kit, ops->layer_apply != NULL && ops->layer_commit != NULL && ops->layer_remove != NULL,
        "all four layer slots are given");
    build(kit, ops, self);
    hostile(kit, ops, self);
    several_at_once(kit, ops, self);
}

void
conform_layers_half_made(struct conform *kit, const struct ctr_storage_ops *ops, void *self)
{
    conform_check(kit, apply(kit, ops, self, "half", "base", 0) == 0,
                  "layer_apply, left half-made");
}

void
conform_layers_end(struct conform *kit, const struct ctr_storage_ops *ops, void *self)
{
    if (ops->list != NULL) {
        conform_check(kit, count_names(ops, self).layers == 2,
                      "the layers are still there without their chains");
    }
    conform_check(kit,
                  ops->layer_remove(self, LAYER_1, &err) == 0 &&
                      ops->layer_remove(self, LAYER_2, &err) == 0,
                  "layer_remove of both: %s", err.msg);
    conform_check(kit, count_names(ops, self).layers == 0, "and they are gone");
}
