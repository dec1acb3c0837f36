/*
 * A world for tests of core/net: a data root, a profile, and real ctr-nets.
 *
 * ctr-net is looked for beside the running program, so a link to the built one is made in the test programs' own bin/. This
 * process is the reaper of its grandchildren, so that the end of a ctr-net can be waited for.
 */
#ifndef CTR_TEST_NET_FIXTURE_H
#define CTR_TEST_NET_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "core/net/net.h"
#include <cmocka.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define SWITCH "[net]\nplugin = switch\n"

static char *build; /* absolute */

struct world {
    char *folder;
    struct ctr_conf *conf;
    struct ctr_store *store;
    struct ctr_nets *nets;
    const struct ctr_nets_hooks *hooks; /* of the next start */
    int status;                         /* that a ctr-net may end with */
};

/* What a container got on its first network. */
struct net_port {
    char address[16], address6[CTR_ADDRESS_TEXT], gateway[16], mac[18];
    int prefix, mtu, kind, fd, keep;
};

static inline void
world_start(struct world *w)
{
    struct ctr_error err = CTR_ERROR_INIT;
    assert_int_equal(ctr_store_open(w->conf->engine.data, &w->store, &err), 0);
    if (ctr_nets_create(w->store, w->conf, w->hooks, &w->nets, &err) != 0) {
        fail_msg("networks: %s", err.msg);
    }
}

/* `engine`: more lines of [engine]. */
static inline void
world_open_with(struct world *w, const char *engine, const char *net_section,
                const struct ctr_nets_hooks *hooks)
{
    struct ctr_error err = CTR_ERROR_INIT;
    char template[] = "/tmp/ctr-test-net-XXXXXX";
    assert_non_null(mkdtemp(template));
    *w = (struct world){.folder = strdup(template), .hooks = hooks};
    CTR_AUTO(free)
    char *text = ctr_printf("[engine]\ndata = %s/data\nrun = %s/run\nplugins = "
                            "%s/lib/ctr/plugins\n%s\n[vmm]\nplugin = "
                            "none\n[storage]\nplugin = none\n%s",
                            w->folder, w->folder, build, engine, net_section);
    if (ctr_conf_parse("test", "test.ini", text, strlen(text), &w->conf, &err) != 0) {
        fail_msg("conf: %s", err.msg);
    }
    world_start(w);
}

static inline void
world_open(struct world *w, const char *net_section)
{
    world_open_with(w, "subnet = 10.88.0.0/29", net_section, NULL);
}

static inline int
add(struct ctr_nets *nets, const char *name, const char *subnet, bool internal,
    struct ctr_error *err)
{
    char id[65];
    CTR_AUTO(json)
    json_t *request =
        json_pack("{s:s, s:s, s:b}", "name", name, "subnet", subnet, "internal", internal);
    return ctr_nets_add(nets, request, id, err);
}

static inline void
world_stop(struct world *w)
{
    ctr_nets_destroy(w->nets);
    ctr_store_close(w->store);
    w->nets = NULL;
    w->store = NULL;
}

static inline void
world_restart(struct world *w)
{
    world_stop(w);
    world_start(w);
}

static inline void
world_close(struct world *w)
{
    struct ctr_error err = CTR_ERROR_INIT;
    assert_int_equal(ctr_nets_stop(w->nets, NULL, &err), 0);
    world_stop(w);
    ctr_conf_destroy(w->conf);
    int status;
    while (waitpid(-1, &status, 0) > 0) { /* until all ctr-nets have ended */
        assert_true(WIFEXITED(status));
        assert_in_range(WEXITSTATUS(status), 0, w->status);
    }
    assert_int_equal(ctr_remove_tree(w->folder, &err), 0);
    free(w->folder);
}

/* Joins a network with an endpoint's settings as text ("" for none). */
static inline int
join_as(struct world *w, const char *network, const char *id, const char *name,
        const char *settings, struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *endpoint = *settings == '\0' ? NULL : json_loads(settings, 0, NULL);
    return ctr_nets_join(w->nets, network, id, name, endpoint, err);
}

static inline void
fill_port(struct world *w, const char *id, struct ctr_attachment *made, size_t n,
          struct net_port *ret)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *all = ctr_nets_endpoints(w->nets, id, &err);
    const json_t *e = json_array_get(all, 0);
    *ret =
        (struct net_port){.fd = -1, .keep = -1, .prefix = (int) ctr_json_int(e, "prefix", 0)};
    (void) snprintf(ret->address, sizeof ret->address, "%s", ctr_json_str(e, "address", ""));
    (void) snprintf(ret->address6, sizeof ret->address6, "%s", ctr_json_str(e, "address6", ""));
    (void) snprintf(ret->gateway, sizeof ret->gateway, "%s", ctr_json_str(e, "gateway", ""));
    (void) snprintf(ret->mac, sizeof ret->mac, "%s", ctr_json_str(e, "mac", ""));
    if (n > 0) {
        ret->mtu = made[0].mtu;
        ret->kind = made[0].kind;
        ret->fd = ctr_steal_fd(&made[0].fd);
        ret->keep = ctr_steal_fd(&made[0].keep);
    }
}

/* A container comes up on the networks that it is on. */
static inline int
bring_up(struct world *w, const char *id, uint32_t kinds, const json_t *publish,
         struct net_port *ret, json_t **ret_published, struct ctr_error *err)
{
    struct ctr_attachment *made;
    size_t n;
    struct ctr_nets_wants wants = {
        .container = id, .name = id, .hostname = id, .vmm_kinds = kinds, .publish = publish};
    int code = ctr_nets_up(w->nets, &wants, &made, &n, ret_published, err);
    if (code == 0) {
        fill_port(w, id, made, n, ret);
        ctr_attachments_free(made, n);
    }
    return code;
}

/* Joins, if it has not, and comes up. */
static inline int
connect_to(struct world *w, const char *network, const char *id, const json_t *publish,
           struct net_port *ret, json_t **ret_published, struct ctr_error *err)
{
    int code = join_as(w, network, id, id, "", err);
    return code != 0 && code != -EEXIST
               ? code
               : bring_up(w, id, CTR_PORT_DGRAM, publish, ret, ret_published, err);
}

static inline void
join(struct world *w, const char *network, const char *id, struct net_port *ret)
{
    struct ctr_error err = CTR_ERROR_INIT;
    if (connect_to(w, network, id, NULL, ret, NULL, &err) != 0) {
        fail_msg("connect %s: %s", id, err.msg);
    }
}

static inline void
close_port(struct net_port *port)
{
    ctr_auto_fd(&port->fd);
    ctr_auto_fd(&port->keep);
    port->fd = port->keep = -1;
}

/* One request on the network's own socket. */
static inline json_t *
ask(const struct world *w, const char *network, const char *op)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free)
    char *path = ctr_printf("%s/run/n/%s.sock", w->folder, network);
    CTR_AUTO(fd) int fd = ctr_unix_connect(path, &err);
    CTR_AUTO(json) json_t *request = json_pack("{s:s}", "op", op);
    CTR_AUTO(json) json_t *reply = ctr_unix_call(fd, request, 5000, NULL, &err);
    return json_incref(json_object_get(reply, "ok"));
}

static inline pid_t
pid_of(const struct world *w, const char *network)
{
    CTR_AUTO(json) json_t *info = ask(w, network, "info");
    assert_non_null(info);
    return (pid_t) ctr_json_int(info, "pid", 0);
}

static inline size_t
ports_of(const struct world *w, const char *network)
{
    CTR_AUTO(json) json_t *ok = ask(w, network, "ports");
    assert_non_null(ok);
    return json_object_size(json_object_get(ok, "ports"));
}

static inline int
prepare(void **state)
{
    const char *given = getenv("CTR_TEST_BUILD");
    build = ctr_expand_path(given == NULL ? "build" : given, NULL);
    CTR_AUTO(free) char *prefix = ctr_prefix_dir();
    CTR_AUTO(free) char *bin = ctr_printf("%s/bin", prefix);
    CTR_AUTO(free) char *link = ctr_printf("%s/ctr-net", bin);
    CTR_AUTO(free) char *program = ctr_printf("%s/bin/ctr-net", build);
    struct ctr_error err = CTR_ERROR_INIT;
    (void) signal(SIGPIPE, SIG_IGN);
    (void) prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    if (ctr_mkdirs(bin, 0755, &err) != 0 || (symlink(program, link) != 0 && errno != EEXIST)) {
        return -1;
    }
    return access(link, X_OK);
}

static inline int
clean(void **state)
{
    free(build);
    return 0;
}

#endif
