/*
 * core/base: what every other room stands on. It knows nothing of containers, images or plugins.
 *
 * Errors (<ctr/error.h>), ownership macros, growing buffers, files written durably, unix sockets, digests' hex form, sizes,
 * times, names and the log. Everything is thread-safe unless it says otherwise. Allocation failures are errors, never aborts:
 * a constructor that returns NULL means -ENOMEM.
 */
#ifndef CTR_BASE_H
#define CTR_BASE_H

#include <ctr/address.h>
#include <ctr/error.h>
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* --- ownership: locals that own something carry CTR_AUTO(kind) and leave by ctr_steal() --- */

static inline void
ctr_auto_free(void *p)
{
    free(*(void **) p);
}
static inline void
ctr_auto_fd(int *fd)
{
    if (*fd >= 0) {
        (void) close(*fd);
    }
}
static inline void
ctr_auto_dir(DIR **dir)
{
    if (*dir != NULL) {
        (void) closedir(*dir);
    }
}
static inline void
ctr_auto_json(json_t **json)
{
    json_decref(*json);
}
#define CTR_AUTO(kind) __attribute__((cleanup(ctr_auto_##kind)))
/* Takes the value out of an owning local: NULL (or -1 for an fd) stays behind. */
#define ctr_steal(p)                                                                           \
    ({                                                                                         \
        __typeof__(*(p)) ctr_stolen = *(p);                                                    \
        *(p) = NULL;                                                                           \
        ctr_stolen;                                                                            \
    })
static inline int
ctr_steal_fd(int *fd)
{
    int stolen = *fd;
    *fd = -1;
    return stolen;
}

#define CTR_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* --- buf: a growing byte buffer, always NUL-terminated behind `length` --- */

struct ctr_buf {
    char *data; /* NULL while empty */
    size_t length, capacity;
    bool failed; /* an allocation failed: later adds do nothing; check once at the end */
};
/* For CTR_AUTO(buf). */
static inline void
ctr_auto_buf(struct ctr_buf *buf)
{
    free(buf->data);
}
void ctr_buf_add(struct ctr_buf *buf, const void *bytes, size_t length);
void ctr_buf_puts(struct ctr_buf *buf, const char *text);
void ctr_buf_printf(struct ctr_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Drops the first n bytes. */
void ctr_buf_consume(struct ctr_buf *buf, size_t n);
/* Frees and empties. */
void ctr_buf_clear(struct ctr_buf *buf);
/* The text, caller frees; NULL if an allocation failed. The buf is empty afterwards. */
char *ctr_buf_take(struct ctr_buf *buf);
/* asprintf that returns the text (caller frees) or NULL. */
char *ctr_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- log: key=value lines on stderr --- */

enum ctr_log_levels { CTR_LEVEL_ERROR = 1, CTR_LEVEL_WARN, CTR_LEVEL_INFO, CTR_LEVEL_DEBUG };
/* Name of the process in each line, and the most verbose level shown (default INFO). Call once in main. */
void ctr_log_init(const char *process, int level);
/* Writes `time=… level=… process=… ` and the text in one write(2), control characters escaped. A format that begins with `key=` is
 * taken as pairs (`"id=%s msg=\"started\""`); any other text becomes msg="…". */
void ctr_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- text --- */

bool ctr_starts_with(const char *text, const char *prefix);
bool ctr_ends_with(const char *text, const char *suffix);
/* Whole string as a decimal number within [min,max]: 0, or -EINVAL / -ERANGE. */
int ctr_parse_int(const char *text, int64_t min, int64_t max, int64_t *ret);
/* Bytes with optional suffix b, k, m, g, t (any case, "KiB"/"kb" too; powers of 1024): 0 or -EINVAL / -ERANGE. */
int ctr_parse_size(const char *text, uint64_t *ret);
/* "1.5GiB" style into ret (at least 16 bytes); returns ret. Decimal units as docker shows them: "4.26MB". */
const char *ctr_format_size(uint64_t bytes, char ret[16]);
/* "3 minutes", "About an hour", as docker's ps words durations; returns ret. */
const char *ctr_format_duration(int64_t seconds, char ret[32]);
/* Replaces control characters, invalid UTF-8 and escapes in text from outside, for a terminal or log. Caller frees. */
char *ctr_printable(const char *text);
/* All of the bytes are well-formed UTF-8. */
bool ctr_is_utf8(const char *text, size_t length);
/* Length of the character at text if it is well-formed and safe to print (no control, no mark that reorders text), else 0. */
size_t ctr_utf8_printable(const char *text, size_t length);
/* Damerau-Levenshtein distance; and the entry of a NULL-terminated list nearest to word, NULL if none is near. */
size_t ctr_distance(const char *a, const char *b);
const char *ctr_nearest(const char *word, const char *const *list);
/* Signal by name ("TERM", "SIGTERM", "15"): its number or -EINVAL; and its name without SIG, or NULL. Linux numbers. */
int ctr_signal_number(const char *text);
const char *ctr_signal_name(int number);

/* --- hex and digests --- */

void ctr_hex(const uint8_t *bytes, size_t n, char *ret); /* 2n characters and a NUL */
bool
ctr_is_hex(const char *text, size_t n); /* the first n characters are lower-case hex digits */
/* "sha256:<64 lower-case hex>" and nothing else (image-spec/descriptor.md, "Digests"; sha256 is the only one we register). */
bool ctr_is_digest(const char *text);

/* --- SHA-256 (libcrypto; only in programs that link it) --- */

struct ctr_sha256;
struct ctr_sha256 *ctr_sha256_create(void); /* NULL: out of memory */
void ctr_sha256_add(struct ctr_sha256 *sha, const void *bytes, size_t length);
void ctr_sha256_finish(struct ctr_sha256 *sha,
                       char ret_digest[72]);     /* "sha256:…"; the object may be used anew */
void ctr_sha256_destroy(struct ctr_sha256 *sha); /* takes NULL */

/* --- ids, names, time --- */

int ctr_random(void *ret, size_t n); /* getrandom; 0 or a negative code */
int ctr_random_id(char ret[65]);     /* 64 hex digits */
/* A made-up name, "eager_turing" style; caller frees. */
char *ctr_random_name(void);
/* Container and network names, [a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}. */
bool ctr_is_name(const char *text);
int64_t ctr_now_ns(void); /* since the epoch */
int64_t ctr_monotonic_ns(void);
const char *ctr_format_time(
    int64_t ns,
    char ret[40]); /* RFC 3339 with nanoseconds, UTC; "0001-01-01T00:00:00Z" for 0 */
int ctr_parse_time(const char *text,
                   int64_t *ret_ns); /* RFC 3339 or seconds since the epoch, or "10m" ago */

/* --- JSON (jansson) --- */

/* Parses (buffer, length): rejects duplicate keys, NULs, depth over 64 and length over max. New reference or NULL with err. */
json_t *ctr_json_parse(const void *bytes, size_t length, size_t max, const char *what,
                       struct ctr_error *err);
/* Typed members, with a default where absent or of another type. Borrowed. */
const char *ctr_json_str(const json_t *object, const char *key, const char *def);
int64_t ctr_json_int(const json_t *object, const char *key, int64_t def);
bool ctr_json_bool(const json_t *object, const char *key, bool def);
/* Whether an object has the member "key", or "key=value" with that text. */
bool ctr_json_has(const json_t *object, const char *text);
/* A NULL-terminated argv from an array of strings (strings borrowed, the array is the caller's to free); NULL on -ENOMEM or a
 * non-string element. A NULL or absent json gives an empty argv. */
const char **ctr_json_argv(const json_t *array);
/* Compact text, caller frees. */
char *ctr_json_text(const json_t *json);

/* --- files --- */

int ctr_mkdirs(
    const char *path, mode_t mode,
    struct ctr_error *err); /* like mkdir -p; new folders get `mode` whatever the umask */
/* Reads a whole regular file of at most max bytes (NUL appended); caller frees *ret. -EFBIG if longer. */
int ctr_read_file(const char *path, size_t max, char **ret, size_t *ret_length,
                  struct ctr_error *err);
/* Writes `path` atomically and durably: temporary file, fsync, rename, fsync of the folder. Mode 0600. */
int ctr_write_file(const char *path, const void *bytes, size_t length, struct ctr_error *err);
int ctr_write_json(const char *path, const json_t *json,
                   struct ctr_error *err); /* the same, compact JSON and a newline */
json_t *ctr_read_json(const char *path, size_t max, struct ctr_error *err);
/* fsync of a folder by path. F_FULLFSYNC on macOS. */
int ctr_sync_dir(const char *path, struct ctr_error *err);
int ctr_sync_fd(int fd);
/* Removes a tree below path, never following links; a missing one is no error. */
int ctr_remove_tree(const char *path, struct ctr_error *err);
/* Writes or reads all bytes, over short counts and EINTR; 0 or a negative code. read_all: *ret_n is what came before the end. */
int ctr_write_all(int fd, const void *bytes, size_t length);
int ctr_read_all(int fd, void *bytes, size_t length, size_t *ret_n);
int ctr_pipe(int ret_ends[2]); /* close-on-exec; 0 or a negative code */
/* Checks every component of an absolute path: owned by root or this user, not writable by others (sticky folders excepted),
 * no symbolic link owned by someone else. For plugins and sockets' folders. */
int ctr_check_trusted_path(const char *path, struct ctr_error *err);
/* Absolute path of a leading "~/" or of a relative path against `base` (NULL: the working directory). Caller frees. */
char *ctr_expand_path(const char *path, const char *base);
/* The path without its last component ("." or "/" where none is left); caller frees. */
char *ctr_parent_dir(const char *path);
/* Folder that holds bin/ of the running program ("/usr", ".../build"); caller frees. Programs find each other from it. */
char *ctr_prefix_dir(void);

/* --- unix sockets --- */

/* Listens on a path of any length (mode 0600 in a 0700 folder, a stale one is replaced; a live one: -EADDRINUSE). SOCK_STREAM,
 * CLOEXEC, blocking. fd or a negative code. */
int ctr_unix_listen(const char *path, struct ctr_error *err);
int ctr_unix_connect(const char *path, struct ctr_error *err);
/* The peer is this user or root: 0 or -EPERM. */
int ctr_unix_check_peer(int fd, struct ctr_error *err);
/* One message with up to 4 fds; and its counterpart: received fds are CLOEXEC, -1 where none came. Bytes received, 0 at the end, or a
 * negative code. */
int ctr_send_fds(int socket, const void *bytes, size_t length, const int *fds, size_t n_fds);
ssize_t ctr_recv_fds(int socket, void *bytes, size_t capacity, int fds[4]);
/* A request and its reply, one JSON text in one line each, over a blocking stream socket, at most 1 MiB; ret_fd (may be NULL) takes one
 * passed fd. timeout_ms 0: none. New reference or NULL. An {"error": {"code", "message"}} reply becomes err and NULL. */
json_t *ctr_unix_call(int socket, const json_t *request, int timeout_ms, int *ret_fd,
                      struct ctr_error *err);
/* The same with a descriptor (borrowed; -1: none) on the request's first byte. */
json_t *ctr_unix_call_with(int socket, const json_t *request, int fd, int timeout_ms,
                           int *ret_fd, struct ctr_error *err);
/* Reads one line (without its end) byte-exactly: nothing behind it is consumed. Caller frees; NULL on failure, and at the end,
 * where err is left as it was. */
char *ctr_read_line(int socket, size_t max, int *ret_fd, struct ctr_error *err);

/* --- processes --- */

/* What of our environment our own programs get: PATH, HOME and a few other harmless names, nothing that may be a secret. NULL-terminated; the array is
 * the caller's to free, its texts are borrowed. NULL: out of memory. */
const char **ctr_child_environment(void);

/* Kernel start time of a pid, for telling it from a later one with the same number; 0 if it does not exist. */
uint64_t ctr_process_start_time(pid_t pid);
/* Sends a signal only if the pid still has that start time (pidfd): 0 or -ESRCH. */
int ctr_process_signal(pid_t pid, uint64_t start_time, int signal);

/* --- address.c: IP addresses as text --- */

#define CTR_ADDRESS_TEXT 46 /* INET6_ADDRSTRLEN */
/* "10.88.0.2" <-> host byte order. */
int ctr_ipv4_parse(const char *text, uint32_t *ret);
const char *ctr_ipv4_format(uint32_t address, char ret[16]);
/* Either family; 0 or -EINVAL. */
int ctr_address_parse(const char *text, struct ctr_address *ret);
/* "" for family 0. */
const char *ctr_address_format(const struct ctr_address *address, char ret[CTR_ADDRESS_TEXT]);
uint32_t
ctr_address_ipv4(const struct ctr_address *address); /* host byte order; 0 if it is none */
/* "10.0.0.0/8", "fd00::/64", or an address alone: its whole length. Bits behind the prefix may be set. */
int ctr_prefix_parse(const char *text, struct ctr_address *ret, int *ret_prefix);
bool
ctr_prefix_has(const struct ctr_address *prefix, int length, const struct ctr_address *address);

/* --- allow.c: what may go out of a network --- */

/* HOST[:PORT], *.HOST[:PORT], CIDR[:PORT], [CIDR6]:PORT. */
struct ctr_allow {
    char host[256];             /* lower case, no dot at its end; "" if it is a prefix */
    bool below;                 /* "*.": all names below host, not host itself */
    struct ctr_address address; /* bits behind the prefix are 0 */
    int prefix;
    uint16_t port; /* 0: any */
};
int ctr_allow_parse(const char *text, struct ctr_allow *ret, struct ctr_error *err);

#endif
