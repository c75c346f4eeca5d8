"""The home, over the control socket: status, devices, discovery, commands."""

import argparse
import json
import os
import select
import sys
import time
from typing import Any

from agent.commands import Commands, print_lines
from agent.errors import Exit, HubError, UsageError


def register(commands: Commands) -> None:
    commands.add("status", _status, "state of the hub, its radios, uplinks and queue")
    commands.add("metrics", _metrics, "the hub's figures in Prometheus' text format", as_json=False)
    commands.add("devices", _devices, "the devices")
    commands.add("device", _device, "one device with its capabilities and state").add_argument("id", metavar="ID")
    discover = commands.add("discover", _discover, "open a join window and show who joins")
    discover.add_argument("kind", metavar="KIND", help="zigbee, zwave")
    auth = "its QR code, or install code (zigbee), DSK or PIN (zwave): only this device"
    discover.add_argument("--auth", default="", metavar="MATERIAL", help=auth)
    unasked = "do not ask for the PINs of Z-Wave devices: they get only keys that need none"
    discover.add_argument("--no-pin", action="store_true", help=unasked)
    seconds = "seconds that the window is open, up to 254; before it the radio is waited for, after it interviews"
    discover.add_argument("--duration", type=int, default=120, metavar="S", help=seconds)
    discover.add_argument("--radio", default="", help="only this radio")
    command = commands.add(
        "command", _command, "send a command to one device or several, and wait for the outcome; 0 only on success"
    )
    command.add_argument("ids", nargs="+", metavar="ID", help="several: at the same moment where the radio can")
    command.add_argument("--endpoint", required=True, metavar="E")
    command.add_argument("--capability", required=True, metavar="C", help="matter.OnOff@1.4 or OnOff")
    command.add_argument("--action", required=True, metavar="A")
    command.add_argument("--params", default="{}", metavar="JSON")
    command.add_argument("--ttl", type=float, default=30.0, metavar="S", help="give up after this")
    remove = commands.add("remove", _remove, "take a device off its network")
    remove.add_argument("id", metavar="ID")
    remove.add_argument("--force", action="store_true", help="forget it also when it does not answer")
    text = "delete keys, networks, devices and state, and prove it; claim and configuration stay"
    reset = commands.add("factory-reset", _factory_reset, text)
    reset.add_argument("--yes", action="store_true", help="do not ask")


def client(arguments: argparse.Namespace) -> Any:
    """The running daemon's."""
    from agent import settings  # noqa: PLC0415
    from agent.client import Client  # noqa: PLC0415

    return Client(settings.load(arguments.config, os.environ, deep=False).hub.runtime_dir)


def _show(arguments: argparse.Namespace, path: str, show: str) -> int:
    answer = client(arguments).get(path)
    if arguments.json:
        print(json.dumps(answer))
        return int(Exit.OK)
    from agent import console  # noqa: PLC0415

    getattr(console, show)(answer)
    return int(Exit.OK)


def _status(arguments: argparse.Namespace) -> int:
    return _show(arguments, "status", "show_status")


def _metrics(arguments: argparse.Namespace) -> int:
    from agent import metrics  # noqa: PLC0415

    sys.stdout.write(metrics.render(client(arguments).get("status")))
    return int(Exit.OK)


def _devices(arguments: argparse.Namespace) -> int:
    return _show(arguments, "devices", "show_devices")


def _device(arguments: argparse.Namespace) -> int:
    return _show(arguments, f"devices/{arguments.id}", "show_device")


def _discover(arguments: argparse.Namespace) -> int:
    body = {"kind": arguments.kind, "auth": arguments.auth, "duration": arguments.duration, "radio": arguments.radio}
    return discovered(arguments, body)


def discovered(arguments: argparse.Namespace, body: dict[str, Any]) -> int:
    """Open a window, show who joins, ask for PINs where somebody is there. Raises HubError where nobody joined."""
    attended = not (arguments.json or arguments.no_pin) and sys.stdin.isatty()
    asked = client(arguments)
    lines = asked.stream("discover", {**body, "attended": attended})
    if arguments.json:
        last = print_lines(lines)
    else:
        from agent import console  # noqa: PLC0415

        last = console.watch_discovery(lines, (lambda line: _ask_pin(asked, line)) if attended else None)
    if last.get("error"):
        raise HubError(last["error"]["message"])
    if last.get("status") != "SUCCEEDED":
        raise HubError(
            "no device joined", remedy="put the device in pairing mode while the window is open, near the hub"
        )
    return int(Exit.OK)


def _ask_pin(client: Any, question: dict[str, Any]) -> None:
    """Ask on the terminal for what the device waits for, as long as it waits, and tell the hub."""
    from agent import console  # noqa: PLC0415

    end = time.monotonic() + question["seconds"]
    while True:
        print("PIN (empty: keep the device out): ", end="", file=sys.stderr, flush=True)
        if not select.select([sys.stdin], [], [], max(0.0, end - time.monotonic()))[0]:
            print(file=sys.stderr)
            return  # the next line says that it was too late
        pin = sys.stdin.readline().strip()
        answer = list(client.stream("pin", {"device": question["device"], "pin": pin}))[-1]
        if not answer.get("error"):
            return
        console.show_error(answer["error"], answer["remedy"])
        if not pin or not answer.get("again"):
            return


def _command(arguments: argparse.Namespace) -> int:
    try:
        parameters = json.loads(arguments.params)
    except ValueError as error:
        raise UsageError(f"--params is no JSON: {error}", remedy="for example --params '{\"Level\": 128}'") from None
    capability = arguments.capability if "@" in arguments.capability else f"matter.{arguments.capability}@1.4"
    action = {
        "endpoint": arguments.endpoint,
        "capability": capability,
        "name": arguments.action,
        "parameters": parameters,
    }
    body = {"devices": arguments.ids, "actions": [action], "ttl": arguments.ttl}
    failures: list[str] = []
    for outcome in client(arguments).stream("command", body):
        if arguments.json:
            print(json.dumps(outcome), flush=True)
        name = f"{outcome['device']}: " if len(arguments.ids) > 1 else ""
        if not outcome["succeeded"]:
            reasons = [outcome["error"], *(result["error"] for result in outcome["results"])]
            failures.append(name + next((reason for reason in reasons if reason), "the command failed"))
        elif not arguments.json:
            values = [result["values"] for result in outcome["results"] if result["values"]]
            print(f"{name}succeeded" + "".join(f" {json.dumps(value)}" for value in values))
    if failures:
        raise HubError("; ".join(failures))
    return int(Exit.OK)


def _remove(arguments: argparse.Namespace) -> int:
    lines = client(arguments).stream("remove", {"device": arguments.id, "force": arguments.force})
    last = print_lines(lines) if arguments.json else list(lines)[-1]
    if last["what"] != "removed":
        raise HubError(last["error"], remedy="wake the device and try again, or --force to forget it")
    if not arguments.json:
        print(f"removed {last['nodeId']}")
    return int(Exit.OK)


def _factory_reset(arguments: argparse.Namespace) -> int:
    from agent import factory_reset, settings  # noqa: PLC0415

    loaded = settings.load(arguments.config, os.environ)
    if not arguments.yes:
        _confirm(f"Delete keys, radio networks, devices and state of this hub ({loaded.hub.state_dir})?")
    told = factory_reset.factory_reset(loaded)
    print(json.dumps(told) if arguments.json else "\n".join(factory_reset.words(told)))
    if told["private_keys_left"]:
        remedy = "delete what is named above, and reset again"
        raise HubError(f"private keys are left: {told['private_keys_left']}", remedy=remedy)
    return int(Exit.OK)


def _confirm(question: str) -> None:
    """Raises UsageError for anything but a yes from a person."""
    if not sys.stdin.isatty():
        raise UsageError("factory-reset needs a yes", remedy="answer it on a terminal, or --yes in a script")
    print(f"{question} Type yes: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() != "yes":
        raise UsageError("nothing was deleted", remedy="answer yes")
