# The switch is net-switch's; its uplink*.c and plugin.c are not.
ifeq ($(shell uname -s),Linux)
NET_PASST_SHARED := $(filter-out uplink% plugin.c,$(notdir $(wildcard $(here)../net-switch/*.c)))
$(eval $(call ctr-plugin,net-passt,command.c flows.c handshake.c local.c plugin.c process.c stream.c stuck.c uplink.c $(NET_PASST_SHARED:%=../net-switch/%),,,))
endif
