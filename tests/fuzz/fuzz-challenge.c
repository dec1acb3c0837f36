/* WWW-Authenticate headers of a registry, one a line: what is taken of them is bounded, and a Bearer challenge has a realm. */
#include "core/registry/registry-priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    CTR_AUTO(free) char *text = strndup((const char *) bytes, length);
    struct challenge challenge;
    if (text == NULL) {
        return 0;
    }
    challenge_parse(text, &challenge);
    if (challenge.bearer != (challenge.realm[0] != '\0') ||
        strlen(challenge.realm) >= sizeof challenge.realm ||
        strlen(challenge.service) >= sizeof challenge.service ||
        strlen(challenge.scope) >= sizeof challenge.scope) {
        abort();
    }
    (void) is_token_text(text);
    return 0;
}
