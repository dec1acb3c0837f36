/*
 * Lets every allocation of a test program fail in turn: include in one test file, then
 *
 *     for (long n = 0; fail_alloc_after(n), code = try_it(), fail_alloc_hit(); n++) { check code is -ENOMEM, nothing leaked }
 *
 * The program's own malloc, calloc and realloc stand in front of glibc's. Not where a sanitizer has put its own there: ask
 * FAIL_ALLOC_WORKS and fail_alloc_works(), and skip.
 */
#ifndef CTR_FAIL_ALLOC_H
#define CTR_FAIL_ALLOC_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define FAIL_ALLOC_WORKS 0
#endif
#endif
#if !defined(FAIL_ALLOC_WORKS) && (defined(__SANITIZE_ADDRESS__) || !defined(__GLIBC__))
#define FAIL_ALLOC_WORKS 0
#endif
#ifndef FAIL_ALLOC_WORKS
#define FAIL_ALLOC_WORKS 1
#endif

#if FAIL_ALLOC_WORKS
/* libc calls these, too: they must be seen from outside the program. */
#define FAIL_ALLOC_EXPORT __attribute__((visibility("default")))

/* volatile: compilers take malloc for something that changes no variable of ours. */
static volatile long fail_alloc_left = -1, fail_alloc_live;
static volatile bool fail_alloc_was_hit;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *p);

/* The n-th allocation from here on (from 0) and all later ones fail. */
static inline void
fail_alloc_after(long n)
{
    fail_alloc_left = n;
    fail_alloc_was_hit = false;
}

/* Ends the failing; true if an allocation did fail. */
static inline bool
fail_alloc_hit(void)
{
    fail_alloc_left = -1;
    return fail_alloc_was_hit;
}

/* False where another tool has put its own malloc in front of ours (valgrind). */
static inline bool
fail_alloc_works(void)
{
    fail_alloc_after(0);
    void *volatile p = malloc(1);
    bool works = fail_alloc_hit();
    free(p);
    return works;
}

static inline bool
fail_alloc_now(void)
{
    if (fail_alloc_left < 0) {
        return false;
    }
    if (fail_alloc_left > 0) {
        fail_alloc_left--;
        return false;
    }
    fail_alloc_was_hit = true;
    errno = ENOMEM;
    return true;
}

FAIL_ALLOC_EXPORT void *
malloc(size_t size)
{
    void *p = fail_alloc_now() ? NULL : __libc_malloc(size);
    fail_alloc_live += p != NULL;
    return p;
}

FAIL_ALLOC_EXPORT void *
calloc(size_t n, size_t size)
{
    void *p = fail_alloc_now() ? NULL : __libc_calloc(n, size);
    fail_alloc_live += p != NULL;
    return p;
}

FAIL_ALLOC_EXPORT void *
realloc(void *old, size_t size)
{
    void *p = fail_alloc_now() ? NULL : __libc_realloc(old, size);
    fail_alloc_live += p != NULL && old == NULL;
    return p;
}

FAIL_ALLOC_EXPORT void
free(void *p)
{
    fail_alloc_live -= p != NULL;
    __libc_free(p);
}
#endif

#endif
