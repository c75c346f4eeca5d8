"""What a cloud sets on the hub itself: its log lines, the life of its tokens, and its end. PURE.

Kept in the store's meta table, so that it holds after a restart; an offboarding that was begun is finished.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from agent.clock import Moment
from agent.model import JsonValue
from agent.requests import ApplyLogs, ConfigureHub, ConfigureLogs, Effect, Offboard, OffboardHub, Progress, SaveMeta

LOGS, TOKEN_SECONDS, OFFBOARDING = "runtime_logs", "token_seconds", "offboarding"  # keys of meta


class HubSettings:
    """The settings and their handlers, which the hub adds to its own."""

    def __init__(self) -> None:
        self.logs: Mapping[str, JsonValue] = {}
        self.token_seconds = 0  # 0: as configured
        self.offboarding = False
        self.handlers: Mapping[type[Any], Callable[[Any, Moment], list[Effect]]] = {
            ConfigureLogs: self._configure_logs,
            ConfigureHub: self._configure_hub,
            OffboardHub: self._offboard,
        }

    def restore(self, meta: Mapping[str, str]) -> list[Effect]:
        """Take up what was set in an earlier run; returns what follows from it."""
        self.logs = json.loads(meta.get(LOGS) or "{}")
        self.token_seconds = int(meta.get(TOKEN_SECONDS) or 0)
        self.offboarding = bool(meta.get(OFFBOARDING))
        effects: list[Effect] = [ApplyLogs(self.logs)] if self.logs else []
        return [*effects, Offboard()] if self.offboarding else effects

    def _configure_logs(self, event: ConfigureLogs, _now: Moment) -> list[Effect]:
        self.logs = event.wishes
        return [SaveMeta(LOGS, json.dumps(dict(self.logs))), ApplyLogs(self.logs)]

    def _configure_hub(self, event: ConfigureHub, _now: Moment) -> list[Effect]:
        self.token_seconds = event.token_seconds
        return [SaveMeta(TOKEN_SECONDS, str(self.token_seconds))]

    def _offboard(self, _event: OffboardHub, _now: Moment) -> list[Effect]:
        if self.offboarding:
            return []
        self.offboarding = True
        return [SaveMeta(OFFBOARDING, "yes"), Progress("offboarding"), Offboard()]
