"""Clocks that are wrong, and that jump in the middle of a rotation: nothing expires or is taken by mistake, and nothing waits for ever."""

import asyncio
import datetime as dt
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forked
import pytest
from certificates import Authority
from conftest import until_async

from agent.clock import ESTIMATED, TRUSTED, Moment, plausible
from agent.errors import TryAgainError
from agent.identity.certificates import CertificateTroubleError
from agent.identity.credentials import Credentials
from agent.identity.keys import Subject
from agent.identity.local_ca import LocalAuthority
from agent.identity.record import KEEP, Slot
from agent.identity.slots import Slots
from agent.identity.sources import Asked, fetch
from agent.identity.stores.file import FileKeys
from agent.identity.tokens import Stored, Tokens
from agent.identity.watch import Watch
from tests.conformance.test_link_tls import SecureBroker
from tests.identity.test_hostile_brokers import QUICK, Daemon

YEAR = 365.25 * 86400
WRONG = {
    "1970": 12.0,
    "2020": dt.datetime(2020, 1, 1, tzinfo=dt.UTC).timestamp(),
    "2038": 2.0**31 + 5,
    "-10 years": -10 * YEAR,
    "+10 years": 10 * YEAR,
}


class Clock:
    """A wall clock that somebody sets, and a monotonic one that goes on."""

    def __init__(self) -> None:
        self.real = dt.datetime.now(dt.UTC).timestamp()
        self.offset, self.mono, self.quality = 0.0, 1000.0, TRUSTED

    def now(self) -> Moment:
        return Moment(self.real + self.offset + self.mono - 1000.0, self.mono, "boot", self.quality)

    def set(self, wrong: str) -> None:
        value = WRONG[wrong]
        self.offset = value if "years" in wrong else value - self.real

    def plausible(self) -> float | None:
        return plausible(self.now().wall)


class Hub:
    """Slots, credentials and a watch by that clock. What is signed is signed at the right time: an authority has a clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.authority = Clock(), Authority(folder)
        self.slots = Slots(folder / "identity", FileKeys(folder / "identity" / "keys"), self.clock.plausible)
        self.source = LocalAuthority(self.authority.ca, self.authority.key_file(), 5, Subject("hub-1"))
        self.credentials = Credentials(self.slots, self.clock)
        self.credentials.join("main")
        self.watch = Watch(self.credentials, self.clock, lambda: self.source, lambda _name: None, lambda: None)

    async def first(self) -> None:
        await fetch(self.slots, self.source, "first")
        self.connect("a")

    def connect(self, slot: Slot) -> None:
        assert self.credentials.choose("main") == slot
        self.credentials.connected("main", slot)

    def live(self, seconds: float) -> None:
        self.clock.mono += seconds
        self.credentials.lived("main")


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path)


@pytest.mark.parametrize("wrong", ["1970", "2020", "-10 years"])
async def test_before_the_clock_is_set_a_certificate_is_not_judged_by_it(hub: Hub, wrong: str) -> None:
    hub.clock.set(wrong)
    await hub.first()
    assert hub.watch.age() is None, "not known, and not expired"
    assert hub.watch.status()["state"] == "unknown"
    assert hub.watch._next() is None, "nothing is renewed by such a clock"
    hub.clock.offset = 0.0
    stand = hub.watch.age()
    assert stand is not None
    assert stand.state == "fine"


@pytest.mark.parametrize("wrong", ["2038", "+10 years"])
async def test_a_clock_of_the_future_takes_no_certificate_and_loses_none(hub: Hub, wrong: str) -> None:
    await hub.first()
    hub.clock.set(wrong)
    stand = hub.watch.age()
    assert stand is not None
    assert stand.state == "expired"
    with pytest.raises(CertificateTroubleError, match="the certificate is valid from"):
        await fetch(hub.slots, hub.source, "age")
    assert hub.slots.record.current == "a"
    hub.connect("a")
    hub.live(2 * KEEP)
    assert hub.slots.sound("a"), "what works is not taken away because of its date"
    hub.clock.offset = 0.0
    await fetch(hub.slots, hub.source, "age")
    hub.connect("b")
    assert hub.slots.record.current == "b"


@pytest.mark.parametrize("wrong", list(WRONG))
@pytest.mark.parametrize("arrow", ["asked", "arrived", "connected", "living"])
async def test_a_jump_at_any_arrow_of_a_rotation_changes_nothing(hub: Hub, wrong: str, arrow: str) -> None:
    """The trial's turns and the day of health go by the monotonic clock."""
    await hub.first()
    hub.slots.ask("age")
    if arrow == "asked":
        hub.clock.set(wrong)
        hub.clock.offset = min(hub.clock.offset, 0.0)  # by a clock of the future it is refused: the test above
    await fetch(hub.slots, hub.source, "age")
    if arrow == "arrived":
        hub.clock.set(wrong)
    hub.connect("b")
    if arrow == "connected":
        hub.clock.set(wrong)
    assert (hub.slots.record.current, hub.slots.record.fallback) == ("b", "a")
    hub.live(KEEP / 2)
    if arrow == "living":
        hub.clock.set(wrong)
    hub.live(KEEP / 2 - 1)
    assert hub.slots.record.fallback == "a", "not a second too soon"
    hub.live(2)
    assert (hub.slots.record.current, hub.slots.record.fallback) == ("b", None)
    assert hub.slots.sound("b")
    assert hub.credentials.choose("main") == "b"


@pytest.mark.parametrize("wrong", list(WRONG))
async def test_a_jump_gives_a_refused_candidate_no_other_turns(hub: Hub, wrong: str) -> None:
    await hub.first()
    await fetch(hub.slots, hub.source, "age")
    for _ in range(3):
        assert hub.credentials.choose("main") == "b"
        hub.credentials.lost("main", "b", "refused", stood=False)
    hub.connect("a")
    hub.clock.set(wrong)
    assert hub.credentials.choose("main") == "a", "for a minute by the monotonic clock"
    hub.clock.mono += 61
    assert hub.credentials.choose("main") == "b"


@pytest.mark.parametrize("wrong", ["1970", "2020", "2038"])
async def test_an_authority_signs_nothing_that_was_never_valid(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """One of one's own has the hub's clock: it waits for a better one."""

    class Wrong(dt.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Wrong":
            return cls.fromtimestamp(WRONG[wrong], tz)

    monkeypatch.setattr("agent.identity.local_ca.datetime", Wrong)
    slot = hub.slots.ask("first")
    with pytest.raises(TryAgainError, match="signs nothing that is valid"):
        await hub.source.obtain(Asked(hub.slots, slot, None))


@pytest.mark.parametrize("wrong", list(WRONG))
def test_no_token_is_made_while_the_clock_is_not_trusted(hub: Hub, wrong: str) -> None:
    hub.slots.keys.generate("hub-a")
    tokens = Tokens(Stored(hub.slots.keys, "hub-a"), "hub-1", hub.clock)
    kept = tokens.token()
    hub.clock.quality = ESTIMATED
    hub.clock.set(wrong)
    tokens.forget()
    with pytest.raises(TryAgainError, match="not trusted"):
        tokens.token()
    hub.clock.quality, hub.clock.offset = TRUSTED, 0.0
    assert tokens.token().split(".")[1] == kept.split(".")[1], "the same claims: the wrong clock has left nothing"


# ---- the whole daemon -------------------------------------------------------------------------------------------------


class Wrong(Daemon):
    """The daemon under libfaketime: its wall clock is what a file says, its monotonic one is the machine's."""

    def run(self) -> None:
        library = subprocess.run(
            ["faketime", "-f", "+0", "printenv", "LD_PRELOAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        told = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(self.folder / "clock"), "FAKETIME_NO_CACHE": "1"}
        more = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1"}
        command = [sys.executable, "-c", QUICK, "run", "-c", str(self.config)]
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **told, **more})

    def late_agent(self, offset: str, *words: str) -> subprocess.CompletedProcess[str]:
        """A command by a clock of its own."""
        command = ["faketime", "-f", offset, sys.executable, "-m", "agent.cli", *words, "-c", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def set(self, offset: str) -> None:
        """So far from the right time: "+0", "-10y"."""
        beside = self.folder / "clock.new"
        beside.write_text(offset + "\n")
        beside.replace(self.folder / "clock")


@pytest.fixture
def authority(broker_folder: Path) -> Authority:
    return Authority(broker_folder)


@pytest.fixture
def secure(broker_folder: Path, authority: Authority) -> Iterator[SecureBroker]:
    authority.issue("broker")
    made = SecureBroker(broker_folder, authority)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def daemon(tmp_path: Path, secure: SecureBroker, authority: Authority) -> Iterator[Wrong]:
    made = Wrong(tmp_path, secure.tls_port, authority)
    made.set("+0")
    yield made
    made.stop(signal.SIGKILL)


def years_to(year: int) -> str:
    away = year - dt.datetime.now(dt.UTC).year
    return f"{away * 365:+d}d"


@pytest.mark.conformance
@pytest.mark.parametrize("year", [1970, 2020, 2038])
async def test_a_hub_that_starts_with_a_wrong_clock_is_provisioned_once_it_is_set(daemon: Wrong, year: int) -> None:
    daemon.set(years_to(year))
    daemon.run()
    await until_async(daemon.status_async, lambda _told: "signs nothing" in daemon.log, 20.0)
    daemon.lives()
    assert not daemon.keys() or daemon.keys() == ["hub-a.key"]
    daemon.set("+0")
    told = (await daemon.online("a"))["certificate"]
    assert told["state"] == "fine"


@pytest.mark.conformance
async def test_a_certificate_that_is_not_yet_valid_is_waited_for_and_blames_nobody(
    daemon: Wrong, secure: SecureBroker, authority: Authority
) -> None:
    """The broker's, to a hub whose clock is behind; a new one that is brought to it; and the hub's own, to a broker that knows the time."""
    daemon.run()
    first = (await daemon.online("a"))["certificate"]
    record = daemon.record()
    secure.stop()
    daemon.set("-30d")
    secure.start()
    await daemon.away("not yet valid")
    assert "this hub's clock is behind; it is tried again" in daemon.log
    request = daemon.agent("identity", "csr").stdout
    brought = authority.sign_request(request, "brought")
    refused = await asyncio.to_thread(daemon.late_agent, "-30d", "identity", "install", str(brought))
    assert refused.returncode == 69
    assert "the certificate is valid from" in " ".join(refused.stderr.split())
    assert "check the hub's clock" in " ".join(refused.stderr.split())
    daemon.set("+0")
    told = (await daemon.online("a"))["certificate"]
    assert (told["certificateId"], told["trouble"]) == (first["certificateId"], "")
    assert daemon.record()["held"]["a"]["begins"] == record["held"]["a"]["begins"]
    daemon.stop(signal.SIGTERM)
    public = json.loads(daemon.agent("identity", "show", "--json").stdout)["public_key"]
    authority.certify(public, daemon.identity / "hub-a.pem", begins=2, ends=30)
    record["held"]["a"] |= {"begins": record["held"]["a"]["begins"] + 3 * 86400, "proved": 0.0}
    (daemon.identity / "identity.json").write_text(json.dumps(record))
    daemon.run()
    told = await daemon.away("the hub's certificate is valid only from")
    assert told["certificate"]["slot"] == "a"


@pytest.mark.conformance
@pytest.mark.parametrize("offset", ["-3650d", "+3650d", years_to(1970), years_to(2038)])
async def test_a_jump_in_the_middle_of_a_rotation_ends_well_when_the_clock_is_right_again(
    daemon: Wrong, secure: SecureBroker, offset: str
) -> None:
    """While it is wrong the broker's own certificate is of another time, and the daemon says so; nothing is thrown away for that."""
    daemon.run()
    first = (await daemon.online("a"))["certificate"]
    secure.stop()
    with (daemon.folder / "rotate.log").open("wb") as log:
        rotating = forked.Popen(
            [sys.executable, "-m", "agent.cli", "identity", "rotate", "-c", str(daemon.config)], stdout=log, stderr=log
        )
    await until_async(daemon.status_async, lambda told: told["certificate"].get("rotation") == "candidate", 20.0)
    daemon.set(offset)
    secure.start()
    await daemon.away("clock")
    daemon.set("+0")
    told = (await daemon.online("b"))["certificate"]
    assert told["state"] == "fine"
    assert told["certificateId"] != first["certificateId"]
    assert await asyncio.to_thread(rotating.wait, 20) == 0
    assert daemon.keys() == ["hub-a.key", "hub-b.key"]
