"""Keys and secrets as sealed files. The secret that opens them comes from systemd, which unseals it for the service alone.

The daemon is not root and cannot ask systemd-creds itself: LoadCredentialEncrypted= has the secret ready in the service's credentials,
decrypted with the host's key or its TPM. Nothing is on the disk in clear at any time, not even while it is being written.
"""

from collections.abc import Callable
from pathlib import Path

from agent.errors import ConfigError
from agent.identity.keys import (
    P256,
    KeyTroubleError,
    PrivateKey,
    Subject,
    key_folder,
    make,
    public_pem,
    request,
    sign,
    there_is_none,
    there_is_one,
)
from agent.identity.stores.box import Box
from agent.identity.stores.file import parse, private_pem
from agent.identity.stores.memory import MemoryFile
from agent.secret_store import SecretTroubleError, secret_folder
from agent.settings.checks import SHORTEST_SEAL


class SealedKeys:
    """Keys as sealed files of `folder`. Raises ConfigError for a secret that a person has made up."""

    def __init__(self, folder: Path, secret: str) -> None:
        self._files = key_folder(folder, ".sealed")
        self._box = Box(seal(secret), "keys", KeyTroubleError)
        self._lent: dict[str, MemoryFile] = {}

    def generate(self, name: str, kind: str = P256) -> None:
        if self._files.holds(name):
            raise there_is_one(name, str(self._files.path(name)))
        self._files.write(name, self._box.seal(name, private_pem(make(kind))))

    def adopt(self, name: str, pem: str) -> None:
        if self._files.holds(name):
            raise there_is_one(name, str(self._files.path(name)))
        self._files.write(name, self._box.seal(name, private_pem(parse(pem.encode(), ""))))

    def names(self) -> tuple[str, ...]:
        return self._files.list()

    def has(self, name: str) -> bool:
        return self._files.holds(name)

    def public_key(self, name: str) -> str:
        return public_pem(self._load(name).public_key())

    def sign(self, name: str, data: bytes) -> bytes:
        return sign(self._load(name), data)

    def csr(self, name: str, subject: Subject) -> str:
        return request(self._load(name), subject)

    def tls_files(self, name: str, chain: Path) -> tuple[str, str]:
        lent = MemoryFile(self._open(name))
        self._take_back(name)
        self._lent[name] = lent
        return str(chain), lent.path

    def destroy(self, name: str) -> None:
        self._files.remove(name)
        self._take_back(name)

    def _take_back(self, name: str) -> None:
        if name in self._lent:
            self._lent.pop(name).close()

    def _open(self, name: str) -> bytes:
        place = str(self._files.path(name))
        sealed = self._files.read(name)
        if sealed is None:
            raise there_is_none(name, place)
        return self._box.open(name, sealed, place)

    def _load(self, name: str) -> PrivateKey:
        return parse(self._open(name), str(self._files.path(name)))


class SealedSecrets:
    """Secrets as sealed files of `folder`. `master` gives the bytes that the key is derived from, and is asked once, at the first use."""

    def __init__(self, folder: Path, master: Callable[[], bytes]) -> None:
        self._files = secret_folder(folder)
        self._master = master
        self._made: Box | None = None

    @property
    def _box(self) -> Box:
        if self._made is None:
            self._made = Box(self._master(), "secrets", SecretTroubleError)
        return self._made

    def put(self, name: str, data: bytes) -> None:
        self._files.path(name)  # a name that is none costs no visit to the device
        self._files.write(name, self._box.seal(name, data))

    def get(self, name: str) -> bytes | None:
        sealed = self._files.read(name)
        return None if sealed is None else self._box.open(name, sealed, str(self._files.path(name)))

    def delete(self, name: str) -> None:
        self._files.remove(name)

    def names(self) -> tuple[str, ...]:
        return self._files.list()


def seal(secret: str) -> bytes:
    """The secret as bytes. Raises ConfigError for one that is missing or could be guessed."""
    if len(secret) < SHORTEST_SEAL:
        text = f"the seal has {len(secret)} characters: less than {SHORTEST_SEAL} can be guessed"
        raise ConfigError(text if secret else "there is no seal", place="identity.seal", remedy=SEAL_REMEDY)
    return secret.encode()


SEAL_REMEDY = (
    "as root: head -c 32 /dev/urandom | base64 | systemd-creds encrypt --name=hub-agent-seal - /etc/hub-agent/hub-agent-seal.cred; "
    'then LoadCredentialEncrypted= in the unit and seal = "credential:hub-agent-seal"'
)
