"""What every driver of ours is: used once, and while its session runs, that answers for the contract of agent.driver."""

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from agent.driver import DriverContext, DriverLost, Sink
from agent.model import Command, Discovery, Outcome


class Session(Protocol):
    """From the open radio to its end."""

    async def execute(self, command: Command) -> Outcome: ...
    async def discover(self, request: Discovery) -> None: ...
    async def stop_discovery(self) -> None: ...
    async def interview(self, key: str) -> None: ...
    async def refresh(self, key: str) -> None: ...
    async def remove(self, key: str, *, force: bool) -> None: ...
    async def backup(self) -> bytes: ...
    async def reset(self) -> None: ...
    async def restore(self, document: bytes) -> None: ...


S = TypeVar("S", bound=Session)


class SingleUse(ABC, Generic[S]):
    """`live` opens the radio, sets `session` and serves it."""

    absent = "the stick is not connected"  # why there is no session

    def __init__(self, context: DriverContext) -> None:
        self._context = context
        self._used = False
        self.session: S | None = None

    @abstractmethod
    async def live(self, sink: Sink) -> None:
        """Until the radio is lost, which raises DriverLost. The state folder is there."""

    async def run(self, sink: Sink) -> None:
        if self._used:
            raise RuntimeError("a driver is used once; make another one")
        self._used = True
        folder = self._context.state_dir
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise folder_lost(self._context, error) from error
        try:
            await self.live(sink)
        finally:
            self.session = None

    @property
    def _running(self) -> S:
        if self.session is None:
            raise DriverLost(self.absent)
        return self.session

    async def execute(self, command: Command) -> Outcome:
        return await self._running.execute(command)

    async def discover(self, request: Discovery) -> None:
        await self._running.discover(request)

    async def stop_discovery(self) -> None:
        await self._running.stop_discovery()

    async def interview(self, key: str) -> None:
        await self._running.interview(key)

    async def refresh(self, key: str) -> None:
        await self._running.refresh(key)

    async def remove(self, key: str, *, force: bool) -> None:
        await self._running.remove(key, force=force)

    async def backup(self) -> bytes:
        return await self._running.backup()

    async def reset(self) -> None:
        await self._running.reset()

    async def restore(self, document: bytes) -> None:
        await self._running.restore(document)


def folder_lost(context: DriverContext, error: Exception) -> DriverLost:
    """What is kept of a radio cannot be read or written."""
    return DriverLost(f"the state folder cannot be used: {error}", place=str(context.state_dir))
