"""What people see: tables and live progress. The only file that knows rich; `--json` never comes here.

Texts come from radios, brokers and people: they are shown as they are, never read as rich's markup, and their control characters are
escaped, so that no device writes on a terminal what it likes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from agent.clock import iso
from agent.log_format import printable

out = Console()
err = Console(stderr=True)

_GOOD = {"online", "ACTIVATED", "SUCCEEDED", "succeeded"}
_BAD = {"away", "offline", "radio_away", "FAILED", "TIMED_OUT", "ISOLATED", "failed", "REJECTED", "CANCELED"}


def plain(value: object, style: str = "") -> Text:
    """A text of others on one line."""
    return Text(printable(str(value)).replace("\n", "\\n"), style)


def paint(word: str) -> Text:
    """A status word in its colour."""
    return plain(word, "green" if word in _GOOD else "red" if word in _BAD else "yellow")


def say(*parts: object) -> None:
    """One line of parts, each of which is a Text with a style of its own, or plain."""
    out.print(Text.assemble(*(part if isinstance(part, Text) else plain(part) for part in parts)))


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> Table:
    """Nothing is cut: a cell is folded where room is short, and last of all the first one, which people copy."""
    cells = [[cell if isinstance(cell, Text) else plain(cell) for cell in row] for row in rows]
    made = Table(title=plain(title), title_justify="left", header_style="bold")
    for number, name in enumerate(columns):
        widest = 0 if number else max((row[0].cell_len for row in cells), default=0)
        made.add_column(name, overflow="fold", no_wrap=0 < widest <= out.width // 2)
    for row in cells:
        made.add_row(*row)
    return made


def show_code(source: str) -> None:
    """Python that is about to run."""
    shown = Syntax("", "python", background_color="default").highlight(source.rstrip())
    out.print(shown, soft_wrap=True)  # a line that is cut could not be copied


def show_status(status: Mapping[str, Any]) -> None:
    clock = status["clock"]
    version = f"  version {status['version']}  clock {clock['now']} ({clock['quality']})"
    say("hub ", plain(status["hub"], "bold"), version)
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
    if status["certificate"]:
        out.print(table("Certificate", CERTIFICATE, [_certificate(status["certificate"])]))
    say(f"{status['devices']} devices, {status['openCommands']} open commands")
    if status["networkMode"] != "STANDARD":
        say(plain("every device whose button is pressed leaves its network (the cloud's network mode)", "red"))
    if status["store"]["full"]:
        say(plain("the disk is full: history is being shed", "red"))
    for name, count in sorted(status["counters"].items()):
        if count:
            say(f"  {name.replace('_', ' ')}: {count}")


CERTIFICATE = ("slot", "from", "days left", "is", "last proof", "rotation", "key store", "trouble")


def _certificate(told: Mapping[str, Any]) -> tuple[Any, ...]:
    days = "?" if told["daysLeft"] is None else f"{told['daysLeft']:.1f}"
    proved = iso(told["proved"]) if told["proved"] else "never"
    state = plain(told["state"], "" if told["state"] in ("fine", "due") else "red")
    store = plain(told["keyStore"], "red") if told["keyStore"] else "there"
    return (told["slot"], told["source"], days, state, proved, told["rotation"] or "-", store, told["trouble"])


def show_identity(told: Mapping[str, Any]) -> None:
    rows = [(name.replace("_", " "), told[name] or "-") for name in ("device_id", "thing", "certificate_id", "expires")]
    out.print(table("Identity", ("of", "is"), rows))
    if told["public_key"]:
        out.print(Text(printable(told["public_key"]).rstrip()), soft_wrap=True)  # PEM: its line breaks are part of it
    else:
        say("there is no key yet: `agent identity csr` makes one")


def show_devices(devices: Iterable[Mapping[str, Any]]) -> None:
    rows = [
        (d["nodeId"], ", ".join(d["deviceTypes"]), d["model"], d["address"], d["status"], paint(d["availability"]))
        for d in devices
    ]
    out.print(table("Devices", ("id", "type", "model", "address", "status", "availability"), rows))


def show_device(device: Mapping[str, Any]) -> None:
    about = f"  {device['manufacturer']} {device['model']}  {device['address']}"
    say(plain(device["nodeId"], "bold"), about)
    say(f"managed thing {device['managedThingId'] or '-'}  {device['status']}  ", paint(device["availability"]))
    for endpoint in device["endpoints"]:
        rows = []
        for capability in endpoint["capabilities"]:
            state = ", ".join(f"{name}={value}" for name, value in capability["state"].items())
            rows.append((capability["id"], state, ", ".join(capability["actions"])))
        title = f"Endpoint {endpoint['id']}: {', '.join(endpoint['deviceTypes'])}"
        out.print(table(title, ("capability", "state", "actions"), rows))
    if device["unmapped"]:
        say("not mapped: " + ", ".join(device["unmapped"]))
    for name, told in device.get("radio", {}).items():
        pairs = told.items() if isinstance(told, Mapping) else [("", told)]
        say(f"{name}: " + ", ".join(f"{key} {value}".strip() for key, value in pairs))


def watch_discovery(
    lines: Iterator[dict[str, Any]], ask: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    """Show the join as it goes, and what it waits for: the radio, devices, interviews, and answers, which `ask` gets.

    Returns the last line.
    """
    last: dict[str, Any] = {}
    opened = False
    with out.status("waiting for the radio") as spinner:
        for line in lines:
            last = line
            match line["what"]:
                case "window" if line["seconds"]:
                    opened = True
                    say(f"join window open for {line['seconds']} s: put devices in pairing mode now")
                    spinner.update("waiting for devices")
                case "window" if opened:
                    say("join window closed; what has joined is interviewed to the end")
                    spinner.update("waiting for interviews")
                case "joining":
                    say(f"  {line['device']}  {line['stage']} {line['detail']}")
                    if ask is not None and line.get("seconds"):
                        spinner.stop()  # it would write over what is typed
                        ask(line)
                        spinner.start()
                case "found":
                    say(plain(f"  {line['nodeId']}  {line['model']}  {line['address']}  ready", "green"))
    return last


def watch_exclusion(lines: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Show who leaves while devices are excluded. Returns the last line."""
    last: dict[str, Any] = {}
    with out.status("waiting for the radio") as spinner:
        for line in lines:
            last = line
            match line.get("stage"):
                case "open":
                    say(
                        f"exclusion window of {line['radio']} open for {line['seconds']} s: press the button of each device"
                    )
                    spinner.update("waiting for devices")
                case "found":
                    say("  a device answers")
                case "left" if line["device"]:
                    say(plain(f"  {line['device']}  has left", "green"))
                case "left":
                    say(plain("  a device of another network, or of none, has left it: it can join now", "green"))
                case "failed":
                    say(plain(f"  {line['detail']}", "red"))
    return last


def show_routes(devices: Iterable[Mapping[str, Any]]) -> None:
    rows = [
        (
            one["device"],
            one["model"],
            ", ".join(map(str, one.get("neighbors", ()))) or one.get("routes", one.get("error", "")),
            _route(one.get("link", {}).get("route")),
            _preferred(one.get("priorityRoute")),
        )
        for one in devices
    ]
    out.print(table("Routes", ("device", "model", "hears", "last way", "preferred"), rows))


def _route(repeaters: Iterable[int] | None) -> str:
    return "" if repeaters is None else " ".join(map(str, repeaters)) or "straight"


def _preferred(route: Mapping[str, Any] | None) -> str:
    return "" if route is None else f"{_route(route['repeaters'])} at {route['speed']} bit/s"


def watch_routes(lines: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Show what becomes of a device's routes. Returns the last line."""
    last: dict[str, Any] = {}
    with out.status("waiting for the device") as spinner:
        for last in lines:
            match last["what"]:
                case "step":
                    spinner.update(f"{last['device']}: {last['step']}")
                case "rebuilt":
                    heard, to = (", ".join(map(str, last[name])) for name in ("neighbors", "destinations"))
                    say(
                        f"{last['device']}  ",
                        plain("rebuilt", "green"),
                        f"  hears {heard or '-'}; routes to {to or 'the hub'}",
                    )
                case "preferred":
                    say(f"{last['device']}  ", plain("taken", "green"))
                case "failed":
                    say(f"{last['device']}  ", plain(last["error"], "red"))
    return last


def show_updates(tasks: Iterable[Mapping[str, Any]]) -> None:
    columns = ("update", "release", "component", "from", "state", "")
    rows = [(t["key"], t["release"], t["component"], t["from"], paint(t["state"]), _of_update(t)) for t in tasks]
    out.print(table("Updates", columns, rows))


def _of_update(task: Mapping[str, Any]) -> str:
    if task["detail"]:
        return str(task["detail"])
    return f"{task['percent']} %" if task["state"] == "DOWNLOADING" else ""


def watch_update(lines: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Show an update as it goes, with a bar while it downloads. Returns the last line."""
    last: dict[str, Any] = {}
    with progress() as tell:
        for line in lines:
            if any(line[name] != last.get(name) for name in ("state", "component", "detail")):
                say(f"  {line['release']} {line['component']}  ", paint(line["state"]), f"  {line['detail']}")
            if line["state"] == "DOWNLOADING":
                tell(f"{line['component']}", line["percent"], 100)
            last = line
    return last


def show_certificates(found: Iterable[Mapping[str, Any]]) -> None:
    columns = ("uuid", "reference", "title", "name", "email", "status")
    names = ("uuid", "reference_id", "certificate_title", "full_name", "applicant_email")
    rows = [(*(one[name] or "-" for name in names), paint(one["status"]["value"])) for one in found]
    out.print(table("Certificates", columns, rows))


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error while something is done: tell it (what, steps done, steps of all). It leaves nothing behind."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=err, transient=True, disable=not err.is_terminal) as bars:
        bar = bars.add_task("", total=None)

        def tell(what: str, done: int, total: int) -> None:
            bars.update(bar, description=printable(what), completed=done, total=total or None)

        yield tell


def show_error(message: str, remedy: str = "") -> None:
    err.print(Text.assemble(("error:", "red"), " ", printable(message)))
    if remedy:
        err.print(Text.assemble("  ", ("remedy:", "bold"), " ", printable(remedy)))
