"""The command line: parses, runs one command of `agent/commands`, and ends with its exit code (agent.errors.Exit)."""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from agent.commands import (
    Command,
    Commands,
    backups,
    batches,
    daemon,
    home,
    identity,
    network,
    onboarding,
    ota,
    print_error,
    simulation,
)
from agent.errors import Exit, HubError, UsageError
from agent.redact import redact

GROUPS = (daemon, home, network, backups, identity, onboarding, batches, ota, simulation)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; prints an error's diagnosis and remedy and returns the exit code."""
    try:
        arguments = _parser().parse_args(argv)
        command: Command = arguments.run
        return command(arguments)
    except HubError as error:
        print_error(error)
        return int(error.exit_code)
    except BrokenPipeError:
        # The reader of our output went away: nothing is wrong, and Python must not try to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.OK)
    except KeyboardInterrupt:
        return int(Exit.TEMPFAIL)
    except Exception:  # noqa: BLE001  a bug; Python itself would print secrets that an error speaks of
        print(redact(traceback.format_exc()), file=sys.stderr, end="")  # noqa: T201
        return int(Exit.SOFTWARE)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UsageError(message, remedy=f"`{self.prog} --help` shows the options")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="agent", description="Gateway daemon for radio hubs.", formatter_class=argparse.HelpFormatter)
    parser.add_argument("--version", action="version", version=f"hub-agent {version('hub-agent')}")
    made = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    commands = Commands(lambda name, text: made.add_parser(name, help=text, description=text))
    for group in GROUPS:
        group.register(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
