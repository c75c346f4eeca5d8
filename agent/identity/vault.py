"""The certificate vault for a hub's commissioning documents: upload the files of a table, enter them in one bulk, look, and try again.

Every step is in the table's journal before the next one: after a `kill -9` the same command goes on, and uploads at most the one file
again that was under way.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.cloud.rest import Part, Rest, RestError, UnavailableError, segment
from agent.errors import ConfigError, TryAgainError, UsageError
from agent.files import locked
from agent.identity.onboarding_sources import read_bounded
from agent.identity.vault_entries import LARGEST_FILE, Document, EntriesTroubleError, Journal, read
from agent.wire.vault import PREFIX, Accepted, Batch, Bulk, Certificate, Listed, Uploaded

URL = "https://api.vec.digital"
PER_PAGE = 100
LONG = 900.0  # seconds for 20 MB over a slow line
PAGES = 1000

_UNPROCESSABLE, _TOO_MANY = 422, 429
_ENTRY = re.compile(r"(?:Entry|entries\.)\s*(\d{1,6})(?:\.\w+)?\s*:\s*(.*)", re.DOTALL)

Tell = Callable[[str, int, int], None]  # file, done, all


class Vault:
    """The service's calls. Raises RestError."""

    def __init__(self, rest: Rest, url: str) -> None:
        self._rest, self.url = rest, url.rstrip("/")

    async def upload(self, document: Document) -> str:
        """The id of the file. A repetition leaves a file that nobody uses, and nothing worse. Raises ConfigError for one that has changed."""
        content = read_bounded(document.file, LARGEST_FILE)
        if not document.key.startswith(hashlib.sha256(content).hexdigest()):
            raise ConfigError("it has changed since it was checked", place=str(document.file), remedy="upload again")
        form = {"file": Part(content, document.file.name, document.kind)}
        answer = await self._rest.call("POST", f"/{PREFIX}/upload-file", form=form, retry=True, total=LONG)
        return answer.model(Uploaded).data.file_id

    async def submit(self, bulk: Bulk) -> Batch:
        body = bulk.model_dump(exclude_none=True)
        return (await self._rest.call("POST", f"/{PREFIX}/bulk", json=body)).model(Accepted).data

    async def list(self, query: Mapping[str, str | int], page: int) -> Listed:
        return (await self._rest.call("GET", f"/{PREFIX}", query={**query, "page": page})).model(Listed)

    async def retry(self, certificate: str) -> None:
        """Have a failed certificate made again."""
        await self._rest.call("POST", f"/{PREFIX}/{segment(certificate)}/retry")


async def upload(vault: Vault, table: Path, tell: Tell) -> dict[str, Any]:
    """Upload what is not uploaded yet: `{"files", "uploaded", "before"}`. Raises EntriesTroubleError before anything is sent, RestError."""
    with _at_work(table):
        documents, journal = read(table), Journal(table, vault.url)
        before = sum(document.key in journal.files for document in documents)
        done = before
        for document in documents:
            if document.key in journal.files:
                continue
            tell(document.file.name, done, len(documents))
            try:
                journal.uploaded(document.key, await vault.upload(document))
            except RestError as error:
                error.place = f"{document.place}: {error.place}"
                raise
            done += 1
        tell("", done, len(documents))
    return {"files": len(documents), "uploaded": done - before, "before": before}


async def submit(vault: Vault, table: Path, *, again: bool) -> dict[str, Any]:
    """Enter the table in one bulk: `{"batch", "total", "status"}`. Raises EntriesTroubleError with the lines that the vault refuses."""
    with _at_work(table):
        documents, journal = read(table), Journal(table, vault.url)
        missing = [document for document in documents if document.key not in journal.files]
        if missing:
            text = f"{len(missing)} of {len(documents)} files are not uploaded"
            raise UsageError(text, place=missing[0].place, remedy="`agent vault upload` first; it goes on where it was")
        bulk = Bulk(entries=[document.entry(journal.files[document.key]) for document in documents])
        digest = hashlib.sha256(bulk.model_dump_json().encode()).hexdigest()
        known = journal.batches.get(digest)
        if known and not again:
            return {"batch": known, "total": len(documents), "status": "submitted before"}
        if known is not None and not again:
            text = "it was submitted, and the answer is not known"
            remedy = "`agent vault list` shows whether the entries are there; if not, submit with --again"
            raise TryAgainError(text, place=str(table), remedy=remedy)
        journal.submitting(digest)
        try:
            batch = await vault.submit(bulk)
        except RestError as error:
            if isinstance(error, UnavailableError) and error.sent and error.status != _TOO_MANY:
                raise  # it may have been done: the journal keeps the question open
            journal.refused(digest)
            raise _refused(error, documents, journal, table) from None
        journal.submitting(digest, batch.batch_id)
    return {"batch": batch.batch_id, "total": batch.total, "status": batch.status}


async def certificates(vault: Vault, query: Mapping[str, str | int]) -> list[Certificate]:
    """Every certificate that fits, over all pages."""
    found, page, last = [], 1, 1
    while page <= min(last, PAGES):
        listed = await vault.list({"per_page": PER_PAGE, **query}, page)
        found += listed.data
        page, last = page + 1, listed.meta.last_page
    return found


@contextmanager
def _at_work(table: Path) -> Iterator[None]:
    """One run at a time for a table. Raises ConfigError for a folder that is not there or not ours."""
    if not table.is_file():
        raise ConfigError("there is no such table", place=str(table), remedy="check the path")
    try:
        with locked(table.with_name(f".{table.name}.lock")):
            yield
    except OSError as error:
        raise ConfigError(f"it cannot be used: {error.strerror}", place=str(table), remedy="check the path") from None


def _refused(error: RestError, documents: list[Document], journal: Journal, table: Path) -> RestError | ConfigError:
    """The error of a submission by the lines of the table, where it names any."""
    problems, general = [], []
    for text in error.errors if error.status == _UNPROCESSABLE else ():
        found = _ENTRY.match(text)
        if found is None or int(found[1]) >= len(documents):
            general.append(ConfigError(text, place=error.place))
            continue
        document = documents[int(found[1])]
        gone = "not found" in found[2] and journal.files.get(document.key, "?") in found[2]
        if gone:
            journal.lost(document.key)
        remedy = "`agent vault upload` uploads it again" if gone else "correct this line"
        problems.append(ConfigError(found[2], place=document.place, remedy=remedy))
    if not problems:
        return error
    text = f"the vault refuses {len(problems)} entries, and has made none: {error.message}"
    return EntriesTroubleError(text[:600], place=str(table), problems=(*problems, *general))
