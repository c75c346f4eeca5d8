#!/bin/sh
# ota.command for SWUpdate with two copies and U-Boot: the agent's component is a .swu, which SWUpdate verifies once more.
# Assumes sw-description with selections "stable,A" and "stable,B", and a boot script that counts `bootcount` down while `upgrade_available`
# is 1 and then goes back. Runs as root through sudo, or with the agent's user in SWUpdate's group.
set -eu
notes=/var/lib/hub-agent/ota-swupdate
mkdir -p "$notes"
running=$(sed -n 's/.*rootslot=\([AB]\).*/\1/p' /proc/cmdline)
[ "$running" = A ] && other=B || other=A
identity() { printf %s "$HUB_AGENT_COMPONENT" | sha256sum | cut -d' ' -f1; }
written() { cat "$notes/identity" 2>/dev/null || true; }

case "$1" in
describe)
    runs=old
    if [ "$(written)" = "$(identity)" ]; then
        slot=$(cat "$notes/slot")
        if [ "$running" = "$slot" ]; then
            [ -e "$notes/confirmed" ] && runs=confirmed || runs="on trial"
        elif [ -e "$notes/boot" ]; then
            [ "$(cat "$notes/boot")" = "$(cat /proc/sys/kernel/random/boot_id)" ] && runs=selected || runs="fell back"
        fi
    fi
    printf '{"runs": "%s", "version": "%s"}\n' "$runs" "$(cat /etc/sw-version 2>/dev/null || true)"
    ;;
write)
    rm -f "$notes/identity" "$notes/boot" "$notes/confirmed"
    image=$(mktemp "$notes/XXXXXX.swu") && trap 'rm -f "$image"' EXIT
    cat >"$image"
    swupdate -v -k /etc/swupdate.pem -e "stable,$other" -i "$image" >&2
    echo "$other" >"$notes/slot" && identity >"$notes/identity" && sync "$notes"/*
    ;;
check) [ "$(written)" = "$(identity)" ] ;;
activate)
    cat /proc/sys/kernel/random/boot_id >"$notes/boot" && sync "$notes/boot"
    # All variables in one call: a power cut between two could brick the board.
    printf 'rootslot=%s\nupgrade_available=1\nbootcount=0\n' "$(cat "$notes/slot")" | fw_setenv -s -
    echo reboot
    ;;
confirm) fw_setenv upgrade_available 0 && touch "$notes/confirmed" && sync "$notes/confirmed" ;;
roll-back)
    if [ "$running" = "$(cat "$notes/slot")" ]; then
        printf 'rootslot=%s\nupgrade_available=0\n' "$other" | fw_setenv -s -
        echo reboot
    else
        fw_setenv upgrade_available 0
        echo done
    fi
    ;;
esac
