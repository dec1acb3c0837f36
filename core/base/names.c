/*
 * Random bytes, ids, and the names that containers get when nobody gives them one.
 */
#include "core/base/base.h"
#include <sys/random.h>

int
ctr_random(void *ret, size_t n)
{
    uint8_t *at = ret;
    while (n > 0) {
        size_t chunk = n > 256 ? 256 : n;
        if (getentropy(at, chunk) != 0) {
            return -errno;
        }
        at += chunk;
        n -= chunk;
    }
    return 0;
}

int
ctr_random_id(char ret[65])
{
    uint8_t bytes[32];
    int code = ctr_random(bytes, sizeof bytes);
    if (code == 0) {
        ctr_hex(bytes, sizeof bytes, ret);
    }
    return code;
}

static const char *const moods[] = {
    "amber",  "ample",   "brave",  "breezy", "bright", "calm",   "candid", "clever",
    "cosy",   "crisp",   "daring", "deft",   "eager",  "early",  "easy",   "fair",
    "famous", "fleet",   "fond",   "frank",  "fresh",  "gentle", "glad",   "golden",
    "happy",  "hardy",   "honest", "humble", "jolly",  "keen",   "kind",   "lively",
    "lucid",  "lucky",   "mellow", "merry",  "mild",   "modest", "neat",   "nimble",
    "noble",  "patient", "placid", "plucky", "polite", "proud",  "quick",  "quiet",
    "ready",  "robust",  "rosy",   "serene", "sharp",  "silver", "sleek",  "steady",
    "sunny",  "swift",   "tidy",   "vivid",  "warm",   "wise",   "witty",  "zesty",
};

static const char *const people[] = {
    "abel",       "ampere",    "babbage",  "banach",    "bardeen", "bohr",    "boole",
    "bose",       "cantor",    "carson",   "cauchy",    "chandra", "curie",   "darwin",
    "dirac",      "einstein",  "erdos",    "euclid",    "euler",   "faraday", "fermat",
    "fermi",      "fibonacci", "franklin", "galois",    "gauss",   "goedel",  "goodall",
    "hamilton",   "hilbert",   "hodgkin",  "hopper",    "hypatia", "jacobi",  "kepler",
    "lagrange",   "laplace",   "leibniz",  "lovelace",  "maxwell", "meitner", "mendel",
    "minsky",     "napier",    "newton",   "noether",   "ohm",     "pascal",  "pasteur",
    "planck",     "poincare",  "ptolemy",  "ramanujan", "riemann", "ritchie", "shannon",
    "somerville", "stokes",    "tesla",    "turing",    "volta",   "wiles",   "wu",
    "zeno",
};

char *
ctr_random_name(void)
{
    uint8_t pick[2];
    if (ctr_random(pick, sizeof pick) != 0) {
        return NULL;
    }
    return ctr_printf("%s_%s", moods[pick[0] % CTR_LENGTH(moods)],
                      people[pick[1] % CTR_LENGTH(people)]);
}

static bool
is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool
ctr_is_name(const char *text)
{
    if (text == NULL || !is_alphanumeric(text[0])) {
        return false;
    }
    size_t n = 1;
    for (; text[n] != '\0'; n++) {
        if (n >= 128 || (!is_alphanumeric(text[n]) && strchr("_.-", text[n]) == NULL)) {
            return false;
        }
    }
    return true;
}
