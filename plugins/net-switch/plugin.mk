$(eval $(call ctr-plugin,net-switch,ether.c host.c port.c publish.c switch.c udp.c uplink.c,slirp,,))
