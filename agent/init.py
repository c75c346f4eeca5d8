"""`agent init`: the state folder and a first configuration. Idempotent: what exists is left alone."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from agent import files, settings
from agent.errors import PermissionDeniedError


def init(config: Path | None, env: Mapping[str, str]) -> list[str]:
    """Make what is missing; returns the paths that were made. Raises PermissionDeniedError, ConfigError."""
    made: list[str] = []
    path = config or settings.DEFAULT_PATH
    try:
        if not path.exists():
            files.make_folder(path.parent, 0o777)
            files.write_atomic(path, first_config(), mode=0o644)
            made.append(str(path))
        loaded = settings.load(path, env, deep=False)
        for folder in (loaded.hub.state_dir, loaded.hub.runtime_dir):
            if not folder.exists():
                files.make_folder(folder)
                made.append(str(folder))
    except PermissionError as error:
        remedy = "run it with sudo, or name a file of yours with -c"
        raise PermissionDeniedError("cannot be written", place=str(error.filename or path), remedy=remedy) from error
    return made


def first_config() -> bytes:
    """The shipped agent.toml: from the wheel, or from the checkout that this runs in."""
    packaged = resources.files("agent") / "share" / "config" / "agent.toml"
    if packaged.is_file():
        return packaged.read_bytes()
    return (Path(__file__).parent.parent / "config" / "agent.toml").read_bytes()
