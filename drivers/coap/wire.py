"""The channel of one device: plain, for OSCORE, or with DTLS inside. There is no transport to fall back to.

One that was made for OSCORE refuses a message without it, one for DTLS knows no other way out.
"""

from functools import partial

from aiocoap.message import Message
from aiocoap.numbers.codes import EMPTY

from agent.coap import channel
from agent.coap.channel import Broken, Heard, NotOpenedError
from agent.driver import DeviceUnreachable, DriverError
from drivers.coap.dtls import keyed
from drivers.coap.keys import Address, DtlsKey, Key


class InTheClearError(DriverError):
    """A message for a protected device was about to leave unprotected. It did not."""


class Channel(channel.Channel):
    """The socket of one device, made for its key."""

    def __init__(self, address: Address, key: Key | None, heard: Heard, broken: Broken) -> None:
        dtls = partial(keyed, key) if isinstance(key, DtlsKey) else None
        super().__init__(address.host, address.port, dtls, heard, broken)
        self.address, self._key = address, key

    async def open(self, limit: float) -> None:
        """Connect, and shake hands where there is DTLS. Raises DeviceUnreachable within `limit` seconds."""
        try:
            await super().open(limit)
        except NotOpenedError as error:
            if not error.answered or not isinstance(self._key, DtlsKey):
                raise DeviceUnreachable(error.message) from error.__cause__
            text = f"{self.address} does not take the key of identity {self._key.identity!r}: the DTLS handshake stops at its proof"
            remedy = "compare identity and key with the device's, and add it again with --auth"
            raise DeviceUnreachable(text, remedy=remedy) from None

    def send(self, message: Message) -> None:
        """Put a message on the wire. Raises InTheClearError for one that this device must not be sent."""
        protected = self._key is None or isinstance(self._key, DtlsKey) or message.opt.oscore is not None
        if not protected and message.code is not EMPTY:
            raise InTheClearError(f"a message for {self.address} has no OSCORE protection: it is not sent")
        super().send(message)
