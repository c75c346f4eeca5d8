"""What the hub says of itself."""

import pytest

from drivers.zwave.codec import Command, decode, make, names
from drivers.zwave.own import OWN_CLASSES, answer


def ask(request: bytes, *, secure: bool = False) -> Command | None:
    report = answer(decode(request), secure=secure, identity=(0x27F, 4, 1), firmware=(7, 23, 2))
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


@pytest.mark.parametrize("security", ["Security 2", "Security 0"])
def test_what_it_has_with_security_is_said_with_security_only(security: str) -> None:
    assert ask(make(f"{security} Commands Supported Get")) is None
    assert ask(make(f"{security} Commands Supported Get"), secure=True) is not None


def test_no_report_is_answered() -> None:
    reports = [name for name in names() if name.endswith("Report")]
    answers = [answer(Command(name), secure=True, identity=(0, 0, 0), firmware=(0, 0)) for name in reports]
    assert answers == [None] * len(reports)
