"""What can be asked about updates on the control socket.

GET  ota                                         the tasks, oldest first
GET  ota/<key>                                   one, with its events
POST ota {op, ...}                               a line, or lines until the task is over or the agent restarts for it:
    apply {path} or {tuf: target}, watch {key}, approve {key}, postpone {key, seconds}, cancel {key}, confirm {key}, rollback {key}
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from agent.control import Answer, ApiError
from agent.updates import summary

if TYPE_CHECKING:
    from agent.ota.engine import Engine
    from agent.ota.plan import Task

LOOK = 0.2  # seconds between two looks at a task that somebody watches


class OtaBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    op: Literal["apply", "watch", "approve", "postpone", "cancel", "confirm", "rollback"]
    path: str = Field("", max_length=4096)
    tuf: str = Field("", max_length=256)
    key: str = Field("", max_length=256)
    seconds: float = Field(0.0, ge=0, le=31_536_000)


class ConsoleOta:
    """`engine` gives the engine, or None where the hub takes no updates."""

    def __init__(self, engine: Callable[[], "Engine | None"], wall: Callable[[], float]) -> None:
        self._engine, self._wall = engine, wall

    def tasks(self, key: str) -> Any:
        """All tasks, or the one with `key`."""
        engine = self._engine()
        if engine is None:
            return []
        if not key:
            return summary(engine.tasks.values())
        return summary([self._task(engine, key)])[0]

    def ask(self, body: OtaBody) -> Answer:
        """What a person wants."""
        engine = self._engine()
        if engine is None:
            remedy = "name the root document as ota.root in agent.toml, and restart"
            raise ApiError(404, "this hub takes no updates: no root is pinned", remedy=remedy)
        if body.op == "apply" and body.tuf:
            return self._apply(engine, {"tuf": {"target": body.tuf}})
        if body.op == "apply":
            if not body.path.startswith("/"):
                raise ApiError(400, "path: an absolute path of a release", remedy="agent ota apply FILE")
            return self._apply(engine, {"path": body.path})
        task = self._task(engine, body.key)
        if body.op == "watch":
            return self._watch(engine, task.key)
        return self._decide(engine, task, body)

    def _task(self, engine: "Engine", key: str) -> "Task":
        """By its key, or the last one that is not over where none is named."""
        if not key:
            task = next((task for task in engine.tasks.values() if not task.over), None)
            if task is None:
                raise ApiError(404, "no update is under way", remedy="`agent ota list` shows those that are over")
            return task
        if key not in engine.tasks:
            raise ApiError(404, f"there is no update {key!r}", remedy="`agent ota list` shows them")
        return engine.tasks[key]

    async def _apply(self, engine: "Engine", document: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        from agent.ota.verifier import LOCAL  # noqa: PLC0415  with the engine

        task = await engine.offer(LOCAL, secrets.token_hex(8), 1, document)
        async for line in self._watch(engine, task.key):
            yield line

    async def _watch(self, engine: "Engine", key: str) -> AsyncGenerator[dict[str, Any]]:
        told: dict[str, Any] = {}
        while True:
            task = engine.tasks[key]
            now = {**summary([task])[0], "done": task.over}
            if now != told:
                told = now
                yield now
            if task.over:
                return
            await asyncio.sleep(LOOK)

    async def _decide(self, engine: "Engine", task: "Task", body: OtaBody) -> AsyncGenerator[dict[str, Any]]:
        done = True
        match body.op:
            case "approve":
                await engine.change(task.key, approved=True, not_before=0.0)
            case "postpone":
                await engine.change(task.key, approved=False, not_before=self._wall() + body.seconds)
            case "cancel":
                done = await engine.cancel(task.key, "operator", "withdrawn by a person")
            case "confirm" | "rollback":
                done = await engine.decide(task.key, well=body.op == "confirm")
        if not done:
            words = {"cancel": "it is activated already, or over", "confirm": "it is not on trial"}
            yield {
                "done": True,
                "what": "failed",
                "error": words.get(body.op, words["confirm"]),
                "remedy": "agent ota status",
            }
            return
        yield {"done": True, "what": body.op, "key": task.key}
