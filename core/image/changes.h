/* core/image, inside: Dockerfile lines applied to an image's configuration. */
#ifndef CTR_IMAGE_CHANGES_H
#define CTR_IMAGE_CHANGES_H

#include "core/image/image-priv.h"

/* Applies one line (CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, WORKDIR, STOPSIGNAL) to a config's "config" object. An empty line and a comment do
 * nothing; -EINVAL names the line and what is wrong with it. */
int changes_apply(json_t *process, const char *line, struct ctr_error *err);

#endif
