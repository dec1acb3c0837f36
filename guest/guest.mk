# the guest: ctr-init (one static program per architecture), its initramfs, and the kernel.
#
#   make kernel-fetch   downloads Debian's cloud kernel into $(BUILD)/guest, for each of GUEST_ARCHES; nothing is installed
#   make guest          builds $(BUILD)/share/ctr/guest/ARCH/{ctr-init,vmlinux,initramfs}; without a kernel ctr-init alone
#   GUEST_ARCHES="amd64 arm64"   default: the host's, and the other one if its cross compiler is there

GUEST_HOST := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,amd64)
GUEST_CROSS_amd64 := x86_64-linux-gnu-gcc
GUEST_CROSS_arm64 := aarch64-linux-gnu-gcc
GUEST_CC_amd64 := $(if $(filter amd64,$(GUEST_HOST)),$(CC),$(GUEST_CROSS_amd64))
GUEST_CC_arm64 := $(if $(filter arm64,$(GUEST_HOST)),$(CC),$(GUEST_CROSS_arm64))
GUEST_ARCHES ?= $(strip $(foreach a,amd64 arm64,$(if $(or $(filter $(GUEST_HOST),$a),$(shell command -v $(GUEST_CROSS_$a))),$a)))
GUEST_DIR := $(BUILD)/guest
GUEST_SHARE := $(BUILD)/share/ctr/guest

INIT_COMMON := main control process pump spec netspec child users mux loop buf fault
INIT_VM := $(INIT_COMMON) root-vm modules mountopt disks names net netlink cgroup layout confine
INIT_FAKE := $(INIT_COMMON) root-fake
INIT_FLAGS = -std=gnu11 -O2 -g $(WARN) -fstack-protector-strong -D_FORTIFY_SOURCE=2 -I. -D_GNU_SOURCE -DCTR_VERSION='"$(VERSION)"'

# Programs that run at build.
$(GUEST_DIR)/seccomp-gen: guest/init/seccomp-gen.c guest/init/seccomp-list.h
	@mkdir -p $(@D)
	$(say)$(CC) -std=gnu11 -O1 $(WARN) -o $@ $< -lseccomp
$(GUEST_DIR)/mkinitramfs: guest/kernel/mkinitramfs.c
	@mkdir -p $(@D)
	$(say)$(CC) -std=gnu11 -O1 $(WARN) -o $@ $<

# ctr-init for $(1). jansson is the host's, or for another architecture what kernel-fetch brought.
define guest_arch
$(GUEST_DIR)/$(1)/seccomp-filter.h: $(GUEST_DIR)/seccomp-gen
	@mkdir -p $$(@D)
	$$(say)$$< $(1) >$$@
$(GUEST_DIR)/$(1)/confine.o: $(GUEST_DIR)/$(1)/seccomp-filter.h
$(GUEST_DIR)/$(1)/%.o: guest/init/%.c
	@mkdir -p $$(@D)
	$$(say)$$(GUEST_CC_$(1)) $$(INIT_FLAGS) -I$(GUEST_DIR)/$(1) $(if $(filter-out $(GUEST_HOST),$(1)),-isystem $(GUEST_DIR)/jansson-$(1)) -MMD -MP -c -o $$@ $$<
$(GUEST_SHARE)/$(1)/ctr-init: $(INIT_VM:%=$(GUEST_DIR)/$(1)/%.o)
	@mkdir -p $$(@D)
	$$(say)$$(GUEST_CC_$(1)) -static -s -o $$@ $$^ $(if $(filter-out $(GUEST_HOST),$(1)),$(wildcard $(GUEST_DIR)/sysroot-$(1)/usr/lib/*/libjansson.a),$$(GUEST_JANSSON))
$(GUEST_SHARE)/$(1)/initramfs: $(GUEST_SHARE)/$(1)/ctr-init $(GUEST_DIR)/mkinitramfs guest/kernel/modules $(GUEST_DIR)/kernel-$(1)
	$$(say)$(GUEST_DIR)/mkinitramfs $$< guest/kernel/modules $(GUEST_DIR)/kernel-$(1)/lib/modules >$$@
$(if $(filter-out $(GUEST_HOST),$(1)),$(INIT_VM:%=$(GUEST_DIR)/$(1)/%.o): $(GUEST_DIR)/jansson-$(1)/jansson.h)
$(GUEST_DIR)/jansson-$(1)/jansson.h: $(wildcard $(GUEST_DIR)/sysroot-$(1)/usr/include/jansson.h)
	@mkdir -p $$(@D)
	@cp $(GUEST_DIR)/sysroot-$(1)/usr/include/jansson*.h $$(@D)
-include $(wildcard $(GUEST_DIR)/$(1)/*.d)
endef
$(foreach a,amd64 arm64,$(eval $(call guest_arch,$a)))
GUEST_JANSSON := -ljansson

$(GUEST_SHARE)/amd64/vmlinux: $(GUEST_DIR)/kernel-amd64 guest/kernel/extract-vmlinux
	@mkdir -p $(@D)
	$(say)guest/kernel/extract-vmlinux $</boot/vmlinuz-* $@
$(GUEST_SHARE)/arm64/vmlinux: $(GUEST_DIR)/kernel-arm64
	@mkdir -p $(@D)
	$(say)cp $</boot/vmlinuz-* $@

# What can be built with what has been fetched.
guest_kernel = $(wildcard $(GUEST_DIR)/kernel-$(1)/boot)
guest_jansson = $(or $(filter $(GUEST_HOST),$(1)),$(wildcard $(GUEST_DIR)/sysroot-$(1)/usr))
.PHONY: guest kernel-fetch guest-missing
guest: $(foreach a,$(GUEST_ARCHES),$(if $(call guest_jansson,$a),$(GUEST_SHARE)/$a/ctr-init) \
         $(if $(and $(call guest_kernel,$a),$(call guest_jansson,$a)),$(GUEST_SHARE)/$a/initramfs $(GUEST_SHARE)/$a/vmlinux)) guest-missing
guest-missing:
	@$(foreach a,$(GUEST_ARCHES),$(if $(and $(call guest_kernel,$a),$(call guest_jansson,$a)),,echo 'no kernel for $a yet: "make kernel-fetch" downloads it';)) :
kernel-fetch:
	guest/kernel/fetch $(GUEST_DIR) $(GUEST_ARCHES)
	$(MAKE) guest

# ctr-init-fake: the same guest without a machine, for tests. Instrumented like the rest of the build.
INIT_FAKE_OBJECTS := $(INIT_FAKE:%=$(BUILD)/obj/guest/init/%.o)
$(BUILD)/tests/bin/ctr-init-fake: $(INIT_FAKE_OBJECTS)
	@mkdir -p $(@D)
	$(say)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(call pkg,jansson)
test-programs: $(BUILD)/tests/bin/ctr-init-fake

# fuzz-boot runs what ctr-init parses.
FUZZ_BOOT_OBJECTS := $(patsubst %,$(BUILD)/obj/guest/init/%.o,control mux loop buf fault spec netspec users mountopt)
$(BUILD)/tests/fuzz/fuzz-boot: $(FUZZ_BOOT_OBJECTS)
FUZZ_LIBS_fuzz-boot := $(FUZZ_BOOT_OBJECTS)
