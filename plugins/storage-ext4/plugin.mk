EXT4_SOURCES := plugin.c store.c clone.c grow.c io.c format.c image.c space.c file.c inode.c xattr.c dir.c dirhash.c tree.c apply.c
$(eval $(call ctr-plugin,storage-ext4,$(EXT4_SOURCES),ext2fs com_err,layer))
