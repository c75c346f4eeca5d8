"""The broker where mosquitto cannot be installed: amqtt, in this process. It speaks MQTT 3.1.1; the gate tells MQTT 5 clients so."""

import hmac
import logging
import os

from amqtt.broker import Broker
from amqtt.errors import BrokerError
from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session

from agent.errors import HubError
from agent.sim.broker import LOOPBACK, MASTER, free_port
from agent.sim.gate.session import Upstream

_PASSWORD = os.urandom(18).hex()  # of this process: the plug-in below is made by amqtt, by its name


class Insiders(BaseAuthPlugin):  # type: ignore[misc]  # amqtt is not checked here
    """Lets in the gate and the stand-in, who know the password."""

    async def authenticate(self, *, session: Session) -> bool:
        return hmac.compare_digest((session.password or "").encode(), _PASSWORD.encode())


class Embedded:
    """The same as Mosquitto: `upstream`, `start`, `stop`. Nothing that it holds survives the process."""

    def __init__(self) -> None:
        self.upstream = Upstream(LOOPBACK, free_port(), MASTER, _PASSWORD, v5=False, dollar="_reserved-")
        logging.getLogger("amqtt").setLevel(logging.ERROR)  # it tells every connection
        logging.getLogger("transitions").setLevel(logging.ERROR)
        listener = {"type": "tcp", "bind": f"{LOOPBACK}:{self.upstream.port}"}
        plugins: dict[str, dict[str, str]] = {f"{__name__}.{Insiders.__name__}": {}}
        self._broker = Broker({"listeners": {"default": listener}, "plugins": plugins})

    async def start(self) -> None:
        """Raises HubError."""
        try:
            await self._broker.start()
        except BrokerError as error:
            raise HubError(f"the embedded broker did not start: {error}") from error

    async def stop(self) -> None:
        await self._broker.shutdown()
