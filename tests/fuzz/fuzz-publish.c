/*
 * The argument of -p: what is taken has ports within range and an address that reads back the same.
 */
#include "core/net/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void
must(bool ok)
{
    if (!ok) {
        abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *text = strndup((const char *) bytes, length);
    if (text == NULL) {
        return 0;
    }
    CTR_AUTO(json) json_t *p = ctr_publish_parse(text, &err);
    if (p == NULL) {
        must(err.code < 0 && err.msg[0] != '\0');
        return 0;
    }
    const char *proto = ctr_json_str(p, "proto", ""),
               *host = ctr_json_str(p, "host_address", "");
    int64_t port = ctr_json_int(p, "port", -1), host_port = ctr_json_int(p, "host_port", -1);
    uint32_t address;
    char again[16];
    must(port >= 1 && port <= 65535 && host_port >= 0 && host_port <= 65535);
    must(strcmp(proto, "tcp") == 0 || strcmp(proto, "udp") == 0);
    must(ctr_ipv4_parse(host, &address) == 0);
    must(strcmp(ctr_ipv4_format(address, again), host) == 0);
    return 0;
}
