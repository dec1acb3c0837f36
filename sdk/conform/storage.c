/*
 * Checks of storage plugins: the life cycle of <ctr/storage.h>, its mistakes, hostile layers, two instances, and a second open; for those
 * that keep layers by themselves (storage-layers.c) and for those that do not.
 */
#include "sdk/conform/storage.h"
#include <errno.h>
#include <unistd.h>

struct disks {
    int n, roots, uppers, bad;
};

static void
on_disk(void *arg, const struct ctr_disk *disk)
{
    struct disks *disks = arg;
    disks->n++;
    disks->roots += disk->role == CTR_DISK_ROOT;
    disks->uppers += disk->role == CTR_DISK_UPPER;
    bool vmdk = disk->format == CTR_DISK_VMDK && (disk->flags & CTR_DISK_READ_ONLY) != 0;
    disks->bad += (disk->format != CTR_DISK_RAW && !vmdk) || disk->path == NULL ||
                  disk->path[0] != '/' || access(disk->path, R_OK) != 0 ||
                  disk->fstype == NULL || disk->options == NULL;
    disks->bad += disk->role == CTR_DISK_LOWER && !(disk->flags & CTR_DISK_READ_ONLY);
}

static void
on_name(void *arg, const char *name, int32_t state)
{
    *(int *) arg += (strcmp(name, CHAIN_A) == 0 || strcmp(name, CHAIN_B) == 0) &&
                    state == CTR_STORAGE_CHAIN;
}

/* A fresh error for each call, and the message shown when a check fails. */
static struct ctr_error err;

static int
apply(struct conform *kit, const struct ctr_storage_ops *ops, void *self, const char *key,
      const char *layer, int cut)
{
    int fd = conform_layer(layer, cut);
    int result = ops->apply(self, key, fd, &err);
    char byte;
    if (result == 0) {
        conform_check(kit, read(fd, &byte, 1) == 0, "apply %s read the stream to its end",
                      layer);
    }
    close(fd);
    return result;
}

static void
build_chains(struct conform *kit, const struct ctr_storage_ops *ops, void *self)
{
    const struct ctr_storage_limits limits = {.size = sizeof limits};
    conform_check(kit, ops->prepare(self, "k1", NULL, &limits, &err) == 0, "prepare: %s",
                  err.msg);
    conform_check(kit, ops->prepare(self, "k1", NULL, &limits, &err) == -EEXIST,
                  "prepare of the same key says EEXIST");
    conform_check(kit, ops->prepare(self, "k2", CHAIN_B, &limits, &err) == -ENOENT,
                  "prepare on an unknown parent says ENOENT");
    conform_check(kit, apply(kit, ops, self, "k1", "base", 0) == 0, "apply: %s", err.msg);
    conform_check(kit, ops->commit(self, "k1", CHAIN_A, &err) == 0, "commit: %s", err.msg);
    conform_check(kit, ops->prepare(self, "k3", CHAIN_A, &limits, &err) == 0,
                  "prepare on a parent: %s", err.msg);
    conform_check(kit, apply(kit, ops, self, "k3", "upper", 0) == 0,
                  "apply whiteouts and an opaque folder: %s", err.msg);
    conform_check(kit, ops->commit(self, "k3", CHAIN_B, &err) == 0, "commit: %s", err.msg);
    conform_check(kit, ops->prepare(self, "k4", CHAIN_A, &limits, &err) == 0, "prepare again");
    conform_check(kit, ops->commit(self, "k4", CHAIN_B, &err) == 0,
                  "commit of a chain that exists drops the key: %s", err.msg);
}

static void
hostile_layers(struct conform *kit, const struct ctr_storage_ops *ops, void *self)
{
    const struct ctr_storage_limits limits = {.size = sizeof limits};
    static const char *const layers[] = {"escape", "through-link"};
    for (int i = 0; i < 2; i++) {
        unlink(ESCAPED);
        conform_check(kit, ops->prepare(self, "bad", NULL, &limits, &err) == 0, "prepare");
        int result = apply(kit, ops, self, "bad", layers[i], 0);
        conform_check(kit, access(ESCAPED, F_OK) != 0,
                      "layer '%s' (result %d) wrote nothing outside", layers[i], result);
        conform_check(kit, ops->remove(self, "bad", &err) == 0, "remove after it: %s", err.msg);
    }
    conform_check(kit, ops->prepare(self, "cut", NULL, &limits, &err) == 0, "prepare");
    conform_check(kit, apply(kit, ops, self, "cut", "base", 1) < 0, "a cut layer is an error");
    conform_check(kit, err.msg[0] != '\0', "with a message: %s", err.msg);
    conform_check(kit, ops->remove(self, "cut", &err) == 0, "remove after it");
    conform_check(kit, ops->remove(self, "cut", &err) == 0,
                  "remove of a missing key is no error");
}

static void
containers(struct conform *kit, const struct ctr_storage_ops *ops, void *self)
{
    struct disks disks = {0};
    struct ctr_storage_usage usage = {.size = sizeof usage};
    conform_check(kit, ops->clone(self, "c1", CHAIN_B, 0, &err) == 0, "clone: %s", err.msg);
    conform_check(kit, ops->clone(self, "c1", CHAIN_B, 0, &err) == -EEXIST,
                  "clone of the same key says EEXIST");
    conform_check(kit, ops->clone(self, "c2", CHAIN_C, 0, &err) == -ENOENT,
                  "clone of an unknown chain says ENOENT");
    conform_check(kit, ops->clone(self, "c2", CHAIN_A, 0, &err) == 0, "a second clone: %s",
                  err.msg);
    conform_check(kit, ops->disks(self, "c1", on_disk, &disks, &err) == 0, "disks: %s",
                  err.msg);
    conform_check(kit, disks.n > 0 && disks.bad == 0 && disks.roots + disks.uppers == 1,
                  "%d disks, each a readable file, raw or VMDK, one of them writable", disks.n);
    conform_check(kit, ops->usage(self, "c1", &usage, &err) == 0, "usage: %s", err.msg);
    conform_check(kit, ops->usage(self, "nothing", &usage, &err) == -ENOENT,
                  "usage of a missing key says ENOENT");
    conform_check(kit, ops->disks(self, "nothing", on_disk, &disks, &err) == -ENOENT,
                  "disks of a missing key says ENOENT");
}

/* What the next open finds: a key that was never committed. */
static void
leave_half_made(struct conform *kit, const struct ctr_storage_ops *ops, void *self)
{
    const struct ctr_storage_limits limits = {.size = sizeof limits};
    if (ops->chain != NULL) {
        conform_layers_half_made(kit, ops, self);
        return;
    }
    conform_check(kit, ops->prepare(self, "half", NULL, &limits, &err) == 0,
                  "prepare, left half-made");
}

/* The second open: all that was reported as done is there, and can be removed. */
static void
open_again(struct conform *kit, const struct ctr_storage_ops *ops, struct ctr_host *host)
{
    void *self = NULL;
    struct disks disks = {0};
    struct ctr_storage_usage usage = {.size = sizeof usage};
    if (!conform_check(kit, ops->open(host, &self, &err) == 0, "open again: %s", err.msg)) {
        return;
    }
    conform_check(kit, ops->disks(self, "c1", on_disk, &disks, &err) == 0,
                  "the clone is still there");
    conform_check(kit, ops->remove(self, "half", &err) == 0,
                  "what was half-made can be removed");
    if (ops->list != NULL) {
        int n = 0;
        conform_check(kit, ops->list(self, on_name, &n, &err) == 0 && n == 2,
                      "list shows both chains");
    }
    conform_check(kit, ops->remove(self, "c1", &err) == 0 && ops->remove(self, "c2", &err) == 0,
                  "remove of clones: %s", err.msg);
    conform_check(kit, ops->remove(self, CHAIN_B, &err) == 0, "remove of a chain: %s", err.msg);
    conform_check(kit, ops->usage(self, CHAIN_B, &usage, &err) == -ENOENT, "and it is gone");
    conform_check(kit, ops->remove(self, CHAIN_A, &err) == 0, "remove of the other: %s",
                  err.msg);
    if (ops->chain != NULL) {
        conform_layers_end(kit, ops, self);
    }
    ops->close(self);
}

void
conform_storage(struct conform *kit)
{
    struct ctr_storage_ops ops = {0};
    const struct ctr_storage_ops *given = kit->plugin->ops;
    memcpy(&ops, given, given->size < sizeof ops ? given->size : sizeof ops);
    void *self = NULL, *other = NULL;
    struct ctr_host *host = conform_host_create(kit, "one", 0);
    struct ctr_host *second = conform_host_create(kit, "two", 0);
    if (host == NULL || second == NULL ||
        !conform_check(kit, ops.open(host, &self, &err) == 0, "open: %s", err.msg)) {
        return;
    }
    conform_check(kit, ops.open(second, &other, &err) == 0, "a second instance: %s", err.msg);
    if (ops.chain != NULL) {
        conform_layers(kit, &ops, self);
    } else {
        build_chains(kit, &ops, self);
        hostile_layers(kit, &ops, self);
    }
    containers(kit, &ops, self);
    struct ctr_storage_usage usage = {.size = sizeof usage};
    conform_check(kit, ops.usage(other, CHAIN_A, &usage, &err) == -ENOENT,
                  "the second instance knows nothing of the first's chains");
    leave_half_made(kit, &ops, self);
    ops.close(self);
    ops.close(other);
    ops.close(NULL);
    open_again(kit, &ops, host);
    conform_host_destroy(host);
    conform_host_destroy(second);
}
