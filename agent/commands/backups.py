"""What the hub is, as a file, and back: `agent backup`, `agent restore`."""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.commands import Commands
from agent.errors import Exit, UsageError


def register(commands: Commands) -> None:
    text = "write networks, devices, settings and certificate to a file, sealed with a passphrase"
    backup = commands.add("backup", _backup, text)
    backup.add_argument("file", type=Path)
    how = backup.add_mutually_exclusive_group(required=True)
    how.add_argument("--passphrase-file", type=Path, metavar="P", help="a file of mode 0600 with the passphrase")
    how.add_argument("--plain", action="store_true", help="in clear: whoever reads the file can listen and join")
    text = "take over the hub of a backup, while the agent is stopped; or, with --radios, its networks, while it runs"
    restore = commands.add("restore", _restore, text)
    restore.add_argument("file", type=Path)
    restore.add_argument("--radios", action="store_true", help="write the networks to the radios, and nothing else")
    restore.add_argument("--radio", default="", metavar="NAME", help="the same for this radio alone")
    restore.add_argument(
        "--without-identity", action="store_true", help="leave the hub's key and certificate as they are"
    )
    over = "the hub that the backup was taken of never runs again: this one is it from now on"
    restore.add_argument("--take-over", action="store_true", help=over)
    restore.add_argument("--passphrase-file", type=Path, metavar="P", help="of a backup that is not in clear")


def _backup(arguments: argparse.Namespace) -> int:
    from agent import backup, settings  # noqa: PLC0415
    from agent.client import Client  # noqa: PLC0415

    loaded = settings.load(arguments.config, os.environ)
    taken = backup.take(loaded, Client(loaded.hub.runtime_dir), arguments.file, _passphrase(arguments))
    made = taken.whole
    identity = made.identity
    told = {
        "file": str(arguments.file),
        "radios": list(made.radios),
        "without": taken.without,
        "devices": len(made.kept.devices) if made.kept else 0,
        "identity": identity.held.thing if identity else "",
        "with_key": bool(identity and identity.key),
        "sealed": not arguments.plain,
    }
    _tell(arguments, told, _taken(told))
    return int(Exit.OK)


def _taken(told: dict[str, Any]) -> Iterator[str]:
    yield f"{told['file']}: networks of {', '.join(told['radios']) or 'no radio'}, {told['devices']} devices, settings"
    for name, why in told["without"].items():
        yield f"NOT in it, the network of {name}: {why['error']}" + (f"; {why['remedy']}" if why["remedy"] else "")
    if told["identity"]:
        key = "with its key" if told["with_key"] else "without its key, which stays in this hub's key store"
        yield f"the certificate of {told['identity']}, {key}"
    if told["sealed"]:
        yield "It is sealed. Without its passphrase it is worth nothing: keep that elsewhere."
    elif told["radios"]:
        yield "It holds the network keys IN CLEAR: whoever reads it can listen and join."


def _restore(arguments: argparse.Namespace) -> int:
    from agent import backup, restore, settings  # noqa: PLC0415
    from agent.client import Client  # noqa: PLC0415

    loaded = settings.load(arguments.config, os.environ)
    client, whole = Client(loaded.hub.runtime_dir), backup.load(arguments.file, _passphrase(arguments))
    if arguments.radio or arguments.radios or whole.kept is None:
        if arguments.take_over or arguments.without_identity:
            raise UsageError("the networks of radios are restored without an identity", remedy="leave out --radios")
        names = backup.write_networks(client, whole, arguments.file, arguments.radio)
        _tell(arguments, {"radios": names}, [f"restored: {', '.join(names)}; they start afresh"])
        return int(Exit.OK)
    done = restore.restore(
        loaded, client, whole, with_identity=not arguments.without_identity, take_over=arguments.take_over
    )
    told = {"devices": done.devices, "radios": done.radios, "elsewhere": done.elsewhere, "identity": done.identity}
    _tell(arguments, told, _done(done, arguments, list(whole.radios)))
    return int(Exit.OK)


def _done(done: Any, arguments: argparse.Namespace, networks: list[str]) -> Iterator[str]:
    yield f"restored: {done.devices} devices, settings" + "".join(f", files of radio {name}" for name in done.radios)
    if done.identity:
        yield f"the identity of {done.identity}"
    for name in done.elsewhere:
        yield f"radio {name} is not configured here: its devices wait until it is"
    yield "now start the agent"
    if networks:
        whose = "sticks that do not have their network, or hubs that do not have its keys"
        yield f"then, for {whose}: agent restore {arguments.file} --radios"


def _tell(arguments: argparse.Namespace, told: dict[str, Any], lines: Any) -> None:
    print(json.dumps(told) if arguments.json else "\n".join(lines))


def _passphrase(arguments: argparse.Namespace) -> Any:
    """The secret in the file that is named; None without one. Raises ConfigError for a file that others may read."""
    if arguments.passphrase_file is None:
        return None
    from agent.settings.secret import from_file  # noqa: PLC0415

    return from_file(arguments.passphrase_file)
