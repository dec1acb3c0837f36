# ctr: one non-recursive Makefile. `make help` lists what it can do.
#
#   BUILD=DIR        where everything goes (default build/)
#   DEVELOPER=1      -Werror
#   SANITIZE=a,b     e.g. address,undefined
#   CC=clang         the other compiler
#   PREFIX= DESTDIR= for install
#   V=1              show whole commands

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0
comma := ,

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/sh

ifdef V
say =
else
say = @echo '  $@';
endif

PKG_CONFIG ?= pkg-config
WARN := -Wall -Wextra -Wmissing-prototypes -Wstrict-prototypes -Wshadow -Wpointer-arith -Wvla -Wwrite-strings \
        -Wno-unused-parameter -Wno-missing-field-initializers
ifdef DEVELOPER
WARN += -Werror
endif
ifdef SANITIZE
SAN := -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT ?= -O1 -g
else
OPT ?= -O2 -g
HARDEN := -D_FORTIFY_SOURCE=2 -fstack-protector-strong
endif
CPPFLAGS_ALL = -I. -Isdk/include -D_GNU_SOURCE -DCTR_VERSION='"$(VERSION)"' $(CPPFLAGS)
CFLAGS_ALL = -std=gnu11 $(OPT) -fPIC -fvisibility=hidden -pthread $(WARN) $(SAN) $(HARDEN) $(CFLAGS)
LDFLAGS_ALL = -pthread $(SAN) -Wl,-z,relro $(LDFLAGS)

# The first make on a bare machine may lack pkg-config or libraries: `make deps` brings them.
pkg = $(shell $(PKG_CONFIG) --libs $(1) 2>/dev/null)
pkgc = $(shell $(PKG_CONFIG) --cflags $(1) 2>/dev/null)

# ISA-L inflates gzip layers where it is there, zlib else (core/image).
isal = $(shell $(PKG_CONFIG) --exists libisal 2>/dev/null && echo libisal)
$(BUILD)/obj/core/image/%.o: EXTRA_CPPFLAGS = $(if $(isal),-DCTR_HAVE_ISAL)

ROOMS := base conf loop plugin registry store image guest dns carrier sandbox net engine api
MAINS := ctrd ctr-sandbox ctr-net
room_sources = $(wildcard core/$(1)/*.c)
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
lib = $(foreach r,$(1),$(BUILD)/lib/libctr-$(r).a)

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(say)$(CC) $(CPPFLAGS_ALL) $(EXTRA_CPPFLAGS) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

define room_rule
$(BUILD)/lib/libctr-$(1).a: $(call obj,$(call room_sources,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(say)$(AR) rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$(r))))

# ---- programs: each links only what it uses ----
CTRCTL_SOURCES := $(filter-out $(MAINS:%=core/cmd/%.c),$(wildcard core/cmd/*.c))
LIBS_ctrctl := $(call lib,net conf base)
LIBS_ctrd := $(call lib,api engine image registry sandbox net store plugin conf loop base)
LIBS_ctr-sandbox := $(call lib,sandbox guest plugin conf loop base)
LIBS_ctr-net := $(call lib,carrier dns plugin conf loop base)
PKGS_ctrctl := jansson inih
PKGS_ctrd = jansson inih libuv libcurl libarchive libmicrohttpd sqlite3 libcrypto zlib libzstd $(isal)
PKGS_ctr-sandbox := jansson inih libuv
PKGS_ctr-net := jansson inih libuv ldns libcrypto
LTDL_ctrd := -lltdl
LTDL_ctr-sandbox := -lltdl
LTDL_ctr-net := -lltdl

PROGRAMS := $(addprefix $(BUILD)/bin/,ctrctl $(MAINS))
$(BUILD)/bin/ctrctl: $(call obj,$(CTRCTL_SOURCES))
$(foreach m,$(MAINS),$(eval $(BUILD)/bin/$(m): $(call obj,core/cmd/$(m).c)))
define program_rule
$(BUILD)/bin/$(1): $(LIBS_$(1))
	@mkdir -p $$(@D)
	$$(say)$(CC) $$(LDFLAGS_ALL) -Wl,-z,now -Wl,--as-needed -o $$@ $$(filter %.o,$$^) -Wl,--start-group $(LIBS_$(1)) -Wl,--end-group \
	  $$(call pkg,$(PKGS_$(1))) $(LTDL_$(1)) -ldl -lm
endef
$(foreach p,ctrctl $(MAINS),$(eval $(call program_rule,$(p))))

# ---- SDK ----
SDK_LIB := $(BUILD)/lib/libctr-layer.a
EXT4_LIB := $(BUILD)/lib/libctr-ext4.a
COMMAND_LIB := $(BUILD)/lib/libctr-command.a
SDK_LIBS := $(SDK_LIB) $(EXT4_LIB) $(COMMAND_LIB)
$(SDK_LIB): $(call obj,$(wildcard sdk/lib/*.c))
$(EXT4_LIB): $(call obj,$(wildcard sdk/ext4/*.c))
$(COMMAND_LIB): $(call obj,$(wildcard sdk/command/*.c))
$(call obj,$(wildcard sdk/ext4/*.c)): EXTRA_CPPFLAGS = $(call pkgc,ext2fs com_err)
$(SDK_LIBS):
	@mkdir -p $(@D)
	@rm -f $@
	$(say)$(AR) rcs $@ $^

# ---- plugins: $(eval $(call ctr-plugin,KIND-NAME,SOURCES,PKG-CONFIG MODULES,SDK libraries: layer ext4 command,OUTPUT FOLDER or nothing)) ----
# SOURCES are relative to the plugin's folder; one of another plugin's (../net-switch/x.c) is compiled once.
PLUGINS :=
sources = $(patsubst $(CURDIR)/%,%,$(abspath $(addprefix $(here),$(1))))
define ctr-plugin
ifeq ($$(if $(strip $(3)),$$(shell $$(PKG_CONFIG) --exists $(3) 2>/dev/null && echo yes),yes),yes)
PLUGINS += $(BUILD)/$(or $(5),lib/ctr/plugins)/$(1).so
$(BUILD)/$(or $(5),lib/ctr/plugins)/$(1).so: $(call obj,$(call sources,$(2))) $(patsubst %,$(BUILD)/lib/libctr-%.a,$(4))
	@mkdir -p $$(@D)
	$$(say)$$(CC) -shared $$(LDFLAGS_ALL) $$(if $$(SAN),,-Wl,-z,defs) -Wl,-z,now -Wl,--exclude-libs,ALL -o $$@ $$(filter %.o,$$^) $(patsubst %,$(BUILD)/lib/libctr-%.a,$(4)) \
	  $$(if $(strip $(3)$(4)),$$(call pkg,$(3) $(if $(filter layer ext4,$(4)),libarchive))) $(6)
$(call obj,$(call sources,$(2))): EXTRA_CPPFLAGS := $$(if $(strip $(3)),$$(call pkgc,$(3)))
else
$$(if $$(filter quickstart test deps help,$$(MAKECMDGOALS)),,$$(info plugin $(1): skipped, needs the packages: $(3)))
endif
endef
here = $(dir $(lastword $(MAKEFILE_LIST)))
include $(wildcard plugins/*/plugin.mk)

# ---- configuration ----
CONF := $(patsubst conf/%,$(BUILD)/etc/ctr/%,$(wildcard conf/*.ini))
$(BUILD)/etc/ctr/%: conf/%
	@mkdir -p $(@D)
	cp $< $@

include sdk/sdk.mk
include guest/guest.mk
include tests/tests.mk

.PHONY: all
all: $(PROGRAMS) $(filter $(BUILD)/lib/%,$(PLUGINS)) $(CONF) $(CONFORM) guest

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

# ---- what a newcomer types ----
.PHONY: quickstart deps install help
quickstart:
	MAKE="$(MAKE)" BUILD="$(BUILD)" tools/quickstart
deps:
	tools/install-deps build run

GUEST_FILES = $(wildcard $(BUILD)/share/ctr/guest/*/*)
install: all
	install -d -m 755 $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/ctr/plugins $(DESTDIR)$(PREFIX)/lib/pkgconfig \
	  $(DESTDIR)$(PREFIX)/include/ctr $(DESTDIR)$(PREFIX)/etc/ctr $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 $(PROGRAMS) $(CONFORM) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(filter $(BUILD)/lib/ctr/%,$(PLUGINS)) $(DESTDIR)$(PREFIX)/lib/ctr/plugins
	install -m 644 $(SDK_LIBS) $(DESTDIR)$(PREFIX)/lib
	install -d -m 755 $(DESTDIR)$(PREFIX)/share/ctr/template
	install -m 644 $(filter-out %.so,$(wildcard sdk/template/*)) $(DESTDIR)$(PREFIX)/share/ctr/template
	for example in $(notdir $(wildcard sdk/examples/*)); do to=$(DESTDIR)$(PREFIX)/share/ctr/examples/$$example; \
	  install -d -m 755 $$to; for file in $$(git -C sdk/examples/$$example ls-files 2>/dev/null || ls sdk/examples/$$example); do \
	  mode=644; [ -x sdk/examples/$$example/$$file ] && mode=755; install -m $$mode sdk/examples/$$example/$$file $$to; done; done
	install -m 644 $(wildcard sdk/include/ctr/*.h) $(DESTDIR)$(PREFIX)/include/ctr
	install -m 644 $(CONF) $(DESTDIR)$(PREFIX)/etc/ctr
	sed -e 's,@PREFIX@,$(PREFIX),g' -e 's,@VERSION@,$(VERSION),g' sdk/ctr-sdk.pc.in >$(DESTDIR)$(PREFIX)/lib/pkgconfig/ctr-sdk.pc
	for page in $(wildcard man/*.[1-8]); do section=$${page##*.}; \
	  install -d -m 755 $(DESTDIR)$(PREFIX)/share/man/man$$section; \
	  install -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$$section; done
	for file in $(patsubst $(BUILD)/%,%,$(GUEST_FILES)); do \
	  install -d -m 755 $(DESTDIR)$(PREFIX)/$${file%/*}; install -m 644 $(BUILD)/$$file $(DESTDIR)$(PREFIX)/$$file; done

help:
	@echo 'make quickstart   install what is needed, build, fetch a kernel, run a container'
	@echo 'make              build programs, plugins and the guest into $(BUILD)/'
	@echo 'make test         install what the tests need and run all of them'
	@echo 'make check        all tests and checks; check-{style,unit,conform,cli,vm,hostile,fuzz,asan,clang,valgrind}'
	@echo 'make bench        figures as ratios against named peers; also bench-pull, bench-net, bench-dns'
	@echo 'make kernel-fetch the Debian cloud kernel package, unpacked into $(BUILD)/'
	@echo 'make install      PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)'
	@echo 'make format, make deps'
