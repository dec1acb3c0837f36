EROFS_SOURCES := erofs.c names.c layer.c log.c span.c tail.c view.c chain.c vmdk.c container.c tree.c write.c
$(eval $(call ctr-plugin,storage-erofs,$(EROFS_SOURCES),ext2fs com_err,ext4 layer))

EROFS_OBJECTS := $(call obj,$(addprefix $(here),$(EROFS_SOURCES)))
$(BUILD)/tests/fuzz/fuzz-erofs $(BUILD)/tests/fuzz/fuzz-erofs-log: $(EROFS_OBJECTS) $(EXT4_LIB)
FUZZ_LIBS_fuzz-erofs = $(EROFS_OBJECTS) $(EXT4_LIB) $(SDK_LIB) $(call pkg,ext2fs com_err libarchive)
FUZZ_LIBS_fuzz-erofs-log = $(FUZZ_LIBS_fuzz-erofs)
