"""The Z-Wave driver on an existing zwave-js-server (Z-Wave JS UI has one): its users move in without pairing anything again.

The server keeps its stick, its keys and its nodes; the hub is one more client. Chosen by `port = "ws://host:3000"`.

server_socket: the connection. server_home, server_nodes: who is in the network and what they say. server_joining: who may join, who leaves.
server_perform: the contract. Pure: server_json (what may stand in a message), server_facts (a node as the catalogue takes it), server_values
(values as reports), server_commands (steps as requests).
"""

from importlib import import_module
from typing import TYPE_CHECKING

from agent.driver import DriverLost, Sink
from agent.errors import install_extra
from drivers.single_use import SingleUse
from drivers.zwave.settings import ZwaveSettings

if TYPE_CHECKING:
    from drivers.zwave.server_perform import Contract


class ServerDriver(SingleUse["Contract"]):
    """One connection to one server."""

    absent = "the server is not connected"

    async def live(self, sink: Sink) -> None:
        settings: ZwaveSettings = self._context.settings
        try:
            connected = import_module("drivers.zwave.server_socket").connected
        except ImportError as error:  # aiohttp comes with the extra
            remedy = install_extra("rest")
            raise DriverLost(f"the zwave-js-server back end cannot be loaded: {error}", remedy=remedy) from error
        async with connected(settings.port, settings.ca) as socket:
            state = await socket.introduce()
            try:
                home = import_module("drivers.zwave.server_home").Home(self._context, sink, socket, state)
            except (OSError, ValueError) as error:
                raise DriverLost(f"the server's state cannot be used: {error}", place=settings.port) from error
            if settings.identity and home.identity != settings.identity:
                text = f"the server's network is {home.identity}, not {settings.identity}"
                raise DriverLost(text, place=settings.port, remedy=f'set identity = "{home.identity}" to use it')
            contract: Contract = import_module("drivers.zwave.server_perform").Contract(home)
            self.session = contract
            await home.serve()
