EXT4_SOURCES := plugin.c store.c clone.c grow.c io.c format.c image.c space.c file.c inode.c xattr.c dir.c dirhash.c tree.c apply.c
$(eval $(call ctr-plugin,storage-ext4,$(EXT4_SOURCES),ext2fs com_err,layer))

# Test programs that look into images, and the fuzz target that holds the plugin itself.
EXT4_OBJECTS := $(call obj,$(addprefix $(here),$(EXT4_SOURCES)))
BIN_LIBS_ext4-dump = $(call pkg,ext2fs com_err)
$(BUILD)/tests/fuzz/fuzz-ext4: $(EXT4_OBJECTS)
FUZZ_LIBS_fuzz-ext4 = $(EXT4_OBJECTS) $(SDK_LIB) $(call pkg,ext2fs com_err libarchive)
