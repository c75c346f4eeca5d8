#!/bin/sh
# ota.command for Mender's client in standalone mode: the agent's component is a .mender artifact, which Mender verifies once more.
# Mender itself selects the new root file system when it installs, and goes back at the next boot without a commit.
set -eu
notes=/var/lib/hub-agent/ota-mender
mkdir -p "$notes"
identity() { printf %s "$HUB_AGENT_COMPONENT" | sha256sum | cut -d' ' -f1; }
boot=$(cat /proc/sys/kernel/random/boot_id)
name() { mender show-artifact 2>/dev/null || true; }

case "$1" in
describe)
    runs=old
    if [ "$(cat "$notes/identity" 2>/dev/null)" = "$(identity)" ]; then
        if [ -e "$notes/confirmed" ]; then
            runs=confirmed
        elif [ "$(cat "$notes/boot")" = "$boot" ]; then
            runs=selected
        elif [ "$(name)" = "$(cat "$notes/before")" ]; then
            runs="fell back"
        else
            runs="on trial"
        fi
    fi
    printf '{"runs": "%s", "version": "%s"}\n' "$runs" "$(name)"
    ;;
write)
    rm -f "$notes/identity" "$notes/confirmed"
    name >"$notes/before"
    image=$(mktemp "$notes/XXXXXX.mender") && trap 'rm -f "$image"' EXIT
    cat >"$image"
    mender install "$image" >&2
    echo "$boot" >"$notes/boot" && identity >"$notes/identity" && sync "$notes"/*
    ;;
check) [ "$(cat "$notes/identity" 2>/dev/null)" = "$(identity)" ] ;;
activate) [ "$(cat "$notes/boot")" = "$boot" ] && echo reboot || echo done ;;
confirm) mender commit >&2 && touch "$notes/confirmed" && sync "$notes/confirmed" ;;
roll-back) mender rollback >&2 && echo reboot ;;
esac
