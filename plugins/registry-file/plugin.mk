$(eval $(call ctr-plugin,registry-file,file.c auths.c,jansson))
