/*
 * Tar streams made byte by byte in memory, for tests. Header only; use it after <stdlib.h>, <string.h>. An allocation that fails aborts.
 */
#ifndef CTR_TESTS_TAR_H
#define CTR_TESTS_TAR_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAR_UNUSED __attribute__((unused)) static

struct tar {
    char *data;
    size_t length, capacity;
};

TAR_UNUSED void
tar_bytes(struct tar *tar, const void *bytes, size_t length)
{
    while (tar->length + length > tar->capacity) {
        tar->capacity = tar->capacity == 0 ? 65536 : tar->capacity * 2;
        tar->data = realloc(tar->data, tar->capacity);
        if (tar->data == NULL) {
            abort();
        }
    }
    memcpy(tar->data + tar->length, bytes, length);
    tar->length += length;
}

TAR_UNUSED void
tar_pad(struct tar *tar)
{
    static const char zeros[512];
    tar_bytes(tar, zeros, (512 - tar->length % 512) % 512);
}

/* width - 1 octal digits and a NUL */
TAR_UNUSED void
tar_octal(char *field, size_t width, uint64_t value)
{
    field[width - 1] = '\0';
    for (size_t i = width - 1; i-- > 0; value >>= 3) {
        field[i] = (char) ('0' + (value & 7));
    }
}

TAR_UNUSED void
tar_checksum(char *header)
{
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (int i = 0; i < 512; i++) {
        sum += (unsigned char) header[i];
    }
    tar_octal(header + 148, 7, sum);
}

struct tar_spec {
    const char *name;
    char type;
    const char *link;
    const char *data;
    unsigned mode, uid, gid, major, minor;
    const char *size_field; /* raw, in place of the data's size */
};

TAR_UNUSED void
tar_header(struct tar *tar, const struct tar_spec *spec, size_t size)
{
    char header[512] = "";
    memcpy(header, spec->name, strlen(spec->name) < 100 ? strlen(spec->name) : 100);
    tar_octal(header + 100, 8, spec->mode != 0 ? spec->mode : 0644);
    tar_octal(header + 108, 8, spec->uid);
    tar_octal(header + 116, 8, spec->gid);
    tar_octal(header + 124, 12, size);
    if (spec->size_field != NULL) {
        memcpy(header + 124, spec->size_field, 12);
    }
    tar_octal(header + 136, 12, 1000000000);
    header[156] = spec->type;
    if (spec->link != NULL) {
        memcpy(header + 157, spec->link, strlen(spec->link) < 100 ? strlen(spec->link) : 100);
    }
    memcpy(header + 257, "ustar\00000", 8);
    tar_octal(header + 329, 8, spec->major);
    tar_octal(header + 337, 8, spec->minor);
    tar_checksum(header);
    tar_bytes(tar, header, 512);
}

TAR_UNUSED void
tar_add(struct tar *tar, struct tar_spec spec)
{
    size_t size = spec.data != NULL ? strlen(spec.data) : 0;
    tar_header(tar, &spec, size);
    tar_bytes(tar, spec.data != NULL ? spec.data : "", size);
    tar_pad(tar);
}

/* A pax header of one record in front of the next entry; the value may hold NULs. */
TAR_UNUSED void
tar_pax_n(struct tar *tar, const char *key, const void *value, size_t length)
{
    char digits[32];
    size_t n = strlen(key) + length + 3, total = n + 1;
    while ((size_t) snprintf(digits, sizeof digits, "%zu", total) + n != total) {
        total = n + (size_t) snprintf(digits, sizeof digits, "%zu", total);
    }
    tar_header(tar, &(struct tar_spec){.name = "pax", .type = 'x'}, total);
    tar_bytes(tar, digits, strlen(digits));
    tar_bytes(tar, " ", 1);
    tar_bytes(tar, key, strlen(key));
    tar_bytes(tar, "=", 1);
    tar_bytes(tar, value, length);
    tar_bytes(tar, "\n", 1);
    tar_pad(tar);
}

TAR_UNUSED void
tar_pax(struct tar *tar, const char *key, const char *value)
{
    tar_pax_n(tar, key, value, strlen(value));
}

TAR_UNUSED void
tar_end(struct tar *tar)
{
    static const char zeros[1024];
    tar_bytes(tar, zeros, sizeof zeros);
}

#endif
