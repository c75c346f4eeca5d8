"""Where else a private key of this hub lies: files of another program that the hub took it over from. They go when the hub's keys go."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from agent.errors import ConfigError
from agent.files import make_folder, write_atomic

NAME = "copies.json"
_FORM = TypeAdapter(list[str])


def known(folder: Path) -> list[str]:
    """The paths that are noted in the identity's folder. Raises ConfigError for a note that cannot be read."""
    path = folder / NAME
    try:
        return _FORM.validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except (ValidationError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else "no list of paths"
        remedy = "look for the key files of AWS's hub SDK and delete them, then delete the note"
        raise ConfigError(f"the note of copied keys cannot be read: {why}", place=str(path), remedy=remedy) from None


def note(folder: Path, copy: Path) -> None:
    """Before the key is taken over: a power cut in between must not lose it. Raises OSError, ConfigError."""
    paths = known(folder)
    if str(copy) not in paths:
        make_folder(folder)
        write_atomic(folder / NAME, _FORM.dump_json([*paths, str(copy)]))
