"""The commands of the command line, by what they work on. A module here declares its commands and imports nothing until one runs."""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agent.errors import ConfigError, HubError

Command = Callable[[argparse.Namespace], int]


class Commands:
    """Where a module adds its commands: every one takes -c FILE, and `--json` if it prints for people."""

    def __init__(self, make: Callable[[str, str], argparse.ArgumentParser]) -> None:
        self._make = make

    def group(self, name: str, text: str) -> "Commands":
        """Commands below a command."""
        made = self._make(name, text)
        below = made.add_subparsers(required=True, metavar="COMMAND", parser_class=type(made))
        return Commands(lambda name, text: below.add_parser(name, help=text, description=text))

    def add(self, name: str, run: Command, text: str, *, as_json: bool = True) -> argparse.ArgumentParser:
        made = self._make(name, text)
        made.add_argument(
            "-c", "--config", type=Path, metavar="FILE", help="agent.toml (default /etc/hub-agent/agent.toml)"
        )
        if as_json:
            made.add_argument("--json", action="store_true", help="JSON for programs")
        made.set_defaults(run=run)
        return made


def print_lines(lines: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Print a stream of JSON objects, a line each; the last one."""
    last: dict[str, Any] = {}
    for last in lines:
        print(json.dumps(last), flush=True)
    return last


def print_error(error: HubError) -> None:
    """Diagnosis and remedy for people, on standard error."""
    from agent import console  # noqa: PLC0415  rich is not loaded by the daemon

    console.show_error(str(error), error.remedy)
    for problem in error.problems if isinstance(error, ConfigError) else ():
        console.show_error(str(problem), problem.remedy)
