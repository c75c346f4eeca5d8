"""A network behind a zwave-js-server: who is used, who is kept out, and what outlives a connection."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from zwave.server_rig import Json, Said, everything, home

from agent.driver import DeviceRefused, DeviceUnreachable, DriverLost, NotNow, UnknownDevice
from agent.model import (
    Availability,
    AvailabilityChanged,
    DeviceFound,
    DeviceJoining,
    DeviceLost,
    Discovery,
    Exclusion,
    JoinWindow,
    Report,
)
from drivers.zwave import server_joining
from drivers.zwave.security import dsk
from drivers.zwave.server_home import Home
from drivers.zwave.server_perform import Contract

DSK = bytes(range(100, 116))
STATE, DUMP = everything()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """These servers do not say what state they are in unless a test does."""
    monkeypatch.setattr(server_joining, "STATE_TIMEOUT", 0.05)


class Asked(list[tuple[str, Json]]):
    """The requests that a server got; its answers."""

    def __init__(self, **answers: Any) -> None:
        super().__init__()
        self.answers = {"node_create_dump": {"dump": DUMP}, **answers}

    def __call__(self, command: str, **arguments: Any) -> Json:
        self.append((command, arguments))
        answer = self.answers.get(command.replace(".", "_"), {"success": True})
        if isinstance(answer, Exception):
            raise answer
        found: Json = answer
        return found

    def commands(self) -> list[str]:
        return [command for command, _ in self]


@asynccontextmanager
async def serving(
    folder: Path, asked: Callable[..., Json], *nodes: Json, **settings: Any
) -> AsyncIterator[tuple[Home, Contract, Said]]:
    made, said = home(folder, asked, *nodes, **settings)
    contract = Contract(made)
    running = asyncio.create_task(made.serve())
    await until(lambda: said.of(JoinWindow))
    try:
        yield made, contract, said
    finally:
        made.socket.close("the test is over")
        with suppress(DriverLost):
            await running


def changes(made: Home, *states: int) -> None:
    for state in states:
        made._on_event({"source": "controller", "event": "inclusion state changed", "state": state})


def added(made: Home, **result: Any) -> None:
    node = {**STATE, "ready": False, "highestSecurityClass": result.pop("highest", 0), **result.pop("node", {})}
    made._on_event({"source": "controller", "event": "node found", "node": {"nodeId": 5}})
    made._on_event({"source": "controller", "event": "node added", "node": node, "result": result})


async def test_a_server_that_starts_anew_ends_the_session(tmp_path: Path) -> None:
    made, said = home(tmp_path, Asked(), STATE)
    running = asyncio.create_task(made.serve())
    await until(lambda: said.of(DeviceFound))
    made._on_event({"source": "driver", "event": "driver ready"})
    with pytest.raises(DriverLost, match="anew"):
        await running


async def test_nodes_are_known_and_one_that_is_overdue_is_offline(tmp_path: Path) -> None:
    sleeper = {**STATE, "isListening": False, "status": 1, "lastSeen": "2020-01-01T00:00:00.000Z"}
    async with serving(tmp_path, Asked(), sleeper) as (_, _, said):
        await until(lambda: said.of(AvailabilityChanged))
        assert said.of(DeviceFound)[0].known
        assert said.of(AvailabilityChanged)[0].availability is Availability.OFFLINE


async def test_what_is_removed_by_force_is_forgotten_also_where_the_server_keeps_it(tmp_path: Path) -> None:
    asked = Asked(controller_remove_failed_node=DeviceRefused("the node responded"))
    async with serving(tmp_path, asked, STATE) as (_, contract, said):
        await until(lambda: said.of(DeviceFound))
        await contract.remove("5", force=True)
        assert "the node responded" in said.of(DeviceLost)[0].reason
        with pytest.raises(UnknownDevice):
            await contract.refresh("5")
    async with serving(tmp_path, asked, STATE) as (made, contract, said):
        await asyncio.sleep(0)
        assert made.nodes == {}
        made._on_event({"source": "controller", "event": "node removed", "node": {"nodeId": 5}, "reason": 0})
        with pytest.raises(UnknownDevice):
            await contract.remove("5", force=False)
    async with serving(tmp_path, asked, STATE) as (_, _, said):
        await until(lambda: said.of(DeviceFound))


@pytest.mark.parametrize(
    ("policy", "result", "why"),
    [
        ("s2", {"lowSecurity": True, "lowSecurityReason": 6}, "the PIN is not this device's"),
        ("s2", {"lowSecurity": False, "highest": -1}, "no S2"),
        ("s0", {"lowSecurity": False, "highest": -1}, "no S2"),
        ("none", {"lowSecurity": True, "lowSecurityReason": 8}, "less security"),
        ("s0", {"lowSecurity": False, "highest": 7}, ""),
        ("none", {"lowSecurity": False, "highest": -1}, ""),
        ("s2", {"lowSecurity": False, "highest": 1}, ""),
    ],
)
async def test_the_policy_decides_who_stays(tmp_path: Path, policy: str, result: Json, why: str) -> None:
    asked = Asked()
    async with serving(tmp_path, asked, security=policy) as (made, contract, said):
        await contract.discover(Discovery("d1", "ZWAVE", 60))
        options = next(arguments for command, arguments in asked if command == "controller.begin_inclusion")["options"]
        assert options == ({"strategy": 4} if policy == "s2" else {"strategy": 0, "forceSecurity": True})
        changes(made, 1, 3, 0)
        await asyncio.sleep(0)
        added(made, **result)
        stage = said.of(DeviceJoining)[-1]
        assert stage.stage == ("failed" if why else "interviewing")
        assert why in stage.detail
        assert (5 in made.nodes) is not bool(why)
        if why:
            await until(lambda: "controller.begin_exclusion" in asked.commands())
        changes(made, 0)


async def test_keys_are_granted_and_pins_given_for_the_device_of_the_code_alone(tmp_path: Path) -> None:
    asked = Asked()

    def grant(made: Home, classes: list[int]) -> Any:
        asked.clear()
        made._on_event(
            {"source": "controller", "event": "grant security classes", "requested": {"securityClasses": classes}}
        )
        return lambda: next((a["inclusionGrant"] for c, a in asked if c == "controller.grant_security_classes"), None)

    async with serving(tmp_path, asked) as (made, contract, _):
        await contract.discover(Discovery("d1", "ZWAVE", 60))
        given = grant(made, [0, 1, 2, 7])
        await until(given)
        assert given() == {"securityClasses": [0], "clientSideAuth": False}
        refused = grant(made, [1, 2])
        await until(lambda: refused() is not None)
        assert refused() is False
        changes(made, 1, 0)
        await contract.stop_discovery()
        await contract.discover(Discovery("d2", "ZWAVE", 60, dsk.to_text(DSK)))
        shown = dsk.to_text(DSK)[dsk.DIGITS :]
        for text, pin in ((shown, dsk.to_text(DSK)[: dsk.DIGITS]), (shown[:-1] + "0", False)):
            asked.clear()
            made._on_event({"source": "controller", "event": "validate dsk and enter pin", "dsk": text})
            await until(lambda pin=pin: ("controller.validate_dsk_and_enter_pin", {"pin": pin}) in asked)  # type: ignore[misc]
        changes(made, 1, 0)
        await contract.stop_discovery()


async def test_a_question_ends_with_the_window_and_with_the_exchange_of_keys(tmp_path: Path) -> None:
    asked = Asked()
    attended = Discovery("d1", "ZWAVE", 60, attended=True)

    def ask(made: Home) -> None:
        made._on_event({"source": "controller", "event": "node found", "node": {"nodeId": 5}})
        made._on_event({"source": "controller", "event": "validate dsk and enter pin", "dsk": "-22222-33333"})

    async def open_window(made: Home, contract: Contract) -> None:
        opening = asyncio.create_task(contract.discover(attended))
        await until(lambda: made.left_open)
        changes(made, 1)
        await opening

    async with serving(tmp_path, asked) as (made, contract, said):
        await open_window(made, contract)
        ask(made)
        assert said.of(DeviceJoining)[-1].stage == "pin"
        closing = asyncio.create_task(contract.stop_discovery())
        await until(lambda: ("controller.validate_dsk_and_enter_pin", {"pin": False}) in asked)
        result = {"lowSecurity": True, "lowSecurityReason": 2}
        made._on_event({"source": "controller", "event": "node added", "node": STATE, "result": result})
        assert "nobody gave the device's PIN" in said.of(DeviceJoining)[-1].detail
        changes(made, 0)
        await closing
        await open_window(made, contract)
        ask(made)
        made._on_event({"source": "controller", "event": "inclusion aborted"})
        with pytest.raises(NotNow):
            contract.reply("5", "12345")
        ask(made)
        asked.clear()
        window = contract._joining._window
        assert window is not None
        window.cancel()  # the hub stops: the server is not left with the question
        await until(lambda: ("controller.validate_dsk_and_enter_pin", {"pin": False}) in asked)
        changes(made, 0)
        await asyncio.wait({window})


async def test_a_device_that_the_server_could_not_remove_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path, Asked()) as (made, contract, said):
        opening = asyncio.create_task(contract.exclude(60))
        await until(lambda: made.left_open)
        changes(made, 2)
        await opening
        made._on_event({"source": "controller", "event": "exclusion failed"})
        changes(made, 0)
        await until(lambda: len(said.of(Exclusion)) > 1)
        assert [one.stage for one in said.of(Exclusion)] == ["open", "failed"]
        changes(made, 2, 0)
        await contract.stop_discovery()
        assert said.of(Exclusion)[-1].stage == "closed"


async def test_a_node_that_another_client_lets_in_is_taken_as_it_is(tmp_path: Path) -> None:
    async with serving(tmp_path, Asked()) as (made, _, said):
        added(made, highest=-1, lowSecurity=True)
        made._on_event({"source": "node", "event": "ready", "nodeId": 5, "nodeState": STATE})
        await until(lambda: said.of(DeviceFound))
        assert not said.of(DeviceFound)[0].known


async def test_a_new_interview_ends_with_the_node_that_is_ready_or_with_its_failure(tmp_path: Path) -> None:
    async with serving(tmp_path, Asked(), STATE) as (made, contract, said):
        await until(lambda: said.of(DeviceFound))
        again = asyncio.create_task(contract.interview("5"))
        await until(lambda: made._waiting)
        made._on_event({"source": "node", "event": "ready", "nodeId": 5, "nodeState": STATE})
        await again
        assert not said.of(DeviceFound)[1].known
        again = asyncio.create_task(contract.interview("5"))
        await until(lambda: made._waiting)
        failed = {"errorMessage": "it is silent", "isFinal": True}
        made._on_event({"source": "node", "event": "interview failed", "nodeId": 5, "args": failed})
        with pytest.raises(DeviceUnreachable, match="silent"):
            await again


async def test_a_window_that_was_open_when_the_connection_broke_is_closed(tmp_path: Path) -> None:
    asked = Asked()
    async with serving(tmp_path, asked) as (made, contract, _):
        await contract.discover(Discovery("d1", "ZWAVE", 60))
        made.socket.close("the cable was pulled")
    asked.clear()
    made, said = home(tmp_path, asked)
    made.controller = {**made.controller, "inclusionState": 1}
    Contract(made)
    running = asyncio.create_task(made.serve())
    await until(lambda: "controller.stop_inclusion" in asked.commands())
    changes(made, 0)
    await until(lambda: not made.left_open)
    running.cancel()
    await asyncio.wait({running})
    assert said.of(JoinWindow)[0].seconds == 0


async def test_values_of_one_report_are_told_together(tmp_path: Path) -> None:
    async with serving(tmp_path, Asked(), STATE) as (made, _, said):
        await until(lambda: said.of(DeviceFound))
        said.clear()
        for name, value in (("currentMode", 0), ("boltStatus", "unlocked"), ("doorStatus", "open")):
            args = {"commandClass": 0x62, "endpoint": 0, "property": name, "newValue": value, "prevValue": None}
            made._on_event({"source": "node", "event": "value updated", "nodeId": 5, "args": args})
        await until(lambda: said)
        told = {key: value for one in said.of(Report) for key, value in one.properties.items()}
        assert told == {"LockState": 2, "DoorState": 0}
