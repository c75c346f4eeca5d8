"""The key stores, and the one that the configuration names. Their libraries are loaded by the one that is opened, and not before."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import ConfigError, install_extra
from agent.private_files import PrivateFolder
from agent.secret_store import NAME, NAME_RULE, FileSecrets, Secrets, SecretTroubleError
from agent.settings import Settings

if TYPE_CHECKING:
    from agent.identity.keys import KeyStore
    from agent.identity.stores.token import Token


def open_keys(settings: Settings) -> "KeyStore":
    """The store of the hub's own keys. No device is asked for anything yet. Raises ConfigError where a part of it is missing."""
    folder, told = settings.hub.state_dir / "identity" / "keys", settings.identity
    if told.store == "sealed":
        from agent.identity.stores.sealed import SealedKeys  # noqa: PLC0415

        return SealedKeys(folder, told.seal.reveal())
    if told.store == "pkcs11":
        token = _token(settings)
        from agent.identity.stores.pkcs11 import TokenKeys  # noqa: PLC0415

        return TokenKeys(token, folder)
    if told.store == "tpm":
        from agent.identity.stores.tpm import TpmKeys  # noqa: PLC0415
        from agent.identity.stores.tpm_device import Tpm  # noqa: PLC0415

        return TpmKeys(folder, Tpm(told.tpm_tcti))
    from agent.identity.stores.file import FileKeys  # noqa: PLC0415

    return FileKeys(folder)


def open_secrets(settings: Settings) -> Secrets:
    """The store of secrets that are no keys of the hub's own, such as those of radios. No device is asked for anything yet."""
    folder = settings.hub.state_dir / "secrets"
    if settings.identity.store == "file":
        return FileSecrets(folder)
    from agent.identity.stores.sealed import SealedSecrets  # noqa: PLC0415

    return SealedSecrets(folder, _master(settings, folder))


def forget(settings: Settings) -> None:
    """Destroy what the stores hold outside of the state folder. Raises as the store's methods do."""
    if settings.identity.store == "pkcs11":
        token = _token(settings)
        from agent.identity.stores.pkcs11 import TokenKeys  # noqa: PLC0415

        TokenKeys(token, settings.hub.state_dir / "identity" / "keys").forget()


def _master(settings: Settings, folder: Path) -> Callable[[], bytes]:
    files = PrivateFolder(folder, ".key", NAME, NAME_RULE, SecretTroubleError)

    def unseal() -> bytes:
        told = settings.identity
        if told.store == "pkcs11":
            token = _token(settings)
            from agent.identity.stores import pkcs11  # noqa: PLC0415

            return pkcs11.master(token, files)
        if told.store == "tpm":
            from agent.identity.stores import tpm  # noqa: PLC0415
            from agent.identity.stores.tpm_device import Tpm  # noqa: PLC0415

            return tpm.master(Tpm(told.tpm_tcti), files)
        from agent.identity.stores.sealed import seal  # noqa: PLC0415

        return seal(told.seal.reveal())

    return unseal


def _token(settings: Settings) -> "Token":
    told = settings.identity
    for name in ("pkcs11_module", "pkcs11_token", "pin"):
        if not getattr(told, name):
            remedy = f"set identity.{name}, or another identity.store"
            raise ConfigError(f"pkcs11 needs {name}", place="identity.store", remedy=remedy)
    try:
        from agent.identity.stores.token import token  # noqa: PLC0415
    except ImportError as error:
        remedy = install_extra("pkcs11")
        raise ConfigError("python-pkcs11 is not installed", place="identity.store", remedy=remedy) from error
    return token(Path(told.pkcs11_module), told.pkcs11_token, told.pin)
