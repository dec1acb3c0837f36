$(eval $(call ctr-plugin,storage-ext4,plugin.c store.c,ext2fs com_err,ext4 layer))

# Test programs that look into images, and the fuzz target that holds the plugin itself.
EXT4_OBJECTS := $(call obj,$(addprefix $(here),plugin.c store.c))
BIN_LIBS_ext4-dump = $(call pkg,ext2fs com_err)
$(BUILD)/tests/fuzz/fuzz-ext4: $(EXT4_OBJECTS) $(EXT4_LIB)
FUZZ_LIBS_fuzz-ext4 = $(EXT4_OBJECTS) $(EXT4_LIB) $(SDK_LIB) $(call pkg,ext2fs com_err libarchive)
