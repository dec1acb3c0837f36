$(eval $(call ctr-plugin,registry-odd,odd.c,,,tests/plugins))
