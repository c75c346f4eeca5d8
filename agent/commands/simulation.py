"""Without hardware and without an account: `agent simulate`, `cloud`, `demo`."""

import argparse
import asyncio
import tempfile
from contextlib import nullcontext
from pathlib import Path

from agent.commands import Commands
from agent.errors import Exit, UsageError, install_extra


def register(commands: Commands) -> None:
    simulate = commands.add("simulate", _simulate, "simulated radios on ptys, from a home file", as_json=False)
    simulate.add_argument("home", type=Path, metavar="HOME.toml")
    simulate.add_argument("--links", type=Path, metavar="DIR", help="where the ports get their names")
    simulate.add_argument("--state", type=Path, metavar="DIR", help="keep the networks here")
    simulate.add_argument("--capture", type=Path, metavar="DIR", help="write what is on the air to pcap files here")
    simulate.add_argument("--faults", default="", metavar="SPEC")
    simulate.add_argument("--seed", type=int, default=1, metavar="N")
    _cloud_parser(commands)
    demo = commands.add("demo", _demo, "everything on one machine, narrated; stays up until Ctrl-C", as_json=False)
    demo.add_argument("--once", action="store_true", help="end after the story: 0, or non-zero if a step failed")


def _cloud_parser(commands: Commands) -> None:
    cloud = commands.add(
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
