/*
 * The grammar of --allow, and the egress policy with such a list: rules are sound, names that may be asked are those of the list, nothing that stays
 * closed is opened by an answer.
 */
#include "core/carrier/carrier-priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void
must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static int
on_rule(void *arg, const struct ctr_net_rule *rule, struct ctr_error *err)
{
    must(rule->address.family == 4 || rule->address.family == 6);
    must(rule->prefix <= (rule->address.family == 4 ? 32 : 128));
    must(rule->seconds == 0 || rule->seconds >= 10);
    must(rule->seconds == 0 || rule->address.family != 4 || rule->address.bytes[0] != 127);
    return 0;
}

static void
check_entry(const struct ctr_allow *allow)
{
    struct ctr_allow again;
    struct ctr_error err = CTR_ERROR_INIT;
    char text[CTR_ADDRESS_TEXT];
    bool named = allow->host[0] != '\0';
    must(named == (allow->address.family == 0));
    CTR_AUTO(free)
    char *written =
        named ? ctr_printf("%s%s", allow->below ? "*." : "", allow->host)
              : ctr_printf("%s/%d", ctr_address_format(&allow->address, text), allow->prefix);
    must(written == NULL || ctr_allow_parse(written, &again, &err) == 0);
    must(written == NULL || strcmp(again.host, allow->host) == 0);
    must(written == NULL || (again.prefix == allow->prefix && again.below == allow->below));
}

/* The first line is an entry of the list, what follows a name that is asked for. */
int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_allow allow;
    CTR_AUTO(free) char *text = strndup((const char *) bytes, length);
    if (text == NULL) {
        return 0;
    }
    char *name = strchr(text, '\n');
    if (name != NULL) {
        *name++ = '\0';
    }
    if (ctr_allow_parse(text, &allow, &err) != 0) {
        must(err.code == -EINVAL && err.msg[0] != '\0');
        return 0;
    }
    check_entry(&allow);
    struct ctr_policy *policy = NULL;
    CTR_AUTO(json) json_t *list = json_pack("[s]", text);
    if (list != NULL && ctr_policy_create(list, on_rule, NULL, &policy, &err) == 0 &&
        name != NULL) {
        struct ctr_address answer[2] = {{.family = 4}, {.family = 6}};
        memcpy(answer[0].bytes, bytes, length < 4 ? length : 4);
        memcpy(answer[1].bytes, bytes, length < 16 ? length : 16);
        bool may = ctr_policy_may_ask(policy, name);
        must(!may || ctr_ends_with(name, allow.host));
        ctr_policy_resolved(policy, name, answer, 2, 60, INT64_C(1000000000));
        must(strncmp(ctr_policy_name(policy, &answer[1]), name, 255) == 0);
    }
    ctr_policy_destroy(policy);
    return 0;
}
