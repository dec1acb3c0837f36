$(eval $(call ctr-plugin,storage-mem,mem.c,,layer,tests/plugins))
