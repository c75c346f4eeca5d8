"""What the commands share that call a service over HTTP.

Keys and tokens come from files, never from the command line, which every user of the machine can read.
"""

import argparse
import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from agent.commands import Command
from agent.errors import ConfigError, Exit, HubError, UsageError, install_extra
from agent.log_format import printable

Result = TypeVar("Result")
Tell = Callable[[str, int, int], None]  # what, steps done, steps of all


def service(command: argparse.ArgumentParser, url: str | None, option: str, credential: str) -> None:
    """Where a service is, and what opens it. `url`: None takes it from elsewhere, empty must be given."""
    if url is not None:
        command.add_argument("--url", default=url, required=not url, metavar="URL")
    command.add_argument("--ca", default="", metavar="FILE", help="authorities of the service (default: the system's)")
    text = f"file with it and nothing else, mode 0600 (default: $CREDENTIALS_DIRECTORY/{credential})"
    command.add_argument(option, type=Path, dest="secret", metavar="FILE", help=text)
    command.set_defaults(credential=credential, run=_with_rest(command.get_default("run")))


def _with_rest(run: Command) -> Command:
    """The same command, which says what to install where there is no HTTP client."""

    def guarded(arguments: argparse.Namespace) -> int:
        try:
            return run(arguments)
        except ModuleNotFoundError as error:
            raise UsageError(f"calls of services need more: {error}", remedy=install_extra("rest")) from None

    return guarded


@contextmanager
def progress(arguments: argparse.Namespace) -> Iterator[Tell]:
    """Where steps are told: a bar for people, nothing for programs."""
    if arguments.json:
        yield lambda _what, _done, _total: None
        return
    from agent import console  # noqa: PLC0415

    with console.progress() as tell:
        yield tell


def _secret(arguments: argparse.Namespace, *, needed: bool) -> Any:
    """The agent.settings.secret.Secret of a service, None without one. Raises ConfigError."""
    from agent.settings import secret  # noqa: PLC0415

    folder, path = os.environ.get("CREDENTIALS_DIRECTORY"), arguments.secret
    if path is None and folder and (Path(folder) / arguments.credential).exists():
        return secret.from_file(Path(folder) / arguments.credential, Path(folder))
    if path is not None:
        return secret.from_file(path)
    if needed:
        remedy = "name a file of mode 0600 that holds it and nothing else (`--help`)"
        raise ConfigError("there is no key or token", place=arguments.credential, remedy=remedy)
    return None


def call(
    arguments: argparse.Namespace, url: str, work: Callable[[Any], Awaitable[Result]], *, secret: bool = True
) -> Result:
    """Run `work` with the REST client of a service."""
    from agent.cloud.rest import Bearer, Rest  # noqa: PLC0415

    async def run() -> Result:
        key = _secret(arguments, needed=secret)
        async with Rest(url, authorize=Bearer(key) if key else None, ca=arguments.ca) as rest:
            return await work(rest)

    try:
        return asyncio.run(run())
    except OSError as error:
        remedy = "check the free space and the rights of its folder, and run the same command again"
        raise HubError(f"it cannot be written: {error.strerror}", place=str(error.filename), remedy=remedy) from None


def tell_result(arguments: argparse.Namespace, told: Any, *lines: str) -> int:
    """Print a result, as JSON or as lines for people."""
    for line in (json.dumps(told),) if arguments.json else lines:
        print(printable(line))
    return int(Exit.OK)


def counted(number: int, one: str, many: str = "") -> str:
    """For example "1 row", "2 rows", "3 entries"."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def settings_of(arguments: argparse.Namespace) -> Any:
    """The hub's agent.settings.Settings. Raises ConfigError."""
    from agent import settings  # noqa: PLC0415

    return settings.load(arguments.config, os.environ)
