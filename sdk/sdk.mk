# The SDK: ctr-layer (static), ctr-conform, and the scratch-prefix test's parts.
CONFORM := $(BUILD)/bin/ctr-conform
$(CONFORM): $(call obj,$(wildcard sdk/conform/*.c))
	@mkdir -p $(@D)
	$(say)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(call pkg,inih) -ldl

$(BUILD)/tests/unit/test-ext4: $(EXT4_LIB)
UNIT_LIBS_test-ext4 = $(EXT4_LIB) $(SDK_LIB) $(call pkg,ext2fs com_err libarchive)

$(BUILD)/tests/unit/test-command: $(COMMAND_LIB)
UNIT_LIBS_test-command = $(COMMAND_LIB)
