#!/bin/sh
# ota.command for Mender's client in standalone mode: the agent's component is a .mender artifact, which Mender verifies once more.
# Mender itself selects the new root file system when it installs, and goes back at the next boot without a commit.
set -eu
notes=/var/lib/hub-agent/ota-mender
mkdir -p "$notes"
identity=$(printf %s "$HUB_AGENT_COMPONENT" | sha256sum | cut -d' ' -f1)
boot=$(cat /proc/sys/kernel/random/boot_id)
name=$(mender show-artifact 2>/dev/null || true)
note() { cat "$notes/$1" 2>/dev/null || true; }
written() { [ "$(note identity)" = "$identity" ]; }
# What was written last: waiting for its boot, back to what ran before, or running.
if [ "$(note boot)" = "$boot" ]; then last=selected; elif [ "$name" = "$(note before)" ]; then last="fell back"; else last=runs; fi

case "$1" in
describe)
    runs=old
    if written; then
        runs=$last
        [ "$last" = runs ] && runs="on trial"
    fi
    if [ "$(note confirmed)" = "$identity" ] && { written || [ "$last" != runs ]; }; then
        runs=confirmed
    fi
    printf '{"runs": "%s", "version": "%s"}\n' "$runs" "$name"
    ;;
write)
    rm -f "$notes/identity"
    echo "$name" >"$notes/before"
    image=$(mktemp "$notes/XXXXXX.mender") && trap 'rm -f "$image"' EXIT
    cat >"$image"
    [ "$last" != selected ] || mender rollback >&2 || true # what was installed before it and never booted
    mender install "$image" >&2
    echo "$boot" >"$notes/boot" && echo "$identity" >"$notes/identity" && sync "$notes"/*
    ;;
check) written ;;
activate)
    written || { echo "it is not written" >&2; exit 1; }
    [ "$last" = runs ] && echo done || echo reboot
    ;;
confirm)
    if [ "$(note confirmed)" != "$identity" ]; then
        { written && [ "$last" = runs ]; } || { echo "another version runs" >&2; exit 1; }
        mender commit >&2
        echo "$identity" >"$notes/confirmed" && sync "$notes/confirmed"
    fi
    ;;
roll-back)
    if written && [ "$last" = runs ]; then
        [ "$(note back)" = "$boot" ] || { mender rollback >&2 && echo "$boot" >"$notes/back" && sync "$notes/back"; }
        echo reboot
    else
        [ "$last" != selected ] || { mender rollback >&2 && echo never >"$notes/boot" && sync "$notes/boot"; }
        echo done
    fi
    ;;
esac
