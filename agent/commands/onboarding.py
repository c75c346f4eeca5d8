"""Devices into nRF Cloud, for makers and operators: `agent onboard`."""

import argparse
import json
from pathlib import Path
from typing import Any

from agent.commands import Commands
from agent.commands.services import call, counted, progress, service, settings_of, tell_result
from agent.errors import ConfigError, Exit, HubError, UsageError

_KINDS = ("devices", "certificates", "public-keys")
URL = "https://api.nrfcloud.com/v1"
JITP_URL = "https://mqtt.nrfcloud.com:8443"


def register(commands: Commands) -> None:
    onboard = commands.group("onboard", "devices into nRF Cloud")
    files = onboard.group("nrf-csv", "CSV files of devices, device certificates or public keys")
    write = files.add("write", _write, "write files that can be uploaded, 1,000 rows in each")
    write.add_argument("kind", choices=_KINDS)
    write.add_argument("out", type=Path, metavar="OUT.csv", help="more than one file: OUT-1.csv, OUT-2.csv, ...")
    source = "FILE.pem, DEVICE=FILE.pem, a folder of them, or a CSV file to be tidied"
    write.add_argument("sources", nargs="*", metavar="SOURCE", help=source)
    _described(write)
    check = files.add("check", _check, "find what the cloud would refuse")
    check.add_argument("kind", choices=_KINDS)
    check.add_argument("files", nargs="+", type=Path, metavar="FILE.csv")
    upload = files.add("upload", _upload, "upload files and follow each to its end; the same again goes on")
    upload.add_argument("kind", choices=_KINDS)
    upload.add_argument("files", nargs="+", type=Path, metavar="FILE.csv")
    upload.add_argument("--deadline", type=float, default=600.0, metavar="S", help="give up a file after this")
    device = onboard.add("nrf-device", _device, "onboard one device")
    device.add_argument("source", nargs="?", metavar="SOURCE", help="FILE.pem or DEVICE=FILE.pem")
    _described(device)
    associate = onboard.add("nrf-associate", _associate, "take a device into the account")
    code = "file with the ownership code"
    associate.add_argument("--code-file", type=Path, required=True, metavar="FILE", help=code)
    associate.add_argument("--sub-type", default="", metavar="TYPE")
    jitp = onboard.add("nrf-jitp", _jitp, "this hub, with a key and a certificate that nRF Cloud makes for it")
    jitp.add_argument(
        "--code-file", type=Path, required=True, metavar="FILE", help="file with an ownership code of yours"
    )
    jitp.add_argument("--sub-type", default="", metavar="TYPE")
    jitp.add_argument("--jitp-url", default=JITP_URL, metavar="URL", help="the HTTPS port of the account's MQTT host")
    jitp.add_argument("--deadline", type=float, default=180.0, metavar="S", help="give up the wait after this")
    dissociate = onboard.add("nrf-dissociate", _dissociate, "take a device out of the account")
    delete = onboard.add("nrf-delete", _delete, "have a device forgotten")
    delete.add_argument("--code-file", type=Path, metavar="FILE", help=f"{code}, for one never associated")
    for command in (associate, dissociate, delete):
        command.add_argument("id", metavar="DEVICE")
    for command in (upload, device, associate, jitp, dissociate, delete):
        service(command, URL, "--api-key-file", "nrf-api-key")


def _described(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--self", action="store_true", dest="this", help="this hub: its certificate, or its public key"
    )
    command.add_argument("--sub-type", default="", metavar="TYPE", help="with the word gateway in it: a gateway")
    command.add_argument("--tag", action="append", default=[], metavar="TAG", help="may be repeated")
    command.add_argument(
        "--firmware", action="append", default=[], metavar="TYPE", help="may be repeated: APP, MODEM, ..."
    )


def _rows(arguments: argparse.Namespace, kind: str, sources: list[str]) -> list[Any]:
    from agent.identity import onboarding_sources as sources_  # noqa: PLC0415

    described = sources_.Described(arguments.sub_type, tuple(arguments.tag), tuple(arguments.firmware))
    rows = sources_.gather(sources, kind, described)
    return [*rows, sources_.of_hub(settings_of(arguments), kind, described)] if arguments.this else rows


def _write(arguments: argparse.Namespace) -> int:
    from agent.identity.onboarding_sources import write_files  # noqa: PLC0415

    rows = _rows(arguments, arguments.kind, arguments.sources)
    try:
        files = [str(path) for path in write_files(rows, arguments.kind, arguments.out)]
    except OSError as error:
        raise HubError(f"cannot be written: {error.strerror}", place=str(arguments.out)) from None
    return tell_result(
        arguments, {"rows": len(rows), "files": files}, f"{counted(len(rows), 'row')} in {', '.join(files)}"
    )


def _check(arguments: argparse.Namespace) -> int:
    from agent.identity.onboarding_csv import LARGEST, mismatches, read  # noqa: PLC0415
    from agent.identity.onboarding_sources import read_bounded  # noqa: PLC0415

    try:
        found = {str(path): read(read_bounded(path, LARGEST), arguments.kind, str(path)) for path in arguments.files}
    except ConfigError as error:
        if arguments.json:
            problems = [{"place": p.place, "reason": p.message, "remedy": p.remedy} for p in error.problems or (error,)]
            print(json.dumps({"ok": False, "errors": problems}))
            return int(error.exit_code)
        raise
    warnings = [text for rows in found.values() for text in mismatches(rows)]
    counts = {name: len(rows) for name, rows in found.items()}
    lines = [
        *(f"{name}: {counted(count, 'row')}, good" for name, count in counts.items()),
        *(f"note: {text}" for text in warnings),
    ]
    return tell_result(arguments, {"ok": True, "files": counts, "warnings": warnings}, *lines)


def _upload(arguments: argparse.Namespace) -> int:
    from agent.identity.nrf_onboarding import NrfAccount, Upload  # noqa: PLC0415

    with progress(arguments) as tell:
        outcomes = call(
            arguments,
            arguments.url,
            lambda rest: Upload(
                NrfAccount(rest, arguments.url, arguments.ca), arguments.kind, arguments.deadline, tell
            ).run(arguments.files),
        )
    lines = [
        f"{one.file}: {counted(one.rows, 'row')}, {one.status.lower()}{' (' + one.note + ')' if one.note else ''}"
        for one in outcomes
    ]
    tell_result(arguments, [one.told() for one in outcomes], *lines)
    failed = [one for one in outcomes if one.failed]
    if failed:
        first = failed[0]
        text = f"{counted(sum(len(one.failed) for one in failed), 'row')} not carried out, the first since: {first.failed[0].reason}"
        remedy = f"{first.reasons} has the reasons; correct {first.again}, and upload that"
        raise HubError(text, place=f"{first.file}, device {first.failed[0].row.device}", remedy=remedy)
    return int(Exit.OK)


def _device(arguments: argparse.Namespace) -> int:
    from agent.identity.nrf_onboarding import NrfAccount  # noqa: PLC0415
    from agent.identity.onboarding_csv import write  # noqa: PLC0415

    rows = _rows(arguments, "devices", [arguments.source] if arguments.source else [])
    if len(rows) != 1:
        raise UsageError(f"{len(rows)} devices instead of one", remedy="name one PEM file, or --self")
    write(rows, "devices")
    call(arguments, arguments.url, lambda rest: NrfAccount(rest, arguments.url).onboard(rows[0]))
    return tell_result(arguments, {"onboarded": rows[0].device}, f"{rows[0].device} is onboarded")


def _associate(arguments: argparse.Namespace) -> int:
    from agent.identity.nrf_onboarding import NrfAccount  # noqa: PLC0415

    code = _code(arguments)
    work = lambda rest: NrfAccount(rest, arguments.url).associate(arguments.id, code, arguments.sub_type)  # noqa: E731
    call(arguments, arguments.url, work)
    return tell_result(arguments, {"associated": arguments.id}, f"{arguments.id} is of this account")


def _jitp(arguments: argparse.Namespace) -> int:
    from agent.identity.hub_identity import HubIdentity  # noqa: PLC0415
    from agent.identity.nrf_jitp import Jitp  # noqa: PLC0415
    from agent.identity.nrf_onboarding import NrfAccount  # noqa: PLC0415

    settings, code = settings_of(arguments), _code(arguments)
    device = settings.hub.id
    if not device:
        raise ConfigError("the hub has no id yet", place="hub.id", remedy="set the id that it is to have at nRF Cloud")
    with progress(arguments) as tell:

        async def work(rest: Any) -> bool:
            account = NrfAccount(rest, arguments.url)
            jitp = Jitp(
                HubIdentity(settings),
                account,
                arguments.jitp_url,
                tell,
                ca=arguments.ca,
                deadline=arguments.deadline,
            )
            return await jitp.run(device, code, arguments.sub_type)

        made = call(arguments, arguments.url, work)
    text = f"{device} is provisioned and of this account" + ("" if made else "; it was provisioned before")
    return tell_result(arguments, {"associated": device, "provisioned_now": made}, text)


def _dissociate(arguments: argparse.Namespace) -> int:
    from agent.identity.nrf_onboarding import NrfAccount  # noqa: PLC0415

    call(arguments, arguments.url, lambda rest: NrfAccount(rest, arguments.url).dissociate(arguments.id))
    return tell_result(arguments, {"dissociated": arguments.id}, f"{arguments.id} is of this account no more")


def _delete(arguments: argparse.Namespace) -> int:
    from agent.identity.nrf_onboarding import NrfAccount  # noqa: PLC0415

    code = _code(arguments)
    call(arguments, arguments.url, lambda rest: NrfAccount(rest, arguments.url).delete(arguments.id, code))
    return tell_result(arguments, {"deleted": arguments.id}, f"{arguments.id} is forgotten")


def _code(arguments: argparse.Namespace) -> str:
    """The ownership code: who has it has the device, so that it comes from a private file, too."""
    from agent.settings import secret  # noqa: PLC0415

    return secret.from_file(arguments.code_file).reveal().strip() if arguments.code_file else ""
