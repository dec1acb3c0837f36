/*
 * mkinitramfs.c: runs at build. Writes an initramfs (cpio "newc", uncompressed: that boots fastest) without root:
 *
 *     mkinitramfs INIT LIST MODULES-FOLDER >initramfs
 *
 * It holds /init, /dev/console, /modules/NAME.ko for the names of LIST ("group name" lines) and /modules/list. Modules lose
 * their appended signatures and the sections that serve debuggers and tracers: they cost the guest milliseconds each, and
 * nothing in the guest asks for them.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX (64l * 1024 * 1024)

static unsigned inode = 1;
static const char *wanted; /* file name that find_module looks for */
static char found[4096];

static void
fail(const char *what)
{
    (void) fprintf(stderr, "mkinitramfs: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void
pad(size_t n)
{
    while (n++ % 4 != 0) {
        (void) putchar(0);
    }
}

static void
entry(const char *name, unsigned mode, const char *bytes, size_t size, unsigned major,
      unsigned minor)
{
    size_t length = strlen(name) + 1;
    (void) printf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", inode++, mode,
                  0, 0, 1, 0, (unsigned) size, 0, 0, major, minor, (unsigned) length, 0);
    (void) fwrite(name, 1, length, stdout);
    pad(110 + length);
    (void) fwrite(bytes, 1, size, stdout);
    pad(size);
}

static char *
read_file(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL || fseek(file, 0, SEEK_END) < 0) {
        fail(path);
    }
    long size = ftell(file);
    char *bytes = size < 0 || size > FILE_MAX ? NULL : malloc((size_t) size + 1);
    rewind(file);
    if (bytes == NULL || fread(bytes, 1, (size_t) size, file) != (size_t) size) {
        fail(path);
    }
    (void) fclose(file);
    bytes[size] = '\0';
    *ret_size = (size_t) size;
    return bytes;
}

/* "...<signature><12 bytes, the last 4 its length>~Module signature appended~\n" */
static size_t
without_signature(const char *bytes, size_t size)
{
    static const char magic[] = "~Module signature appended~\n";
    size_t tail = sizeof magic - 1;
    if (size < tail + 12 || memcmp(bytes + size - tail, magic, tail) != 0) {
        return size;
    }
    const unsigned char *length = (const unsigned char *) bytes + size - tail - 4;
    size_t signature = (size_t) length[0] << 24 | (size_t) length[1] << 16 |
                       (size_t) length[2] << 8 | length[3];
    return signature + tail + 12 < size ? size - tail - 12 - signature : size;
}

/* Of these a module works without: types and stack unwinding for tracers, build numbers, and the lists by which the kernel would
 * rewrite each return and indirect jump in place; unwritten they go through the kernel's own thunks, which are as safe. */
static bool
is_idle(const char *name)
{
    static const char *const idle[] = {
        ".BTF",          ".orc_unwind",      ".orc_unwind_ip",
        ".return_sites", ".retpoline_sites", ".note.gnu.build-id",
        ".note.Linux"};
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++) {
        if (strcmp(name, idle[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Takes name, flags and type from the headers of idle sections: the kernel then neither loads nor finds nor relocates them. */
static void
hide_idle_sections(char *bytes, size_t size)
{
    Elf64_Ehdr *header = (Elf64_Ehdr *) bytes;
    if (size < sizeof *header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_shoff > size ||
        (size - header->e_shoff) / sizeof(Elf64_Shdr) < header->e_shnum ||
        header->e_shstrndx >= header->e_shnum) {
        return;
    }
    Elf64_Shdr *sections = (Elf64_Shdr *) (bytes + header->e_shoff);
    const Elf64_Shdr *names = &sections[header->e_shstrndx];
    for (unsigned i = 1; i < header->e_shnum; i++) {
        size_t name = names->sh_offset + sections[i].sh_name;
        if (name < size && is_idle(bytes + name)) {
            sections[i].sh_name = 0;
            sections[i].sh_type = SHT_NULL;
            sections[i].sh_flags = 0;
        }
    }
}

static int
look(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    if (type == FTW_F && strcmp(path + ftw->base, wanted) == 0) {
        (void) snprintf(found, sizeof found, "%s", path);
        return 1;
    }
    return 0;
}

static void
add_module(const char *name, const char *folder)
{
    char file[128], target[160];
    size_t size;
    (void) snprintf(file, sizeof file, "%s.ko", name);
    wanted = file;
    if (nftw(folder, look, 16, FTW_PHYS) != 1) {
        return;
    }
    char *bytes = read_file(found, &size);
    hide_idle_sections(bytes, size);
    (void) snprintf(target, sizeof target, "modules/%s", file);
    entry(target, S_IFREG | 0644, bytes, without_signature(bytes, size), 0, 0);
    free(bytes);
}

int
main(int argc, char **argv)
{
    size_t size;
    if (argc != 4) {
        (void) fprintf(stderr, "usage: mkinitramfs INIT LIST MODULES-FOLDER >initramfs\n");
        return 2;
    }
    entry("dev", S_IFDIR | 0755, "", 0, 0, 0);
    entry("dev/console", S_IFCHR | 0600, "", 0, 5, 1);
    entry("modules", S_IFDIR | 0755, "", 0, 0, 0);
    char *list = read_file(argv[2], &size);
    entry("modules/list", S_IFREG | 0644, list, size, 0, 0);
    char *rest = list, *line;
    while ((line = strsep(&rest, "\n")) != NULL) {
        char group[32], name[64];
        if (line[0] != '#' && sscanf(line, "%31s %63s", group, name) == 2) {
            add_module(name, argv[3]);
        }
    }
    free(list);
    char *init = read_file(argv[1], &size);
    entry("init", S_IFREG | 0755, init, size, 0, 0);
    free(init);
    entry("TRAILER!!!", 0, "", 0, 0, 0);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fail("write");
    }
    return 0;
}
