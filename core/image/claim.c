/*
 * Claims: of operations that want the same layer unpacked or the same chain made, one does it and the others wait and then
 * look. A removal claims too, so that nobody looks at what is half gone.
 */
#include "core/image/image-priv.h"

static bool
claim_is_taken(const struct ctr_images *images, const char *name)
{
    for (const struct image_claim *at = images->claims; at != NULL; at = at->next) {
        if (strcmp(at->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* With images->mutex held: a cancel is looked for in between. */
static void
claim_wait(struct ctr_images *images)
{
    struct timespec until;
    (void) clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 200000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    (void) pthread_cond_timedwait(&images->changed, &images->mutex, &until);
}

int
claim_take(struct ctr_images *images, struct image_op *op, struct image_claim *claim,
           const char *scope, const char *name, struct ctr_error *err)
{
    (void) snprintf(claim->name, sizeof claim->name, "%.150s/%.100s", scope, name);
    for (;;) {
        (void) pthread_mutex_lock(&images->mutex);
        if (claim_is_taken(images, claim->name)) {
            claim_wait(images);
        }
        bool mine = !claim_is_taken(images, claim->name);
        if (mine) {
            claim->next = images->claims;
            images->claims = claim;
        }
        (void) pthread_mutex_unlock(&images->mutex);
        if (mine) {
            return 0;
        }
        if (op != NULL && ctr_transfer_cancelled(&op->transfer)) {
            return ctr_fail_cancelled(err);
        }
    }
}

void
claim_give(struct ctr_images *images, struct image_claim *claim)
{
    (void) pthread_mutex_lock(&images->mutex);
    for (struct image_claim **at = &images->claims; *at != NULL; at = &(*at)->next) {
        if (*at == claim) {
            *at = claim->next;
            break;
        }
    }
    (void) pthread_cond_broadcast(&images->changed);
    (void) pthread_mutex_unlock(&images->mutex);
}
