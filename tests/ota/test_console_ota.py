"""What a person asks about updates, over the control socket and the command line."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from ota_machine import Machine, update
from rich.console import Console
from slots_rig import tree

from agent import cli, console
from agent.client import Client
from agent.commands.ota import ENDS
from agent.console_ota import ConsoleOta, OtaBody
from agent.control import ApiError, Call, ControlServer
from agent.errors import Exit, HubError, UsageError
from agent.ota.engine import Engine
from agent.ota.parts import Policy
from agent.ota.plan import State

NEW = ("agent.tar.gz", tree("2.0"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.policy = Policy(automatic=False, hub="hub-1")
    made.board.start()
    return made


async def asked(machine: Machine, work: Callable[[Engine, Callable[..., Awaitable[Any]]], Awaitable[None]]) -> bool:
    """One process with a control socket; `work` gets a client that asks with (path) or (path, body)."""

    async def serve(engine: Engine) -> None:
        told = ConsoleOta(lambda: engine, lambda: 1_796_083_200.0)

        async def api(call: Call) -> Any:
            if call.method == "GET":
                return told.tasks("/".join(call.path[1:]))
            return told.ask(OtaBody.model_validate(call.body))

        server = ControlServer(machine.folder / "run", api)
        await server.start()
        client = Client(machine.folder / "run")

        async def ask(path: str, body: dict[str, Any] | None = None) -> Any:
            if body is None:
                return await asyncio.to_thread(client.get, path)
            return await asyncio.to_thread(lambda: list(client.stream(path, body)))

        try:
            await work(engine, ask)
        finally:
            await server.stop()

    return await machine.life(serve)


async def test_an_update_is_applied_shown_approved_and_withdrawn(machine: Machine) -> None:
    path = machine.offer_files(**update(NEW))["path"]

    async def work(engine: Engine, ask: Callable[..., Awaitable[Any]]) -> None:
        applying = asyncio.create_task(ask("ota", {"op": "apply", "path": path}))
        await until(lambda: any(task.state == State.WAITING for task in engine.tasks.values()), 10.0)
        (task,) = await ask("ota")
        assert (task["state"], task["release"], task["component"], task["from"]) == ("WAITING", "2.0", "agent", "1.0")
        assert await ask(f"ota/{task['key']}") == task
        (said,) = await ask("ota", {"op": "postpone", "seconds": 3600})
        assert (said["what"], said["key"]) == ("postpone", task["key"])
        (said,) = await ask("ota", {"op": "confirm"})
        assert (said["what"], said["error"]) == ("failed", "it is not on trial")
        await ask("ota", {"op": "cancel"})
        lines = await applying
        assert [line["state"] for line in lines][-1] == "CANCELED"
        assert lines[-1]["done"]
        assert json.dumps(lines).count("withdrawn by a person") == 1

    assert not await asked(machine, work)


def line(state: str, **changes: Any) -> dict[str, Any]:
    told = {
        "key": "local/1/1",
        "release": "2.0",
        "component": "agent",
        "from": "1.0",
        "percent": 0,
        "code": "",
        "detail": "",
    }
    return {**told, "state": state, "done": state in ENDS, **changes}


def test_how_far_an_update_is_is_shown_as_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    out, bars = io.StringIO(), io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=out, width=160))
    monkeypatch.setattr(console, "err", Console(file=bars, width=100, force_terminal=True))
    console.show_updates([line("DOWNLOADING", percent=45), line("WAITING", detail="a hiccup")])
    assert "#########........... 45 %" in out.getvalue()
    assert "a hiccup" in out.getvalue()
    assert out.getvalue().count(" %") == 1
    devices = line("ACTIVATING", component="bulbs", percent=30, detail="3 of 10 devices")
    told = [line("DOWNLOADING", percent=45), devices, line("SUCCEEDED")]
    assert console.watch_update(iter(told))["state"] == "SUCCEEDED"
    assert "bulbs 3 of 10 devices" in bars.getvalue()
    assert "30/100" in bars.getvalue()


@pytest.mark.parametrize(("follow", "code"), [([], 0), (["--follow"], 69)], ids=["shown", "followed"])
async def test_an_update_that_has_failed_is_no_success_to_who_follows_it(
    machine: Machine, follow: list[str], code: int
) -> None:
    document = machine.offer_files(labels=("ed-a", "ed-b"), **update(NEW))
    config = machine.folder / "agent.toml"
    config.write_text(f'[hub]\nruntime_dir = "{machine.folder}/run"\nstate_dir = "{machine.folder}/hub"\n')

    async def work(engine: Engine, ask: Callable[..., Awaitable[Any]]) -> None:
        lines = await ask("ota", {"op": "apply", "path": document["path"]})
        assert lines[-1]["state"] == "REJECTED"
        command = ["ota", "status", *follow, "-c", str(config)]
        assert await asyncio.to_thread(cli.main, command) == code

    assert not await asked(machine, work)


async def test_what_is_not_there_is_said_with_its_remedy(machine: Machine) -> None:
    async def work(_engine: Engine, ask: Callable[..., Awaitable[Any]]) -> None:
        with pytest.raises(HubError, match="no update is under way") as caught:
            await ask("ota", {"op": "approve"})
        assert "agent ota list" in caught.value.remedy
        with pytest.raises(HubError, match="there is no update 'local/x/1'"):
            await ask("ota/local/x/1")
        with pytest.raises(UsageError, match="an absolute path"):
            await ask("ota", {"op": "apply", "path": "release.json"})

    assert not await asked(machine, work)


async def test_a_hub_without_a_root_says_how_to_get_updates() -> None:
    told = ConsoleOta(lambda: None, lambda: 0.0)
    assert told.tasks("") == []
    with pytest.raises(ApiError, match="no root is pinned") as caught:
        told.ask(OtaBody(op="apply", path="/x"))
    assert "ota.root" in caught.value.remedy


def test_a_release_that_is_not_there_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ota", "apply", str(tmp_path / "release.json"), "-c", str(tmp_path / "none.toml")]) == Exit.USAGE
    assert "there is no such file" in capsys.readouterr().err


def test_why_an_update_does_not_go_on_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    about = {"release": "2.0", "component": "bulb", "state": "ACTIVATING", "percent": 0}
    details = ("", "0 of 3 devices run it", "0 of 3 devices run it", "1 of 3 devices run it")
    console.watch_update(iter([{**about, "detail": detail} for detail in details]))
    assert capsys.readouterr().out.count("of 3 devices run it") == 2
