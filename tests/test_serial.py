import asyncio
import errno
import os
import pty
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.driver import DriverLost
from drivers import serial


@pytest.fixture
def port() -> Iterator[str]:
    master, slave = pty.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def test_each_port_is_found_once_by_its_first_name(tmp_path: Path, port: str) -> None:
    by_id = tmp_path / "by-id"
    by_id.mkdir()
    (by_id / "usb-Stick").symlink_to(port)
    (by_id / "usb-Gone").symlink_to("/dev/pts/no-such-port")
    (tmp_path / "file").write_text("no port")
    assert serial.candidates([f"{by_id}/*", f"{tmp_path}/file", port]) == [str(by_id / "usb-Stick")]
    assert serial.candidates([port, f"{by_id}/*"]) == [port]
    assert serial.candidates([f"{tmp_path}/nothing/*"]) == []


def test_the_process_that_holds_a_port_is_named(port: str) -> None:
    code = f"import os; os.open({port!r}, os.O_RDWR | os.O_NOCTTY); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        assert [name for name in serial.holders(port) if f"(pid {holder.pid})" in name]
        lost = serial.unusable(port, OSError(errno.EBUSY, "busy"))
        holder.communicate("\n")
    assert f"pid {holder.pid}" in str(lost)
    assert lost.remedy
    assert serial.holders(port) == []


def test_modem_manager_has_its_own_remedy(tmp_path: Path, port: str) -> None:
    process = tmp_path / "77"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "5").symlink_to(port)
    (process / "comm").write_text("ModemManager\n")
    assert serial.holders(port, tmp_path) == ["ModemManager (pid 77)"]
    assert "ModemManager" in serial._release(["ModemManager (pid 77)"])


def test_no_permission_names_the_group(port: str) -> None:
    lost = serial.unusable(port, PermissionError(errno.EACCES, "denied"))
    assert "permission" in str(lost)
    assert lost.remedy.startswith("sudo usermod -aG ")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(errno.ENOENT, "x"), "is not there"),
        (TimeoutError(), "nothing answers"),
        (OSError(errno.EIO, "input/output error"), "input/output error"),
        (ValueError(), "ValueError"),
    ],
)
def test_other_reasons_are_said_in_words(error: Exception, words: str) -> None:
    assert words in str(serial.unusable("socket://127.0.0.1:1", error))


class Far:
    """What a port told."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.reasons: list[str] = []
        self._changed = asyncio.Event()

    def received(self, data: bytes) -> None:
        self.data += data
        self._changed.set()

    def lost(self, reason: str) -> None:
        self.reasons.append(reason)
        self._changed.set()

    async def change(self) -> None:
        async with asyncio.timeout(5):
            await self._changed.wait()
        self._changed.clear()


async def test_a_terminal_carries_every_byte_as_it_is() -> None:
    master, slave = pty.openpty()
    far = Far()
    port = await serial.open_port(os.ttyname(slave), far.received, far.lost)
    everything = bytes(range(256))
    os.write(master, everything)
    while len(far.data) < 256:
        await far.change()
    assert far.data == everything
    port.write(everything)
    assert os.read(master, 1000) == everything
    os.close(slave)
    os.close(master)
    await far.change()
    assert len(far.reasons) == 1
    assert port.closed
    port.write(b"nobody hears it")
    port.close()
    assert len(far.reasons) == 1


async def test_a_port_is_ours_alone(port: str) -> None:
    first = await serial.open_port(port, Far().received, Far().lost)
    with pytest.raises(DriverLost):
        await serial.open_port(port, Far().received, Far().lost)
    first.close()
    (await serial.open_port(port, Far().received, Far().lost)).close()


async def test_a_port_that_takes_nothing_is_lost(port: str) -> None:
    far = Far()
    hung = await serial.open_port(port, far.received, far.lost)
    for _ in range(100):
        hung.write(bytes(4096))
    assert len(far.reasons) == 1


async def test_a_socket_is_a_port_without_delay() -> None:
    taken: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(3))
        taken.set_result(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    number = server.sockets[0].getsockname()[1]
    far = Far()
    port = await serial.open_port(f"socket://127.0.0.1:{number}", far.received, far.lost)
    with socket.socket(fileno=os.dup(port._descriptor)) as line:
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    port.write(b"abc")
    while far.data != b"abc":
        await far.change()
    (await taken).close()
    await far.change()
    assert len(far.reasons) == 1
    server.close()
    await server.wait_closed()
    with pytest.raises(DriverLost):
        await serial.open_port(f"socket://127.0.0.1:{number}", far.received, far.lost)


@pytest.mark.parametrize("name", ["socket://nowhere", "tcp://127.0.0.1:1", "/no/such/port"])
async def test_what_cannot_be_opened_says_why(name: str) -> None:
    with pytest.raises(DriverLost):
        await serial.open_port(name, Far().received, Far().lost)


async def test_an_unknown_speed_is_refused(port: str) -> None:
    with pytest.raises(DriverLost, match="speed"):
        await serial.open_port(port, Far().received, Far().lost, baudrate=115_201)
