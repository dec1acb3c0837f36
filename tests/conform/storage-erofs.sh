#!/usr/bin/env bash
# The storage contract's tests, which run on storage-ext4 by themselves, on storage-erofs; fsck.erofs agrees with what it wrote.
. "$(dirname "$0")/../lib.sh"
CTR_TEST_STORAGE=$BUILD/lib/ctr/plugins/storage-erofs.so CTR_TEST_STORAGE_OPTIONS=size=256M "$BUILD/tests/unit/test-storage" || fail "test-storage"
