#!/bin/sh
# ota.command for SWUpdate with two copies and U-Boot: the agent's component is a .swu, which SWUpdate verifies once more.
# Assumes sw-description with selections "stable,A" and "stable,B", and a boot script that counts `bootcount` down while `upgrade_available`
# is 1 and then goes back. Runs as root through sudo, or with the agent's user in SWUpdate's group.
set -eu
notes=/var/lib/hub-agent/ota-swupdate
mkdir -p "$notes"
running=$(sed -n 's/.*rootslot=\([AB]\).*/\1/p' /proc/cmdline)
[ "$running" = A ] && other=B || other=A
identity=$(printf %s "$HUB_AGENT_COMPONENT" | sha256sum | cut -d' ' -f1)
boot=$(cat /proc/sys/kernel/random/boot_id)
holds() { [ "$(cat "$notes/identity-$1" 2>/dev/null)" = "$identity" ]; }
# All variables in one call: a power cut between two could brick the board.
select_slot() { printf 'rootslot=%s\nupgrade_available=%s\nbootcount=0\n' "$1" "$2" | fw_setenv -s -; }

case "$1" in
describe)
    runs=old
    if holds "$running"; then
        [ -e "$notes/confirmed-$running" ] && runs=confirmed || runs="on trial"
    elif holds "$other" && [ -e "$notes/boot" ]; then
        [ "$(cat "$notes/boot")" = "$boot" ] && runs=selected || runs="fell back"
    fi
    printf '{"runs": "%s", "version": "%s"}\n' "$runs" "$(cat /etc/sw-version 2>/dev/null || true)"
    ;;
write)
    rm -f "$notes/identity-$other" "$notes/confirmed-$other" "$notes/boot"
    image=$(mktemp "$notes/XXXXXX.swu") && trap 'rm -f "$image"' EXIT
    cat >"$image"
    swupdate -v -k /etc/swupdate.pem -e "stable,$other" -i "$image" >&2
    echo "$identity" >"$notes/identity-$other" && sync "$notes"/*
    ;;
check) holds "$other" ;;
activate)
    holds "$other" || { echo "slot $other does not hold it" >&2; exit 1; }
    echo "$boot" >"$notes/boot" && sync "$notes/boot"
    select_slot "$other" 1
    echo reboot
    ;;
confirm)
    holds "$running" || { echo "another version runs" >&2; exit 1; }
    fw_setenv upgrade_available 0
    touch "$notes/confirmed-$running" && sync "$notes/confirmed-$running"
    ;;
roll-back)
    echo never >"$notes/boot" && sync "$notes/boot"
    if holds "$running"; then
        select_slot "$other" 0
        echo reboot
    else
        select_slot "$running" 0 # it does not run: it only must not be selected
        echo done
    fi
    ;;
esac
