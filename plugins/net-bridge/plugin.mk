ifeq ($(shell uname -s),Linux)
$(eval $(call ctr-plugin,net-bridge,bridge.c capture.c check.c counter.c dns.c egress.c link.c netlink.c nflog.c nft.c opener.c port.c publish.c pump.c rules.c sweep.c,libnftables,,))
endif
