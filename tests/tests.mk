# tests: what each folder below tests/ holds is in tests/README.md. tests/run runs them and counts.

include $(wildcard tests/plugins/*/plugin.mk)
TEST_PLUGINS := $(filter $(BUILD)/tests/%,$(PLUGINS))

ALL_LIBS := $(call lib,$(ROOMS)) $(BUILD)/lib/libctr-cmd.a
ALL_PKGS = jansson inih libuv ldns libcurl libarchive libmicrohttpd sqlite3 libcrypto libzstd zlib $(isal)
TEST_LINK = -Wl,--start-group $(ALL_LIBS) $(SDK_LIB) -Wl,--end-group $(call pkg,$(ALL_PKGS)) -lltdl -ldl -lm

$(BUILD)/lib/libctr-cmd.a: $(filter-out %/ctrctl.o,$(call obj,$(CTRCTL_SOURCES)))
	@mkdir -p $(@D)
	@rm -f $@
	$(say)$(AR) rcs $@ $^

UNIT := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test-*.c))
$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(ALL_LIBS) $(SDK_LIB)
	@mkdir -p $(@D)
	$(say)$(CC) $(LDFLAGS_ALL) -o $@ $< $(TEST_LINK) $(call pkg,cmocka $(UNIT_PKGS_$(*F))) $(UNIT_LIBS_$(*F))
.SECONDARY: $(patsubst tests/unit/%.c,$(BUILD)/obj/tests/unit/%.o,$(wildcard tests/unit/test-*.c))

# Small programs that tests use: one source each.
TEST_BIN := $(patsubst tests/bin/%.c,$(BUILD)/tests/bin/%,$(wildcard tests/bin/*.c))
$(BUILD)/tests/bin/%: $(BUILD)/obj/tests/bin/%.o $(ALL_LIBS) $(SDK_LIB)
	@mkdir -p $(@D)
	$(say)$(CC) $(LDFLAGS_ALL) -o $@ $< $(TEST_LINK) $(BIN_LIBS_$(*F))

# Fuzz targets are built by clang into a build folder of their own: `make fuzz` there becomes fuzz-bins.
FUZZ_LIBS_fuzz-slirp = $(call pkg,slirp)
FUZZ := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/fuzz/%,$(wildcard tests/fuzz/fuzz-*.c))
$(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(ALL_LIBS) $(SDK_LIB)
	@mkdir -p $(@D)
	$(say)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $< $(TEST_LINK) $(FUZZ_LIBS_$(*F))
.SECONDARY: $(patsubst tests/fuzz/%.c,$(BUILD)/obj/tests/fuzz/%.o,$(wildcard tests/fuzz/fuzz-*.c))

.PHONY: fuzz fuzz-bins test-programs check check-style check-unit check-conform check-cli check-vm check-hostile check-fuzz check-abi \
        check-asan check-clang check-valgrind test bench bench-pull bench-net bench-dns format
test-programs: $(UNIT) $(TEST_BIN) $(TEST_PLUGINS)
fuzz-bins: $(FUZZ)
fuzz:
	$(MAKE) BUILD=$(BUILD)/fuzz CC=clang SANITIZE=address,undefined CFLAGS=-fsanitize=fuzzer-no-link fuzz-bins

# check runs everything; the others run one kind. Each ends with a line "N passed, N failed".
check: all test-programs fuzz
	BUILD=$(BUILD) tests/run style unit conform cli vm hostile fuzz
	@echo "also: make check-asan check-clang check-valgrind"
check-style check-unit check-conform check-cli check-vm check-hostile: all test-programs
	BUILD=$(BUILD) tests/run $(@:check-%=%)
check-abi:
	tools/check-abi
check-fuzz: fuzz
	BUILD=$(BUILD) tests/run fuzz
# The same programs under other tools: AddressSanitizer and UBSan, clang with -Werror, valgrind.
check-asan:
	$(MAKE) BUILD=$(BUILD)/asan SANITIZE=address,undefined all test-programs
	BUILD=$(BUILD)/asan tests/run unit conform cli
check-clang:
	$(MAKE) BUILD=$(BUILD)/clang CC=clang DEVELOPER=1 all test-programs
check-valgrind: all test-programs
	BUILD=$(BUILD) CTR_VALGRIND=1 tests/run valgrind

# What the README promises: on a bare Debian 12, installs what the tests need and runs them all.
test:
	tools/install-deps build test
	$(MAKE) kernel-fetch
	$(MAKE) DEVELOPER=1 all test-programs fuzz
	$(MAKE) check-clang
	$(MAKE) BUILD=$(BUILD)/asan SANITIZE=address,undefined all test-programs
	BUILD=$(BUILD) tests/run style unit conform cli hostile vm fuzz asan valgrind

bench: all test-programs
	BUILD=$(BUILD) tests/bench/start
bench-pull: all
	BUILD=$(BUILD) tests/bench/pull
bench-net bench-dns: all test-programs
	BUILD=$(BUILD) tests/bench/$(@:bench-%=%)

format:
	clang-format -i $$(git ls-files '*.c' '*.h')
