/*
 * The table of containers: finding by name, ID or prefix, claiming one for an operation, and the record that survives.
 *
 * A container is claimed by one operation at a time. Names are unique among all in the table, also those not yet ready, so that
 * of many creates of one name exactly one wins.
 */
#include "core/engine/engine-priv.h"

struct ctr_container *
ctr_container_new(struct ctr_engine *engine, const char *id)
{
    struct ctr_container *container = calloc(1, sizeof *container);
    if (container == NULL) {
        return NULL;
    }
    container->engine = engine;
    (void) snprintf(container->id, sizeof container->id, "%s", id);
    container->folder = ctr_printf("%s/containers/%s", engine->conf->engine.data, id);
    container->created_at = ctr_now_ns();
    pthread_mutex_init(&container->net_lock, NULL);
    if (container->folder == NULL) {
        free(container);
        return NULL;
    }
    return container;
}

void
ctr_container_close_pending(struct ctr_container *container)
{
    for (size_t i = 0; i < container->n_pending; i++) {
        (void) close(container->pending[i].fd);
    }
    free(ctr_steal(&container->pending));
    container->n_pending = 0;
}

static void
container_free(struct ctr_container *container)
{
    ctr_container_close_pending(container);
    json_decref(container->spec);
    json_decref(container->args);
    json_decref(container->image);
    free(container->arch);
    free(container->name);
    free(container->folder);
    pthread_mutex_destroy(&container->net_lock);
    free(container);
}

void
ctr_container_hold(struct ctr_container *container)
{
    container->refs++;
}

void
ctr_container_release(struct ctr_container *container)
{
    if (container != NULL && --container->refs == 0) {
        container_free(container);
    }
}

void
ctr_container_insert(struct ctr_container *container)
{
    struct ctr_engine *engine = container->engine;
    container->next = engine->containers;
    engine->containers = container;
    engine->n_containers++;
    ctr_container_hold(container); /* the table's own */
}

void
ctr_container_drop(struct ctr_container *container)
{
    struct ctr_engine *engine = container->engine;
    for (struct ctr_container **at = &engine->containers; *at != NULL; at = &(*at)->next) {
        if (*at == container) {
            *at = container->next;
            engine->n_containers--;
            container->removed = true;
            ctr_engine_changed(engine);
            ctr_container_release(container);
            return;
        }
    }
}

static struct ctr_container *
find_exact(struct ctr_engine *engine, const char *ref)
{
    for (struct ctr_container *c = engine->containers; c != NULL; c = c->next) {
        if (strcmp(c->id, ref) == 0) {
            return c;
        }
    }
    for (struct ctr_container *c = engine->containers; c != NULL; c = c->next) {
        if (c->name != NULL && strcmp(c->name, ref) == 0) {
            return c;
        }
    }
    return NULL;
}

struct ctr_container *
ctr_container_find(struct ctr_engine *engine, const char *ref, struct ctr_error *err)
{
    ref += *ref == '/';
    struct ctr_container *found = *ref == '\0' ? NULL : find_exact(engine, ref);
    size_t length = strlen(ref);
    if (found == NULL && length > 0 && length < 64 && ctr_is_hex(ref, length)) {
        for (struct ctr_container *c = engine->containers; c != NULL; c = c->next) {
            if (!c->ready || strncmp(c->id, ref, length) != 0) {
                continue;
            }
            if (found != NULL) {
                (void) ctr_fail(err, -EINVAL,
                                "Multiple IDs found with provided prefix: %s; give more digits",
                                ref);
                return NULL;
            }
            found = c;
        }
    }
    if (found == NULL || !found->ready) {
        (void) ctr_fail(err, -ENOENT, "No such container: %s", ref);
        return NULL;
    }
    ctr_container_hold(found);
    return found;
}

int
ctr_container_id(struct ctr_engine *engine, const char *ref, char ret_id[65],
                 struct ctr_error *err)
{
    ctr_engine_lock(engine);
    struct ctr_container *found = ctr_container_find(engine, ref, err);
    if (found != NULL) {
        memcpy(ret_id, found->id, sizeof found->id);
    }
    ctr_container_release(found);
    ctr_engine_unlock(engine);
    return found == NULL ? err->code : 0;
}

struct ctr_container *
ctr_container_claim(struct ctr_engine *engine, const char *ref, const char *what,
                    struct ctr_error *err)
{
    struct ctr_container *container = ctr_container_find(engine, ref, err);
    if (container == NULL) {
        return NULL;
    }
    int64_t deadline = ctr_monotonic_ns() + 180ll * 1000000000;
    while (container->busy != NULL && !container->removed) {
        if (!ctr_engine_wait(engine, deadline)) {
            (void) ctr_fail(err, -EBUSY, "container %s is busy (%s): try again later", ref,
                            container->busy == NULL ? "" : container->busy);
            ctr_container_release(container);
            return NULL;
        }
    }
    if (container->removed) {
        (void) ctr_fail(err, -ENOENT, "No such container: %s", ref);
        ctr_container_release(container);
        return NULL;
    }
    container->busy = what;
    return container;
}

void
ctr_container_idle(struct ctr_container *container)
{
    container->busy = NULL;
    if (container->ready && !container->removed && !container->live && container->auto_remove &&
        container->state == CTR_STATE_EXITED) {
        ctr_container_after_end(container);
    }
    ctr_engine_changed(container->engine);
}

bool
ctr_container_name_taken(struct ctr_engine *engine, const char *name, char ret_id[65])
{
    for (struct ctr_container *c = engine->containers; c != NULL; c = c->next) {
        if (c->name != NULL && strcmp(c->name, name) == 0) {
            memcpy(ret_id, c->id, 65);
            return true;
        }
    }
    return false;
}

const char *
ctr_state_name(enum ctr_state state)
{
    static const char *const names[] = {"created", "running", "exited"};
    return names[state];
}

char *
ctr_container_socket(struct ctr_container *container)
{
    /* A data root's IDs are random: 16 digits keep the path below the 107 bytes of a socket address. */
    return ctr_printf("%s/s/%.16s.sock", container->engine->conf->engine.run, container->id);
}

void
ctr_text_copy(char *to, size_t size, const char *from)
{
    CTR_AUTO(free) char *clean = ctr_printable(from);
    (void) snprintf(to, size, "%s", clean == NULL ? "" : clean);
    size_t length = strlen(to);
    if (clean != NULL && clean[length] != '\0') { /* cut: not inside a character */
        while (length > 0 && ((unsigned char) clean[length] & 0xc0) == 0x80) {
            length--;
        }
        to[length] = '\0';
    }
}

static json_t *
record_of(struct ctr_container *c, const char *phase)
{
    return json_pack("{s:s,s:s*,s:O*,s:O*,s:O*,s:s*,s:s,s:I,s:I,s:I,s:i,s:s,s:s}", "phase",
                     phase, "name", c->name, "spec", c->spec, "args", c->args, "image",
                     c->image, "arch", c->arch, "state", ctr_state_name(c->state), "created_at",
                     (json_int_t) c->created_at, "started_at", (json_int_t) c->started_at,
                     "finished_at", (json_int_t) c->finished_at, "exit_code", c->exit_code,
                     "reason", c->reason, "error", c->error);
}

int
ctr_container_save(struct ctr_container *container, const char *phase, struct ctr_error *err)
{
    struct ctr_engine *engine = container->engine;
    int rc = 0;
    /* The lock spans state and write, so that an older state never overwrites a newer one, nor brings a removed container back. */
    pthread_mutex_lock(&engine->record_lock);
    ctr_engine_lock(engine);
    CTR_AUTO(json) json_t *record = record_of(container, phase);
    ctr_engine_unlock(engine);
    if (record == NULL) {
        rc = ctr_fail(err, -ENOMEM, "out of memory");
    } else if (!container->forgotten &&
               ctr_record_put(engine->store, "container", container->id, record, err) < 0) {
        rc = ctr_prefix(err, "record of container %.12s", container->id);
    }
    pthread_mutex_unlock(&engine->record_lock);
    return rc;
}

struct ctr_container *
ctr_container_from_record(struct ctr_engine *engine, const char *id, const json_t *record)
{
    if (strlen(id) != 64 || !ctr_is_hex(id, 64)) {
        return NULL;
    }
    struct ctr_container *c = ctr_container_new(engine, id);
    if (c == NULL) {
        return NULL;
    }
    const char *state = ctr_json_str(record, "state", "created");
    c->name = strdup(ctr_json_str(record, "name", id));
    c->arch = strdup(ctr_json_str(record, "arch", engine->platform.arch));
    c->spec = json_incref(json_object_get(record, "spec"));
    c->args = json_incref(json_object_get(record, "args"));
    c->image = json_incref(json_object_get(record, "image"));
    c->tty = ctr_json_bool(c->spec, "tty", false);
    c->auto_remove = ctr_json_bool(c->spec, "auto_remove", false);
    c->state = strcmp(state, "running") == 0  ? CTR_STATE_RUNNING
               : strcmp(state, "exited") == 0 ? CTR_STATE_EXITED
                                              : CTR_STATE_CREATED;
    c->created_at = ctr_json_int(record, "created_at", 0);
    c->started_at = ctr_json_int(record, "started_at", 0);
    c->finished_at = ctr_json_int(record, "finished_at", 0);
    c->exit_code = (int) ctr_json_int(record, "exit_code", 0);
    ctr_text_copy(c->reason, sizeof c->reason, ctr_json_str(record, "reason", ""));
    ctr_text_copy(c->error, sizeof c->error, ctr_json_str(record, "error", ""));
    c->ready = strcmp(ctr_json_str(record, "phase", ""), "ready") == 0;
    if (c->name == NULL || c->arch == NULL || (c->ready && !json_is_object(c->spec))) {
        container_free(c);
        return NULL;
    }
    return c;
}

json_t *
ctr_container_json(struct ctr_container *c)
{
    CTR_AUTO(json) json_t *json = record_of(c, "ready");
    if (json == NULL) {
        return NULL;
    }
    json_t *more = json_pack(
        "{s:s,s:s,s:I,s:s,s:s,s:b,s:s}", "id", c->id, "busy", c->busy == NULL ? "" : c->busy,
        "pid", (json_int_t) (c->state == CTR_STATE_RUNNING ? c->pid : 0), "vmm", c->vmm,
        "accel", c->accel, "hardware", c->hardware, "folder", c->folder);
    if (more == NULL || json_object_update(json, more) < 0 ||
        json_object_del(json, "phase") < 0) {
        json_decref(more);
        return NULL;
    }
    json_decref(more);
    return ctr_steal(&json);
}

json_t *
ctr_engine_container_inspect(struct ctr_engine *engine, const char *ref, struct ctr_error *err)
{
    ctr_engine_lock(engine);
    struct ctr_container *c = ctr_container_find(engine, ref, err);
    json_t *json = c == NULL ? NULL : ctr_container_json(c);
    if (c != NULL && json == NULL) {
        (void) ctr_fail(err, -ENOMEM, "out of memory");
    }
    ctr_container_release(c);
    ctr_engine_unlock(engine);
    if (json != NULL && ctr_container_add_endpoints(engine, json, err) < 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static int
newest_first(const void *a, const void *b)
{
    const struct ctr_container *x = *(struct ctr_container *const *) a;
    const struct ctr_container *y = *(struct ctr_container *const *) b;
    return (y->created_at > x->created_at) - (y->created_at < x->created_at);
}

json_t *
ctr_engine_container_list(struct ctr_engine *engine, bool all, struct ctr_error *err)
{
    json_t *list = json_array();
    ctr_engine_lock(engine);
    CTR_AUTO(free)
    struct ctr_container **sorted = calloc(engine->n_containers + 1, sizeof *sorted);
    size_t n = 0;
    for (struct ctr_container *c = engine->containers; c != NULL && sorted != NULL;
         c = c->next) {
        if (c->ready && (all || c->state == CTR_STATE_RUNNING)) {
            sorted[n++] = c;
        }
    }
    if (sorted != NULL) {
        qsort(sorted, n, sizeof *sorted, newest_first);
    }
    for (size_t i = 0; i < n; i++) {
        (void) json_array_append_new(list, ctr_container_json(sorted[i]));
    }
    ctr_engine_unlock(engine);
    int rc = list == NULL || sorted == NULL ? ctr_fail(err, -ENOMEM, "out of memory") : 0;
    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++) {
        rc = ctr_container_add_endpoints(engine, json_array_get(list, i), err);
    }
    if (rc < 0) {
        json_decref(list);
        return NULL;
    }
    return list;
}
