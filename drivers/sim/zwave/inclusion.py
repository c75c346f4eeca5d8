"""Adding, removing and replacing nodes: the controller's state machine, with SmartStart (INS13954, "Network management"). PURE."""

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any

from drivers.sim.zwave.network import Network
from drivers.sim.zwave.node import Node
from drivers.zwave.function_tables import AddStatus, UpdateStatus
from drivers.zwave.security.dsk import auth_home_id, nwi_home_id

STEP = 0.02  # seconds between the steps of the protocol
SETTLE = 0.1  # seconds that the protocol takes for the routes of a new node
ANNOUNCE = (0.3, 5.0)  # seconds until a SmartStart device is heard first, and then between its requests
REPLACE_WAITS, REPLACED, REPLACE_FAILED = 3, 4, 5


class Kind(Enum):
    """What a session does; the value is its function."""

    ADD = "AddNode"
    REMOVE = "RemoveNode"
    REPLACE = "ReplaceFailedNode"


class Session:
    """One request of the host, until it stops it."""

    def __init__(self, kind: Kind, callback_id: int, ids: tuple[bytes, bytes] | None, *, long_range: bool) -> None:
        self.kind, self.callback_id, self.ids, self.long_range = kind, callback_id, ids, long_range
        self.node: Node | None = None
        self.replaced = 0


class Inclusion:
    """At most one session; SmartStart listening is what it falls back to."""

    def __init__(self, network: Network, tell: Callable[..., None], announce: Callable[..., None]) -> None:
        self.network, self._tell_host, self._announce = network, tell, announce
        self.session: Session | None = None
        self.listening = False
        self.long_range = False  # the stick has Long Range
        self.failing = 0  # so many of the next inclusions and exclusions end in failure
        self.asked: dict[str, bool] = {}  # how the host asked for the last session: high_power, network_wide
        self._round = 0

    def start(
        self,
        kind: Kind,
        callback_id: int,
        now: float,
        ids: tuple[bytes, bytes] | None = None,
        *,
        long_range: bool = False,
    ) -> None:
        """Begin; a session that runs already is replaced, as the chip does it."""
        self.listening = False
        session = self.session = Session(kind, callback_id, ids, long_range=long_range)
        self._after(STEP, session, partial(self._tell, session, AddStatus.READY), now)
        self._after(2 * STEP, session, self._look, now)

    def replace(self, node: Node, callback_id: int, now: float) -> None:
        """Another node gets the id of one that has failed."""
        self.listening = False
        session = self.session = Session(Kind.REPLACE, callback_id, None, long_range=False)
        session.replaced = node.id
        self._after(STEP, session, lambda _: self._status(session, REPLACE_WAITS), now)
        self._after(2 * STEP, session, self._look, now)

    def stop(self, kind: Kind, callback_id: int, now: float) -> None:
        """The host has had enough, or has seen the protocol done: a callback id asks for a last word."""
        session, self.session = self.session, None
        self.listening = False
        if callback_id:
            node = session.node if session is not None else None
            made = Session(kind, callback_id, None, long_range=False)
            made.node = node
            self.network.timers.at(now + STEP, partial(self._tell, made, AddStatus.DONE))

    def abort(self) -> None:
        """The chip restarts."""
        self.session, self.listening = None, False

    def invite(self, now: float) -> None:
        """A button was pressed somewhere."""
        if self.session is not None and self.session.node is None:
            self._look(now)

    def _after(self, seconds: float, session: Session, act: Callable[[float], None], now: float) -> None:
        def guarded(then: float) -> None:
            if self.session is session:
                act(then)

        self.network.timers.at(now + seconds, guarded)

    # ---- who answers ------------------------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        session = self.session
        if session is None or session.node is not None or not self.network.radio_on:
            return
        node = next((node for node in self.network.nodes.values() if self._answers(session, node)), None)
        if node is not None:
            session.node = node
            self._after(STEP, session, partial(self._found, session, node), now)

    @staticmethod
    def _answers(session: Session, node: Node) -> bool:
        if not node.powered:
            return False
        if session.ids is not None:
            return node.id == 0 and session.ids == (nwi_home_id(node.dsk), auth_home_id(node.dsk))
        return node.learning and (node.id == 0 or session.kind is Kind.REMOVE)

    def _found(self, session: Session, node: Node, now: float) -> None:
        if self.failing:
            self.failing -= 1
            node.learning = False
            if session.kind is Kind.REPLACE:
                self._status(session, REPLACE_FAILED)
            else:
                self._status(session, AddStatus.NODE_FOUND)
                self._status(session, AddStatus.FAILED)
            self.session = None
        elif session.kind is Kind.REMOVE:
            self._remove(session, node, now)
        else:
            self._add(session, node, now)

    def _add(self, session: Session, node: Node, now: float) -> None:
        try:
            number = session.replaced or self.network.free_id(long_range=session.long_range)
        except StopIteration:
            self._status(session, AddStatus.FAILED)
            return
        self._status(session, AddStatus.NODE_FOUND)
        self._after(STEP, session, lambda _: self._status(session, AddStatus.END_NODE, number, **node.frame()), now)
        self._after(STEP + SETTLE, session, partial(self._joined, session, node, number), now)

    def _joined(self, session: Session, node: Node, number: int, now: float) -> None:
        if session.kind is Kind.REPLACE and (failed := self.network.member(number)) is not None:
            self.network.leave(failed, now)
        self.network.join(node, number, now)
        if session.kind is Kind.REPLACE:
            self._status(session, REPLACED)
            self.session = None
        else:
            self._status(session, AddStatus.PROTOCOL_DONE, number)

    def _remove(self, session: Session, node: Node, now: float) -> None:
        number = node.id if node.home_id == self.network.home_id else 0
        told = {**node.frame()}
        self._status(session, AddStatus.NODE_FOUND)
        self._after(STEP, session, lambda _: self._status(session, AddStatus.END_NODE, number, **told), now)

        def gone(then: float) -> None:
            self.network.leave(node, then)
            self._status(session, AddStatus.DONE, number, **told)

        self._after(2 * STEP, session, gone, now)

    # ---- what the host hears ----------------------------------------------------------------------------------------

    def _tell(self, session: Session, status: AddStatus, _now: float) -> None:
        self._status(session, status, session.node.id if session.node is not None else 0)

    def _status(self, session: Session, status: int, number: int = 0, **information: Any) -> None:
        function, callback_id = session.kind.value, session.callback_id
        if session.kind is Kind.REPLACE:
            if status != AddStatus.NODE_FOUND and not information:
                self._tell_host(function, callback_id, status)
            return
        empty = {"command_classes": b"", "basic": 0, "generic": 0, "specific": 0}
        if not information:
            self._tell_host(function, callback_id, status, node=number)
        else:
            self._tell_host(function, callback_id, status, node=number, **{**empty, **information})

    # ---- SmartStart -------------------------------------------------------------------------------------------------

    def listen(self, now: float) -> None:
        """Hear SmartStart devices that announce themselves, until something else is asked for."""
        self.session, self.listening = None, True
        self._round += 1
        self.network.timers.at(now + ANNOUNCE[0], partial(self._hear, self._round))

    def _hear(self, number: int, now: float) -> None:
        if not self.listening or number != self._round:
            return
        if self.network.radio_on:
            for node in self.network.nodes.values():
                if node.profile.smart_start and node.id == 0 and node.powered and node.learning:
                    self._prime(node, UpdateStatus.SMART_START_HOME_ID)
                    if self.long_range and node.profile.long_range:
                        self._prime(node, UpdateStatus.SMART_START_HOME_ID_LR)
        self.network.timers.at(now + ANNOUNCE[1], partial(self._hear, number))

    def _prime(self, node: Node, status: UpdateStatus) -> None:
        self._announce(status, node=0, rx_status=0, nwi_home_id=nwi_home_id(node.dsk), **node.frame())
