# the guest: ctr-init, initramfs, kernel
.PHONY: guest
guest:
