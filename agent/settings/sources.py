"""Where the configuration comes from: systemd's folders, the file, conf.d, the environment. Later wins; tables merge.

The result is plain data with the origin of every key, and a problem for each source that cannot be read.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from agent.errors import ConfigError
from agent.settings.toml_keys import KeyPath, key_lines

PREFIX = "HUB_AGENT__"
SEPARATOR = "__"
MAX_FILE = 1_048_576  # bytes; a configuration that is larger is no configuration

_NOTHING: Mapping[Path, bytes] = MappingProxyType({})
_FOLDERS = {"STATE_DIRECTORY": ("hub", "state_dir"), "RUNTIME_DIRECTORY": ("hub", "runtime_dir")}  # systemd.exec(5)
_POSITION = re.compile(r" \(at line (\d+), column \d+\)$| \(at end of document\)$")
_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(slots=True)
class Sources:
    """Merged values; `origins` tells where each path was given; `texts` keeps an environment value as it was written."""

    main: Path
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)
    texts: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[ConfigError] = field(default_factory=list)

    def place(self, path: KeyPath) -> str:
        """Where `path` was given, or the nearest table around it, or the main file when nobody gave it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return str(self.main)

    def add(self, values: Mapping[str, Any], origins: Mapping[KeyPath, str]) -> None:
        """Lay one more source over what is there."""
        for path in _merge(self.values, values):
            for known in [known for known in self.origins if known[: len(path)] == path]:
                del self.origins[known]
        for path, place in origins.items():
            self.origins.setdefault(path, place)


def read(main: Path, env: Mapping[str, str], *, required: bool, drafts: Mapping[Path, bytes] = _NOTHING) -> Sources:
    """All sources of one configuration. Nothing is raised: what is wrong is in `problems`. `drafts` stand for files of conf.d."""
    sources = Sources(main)
    for variable, path in _FOLDERS.items():
        if folder := env.get(variable, "").split(":")[0]:
            sources.add({path[0]: {path[1]: folder}}, {path: f"environment {variable}"})
    try:
        fragments = sorted({*main.parent.joinpath("conf.d").glob("*.toml"), *drafts})
        exists = main.exists()
    except OSError as error:
        sources.problems.append(_unreadable(main, error))
        return sources
    if exists or required:
        _add_file(sources, main)
    for fragment in fragments:
        if fragment in drafts:
            _add_content(sources, fragment, drafts[fragment])
        else:
            _add_file(sources, fragment)
    _add_environment(sources, env)
    return sources


def dotted(path: Iterable[str | int]) -> str:
    """A path as TOML writes it: uplinks.main.host."""
    names = (part if isinstance(part, str) and _BARE.fullmatch(part) else _quoted(part) for part in path)
    return ".".join(names).replace(".[", "[")


def _quoted(part: str | int) -> str:
    return (
        f"[{part}]"
        if isinstance(part, int)
        else '"{}"'.format(part.encode("unicode_escape").decode().replace('"', '\\"'))
    )


def _add_file(sources: Sources, path: Path) -> None:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        sources.problems.append(_unreadable(path, error))
        return
    _add_content(sources, path, content)


def _add_content(sources: Sources, path: Path, content: bytes) -> None:
    if len(content) > MAX_FILE:
        sources.problems.append(
            ConfigError(f"larger than {MAX_FILE} bytes", place=str(path), remedy="is it the right file?")
        )
        return
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        sources.problems.append(ConfigError("not UTF-8 text", place=f"{path}:{line}", remedy="save the file as UTF-8"))
        return
    try:
        sources.add(tomllib.loads(text), {key: f"{path}:{line}" for key, line in key_lines(text).items()})
    except (ValueError, RecursionError) as error:  # tomllib lets int() and the interpreter's limits through
        sources.problems.append(_syntax(path, text, error))


def _syntax(path: Path, text: str, error: ValueError | RecursionError) -> ConfigError:
    reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    match = _POSITION.search(reason)
    place = str(path)
    if match:
        place = f"{path}:{match[1] or text.rstrip().count(chr(10)) + 1}"
        reason = reason[: match.start()]
    return ConfigError(
        f"not TOML: {reason}", place=place, remedy="correct the syntax there or in the line above (https://toml.io)"
    )


def _unreadable(path: Path, error: OSError) -> ConfigError:
    remedy = f"ls -ld {path}; the agent's user needs to read it"
    if isinstance(error, FileNotFoundError):
        remedy = "name an existing file with -c, or write one: agent init"
    return ConfigError(f"cannot be read: {error.strerror}", place=str(path), remedy=remedy)


def _merge(base: dict[str, Any], layer: Mapping[str, Any], path: KeyPath = ()) -> Iterator[KeyPath]:
    """Merge `layer` into `base`; yields the paths that were replaced. Depth is bounded by tomllib's own recursion."""
    for name, value in layer.items():
        here = (*path, name)
        below = base.get(name)
        if isinstance(below, dict) and isinstance(value, dict):
            yield from _merge(below, value, here)
        else:
            base[name] = value
            yield here


def _add_environment(sources: Sources, env: Mapping[str, str]) -> None:
    taken: dict[KeyPath, str] = {}
    for variable in sorted(env):
        if not variable.upper().startswith(PREFIX):
            continue
        place = f"environment {variable}"
        names = variable[len(PREFIX) :].lower().split(SEPARATOR)
        path = _existing(sources.values, names)
        if not all(names) or path in taken:
            reason = f"the same key as {taken[path]}" if path in taken else "names no key"
            sources.problems.append(
                ConfigError(reason, place=place, remedy=f"write {PREFIX}SECTION{SEPARATOR}KEY=value, once")
            )
            continue
        taken[path] = variable
        value = _toml_value(env[variable])
        layer: dict[str, Any] = {str(path[-1]): value}
        for name in reversed(path[:-1]):
            layer = {str(name): layer}
        sources.add(layer, {path[:length]: place for length in range(len(path), 0, -1)})
        if not isinstance(value, str):
            sources.texts[path] = env[variable]


def _existing(values: Mapping[str, Any], names: list[str]) -> KeyPath:
    """`names` as the files spell them: the environment has neither small letters nor dashes."""
    path: list[str] = []
    level: Any = values
    for name in names:
        known = level if isinstance(level, dict) else {}
        spelling = next((key for key in known if key.lower().replace("-", "_") == name.replace("-", "_")), name)
        path.append(spelling)
        level = known.get(spelling)
    return tuple(path)


def _toml_value(text: str) -> Any:
    """The value that TOML reads in `text`; the text itself where it is no TOML value."""
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return document["value"] if document.keys() == {"value"} else text
