"""The security that a node which has just joined must have, and what a person is asked and told meanwhile."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from agent.driver import InvalidParameters, NotNow
from drivers.zwave.bootstrap import BootstrapError, Credentials, bootstrap_s0, bootstrap_s2
from drivers.zwave.functions import FIRST_LONG_RANGE
from drivers.zwave.messages import Messages
from drivers.zwave.nodes import NodeRecord
from drivers.zwave.secured import S0, S2
from drivers.zwave.security import dsk as dsks
from drivers.zwave.security.classes import SecurityClass, SecurityError
from drivers.zwave.security.kex import USER_TIMEOUT


class Say(Protocol):
    """Tells a step of a join."""

    def __call__(self, record: NodeRecord, stage: str, detail: str = "", seconds: int = 0) -> None: ...


class Securing:
    """One radio's; one node at a time. `policy`: the least that a node must get: s2, s0 or none."""

    def __init__(self, messages: Messages, policy: str, say: Say) -> None:
        self._messages, self._policy, self._say = messages, policy, say
        self._question: _Question | None = None

    async def secure(self, record: NodeRecord, credentials: Credentials) -> None:
        """Give a node the best keys that it can have. Raises BootstrapError, StickJammed, DriverLost."""
        classes = record.root.classes
        long_range = record.id >= FIRST_LONG_RANGE
        if S2 in classes or long_range:
            await self._s2(record, credentials, long_range=long_range)
        elif credentials.dsk is not None:
            raise BootstrapError("the device that joined is not the one of the code: it has no S2")
        elif S0 in classes and self._policy in ("s0", "none"):
            await bootstrap_s0(self._messages, record.id)
            record.security = ["S0"]
        elif self._policy == "none":
            record.security = []
        else:
            raise BootstrapError(f"the device has no S2, and this radio's policy is security = {self._policy!r}")
        self._say(record, "secured", _titles(record.granted) or "without any key, as this radio's policy allows")

    async def _s2(self, record: NodeRecord, credentials: Credentials, *, long_range: bool) -> None:
        self._question = _Question(record, partial(self._say, record))
        try:
            finished = await bootstrap_s2(
                self._messages, record.id, credentials, long_range=long_range, attendant=self._question
            )
        finally:
            self._question = None
        record.security = [one.name for one in finished.granted]
        record.security = [one.name for one in record.granted]  # the most trusted first
        record.dsk = dsks.to_text(finished.dsk) if finished.dsk else ""

    def answer(self, node: int, text: str) -> None:
        """The PIN of the node that joins; empty: nobody has it. Raises NotNow, InvalidParameters."""
        if self._question is None or self._question.record.id != node:
            raise NotNow(f"no PIN of a device {node} is asked for", remedy="put the device into its pairing mode again")
        self._question.answer(text.strip())

    def withdraw(self) -> None:
        """Nobody is there any more who could answer."""
        if self._question is not None:
            self._question.give_up()


class _Question:
    """What one node is asked for, and by whom it is answered. See drivers.zwave.bootstrap.Attendant."""

    def __init__(self, record: NodeRecord, say: Callable[..., None]) -> None:
        self.record = record
        self._say = say
        self._answered: Callable[[bytes | None], None] | None = None

    def negotiated(self, requested: tuple[SecurityClass, ...], granted: tuple[SecurityClass, ...]) -> None:
        refused = [one for one in requested if one not in granted]
        without = f", not {_titles(refused)}" if refused else ""
        self._say("securing", f"the device asks for {_titles(requested)}; it may have {_titles(granted)}{without}")

    def ask_pin(self, dsk: bytes, answered: Callable[[bytes | None], None]) -> None:
        self._answered = answered
        rest = dsks.to_text(dsk)[dsks.DIGITS :]
        self._say("pin", f"the 5 digits before {rest}, underlined on its label", seconds=int(USER_TIMEOUT))

    def answer(self, text: str) -> None:
        if self._answered is None:
            raise NotNow(f"no PIN of device {self.record.id} is asked for")
        try:
            pin = dsks.pin(text) if text else None
        except SecurityError as error:
            raise InvalidParameters(f"no PIN: {error}", remedy="type the 5 digits of its label") from error
        self._answered(pin)
        self._answered = None

    def give_up(self) -> None:
        if self._answered is not None:
            self.answer("")


def _titles(classes: Iterable[SecurityClass]) -> str:
    return ", ".join(one.title for one in classes)
