$(eval $(call ctr-plugin,net-none,none.c,,,))
