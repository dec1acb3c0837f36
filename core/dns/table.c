/*
 * A hash table (FNV-1a, chained, grows by doubling) whose entries are part of what they stand for: names and ports.
 */
#include "core/dns/dns-priv.h"

#define FIRST_BUCKETS 16

static uint32_t
hash_of(const void *key, size_t length)
{
    uint32_t hash = 2166136261U;
    for (const uint8_t *p = key; length > 0; p++, length--) {
        hash = (hash ^ *p) * 16777619U;
    }
    return hash;
}

struct ctr_dns_entry *
ctr_dns_table_find(const struct ctr_dns_table *table, const void *key, size_t length)
{
    if (table->n_buckets == 0) {
        return NULL;
    }
    uint32_t hash = hash_of(key, length);
    struct ctr_dns_entry *entry = table->buckets[hash & (table->n_buckets - 1)];
    while (entry != NULL && (entry->hash != hash || entry->length != length ||
                             memcmp(entry->key, key, length) != 0)) {
        entry = entry->next;
    }
    return entry;
}

static void
put(struct ctr_dns_table *table, struct ctr_dns_entry *entry)
{
    struct ctr_dns_entry **bucket = &table->buckets[entry->hash & (table->n_buckets - 1)];
    entry->next = *bucket;
    *bucket = entry;
}

static int
grow(struct ctr_dns_table *table)
{
    struct ctr_dns_table old = *table;
    size_t n = old.n_buckets == 0 ? FIRST_BUCKETS : old.n_buckets * 2;
    struct ctr_dns_entry **buckets = calloc(n, sizeof(struct ctr_dns_entry *));
    if (buckets == NULL) {
        return -ENOMEM;
    }
    table->buckets = buckets;
    table->n_buckets = n;
    for (size_t i = 0; i < old.n_buckets; i++) {
        for (struct ctr_dns_entry *entry = old.buckets[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            put(table, entry);
        }
    }
    free(old.buckets);
    return 0;
}

int
ctr_dns_table_add(struct ctr_dns_table *table, struct ctr_dns_entry *entry)
{
    if (table->n >= table->n_buckets && grow(table) != 0) {
        return -ENOMEM;
    }
    entry->hash = hash_of(entry->key, entry->length);
    put(table, entry);
    table->n++;
    return 0;
}

void
ctr_dns_table_sweep(struct ctr_dns_table *table, bool (*gone)(struct ctr_dns_entry *),
                    void (*drop)(struct ctr_dns_entry *))
{
    for (size_t i = 0; i < table->n_buckets; i++) {
        struct ctr_dns_entry **at = &table->buckets[i];
        while (*at != NULL) {
            struct ctr_dns_entry *entry = *at;
            if (gone != NULL && !gone(entry)) {
                at = &entry->next;
                continue;
            }
            *at = entry->next;
            table->n--;
            drop(entry);
        }
    }
}

void
ctr_dns_table_finish(struct ctr_dns_table *table)
{
    free(table->buckets);
    *table = (struct ctr_dns_table){0};
}
