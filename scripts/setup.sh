#!/usr/bin/env bash
# Set-up for `make demo` and `make test`: system packages, virtual environment, Node modules of the conformance tests.
# Usage: scripts/setup.sh demo|test VENV. Does nothing that was done before; changed requirements are installed again.
set -euo pipefail
cd "$(dirname "$0")/.."
purpose=$1 venv=$2

missing=()
need() { # need COMMAND PACKAGE...
    if ! PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null; then missing+=("${@:2}"); fi
}
need_library() { # need_library SONAME PACKAGE: no command shows it
    case $(PATH="$PATH:/usr/sbin:/sbin" ldconfig -p) in *"$1"*) ;; *) missing+=("$2") ;; esac
}
need python3 python3 python3-venv
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
need mosquitto mosquitto
need dbus-daemon dbus-daemon
need setpriv util-linux
if [ "$purpose" = test ]; then
    need mosquitto_sub mosquitto-clients
    need systemd-analyze systemd
    need udevadm udev
    need chromium chromium
    need node nodejs
    need npm npm
    need coap-client-openssl libcoap3-bin
    need softhsm2-util softhsm2
    need pkcs11-tool opensc
    need swtpm swtpm
    need tpm2_getcap tpm2-tools
    need tpm2-abrmd tpm2-abrmd
    need dbus-send dbus-bin
    need openssl openssl
    need faketime faketime
    need rauc rauc
    need mksquashfs squashfs-tools
    need unshare util-linux
    need fusermount3 fuse3
    need_library libtss2-tcti-swtpm.so.0 libtss2-tcti-swtpm0
    need_library libtss2-tcti-tabrmd.so.0 libtss2-tcti-tabrmd0
    [ -e "$(openssl version -m 2>/dev/null | cut -d'"' -f2)/tpm2.so" ] || missing+=(tpm2-openssl)
    need_library libatomic.so.1 libatomic1 # of Playwright's own node
fi
if [ ${#missing[@]} -gt 0 ]; then
    packages=$(printf '%s\n' "${missing[@]}" | sort -u | tr '\n' ' ')
    if [ "$(id -u)" != 0 ]; then
        echo "These packages are missing: run  sudo apt-get install --no-install-recommends $packages" >&2
        exit 77
    fi
    # The broker is started by us on a port of our own, never as a service of this machine: not now, and not at its next boot.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    apt-get update -qq
    # shellcheck disable=SC2086  a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
    for service in mosquitto tpm2-abrmd; do # the packages enable them; who had them before keeps them as they were
        if [[ " $packages " == *" $service "* ]] && command -v systemctl >/dev/null; then
            systemctl --quiet disable "$service"
        fi
    done
fi

stamp() { sha256sum "$@" 2>/dev/null | sha256sum | cut -d' ' -f1; }

install_node_modules() {
    for lock in tests/conformance/*/package-lock.json; do
        [ -e "$lock" ] || continue
        folder=$(dirname "$lock")
        if [ "$(cat "$folder/node_modules/.hub-agent" 2>/dev/null)" != "$(stamp "$lock")" ]; then
            echo "installing Node modules of $folder ..." >&2
            npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
            stamp "$lock" >"$folder/node_modules/.hub-agent"
        fi
    done
}

node=
if [ "$purpose" = test ]; then # beside the virtual environment: either one waits for the network
    install_node_modules &
    node=$!
fi

extra=demo
[ "$purpose" = test ] && extra=dev
alone=tests/standin/requirements.txt # installed without what they depend on
wanted="$extra $(stamp pyproject.toml $alone)"
if [ "$(cat "$venv/.hub-agent" 2>/dev/null)" != "$wanted" ] && [ "$(cat "$venv/.hub-agent" 2>/dev/null)" != "dev ${wanted#* }" ]; then
    echo "installing into $venv ..." >&2
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -e ".[$extra]"
    [ "$purpose" != test ] || "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps -r $alone
    echo "$wanted" >"$venv/.hub-agent"
fi
[ -z "$node" ] || wait "$node"
