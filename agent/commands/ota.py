"""Updates: `agent ota`."""

import argparse
from pathlib import Path

from agent.commands import Commands
from agent.commands.services import counted, tell_result
from agent.errors import UsageError

SIGN = "make and sign a release, a root, or a permission to go back"


def register(commands: Commands) -> None:
    ota = commands.group("ota", "updates of the hub and of its devices")
    sign = ota.add("sign", _sign, SIGN)
    source = "description (TOML; its `type` is release, root or downgrade), or an envelope to sign once more"
    sign.add_argument("file", nargs="?", type=Path, metavar="FILE", help=source)
    keys = "file with a private key, mode 0600; may be repeated"
    sign.add_argument("--key", action="append", default=[], type=Path, metavar="FILE", help=keys)
    sign.add_argument("-o", "--out", type=Path, metavar="FILE", help="default: beside the description")
    root = "root that will judge it, to be told whose signatures are missing; for a root: the one before it"
    sign.add_argument("--root", type=Path, metavar="FILE", help=root)
    made = "make a key instead: FILE, and its public half as .pub.pem"
    sign.add_argument("--new-key", type=Path, metavar="FILE", help=made)
    sign.add_argument("--algorithm", choices=("ES256", "EdDSA"), default="EdDSA", help="of the new key")


def _sign(arguments: argparse.Namespace) -> int:
    from agent.ota import signing  # noqa: PLC0415  the daemon signs nothing

    if (arguments.file is None) == (arguments.new_key is None):
        raise UsageError("agent ota sign: what?", remedy="name a description or an envelope, or --new-key FILE")
    if arguments.new_key is not None:
        told = signing.make_key(arguments.new_key, arguments.algorithm)
        return tell_result(arguments, told, f"wrote {told['key']} and {told['public_key']}: key {told['kid']}")
    made = signing.sign(arguments.file, arguments.key, arguments.out, arguments.root)
    lines = [f"wrote {made.file}: {made.kind}, SHA-256 {made.digest}"]
    lines += [f"signed by key {kid}" for kid in made.signers]
    lines += [f"still wants {counted(number, 'signature')} for {role}" for role, number in made.wanted.items()]
    return tell_result(arguments, made.told(), *lines)
