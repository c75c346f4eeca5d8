"""The private keys that `agent ota sign` signs with: in files, sealed with a passphrase or not, and in PKCS #11 tokens.

Neither a passphrase nor a PIN is ever an argument or a variable of the environment, which all processes of the machine may read: they come
from a file of mode 0600, from a descriptor, or from whoever sits at the terminal. For makers and their CI; the daemon never imports it.
"""

import getpass
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from agent.errors import ConfigError, UsageError
from agent.ota.signatures import LockedError, PrivateKey, read_private
from agent.settings import Secret, secret

SCHEME = "pkcs11:"
LONGEST = 4096  # bytes of a passphrase
_PATH, _QUERY = ("token", "object", "type"), ("module-path", "pin-source")


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key as its URI names it. `pin`: the file with the PIN, None where it is asked for."""

    token: str
    label: str
    module: Path
    pin: Path | None


class Passphrase:
    """Of one run: read from a file or a descriptor once, for all keys; else asked at the terminal, for each."""

    def __init__(self, file: Path | None = None, descriptor: int | None = None) -> None:
        self._file, self._descriptor = file, descriptor
        self._known: Secret | None = None

    def given(self, what: str) -> Secret:
        """Raises ConfigError where there is nobody to ask, or nothing to read."""
        if self._file is not None:
            return secret.from_file(self._file)
        if self._descriptor is None:
            return _asked(f"{what}: ")
        if self._known is None:
            self._known = _read(self._descriptor)
        return self._known

    def chosen(self, what: str) -> Secret:
        """A new one, which who types it types twice. Raises as `given`."""
        first = self.given(what)
        if self._file is None and self._descriptor is None and self.given(f"{what}, once more") != first:
            raise UsageError("the two are not the same", place=what, remedy="type it again")
        return first


def private_key(name: str, passphrase: Passphrase) -> PrivateKey:
    """The key in a file, or at a `pkcs11:` URI. Raises ConfigError, and for tokens as agent.identity.stores.token."""
    if name.startswith(SCHEME):
        from agent.identity.stores.signer import signing_key  # noqa: PLC0415  a native library, for whoever has a token

        return _with_token(token_key(name), passphrase, signing_key)
    pem, path = secret.from_file(Path(name)).reveal().encode(), Path(name)
    try:
        try:
            return read_private(pem)
        except LockedError:
            return read_private(pem, passphrase.given(f"passphrase of {path}").reveal().encode())
    except ValueError as error:
        remedy = "make one with `agent ota sign --new-key FILE`; where it is sealed, give the passphrase that it was sealed with"
        raise ConfigError(f"no private key that signs: {error}", place=name, remedy=remedy) from None


def new_token_key(name: str, passphrase: Passphrase) -> PrivateKey:
    """A key that is made in a token, and stays there. Raises as `private_key`."""
    from agent.identity.stores.signer import make_signing_key  # noqa: PLC0415  as above

    return _with_token(token_key(name), passphrase, make_signing_key)


def token_key(uri: str) -> TokenKey:
    """What a URI names (RFC 7512): token, object, module-path, pin-source. Raises ConfigError for what else it holds.

    An attribute that is passed over might name another key. A `pin-value` is refused: whoever lists processes reads it.
    """
    path, _, query = uri.removeprefix(SCHEME).partition("?")
    found = _attributes(path, ";", _PATH, uri) | _attributes(query, "&", _QUERY, uri)
    missing = [name for name in ("token", "object", "module-path") if not found.get(name)]
    if missing or found.get("type", "private") != "private":
        text = f"it names no {missing[0]}" if missing else "it names no private key"
        raise ConfigError(text, place=_shown(uri), remedy=_FORM)
    pin = found.get("pin-source", "").removeprefix("file:")
    return TokenKey(found["token"], found["object"], Path(found["module-path"]), Path(pin) if pin else None)


_FORM = "write pkcs11:token=LABEL;object=KEY?module-path=/usr/lib/LIBRARY.so&pin-source=file:/FILE"


def _attributes(text: str, between: str, known: tuple[str, ...], uri: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, text.split(between)):
        name, _, value = part.partition("=")
        if name == "pin-value":
            remedy = "leave it out, and it is asked for; or name a file as pin-source"
            raise ConfigError("a PIN is no argument: others could read it", place=_shown(uri), remedy=remedy)
        if name not in known or name in found:
            raise ConfigError(
                f"the attribute {name!r} is not known here, or comes twice", place=_shown(uri), remedy=_FORM
            )
        found[name] = unquote(value)
    return found


def _shown(uri: str) -> str:
    """Without what may be a secret."""
    return uri.partition("?")[0]


def _with_token(key: TokenKey, passphrase: Passphrase, work: Callable[..., PrivateKey]) -> PrivateKey:
    from agent.identity.stores.token import token  # noqa: PLC0415  as above

    what = f"PIN of the token {key.token}"
    pin = secret.from_file(key.pin) if key.pin is not None else passphrase.given(what)
    return work(token(key.module, key.token, pin), key.label)


def _asked(prompt: str) -> Secret:
    if not sys.stdin.isatty():
        remedy = "name a file of mode 0600 with --passphrase-file, or a descriptor with --passphrase-fd"
        raise ConfigError("nobody is there to be asked", place=prompt.rstrip(": "), remedy=remedy)
    return Secret(getpass.getpass(prompt))


def _read(descriptor: int) -> Secret:
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            text = file.read(LONGEST).decode().splitlines()
    except (OSError, ValueError) as error:
        remedy = "open it in the shell: agent ota sign ... --passphrase-fd 3 3< FILE"
        raise ConfigError(f"cannot be read: {error}", place=f"descriptor {descriptor}", remedy=remedy) from None
    if not text or not text[0]:
        raise ConfigError("is empty", place=f"descriptor {descriptor}", remedy="write the passphrase to it")
    return Secret(text[0])
