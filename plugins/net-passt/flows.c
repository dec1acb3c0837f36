/*
 * What a port talks to: an answer is let in only if there was a question, and goes back by the way that it came. A set that is full
 * loses the flow that was quiet for the longest time; that costs the guest itself, no other.
 */
#include "passt-priv.h"
#include <stdlib.h>

#define WAYS 4 /* entries of a set */

static size_t
hash(uint32_t proto, uint16_t port, const struct ctr_address *remote, uint16_t remote_port)
{
    uint64_t h =
        14695981039346656037U ^ ((uint64_t) proto << 32 | (uint32_t) port << 16 | remote_port);
    for (size_t i = 0; i < sizeof remote->bytes; i++) {
        h = (h ^ remote->bytes[i]) * 1099511628211U;
    }
    return (size_t) ((h ^ h >> 32) % FLOW_SETS);
}

struct flow *
flow_find(struct guest *guest, uint32_t proto, uint16_t port, const struct ctr_address *remote,
          uint16_t remote_port, bool make)
{
    if (guest->flows == NULL && make) {
        guest->flows = calloc(FLOW_SETS * WAYS, sizeof *guest->flows);
    }
    if (guest->flows == NULL) {
        return NULL;
    }
    struct flow *set = guest->flows + hash(proto, port, remote, remote_port) * WAYS;
    struct flow *oldest = set;
    for (struct flow *f = set; f < set + WAYS; f++) {
        if (f->proto == proto && f->port == port && f->remote_port == remote_port &&
            sw_same(&f->remote, remote)) {
            return f;
        }
        oldest = f->used_ms < oldest->used_ms ? f : oldest;
    }
    if (!make) {
        return NULL;
    }
    *oldest = (struct flow){
        .remote = *remote,
        .remote_port = remote_port,
        .port = port,
        .proto = proto,
    };
    return oldest;
}

void
flows_forget(struct guest *guest, const struct way *way)
{
    for (size_t i = 0; guest->flows != NULL && i < FLOW_SETS * WAYS; i++) {
        if (guest->flows[i].way == way) {
            guest->flows[i] = (struct flow){0};
        }
    }
}
