"""Every command of the README's Z-Wave section, run as it stands: on a simulated home, with the daemon as users run it."""

import json
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent import settings
from agent.client import Client
from agent.errors import HubError

ROOT = Path(__file__).parent.parent.parent
AGENT = [sys.executable, "-m", "agent.cli"]
README = (ROOT / "README.md").read_text()
SECTION = README[README.index("\n## Z-Wave\n") : README.index("\n## The hub's own certificate\n")]
COMMANDS, CURL, KEYS = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)
CONFIG = """
[hub]
id = "hub-1"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
{section}
"""
PATIENCE = 60.0


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


class Run:
    """A command, and what it has said so far. `terminal`: it has one, and somebody who types."""

    def __init__(self, command: list[str] | str, *, terminal: bool = False, **options: Any) -> None:
        self.said = ""
        self._main, side = pty.openpty()
        stdin = side if terminal else subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdin=stdin, stdout=side, stderr=side, **options)
        os.close(side)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                self.said += os.read(self._main, 4096).decode(errors="replace")
            except OSError:  # its last end is closed
                return

    def until(self, text: str) -> None:
        wait_for(lambda: text in self.said or self.process.poll() is not None, f"no {text!r}: {self.said}")
        assert text in self.said, self.said

    def type(self, text: str) -> None:
        os.write(self._main, text.encode())

    def end(self, *, code: int = 0, stop: int = 0) -> str:
        if stop:
            self.process.send_signal(stop)
        assert self.process.wait(PATIENCE) == code, self.said
        self._reader.join()
        os.close(self._main)
        return self.said


class Home:
    """A simulated home and a hub."""

    def __init__(self, folder: Path, control: str) -> None:
        self.folder, self._control = folder, control
        self.client = Client(folder / "run")

    def sim(self, op: str, device: str = "", **more: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self._control)
            connection.sendall(json.dumps({"op": op, "device": device, **more}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer: dict[str, Any] = json.loads(lines.readline())
        return answer

    def label(self, device: str) -> dict[str, Any]:
        return next(one for one in self.sim("list")["devices"] if one["name"] == device)

    def ref(self, device: str) -> str:
        return f"zwave/{self.label(device)['node']}"

    def run(self, line: str, replace: dict[str, str] | None = None, *, terminal: bool = False) -> Run:
        """One line of the README, with what is its reader's."""
        for mine, theirs in (replace or {}).items():
            assert mine in line
            line = line.replace(mine, theirs)
        command = shlex.split(line, comments=True)
        assert command[0] == "agent"
        return Run([*AGENT, *command[1:], "-c", str(self.folder / "agent.toml")], terminal=terminal)

    def online(self) -> bool:
        try:
            return bool(self.client.get("status")["radios"]["zwave"]["status"] == "online")
        except HubError:
            return False


@contextmanager
def home(folder: Path) -> Iterator[Home]:
    example = ROOT / "config" / "examples" / "zwave.toml"
    simulate = [*AGENT, "simulate", str(example), "--links", str(folder / "links")]
    with subprocess.Popen(simulate, stdout=subprocess.PIPE, text=True) as simulated:
        try:
            assert simulated.stdout is not None
            told = json.loads(simulated.stdout.readline())
            (section,) = re.findall(r"```toml\n(.*?)```", SECTION, re.DOTALL)
            text = CONFIG.format(folder=folder, section=section.replace('"auto"', json.dumps(told["port"])))
            (folder / "agent.toml").write_text(text)
            made = Home(folder, told["control"])
            with subprocess.Popen([*AGENT, "run", "-c", str(folder / "agent.toml")]) as hub:
                try:
                    wait_for(made.online, "the radio")
                    yield made
                finally:
                    hub.terminate()
        finally:
            simulated.terminate()


def line(start: str) -> str:
    (found,) = (line for line in COMMANDS.splitlines() if line.startswith(start))
    return found


def test_the_commands_pair_use_and_unpair(tmp_path: Path) -> None:
    with home(tmp_path) as place:
        lock, dimmer, sensor, light = "front door lock", "kitchen dimmer", "attic sensor", "hall light"
        (first,) = (one for one in COMMANDS.splitlines() if re.match(r"agent discover zwave +#", one))
        pairing = place.run(first, terminal=True)
        pairing.until("put devices in pairing mode")
        place.sim("pair", lock)
        pairing.until("PIN (empty")
        pairing.type("123\n")
        pairing.until("type the 5 digits")
        pairing.type(place.label(lock)["pin"] + "\n")
        pairing.until("ready")
        said = pairing.end(code=75, stop=signal.SIGINT)
        assert "the device asks for S2 Access Control" in said
        assert place.label(lock)["dsk"][5:] in said.replace("\r\n", "")

        pairing = place.run(line("agent discover zwave --auth 34028"), {"34028": place.label(dimmer)["pin"]})
        pairing.until("put devices in pairing mode")
        place.sim("pair", dimmer)
        assert "ready" in pairing.end()

        pairing = place.run(line("agent discover zwave --auth 9001"), {"9001...": place.label(sensor)["qr"]})
        pairing.until("put devices in pairing mode")
        place.sim("pair", sensor)
        assert "ready" in pairing.end()

        programs(place, light)

        assert "Door Lock" in place.run(line("agent devices")).end()
        assert "LockState=1" in place.run(line("agent device ID"), {"ID": place.ref(lock)}).end()
        assert "succeeded" in place.run(line("agent command ID "), {"ID": place.ref(lock)}).end()
        assert place.label(lock)["state"]["0"]["lock"] != 0xFF

        together_and_routes(place, dimmer, light)
        spare = replaced(place, dimmer)
        removing = place.run(line("agent remove ID  "), {"ID": place.ref(light)})
        wait_for(lambda: place.sim("truth")["adding"]["session"], "the stick removes")
        place.sim("pair", light)
        assert "removed" in removing.end()
        excluded(place)
        broken = place.ref(spare)
        place.sim("power", spare, on=False)
        assert "removed" in place.run(line("agent remove ID --force"), {"ID": broken}).end()
        assert place.sim("truth")["nodes"].keys() == {place.ref(one).partition("/")[2] for one in (lock, sensor)}


def together_and_routes(place: Home, dimmer: str, light: str) -> None:
    refs = {"ID1": place.ref(dimmer), "ID2": place.ref(light)}
    assert place.run(line("agent command ID1 ID2"), refs).end().count("succeeded") == 2
    assert place.label(light)["state"]["0"]["switch"]
    assert place.ref(light) in place.run(line("agent routes show")).end()
    rebuilt = place.run(line("agent routes rebuild ID"), {"ID": place.ref(light)}).end()
    assert "hears 1, 3" in rebuilt
    assert "taken" in place.run(line("agent routes prefer"), refs).end()
    assert (
        "Configuration Set: default, parameter, size, value"
        in place.run(line("agent native ID  "), {"ID": refs["ID1"]}).end()
    )
    place.run(line('agent native ID "Configuration Set"'), {"ID": refs["ID1"]}).end()
    said = place.run(line('agent native ID "Configuration Get"'), {"ID": refs["ID1"]}).end()
    assert "Configuration Report: parameter 1, size 1, value 2" in said


def replaced(place: Home, old: str) -> str:
    """The name of the device that has the place of another now."""
    new, ref = "reading lamp", place.ref(old)
    place.sim("power", old, on=False)
    replacing = place.run(line("agent replace ID"), {"ID": ref}, terminal=True)
    replacing.until("put devices in pairing mode")
    place.sim("pair", new)
    replacing.until("PIN (empty")
    replacing.type(place.label(new)["pin"] + "\n")
    assert "ready" in replacing.end()
    assert place.ref(new) == ref
    return new


def excluded(place: Home) -> None:
    used = "used plug"
    excluding = place.run(line("agent exclude zwave"))
    excluding.until("press the button of each device")
    place.sim("pair", used)
    excluding.until("of another network, or of none, has left it")
    excluding.end(code=75, stop=signal.SIGINT)
    wait_for(lambda: place.sim("truth")["adding"]["session"] is None, "the window is closed")
    assert place.label(used)["node"] == 0


def programs(place: Home, device: str) -> None:
    """What programs write to the control socket."""
    ask, answer = (one.replace("/run/hub-agent", str(place.folder / "run")) for one in CURL.splitlines())
    asking = Run(shlex.split(ask))
    asking.until('"seconds": 120')
    place.sim("pair", device)
    asking.until('"stage": "pin"')
    answer = answer.replace("zwave/2", place.ref(device)).replace("34028", place.label(device)["pin"])
    assert '"what": "answered"' in Run(shlex.split(answer)).end()
    asking.until('"what": "found"')
    asking.end(code=-signal.SIGTERM, stop=signal.SIGTERM)


@pytest.fixture
def moved(tmp_path: Path) -> str:
    """What Z-Wave JS UI keeps, as far as it matters here."""
    key = {name: f"{number:02X}" * 16 for number, name in enumerate(("S0_Legacy", "S2_Unauthenticated"), 1)}
    zwave = {
        "port": "/dev/serial/by-id/usb-Stick",
        "securityKeys": {**key, "S2_Authenticated": "03" * 16, "S2_AccessControl": "04" * 16},
        "securityKeysLongRange": {"S2_Authenticated": "05" * 16, "S2_AccessControl": ""},
    }
    (tmp_path / "settings.json").write_text(json.dumps({"mqtt": {}, "zwave": zwave}))
    *script, install = KEYS.splitlines(keepends=True)
    assert install.startswith("sudo install -D -o hub-agent -m 600 zwave-keys.toml ")
    subprocess.run(["sh", "-c", "".join(script)], cwd=tmp_path, check=True)
    return str(tmp_path / "zwave-keys.toml")


def test_the_keys_of_zwave_js_ui_are_taken(tmp_path: Path, moved: str) -> None:
    assert Path(moved).stat().st_mode & 0o777 == 0o600
    (tmp_path / "conf.d").mkdir()
    Path(moved).rename(tmp_path / "conf.d" / "zwave-keys.toml")
    (tmp_path / "agent.toml").write_text(CONFIG.format(folder=tmp_path, section=""))
    radio = settings.load(tmp_path / "agent.toml", {}).radios["zwave"].driver
    kept = {name: getattr(radio, name).reveal() for name in type(radio).model_fields if name.endswith("_key")}
    names = ("s0", "s2_unauthenticated", "s2_authenticated", "s2_access_control", "s2_authenticated_lr")
    assert kept == {f"{name}_key": f"{number:02X}" * 16 for number, name in enumerate(names, 1)} | {
        "s2_access_control_lr_key": ""
    }
