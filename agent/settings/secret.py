"""Secret: a text that opens a door. It is read once, registered for redaction, and never shown."""

import os
import stat
from hmac import compare_digest
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from agent.errors import ConfigError
from agent.redact import STARS, register

MAX_BYTES = 65536
FILE = "file:"
CREDENTIAL = "credential:"


class Secret:
    """A secret text: inline, `file:/path`, `file:name` or `credential:name` (both in $CREDENTIALS_DIRECTORY). Empty means not set.

    As a pydantic field it looks at the validation context: `credentials` (Path or None) and `read_secrets` (False leaves it empty).
    """

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text
        register(text)

    def reveal(self) -> str:
        """The text itself, for the one place that needs it."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"

    def __str__(self) -> str:
        return STARS if self._text else ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return compare_digest(self._text.encode("utf-8", "surrogatepass"), other._text.encode("utf-8", "surrogatepass"))

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Secret":
        return self

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            _validate,
            serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema()),
        )


def resolve(text: str, credentials: Path | None) -> Path | None:
    """The file that a `file:` or `credential:` text names, None for any other text. Raises PydanticCustomError."""
    for prefix in (FILE, CREDENTIAL):
        if not text.startswith(prefix):
            continue
        name = text.removeprefix(prefix)
        path = Path(name)
        if prefix == FILE and path.is_absolute():
            return path
        if path.is_absolute() or len(path.parts) != 1 or name == "..":
            raise invalid(
                f"{prefix} needs {'an absolute path' if prefix == FILE else 'the plain name of a credential'}"
            )
        if credentials is None:
            remedy = "start the agent by its systemd unit with LoadCredential=, or write file:/absolute/path"
            raise invalid(f"{prefix}{name} is looked up in $CREDENTIALS_DIRECTORY, which is not set", remedy)
        return credentials / name
    return None


def read_private(path: Path, credentials: Path | None) -> bytes:
    """The first MAX_BYTES + 1 bytes of a file that only its owner may read; systemd's credentials are exempt. Raises PydanticCustomError."""
    try:
        # A pipe would block the start for ever: O_NONBLOCK opens it and the check below refuses it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise invalid(
            f"{path} cannot be read: {reason}", "check that the file exists and belongs to the agent's user"
        ) from None
    try:
        check_private(path, os.fstat(descriptor), credentials)
        return os.read(descriptor, MAX_BYTES + 1)
    finally:
        os.close(descriptor)


def check_private(path: Path, status: os.stat_result, credentials: Path | None) -> None:
    """Raises PydanticCustomError unless `path` is a regular file that group and others may not read."""
    if not stat.S_ISREG(status.st_mode):
        raise invalid(f"{path} is not a regular file")
    if status.st_mode & 0o077 and not (credentials and path.parent == credentials):
        mode = stat.S_IMODE(status.st_mode)
        raise invalid(f"{path} can be read by others than its owner (mode {mode:04o})", f"chmod 600 {path}")


def invalid(reason: str, remedy: str = "") -> PydanticCustomError:
    """A validation error with a remedy of its own."""
    return PydanticCustomError("invalid", "{reason}", {"reason": reason, "remedy": remedy})


def from_outside(given: Any) -> Any:
    """A secret that does not stand in the configuration itself, which is copied, backed up and shown. Raises PydanticCustomError."""
    if isinstance(given, str) and given and not given.startswith((FILE, CREDENTIAL)):
        remedy = 'write "credential:NAME" (LoadCredential= in the unit) or "file:/path" (mode 0600)'
        raise invalid("does not stand in the configuration itself", remedy)
    if isinstance(given, int | float):  # a PIN without quotes; it is not shown
        raise invalid("does not stand in the configuration itself", 'write "credential:NAME" or "file:/path"')
    return given


def _validate(given: Any, info: ValidationInfo) -> Secret:
    if isinstance(given, Secret):
        return given
    if not isinstance(given, str):
        raise PydanticCustomError("string_type", "must be a text")
    context = info.context or {}
    if not context.get("read_secrets", True):
        return Secret()
    credentials: Path | None = context.get("credentials")
    path = resolve(given, credentials)
    return Secret(given) if path is None else _read(path, credentials)


def _read(path: Path, credentials: Path | None) -> Secret:
    content = read_private(path, credentials)
    if len(content) > MAX_BYTES:
        raise invalid(f"{path} is larger than {MAX_BYTES} bytes: that is no secret")
    try:
        text = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise invalid(f"{path} is not UTF-8 text") from None
    if not text:
        raise invalid(f"{path} is empty")
    return Secret(text)


def from_file(path: Path, credentials: Path | None = None) -> Secret:
    """The secret that a file holds and nothing else; only its owner may read it. Raises ConfigError."""
    try:
        return _read(path, credentials)
    except PydanticCustomError as error:
        remedy = str((error.context or {}).get("remedy", ""))
        raise ConfigError(error.message().removeprefix(f"{path} "), place=str(path), remedy=remedy) from None
