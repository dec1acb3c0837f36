$(eval $(call ctr-plugin,registry-helper,helper.c choose.c protocol.c program.c,jansson,command))
$(BUILD)/lib/ctr/plugins/registry-helper.so: $(DOCKER_CONFIG)
