/* names.c: /etc/hosts, /etc/hostname and /etc/resolv.conf, written where the image cannot reach. */
#include "vm.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

/* A word of a line: no blanks, no control characters, not empty. */
static const char *
word_of(const json_t *json)
{
    const char *text = json_string_value(json);
    if (text == NULL || *text == '\0' || strlen(text) > 255) {
        return NULL;
    }
    for (const char *p = text; *p != '\0'; p++) {
        if ((unsigned char) *p <= 0x20 || *p == 0x7f || *p == '#') {
            return NULL;
        }
    }
    return text;
}

static void
write_hosts(FILE *file, const json_t *hosts)
{
    size_t i, j;
    const json_t *host, *name;
    (void) fputs("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
                 "fe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\n"
                 "ff02::2\tip6-allrouters\n",
                 file);
    json_array_foreach(hosts, i, host)
    {
        const char *address = word_of(json_object_get(host, "address"));
        if (address == NULL) {
            continue;
        }
        (void) fputs(address, file);
        json_array_foreach(json_object_get(host, "names"), j, name)
        {
            const char *text = word_of(name);
            if (text != NULL) {
                (void) fprintf(file, "%c%s", j == 0 ? '\t' : ' ', text);
            }
        }
        (void) fputc('\n', file);
    }
}

static void
write_words(FILE *file, const char *key, const json_t *words)
{
    size_t i;
    const json_t *item;
    bool any = false;
    json_array_foreach(words, i, item)
    {
        const char *word = word_of(item);
        if (word != NULL) {
            (void) fprintf(file, "%s %s", any ? "" : key, word);
            any = true;
        }
    }
    if (any) {
        (void) fputc('\n', file);
    }
}

static void
write_resolver(FILE *file, const json_t *network)
{
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(network, "dns"), i, item)
    {
        const char *address = word_of(item);
        if (address != NULL) {
            (void) fprintf(file, "nameserver %s\n", address);
        }
    }
    write_words(file, "search", json_object_get(network, "search"));
    write_words(file, "options", json_object_get(network, "options"));
}

/* Over what is there, and never empty in between: whoever has the file mounted or open sees the change. */
static int
put(const char *path, const char *text, size_t length)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    size_t at = 0;
    ssize_t n = 0;
    while (fd >= 0 && at < length && (n = write(fd, text + at, length - at)) >= 0) {
        at += (size_t) n;
    }
    int result = fd < 0 || n < 0 || ftruncate(fd, (off_t) length) < 0 ? -1 : 0;
    if (fd >= 0) {
        (void) close(fd);
    }
    return result;
}

static int
put_lines(const char *path, void (*write_lines)(FILE *file, const json_t *json),
          const json_t *json, struct fault *fault)
{
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);
    if (file != NULL) {
        write_lines(file, json);
    }
    bool good = file != NULL && fclose(file) == 0 && put(path, text, length) == 0;
    free(text);
    return good ? 0 : fault_errno(fault, "EIO", "write %s", path);
}

int
names_update(const json_t *network, struct fault *fault)
{
    return put_lines(VM_ETC "/hosts", write_hosts, json_object_get(network, "hosts"), fault) <
                       0 ||
                   put_lines(VM_ETC "/resolv.conf", write_resolver, network, fault) < 0
               ? -1
               : 0;
}

static void
write_hostname(FILE *file, const json_t *hostname)
{
    (void) fprintf(file, "%s\n", json_string_value(hostname));
}

int
names_write(const json_t *boot, struct fault *fault)
{
    const char *hostname = word_of(json_object_get(boot, "hostname"));
    if (hostname == NULL || strlen(hostname) > 63) {
        return fault_set(fault, "EINVAL",
                         "the hostname is empty, longer than 63 characters or has blanks");
    }
    if (vm_mkdir(VM_ETC) < 0 ||
        mount("tmpfs", VM_ETC, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4m,mode=755") <
            0 ||
        sethostname(hostname, strlen(hostname)) < 0) {
        return fault_errno(fault, "EIO", "set the names");
    }
    if (put_lines(VM_ETC "/hostname", write_hostname, json_object_get(boot, "hostname"),
                  fault) < 0) {
        return -1;
    }
    return names_update(json_object_get(boot, "network"), fault);
}
