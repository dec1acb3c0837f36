/*
 * Sockets of networks that there are no more: a crash came between the try of a new network's plugin and its record. Whoever listens there is stopped.
 */
#include "core/net/net-priv.h"

static bool
is_known(const struct ctr_nets *nets, const char *name, size_t length)
{
    const struct ctr_network_entry *n = nets->networks;
    while (n != NULL && (strlen(n->name) != length || strncmp(n->name, name, length) != 0)) {
        n = n->next;
    }
    return n != NULL;
}

/* Carries no port of a machine, or does not answer any more. */
static bool
is_unused(int fd)
{
    CTR_AUTO(json) json_t *request = json_pack("{s:s}", "op", "ports");
    CTR_AUTO(json) json_t *reply = ctr_unix_call(fd, request, CTR_NET_CALL_MS, NULL, NULL);
    return json_object_size(json_object_get(json_object_get(reply, "ok"), "ports")) == 0;
}

static void
stop_at(const char *path)
{
    CTR_AUTO(fd) int fd = ctr_unix_connect(path, NULL);
    if (fd >= 0 && ctr_unix_check_peer(fd, NULL) == 0 && is_unused(fd)) {
        CTR_AUTO(json) json_t *stop = json_pack("{s:s}", "op", "stop");
        json_decref(ctr_unix_call(fd, stop, CTR_NET_CALL_MS, NULL, NULL));
        ctr_log(CTR_LEVEL_INFO, "event=network-process-stopped socket=%s", path);
        (void) unlink(path);
    }
}

void
ctr_peers_tidy(const struct ctr_nets *nets)
{
    CTR_AUTO(free) char *folder = ctr_printf("%s/n", nets->conf->engine.run);
    CTR_AUTO(dir) DIR *dir = folder == NULL ? NULL : opendir(folder);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        size_t length = strlen(entry->d_name);
        if (!ctr_ends_with(entry->d_name, ".sock") ||
            is_known(nets, entry->d_name, length - strlen(".sock"))) {
            continue;
        }
        CTR_AUTO(free) char *path = ctr_printf("%s/%s", folder, entry->d_name);
        if (path != NULL) {
            stop_at(path);
        }
    }
}
