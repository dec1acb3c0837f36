/* mountopt.c: mount(8)'s words to mount(2)'s flags. */
#include "vm.h"
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

static const struct {
    const char *word;
    unsigned long set, clear;
} words[] = {
    {"defaults", 0, 0},
    {"ro", MS_RDONLY, 0},
    {"rw", 0, MS_RDONLY},
    {"nosuid", MS_NOSUID, 0},
    {"suid", 0, MS_NOSUID},
    {"nodev", MS_NODEV, 0},
    {"dev", 0, MS_NODEV},
    {"noexec", MS_NOEXEC, 0},
    {"exec", 0, MS_NOEXEC},
    {"sync", MS_SYNCHRONOUS, 0},
    {"async", 0, MS_SYNCHRONOUS},
    {"noatime", MS_NOATIME, MS_RELATIME},
    {"atime", 0, MS_NOATIME},
    {"relatime", MS_RELATIME, MS_NOATIME},
    {"norelatime", 0, MS_RELATIME},
    {"strictatime", MS_STRICTATIME, MS_NOATIME | MS_RELATIME},
    {"nodiratime", MS_NODIRATIME, 0},
};

int
mount_flags(const char *options, unsigned long *flags, char *data, size_t data_size)
{
    size_t used = 0;
    data[0] = '\0';
    while (*options != '\0') {
        size_t n = strcspn(options, ","), i = 0;
        while (i < sizeof words / sizeof *words &&
               (strlen(words[i].word) != n || strncmp(words[i].word, options, n) != 0)) {
            i++;
        }
        if (i < sizeof words / sizeof *words) {
            *flags = (*flags | words[i].set) & ~words[i].clear;
        } else if (n > 0) {
            int length = snprintf(data + used, data_size - used, "%s%.*s", used > 0 ? "," : "",
                                  (int) n, options);
            if (length < 0 || (size_t) length >= data_size - used) {
                return -1;
            }
            used += (size_t) length;
        }
        options += n + (options[n] == ',' ? 1 : 0);
    }
    return 0;
}
