/* What all work with registries shares: the profile, who we are, the limits, and the tokens that we have. */
#include "core/registry/registry-priv.h"
#include <curl/curl.h>

int
ctr_client_init(struct ctr_client *client, const struct ctr_conf *conf, struct ctr_chain *chain,
                struct ctr_error *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return ctr_fail(err, -ENOMEM, "libcurl does not start");
    }
    *client = (struct ctr_client){.conf = conf,
                                  .chain = chain,
                                  .limits = {.connect_ms = 30000,
                                             .stall_s = 30,
                                             .stall_rate = 256,
                                             .total_s = 120,
                                             .tries = 5,
                                             .backoff_ms = 500,
                                             .retry_after_s = 60}};
    (void) pthread_mutex_init(&client->mutex, NULL);
    return 0;
}

void
ctr_client_finish(struct ctr_client *client)
{
    token_cache_destroy(client->tokens);
    (void) pthread_mutex_destroy(&client->mutex);
    curl_global_cleanup();
}
