$(eval $(call ctr-plugin,registry-file,file.c auths.c auths-edit.c save.c,jansson))
$(BUILD)/lib/ctr/plugins/registry-file.so: $(DOCKER_CONFIG)
