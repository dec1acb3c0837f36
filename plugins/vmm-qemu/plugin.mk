$(eval $(call ctr-plugin,vmm-qemu,qemu.c probe.c command.c vm.c qmp.c console.c,jansson))
