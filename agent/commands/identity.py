"""Who the hub is: `agent identity`, `agent jwt`."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from agent.commands import Commands
from agent.errors import Exit, UsageError


def register(commands: Commands) -> None:
    identity = commands.add("identity", _identity, "the hub's key and certificate")
    identity.add_argument("what", choices=("show", "csr", "install", "import", "provision", "rotate"))
    file = "install: certificate chain, PEM; import: iotmi_config.json of AWS's hub SDK"
    identity.add_argument("file", nargs="?", type=Path, metavar="FILE", help=file)
    identity.add_argument("--uplink", default="", metavar="NAME", help="provision, import: this uplink")
    identity.add_argument("--again", action="store_true", help="provision: also when there is a certificate")
    token = commands.add("jwt", _jwt, "a device token on standard output", as_json=False)
    token.add_argument("--ttl", type=int, default=600, metavar="S", help="seconds that it lives, at most 7 days")


def _identity(arguments: argparse.Namespace) -> int:
    from agent import settings  # noqa: PLC0415
    from agent.client import Client  # noqa: PLC0415
    from agent.identity import commands  # noqa: PLC0415

    if arguments.what == "import":
        return _import(arguments)
    loaded = settings.load(arguments.config, os.environ)
    match arguments.what:
        case "rotate":
            told = commands.rotate(loaded, Client(loaded.hub.runtime_dir), arguments.uplink)
        case "csr":
            sys.stdout.write(commands.certificate_request(loaded))
            return int(Exit.OK)
        case "install":
            if arguments.file is None:
                raise UsageError("agent identity install: which file?", remedy="name the PEM file of the certificate")
            told = commands.install(
                loaded, Client(loaded.hub.runtime_dir), arguments.file.read_text(encoding="ascii", errors="replace")
            )
        case "provision":
            told = commands.provision(loaded, arguments.uplink, again=arguments.again)
        case _:
            told = commands.show(loaded)
    _print_identity(told, as_json=arguments.json)
    return int(Exit.OK)


def _import(arguments: argparse.Namespace) -> int:
    from agent.identity import iotmi_import  # noqa: PLC0415

    if arguments.file is None:
        raise UsageError("agent identity import: which file?", remedy="name the iotmi_config.json of AWS's hub SDK")
    told = iotmi_import.import_file(arguments.file, arguments.config, os.environ, arguments.uplink)
    if arguments.json:
        print(json.dumps(told))
        return int(Exit.OK)
    print(f"{'wrote' if told['written'] else 'unchanged:'} {told['drop_in']}")
    for key, value in told["keys"].items():
        print(f"  {key} = {json.dumps(value, ensure_ascii=False)}")
    if told["identity"]:
        state = "a new certificate that is tried" if told["identity"]["tried"] else "the hub's certificate"
        print(f"{state}: {told['identity']['certificate_id']} of thing {told['identity']['thing']}")
    for note in told["notes"]:
        print(f"note: {note}")
    if told["restart"]:
        print("the running agent does not know it yet: systemctl restart agent")
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
