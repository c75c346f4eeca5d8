"""What RAUC's applier needs of the system, tried on it: the D-Bus policy that is shipped, and mounts that a killed RAUC has left."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from agent_wheel import ROOT
from conftest import until
from dbus_fast import BusType
from dbus_fast.aio import MessageBus

from agent.ota.appliers.rauc import SERVICE

pytestmark = pytest.mark.conformance
POLICY = (ROOT / "systemd" / "hub-agent.rauc.conf").read_text()
SYSTEM = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={folder}/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow receive_type="method_return"/><allow receive_type="error"/>
<allow receive_type="signal"/><allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>
<allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>
<allow send_destination="org.freedesktop.DBus"/></policy>
<!-- Debian's own for RAUC -->
<policy context="default"><allow send_destination="de.pengutronix.rauc"/></policy>
<include>{folder}/hub-agent.rauc.conf</include></busconfig>
"""


@pytest.fixture
def bus() -> Iterator[Path]:
    """A bus that every user can reach, with the policy for `daemon` in the place of hub-agent, whom this machine may not have."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        assert POLICY.count('"hub-agent"') == 1
        (folder / "hub-agent.rauc.conf").write_text(POLICY.replace('"hub-agent"', '"daemon"'))
        (folder / "bus.conf").write_text(SYSTEM.format(folder=folder))
        with subprocess.Popen(["dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork", "--nopidfile"]) as daemon:
            yield folder / "bus"
            daemon.kill()


def ping(bus: Path, user: str) -> str:
    """What a user hears who asks RAUC."""
    command = ["dbus-send", f"--bus=unix:path={bus}", "--print-reply", f"--dest={SERVICE}", "/"]
    done = subprocess.run(
        [*command, "org.freedesktop.DBus.Peer.Ping"], capture_output=True, text=True, check=False, user=user
    )
    return done.stderr.strip()


async def test_only_root_and_the_agents_user_may_ask_rauc(bus: Path) -> None:
    await until(bus.exists, 10.0, "the bus")
    service = await MessageBus(f"unix:path={bus}", BusType.SYSTEM).connect()
    try:
        await service.request_name(SERVICE)
        heard = {user: await asyncio.to_thread(ping, bus, user) for user in ("root", "daemon", "nobody")}
    finally:
        service.disconnect()
    assert (heard["root"], heard["daemon"]) == ("", "")
    assert "AccessDenied" in heard["nobody"]


def test_mounts_that_rauc_has_left_are_named(tmp_path: Path) -> None:
    left = tmp_path / "rauc" / "rootfs.1"
    left.mkdir(parents=True)
    python = f"{sys.executable} -c 'from agent.ota.appliers import rauc; rauc._warn_of_mounts()'"
    script = f"{python} && mount -t tmpfs none {left} && {python}"
    own = ["unshare", "-m", "--propagation", "private", "sh", "-ec", script]
    done = subprocess.run(
        own, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    )
    assert done.stderr.strip() == f"RAUC has left 1 mounts from an installation that was cut off: {left}"
