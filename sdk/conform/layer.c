/*
 * Small layers for the storage checks, written as ustar by hand into a pipe.
 */
#include "sdk/conform/conform.h"
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { BLOCK = 512 };

static void
entry(int fd, const char *name, char type, unsigned mode, const char *content, const char *link)
{
    char header[BLOCK] = {0};
    unsigned size = content != NULL ? (unsigned) strlen(content) % BLOCK : 0;
    snprintf(header, 100, "%s", name);
    snprintf(header + 100, 8, "%07o", mode);
    snprintf(header + 108, 8, "%07o", 1000u);
    snprintf(header + 116, 8, "%07o", 1000u);
    snprintf(header + 124, 12, "%011o", size);
    snprintf(header + 136, 12, "%011o", 1700000000u);
    memset(header + 148, ' ', 8);
    header[156] = type;
    snprintf(header + 157, 100, "%s", link != NULL ? link : "");
    memcpy(header + 257, "ustar\00000", 8);
    unsigned sum = 0;
    for (int i = 0; i < BLOCK; i++) {
        sum += (unsigned char) header[i];
    }
    snprintf(header + 148, 8, "%06o", sum);
    ssize_t n = write(fd, header, sizeof header);
    char block[BLOCK] = {0};
    if (size > 0) {
        memcpy(block, content, size);
        n += write(fd, block, sizeof block);
    }
    (void) n; /* a pipe holds all of it; a short write shows as a failed check */
}

int
conform_layer(const char *kind, int cut)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return -1;
    }
    if (strcmp(kind, "base") == 0) {
        entry(fds[1], "./", '5', 0755, NULL, NULL);
        entry(fds[1], "bin/", '5', 0755, NULL, NULL);
        entry(fds[1], "bin/true", '0', 0755, "#!/bin/true\n", NULL);
        entry(fds[1], "bin/link", '2', 0777, NULL, "true");
        entry(fds[1], "bin/hard", '1', 0755, NULL, "bin/true");
        entry(fds[1], "etc/deep/file", '0', 0640, "parents are missing\n", NULL);
    } else if (strcmp(kind, "upper") == 0) {
        entry(fds[1], "bin/.wh.hard", '0', 0644, NULL, NULL);
        entry(fds[1], "etc/", '5', 0700, NULL, NULL);
        entry(fds[1], "etc/.wh..wh..opq", '0', 0644, NULL, NULL);
        entry(fds[1], "etc/new", '0', 0644, "new\n", NULL);
    } else if (strcmp(kind, "escape") == 0) {
        entry(fds[1], "../../../../tmp/ctr-conform-escaped", '0', 0644, "out\n", NULL);
    } else if (strcmp(kind, "through-link") == 0) {
        entry(fds[1], "out", '2', 0777, NULL, "/tmp");
        entry(fds[1], "out/ctr-conform-escaped", '0', 0644, "out\n", NULL);
    }
    char zeros[2 * BLOCK] = {0};
    ssize_t n = cut ? write(fds[1], "cut in a header", 15) : write(fds[1], zeros, sizeof zeros);
    (void) n;
    close(fds[1]);
    return fds[0];
}
