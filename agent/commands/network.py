"""Who is in the radios' networks and how they are reached, over the control socket: exclusion, replacement, routes, native commands."""

import argparse
import json
import sys
from typing import Any

from agent.commands import Commands, print_lines
from agent.commands.home import client, discovered
from agent.errors import Exit, HubError, UsageError


def register(commands: Commands) -> None:
    text = "take every device whose button is pressed off its network, whichever that is"
    exclude = commands.add("exclude", _exclude, text)
    exclude.add_argument("kind", metavar="KIND", help="zwave")
    exclude.add_argument("--duration", type=int, default=120, metavar="S", help="seconds that it goes on, up to 900")
    exclude.add_argument("--radio", default="", help="only this radio")
    replace = commands.add("replace", _replace, "let a new device take the place of one that has failed")
    replace.add_argument("id", metavar="ID")
    replace.add_argument("--auth", default="", metavar="MATERIAL", help="the new one's QR code, DSK or PIN")
    replace.add_argument("--no-pin", action="store_true", help="do not ask for its PIN")
    replace.add_argument(
        "--duration", type=int, default=120, metavar="S", help="seconds that it is waited for, up to 254"
    )
    expected = commands.group("expected", "devices that may join by themselves (SmartStart)")
    expected.add("show", _expected, "their addresses")
    expected.add("forget", _forget, "let one in no more").add_argument("address", metavar="DSK")
    native = commands.add("native", _native, "tell a device a command of its own protocol, or list those that it has")
    native.add_argument("id", metavar="ID")
    native.add_argument(
        "command", nargs="?", default="", metavar="COMMAND", help='"Configuration Get"; none: list them'
    )
    native.add_argument("--endpoint", default="0", metavar="E")
    native.add_argument(
        "--params", default="{}", metavar="JSON", help="- reads them from standard input: for what is secret"
    )
    native.add_argument("--wait", type=float, default=0.0, metavar="S", help="for a device that sleeps to wake up")
    routes = commands.group("routes", "the ways to devices in a mesh")
    routes.add("show", _show, "neighbours and routes of each device")
    rebuild = routes.add("rebuild", _rebuild, "let devices find their neighbours and routes anew")
    rebuild.add_argument(
        "ids", nargs="*", metavar="ID", help="none: every device that does not sleep, one after the other"
    )
    rebuild.add_argument("--wait", type=float, default=0.0, metavar="S", help="for a device that sleeps to wake up")
    prefer = routes.add("prefer", _prefer, "try a route first")
    prefer.add_argument("id", metavar="ID")
    prefer.add_argument("--via", default="", metavar="IDS", help="up to 4 devices, commas between them; none: straight")
    prefer.add_argument("--speed", type=int, default=100_000, metavar="BPS", help="9600, 40000 or 100000 bit/s")
    routes.add("auto", _auto, "let the stick choose the route").add_argument("id", metavar="ID")


def _native(arguments: argparse.Namespace) -> int:
    asked = client(arguments)
    if not arguments.command:
        offered = asked.get(f"native/{arguments.id}")
        if arguments.json:
            print(json.dumps(offered))
        for place, commands in () if arguments.json else offered.items():
            print("\n".join(f"{place}  {name}: {', '.join(fields) or '-'}" for name, fields in commands.items()))
        return int(Exit.OK)
    text = sys.stdin.read() if arguments.params == "-" else arguments.params
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UsageError(f"the parameters are no JSON: {error}", remedy="for example '{\"parameter\": 3}'") from None
    body = {
        "device": arguments.id,
        "command": arguments.command,
        "endpoint": arguments.endpoint,
        "wait": arguments.wait,
    }
    (last,) = asked.stream("native", {**body, "values": values})
    if arguments.json:
        print(json.dumps(last))
    if last["what"] == "failed":
        raise HubError(last["error"], remedy=last["remedy"])
    for report in () if arguments.json else last["reports"]:
        print(f"{report.pop('command')}: " + ", ".join(f"{name} {json.dumps(value)}" for name, value in report.items()))
    return int(Exit.OK)


def _expected(arguments: argparse.Namespace) -> int:
    found = client(arguments).get("expected")
    if arguments.json:
        print(json.dumps(found))
    for one in () if arguments.json else found:
        print(f"{one['radio']}  {one['address']}")
    return int(Exit.OK)


def _forget(arguments: argparse.Namespace) -> int:
    (last,) = client(arguments).stream("forget", {"address": arguments.address})
    if arguments.json:
        print(json.dumps(last))
    if last["what"] == "failed":
        raise HubError(last["error"], remedy=last["remedy"])
    return int(Exit.OK)


def _exclude(arguments: argparse.Namespace) -> int:
    body = {"kind": arguments.kind, "radio": arguments.radio, "duration": arguments.duration}
    lines = client(arguments).stream("exclude", body)
    if arguments.json:
        last = print_lines(lines)
    else:
        from agent import console  # noqa: PLC0415  rich is not loaded by the daemon

        last = console.watch_exclusion(lines)
    if last.get("error"):
        raise HubError(last["error"]["message"])
    if not last["own"] + last["foreign"]:
        raise HubError("no device left its network", remedy="press its button while the window is open, near the hub")
    return int(Exit.OK)


def _replace(arguments: argparse.Namespace) -> int:
    body = {"replaces": arguments.id, "auth": arguments.auth, "duration": arguments.duration}
    return discovered(arguments, body)


def _show(arguments: argparse.Namespace) -> int:
    answer = client(arguments).get("routes")
    if arguments.json:
        print(json.dumps(answer))
    else:
        from agent import console  # noqa: PLC0415  as above

        console.show_routes(answer)
    return int(Exit.OK)


def _rebuild(arguments: argparse.Namespace) -> int:
    asked = client(arguments)
    ids = arguments.ids or [one["device"] for one in asked.get("routes")]
    failed = []
    for device in ids:
        last = _told(arguments, asked.stream("routes", {"op": "rebuild", "device": device, "wait": arguments.wait}))
        if last["what"] == "failed":
            failed.append(device)
    if failed:
        raise HubError(
            f"not rebuilt: {', '.join(failed)}", remedy="what each said is above; the others have new routes"
        )
    return int(Exit.OK)


def _prefer(arguments: argparse.Namespace) -> int:
    via = [one for one in arguments.via.split(",") if one]
    return _set(arguments, {"op": "prefer", "repeaters": via, "speed": arguments.speed})


def _auto(arguments: argparse.Namespace) -> int:
    return _set(arguments, {"op": "auto"})


def _set(arguments: argparse.Namespace, body: dict[str, Any]) -> int:
    last = _told(arguments, client(arguments).stream("routes", {**body, "device": arguments.id}))
    if last["what"] == "failed":
        raise HubError(last["error"], remedy=last["remedy"])
    return int(Exit.OK)


def _told(arguments: argparse.Namespace, lines: Any) -> dict[str, Any]:
    if arguments.json:
        return print_lines(lines)
    from agent import console  # noqa: PLC0415  as above

    return console.watch_routes(lines)
