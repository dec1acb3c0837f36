/*
 * sdk/conform: the conformance kit, `ctr-conform PLUGIN.so [FILE.ini]`.
 *
 * It loads one plugin against a host of its own and calls it as the core would, and as a hasty core would by mistake. It uses nothing of
 * ctr but <ctr/…>, so that a plugin's author needs only the SDK. Each check prints a line; the last says "N passed, N failed".
 */
#ifndef CTR_CONFORM_H
#define CTR_CONFORM_H

#include <ctr/net.h>
#include <ctr/plugin.h>
#include <ctr/registry.h>
#include <ctr/storage.h>
#include <ctr/vmm.h>

struct conform {
    const struct ctr_plugin *plugin;
    const char *ini;  /* options file or NULL */
    const char *work; /* a scratch folder */
    int passed, failed;
    const char *secret; /* text that must not get into the log, or NULL */
    int leaks;          /* how often it did */
};

/* Counts and prints one check; returns ok. */
int conform_check(struct conform *kit, int ok, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A host for one instance, with options from the [options] of kit->ini. `slot` names its folders. NULL after an error that was printed. */
struct ctr_host *conform_host_create(struct conform *kit, const char *slot, int has_loop);
void conform_host_destroy(struct ctr_host *host); /* takes NULL */
/* Runs the host's loop until done(arg) is true or `ms` have passed; 1 if it became true. */
int conform_host_run(struct ctr_host *host, int (*done)(void *arg), void *arg, int ms);

/* A value from the [conform] section of kit->ini: what the plugin under test is known to do. ret[1024]; `def` where it is absent. */
const char *
conform_setting(const struct conform *kit, const char *name, const char *def, char *ret);

void conform_storage(struct conform *kit);
void conform_registry(struct conform *kit);
void conform_net(struct conform *kit);
void conform_vmm(struct conform *kit);

/* Writes a small tar stream into a pipe and returns its read end. `cut`: it ends in the middle of a file. */
int conform_layer(const char *kind, int cut);

#endif
