#!/usr/bin/env bash
# Image configs that want what they must not have (CASES.md M7): they mean something inside the guest only, or are refused; the engine lives on.
TMPDIR=$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")
. "$(dirname "$0")/../lib.sh"
need python3
hostile_start
mkdir -p "$T/own"
canary=$(stat -c '%Y %a %u' /etc /etc/passwd)

for c in $(python3 -B "$ROOT/tests/hostile/mkimg" list | grep '^config-'); do
    [ "$c" = config-is-list ] && continue
    # Pulled or refused, and run or refused: in each case in one line, and in bounded time.
    timeout 60 "$BIN/ctrctl" --profile "$PROFILE" pull -q "$HREG/m/$c" >"$T/out" 2>"$T/err"
    case $? in
    0) timeout 60 "$BIN/ctrctl" --profile "$PROFILE" run --rm "$HREG/m/$c" true >"$T/out" 2>"$T/err"; status=$? ;;
    *) status=pull-$? ;;
    esac
    [ "$status" = 0 ] || one_line_error .
    case $c in
    config-user-number) wanted=pull-1 ;;
    config-user-* | config-group-* | config-signal-* | config-env-empty | config-env-huge | config-env-many) wanted=125 ;;
    config-workdir-relative | config-workdir-long) wanted=125 ;;
    config-workdir-fd) wanted=127 ;; # no such folder in a guest
    *) wanted=0 ;;
    esac
    expect "$c: status ($(tail -n 1 "$T/err"))" $wanted "$status"
    echo "$c: $status: $(tail -n 1 "$T/err" | cut -c1-200)"
    expect "$c: the host's /etc" "$canary" "$(stat -c '%Y %a %u' /etc /etc/passwd)"
    still_holds "$c"
done
