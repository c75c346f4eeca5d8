"""Certificates and documents in batches: `agent certs bulk`, `agent vault`."""

import argparse
from pathlib import Path
from typing import Any

from agent.commands import Commands
from agent.commands.services import call, counted, progress, service, settings_of, tell_result
from agent.errors import ConfigError, Exit

_CDF_TOKEN, _VAULT_TOKEN = "bulk-certificates-token", "vault-token"


def register(commands: Commands) -> None:
    _register_bulk(commands.group("certs", "certificates in batches").group("bulk", "AWS CDF bulk certificates"))
    _register_vault(commands.group("vault", "commissioning documents into the certificate vault"))


def _register_bulk(bulk: Commands) -> None:
    create = bulk.add("create", _create, "begin a batch")
    create.add_argument("--quantity", type=int, default=1, metavar="N")
    create.add_argument("--supplier", default="", metavar="ID", help="whose authority signs; else the default one")
    create.add_argument("--register", action="store_true", help="as the API description has it")
    create.add_argument("--common-name", metavar="TEXT", help="`PREFIX`START${increment(N)|list|static}")
    create.add_argument("--common-names", type=Path, metavar="FILE", help="one name in a line, for ${list}")
    for name in ("organization", "organizational-unit", "state-name", "country"):
        create.add_argument(f"--{name}", metavar="TEXT")
    create.add_argument("--days", type=int, metavar="N", help="1 to 825")
    create.add_argument("--include-ca", action="store_true", help="append the authority's certificate")
    status = bulk.add("status", _status, "how far a batch is")
    fetch = bulk.add("fetch", _fetch, "wait for a batch, and lay its certificates out in FOLDER/devices")
    fetch.add_argument("--deadline", type=float, default=900.0, metavar="S", help="give up after this")
    fetch.add_argument("--again", action="store_true", help="also when it was fetched")
    install = bulk.add("install", _install, "make a fetched certificate this hub's own")
    install.add_argument("device", metavar="DEVICE", help="device or certificate id")
    for command in (create, status, fetch, install):
        command.add_argument("--folder", type=Path, default=Path(), metavar="DIR", help="of the batch (default: here)")
    service(create, "", "--token-file", _CDF_TOKEN)
    for command in (status, fetch):
        service(command, None, "--token-file", _CDF_TOKEN)


def _register_vault(vault: Commands) -> None:
    upload = vault.add("upload", _vault_upload, "upload the files of a table; the same again goes on")
    submit = vault.add("submit", _vault_submit, "enter an uploaded table in one bulk")
    submit.add_argument("--again", action="store_true", help="also when it was submitted")
    for command in (upload, submit):
        command.add_argument(
            "table", type=Path, metavar="TABLE.csv", help="certificate_title, full_name, applicant_email, file"
        )
    listed = vault.add("list", _vault_list, "what is in the vault")
    listed.add_argument("--status", choices=("pending", "processing", "generated", "failed", "revoked"))
    listed.add_argument("--email", metavar="ADDRESS")
    listed.add_argument("--search", metavar="TEXT")
    retry = vault.add("retry", _vault_retry, "have a failed certificate made again")
    retry.add_argument("uuid", metavar="UUID")
    for command in (upload, submit, listed, retry):
        service(command, "https://api.vec.digital", "--token-file", _VAULT_TOKEN)


# ---- bulk certificates --------------------------------------------------------------------------------------------------


def _create(arguments: argparse.Namespace) -> int:
    from agent.identity.bulk import BulkCertificates, expected, task_request  # noqa: PLC0415
    from agent.identity.bulk_folder import Task, TaskFolder  # noqa: PLC0415
    from agent.identity.onboarding_sources import read_bounded  # noqa: PLC0415

    folder = TaskFolder(arguments.folder)
    try:
        names = read_bounded(arguments.common_names, 1 << 20).decode() if arguments.common_names else ""
    except UnicodeDecodeError as error:
        raise ConfigError(f"byte {error.start} is not UTF-8", place=str(arguments.common_names)) from None
    subject = {
        "common_name": arguments.common_name,
        "common_name_list": [line.strip() for line in names.splitlines() if line.strip()] or None,
        "organization": arguments.organization,
        "organizational_unit": arguments.organizational_unit,
        "state_name": arguments.state_name,
        "country": arguments.country,
        "include_ca": arguments.include_ca or None,
        "days_expiry": arguments.days,
    }
    request = task_request(subject, arguments.quantity, register=arguments.register)

    async def create(rest: Any) -> str:
        with folder.prepared():  # a task that could not be kept would be lost
            task = await BulkCertificates(rest).create(request, arguments.supplier)
            folder.keep(Task(task, arguments.url, arguments.supplier, expected(request)))
            return task

    task = call(arguments, arguments.url, create, secret=False)
    return tell_result(arguments, {"task": task}, f"task {task}; `agent certs bulk fetch` waits for it")


def _status(arguments: argparse.Namespace) -> int:
    from agent.identity.bulk import BulkCertificates  # noqa: PLC0415
    from agent.identity.bulk_folder import TaskFolder  # noqa: PLC0415

    task = TaskFolder(arguments.folder).task()
    found = call(arguments, task.url, lambda rest: BulkCertificates(rest).status(task.id), secret=False)
    state = "complete" if found.complete else "pending"
    done = found.chunks_total - found.chunks_pending
    told = {"task": task.id, "status": state, "chunks": found.chunks_total, "done": done}
    return tell_result(arguments, told, f"task {task.id}: {state}, {done} of {found.chunks_total} chunks")


def _fetch(arguments: argparse.Namespace) -> int:
    from agent.identity import bulk  # noqa: PLC0415
    from agent.identity.bulk_folder import TaskFolder  # noqa: PLC0415

    folder = TaskFolder(arguments.folder)
    if folder.devices.exists() and not arguments.again:
        return _tell_devices(arguments, folder.index())
    with progress(arguments) as tell:
        found = call(
            arguments,
            folder.task().url,
            lambda rest: bulk.fetch(bulk.BulkCertificates(rest, arguments.ca), folder, arguments.deadline, tell),
            secret=False,
        )
    return _tell_devices(arguments, found)


def _tell_devices(arguments: argparse.Namespace, found: list[dict[str, Any]]) -> int:
    where = arguments.folder / "devices"
    return tell_result(
        arguments,
        found,
        f"{counted(len(found), 'pair')} of certificate and key in {where}, listed in {where}/devices.json",
    )


def _install(arguments: argparse.Namespace) -> int:
    from agent.identity.bulk_folder import TaskFolder  # noqa: PLC0415
    from agent.identity.bulk_install import install  # noqa: PLC0415

    told = install(settings_of(arguments), TaskFolder(arguments.folder), arguments.device)
    return tell_result(arguments, told, f"this hub is {told['thing']}, with certificate {told['certificate_id']}")


# ---- vault --------------------------------------------------------------------------------------------------------------


def _vault_upload(arguments: argparse.Namespace) -> int:
    from agent.identity import vault  # noqa: PLC0415

    with progress(arguments) as tell:
        told = call(
            arguments,
            arguments.url,
            lambda rest: vault.upload(vault.Vault(rest, arguments.url), arguments.table, tell),
        )
    line = f"{counted(told['files'], 'file')}: {told['uploaded']} uploaded now, {told['before']} before"
    return tell_result(arguments, told, line)


def _vault_submit(arguments: argparse.Namespace) -> int:
    from agent.identity import vault  # noqa: PLC0415

    told = call(
        arguments,
        arguments.url,
        lambda rest: vault.submit(vault.Vault(rest, arguments.url), arguments.table, again=arguments.again),
    )
    return tell_result(
        arguments, told, f"batch {told['batch']}: {counted(told['total'], 'entry', 'entries')}, {told['status']}"
    )


def _vault_list(arguments: argparse.Namespace) -> int:
    from agent.identity import vault  # noqa: PLC0415

    given = {"status": arguments.status, "applicant_email": arguments.email, "search": arguments.search}
    query = {name: value for name, value in given.items() if value}
    found = call(arguments, arguments.url, lambda rest: vault.certificates(vault.Vault(rest, arguments.url), query))
    if arguments.json:
        return tell_result(arguments, [one.model_dump() for one in found])
    from agent import console  # noqa: PLC0415

    console.show_certificates([one.model_dump() for one in found])
    return int(Exit.OK)


def _vault_retry(arguments: argparse.Namespace) -> int:
    from agent.identity import vault  # noqa: PLC0415

    call(arguments, arguments.url, lambda rest: vault.Vault(rest, arguments.url).retry(arguments.uuid))
    return tell_result(arguments, {"retried": arguments.uuid}, f"{arguments.uuid} is made again")
