/*
 * The arguments of --network, --add-host and --allow: what is taken of --network reads back the same, the others do no harm.
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

/* The option in its own grammar again. */
static char *
written(const json_t *option)
{
    static const char *const keys[] = {"ip", "ip6", "mac"};
    struct ctr_buf buf = {0};
    ctr_buf_puts(&buf, ctr_json_str(option, "network", ""));
    for (size_t i = 0; i < CTR_LENGTH(keys); i++) {
        if (ctr_json_has(option, keys[i])) {
            ctr_buf_printf(&buf, ",%s=%s", keys[i], ctr_json_str(option, keys[i], ""));
        }
    }
    size_t i;
    json_t *alias;
    json_array_foreach(json_object_get(option, "aliases"), i, alias)
    {
        ctr_buf_printf(&buf, ",alias=%s", json_string_value(alias));
    }
    if (ctr_json_has(option, "mtu")) {
        ctr_buf_printf(&buf, ",mtu=%d", (int) ctr_json_int(option, "mtu", 0));
    }
    return ctr_buf_take(&buf);
}

static void
check_network(const char *text)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *option = ctr_network_option_parse(text, &err);
    if (option == NULL) {
        must(err.code < 0 && err.msg[0] != '\0');
        return;
    }
    must(ctr_is_name(ctr_json_str(option, "network", "")));
    CTR_AUTO(free) char *again = written(option);
    CTR_AUTO(json) json_t *same = ctr_network_option_parse(again, &err);
    must(json_equal(option, same));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *text = strndup((const char *) bytes, length);
    if (text == NULL) {
        return 0;
    }
    check_network(text);
    CTR_AUTO(free) char *host = ctr_extra_host_parse(text, &err);
    CTR_AUTO(free) char *again = host == NULL ? NULL : ctr_extra_host_parse(host, &err);
    must(host == NULL ? err.msg[0] != '\0' : again != NULL && strcmp(host, again) == 0);
    must(ctr_allow_check(text, &err) == 0 || err.msg[0] != '\0');
    return 0;
}
