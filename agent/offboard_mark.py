"""The mark that an offboarding or a factory reset leaves in the state folder, `offboarded.json`: what is done, and what is still to be done."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.errors import ConfigError
from agent.files import write_atomic

MARK = "offboarded.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Destroyed(_Part):
    """A key of the hub's: its name in the store, and the SHA-256 of its public key (DER SubjectPublicKeyInfo), hex; empty: not readable."""

    name: str
    public_key_sha256: str


class Left(_Part):
    """A private key that is still there. `where`: a file, or the store; `matches`: the name of the destroyed key that it is, if it is one."""

    where: str
    kind: str
    matches: str = ""


class Proof(_Part):
    """What was looked through after the deletion.

    `kept`: files of the operator's in the state folder, which stay and are not scanned; `copies_gone`: files of another program that had a key
    of the hub's.
    """

    keys_destroyed: list[Destroyed]
    files_scanned: int
    private_keys_left: int
    left: list[Left] = []
    kept: list[str] = []
    copies_gone: list[str] = []


class Mark(_Part):
    """What is done so far.

    `at`: ISO-8601; `credentials`: digests of what every barred uplink connects with; `radios`: those whose networks are still to be left,
    `radios_kept`: those that did not leave them; `keys`: those that are destroyed, written before the first of them is; `copies`: files
    outside where those keys may lie too; `proof`: there once everything is deleted.
    """

    at: str
    credentials: list[str]
    wiped: bool
    radios: list[str] = []
    radios_kept: list[str] = []
    keys: list[Destroyed] | None = None
    copies: list[str] = []
    proof: Proof | None = None


def read(folder: Path) -> Mark | None:
    """The mark of a state folder. Raises ConfigError for one that cannot be read."""
    path = folder / MARK
    try:
        return Mark.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        found = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else error
        remedy = "delete it to connect as before, or the whole folder to start anew"
        raise ConfigError(
            f"the mark of an offboarding cannot be read: {found}", place=str(path), remedy=remedy
        ) from None


def write(folder: Path, mark: Mark) -> None:
    """Raises OSError."""
    write_atomic(folder / MARK, mark.model_dump_json().encode())
