/*
 * The hash table of one directory's names: open addressing over indexes into the entry list; an entry that is gone keeps its slot,
 * so that a name that comes back finds it again.
 */
#include "sdk/ext4/writer.h"
#include <errno.h>
#include <stdlib.h>

uint32_t
e4_hash_name(const char *name, size_t length)
{
    uint64_t hash = 0xcbf29ce484222325ULL; /* FNV-1a, folded */
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ (uint8_t) name[i]) * 0x100000001b3ULL;
    }
    return (uint32_t) (hash ^ (hash >> 32));
}

uint32_t
e4_dir_slot(const struct e4_dir *dir, const char *name, size_t length, uint32_t hash)
{
    uint32_t slot = hash & (dir->n_slots - 1);
    while (dir->slots[slot] != 0) {
        const struct e4_dent *dent = &dir->list[dir->slots[slot] - 1];
        if (dent->hash == hash && dent->length == length &&
            memcmp(dir->names + dent->name, name, length) == 0) {
            break;
        }
        slot = (slot + 1) & (dir->n_slots - 1);
    }
    return slot;
}

static int
grow_slots(struct e4_dir *dir)
{
    uint32_t n_slots = dir->n_slots == 0 ? 16 : dir->n_slots * 2;
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (slots == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < dir->n; i++) {
        uint32_t slot = dir->list[i].hash & (n_slots - 1);
        while (slots[slot] != 0) {
            slot = (slot + 1) & (n_slots - 1);
        }
        slots[slot] = i + 1;
    }
    free(dir->slots);
    dir->slots = slots;
    dir->n_slots = n_slots;
    return 0;
}

static int
grow_list(struct e4_dir *dir)
{
    uint32_t capacity = dir->capacity == 0 ? 8 : dir->capacity * 2;
    struct e4_dent *list = realloc(dir->list, capacity * sizeof *list);
    if (list == NULL) {
        return -ENOMEM;
    }
    dir->list = list;
    dir->capacity = capacity;
    return 0;
}

static int
grow_names(struct e4_dir *dir, size_t length)
{
    uint64_t capacity = dir->names_capacity == 0 ? 128 : (uint64_t) dir->names_capacity * 2;
    while (capacity < (uint64_t) dir->names_length + length) {
        capacity *= 2;
    }
    char *names = capacity <= UINT32_MAX ? realloc(dir->names, (size_t) capacity) : NULL;
    if (names == NULL) {
        return -ENOMEM;
    }
    dir->names = names;
    dir->names_capacity = (uint32_t) capacity;
    return 0;
}

int
e4_dir_reserve(struct e4_dir *dir, size_t name_length, struct ctr_error *err)
{
    int status = 0;
    if ((dir->n + 1) * 4ULL > dir->n_slots * 3ULL) {
        status = grow_slots(dir);
    }
    if (status == 0 && dir->n == dir->capacity) {
        status = grow_list(dir);
    }
    if (status == 0 && dir->names_length + name_length > dir->names_capacity) {
        status = grow_names(dir, name_length);
    }
    return status == 0 ? 0 : ctr_fail(err, status, "write image: out of memory for names");
}
