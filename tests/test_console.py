"""What people see: texts of others are shown as they are, whole, and never act on the terminal."""

import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agent import console
from agent.log_format import printable

ODD = (
    "[/x]",
    "evil[/red]m",
    "[link=http://x]y",
    "a\\",
    "\\[b]",
    ":warning:",
    "\x1b[2J\x1b]0;x\x07",
    "\u202efdp.exe",
    "\ud800",
)
TEXT = st.one_of(st.sampled_from(ODD), st.text(alphabet=st.characters(exclude_categories=[]), max_size=30))
OURS = re.compile(r"\x1b\[[0-9;]*m")  # colours; nothing else is ours
ACTS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Screen:
    """A colour terminal of `width` columns, or a file in its place."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, width: int, *, terminal: bool = True) -> None:
        self.file = io.StringIO()
        for name in ("out", "err"):
            made = Console(file=self.file, width=width, force_terminal=terminal, color_system="standard")
            monkeypatch.setattr(console, name, made)

    def shown(self) -> str:
        text = OURS.sub("", self.file.getvalue())
        assert not ACTS.search(text), repr(text)
        return text


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as made:
        yield made


def device(text: str = "bulb", node_id: str = "zb.1A62+4A1D") -> dict[str, Any]:
    capability = {"id": "matter.OnOff@1.4", "state": {"OnOff": text}, "actions": ["On", text]}
    return {
        "nodeId": node_id,
        "manufacturer": text,
        "model": text,
        "address": "00:12:4b:00:00:00:00:01",
        "status": "ACTIVATED",
        "availability": "online",
        "managedThingId": text,
        "deviceTypes": ["Color Temperature Light", text],
        "endpoints": [{"id": "1", "deviceTypes": [text], "capabilities": [capability]}],
        "unmapped": [text],
        "radio": {"link": {"rssi": -61, text: text}, "routes": text},
    }


def status(text: str) -> dict[str, Any]:
    radio = {"kind": text, "status": "away", "identity": "", "reason": text, "joinWindow": 0, "channel": text}
    uplink = {"status": text, "reason": text, "inMemory": 0, "onDisk": 0, "counters": {}}
    return {
        "hub": text,
        "version": text,
        "clock": {"now": "2026-01-01T00:00:00Z", "quality": text},
        "radios": {text: radio},
        "uplinks": {text: uplink},
        "devices": 1,
        "openCommands": 0,
        "networkMode": "NETWORK_WIDE_EXCLUSION",
        "store": {"full": True},
        "certificate": dict.fromkeys(("slot", "source", "state", "rotation", "keyStore", "trouble"), text)
        | {"daysLeft": 1.5, "proved": 0.0},
        "counters": {text: 1},
    }


def watch(text: str) -> None:
    lines: list[dict[str, Any]] = [
        {"what": "window", "seconds": 0},
        {"what": "window", "seconds": 5},
        {"what": "joining", "device": text, "stage": text, "detail": text},
        {"what": "found", "nodeId": text, "model": text, "address": text},
        {"what": "window", "seconds": 0},
    ]
    console.watch_discovery(iter(lines))


@pytest.mark.parametrize(
    "show",
    [
        lambda text: console.show_error(text, text),
        lambda text: console.show_devices([device(text, text)]),
        lambda text: console.show_device(device(text, text)),
        lambda text: console.show_status(status(text)),
        watch,
    ],
    ids=["error", "devices", "device", "status", "discovery"],
)
@given(text=TEXT)
def test_no_text_of_others_is_markup_or_acts_on_the_terminal(show: Any, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        screen = Screen(patch, 5000, terminal=show is not watch)  # a spinner moves the cursor
        show(text)
        (visible, *_) = printable(text).split("\n")
        assert visible.strip() in screen.shown()


def test_an_extra_is_told_with_its_brackets(patch: pytest.MonkeyPatch) -> None:
    screen = Screen(patch, 80)
    console.show_error("it needs more", "pip install '.[cloud]'")
    assert "pip install '.[cloud]'" in screen.shown()


@pytest.mark.parametrize("width", [80, 60, 40])
def test_ids_are_shown_whole_and_nothing_is_cut(patch: pytest.MonkeyPatch, width: int) -> None:
    screen = Screen(patch, width)
    console.show_devices([device("bulb with a long name"), device(node_id="zb.7FB2+2A4C-1")])
    text = screen.shown()
    assert "zb.1A62+4A1D" in text
    assert "zb.7FB2+2A4C-1" in text
    assert "…" not in text
    lines = text.splitlines()[1:]
    assert {len(line) for line in lines} == {width}
    assert all(line[-1] in "┓┃┩│┘" for line in lines), "the last column is there"


def test_a_discovery_tells_when_devices_can_join(patch: pytest.MonkeyPatch) -> None:
    """It lasts longer than the window: the radio may be starting before, interviews may be under way after."""
    screen = Screen(patch, 200, terminal=False)
    watch("bulb")
    first, *steps, last = screen.shown().splitlines()
    assert first == "join window open for 5 s: put devices in pairing mode now"
    assert [step.split()[0] for step in steps] == ["bulb", "bulb"]
    assert last.startswith("join window closed")
