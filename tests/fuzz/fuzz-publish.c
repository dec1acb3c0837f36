/*
 * The argument of -p: what is taken has ports within range, in order, and an address that reads back the same.
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

static void
check_port(const json_t *first, const json_t *p, int64_t i)
{
    const char *proto = ctr_json_str(p, "proto", ""),
               *host = ctr_json_str(p, "host_address", "");
    int64_t port = ctr_json_int(p, "port", -1), host_port = ctr_json_int(p, "host_port", -1);
    int64_t end = ctr_json_int(p, "host_port_end", 0);
    struct ctr_address address;
    char again[CTR_ADDRESS_TEXT];
    must(port >= 1 && port <= 65535 && port == ctr_json_int(first, "port", -1) + i);
    must(host_port >= 0 && host_port <= 65535);
    must(end == 0 || (host_port > 0 && end > host_port && end <= 65535));
    must(strcmp(proto, "tcp") == 0 || strcmp(proto, "udp") == 0);
    must(ctr_address_parse(host, &address) == 0);
    must(strcmp(ctr_address_format(&address, again), host) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *text = strndup((const char *) bytes, length);
    if (text == NULL) {
        return 0;
    }
    CTR_AUTO(json) json_t *ports = ctr_publish_parse(text, &err);
    if (ports == NULL) {
        must(err.code < 0 && err.msg[0] != '\0');
        return 0;
    }
    must(json_array_size(ports) >= 1 && json_array_size(ports) <= 65535);
    for (size_t i = 0; i < json_array_size(ports); i++) {
        check_port(json_array_get(ports, 0), json_array_get(ports, i), (int64_t) i);
    }
    return 0;
}
