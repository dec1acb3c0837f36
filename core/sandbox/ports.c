/*
 * What ctrd asks of a running machine's network: its ports, a copy of a port's network end, and that the guest sets up its
 * interfaces anew. The guest is given a few seconds: its answer, if one comes later, is dropped.
 */
#include "core/sandbox/sandbox-priv.h"

static void
mac_text(const uint8_t mac[6], char ret[18])
{
    (void) snprintf(ret, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
                    mac[4], mac[5]);
}

static bool
has_machine(const struct ctr_sandbox *sandbox)
{
    return sandbox->vm.started && !sandbox->vm.ended;
}

void
ctr_ports_list(struct ctr_conn *conn, const json_t *request)
{
    const struct ctr_spec *spec = &ctr_conn_sandbox(conn)->spec;
    CTR_AUTO(json) json_t *ports = json_array();
    (void) request;
    for (uint32_t i = 0; i < spec->machine.n_ports; i++) {
        char hardware[18];
        mac_text(spec->macs[i], hardware);
        if (json_array_append_new(ports, json_pack("{s:s, s:i, s:i, s:b}", "hardware", hardware,
                                                   "kind", (int) spec->ports[i].kind, "mtu",
                                                   (int) spec->ports[i].mtu, "spare",
                                                   spec->kept[i].spare)) < 0) {
            ctr_conn_fail(conn, "ENOMEM", "out of memory");
            return;
        }
    }
    ctr_conn_reply(conn, json_pack("{s:{s:O}}", "ok", "ports", ports));
}

void
ctr_ports_take(struct ctr_conn *conn, const json_t *request)
{
    const struct ctr_sandbox *sandbox = ctr_conn_sandbox(conn);
    const struct ctr_spec *spec = &sandbox->spec;
    const char *wanted = ctr_json_str(request, "hardware", "");
    for (uint32_t i = 0; i < spec->machine.n_ports && has_machine(sandbox); i++) {
        char hardware[18];
        mac_text(spec->macs[i], hardware);
        if (strcasecmp(hardware, wanted) == 0 && spec->kept[i].keep >= 0) {
            ctr_conn_reply_fd(conn, spec->kept[i].keep);
            return;
        }
    }
    if (has_machine(sandbox)) {
        ctr_conn_fail(conn, "ENOENT", "the machine has no such port whose network end is kept");
    } else {
        ctr_conn_fail(conn, "ESRCH", "the container is not running");
    }
}

/* --- the guest's network --- */

struct change {
    struct ctr_conn *conn; /* NULL: it was told that the guest does not answer */
    struct ctr_timer *deadline;
};

static void
on_change_answer(void *arg, const json_t *ok, const json_t *error)
{
    CTR_AUTO(free) struct change *change = arg;
    (void) ok;
    ctr_timer_remove(change->deadline);
    if (change->conn == NULL || !ctr_conn_answered(change->conn)) {
        return;
    }
    if (error != NULL) {
        ctr_conn_fail(change->conn, ctr_json_str(error, "code", "EIO"),
                      ctr_json_str(error, "message", "the guest refused"));
    } else {
        ctr_conn_reply(change->conn, NULL);
    }
}

static void
on_change_late(void *arg)
{
    struct change *change = arg;
    struct ctr_conn *conn = ctr_steal(&change->conn);
    if (ctr_conn_answered(conn)) {
        ctr_conn_fail(conn, "ETIMEDOUT", "the guest does not set up its network");
    }
}

void
ctr_ports_network(struct ctr_conn *conn, const json_t *request)
{
    struct ctr_sandbox *sandbox = ctr_conn_sandbox(conn);
    struct ctr_error err = CTR_ERROR_INIT;
    json_t *network = json_object_get(request, "network");
    if (!json_is_object(network)) {
        ctr_conn_fail(conn, "EINVAL", "\"network\" must be an object");
        return;
    }
    if (sandbox->phase != CTR_RUNNING) {
        ctr_conn_fail(conn, "ESRCH", "the container is not running");
        return;
    }
    struct change *change = calloc(1, sizeof *change);
    CTR_AUTO(json)
    json_t *ask = json_pack("{s:s, s:O}", "op", "network", "network", network);
    int code = change == NULL || ask == NULL
                   ? ctr_fail(&err, -ENOMEM, "out of memory")
                   : ctr_guest_request(sandbox->guest, ask, on_change_answer, change, &err);
    if (code < 0) {
        free(change);
        ctr_conn_fail(conn, ctr_code_name(code), err.msg);
        return;
    }
    change->conn = conn;
    change->deadline = ctr_timer_add(sandbox->loop, CTR_NETWORK_MS, on_change_late, change);
    ctr_conn_wait(conn, NULL);
}
