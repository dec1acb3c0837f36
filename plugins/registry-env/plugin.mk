$(eval $(call ctr-plugin,registry-env,env.c,,,))
