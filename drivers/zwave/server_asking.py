"""What zwave-js asks while it gives a device its keys: answered by the code that the window was opened with, or by a person."""

from typing import Any

from agent.driver import InvalidParameters, NotNow
from agent.model import DeviceJoining
from drivers.zwave.bootstrap import Credentials
from drivers.zwave.security import dsk as dsks
from drivers.zwave.security.classes import SecurityClass, SecurityError
from drivers.zwave.security.kex import USER_TIMEOUT
from drivers.zwave.server_home import Home
from drivers.zwave.server_json import Json, numbers

CLASSES = {  # SecurityClass of zwave-js -> ours
    0: SecurityClass.S2_UNAUTHENTICATED,
    1: SecurityClass.S2_AUTHENTICATED,
    2: SecurityClass.S2_ACCESS_CONTROL,
    7: SecurityClass.S0,
}
NUMBERS = {one: number for number, one in CLASSES.items()}
PIN_BYTES = 2
LONGEST = (dsks.DIGITS + 1) * (dsks.GROUPS - 1)  # characters of a DSK that are shown


class Dialogue:
    """One server's; one device at a time. `node`: the one that was found last; `refusal`: why it was granted nothing."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._asks = False  # a person is asked for the PIN
        self.credentials = Credentials()
        self.node = 0
        self.refusal = ""

    def begin(self, node: int) -> None:
        """A device was found."""
        self.node, self.refusal, self._asks = node, "", False

    def say(self, number: int, stage: str, detail: str = "", seconds: int = 0) -> None:
        """A step of a device that joins."""
        speaker = self._home.speaker
        node_id = speaker.node_id(number)
        self._home.sink(DeviceJoining(speaker.id(number), stage, detail or f"node {number}", node_id, seconds))

    def grant(self, requested: Json) -> None:
        """The device wants these classes. Raises Malformed."""
        asked = numbers(requested.get("securityClasses")) or frozenset()
        classes = [CLASSES[number] for number in sorted(asked) if number in CLASSES]
        granted = self.credentials.grant(classes)
        wanted = ", ".join(one.title for one in classes)
        if granted:
            refused = ", ".join(one.title for one in classes if one not in granted)
            may = f"{', '.join(one.title for one in granted)}{f', not {refused}' if refused else ''}"
            self.say(self.node, "securing", f"the device asks for {wanted}; it may have {may}")
        else:
            self.refusal = f"the device wants {wanted}: give its PIN, DSK or QR code"
        answer = {"securityClasses": [NUMBERS[one] for one in granted], "clientSideAuth": False} if granted else False
        self._tell("controller.grant_security_classes", inclusionGrant=answer)

    def pin(self, shown: str) -> None:
        """The server shows the DSK without what its owner must type: with a code, the rest must be the code's."""
        known, pin = self.credentials.dsk, self.credentials.pin
        rest = f"-{shown[-LONGEST:].lstrip('-')}"
        if known is not None:
            fits = dsks.to_text(known)[dsks.DIGITS :] == rest
            if not fits:
                self.refusal = "the device that joined is not the one of the code"
            pin = known[:PIN_BYTES] if fits else None
        elif pin is None and self.credentials.attended:
            self._asks = True
            self.say(self.node, "pin", f"the 5 digits before {rest}, underlined on its label", int(USER_TIMEOUT))
            return
        self._pin(pin)

    def answer(self, node: int, text: str) -> None:
        """The PIN of the device that joins; empty: nobody has it. Raises NotNow, InvalidParameters."""
        if not self._asks or node != self.node:
            raise NotNow(f"no PIN of a device {node} is asked for", remedy="put the device into its pairing mode again")
        text = text.strip()
        try:
            pin = dsks.pin(text) if text else None
        except SecurityError as error:
            raise InvalidParameters(f"no PIN: {error}", remedy="type the 5 digits of its label") from error
        if pin is None:
            self.refusal = "nobody gave the device's PIN"
        self._pin(pin)

    def withdraw(self) -> None:
        """Nobody is there any more who could answer."""
        if self._asks:
            self.answer(self.node, "")

    async def leave(self) -> None:
        """The window ends under a question: a server that is not told waits for minutes. Raises DriverError."""
        if self._asks:
            self._asks = False
            await self._home.socket.call("controller.validate_dsk_and_enter_pin", pin=False)

    def ended(self) -> None:
        """The exchange of keys is over, whatever came of it."""
        self._asks = False

    def _pin(self, pin: bytes | None) -> None:
        self._asks = False
        answer = f"{int.from_bytes(pin, 'big'):05d}" if pin is not None else False
        self._tell("controller.validate_dsk_and_enter_pin", pin=answer)

    def _tell(self, command: str, **arguments: Any) -> None:
        async def tell() -> None:
            await self._home.socket.call(command, **arguments)

        self._home.soon(tell(), command)
