"""The command line. Every command takes -c FILE; `--json` on every command that prints. Exit codes: agent.errors.Exit."""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

from agent.errors import ConfigError, Exit, HubError, UsageError, install_extra

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; prints an error's diagnosis and remedy and returns the exit code."""
    try:
        arguments = _parser().parse_args(argv)
        command: Command = arguments.run
        return command(arguments)
    except HubError as error:
        _print_error(error)
        return int(error.exit_code)
    except BrokenPipeError:
        # The reader of our output went away: nothing is wrong, and Python must not try to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.OK)
    except KeyboardInterrupt:
        return int(Exit.TEMPFAIL)


def _print_error(error: HubError) -> None:
    from agent import console  # noqa: PLC0415  rich is not loaded by the daemon

    console.show_error(str(error), error.remedy)
    for problem in error.problems if isinstance(error, ConfigError) else ():
        console.show_error(str(problem), problem.remedy)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UsageError(message, remedy=f"`{self.prog} --help` shows the options")


def _cloud_parser(add: Callable[..., argparse.ArgumentParser]) -> None:
    cloud = add(
        "cloud", _cloud, "the stand-in cloud on loopback; prints one JSON line with its addresses", as_json=False
    )
    cloud.add_argument("--data", type=Path, metavar="DIR", help="keep everything here; by default nothing is kept")
    cloud.add_argument("--port", type=int, default=8080, metavar="P", help="HTTP port; 0 takes a free one")
    cloud.add_argument(
        "--faults", default="", metavar="LIST", help="for example seed=1,duplicate=0.1,publishes_per_second=100"
    )
    brokers = ("auto", "mosquitto", "embedded")
    cloud.add_argument(
        "--broker", choices=brokers, default="auto", help="embedded: MQTT 3.1.1, where there is no mosquitto"
    )
    cloud.add_argument("--mqtt", default="", metavar="HOST:PORT", help="a broker of yours, without TLS, on loopback")


def _identity_parser(add: Callable[..., argparse.ArgumentParser]) -> None:
    identity = add("identity", _identity, "the hub's key and certificate")
    identity.add_argument("what", choices=("show", "csr", "install", "provision"))
    identity.add_argument("file", nargs="?", type=Path, metavar="FILE", help="install: certificate chain, PEM")
    identity.add_argument("--uplink", default="", metavar="NAME", help="provision: at this uplink's broker")
    identity.add_argument("--again", action="store_true", help="provision: also when there is a certificate")
    token = add("jwt", _jwt, "a device token on standard output", as_json=False)
    token.add_argument("--ttl", type=int, default=600, metavar="S", help="seconds that it lives, at most 7 days")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="agent", description="Gateway daemon for radio hubs.", formatter_class=argparse.HelpFormatter)
    parser.add_argument("--version", action="version", version=f"hub-agent {version('hub-agent')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def add(name: str, run: Command, text: str, *, as_json: bool = True) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.add_argument(
            "-c", "--config", type=Path, metavar="FILE", help="agent.toml (default /etc/hub-agent/agent.toml)"
        )
        if as_json:
            made.add_argument("--json", action="store_true", help="JSON for programs")
        made.set_defaults(run=run)
        return made

    add("run", _run, "the daemon", as_json=False)
    add("check-config", _check_config, "check the configuration and print every error with its remedy")
    add("init", _init, "make the state folder and the first config; changes nothing that exists")
    add("status", _status, "state of the hub, its radios, uplinks and queue")
    add("devices", _devices, "the devices")
    add("device", _device, "one device with its capabilities and state").add_argument("id", metavar="ID")
    discover = add("discover", _discover, "open a join window and show who joins")
    discover.add_argument("kind", metavar="KIND", help="zigbee")
    discover.add_argument(
        "--auth", default="", metavar="MATERIAL", help="QR material or install code: only this device"
    )
    seconds = "seconds that the window is open, up to 254; before it the radio is waited for, after it interviews"
    discover.add_argument("--duration", type=int, default=120, metavar="S", help=seconds)
    discover.add_argument("--radio", default="", help="only this radio")
    command = add("command", _command, "send a command and wait for its outcome; 0 only on success")
    command.add_argument("id", metavar="ID")
    command.add_argument("--endpoint", required=True, metavar="E")
    command.add_argument("--capability", required=True, metavar="C", help="matter.OnOff@1.4 or OnOff")
    command.add_argument("--action", required=True, metavar="A")
    command.add_argument("--params", default="{}", metavar="JSON")
    command.add_argument("--ttl", type=float, default=30.0, metavar="S", help="give up after this")
    remove = add("remove", _remove, "take a device off its network")
    remove.add_argument("id", metavar="ID")
    remove.add_argument("--force", action="store_true", help="forget it also when it does not answer")
    _identity_parser(add)
    add("backup", _backup, "write the radios' networks to a file; it holds their keys").add_argument("file", type=Path)
    restore = add("restore", _restore, "write the networks of a backup to the radios")
    restore.add_argument("file", type=Path)
    restore.add_argument("--radio", default="", help="only this radio")
    simulate = add("simulate", _simulate, "simulated radios on ptys, from a home file", as_json=False)
    simulate.add_argument("home", type=Path, metavar="HOME.toml")
    simulate.add_argument("--links", type=Path, metavar="DIR", help="where the ports get their names")
    simulate.add_argument("--state", type=Path, metavar="DIR", help="keep the networks here")
    simulate.add_argument("--capture", type=Path, metavar="DIR", help="write what is on the air to pcap files here")
    simulate.add_argument("--faults", default="", metavar="SPEC")
    simulate.add_argument("--seed", type=int, default=1, metavar="N")
    _cloud_parser(add)
    demo = add("demo", _demo, "everything on one machine, narrated; stays up until Ctrl-C", as_json=False)
    demo.add_argument("--once", action="store_true", help="end after the story: 0, or non-zero if a step failed")
    return parser


# ---- the daemon and its configuration -----------------------------------------------------------------------------------


def _run(arguments: argparse.Namespace) -> int:
    from agent import log, run, settings  # noqa: PLC0415  the other commands start faster without the daemon

    env = dict(os.environ)
    loaded = settings.load(arguments.config, env)
    logs = log.setup(loaded.logging, env)
    try:
        return asyncio.run(run.run(loaded, env, logs.attach))
    except HubError as error:
        _print_error(error)
        return int(error.exit_code)
    finally:
        logs.close()


def _check_config(arguments: argparse.Namespace) -> int:
    from agent import settings  # noqa: PLC0415

    try:
        loaded = settings.load(arguments.config, os.environ)
    except ConfigError as error:
        if not arguments.json:
            raise
        problems = [{"place": p.place, "reason": p.message, "remedy": p.remedy} for p in error.problems or (error,)]
        print(json.dumps({"ok": False, "errors": problems}))
        return int(Exit.CONFIG)
    parts = {"radios": sorted(loaded.radios), "uplinks": sorted(loaded.uplinks)}
    if arguments.json:
        print(json.dumps({"ok": True, **parts}))
    else:
        print(f"the configuration is good: radios {parts['radios']}, uplinks {parts['uplinks']}")
    return int(Exit.OK)


def _init(arguments: argparse.Namespace) -> int:
    from agent import init  # noqa: PLC0415

    made = init.init(arguments.config, dict(os.environ))
    print(
        json.dumps({"made": made}) if arguments.json else "\n".join(f"made {name}" for name in made) or "nothing to do"
    )
    return int(Exit.OK)


# ---- over the control socket --------------------------------------------------------------------------------------------


def _client(arguments: argparse.Namespace) -> Any:
    from agent import settings  # noqa: PLC0415
    from agent.client import Client  # noqa: PLC0415

    return Client(settings.load(arguments.config, os.environ, deep=False).hub.runtime_dir)


def _show(arguments: argparse.Namespace, path: str, show: str) -> int:
    answer = _client(arguments).get(path)
    if arguments.json:
        print(json.dumps(answer))
        return int(Exit.OK)
    from agent import console  # noqa: PLC0415

    getattr(console, show)(answer)
    return int(Exit.OK)


def _status(arguments: argparse.Namespace) -> int:
    return _show(arguments, "status", "show_status")


def _devices(arguments: argparse.Namespace) -> int:
    return _show(arguments, "devices", "show_devices")


def _device(arguments: argparse.Namespace) -> int:
    return _show(arguments, f"devices/{arguments.id}", "show_device")


def _discover(arguments: argparse.Namespace) -> int:
    body = {"kind": arguments.kind, "auth": arguments.auth, "duration": arguments.duration, "radio": arguments.radio}
    lines = _client(arguments).stream("discover", body)
    if arguments.json:
        last = _print_lines(lines)
    else:
        from agent import console  # noqa: PLC0415

        last = console.watch_discovery(lines)
    if last.get("error"):
        raise HubError(last["error"]["message"])
    if last.get("status") != "SUCCEEDED":
        raise HubError(
            "no device joined", remedy="put the device in pairing mode while the window is open, near the hub"
        )
    return int(Exit.OK)


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
    lines = _client(arguments).stream("command", {"device": arguments.id, "actions": [action], "ttl": arguments.ttl})
    outcome = _print_lines(lines) if arguments.json else list(lines)[-1]
    if not outcome["succeeded"]:
        reasons = [outcome["error"], *(result["error"] for result in outcome["results"])]
        raise HubError(next((reason for reason in reasons if reason), "the command failed"))
    if not arguments.json:
        values = [result["values"] for result in outcome["results"] if result["values"]]
        print("succeeded" + "".join(f" {json.dumps(value)}" for value in values))
    return int(Exit.OK)


def _remove(arguments: argparse.Namespace) -> int:
    lines = _client(arguments).stream("remove", {"device": arguments.id, "force": arguments.force})
    last = _print_lines(lines) if arguments.json else list(lines)[-1]
    if last["what"] != "removed":
        raise HubError(last["error"], remedy="wake the device and try again, or --force to forget it")
    if not arguments.json:
        print(f"removed {last['nodeId']}")
    return int(Exit.OK)


def _backup(arguments: argparse.Namespace) -> int:
    from agent import backup  # noqa: PLC0415

    names = backup.take(_client(arguments), arguments.file)
    if arguments.json:
        print(json.dumps({"file": str(arguments.file), "radios": names}))
    else:
        print(f"{arguments.file}: {', '.join(names)}. It holds the network keys: whoever has it can join.")
    return int(Exit.OK)


def _restore(arguments: argparse.Namespace) -> int:
    from agent import backup  # noqa: PLC0415

    names = backup.restore(_client(arguments), arguments.file, arguments.radio)
    print(json.dumps({"radios": names}) if arguments.json else f"restored: {', '.join(names)}; they start afresh")
    return int(Exit.OK)


def _print_lines(lines: Iterator[dict[str, Any]]) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for last in lines:
        print(json.dumps(last), flush=True)
    return last


# ---- without hardware ---------------------------------------------------------------------------------------------------


def _identity(arguments: argparse.Namespace) -> int:
    from agent import settings  # noqa: PLC0415
    from agent.identity import commands  # noqa: PLC0415

    loaded = settings.load(arguments.config, os.environ)
    match arguments.what:
        case "csr":
            sys.stdout.write(commands.certificate_request(loaded))
            return int(Exit.OK)
        case "install":
            if arguments.file is None:
                raise UsageError("agent identity install: which file?", remedy="name the PEM file of the certificate")
            told = commands.install(loaded, arguments.file.read_text(encoding="ascii", errors="replace"))
        case "provision":
            told = commands.provision(loaded, arguments.uplink, again=arguments.again)
        case _:
            told = commands.show(loaded)
    _print_identity(told, as_json=arguments.json)
    return int(Exit.OK)


def _print_identity(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(told))
        return
    from agent import console  # noqa: PLC0415

    console.show_identity(told)


def _jwt(arguments: argparse.Namespace) -> int:
    from agent import settings  # noqa: PLC0415
    from agent.identity import commands  # noqa: PLC0415

    print(commands.token(settings.load(arguments.config, os.environ), arguments.ttl))
    return int(Exit.OK)


def _simulate(arguments: argparse.Namespace) -> int:
    from agent import simulate  # noqa: PLC0415

    work = simulate.serve(
        arguments.home,
        links=arguments.links,
        faults=arguments.faults,
        seed=arguments.seed,
        state=arguments.state,
        capture=arguments.capture,
    )
    asyncio.run(work)
    return int(Exit.OK)


def _cloud(arguments: argparse.Namespace) -> int:
    try:
        from agent.sim import cloud  # noqa: PLC0415
        from agent.sim.gate.faults import Faults  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(f"the stand-in cloud needs more: {error}", remedy=install_extra("cloud")) from None

    scratch = (
        tempfile.TemporaryDirectory(prefix="hub-agent-cloud-")
        if arguments.data is None
        else nullcontext(arguments.data)
    )
    with scratch as folder:
        faults = Faults.parse(arguments.faults)
        work = cloud.serve(
            Path(folder),
            port=arguments.port,
            mqtt=arguments.mqtt,
            broker=arguments.broker,
            faults=faults,
        )
        asyncio.run(work)
    return int(Exit.OK)


def _demo(arguments: argparse.Namespace) -> int:
    try:
        from agent import demo  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(f"the demo needs more: {error}", remedy="install the extra `demo`") from None
    return demo.demo(once=arguments.once)


if __name__ == "__main__":
    sys.exit(main())
