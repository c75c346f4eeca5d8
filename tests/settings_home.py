"""A folder with a configuration, and drivers with settings of their own, for tests of the configuration."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from agent.driver import DriverInfo
from agent.errors import ConfigError, Exit
from agent.settings import Secret, Settings, load


class StickSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    port: str = "auto"
    radio: str = Field("auto", pattern="^(auto|znp|ezsp)$", description="auto, znp or ezsp")
    channel: int = Field(15, ge=11, le=26)
    network_key: Secret = Secret()


class LaxSettings(BaseModel):
    port: str = "auto"
    needed: int


def fake_driver(kind: str) -> DriverInfo:
    models: dict[str, type[BaseModel]] = {"zigbee": StickSettings, "lax": LaxSettings}
    if kind not in models:
        raise ConfigError(f"no driver for radios of kind {kind!r}", remedy="installed kinds: lax, zigbee")
    opened = lambda _context: pytest.fail("nothing is opened")  # noqa: E731
    return DriverInfo(kind, models[kind], open=opened, discovery_kinds=(), raw_gatt=kind == "lax")


class Home:
    """A folder with agent.toml and conf.d."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.main = folder / "agent.toml"
        self.state = folder / "state"
        self.env: dict[str, str] = {"STATE_DIRECTORY": str(self.state)}

    def write(self, text: str, name: str = "agent.toml") -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def load(self, *, deep: bool = True) -> Settings:
        return load(self.main, self.env, deep=deep)

    def problems(self) -> list[tuple[str, str, str]]:
        """(place below the folder, message, remedy) of each problem; a text never lacks its remedy."""
        with pytest.raises(ConfigError) as caught:
            self.load()
        assert caught.value.exit_code is Exit.CONFIG
        found = caught.value.problems
        assert all(problem.remedy for problem in found)
        assert all(isinstance(problem, ConfigError) for problem in found)
        return [(p.place.removeprefix(f"{self.folder}/"), p.message, p.remedy) for p in found]

    def problem(self, text: str) -> tuple[str, str, str]:
        self.write(text)
        (found,) = self.problems()
        return found
