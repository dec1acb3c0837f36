$(eval $(call ctr-plugin,storage-erofs,erofs.c tree.c write.c read.c,ext2fs com_err,ext4 layer))

EROFS_OBJECTS := $(call obj,$(addprefix $(here),erofs.c tree.c write.c read.c))
$(BUILD)/tests/fuzz/fuzz-erofs: $(EROFS_OBJECTS) $(EXT4_LIB)
FUZZ_LIBS_fuzz-erofs = $(EROFS_OBJECTS) $(EXT4_LIB) $(SDK_LIB) $(call pkg,ext2fs com_err libarchive)
