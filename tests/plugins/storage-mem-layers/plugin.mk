$(eval $(call ctr-plugin,storage-mem-layers,layers.c,,layer,tests/plugins))
