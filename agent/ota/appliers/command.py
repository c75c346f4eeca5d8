"""Whole systems by a program of the operator's: a bridge to SWUpdate, Mender, or what a board has (recipes: config/examples/ota).

The program is called with one word, and with the release's text for the component as JSON on its standard input, but for `write`, which has
the image there and the text in HUB_AGENT_COMPONENT:
    describe    prints {"runs": "old" | "selected" | "on trial" | "fell back" | "confirmed", "version": "..."}
    write       puts the image where nothing runs from
    check       0: what was written is whole
    activate    prints "done", "restart" or "reboot"
    confirm     the version that runs stays
    roll-back   prints as activate
It ends with 0, with 75 for what may work later, and with anything else for what is refused; its last line of errors says why.
"""

import logging
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.errors import Exit, TryAgainError
from agent.ota import programs
from agent.ota.appliers.contract import ApplierError, Effect, Found, Image, Progress
from agent.ota.manifest import Component
from agent.ota.plan import Runs

log = logging.getLogger(__name__)

ASK_TIME, WRITE_TIME = 60.0, 3600.0  # seconds


class Told(BaseModel):
    """What `describe` prints."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    runs: Runs
    version: str = ""


class Command:
    """The applier of components of kind `command`."""

    kind = "command"

    def __init__(self, program: Path) -> None:
        self._program = program

    async def judge(self, component: Component) -> None:
        await self.describe(component)

    async def describe(self, component: Component) -> Found:
        text = await self._call("describe", component)
        try:
            told = Told.model_validate_json(text)
        except ValidationError as error:
            remedy = "see the head of agent/ota/appliers/command.py for what it is to print"
            what = str(error.errors(include_url=False)[0]["msg"])
            raise ApplierError("program", f"describe: {what}", place=str(self._program), remedy=remedy) from None
        return Found(told.runs, told.version)

    async def write(self, component: Component, images: list[Image], progress: Progress) -> None:
        for image in images:
            await self._call("write", component, image)
            progress(image.size)

    async def check(self, component: Component) -> bool:
        try:
            await self._call("check", component)
        except ApplierError as error:
            log.warning("%s", error.advice)
            return False
        return True

    async def activate(self, component: Component) -> Effect:
        return self._effect(await self._call("activate", component))

    async def confirm(self, component: Component) -> None:
        await self._call("confirm", component)

    async def roll_back(self, component: Component) -> Effect:
        return self._effect(await self._call("roll-back", component))

    async def clean(self) -> None:
        """Nothing of it lies on this side."""

    def _effect(self, text: str) -> Effect:
        word = text.strip()
        if word not in ("done", "restart", "reboot"):
            remedy = "it is to print done, restart or reboot"
            raise ApplierError("program", f"it printed {word[:60]!r}", place=str(self._program), remedy=remedy)
        return Effect(word)

    async def _call(self, word: str, component: Component, image: Image | None = None) -> str:
        """What it prints. Raises ApplierError, TryAgainError."""
        about = component.model_dump_json()
        environment = {**os.environ, "HUB_AGENT_COMPONENT": about}
        place = f"{self._program} {word}"
        if image is not None:
            image.file.seek(0)
        limit = ASK_TIME if image is None else WRITE_TIME
        feed = about.encode() if image is None else image.file
        try:
            ended = await programs.run(self._program, word, limit=limit, feed=feed, environment=environment)
        except TimeoutError:
            raise TryAgainError(f"it did not end within {limit:.0f} s", place=place) from None
        except OSError as error:
            remedy = "name a program that the agent's user may run as ota.command"
            raise ApplierError("program", f"it cannot be run: {error.strerror}", place=place, remedy=remedy) from error
        said = (ended.errors.strip().splitlines() or [f"exit code {ended.code}"])[-1][:200]
        if ended.code == Exit.TEMPFAIL:
            raise TryAgainError(said, place=place)
        if ended.code:
            raise ApplierError("program", said, place=place)
        return ended.output
