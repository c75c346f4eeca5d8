"""Releases from a TUF repository, through python-tuf (the extra `tuf`), for makers who have one already.

Its targets are the release document (`release.json`, not in an envelope: TUF's own signatures vouch for it) and each file that the release
names without an address of its own. python-tuf checks root rotation, thresholds, versions, expiry, lengths and hashes; then everything that
agent/ota/trust.py checks after the signatures is checked too: python-tuf believes the clock, and takes what expired long ago while that is
set back. A downgrade is permitted by keys of our own root only, and so never by this way.

Blocking: the caller runs it in a thread. python-tuf costs about 26 MB of memory, and fetches files whole, so that it is given small ones only:
images go the way of all images (agent/ota/fetch.py), from the addresses that are given here.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agent.clock import Moment
from agent.cloud.rest_answer import RestError, UnusableError
from agent.errors import HubError, StorageError, TryAgainError, install_extra
from agent.ota.floor import Floor
from agent.ota.manifest import LARGEST, File
from agent.ota.manifest_get import get
from agent.ota.refusals import (
    ContentError,
    ExpiredError,
    MalformedError,
    MixAndMatchError,
    RefusedError,
    RollbackError,
    ThresholdError,
    TooLargeError,
    UnsignedError,
)
from agent.ota.source import FetchPolicy
from agent.ota.trust import Hub, Verified, Vouched, admit

MANIFEST = "release.json"
PART_TIME = 120.0  # seconds for one document
MOST = 5_000_000  # bytes of one, python-tuf's limit for the largest
_REMEDIES: tuple[tuple[str, type[HubError], str], ...] = (  # python-tuf's errors, each before those that it is one of
    ("ExpiredMetadataError", ExpiredError, "have the repository's metadata signed anew, or look at the hub's clock"),
    ("UnsignedMetadataError", ThresholdError, "have it signed by the keys that the repository's root names"),
    ("BadVersionNumberError", RollbackError, "the repository went back: publish its metadata with a higher version"),
    ("LengthOrHashMismatchError", ContentError, "publish metadata and files together"),
    ("RepositoryError", MalformedError, "publish the repository anew"),
    ("DownloadLengthMismatchError", TooLargeError, "ask who keeps the repository: such a file is smaller"),
    ("DownloadError", TryAgainError, "check the repository's address and the network"),
)


@dataclass(frozen=True, slots=True)
class Offered:
    """What a repository offers. `payload`: the document, as its targets have it; `addresses`: of the files that have none in it, by name."""

    verified: Verified
    payload: bytes
    addresses: Mapping[str, str]


class TufSource:
    """One repository. `root`: the pinned root metadata, bytes; `folder`: where python-tuf keeps what it has seen, which is its own floor.

    `product`: of this hub. `metadata` and `targets` are addresses of folders; `policy`: how they are asked.
    """

    def __init__(
        self, metadata: str, targets: str, root: bytes, folder: Path, product: str, policy: FetchPolicy
    ) -> None:
        self._metadata, self._targets, self._root, self._folder = metadata, targets, root, folder
        self._product, self._policy = product, replace(policy, total=min(policy.total, PART_TIME))

    def release(self, hub: Hub, floor: Floor, now: Moment, target: str = MANIFEST) -> Offered:
        """The release that the repository offers now as `target`, if this hub may install it; its `signers` are known to TUF only.

        Its files are the targets in the same folder. Raises RefusedError, also without python-tuf; TryAgainError where the repository does
        not answer, StorageError for the folder.
        """
        with self._repository() as repository:
            told = repository.get_targetinfo(target)
            if told is None:
                remedy = f"add the release document to the repository as the target {target}"
                raise UnsignedError("the repository has no such release", place=self._metadata, remedy=remedy)
            if told.length > LARGEST:
                text = f"{told.length} bytes, and {LARGEST} are allowed"
                raise TooLargeError(text, place=self._metadata, remedy="ask who made it: such a document is smaller")
            payload = Path(repository.download_target(told, str(self._folder / MANIFEST))).read_bytes()
            found = admit(Vouched(payload, self._product, frozenset()), hub, floor, now, place=self._metadata)
            beside, _, _ = target.rpartition("/")
            files = (file for component in found.hub + found.devices for file in component.files if not file.url)
            return Offered(found, payload, {file.name: self._address(repository, beside, file) for file in files})

    def _address(self, repository: Any, beside: str, file: File) -> str:
        """Where a file lies. The release must say the same of it as TUF does: two that differ were not made together."""
        name = f"{beside}/{file.name}" if beside else file.name
        told = repository.get_targetinfo(name)
        if told is None or (told.length, told.hashes.get("sha256")) != (file.size, file.sha256):
            remedy = "add every file of the release to the repository as a target with its SHA-256"
            place = f"{self._metadata}: {name}"
            raise MixAndMatchError("the release and the repository differ", place=place, remedy=remedy)
        if self._consistent():  # TUF, section 3: the digest goes before the name
            name = f"{beside}/{file.sha256}.{file.name}" if beside else f"{file.sha256}.{file.name}"
        return f"{self._targets.rstrip('/')}/{quote(name)}"

    def _consistent(self) -> bool:
        """Whether the repository keeps its files under their hashes, as the root in force says."""
        from tuf.api.metadata import Metadata, Root  # noqa: PLC0415  as below

        root: Metadata[Root] = Metadata.from_file(str(self._folder / "root.json"))
        return bool(root.signed.consistent_snapshot)

    @contextmanager
    def _repository(self) -> Iterator[Any]:
        """python-tuf's Updater, refreshed, with its errors in our words."""
        try:
            from tuf.api import exceptions  # noqa: PLC0415  it is large, and installed for whoever wants it
            from tuf.ngclient import Updater  # noqa: PLC0415
        except ImportError:
            raise RefusedError("python-tuf is not installed", remedy=install_extra("tuf")) from None
        folder = str(self._folder)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            asks = _fetcher(self._policy)
            made = Updater(folder, self._metadata, folder, self._targets, asks, bootstrap=self._root)
            made.refresh()
            yield made
        except OSError as error:
            raise StorageError(f"what TUF keeps cannot be read or written: {error.strerror}", place=folder) from error
        except (exceptions.RepositoryError, exceptions.DownloadError) as error:
            for name, kind, remedy in _REMEDIES:
                if isinstance(error, getattr(exceptions, name)):
                    raise kind(str(error)[:300], place=self._metadata, remedy=remedy) from error
            raise


def _fetcher(policy: FetchPolicy) -> Any:
    """python-tuf's FetcherInterface, on the way and within the limits of all that updates fetch."""
    from tuf.api import exceptions  # noqa: PLC0415  as above
    from tuf.ngclient import FetcherInterface  # noqa: PLC0415

    class Fetcher(FetcherInterface):  # type: ignore[misc]  # it has no types
        def _fetch(self, url: str) -> Iterator[bytes]:
            try:
                return iter((get(url, policy, MOST),))
            except UnusableError as error:
                raise exceptions.DownloadLengthMismatchError(str(error)) from error
            except RestError as error:
                if error.status:
                    raise exceptions.DownloadHTTPError(str(error), error.status) from error
                raise exceptions.DownloadError(str(error)) from error

    return Fetcher()
