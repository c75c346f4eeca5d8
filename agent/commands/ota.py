"""Updates: `agent ota`."""

import argparse
import json
import os
import sysconfig
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.commands import Commands, print_lines
from agent.commands.services import counted, tell_result
from agent.errors import Exit, HubError, UsageError

if TYPE_CHECKING:
    from agent.ota.signing_keys import Passphrase

ENDS = ("SUCCEEDED", "FAILED", "REJECTED", "CANCELED", "TIMED_OUT")
DECISIONS = {
    "approve": "let an update be installed now: without its window, and where nothing is automatic",
    "cancel": "withdraw an update that is not activated yet, or that goes on from device to device",
    "confirm": "end a trial: the new version stays",
    "rollback": "end a trial: the version before comes back",
}
SIGN = "make and sign a release, a root, or a permission to go back"


def register(commands: Commands) -> None:
    ota = commands.group("ota", "updates of the hub and of its devices")
    ota.add("list", _list, "all updates that the hub knows of")
    status = ota.add("status", _status, "the update that is under way, or the last one")
    status.add_argument("--follow", action="store_true", help="until it is over; 0 only if it succeeded")
    apply = ota.add("apply", _apply, "install a release that lies on this machine; 0 only on success")
    apply.add_argument("file", nargs="?", type=Path, metavar="FILE", help="FILE.release.json; its images lie beside it")
    tuf = "instead: a release of the TUF repository in [ota.tuf] (default: release.json)"
    apply.add_argument("--tuf", nargs="?", const="release.json", default="", metavar="TARGET", help=tuf)
    for name, text in DECISIONS.items():
        decide = ota.add(name, _decide, text)
        decide.add_argument("key", nargs="?", default="", metavar="KEY", help="default: the one that is under way")
        decide.set_defaults(op=name, seconds=0.0)
    postpone = ota.add("postpone", _decide, "have an update wait, whatever its window says")
    postpone.add_argument("seconds", type=float, metavar="S")
    postpone.add_argument("key", nargs="?", default="", metavar="KEY", help="default: the one that is under way")
    postpone.set_defaults(op="postpone")
    slots = ota.add(
        "slots", _slots, "make the slots that the agent updates itself in, and the launcher to start it with"
    )
    slots.add_argument(
        "--site", type=Path, metavar="FOLDER", help="the packages of slot A (default: those that run now)"
    )
    sign = ota.add("sign", _sign, SIGN)
    source = "description (TOML; its `type` is release, root or downgrade), or an envelope to sign once more"
    sign.add_argument("file", nargs="?", type=Path, metavar="FILE", help=source)
    keys = "file with a private key, mode 0600, or pkcs11: URI of one in a token (RFC 7512); may be repeated"
    sign.add_argument("--key", action="append", default=[], metavar="KEY", help=keys)
    how = sign.add_mutually_exclusive_group()
    asked = "of sealed keys, or the PIN of a token: a file of mode 0600 (default: asked at the terminal)"
    how.add_argument("--passphrase-file", type=Path, metavar="FILE", help=asked)
    how.add_argument("--passphrase-fd", type=int, metavar="N", help="the same, from an open descriptor")
    sign.add_argument("-o", "--out", type=Path, metavar="FILE", help="default: beside the description")
    root = "root that will judge it, to be told whose signatures are missing; for a root: the one before it"
    sign.add_argument("--root", type=Path, metavar="FILE", help=root)
    made = "make a key instead: FILE, and its public half as .pub.pem; or in a token, and its public half as --out"
    sign.add_argument("--new-key", metavar="KEY", help=made)
    sign.add_argument("--seal", action="store_true", help="seal the new key with a passphrase")
    sign.add_argument("--algorithm", choices=("ES256", "EdDSA"), default="EdDSA", help="of the new key")


def _client(arguments: argparse.Namespace) -> Any:
    from agent import settings  # noqa: PLC0415
    from agent.client import Client  # noqa: PLC0415

    return Client(settings.load(arguments.config, os.environ, deep=False).hub.runtime_dir)


def _list(arguments: argparse.Namespace) -> int:
    tasks = _client(arguments).get("ota")
    if arguments.json:
        print(json.dumps(tasks))
    else:
        from agent import console  # noqa: PLC0415

        console.show_updates(tasks)
    return int(Exit.OK)


def _status(arguments: argparse.Namespace) -> int:
    client = _client(arguments)
    tasks = client.get("ota")
    under_way = [task for task in tasks if task["state"] not in ENDS]
    if arguments.follow and under_way:
        return _follow(arguments, client, {"op": "watch", "key": under_way[0]["key"]})
    shown = (under_way or tasks[-1:])[:1]
    if arguments.json:
        print(json.dumps(shown[0] if shown else None))
    else:
        from agent import console  # noqa: PLC0415

        console.show_updates(shown)
    return int(Exit.OK)


def _apply(arguments: argparse.Namespace) -> int:
    if (arguments.file is None) == (not arguments.tuf):
        raise UsageError("agent ota apply: what?", remedy="name a release on this machine, or --tuf")
    if arguments.file is not None and not arguments.file.exists():  # the agent would wait for it to come
        remedy = "name the signed release that `agent ota sign` has written"
        raise UsageError("agent ota apply: there is no such file", place=str(arguments.file), remedy=remedy)
    body = (
        {"op": "apply", "tuf": arguments.tuf}
        if arguments.tuf
        else {"op": "apply", "path": str(arguments.file.absolute())}
    )
    return _follow(arguments, _client(arguments), body)


def _follow(arguments: argparse.Namespace, client: Any, body: dict[str, Any]) -> int:
    """Show an update until it is over, also over the agent's own restarts."""
    from agent.client import watch_update  # noqa: PLC0415

    lines = watch_update(client, body)
    if arguments.json:
        last = print_lines(lines)
    else:
        from agent import console  # noqa: PLC0415

        last = console.watch_update(lines)
    if last["state"] != "SUCCEEDED":
        raise HubError(f"the update has {last['state']}: {last['detail'] or last['code']}", place=last["key"])
    return int(Exit.OK)


def _decide(arguments: argparse.Namespace) -> int:
    body = {"op": arguments.op, "key": arguments.key, "seconds": arguments.seconds}
    last = list(_client(arguments).stream("ota", body))[-1]
    if last["what"] == "failed":
        raise HubError(last["error"], remedy=last["remedy"])
    return tell_result(arguments, last, f"{arguments.op}: {last['key']}")


def _slots(arguments: argparse.Namespace) -> int:
    from agent import settings  # noqa: PLC0415
    from agent.files import as_owner, disk_trouble  # noqa: PLC0415
    from agent.ota.appliers.slots import prepare  # noqa: PLC0415
    from agent.ota.place import slots_folder  # noqa: PLC0415

    loaded = settings.load(arguments.config, os.environ, deep=False)
    site = arguments.site or Path(sysconfig.get_path("purelib"))
    with disk_trouble(), as_owner(loaded.hub.state_dir):
        start = prepare(slots_folder(loaded), site, version("hub-agent"))
    told = {"launch": str(start), "site": str(site)}
    return tell_result(arguments, told, f"the slots are made; have the service start:  {start} run")


def _sign(arguments: argparse.Namespace) -> int:
    from agent.ota import signing  # noqa: PLC0415  the daemon signs nothing
    from agent.ota.signing_keys import Passphrase  # noqa: PLC0415

    if (arguments.file is None) == (arguments.new_key is None):
        raise UsageError("agent ota sign: what?", remedy="name a description or an envelope, or --new-key FILE")
    passphrase = Passphrase(arguments.passphrase_file, arguments.passphrase_fd)
    if arguments.new_key is not None:
        told = _new_key(arguments, passphrase)
        return tell_result(arguments, told, f"wrote {told['key']} and {told['public_key']}: key {told['kid']}")
    made = signing.sign(arguments.file, arguments.key, arguments.out, arguments.root, passphrase)
    lines = [f"wrote {made.file}: {made.kind}, SHA-256 {made.digest}"]
    lines += [f"signed by key {kid}" for kid in made.signers]
    lines += [f"still wants {counted(number, 'signature')} for {role}" for role, number in made.wanted.items()]
    return tell_result(arguments, made.told(), *lines)


def _new_key(arguments: argparse.Namespace, passphrase: "Passphrase") -> dict[str, str]:
    from agent.ota import signing  # noqa: PLC0415  as above
    from agent.ota.signing_keys import SCHEME  # noqa: PLC0415

    if not arguments.new_key.startswith(SCHEME):
        return signing.make_key(Path(arguments.new_key), arguments.algorithm, passphrase if arguments.seal else None)
    if arguments.out is None:
        raise UsageError("agent ota sign: where to?", remedy="name a file for the public half: -o release.pub.pem")
    return signing.make_token_key(arguments.new_key, arguments.out, passphrase)
