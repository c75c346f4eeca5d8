"""A board with a real RAUC: a private system bus, two file-backed slots, and a boot loader that is a script over files."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

from conftest import until

CONFIG = """
[system]
compatible=test-hub
bootloader=custom
statusfile={folder}/status
mountprefix={folder}/mnt
bundle-formats=plain
[keyring]
path={folder}/ca.pem
[handlers]
bootloader-custom-backend={folder}/boot.sh
[slot.rootfs.0]
device={folder}/slot0
type=raw
bootname=A
[slot.rootfs.1]
device={folder}/slot1
type=raw
bootname=B
"""
BOOT = """#!/bin/sh
cd {folder}/loader
case "$1" in
    get-primary) cat primary ;;
    set-primary) printf %s "$2" > primary; printf good > "state-$2" ;;
    get-state) cat "state-$2" ;;
    set-state) printf %s "$3" > "state-$2" ;;
    get-current) cat booted ;;
esac
"""
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={folder}/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
"""
MANIFEST = """[update]
compatible={compatible}
version={version}
[image.rootfs]
filename=rootfs.img
"""


class RaucBoard:
    """Its bundles are signed by its own authority; `reboot` starts the slot that the loader has chosen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "loader").mkdir()
        (folder / "mnt").mkdir()
        for name, text in (("primary", "A"), ("state-A", "good"), ("state-B", "good"), ("booted", "A")):
            (folder / "loader" / name).write_text(text)
        for slot in ("slot0", "slot1"):
            with (folder / slot).open("wb") as file:
                file.truncate(4 << 20)
        (folder / "system.conf").write_text(CONFIG.format(folder=folder))
        (folder / "boot.sh").write_text(BOOT.format(folder=folder))
        (folder / "boot.sh").chmod(0o755)
        (folder / "bus.conf").write_text(BUS.format(folder=folder))
        key = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "3650",
        ]
        subprocess.run(
            [*key, "-subj", "/CN=test", "-keyout", folder / "ca.key", "-out", folder / "ca.pem"],
            check=True,
            capture_output=True,
        )
        self._bus = subprocess.Popen(["dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork", "--nopidfile"])
        self._service: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"unix:path={self.folder}/bus"

    def bundle(self, version: str, content: bytes, compatible: str = "test-hub") -> bytes:
        """A signed bundle with an image of `content`."""
        source, made = self.folder / f"bundle-{version}", self.folder / f"{version}.raucb"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir()
        made.unlink(missing_ok=True)
        (source / "rootfs.img").write_bytes(content)
        (source / "manifest.raucm").write_text(MANIFEST.format(version=version, compatible=compatible))
        keys = [f"--cert={self.folder}/ca.pem", f"--key={self.folder}/ca.key", f"--keyring={self.folder}/ca.pem"]
        subprocess.run(["rauc", "bundle", *keys, str(source), str(made)], check=True, capture_output=True)
        return made.read_bytes()

    async def start(self) -> None:
        """The service, as this boot has it; in a mount namespace of its own, as its unit has."""
        await until((self.folder / "bus").exists, 10.0, "the bus")
        environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self.address}
        own = ["unshare", "-m", "--propagation", "private"]
        called = [*own, "rauc", f"--conf={self.folder}/system.conf", f"--override-boot-slot={self.booted}", "service"]
        with (self.folder / "rauc.log").open("ab") as log:
            self._service = subprocess.Popen(called, env=environment, stdout=log, stderr=log)
        asks = ["dbus-send", f"--bus={self.address}", "--dest=de.pengutronix.rauc", "--print-reply", "/"]
        asks.append("de.pengutronix.rauc.Installer.GetPrimary")

        async def answers() -> bool:
            done = await asyncio.create_subprocess_exec(
                *asks, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
            )
            return await done.wait() == 0

        for _ in range(100):
            if await answers():
                return
        raise AssertionError((self.folder / "rauc.log").read_text())

    def kill(self) -> None:
        """kill -9 of the service."""
        if self._service is not None:
            self._service.kill()
            self._service.wait()
            self._service = None

    async def reboot(self, slot: str = "") -> None:
        """Into the slot that is selected, or, as a loader that has fallen back, into `slot`."""
        self.kill()
        (self.folder / "loader" / "booted").write_text(slot or self.primary)
        await self.start()

    @property
    def booted(self) -> str:
        return (self.folder / "loader" / "booted").read_text()

    @property
    def primary(self) -> str:
        return (self.folder / "loader" / "primary").read_text()

    def stop(self) -> None:
        self.kill()
        self._bus.terminate()
        self._bus.wait()
