$(eval $(call ctr-plugin,vmm-fake,fake.c,,,tests/plugins))
