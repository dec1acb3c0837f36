$(eval $(call ctr-plugin,vmm-qemu,qemu.c probe.c command.c disk.c vmdk.c vm.c qmp.c console.c,jansson))

VMDK_OBJECT := $(call obj,$(here)vmdk.c)
$(BUILD)/tests/fuzz/fuzz-vmdk: $(VMDK_OBJECT)
FUZZ_LIBS_fuzz-vmdk = $(VMDK_OBJECT)
