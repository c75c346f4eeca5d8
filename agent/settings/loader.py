"""The one way to the configuration: read, merge, validate, check; every error at once."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from agent.driver import DriverInfo, load_driver
from agent.errors import ConfigError
from agent.redact import redact
from agent.settings.checks import check
from agent.settings.model import RadioSettings, Settings
from agent.settings.problems import explain, known_keys, unknown_key
from agent.settings.secret import FILE
from agent.settings.sources import Sources, dotted, read
from agent.settings.toml_keys import KeyPath

DEFAULT_PATH = Path("/etc/hub-agent/agent.toml")

_TEXT_EXPECTED = frozenset({"string_type", "literal_error", "invalid"})
_LINE = re.compile(r"^(.*):(\d+)$")

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Item:
    """One key as it is in force; `value` is JSON data, secrets are stars."""

    key: str
    value: Any
    origin: str


def load(
    path: Path | None,
    env: Mapping[str, str],
    *,
    deep: bool = True,
    default: Path = DEFAULT_PATH,
    drafts: Mapping[Path, bytes] = MappingProxyType({}),
) -> Settings:
    """The checked configuration of `path` (None: `default`, which may be missing). Raises ConfigError with all problems.

    With deep=False no secret, file or driver is touched: enough for a command that only wants the folders.
    `drafts`: files of conf.d with a content that is not written yet, so that it is checked before it is.
    """
    sources = read(path or default, env, required=path is not None, drafts=drafts)
    credentials = Path(env["CREDENTIALS_DIRECTORY"]) if deep and env.get("CREDENTIALS_DIRECTORY") else None
    loader = _Loader(sources, credentials, deep=deep)
    settings = loader.run()
    if settings is None or loader.problems:
        problems = sorted({_key(problem): problem for problem in loader.problems}.items())
        raise _together(sources.main, [problem for _, problem in problems])
    return settings


def describe(settings: Settings) -> list[Item]:
    """Every key with its value and origin, those with their default too."""
    tables: dict[str, Any] = settings.model_dump(mode="json")
    for name, radio in settings.radios.items():
        if radio.driver is not None:
            tables["radios"][name] |= radio.driver.model_dump(mode="json", by_alias=True)
    origins = settings.origins
    return [Item(dotted(path), value, origins.get(dotted(path), "default")) for path, value in _leaves(tables, ())]


class _Loader:
    def __init__(self, sources: Sources, credentials: Path | None, *, deep: bool) -> None:
        self.problems = list(sources.problems)
        self._sources = sources
        self._credentials = credentials
        self._deep = deep
        self._context = {"credentials": credentials, "read_secrets": deep}
        self._partial = bool(sources.problems)
        self._raw_gatt = False  # whether a radio speaks it

    def run(self) -> Settings | None:
        named = frozenset(_paths(self._sources.values))
        tables = self._split_radios()
        self._sources.values = self._as_text(Settings, self._sources.values, ())
        settings = self._validate(Settings, self._sources.values, ())
        drivers: dict[str, BaseModel | None] = {}
        if self._deep:
            drivers = {name: self._driver(name, table) for name, table in tables.items()}
            self._cross_check(settings)
        if settings is None:
            return None
        for name, radio in settings.radios.items():
            radio._driver = drivers.get(name)  # noqa: SLF001  the model is frozen for everyone else
        origins = {dotted(path): place for path, place in self._sources.origins.items()}
        settings._origins = MappingProxyType(origins)  # noqa: SLF001
        settings._named = named  # noqa: SLF001
        return settings

    def _split_radios(self) -> dict[str, dict[str, Any]]:
        """Take the drivers' keys out of [radios.<name>]: a raw table may hold secrets, and only the driver's model knows which."""
        radios = self._sources.values.get("radios")
        if not isinstance(radios, dict):
            return {}
        tables = {name: table for name, table in radios.items() if isinstance(table, dict)}
        for name, table in tables.items():
            if table.get("kind", "") == "":
                table["kind"] = name
            radios[name] = {key: table[key] for key in RadioSettings.model_fields if key in table}
        return tables

    def _driver(self, name: str, table: Mapping[str, Any]) -> BaseModel | None:
        kind, path = table["kind"], ("radios", name)
        if not isinstance(kind, str):
            return None  # reported as the wrong type already
        try:
            info: DriverInfo = load_driver(kind)
        except ConfigError as error:
            self._add((*path, "kind"), error.message, error.remedy)
            return None
        self._raw_gatt = self._raw_gatt or info.raw_gatt
        model: type[BaseModel] = info.settings
        given = {key: value for key, value in table.items() if key != "kind"}
        if model.model_config.get("extra", "ignore") == "ignore":
            known = known_keys(model, ())
            for key in [key for key in given if key not in known]:
                self._add((*path, key), *unknown_key(key, ["kind", *known]))
        return self._validate(model, self._as_text(model, given, path), path)

    def _validate(self, model: type[Model], values: Mapping[str, Any], path: KeyPath) -> Model | None:
        try:
            return model.model_validate(values, context=self._context)
        except ValidationError as error:
            details = error.errors(include_url=False)
        for detail in details:
            where = (*path, *detail["loc"])
            if self._partial and detail["type"] == "missing":
                continue  # it may stand in the source that could not be read
            self._add(where, *explain(detail, model))
        return None

    def _as_text(self, model: type[BaseModel], values: dict[str, Any], path: KeyPath) -> dict[str, Any]:
        """PASSWORD=12345 in the environment reads as a number; where a text is expected, it is the text that was meant."""
        texts = {known[len(path) :]: text for known, text in self._sources.texts.items() if known[: len(path)] == path}
        if not texts:
            return values
        try:
            model.model_validate(values, context=self._context)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                if detail["type"] in _TEXT_EXPECTED and detail["loc"] in texts:
                    values = _replaced(values, detail["loc"], texts[detail["loc"]])
        return values

    def _cross_check(self, settings: Settings | None) -> None:
        """Keys with an error of their own are left out, so that the others are checked all the same."""
        spoilt: list[KeyPath] = []
        while settings is None:
            try:
                settings = Settings.model_validate(self._sources.values, context=self._context)
            except ValidationError as error:
                found = [_known(detail["loc"]) for detail in error.errors(include_url=False)]
                removed = [path for path in found if _remove(self._sources.values, path)]
                if not removed:
                    return
                spoilt += removed
        for finding in check(settings, self._credentials, raw_gatt=self._raw_gatt):
            if not any(_overlap(one, path) for one in (finding.path, *finding.rests_on) for path in spoilt):
                self._add(finding.path, finding.reason, finding.remedy)

    def _add(self, path: KeyPath, reason: str, remedy: str) -> None:
        place = self._sources.place(path)
        self.problems.append(
            ConfigError(redact(f"{dotted(_known(path))}: {reason}"), place=place, remedy=redact(remedy))
        )


def _known(path: KeyPath) -> KeyPath:
    """Without pydantic's own marks, such as [key] for a bad name of a table."""
    return tuple(part for part in path if part != "[key]")


def _together(main: Path, problems: list[ConfigError]) -> ConfigError:
    count = f"{len(problems)} errors" if len(problems) > 1 else "1 error"
    return ConfigError(f"the configuration has {count}", place=str(main), problems=tuple(problems))


def _key(problem: ConfigError) -> tuple[str, int, str]:
    match = _LINE.match(problem.place)
    return (match[1], int(match[2]), problem.message) if match else (problem.place, 0, problem.message)


def _replaced(values: dict[str, Any], path: KeyPath, value: str) -> dict[str, Any]:
    copy = dict(values)
    head, rest = str(path[0]), path[1:]
    copy[head] = _replaced(copy[head], rest, value) if rest else value
    return copy


def _paths(values: Mapping[str, Any]) -> Iterator[Path]:
    """The absolute paths among the texts of plain data, also those behind `file:`. Not by recursion: a file may be nested deeply."""
    waiting: list[Any] = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
        elif isinstance(value, str) and value.removeprefix(FILE).startswith("/") and "\0" not in value:
            yield Path(value.removeprefix(FILE))


def _remove(values: dict[str, Any], path: KeyPath) -> bool:
    """Take the deepest key of `path` that exists out of `values`."""
    table, name = values, path[0]
    for part in path[1:]:
        inner = table.get(str(name))
        if not isinstance(inner, dict) or part not in inner:
            break
        table, name = inner, part
    return table.pop(str(name), None) is not None


def _overlap(one: KeyPath, other: KeyPath) -> bool:
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _leaves(table: Mapping[str, Any], path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value
