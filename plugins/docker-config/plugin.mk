# No plugin of its own: docker's config.json, for registry-file and registry-helper.
DOCKER_CONFIG := $(call obj,$(here)config.c)
$(DOCKER_CONFIG): EXTRA_CPPFLAGS := $(call pkgc,jansson)
