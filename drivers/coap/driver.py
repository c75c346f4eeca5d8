"""The CoAP driver: the contract of agent.driver on the IP network. aiocoap is imported only when `run` starts."""

from importlib import import_module
from typing import TYPE_CHECKING

from agent.driver import DriverInfo, DriverLost, Sink
from agent.errors import install_extra
from drivers.coap.book import Book
from drivers.coap.settings import CoapSettings
from drivers.single_use import SingleUse, folder_lost

if TYPE_CHECKING:
    from drivers.coap.session import Session

DEVICES = "devices.json"


class CoapDriver(SingleUse["Session"]):
    """One life of the devices on the network."""

    absent = "the driver does not run"

    async def live(self, sink: Sink) -> None:
        try:
            session = import_module("drivers.coap.session")
        except ImportError as error:
            raise DriverLost(f"the CoAP driver cannot be loaded: {error}", remedy=install_extra("coap")) from error
        settings: CoapSettings = self._context.settings
        gone = session.missing(settings.interfaces)
        if gone:
            text = f"there is no network interface {gone[0]}"
            raise DriverLost(text, remedy="connect it, or name another in `interfaces` (ip link shows them)")
        try:
            book = Book.load(self._context.state_dir / DEVICES)
        except (OSError, ValueError) as error:
            raise folder_lost(self._context, error) from error
        made: Session = session.Session(self._context, sink, book)
        self.session = made
        await made.serve()


INFO = DriverInfo(kind="coap", settings=CoapSettings, open=CoapDriver, discovery_kinds=("COAP",))
