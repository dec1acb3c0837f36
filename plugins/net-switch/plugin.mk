$(eval $(call ctr-plugin,net-switch,dns.c ether.c host.c port.c publish.c switch.c udp.c uplink.c,slirp,,))
