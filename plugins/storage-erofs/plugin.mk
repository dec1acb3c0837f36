$(eval $(call ctr-plugin,storage-erofs,erofs.c tree.c write.c read.c,ext2fs com_err,ext4 layer))
