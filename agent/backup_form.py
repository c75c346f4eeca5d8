"""What a backup holds, as JSON: read strictly, since what it brings becomes the hub."""

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Base64Bytes, BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent import records
from agent.discovery_book import META_KEY, DiscoveryBook
from agent.errors import UsageError
from agent.hub_settings import LOGS, TOKEN_SECONDS, HubSettings
from agent.identity.record import Held
from agent.settings.model import Name

FORMAT, SEALED = "hub-agent-backup", "hub-agent-backup-sealed"
RADIOS_ONLY, VERSION = 1, 2
SETTINGS = (LOGS, TOKEN_SECONDS, "network_mode", "expected", "acquainted", META_KEY)  # of the store's table meta
_REMEDY = "name a file that `agent backup` has written"

_FILE = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,99}")


def _file(name: str) -> str:
    """Nothing leaves its folder."""
    if not _FILE.fullmatch(name):
        raise ValueError("is no name of a file")
    return name


FileName = Annotated[str, AfterValidator(_file)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Network(_Part):
    """A radio's network; its document is of its radio's own kind."""

    kind: str = ""
    network: dict[str, Any] = Field(repr=False)


class Identity(_Part):
    """The certificate in use, its chain as PEM, and its private key where the store gives it out and the backup is sealed."""

    held: Held
    chain: str
    key: str = Field("", repr=False)


class Kept(_Part):
    """Devices with their last state, what clouds have set, the discoveries, and the files of the radios' drivers."""

    database: str  # which installation it was
    settings: dict[str, str]
    devices: list[tuple[str, str]]  # id, record as JSON
    state: list[tuple[str, str]]
    files: dict[Name, dict[FileName, Base64Bytes]] = Field(repr=False)

    @model_validator(mode="after")
    def _readable(self) -> "Kept":
        """The daemon reads it at its start, and must not fail there."""
        if not set(self.settings) <= set(SETTINGS):
            raise ValueError("settings: one is unknown")
        state = dict(self.state)
        try:
            for name, text in self.devices:
                if str(records.device_record(text, state.pop(name, None)).device.id) != name:
                    raise ValueError("it has another id")
            HubSettings().restore(self.settings)
            DiscoveryBook().restore(self.settings.get(META_KEY, ""))
            dict(line.split(" ", 1) for line in self.settings.get("expected", "").splitlines())
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"a device or setting cannot be read: {type(error).__name__}") from None
        if state:
            raise ValueError("state: of a device that is not there")
        return self


class Backup(_Part):
    """A whole backup. Version 1 had the radios alone."""

    format: Literal["hub-agent-backup"]
    version: Literal[1, 2]
    hub: str
    radios: dict[Name, Network]
    kept: Kept | None = None
    identity: Identity | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> "Backup":
        if not self.radios and self.kept is None:
            raise ValueError("holds no networks")
        return self


def read(whole: Any, place: str) -> Backup:
    """Raises UsageError for what is none."""
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        raise UsageError("is no backup of a hub", place=place, remedy=_REMEDY)
    if whole.get("version") not in (RADIOS_ONLY, VERSION):
        text = f"has version {str(whole.get('version'))[:20]}, this agent knows {VERSION}"
        raise UsageError(text, place=place, remedy="use the agent that wrote it")
    try:
        return Backup.model_validate_json(json.dumps(whole))
    except (ValidationError, ValueError, RecursionError) as error:
        why = "cannot be read"
        if isinstance(error, ValidationError):  # without its input: that may be a key
            first = error.errors(include_input=False, include_url=False)[0]
            why = f"{'.'.join(map(str, first['loc']))[:80]}: {first['msg']}"
        raise UsageError(f"is damaged: {why}", place=place, remedy="take another copy of it") from None
