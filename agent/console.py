"""What people see: tables and live progress. The only file that knows rich; `--json` never comes here."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

out = Console()
err = Console(stderr=True)

_GOOD = {"online", "ACTIVATED", "SUCCEEDED", "succeeded"}
_BAD = {"away", "offline", "radio_away", "FAILED", "TIMED_OUT", "ISOLATED", "failed"}


def paint(word: str) -> str:
    """A status word in its colour."""
    colour = "green" if word in _GOOD else "red" if word in _BAD else "yellow"
    return f"[{colour}]{word}[/{colour}]"


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> Table:
    made = Table(*columns, title=title, title_justify="left", header_style="bold")
    for row in rows:
        made.add_row(*(str(cell) for cell in row))
    return made


def show_code(source: str) -> None:
    """Python that is about to run."""
    shown = Syntax("", "python", background_color="default").highlight(source.rstrip())
    out.print(shown, soft_wrap=True)  # a line that is cut could not be copied


def show_status(status: Mapping[str, Any]) -> None:
    clock = status["clock"]
    out.print(
        f"hub [bold]{status['hub']}[/bold]  version {status['version']}  clock {clock['now']} ({clock['quality']})"
    )
    radios = status["radios"].items()
    rows = [
        (
            name,
            r["kind"],
            paint(r["status"]),
            r["identity"] or r["reason"],
            r.get("channel", ""),
            r["joinWindow"] or "-",
        )
        for name, r in radios
    ]
    out.print(table("Radios", ("radio", "kind", "status", "identity", "channel", "join window"), rows))
    uplinks = [
        (name, paint(u["status"]), u["reason"], u["inMemory"], u["onDisk"], u["counters"].get("acknowledged", 0))
        for name, u in status["uplinks"].items()
    ]
    out.print(table("Uplinks", ("uplink", "status", "reason", "in memory", "on disk", "delivered"), uplinks))
    out.print(f"{status['devices']} devices, {status['openCommands']} open commands")
    if status["store"]["full"]:
        out.print("[red]the disk is full: history is being shed[/red]")
    for name, count in sorted(status["counters"].items()):
        if count:
            out.print(f"  {name.replace('_', ' ')}: {count}")


def show_devices(devices: Iterable[Mapping[str, Any]]) -> None:
    rows = [
        (d["nodeId"], ", ".join(d["deviceTypes"]), d["model"], d["address"], d["status"], paint(d["availability"]))
        for d in devices
    ]
    out.print(table("Devices", ("id", "type", "model", "address", "status", "availability"), rows))


def show_device(device: Mapping[str, Any]) -> None:
    out.print(f"[bold]{device['nodeId']}[/bold]  {device['manufacturer']} {device['model']}  {device['address']}")
    out.print(f"managed thing {device['managedThingId'] or '-'}  {device['status']}  {paint(device['availability'])}")
    for endpoint in device["endpoints"]:
        rows = []
        for capability in endpoint["capabilities"]:
            state = ", ".join(f"{name}={value}" for name, value in capability["state"].items())
            rows.append((capability["id"], state, ", ".join(capability["actions"])))
        title = f"Endpoint {endpoint['id']}: {', '.join(endpoint['deviceTypes'])}"
        out.print(table(title, ("capability", "state", "actions"), rows))
    if device["unmapped"]:
        out.print("not mapped: " + ", ".join(device["unmapped"]))


def watch_discovery(lines: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Show the join as it goes; returns the last line."""
    last: dict[str, Any] = {}
    with out.status("waiting for devices: put them in pairing mode now") as spinner:
        for line in lines:
            last = line
            match line["what"]:
                case "window" if line["seconds"]:
                    spinner.update(f"join window open for {line['seconds']} s: put devices in pairing mode now")
                case "joining":
                    out.print(f"  {line['device']}  {line['stage']} {line['detail']}")
                case "found":
                    out.print(f"[green]  {line['nodeId']}  {line['model']}  {line['address']}  ready[/green]")
    return last


def show_error(message: str, remedy: str = "") -> None:
    err.print(f"[red]error:[/red] {message}", highlight=False)
    if remedy:
        err.print(f"  [bold]remedy:[/bold] {remedy}", highlight=False)
