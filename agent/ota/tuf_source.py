"""Releases from a TUF repository, through python-tuf (the extra `tuf`), for makers who have one already.

Its targets are the release document (`release.json`, not in an envelope: TUF's own signatures vouch for it) and each file that the release
names without an address of its own. python-tuf checks root rotation, thresholds, versions, expiry, lengths and hashes; then everything that
agent/ota/trust.py checks after the signatures is checked too: python-tuf believes the clock, and takes what expired long ago while that is
set back. A downgrade is permitted by keys of our own root only, and so never by this way.

Blocking: the caller runs it in a thread. python-tuf costs about 26 MB of memory, and fetches files whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.clock import Moment
from agent.errors import ConfigError, HubError, StorageError, TryAgainError, install_extra
from agent.ota.floor import Floor
from agent.ota.manifest import LARGEST, File
from agent.ota.refusals import (
    ContentError,
    ExpiredError,
    MalformedError,
    MixAndMatchError,
    RollbackError,
    ThresholdError,
    TooLargeError,
    UnsignedError,
)
from agent.ota.trust import Hub, Verified, Vouched, admit

MANIFEST = "release.json"
_REMEDIES: tuple[tuple[str, type[HubError], str], ...] = (  # python-tuf's errors, each before those that it is one of
    ("ExpiredMetadataError", ExpiredError, "have the repository's metadata signed anew, or look at the hub's clock"),
    ("UnsignedMetadataError", ThresholdError, "have it signed by the keys that the repository's root names"),
    ("BadVersionNumberError", RollbackError, "the repository went back: publish its metadata with a higher version"),
    ("LengthOrHashMismatchError", ContentError, "publish metadata and files together"),
    ("RepositoryError", MalformedError, "publish the repository anew"),
    ("DownloadLengthMismatchError", TooLargeError, "ask who keeps the repository: such a file is smaller"),
    ("DownloadError", TryAgainError, "check the repository's address and the network"),
)


class TufSource:
    """One repository. `root`: the pinned root metadata, bytes; `folder`: where python-tuf keeps what it has seen, which is its own floor.

    `product`: of this hub. `metadata` and `targets` are addresses of folders; `fetcher` replaces python-tuf's own (its FetcherInterface).
    """

    def __init__(
        self, metadata: str, targets: str, root: bytes, folder: Path, product: str, fetcher: Any = None
    ) -> None:
        self._metadata, self._targets, self._root, self._folder = metadata, targets, root, folder
        self._product, self._fetcher = product, fetcher

    def release(self, hub: Hub, floor: Floor, now: Moment) -> Verified:
        """The release that the repository offers now, if this hub may install it; its `signers` are known to TUF only.

        Raises RefusedError; TryAgainError where the repository does not answer, StorageError for the folder, ConfigError without python-tuf.
        """
        with self._repository() as repository:
            told = repository.get_targetinfo(MANIFEST)
            if told is None:
                remedy = f"add the release document to the repository as the target {MANIFEST}"
                raise UnsignedError("the repository has no release", place=self._metadata, remedy=remedy)
            if told.length > LARGEST:
                text = f"{told.length} bytes, and {LARGEST} are allowed"
                raise TooLargeError(text, place=self._metadata, remedy="ask who made it: such a document is smaller")
            payload = Path(repository.download_target(told, str(self._folder / MANIFEST))).read_bytes()
            found = admit(Vouched(payload, self._product, frozenset()), hub, floor, now, place=self._metadata)
            for file in (file for component in found.hub + found.devices for file in component.files):
                if not file.url:
                    self._target(repository, file)
            return found

    def fetch(self, file: File, out: Path) -> None:
        """A file of the release that has no address of its own, into `out`. Raises as `release`."""
        with self._repository() as repository:
            repository.download_target(self._target(repository, file), str(out))

    def _target(self, repository: Any, file: File) -> Any:
        """What TUF says of a file. The release must say the same: two that differ were not made together."""
        told = repository.get_targetinfo(file.name)
        if told is None or (told.length, told.hashes.get("sha256")) != (file.size, file.sha256):
            remedy = "add every file of the release to the repository as a target with its SHA-256"
            place = f"{self._metadata}: {file.name}"
            raise MixAndMatchError("the release and the repository differ", place=place, remedy=remedy)
        return told

    @contextmanager
    def _repository(self) -> Iterator[Any]:
        """python-tuf's Updater, refreshed, with its errors in our words."""
        try:
            from tuf.api import exceptions  # noqa: PLC0415  it is large, and installed for whoever wants it
            from tuf.ngclient import Updater  # noqa: PLC0415
        except ImportError:
            raise ConfigError("python-tuf is not installed", remedy=install_extra("tuf")) from None
        folder = str(self._folder)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = Updater(folder, self._metadata, folder, self._targets, self._fetcher, bootstrap=self._root)
            made.refresh()
            yield made
        except OSError as error:
            raise StorageError(f"what TUF keeps cannot be read or written: {error.strerror}", place=folder) from error
        except (exceptions.RepositoryError, exceptions.DownloadError) as error:
            for name, kind, remedy in _REMEDIES:
                if isinstance(error, getattr(exceptions, name)):
                    raise kind(str(error)[:300], place=self._metadata, remedy=remedy) from error
            raise
