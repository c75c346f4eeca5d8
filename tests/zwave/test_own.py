"""What the hub says of itself."""

import time

import pytest

from drivers.zwave import clocks
from drivers.zwave.codec import Command, decode, make, names
from drivers.zwave.own import OWN_CLASSES, answer


def ask(request: bytes, *, secure: bool = False, now: time.struct_time | None = None) -> Command | None:
    report = answer(decode(request), secure=secure, identity=(0x27F, 4, 1), firmware=(7, 23, 2), now=now)
    found = None if report is None else decode(report)
    assert found is None or isinstance(found, Command)
    return found


def test_what_it_is() -> None:
    version = ask(make("Version Get"))
    assert version is not None
    assert (version["protocol"], version["protocol_sub"]) == (7, 23)
    maker = ask(make("Manufacturer Specific Get"))
    assert maker is not None
    assert maker["manufacturer"] == 0x27F
    plus = ask(make("Z-Wave Plus Info Get"))
    assert plus is not None
    assert plus["role"] == 0


@pytest.mark.parametrize(("number", "version"), [(0x86, 2), (0x25, 0)])
def test_what_it_has(number: int, version: int) -> None:
    report = ask(make("Version Command Class Get", command_class=number))
    assert report is not None
    assert report["version"] == version
    assert next(iter(OWN_CLASSES)) == 0x5E


FRIDAY = time.struct_time((2026, 11, 27, 22, 5, 60, 4, 331, 0))


def test_what_time_it_is() -> None:
    told = ask(make("Time Get"), now=FRIDAY)
    assert told is not None
    assert (told["hour"], told["minute"], told["second"], told["clock_failure"]) == (22, 5, 59, False)
    date = ask(make("Time Date Get"), now=FRIDAY)
    assert date is not None
    assert (date["year"], date["month"], date["day"]) == (2026, 11, 27)
    unsure = ask(make("Time Get"))
    assert unsure is not None
    assert unsure["clock_failure"]
    assert ask(make("Time Date Get")) is None


@pytest.mark.parametrize(
    ("weekday", "hour", "minute", "wrong"),
    [(5, 22, 5, False), (5, 22, 6, False), (5, 22, 7, True), (5, 23, 5, True), (4, 22, 5, True), (0, 22, 5, True)],
)
def test_a_clock_that_is_off_is_known(weekday: int, hour: int, minute: int, *, wrong: bool) -> None:
    report = Command("Clock Report", {"weekday": weekday, "hour": hour, "minute": minute})
    assert clocks.wrong(report, FRIDAY) is wrong
    midnight = time.struct_time((2026, 11, 30, 0, 0, 0, 0, 334, 0))
    assert not clocks.wrong(Command("Clock Report", {"weekday": 7, "hour": 23, "minute": 59}), midnight)


@pytest.mark.parametrize("security", ["Security 2", "Security 0"])
def test_what_it_has_with_security_is_said_with_security_only(security: str) -> None:
    assert ask(make(f"{security} Commands Supported Get")) is None
    assert ask(make(f"{security} Commands Supported Get"), secure=True) is not None


def test_no_report_is_answered() -> None:
    reports = [name for name in names() if name.endswith("Report")]
    answers = [answer(Command(name), secure=True, identity=(0, 0, 0), firmware=(0, 0)) for name in reports]
    assert answers == [None] * len(reports)
