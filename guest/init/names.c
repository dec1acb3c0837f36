/* names.c: /etc/hosts, /etc/hostname and /etc/resolv.conf, written where the image cannot reach. */
#include "vm.h"
#include <fcntl.h>
#include <stdio.h>
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
write_resolver(FILE *file, const json_t *network)
{
    size_t i;
    const json_t *item;
    const json_t *search = json_object_get(network, "search");
    json_array_foreach(json_object_get(network, "dns"), i, item)
    {
        const char *address = word_of(item);
        if (address != NULL) {
            (void) fprintf(file, "nameserver %s\n", address);
        }
    }
    for (i = 0; i < json_array_size(search); i++) {
        const char *domain = word_of(json_array_get(search, i));
        if (domain != NULL) {
            (void) fprintf(file, "%s %s", i == 0 ? "search" : "", domain);
        }
    }
    if (json_array_size(search) > 0) {
        (void) fputc('\n', file);
    }
}

static FILE *
create(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return fd < 0 ? NULL : fdopen(fd, "w");
}

int
names_write(const json_t *boot, struct fault *fault)
{
    const json_t *network = json_object_get(boot, "network");
    const char *hostname = word_of(json_object_get(boot, "hostname"));
    if (hostname == NULL || strlen(hostname) > 63) {
        return fault_set(fault, "EINVAL",
                         "the hostname is empty, longer than 63 characters or has blanks");
    }
    if (vm_mkdir(VM_ETC) < 0 ||
        mount("tmpfs", VM_ETC, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=1m,mode=755") <
            0 ||
        sethostname(hostname, strlen(hostname)) < 0) {
        return fault_errno(fault, "EIO", "set the names");
    }
    FILE *hosts = create(VM_ETC "/hosts"), *name = create(VM_ETC "/hostname"),
         *resolver = create(VM_ETC "/resolv.conf");
    if (hosts == NULL || name == NULL || resolver == NULL) {
        return fault_errno(fault, "EIO", "write /etc/hosts, hostname and resolv.conf");
    }
    write_hosts(hosts, json_object_get(network, "hosts"));
    (void) fprintf(name, "%s\n", hostname);
    write_resolver(resolver, network);
    if (fclose(hosts) != 0 || fclose(name) != 0 || fclose(resolver) != 0) {
        return fault_errno(fault, "EIO", "write /etc/hosts, hostname and resolv.conf");
    }
    return 0;
}
