/* Until core/dns links: removed in minutes. */
#include "core/dns/dns.h"
int
ctr_dns_create(struct ctr_loop *loop, const char *resolv_conf,
               const struct ctr_dns_hooks *hooks, struct ctr_dns **ret, struct ctr_error *err)
{
    return 0;
}
void
ctr_dns_destroy(struct ctr_dns *dns)
{
}
int
ctr_dns_set_zone(struct ctr_dns *dns, const json_t *zone, struct ctr_error *err)
{
    return 0;
}
void
ctr_dns_query(struct ctr_dns *dns, const char *port, const void *bytes, size_t length,
              void (*answer)(void *answer_arg, const void *bytes, size_t length),
              void *answer_arg)
{
    answer(answer_arg, NULL, 0);
}
void
ctr_dns_stream(struct ctr_dns *dns, const char *port, int take_fd)
{
    (void) close(take_fd);
}
json_t *
ctr_dns_stats(const struct ctr_dns *dns)
{
    return json_object();
}
