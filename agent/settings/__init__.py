"""The configuration: agent.toml, conf.d/*.toml and the environment, checked as a whole before anything starts.

model: the keys and their defaults. loader: the one way in. sources: files and environment, merged, with the origin of each key.
toml_keys: the line of each key (PURE). problems: what is wrong, where, and what to do. checks: what one key alone cannot tell.
"""

from agent.settings.loader import DEFAULT_PATH, Item, describe, load
from agent.settings.model import (
    CommandSettings,
    HubSettings,
    IdentitySettings,
    LoggingSettings,
    OtaSettings,
    RadioSettings,
    Settings,
    StoreSettings,
    TopicSettings,
    TufSettings,
    UplinkSettings,
)
from agent.settings.secret import Secret

__all__ = [
    "DEFAULT_PATH",
    "CommandSettings",
    "HubSettings",
    "IdentitySettings",
    "Item",
    "LoggingSettings",
    "OtaSettings",
    "RadioSettings",
    "Secret",
    "Settings",
    "StoreSettings",
    "TopicSettings",
    "TufSettings",
    "UplinkSettings",
    "describe",
    "load",
]
