"""The simulated EZSP stick's way into its bootloader, and out of it with other firmware. PURE."""

from drivers.sim.gecko import MENU, Bootloader, version
from drivers.sim.zigbee.ezsp_settings import Context, Settings
from drivers.sim.zigbee.ezsp_tables import EmberStatus, Values

LEAVES = 0.02  # seconds in which the answer to the order still goes out


class Boot:
    """`bootloader` is there while the stick is in it; `whole`: it has an application."""

    def __init__(self, context: Context, settings: Settings) -> None:
        self._context, self._settings = context, settings
        self.bootloader: Bootloader | None = None
        self.whole = True
        self.image = b""  # what was uploaded last
        self.at: float | None = None  # when it goes there
        self._text: list[bytes] = []

    def launch_standalone_bootloader(self, _request: Values) -> Values:
        """Both modes take an upload over the serial line (UG100)."""
        self.at = self._context.now + LEAVES
        return {"status": EmberStatus.SUCCESS}

    def enter(self) -> None:
        self.at, self.bootloader = None, Bootloader(whole=self.whole)
        self._text = [MENU]

    def receive(self, data: bytes) -> bool:
        """True once the application is to be started."""
        if self.bootloader is None:
            return False
        self._text += self.bootloader.receive(data)
        self.whole = self.bootloader.whole
        if not self.bootloader.run:
            return False
        if self.bootloader.image:
            self.image, told = self.bootloader.image, version(self.bootloader.image)
            if told is not None:
                self._settings.version_info = bytes((0, 0, *told, 0xAA))
        self.bootloader = None
        return True

    def poll(self, now: float) -> list[bytes]:
        """Its texts. What the host had not been told when it went there is never told."""
        if self.at is not None and now >= self.at:
            self.enter()
        text, self._text = self._text, []
        return text
