/*
 * core/image, inside: saving. First it is settled what is written (save-plan.c): the documents' tree of each image, and index.json and docker's manifest.json for them.
 * Then the blobs go out, each hashed on its way, into a tar (save-archive.c) or a folder (save-folder.c).
 */
#ifndef CTR_IMAGE_SAVE_H
#define CTR_IMAGE_SAVE_H

#include "core/image/stream.h"

#define SAVE_REF_NAME "org.opencontainers.image.ref.name"
#define SAVE_IMAGE_NAME "io.containerd.image.name"
#define SAVE_LAYOUT "{\"imageLayoutVersion\":\"1.0.0\"}"

struct save {
    struct image_op op; /* its lease holds all that `blobs` names */
    json_t *index;      /* index.json */
    json_t *docker;     /* manifest.json */
    json_t *blobs;      /* {digest: true} in the order in which they are written */
    json_t *whole;      /* {digest: true} of documents below which nothing is missing */
};

/* Adds what a text names to the plan. */
int save_plan(struct save *save, const char *text, const char *platform, struct ctr_error *err);

int save_archive(struct save *save, int fd, bool docker, struct ctr_error *err);
/* Locks the folder, as long as its descriptor is open or until save_folder, and reads the index of the layout that it has, if any; before anything is
 * planned. */
int save_folder_begin(struct save *save, int folder, struct ctr_error *err);
int save_folder(struct save *save, int folder, struct ctr_error *err);

#endif
