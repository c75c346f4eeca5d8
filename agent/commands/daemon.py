"""The daemon and its configuration: `agent run`, `check-config`, `init`."""

import argparse
import asyncio
import json
import logging
import os
import resource
import sys
import threading

from agent.commands import Commands, print_error
from agent.errors import ConfigError, Exit, HubError


def register(commands: Commands) -> None:
    commands.add("run", _run, "the daemon", as_json=False)
    commands.add("check-config", _check_config, "check the configuration and print every error with its remedy")
    commands.add("init", _init, "make the state folder and the first config; changes nothing that exists")


def _run(arguments: argparse.Namespace) -> int:
    from agent import log, run, settings  # noqa: PLC0415  the other commands start faster without the daemon

    env = dict(os.environ)
    # An image of this process's memory holds keys and passwords; the unit says the same (LimitCORE=0).
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    loaded = settings.load(arguments.config, env)
    logs = log.setup(loaded.logging, env)
    _hear_what_nobody_catches()
    try:
        return asyncio.run(run.run(loaded, env, logs.attach))
    except HubError as error:
        print_error(error)
        return int(error.exit_code)
    finally:
        logs.close()


def _hear_what_nobody_catches() -> None:
    """Into the log, which leaves secrets out; Python itself prints it as it is."""
    logger = logging.getLogger(__name__)

    def thread(told: threading.ExceptHookArgs) -> None:
        if told.exc_value is not None:
            logger.critical("a thread failed", exc_info=told.exc_value)

    def finaliser(told: "sys.UnraisableHookArgs") -> None:
        logger.error("an error that nobody could catch: %s", told.err_msg, exc_info=told.exc_value)

    threading.excepthook, sys.unraisablehook = thread, finaliser


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
